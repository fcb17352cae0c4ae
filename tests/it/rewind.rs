//! When the bucket has kept less of an upload than was sent, the bytes in between are asked of Qdrant again.

use gcs_emulator::{Emulator, Fault};
use qdrant_backup::ops::backup::BackupOutcome;
use qdrant_backup::wire::store::{self, GcsOptions};
use std::time::Duration;
use testkit::bench::Bench;
use testkit::peer::Peer;

#[tokio::test]
async fn an_upload_that_is_cut_goes_back_to_the_byte_that_the_bucket_has_kept() {
    let peer = Peer::start(&[("c", 3 << 20)]).await;
    let gcs = Emulator::start().await.unwrap();
    gcs.create_bucket("b");
    gcs.fault("*.snapshot", 1, Fault::ResetPut { after: 1 << 20 });
    gcs.fault("*.snapshot", 1, Fault::PersistLess { keep: 1 << 19 });
    let mut options = GcsOptions {
        endpoint: Some(gcs.url().to_owned()),
        ..GcsOptions::default()
    };
    options.retry.first_delay = Duration::from_millis(5);
    let mut bench = Bench::new(&peer.url).await;
    bench.ctx.store = store::open("gs://b/p", options).await.unwrap();
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Complete, "{report:?}");
    let manifest = bench.manifest(&report).await;
    assert!(bench.artifact(&manifest.collections[0].artifacts[0]).await == peer.body_of("c"));
    // The whole 256 KiB of each piece, on top of each other.
    for range in ["bytes=1048576-", "bytes=1572864-"] {
        assert_eq!(peer.requests(range), 1, "{:?}", peer.lock().log);
    }
    assert_eq!(peer.snapshots("c"), [""; 0]);
}
