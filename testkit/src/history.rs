//! A store with a history of backups, and what a test asks of it.

use crate::faulty::{Faulty, Twist, once};
use crate::store::{TestStore, impatient};
use qdrant_backup::base::clock::Clock;
use qdrant_backup::base::error::{Code, Error};
use qdrant_backup::ops::context::StoreContext;
use qdrant_backup::ops::prune::{self, PruneContext, PrunePlan, PruneReport};
use qdrant_backup::ops::retention::Policy;
use qdrant_backup::repository::catalog;
use qdrant_backup::repository::manifest::{
    self, Artifact, Collection, Manifest, QdrantInfo, Status, Storage, Topology,
};
use qdrant_backup::repository::names::{ArtifactKind, BackupId};
use qdrant_backup::repository::selection::Selection;
use qdrant_backup::wire::store::{BytesSource, Condition, ObjectMeta, Retry, Store, Version};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

const LOCK: &str = "lock.json";
pub const COLLECTIONS: [&str; 2] = ["docs", "a b"];

/// A store of either kind with backups in it, and how they are pruned.
pub struct History {
    pub job: PruneContext,
    at: TestStore,
}

impl Deref for History {
    type Target = TestStore;

    fn deref(&self) -> &TestStore {
        &self.at
    }
}

impl History {
    pub async fn in_directory() -> Self {
        Self::new(TestStore::in_directory().await)
    }

    /// In a bucket, with a store that gives up soon.
    pub async fn in_emulator() -> Self {
        let retry = Retry {
            attempts: 2,
            ..impatient()
        };
        Self::new(TestStore::in_emulator_with(retry).await)
    }

    /// A directory and a bucket.
    pub async fn both() -> [Self; 2] {
        [TestStore::in_directory().await, TestStore::in_bucket().await].map(Self::new)
    }

    fn new(at: TestStore) -> Self {
        Self {
            job: job(at.store.clone()),
            at,
        }
    }

    pub async fn plan(&self) -> PrunePlan {
        prune::plan(&self.job).await.unwrap()
    }

    pub async fn execute(&self, plan: &PrunePlan) -> (PruneReport, Option<Error>) {
        let mut report = prune::execute(&self.job, plan, &CancellationToken::new())
            .await
            .unwrap();
        let error = report.take_error();
        (report, error)
    }

    /// Plans and executes without trouble; the ids that went, oldest first.
    pub async fn prune(&self) -> Vec<String> {
        let (report, error) = self.execute(&self.plan().await).await;
        assert!(error.is_none() && report.skipped.is_empty(), "{error:?} {report:?}");
        report.deleted.iter().map(|d| d.id.to_string()).collect()
    }

    /// Puts the clock of pruning this far into the future.
    pub fn later(&mut self, by: Duration) {
        self.job.ctx.clock = Clock::new(move || OffsetDateTime::now_utc() + by);
    }

    /// Ids of all backups, newest first. Each is whole: every object that its manifest names is there, in its version.
    pub async fn whole(&self) -> Vec<String> {
        whole(&*self.store).await
    }
}

fn job(store: Arc<dyn Store>) -> PruneContext {
    PruneContext {
        ctx: StoreContext {
            notify: Default::default(),
            store,
            clock: Clock::system(),
            who: "test".into(),
            lease: Duration::from_secs(30),
        },
        policy: Policy {
            last: 1,
            ..Policy::default()
        },
        only: None,
    }
}

pub async fn whole(store: &dyn Store) -> Vec<String> {
    let list = catalog::list(store, 1000, time::OffsetDateTime::now_utc())
        .await
        .unwrap();
    for summary in &list {
        let manifest = manifest::read_of_any_backup(store, &summary.id).await.unwrap();
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

pub fn id(text: &str) -> BackupId {
    text.parse().unwrap()
}

pub async fn put(store: &dyn Store, key: &str, bytes: &str) -> ObjectMeta {
    store
        .put(key, Box::new(BytesSource::new(bytes.to_owned())), Condition::Absent)
        .await
        .unwrap()
}

/// Overwrites whatever is there, as somebody else would.
pub async fn replace(store: &dyn Store, key: &str, bytes: &str) -> Version {
    let old = store.head(key).await.unwrap().unwrap();
    let condition = Condition::Unchanged(old.version);
    store
        .put(key, Box::new(BytesSource::new(bytes.to_owned())), condition)
        .await
        .unwrap()
        .version
}

/// A complete backup of everything.
pub async fn backup(store: &dyn Store, text: &str) -> Manifest {
    backup_with(store, text, |_| {}).await
}

/// A backup whose manifest is changed before it is written.
pub async fn backup_with(store: &dyn Store, text: &str, change: impl FnOnce(&mut Manifest)) -> Manifest {
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
            scoped_key: false,
            extra: BTreeMap::new(),
        },
        selection: Selection::default(),
        collections,
        failed: Vec::new(),
        warnings: Vec::new(),
        extra: BTreeMap::new(),
    };
    change(&mut manifest);
    // Also one that no run would write.
    put(store, &id.manifest(), &serde_json::to_string(&manifest).unwrap()).await;
    manifest
}

fn collection(name: &str, artifacts: Vec<Artifact>) -> Collection {
    Collection {
        name: name.to_owned(),
        config: serde_json::Value::Null.into(),
        payload_schema: serde_json::Value::Null.into(),
        aliases: Vec::new(),
        points_before: 7,
        points_after: 7,
        points_estimated: false,
        changed_to: None,
        shards: serde_json::Value::Null.into(),
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
        points_before: None,
        points_after: None,
        optimizing: false,
        requested_at: at,
        created_at: at,
        extra: BTreeMap::new(),
    }
}

/// A store whose deletions fail from the one of this number on, counted from 0, as after a crash; and how many there were. That of
/// the lease is none of them.
pub fn dying_at(inner: &Arc<dyn Store>, number: usize) -> (Arc<dyn Store>, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let store = Faulty::over(inner).on_delete(move |key| match key {
        LOCK => Twist::None,
        _ if counted.fetch_add(1, Ordering::SeqCst) >= number => Twist::Refused(Code::StoreUnreachable),
        _ => Twist::None,
    });
    (store.build(), count)
}

/// A store in which `work` is done right before the first deletion, that of the lease aside, or before the first pin.
pub fn before_change(inner: &Arc<dyn Store>, work: impl Future<Output = ()> + Send + 'static) -> Arc<dyn Store> {
    let change = once(work);
    let pin = change.clone();
    Faulty::over(inner)
        .on_put(move |key| match key.ends_with("/pinned.json") {
            true => pin(),
            false => Twist::None,
        })
        .on_delete(move |key| if key == LOCK { Twist::None } else { change() })
        .build()
}
