//! Tasks that are told to stop, or that their network is moved.

use qdrant_backup::repository::catalog;
use qdrant_backup::repository::manifest::Status;
use rustix::process::Signal;
use std::sync::Arc;
use testkit::job::{Execution, TASKS, name, succeeded};
use testkit::peer::{Fetch, Peer};
use testkit::process::{finish, signal};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::ChildStderr;
use tokio::sync::Semaphore;

const LONG: usize = 1 << 20;

struct Held {
    peer: Peer,
    reached: Arc<Semaphore>,
    go: Arc<Semaphore>,
}

/// A peer that holds the transfer of `c03` in its middle.
async fn held() -> Held {
    let names: Vec<_> = (0..TASKS).map(name).collect();
    let collections: Vec<_> = names.iter().map(|name| (name.as_str(), LONG)).collect();
    let peer = Peer::start(&collections).await;
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    peer.on_fetch(
        "c03",
        [Fetch::HeldThenCut {
            after: LONG / 2,
            reached: reached.clone(),
            go: go.clone(),
        }],
    );
    Held { peer, reached, go }
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_a_task_fails_cleanly_and_the_next_attempt_ends_it() {
    let Held { peer, reached, .. } = held().await;
    let bench = Execution::in_bucket(&peer.url).await;
    let running = bench.begin(0..TASKS, 0).await;
    reached.acquire().await.unwrap().forget();
    running.signal(3, Signal::TERM);
    let mut ends = running.ends().await;
    let (code, _, err) = ends.remove(&3).unwrap();
    assert_eq!(code, Some(10), "{err}");
    succeeded(&ends, "the others");
    assert_eq!(
        catalog::list(&*bench.store, 9, time::OffsetDateTime::now_utc())
            .await
            .unwrap()
            .len(),
        0,
        "nothing is committed"
    );
    assert!(
        !bench
            .keys()
            .await
            .iter()
            .any(|k| k.contains("/c03") || k.starts_with("intents/"))
    );
    assert_eq!(peer.snapshots("c03"), [""; 0]);
    assert_eq!(bench.run(3, 1).await.0, Some(0));
    bench.is_whole(TASKS, &[], "in the end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_in_its_last_attempt_a_task_does_not_take_the_others_backup_with_it() {
    let Held { peer, reached, .. } = held().await;
    let bench = Execution::in_directory(&peer.url).await;
    let running = bench.begin(0..TASKS, 3).await;
    reached.acquire().await.unwrap().forget();
    running.signal(3, Signal::TERM);
    let ends = running.ends().await;
    assert_ne!(ends[&3].0, Some(0), "{:?}", ends[&3]);
    let manifest = bench.manifest().await;
    assert_eq!((manifest.status, manifest.collections.len()), (Status::Partial, 7));
    assert_eq!(
        (
            manifest.failed[0].collection.as_str(),
            manifest.failed[0].error.code.as_str()
        ),
        ("c03", "cancelled")
    );
    bench.is_clean(&[], "partial").await;
}

/// Reads the log up to a line that contains `text`.
async fn line(log: &mut Lines<BufReader<ChildStderr>>, text: &str) {
    loop {
        let line = log.next_line().await.unwrap();
        let line = line.unwrap_or_else(|| panic!("it ended without saying {text:?}"));
        if line.contains(text) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_network_is_moved_a_transfer_waits_and_then_goes_on_where_it_was() {
    let Held { peer, reached, go } = held().await;
    let bench = Execution::in_directory(&peer.url).await;
    let mut child = bench.task(3, 0).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    reached.acquire().await.unwrap().forget();
    signal(&child, Signal::TSTP);
    line(&mut log, "SIGTSTP").await;
    go.add_permits(1); // the connection breaks
    line(&mut log, "paused").await;
    let reads = || {
        let log = &peer.lock().log;
        let reads = log.iter().filter(|l| l.starts_with("GET /collections/c03/snapshots/"));
        reads
            .map(|l| l.rsplit(' ').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(reads(), [""], "nothing is asked meanwhile");
    signal(&child, Signal::CONT);
    line(&mut log, "SIGCONT").await;
    // The pipe is read to its end, so that nothing it still says gets stuck.
    while log.next_line().await.unwrap().is_some() {}
    let (code, out, _) = finish(child).await;
    assert_eq!(code, Some(0), "{out}");
    assert_eq!(reads(), ["".to_owned(), format!("bytes={}-", LONG / 2)]);
}
