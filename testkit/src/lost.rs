//! A backup whose collections are gone from Qdrant: what a restore begins with.

use crate::bench::Bench;
use crate::peer::{Peer, Upload};
use qdrant_backup::base::error::Result;
use qdrant_backup::ops::progress::Progress;
use qdrant_backup::ops::restore::{self, RestoreReport, RestoreRequest, Timeouts};
use qdrant_backup::repository::manifest::{self, Manifest};
use qdrant_backup::repository::selection::Selection;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longer than one chunk of any buffer on the way.
pub const LONG: usize = 3 << 20;

/// A peer whose collections `a` and `b` are backed up and then deleted, `a` with its alias `live`.
pub struct Lost {
    pub peer: Peer,
    pub bench: Bench,
    pub id: String,
}

impl Lost {
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// As [`Lost::new`], with a peer that is prepared before the backup.
    pub async fn with(prepare: impl FnOnce(&Peer)) -> Self {
        let peer = Peer::start(&[("a", LONG), ("b", LONG)]).await;
        peer.lock().aliases.push(("live".into(), "a".into()));
        prepare(&peer);
        Self::of(peer).await
    }

    /// As [`Lost::new`], with all that this peer has; restored so many at once.
    pub async fn several(names: &[&str], at_once: usize) -> Self {
        let collections: Vec<_> = names.iter().map(|name| (*name, 1000)).collect();
        let mut lost = Self::of(Peer::start(&collections).await).await;
        lost.bench.ctx.settings.restore_concurrency = at_once;
        lost
    }

    async fn of(peer: Peer) -> Self {
        let bench = Bench::new(&peer.url).await;
        let id = bench.run().await.unwrap().id.to_string();
        let mut inner = peer.lock();
        inner.collections.clear();
        inner.aliases.clear();
        inner.log.clear();
        drop(inner);
        Self { peer, bench, id }
    }

    /// The manifest of the backup.
    pub async fn saved(&self) -> Manifest {
        let id = self.id.parse().unwrap();
        manifest::read(&*self.bench.ctx.store, &id).await.unwrap()
    }

    pub fn request(&self) -> RestoreRequest {
        RestoreRequest {
            id: self.id.clone(),
            selection: Selection {
                collections: vec!["a".into()],
                ..Selection::default()
            },
            patience: Timeouts {
                converge: Duration::from_millis(50),
                green: Duration::from_millis(50),
                poll: Duration::from_millis(5),
            },
            ..RestoreRequest::default()
        }
    }

    pub async fn run(&self, request: &RestoreRequest) -> Result<RestoreReport> {
        restore::run(
            &self.bench.ctx,
            request,
            &Progress::new(self.bench.ctx.clock.now()),
            &self.bench.cancel,
        )
        .await
    }

    pub fn object(&self, collection: &str) -> PathBuf {
        self.bench
            .dir
            .path()
            .join(format!("backups/{}/{collection}/collection.snapshot", self.id))
    }

    pub fn manifest(&self) -> PathBuf {
        self.bench.dir.path().join(format!("backups/{}/manifest.json", self.id))
    }

    pub fn upload(&self, script: Upload) {
        self.peer.lock().upload.push_back(script);
    }

    /// Nothing on the peer was changed, and the lease was given back.
    pub fn untouched(&self) {
        assert_eq!(self.peer.requests("/snapshots/upload"), 0, "an upload was begun");
        assert!(self.peer.lock().collections.is_empty());
        assert!(!self.bench.dir.path().join("lock.json").exists());
    }
}

pub fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}
