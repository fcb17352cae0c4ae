//! Processes that do the same at the same time, and runs that must not.

use gcs_emulator::Fault;
use qdrant_backup::base::clock::Clock;
use qdrant_backup::base::error::Code;
use qdrant_backup::repository::lease;
use std::sync::Arc;
use std::time::Duration;
use testkit::job::{EXECUTION, Execution, TASKS, end_of, name, node, succeeded};
use testkit::peer::{Create, Fetch, Peer};
use testkit::process::finish;
use time::OffsetDateTime;
use tokio::sync::Semaphore;

#[tokio::test(flavor = "multi_thread")]
async fn two_that_commit_at_once_make_one_manifest() {
    let (node, _data) = node(TASKS).await;
    let bench = Execution::in_bucket(&node.url()).await;
    let commit = bench
        .gcs
        .as_ref()
        .unwrap()
        .fault("*/manifest.json", 1, Fault::SlowCommit);
    let mut running = bench.begin(0..TASKS, 0).await;
    commit.hit().await;
    let (held, ends) = running.all_but_one().await;
    succeeded(&ends, "those before");
    // Any other one that is tried again finds all parts and no manifest.
    let other = (held + 1) % TASKS;
    assert_eq!(bench.run(other, 1).await.0, Some(0));
    let first = bench.manifest().await;
    commit.release();
    let reports = succeeded(&running.ends().await, "the slower one");
    assert_eq!(reports[0]["committed"], first.extra["job"]["committed_by_task"] == held);
    assert_eq!(reports[0]["backup"]["status"], "complete");
    bench.is_verified(TASKS, &[], "in the end").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_do_the_same_task_come_to_one_result() {
    let names: Vec<_> = (0..TASKS).map(name).collect();
    let collections: Vec<_> = names.iter().map(|name| (name.as_str(), 100_000)).collect();
    let peer = Peer::start(&collections).await;
    for bench in Execution::both(&peer.url).await {
        for task in (0..TASKS).filter(|task| *task != 3) {
            assert_eq!(bench.run(task, 0).await.0, Some(0));
        }
        let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        peer.on_fetch(
            "c03",
            [Fetch::Held {
                after: 50_000,
                reached: reached.clone(),
                go: go.clone(),
            }],
        );
        let slower = bench.begin([3], 0).await;
        reached.acquire().await.unwrap().forget();
        assert_eq!(bench.run(3, 0).await.0, Some(0), "the faster one");
        let before = bench.manifest().await;
        go.add_permits(1);
        succeeded(&slower.ends().await, "the slower one");
        let after = bench.is_whole(TASKS, &[3], "both").await;
        assert_eq!(before.finished_at, after.finished_at);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_attempt_that_is_made_twice_gives_nothing_up() {
    let names: Vec<_> = (0..TASKS).map(name).collect();
    let collections: Vec<_> = names.iter().map(|name| (name.as_str(), 1000)).collect();
    let peer = Peer::start(&collections).await;
    let bench = Execution::in_directory(&peer.url).await;
    for task in (0..TASKS).filter(|task| *task != 3) {
        assert_eq!(bench.run(task, 0).await.0, Some(0));
    }
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    peer.on_create(
        "c03",
        [Create::Held {
            reached: reached.clone(),
            go: go.clone(),
        }],
    );
    let slower = bench.begin([3], 3).await;
    reached.acquire().await.unwrap().forget();
    // The name of the first intent is taken.
    let (code, out, err) = bench.run(3, 3).await;
    assert_eq!(code, Some(0), "{out}{err}");
    go.add_permits(1);
    succeeded(&slower.ends().await, "the slower one");
    bench.is_whole(TASKS, &[3], "both").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_task_works_no_other_run_does() {
    let names: Vec<_> = (0..TASKS).map(name).collect();
    let collections: Vec<_> = names.iter().map(|name| (name.as_str(), 100_000)).collect();
    let peer = Peer::start(&collections).await;
    for bench in Execution::both(&peer.url).await {
        let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        peer.on_fetch(
            "c03",
            [Fetch::Held {
                after: 50_000,
                reached: reached.clone(),
                go: go.clone(),
            }],
        );
        let running = bench.begin(0..TASKS, 0).await;
        reached.acquire().await.unwrap().forget();
        let (code, _, err) = bench.cli(&["backup"]).await;
        assert_eq!((code, err.contains(EXECUTION)), (Some(5), true), "{err}");
        let mut other = bench.task(0, 0);
        other.env("CLOUD_RUN_EXECUTION", "qdrant-backup-other");
        let (code, _, err) = end_of(other).await;
        assert_eq!((code, err.contains(EXECUTION)), (Some(5), true), "{err}");
        go.add_permits(1);
        succeeded(&running.ends().await, "undisturbed");
        bench.is_whole(TASKS, &[], "undisturbed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_another_run_works_no_task_does() {
    let peer = Peer::start(&[("c00", 100_000)]).await;
    let bench = Execution::in_directory(&peer.url).await;
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    peer.on_fetch(
        "c00",
        [Fetch::Held {
            after: 50_000,
            reached: reached.clone(),
            go: go.clone(),
        }],
    );
    let run = bench.command(&["backup"]).spawn().unwrap();
    reached.acquire().await.unwrap().forget();
    assert_eq!(bench.run(0, 0).await.0, Some(5));
    assert!(
        !bench.keys().await.iter().any(|k| k.starts_with("jobs/")),
        "it left nothing"
    );
    go.add_permits(1);
    assert_eq!(finish(run).await.0, Some(0));
}

#[tokio::test]
async fn a_shared_lease_is_held_until_one_of_its_holders_gives_it_back_or_it_runs_out() {
    const LIFE: Duration = Duration::from_secs(60);
    let peer = Peer::start(&[]).await;
    for bench in Execution::both(&peer.url).await {
        let join = async |group: &str, clock: &Clock| lease::join(bench.store.clone(), clock, group, LIFE).await;
        let now = Clock::system();
        let (one, two) = (join("x", &now).await.unwrap(), join("x", &now).await.unwrap());
        assert_eq!(join("y", &now).await.unwrap_err().code(), Code::RunInProgress);
        drop(one); // killed, or done with its share
        two.confirm().await.unwrap();
        assert_eq!(join("y", &now).await.unwrap_err().code(), Code::RunInProgress);

        // Whoever comes when it has nearly run out renews it for all.
        let soon = Clock::new(|| OffsetDateTime::now_utc() + LIFE * 9 / 10);
        let three = join("x", &soon).await.unwrap();
        let later = Clock::new(|| OffsetDateTime::now_utc() + LIFE * 3 / 2);
        assert_eq!(join("y", &later).await.unwrap_err().code(), Code::RunInProgress);
        two.confirm().await.unwrap();
        three.confirm().await.unwrap();

        let much_later = Clock::new(|| OffsetDateTime::now_utc() + LIFE * 2);
        let other = join("y", &much_later).await.unwrap();
        for lease in [two, three] {
            assert_eq!(lease.confirm().await.unwrap_err().code(), Code::LeaseLost);
            lease.release().await.unwrap();
        }
        other.confirm().await.unwrap();
        // It was renewed since by another holder.
        let another = join("y", &Clock::new(|| OffsetDateTime::now_utc() + LIFE * 5 / 2))
            .await
            .unwrap();
        other.release().await.unwrap();
        assert_eq!(another.confirm().await.unwrap_err().code(), Code::LeaseLost);
        assert_eq!(bench.keys().await, [""; 0]);
    }
}
