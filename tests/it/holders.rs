//! The lease as the command line meets it: a holder that died here, one that is waited for, and one that somebody wants gone.

use qdrant_backup::base::clock::Clock;
use qdrant_backup::base::error::Code;
use qdrant_backup::repository::lease::{self, Lease};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use testkit::bench::Bench;
use testkit::peer::{Fetch, Peer};
use testkit::process::{End, command, finish, signal};
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::sync::Semaphore;

const LONG: usize = 3 << 20;

async fn run(args: &[&str], peer: &Peer, bench: &Bench) -> End {
    finish(command(args, &peer.url, bench.dir.path()).spawn().unwrap()).await
}

async fn held(bench: &Bench) -> Lease {
    let life = Duration::from_secs(3600);
    lease::acquire(bench.ctx.store.clone(), &Clock::system(), "somebody/1", life)
        .await
        .unwrap()
}

fn change_lease(store: &Path, change: impl FnOnce(&mut Value)) {
    let path = store.join("lock.json");
    let mut lease = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut lease);
    std::fs::write(&path, lease.to_string()).unwrap();
}

/// A backup that is held in the middle of its first object.
async fn held_backup(peer: &Peer, bench: &Bench) -> (Child, Arc<Semaphore>) {
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let fetch = Fetch::Held {
        after: 1000,
        reached: reached.clone(),
        go: go.clone(),
    };
    peer.on_fetch("c", [fetch]);
    let child = command(&["backup"], &peer.url, bench.dir.path()).spawn().unwrap();
    reached.acquire().await.unwrap().forget();
    (child, go)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_of_a_process_that_was_killed_here_is_taken_at_once() {
    let peer = Peer::start(&[("c", LONG)]).await;
    let bench = Bench::new(&peer.url).await;
    let (mut child, go) = held_backup(&peer, &bench).await;
    // It lives, so it is in the way.
    let (code, _, err) = run(&["backup"], &peer, &bench).await;
    assert_eq!(code, Some(5), "{err}");
    child.start_kill().unwrap();
    child.wait().await.unwrap();
    go.add_permits(1);
    let (code, out, err) = run(&["backup"], &peer, &bench).await;
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(
        err.contains("taking over the lease of a process that has ended"),
        "{err}"
    );
    assert!(!bench.dir.path().join("lock.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_process_elsewhere_nobody_here_says_that_it_has_ended() {
    let peer = Peer::start(&[("c", LONG)]).await;
    let bench = Bench::new(&peer.url).await;
    let (mut child, _go) = held_backup(&peer, &bench).await;
    child.start_kill().unwrap();
    child.wait().await.unwrap();
    let original = std::fs::read(bench.dir.path().join("lock.json")).unwrap();
    for (field, other) in [
        ("boot", json!("another")),
        ("host", json!("another")),
        ("namespaces", json!([4026539999_u64, 1])),
        // A version that tells nothing of it, and this process.
        ("", Value::Null),
        ("pid", json!(std::process::id())),
    ] {
        std::fs::write(bench.dir.path().join("lock.json"), &original).unwrap();
        change_lease(bench.dir.path(), |lease| match field {
            "" => drop(lease.as_object_mut().unwrap().remove("process")),
            "pid" => {
                let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
                let started = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap();
                lease["process"]["pid"] = other.clone();
                lease["process"]["started"] = started.parse::<u64>().unwrap().into();
            }
            field => lease["process"][field] = other.clone(),
        });
        let (code, _, err) = run(&["backup"], &peer, &bench).await;
        assert_eq!(code, Some(5), "{field}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_in_the_way_is_waited_for() {
    let peer = Peer::start(&[("c", 1000)]).await;
    let bench = Bench::new(&peer.url).await;
    assert_eq!(run(&["backup"], &peer, &bench).await.0, Some(0));
    for args in [
        &["backup", "--wait"][..],
        &["restore", "latest", "--into", "{}-copy", "--wait=10m"],
        &["drill", "latest", "--same-qdrant", "--wait"],
    ] {
        let lease = held(&bench).await;
        let mut child = command(args, &peer.url, bench.dir.path()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = loop {
            let line = lines.next_line().await.unwrap().expect("it ended");
            if line.contains("waiting: ") {
                break line;
            }
        };
        assert!(line.contains("somebody/1"), "{line}");
        lease.release().await.unwrap();
        let (code, out, _) = finish(child).await;
        assert_eq!(code, Some(0), "{args:?}: {out}");
    }
    let _lease = held(&bench).await;
    for (args, exit) in [
        (&["backup", "--wait=1s"][..], 5),
        (&["backup", "--wait=0s"], 5),
        (&["backup"], 5),
        (&["backup", "--wait=soon"], 2),
    ] {
        let (code, _, err) = run(args, &peer, &bench).await;
        assert_eq!(code, Some(exit), "{args:?}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_unlocked_only_when_its_holder_is_gone_or_by_force() {
    let peer = Peer::start(&[]).await;
    let bench = Bench::new(&peer.url).await;
    let unlock = async |more: &[&str]| run(&[&["unlock"], more].concat(), &peer, &bench).await;
    let path = bench.dir.path().join("lock.json");
    let (code, out, _) = unlock(&[]).await;
    assert!(code == Some(0) && out.contains("no run is in progress"), "{out}");
    let unlocked = async |more: &[&str]| {
        let (code, out, err) = unlock(&[&["--json"], more].concat()).await;
        (
            code,
            serde_json::from_str::<Value>(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}")),
        )
    };
    assert_eq!(unlocked(&[]).await, (Some(0), json!({"removed": false, "lease": null})));

    let lease = held(&bench).await;
    let (code, out, err) = unlock(&[]).await;
    assert_eq!((code, out.as_str()), (Some(5), ""), "{err}");
    assert!(
        err.contains("somebody/1") && err.contains("its holder is alive"),
        "{err}"
    );
    assert!(path.exists());
    let (code, refused) = unlocked(&[]).await;
    assert_eq!(
        (code, &refused["error"]["code"]),
        (Some(5), &json!("run_in_progress")),
        "{refused}"
    );
    let (code, out, err) = unlock(&["--force"]).await;
    assert!(
        code == Some(0) && out.contains("somebody/1") && !path.exists(),
        "{out}{err}"
    );
    assert_eq!(
        lease.confirm().await.unwrap_err().code(),
        Code::LeaseLost,
        "it notices before it commits"
    );

    // Nobody has renewed it for longer than a holder takes.
    let written = |expires_in: i64, written_ago: u64, process: Option<Value>| {
        let now = time::OffsetDateTime::now_utc();
        let stamp = |seconds| (now + time::Duration::seconds(seconds)).format(&Rfc3339).unwrap();
        let mut lease =
            json!({"holder": "x", "who": "somebody/2", "since": stamp(-1000), "expires_at": stamp(expires_in)});
        if let Some(process) = process {
            lease["process"] = process;
        }
        std::fs::write(&path, lease.to_string()).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(written_ago))
            .unwrap();
    };
    for (expires_in, written_ago, exit) in [(60, 300, 0), (300, 60, 5), (-60, 600, 0)] {
        written(expires_in, written_ago, None);
        let (code, out, err) = unlock(&[]).await;
        assert_eq!(
            (code, path.exists()),
            (Some(exit), exit != 0),
            "{expires_in}: {out}{err}"
        );
    }
    written(-60, 600, None);
    let (code, removed) = unlocked(&[]).await;
    assert_eq!(
        (code, &removed["removed"], &removed["lease"]["who"]),
        (Some(0), &json!(true), &json!("somebody/2"))
    );
    assert_eq!(
        run(&["unlock", "--store", "file:///nonexistent"], &peer, &bench)
            .await
            .0,
        Some(7)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_comes_twice_at_once_is_one() {
    let peer = Peer::start(&[("c", LONG)]).await;
    let bench = Bench::new(&peer.url).await;
    let (child, _go) = held_backup(&peer, &bench).await;
    for one in [Signal::INT, Signal::TERM, Signal::INT] {
        signal(&child, one);
    }
    let (code, _, err) = finish(child).await;
    assert_eq!(code, Some(10), "{err}");
    assert_eq!(bench.keys().await, [""; 0], "it has cleaned up");
    assert_eq!(peer.snapshots("c"), [""; 0]);
}
