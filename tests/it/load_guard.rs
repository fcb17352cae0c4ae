//! A backup that waits while Qdrant is busy, and never for ever. Time passes only where a test says so.

use qdrant_backup::base::error::Code;
use qdrant_backup::ops::backup::BackupOutcome;
use qdrant_backup::ops::context::LoadGuard;
use qdrant_backup::repository::unit::SnapshotMode;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use testkit::bench::Bench;
use testkit::clock::Hands;
use testkit::job::{EXECUTION, Execution, end_of};
use testkit::peer::{Create, Peer};
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::time::timeout;

const SHARD: &[u8] = include_bytes!("../fixtures/shards/streamed.tar");
/// Looks before the run, and before each unit.
const BEFORE: usize = 5;
const EACH: usize = 3;
/// Fails a test that would hang otherwise.
const NEVER: Duration = Duration::from_secs(60);

/// A backup of one collection after the other, which waits for no real time.
async fn guarded(peer: &Peer) -> Bench {
    let mut bench = Bench::new(&peer.url).await;
    bench.ctx.settings.concurrency = 1;
    // Time passes in leaps.
    bench.ctx.settings.lease = Duration::from_secs(3600);
    bench.ctx.settings.guard = Some(LoadGuard {
        pause: Duration::from_millis(1),
        ..LoadGuard::new(3.0)
    });
    bench
}

/// A clock on which each look at the peer takes as long as the script says, and then as long as at the end of it.
fn scripted(bench: &mut Bench, peer: &Peer, milliseconds: &[(usize, u64)]) {
    let hands = Hands::standing_at(OffsetDateTime::now_utc());
    bench.ctx.clock = hands.clock();
    let mut script: VecDeque<u64> = VecDeque::new();
    for (times, each) in milliseconds {
        script.extend(std::iter::repeat_n(*each, *times));
    }
    peer.lock().on_probe = Some(Box::new(move || {
        let next = match script.len() {
            1 => script[0],
            _ => script.pop_front().unwrap(),
        };
        hands.pass(Duration::from_millis(next));
    }));
}

/// Requests for snapshots and looks, in their order: of each look at the node a dot.
fn order(peer: &Peer) -> String {
    let inner = peer.lock();
    let told = inner.log.iter().filter_map(|line| {
        let (method, path) = line.trim().split_once(' ')?;
        let parts: Vec<_> = path.trim_matches('/').split('/').collect();
        match (method, &parts[..]) {
            ("POST", [.., "points", "scroll"]) => Some("."),
            ("POST", ["collections", name, "snapshots"]) => Some(*name),
            _ => None,
        }
    });
    told.collect()
}

#[tokio::test]
async fn nothing_is_looked_at_where_that_was_not_asked_for() {
    let peer = Peer::start(&[("a", 1000)]).await;
    let bench = Bench::new(&peer.url).await;
    peer.with("a", |a| a.status = Some(("yellow", usize::MAX)));
    let report = bench.run().await.unwrap();
    assert_eq!((report.status, report.held_back), (BackupOutcome::Complete, None));
    assert_eq!(order(&peer), "a");
}

#[tokio::test]
async fn a_node_that_answers_slower_than_before_the_run_is_waited_for() {
    let peer = Peer::start(&[("a", 1000), ("b", 1000)]).await;
    let mut bench = guarded(&peer).await;
    // One slow answer is none of a busy node; two are.
    let script = [
        (BEFORE, 10),
        (2, 10),
        (1, 500),
        (1, 10),
        (2, 50),
        (EACH, 40),
        (EACH, 30),
    ];
    scripted(&mut bench, &peer, &script);
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Complete, "{report:?}");
    assert_eq!(report.warnings, [""; 0]);
    let dots = |n| ".".repeat(n);
    assert_eq!(order(&peer), format!("{}a{}b", dots(BEFORE + EACH), dots(3 * EACH)));
    let held = report.held_back.unwrap();
    assert_eq!(held.reasons.len(), 1, "{held:?}");
    assert!(
        held.reasons[0].contains("50.0 ms") && held.reasons[0].contains("10.0 ms"),
        "{held:?}"
    );
}

#[tokio::test]
async fn a_node_that_is_fast_is_not_taken_for_a_busy_one_by_a_millisecond() {
    let peer = Peer::start(&[("a", 1000)]).await;
    let mut bench = guarded(&peer).await;
    scripted(&mut bench, &peer, &[(BEFORE, 0), (EACH, 5), (1, 7)]);
    assert_eq!(bench.run().await.unwrap().held_back, None);
    assert_eq!(order(&peer), format!("{}a", ".".repeat(BEFORE + EACH)));
}

#[tokio::test]
async fn a_node_that_stays_slow_costs_no_backup() {
    let peer = Peer::start(&[("a", 1000), ("b", 1000), ("c", 1000)]).await;
    let mut bench = guarded(&peer).await;
    // Two rounds of three looks, and the ten minutes are over.
    scripted(&mut bench, &peer, &[(BEFORE, 10), (1, 100_000)]);
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Complete, "{report:?}");
    assert_eq!(order(&peer), format!("{}abc", ".".repeat(BEFORE + 2 * EACH)));
    assert_eq!(report.held_back.as_ref().unwrap().seconds, 600, "{report:?}");
    let [warning] = &report.warnings[..] else {
        panic!("{:?}", report.warnings);
    };
    assert!(warning.contains("600 s") && warning.contains("10.0 ms"), "{warning}");
    let kept = bench.manifest(&report).await.collections.remove(0);
    assert_eq!(kept.warnings.len(), 1, "in the backup as well: {:?}", kept.warnings);
}

#[tokio::test]
async fn a_collection_that_qdrant_works_on_keeps_no_other_one_back() {
    for status in ["yellow", "grey"] {
        let peer = Peer::start(&[("a", 1000), ("b", 1000), ("c", 1000)]).await;
        let mut bench = guarded(&peer).await;
        scripted(&mut bench, &peer, &[(1, 10)]);
        peer.with("a", |a| a.status = Some((status, 3)));
        let report = bench.run().await.unwrap();
        assert_eq!(report.status, BackupOutcome::Complete, "{report:?}");
        let begun: String = order(&peer).replace('.', "");
        assert_eq!(begun, "bca");
        let held = report.held_back.unwrap();
        assert_eq!(held.reasons, [format!("collection \"a\" is {status}")]);
        assert_eq!(report.warnings, [""; 0]);
    }
    // It stays so, for whatever reason; and what is red is no better later.
    let peer = Peer::start(&[("a", 1000), ("b", 1000)]).await;
    let mut bench = guarded(&peer).await;
    bench.ctx.settings.guard.as_mut().unwrap().patience = Duration::from_millis(20);
    scripted(&mut bench, &peer, &[(1, 10)]);
    peer.with("a", |a| a.status = Some(("yellow", usize::MAX)));
    peer.with("b", |b| b.status = Some(("red", usize::MAX)));
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Complete, "{report:?}");
    assert_eq!(
        report.warnings.len(),
        2,
        "of the red one, and of the end of patience: {report:?}"
    );
}

#[tokio::test]
async fn a_run_that_waits_stops_when_it_is_told_to() {
    let peer = Peer::start(&[("a", 1000)]).await;
    let mut bench = guarded(&peer).await;
    bench.ctx.settings.guard.as_mut().unwrap().pause = Duration::from_secs(3600);
    let cancel = bench.cancel.clone();
    let mut looks = 0;
    let hands = Hands::standing_at(OffsetDateTime::now_utc());
    bench.ctx.clock = hands.clock();
    peer.lock().on_probe = Some(Box::new(move || {
        looks += 1;
        hands.pass(Duration::from_millis(if looks > BEFORE { 1000 } else { 1 }));
        if looks == BEFORE + EACH {
            cancel.cancel();
        }
    }));
    let error = bench.run().await.unwrap_err();
    assert_eq!(error.code(), Code::Cancelled, "{error}");
    assert_eq!(order(&peer), ".".repeat(BEFORE + EACH));
    assert!(bench.has_no_backup().await);
}

#[tokio::test]
async fn a_node_that_lets_nobody_look_is_not_waited_for() {
    let peer = Peer::start(&[("a", 1000), ("b", 1000)]).await;
    peer.lock().refuses_reads = true;
    let bench = guarded(&peer).await;
    let report = bench.run().await.unwrap();
    assert_eq!((report.status, report.held_back), (BackupOutcome::Complete, None));
    assert_eq!(order(&peer), "..ab", "each was tried once before the run");
}

#[tokio::test]
async fn while_others_are_under_way_no_patience_is_lost() {
    let peer = Peer::start(&[("a", 1000), ("b", 1000)]).await;
    let mut bench = guarded(&peer).await;
    bench.ctx.settings.concurrency = 2;
    // `a` is made while the node is slow, for twelve looks; then `b` has its turn.
    let go = Arc::new(Semaphore::new(0));
    let held = Create::Held {
        reached: Arc::new(Semaphore::new(0)),
        go: go.clone(),
    };
    peer.on_create("a", [held]);
    let hands = Hands::standing_at(OffsetDateTime::now_utc());
    bench.ctx.clock = hands.clock();
    let mut looks = 0;
    peer.lock().on_probe = Some(Box::new(move || {
        looks += 1;
        let slow = (BEFORE + EACH + 1..=BEFORE + 13 * EACH).contains(&looks);
        if looks == BEFORE + 13 * EACH {
            go.add_permits(1);
        }
        hands.pass(Duration::from_millis(if slow { 100 } else { 10 }));
    }));
    bench.ctx.settings.guard.as_mut().unwrap().patience = Duration::from_millis(500);
    let report = timeout(NEVER, bench.run())
        .await
        .expect("it went on without looking")
        .unwrap();
    assert_eq!(report.status, BackupOutcome::Complete, "{report:?}");
    assert_eq!(report.warnings, [""; 0]);
    assert!(report.held_back.is_some(), "{report:?}");
}

#[tokio::test]
async fn a_shard_that_is_streamed_is_looked_at_itself() {
    let peer = Peer::start(&[("a", 1000)]).await;
    peer.with("a", |a| a.streamed = Some(SHARD.into()));
    let mut bench = guarded(&peer).await;
    bench.ctx.settings.mode = SnapshotMode::Stream;
    scripted(&mut bench, &peer, &[(BEFORE, 10), (EACH, 50), (1, 10)]);
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Complete, "{report:?}");
    assert!(report.held_back.is_some());
    let looks = peer.requests("POST /collections/a/shards/0/points/scroll");
    assert_eq!(looks, BEFORE + 2 * EACH);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tasks_of_a_job_compare_with_the_time_before_the_first_of_them() {
    let peer = Peer::start(&[("a", 1000), ("b", 1000)]).await;
    let execution = Execution::in_directory(&peer.url).await;
    let mut told = Vec::new();
    for task in [0, 1] {
        let mut command = execution.task(task, 0);
        command
            .env("BACKUP_MAX_LATENCY_FACTOR", "1000")
            .env("CLOUD_RUN_TASK_COUNT", "2");
        let (code, out, err) = end_of(command).await;
        assert_eq!(code, Some(0), "{out}{err}");
        told.push(order(&peer));
    }
    let dots = |n| ".".repeat(n);
    assert_eq!(told[0], format!("{}a", dots(BEFORE + EACH)));
    assert_eq!(
        told[1],
        format!("{}{}b", told[0], dots(EACH)),
        "none before the second one"
    );
    let plan = execution.dir().join(format!("jobs/{EXECUTION}/plan.json"));
    let plan: Value = serde_json::from_slice(&std::fs::read(plan).unwrap()).unwrap();
    assert_eq!(plan["latencies"][0]["unit"]["collection"], "a", "{plan}");
}
