//! A Qdrant that answers nothing any more when a run is cancelled: the lease is free within five seconds, whatever the run was at.

use qdrant_backup::base::error::Code;
use std::sync::Arc;
use std::time::Duration;
use testkit::bench::Bench;
use testkit::lost::{LONG, Lost};
use testkit::peer::{Create, Fetch, Peer, Upload};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How the issue puts it.
const SOON: Duration = Duration::from_secs(5);

type Moment = (Arc<Semaphore>, Arc<Semaphore>);

/// Cancels `work` as soon as the peer has come to the moment and is frozen, and looks how long it works on. The answer is its result.
async fn cancelled<T>(peer: &Peer, bench: &Bench, (reached, _): &Moment, work: impl Future<Output = T>) -> T {
    let freeze = async {
        reached.acquire().await.unwrap().forget();
        peer.lock().frozen = true;
        bench.cancel.cancel();
        Instant::now()
    };
    let (result, began) = tokio::join!(Box::pin(work), freeze);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert!(!bench.dir.path().join("lock.json").exists());
    result
}

fn moment() -> Moment {
    (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)))
}

/// Intents that are left for the next run.
async fn intents(bench: &Bench) -> usize {
    let keys = bench.keys().await;
    keys.iter().filter(|key| key.starts_with("intents/")).count()
}

#[tokio::test]
async fn a_backup_whose_snapshot_is_being_made() {
    let (peer, moment) = (Peer::start(&[("c", LONG)]).await, moment());
    let (reached, go) = moment.clone();
    peer.on_create("c", [Create::Held { reached, go }]);
    let bench = Bench::new(&peer.url).await;
    let result = cancelled(&peer, &bench, &moment, bench.run()).await;
    assert_eq!(result.unwrap_err().code(), Code::Cancelled);
    assert_eq!(intents(&bench).await, 1);
}

#[tokio::test]
async fn a_backup_whose_snapshot_is_copied() {
    let (peer, moment) = (Peer::start(&[("c", LONG)]).await, moment());
    let (reached, go) = moment.clone();
    let after = 1 << 20;
    peer.on_fetch("c", [Fetch::Held { after, reached, go }]);
    let bench = Bench::new(&peer.url).await;
    let result = cancelled(&peer, &bench, &moment, bench.run()).await;
    assert_eq!(result.unwrap_err().code(), Code::Cancelled);
    assert_eq!(intents(&bench).await, 1);
}

/// A backup, and the moment when the first object is uploaded.
async fn lost() -> (Lost, Moment) {
    let (lost, moment) = (Lost::new().await, moment());
    let reached = moment.0.clone();
    lost.upload(Upload::Held { reached });
    (lost, moment)
}

#[tokio::test]
async fn a_restore() {
    let (lost, moment) = lost().await;
    let request = lost.request();
    let report = cancelled(&lost.peer, &lost.bench, &moment, lost.run(&request))
        .await
        .unwrap();
    let failed = &report.failed[0];
    assert_eq!(failed.error.code, Code::Cancelled, "{report:?}");
    assert!(failed.state.contains("Qdrant does not respond"), "{failed:?}");
}

#[tokio::test]
async fn a_drill() {
    let (lost, moment) = lost().await;
    let id = lost.id.parse().unwrap();
    let result = cancelled(&lost.peer, &lost.bench, &moment, lost.bench.drill(id)).await;
    assert_eq!(result.unwrap_err().code(), Code::Cancelled);
    assert_eq!(intents(&lost.bench).await, 1);
}
