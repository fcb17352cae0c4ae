//! Runs of the backup operation in the test's own process.

use crate::store::keys;
use qdrant_backup::base::clock::Clock;
use qdrant_backup::base::error::Result;
use qdrant_backup::ops::backup::{self, BackupReport};
use qdrant_backup::ops::context::{Context, Settings};
use qdrant_backup::ops::drill::{self, DrillReport, DrillRequest, DrillTarget};
use qdrant_backup::ops::progress::Progress;
use qdrant_backup::repository::manifest::{self, Manifest};
use qdrant_backup::repository::names::BackupId;
use qdrant_backup::repository::selection::Selection;
use qdrant_backup::repository::unit::SnapshotMode;
use qdrant_backup::wire::qdrant::{Options, Qdrant};
use qdrant_backup::wire::store::{DirStore, Store};
use qdrant_backup::wire::transfer::Limits;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A backup of the Qdrant at `url` into a directory, with short deadlines.
pub struct Bench {
    pub dir: TempDir,
    pub ctx: Context,
    pub cancel: CancellationToken,
}

impl Bench {
    pub async fn new(url: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(DirStore::open(dir.path()).await.unwrap());
        Self {
            ctx: context(url, store),
            dir,
            cancel: CancellationToken::new(),
        }
    }

    /// Gives Qdrant up sooner.
    #[must_use]
    pub fn impatient(mut self, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options {
            idle: Duration::from_millis(400),
            ..options(&self.ctx.qdrant.url())
        };
        change(&mut options);
        self.ctx.qdrant = Qdrant::new(options).unwrap();
        self
    }

    /// Backs up everything.
    pub async fn run(&self) -> Result<BackupReport> {
        self.run_for(&Selection::default()).await
    }

    pub async fn run_for(&self, selection: &Selection) -> Result<BackupReport> {
        let progress = Progress::new(self.ctx.clock.now());
        backup::run(&self.ctx, selection, &progress, &self.cancel).await
    }

    /// Drills a backup on the Qdrant that it is of.
    pub async fn drill(&self, id: BackupId) -> Result<DrillReport> {
        let target = DrillTarget {
            ctx: self.ctx.clone(),
            elsewhere: false,
        };
        let request = DrillRequest {
            id: id.to_string(),
            ..DrillRequest::default()
        };
        let progress = Progress::new(self.ctx.clock.now());
        drill::run(&target, &request, &progress, &self.cancel).await
    }

    pub async fn manifest(&self, report: &BackupReport) -> Manifest {
        manifest::read(&*self.ctx.store, &report.id).await.unwrap()
    }

    /// Keys of everything in the store.
    pub async fn keys(&self) -> Vec<String> {
        keys(&*self.ctx.store, "").await
    }

    /// Whether nothing is in the store that could be taken for a backup, and nothing that a run left open.
    pub async fn has_no_backup(&self) -> bool {
        let keys = self.keys().await;
        !keys.iter().any(|k| k.ends_with("manifest.json") || k == "lock.json")
    }

    /// The bytes of an artifact, checked against the manifest.
    pub async fn artifact(&self, artifact: &manifest::Artifact) -> Vec<u8> {
        let bytes = manifest::read_small(&*self.ctx.store, &artifact.key, u64::MAX)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(bytes.len() as u64, artifact.bytes);
        assert_eq!(qdrant_backup::base::hash::sha256_hex(&bytes), artifact.sha256);
        assert_eq!(format!("{:08x}", crc32c::crc32c(&bytes)), artifact.crc32c);
        bytes
    }
}

pub fn options(url: &str) -> Options {
    Options {
        // Long enough for a busy machine; a test of stalls makes it shorter.
        idle: Duration::from_secs(10),
        request_timeout: Duration::from_secs(5),
        backoff: Duration::from_millis(5),
        retries: 2,
        ..Options::new(url.parse().unwrap())
    }
}

pub fn context(url: &str, store: Arc<dyn Store>) -> Context {
    Context {
        qdrant: Qdrant::new(options(url)).unwrap(),
        store,
        clock: Clock::system(),
        who: "test".into(),
        notify: Default::default(),
        settings: Settings {
            mode: SnapshotMode::File,
            concurrency: 2,
            restore_concurrency: 1,
            attempts: 2,
            backoff: Duration::from_millis(5),
            settle: Duration::from_secs(5),
            guard: None,
            limits: Limits::default(),
            rate: None,
            lease: Duration::from_secs(30),
            source: Default::default(),
        },
    }
}
