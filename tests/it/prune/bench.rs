//! A store with a history of backups, and what a test asks of it.

use crate::support::place::Bucket;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, TryStreamExt};
use gcs_emulator::Emulator;
use qdrant_backup::base::clock::Clock;
use qdrant_backup::base::error::{Code, Error, Result};
use qdrant_backup::ops::prune::{self, Job, Plan, Report};
use qdrant_backup::ops::retention::Policy;
use qdrant_backup::repository::catalog;
use qdrant_backup::repository::manifest::{
    self, Artifact, Collection, Manifest, QdrantInfo, Status, Storage, Topology,
};
use qdrant_backup::repository::names::{ArtifactKind, BackupId};
use qdrant_backup::repository::selection::Selection;
use qdrant_backup::wire::store::{
    BytesSource, Condition, DirStore, GcsOptions, GcsStore, ObjectMeta, Retry, Source, Store, Version,
};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

pub(crate) const BUCKET: &str = "test-bucket";
pub(crate) const PREFIX: &str = "some/prefix";
pub(crate) const COLLECTIONS: [&str; 2] = ["docs", "a b"];

/// A store of either kind, and what keeps it alive.
pub(crate) struct Bench {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) job: Job,
    pub(crate) dir: Option<tempfile::TempDir>,
    pub(crate) gcs: Option<Emulator>,
}

impl Bench {
    pub(crate) async fn dir() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(DirStore::open(dir.path()).await.unwrap());
        Self {
            job: job(store.clone()),
            store,
            dir: Some(dir),
            gcs: None,
        }
    }

    pub(crate) async fn gcs() -> Self {
        let gcs = Emulator::start().await.unwrap();
        gcs.create_bucket(BUCKET);
        let retry = Retry {
            attempts: 2,
            first_delay: Duration::from_millis(1),
            longest_delay: Duration::from_millis(5),
            ..Retry::default()
        };
        let options = GcsOptions {
            endpoint: Some(gcs.url().to_owned()),
            tokens: None,
            signer: None,
            retry,
        };
        let store = Arc::new(GcsStore::open(BUCKET, PREFIX, options).await.unwrap());
        Self {
            job: job(store.clone()),
            store,
            dir: None,
            gcs: Some(gcs),
        }
    }

    /// A bucket at `GCS_TEST_ENDPOINT`, if that is set, else in an emulator of its own.
    async fn bucket() -> Self {
        let bucket = Bucket::new().await;
        let options = GcsOptions {
            endpoint: Some(bucket.endpoint.clone()),
            ..GcsOptions::default()
        };
        let store = Arc::new(GcsStore::open(&bucket.name, &bucket.prefix, options).await.unwrap());
        Self {
            job: job(store.clone()),
            store,
            dir: None,
            gcs: bucket.emulator,
        }
    }

    /// A directory and a bucket.
    pub(crate) async fn both() -> [Self; 2] {
        [Self::dir().await, Self::bucket().await]
    }

    pub(crate) async fn plan(&self) -> Plan {
        prune::plan(&self.job).await.unwrap()
    }

    pub(crate) async fn execute(&self, plan: &Plan) -> (Report, Option<Error>) {
        let mut report = prune::execute(&self.job, plan, &CancellationToken::new())
            .await
            .unwrap();
        let error = report.take_error();
        (report, error)
    }

    /// Plans and executes without trouble; the ids that went, oldest first.
    pub(crate) async fn prune(&self) -> Vec<String> {
        let (report, error) = self.execute(&self.plan().await).await;
        assert!(error.is_none() && report.skipped.is_empty(), "{error:?} {report:?}");
        report.deleted.iter().map(|d| d.id.to_string()).collect()
    }

    /// Puts the clock of pruning this far into the future.
    pub(crate) fn later(&mut self, by: Duration) {
        self.job.clock = Clock::new(move || OffsetDateTime::now_utc() + by);
    }

    pub(crate) async fn keys(&self) -> Vec<String> {
        keys(&*self.store).await
    }

    /// Ids of all backups, newest first. Each is whole: every object that its manifest names is there, in its version.
    pub(crate) async fn whole(&self) -> Vec<String> {
        whole(&*self.store).await
    }
}

fn job(store: Arc<dyn Store>) -> Job {
    Job {
        store,
        clock: Clock::system(),
        who: "test".into(),
        lease: Duration::from_secs(30),
        policy: Policy {
            last: 1,
            ..Policy::default()
        },
    }
}

pub(crate) async fn keys(store: &dyn Store) -> Vec<String> {
    let list: Vec<_> = store.list("").await.unwrap().try_collect().await.unwrap();
    list.into_iter().map(|meta| meta.key).collect()
}

pub(crate) async fn whole(store: &dyn Store) -> Vec<String> {
    let list = catalog::list(store, 1000, time::OffsetDateTime::now_utc())
        .await
        .unwrap();
    for summary in &list {
        let manifest = manifest::read_anyones(store, &summary.id).await.unwrap();
        for artifact in manifest.collections.iter().flat_map(|c| &c.artifacts) {
            let there = store.head(&artifact.key).await.unwrap();
            let version = there.map(|meta| meta.version.0);
            assert_eq!(
                version.as_ref(),
                Some(&artifact.version),
                "{} is broken: {}",
                summary.id,
                artifact.key
            );
        }
    }
    list.into_iter().map(|summary| summary.id.to_string()).collect()
}

pub(crate) fn id(text: &str) -> BackupId {
    text.parse().unwrap()
}

pub(crate) async fn put(store: &dyn Store, key: &str, bytes: &str) -> ObjectMeta {
    store
        .put(key, Box::new(BytesSource::new(bytes.to_owned())), Condition::Absent)
        .await
        .unwrap()
}

/// Overwrites whatever is there, as somebody else would.
pub(crate) async fn replace(store: &dyn Store, key: &str, bytes: &str) -> Version {
    let old = store.head(key).await.unwrap().unwrap();
    let condition = Condition::Unchanged(old.version);
    store
        .put(key, Box::new(BytesSource::new(bytes.to_owned())), condition)
        .await
        .unwrap()
        .version
}

/// A complete backup of everything.
pub(crate) async fn backup(store: &dyn Store, text: &str) -> Manifest {
    backup_with(store, text, |_| {}).await
}

/// A backup whose manifest is changed before it is written.
pub(crate) async fn backup_with(store: &dyn Store, text: &str, change: impl FnOnce(&mut Manifest)) -> Manifest {
    let id = id(text);
    let mut collections = Vec::new();
    for name in COLLECTIONS {
        let key = id.artifact(name, &ArtifactKind::Collection, 1);
        let meta = put(store, &key, &format!("{text} {name}")).await;
        collections.push(collection(name, vec![artifact(meta, id.time())]));
    }
    let mut manifest = Manifest {
        format: manifest::FORMAT,
        id,
        status: Status::Complete,
        tool_version: "0".into(),
        started_at: id.time(),
        finished_at: id.time() + Duration::from_secs(60),
        qdrant: QdrantInfo {
            source: None,
            version: "1.18.3".into(),
            topology: Topology::Standalone,
            extra: BTreeMap::new(),
        },
        selection: Selection::default(),
        collections,
        failed: Vec::new(),
        warnings: Vec::new(),
        extra: BTreeMap::new(),
    };
    change(&mut manifest);
    manifest::Sealed::new(&manifest).unwrap().commit(store).await.unwrap();
    manifest
}

fn collection(name: &str, artifacts: Vec<Artifact>) -> Collection {
    Collection {
        name: name.to_owned(),
        config: serde_json::Value::Null,
        payload_schema: serde_json::Value::Null,
        aliases: Vec::new(),
        points_before: 7,
        points_after: 7,
        shards: serde_json::Value::Null,
        artifacts,
        warnings: Vec::new(),
        extra: BTreeMap::new(),
    }
}

fn artifact(meta: ObjectMeta, at: OffsetDateTime) -> Artifact {
    Artifact {
        key: meta.key,
        storage: Storage::Object,
        kind: ArtifactKind::Collection,
        node: None,
        bytes: meta.size,
        sha256: String::new(),
        sha256_confirmed_by_qdrant: true,
        crc32c: String::new(),
        version: meta.version.0,
        snapshot: "x.snapshot".into(),
        requested_at: at,
        created_at: at,
        extra: BTreeMap::new(),
    }
}

type Hook = BoxFuture<'static, ()>;

/// A store that fails at one deletion, or in which something else happens right before the first one, or before the first pin.
#[derive(Clone)]
pub(crate) struct Tricky {
    inner: Arc<dyn Store>,
    /// Deletions so far, those of the lease aside.
    pub(crate) count: Arc<AtomicUsize>,
    fail_at: usize,
    before_change: Arc<Mutex<Option<Hook>>>,
}

impl Tricky {
    /// Fails at the deletion of this number, counted from 0, and at all that follow, as after a crash.
    pub(crate) fn failing_at(inner: &Arc<dyn Store>, fail_at: usize) -> Self {
        Self {
            inner: inner.clone(),
            count: Arc::default(),
            fail_at,
            before_change: Arc::default(),
        }
    }

    pub(crate) fn before_change(inner: &Arc<dyn Store>, hook: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            before_change: Arc::new(Mutex::new(Some(hook.boxed()))),
            ..Self::failing_at(inner, usize::MAX)
        }
    }
}

impl Tricky {
    async fn happens(&self) {
        let hook = self.before_change.lock().unwrap().take();
        if let Some(hook) = hook {
            hook.await;
        }
    }
}

impl std::fmt::Debug for Tricky {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl Store for Tricky {
    fn url(&self) -> String {
        self.inner.url()
    }

    async fn put(&self, key: &str, source: Box<dyn Source>, condition: Condition) -> Result<ObjectMeta> {
        if key.ends_with("/pinned.json") {
            self.happens().await;
        }
        self.inner.put(key, source, condition).await
    }

    async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        version: Option<&Version>,
    ) -> Result<Option<BoxStream<'static, Result<Bytes>>>> {
        self.inner.get(key, range, version).await
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectMeta>> {
        self.inner.head(key).await
    }

    async fn list(&self, prefix: &str) -> Result<BoxStream<'static, Result<ObjectMeta>>> {
        self.inner.list(prefix).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        self.inner.folders(prefix).await
    }

    async fn delete(&self, key: &str, version: &Version) -> Result<bool> {
        if key == "lock.json" {
            return self.inner.delete(key, version).await;
        }
        self.happens().await;
        if self.count.fetch_add(1, Ordering::SeqCst) >= self.fail_at {
            return Err(Error::new(Code::StoreUnreachable, format!("delete {key}: scripted")));
        }
        self.inner.delete(key, version).await
    }

    async fn check(&self) -> Result<()> {
        self.inner.check().await
    }
}
