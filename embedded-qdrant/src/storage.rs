//! All collections of a node: found by name or alias, created, replaced, dropped.
//!
//! In the data directory: `collections/{name}/`, `snapshots/{name}/`, `aliases.json`,
//! `replaced/{name}/` (a collection that a restore is about to replace), `tmp/`, `lock`.
//!
//! A request that changes a collection takes its `writer` lock, then reads `open`; one
//! that swaps or drops it takes `writer` and then `open` for itself. The engine is used
//! only with one of the two guards held, so that no directory is moved under its feet.

mod collections;
mod keys;
mod points;
mod restore;

pub(crate) use keys::CreateShardKey;
pub(crate) use restore::Priority;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use tempfile::TempDir;
use tokio::sync::{Mutex, RwLock};
use tokio::task::spawn_blocking;

use crate::aliases::Aliases;
use crate::cluster::{Cluster, Placed, Topology};
use crate::collection::OpenCollection;
use crate::disk;
use crate::error::{Error, Result};
use crate::names::CollectionName;

/// A collection in the catalogue; `open` is `None` once it has been dropped.
pub(crate) struct Collection {
    pub(crate) name: CollectionName,
    open: Arc<RwLock<Option<OpenCollection>>>,
    writer: Arc<Mutex<()>>,
    /// Held for a snapshot of a shard, and as long as a stream of one is being read.
    snapshots: std::sync::Mutex<BTreeMap<u32, Arc<Mutex<()>>>>,
}

pub(crate) struct Storage {
    data_dir: PathBuf,
    peer_id: u64,
    /// Its `changes` are held while collections or aliases come and go; `catalogue` only for
    /// look-ups and the final touch, so that nobody waits for the engine or the disk to find
    /// a collection.
    cluster: Cluster,
    catalogue: Mutex<Catalogue>,
}

#[derive(Default)]
struct Catalogue {
    collections: BTreeMap<CollectionName, Arc<Collection>>,
    aliases: Aliases,
    /// Keeps other nodes off the data directory until it is closed.
    lock: Option<File>,
}

impl Storage {
    /// Opens every collection in `data_dir`, which is made if missing. Blocks.
    pub(crate) fn open(data_dir: &Path, peer_id: u64, cluster: Cluster) -> Result<Self> {
        let mut storage = Self {
            data_dir: data_dir.to_owned(),
            peer_id,
            cluster,
            catalogue: Mutex::default(),
        };
        disk::create_dir(data_dir)?;
        let lock = lock(&data_dir.join("lock"))?;
        disk::remove_dir(&storage.scratch())?;
        for directory in [storage.collections(), storage.replaced(), storage.scratch()] {
            disk::create_dir(&directory)?;
        }
        storage.finish_replacements()?;
        let mut catalogue = Catalogue {
            collections: BTreeMap::new(),
            aliases: Aliases::load(data_dir.join("aliases.json"))?,
            lock: Some(lock),
        };
        for name in disk::names_in(&storage.collections())? {
            let name = CollectionName::parse(&name)?;
            let open = OpenCollection::reopen(&name.below(&storage.collections()))
                .map_err(|error| error.context(format_args!("open collection `{name}`")))?;
            catalogue.insert(name, open);
        }
        storage.catalogue = Mutex::new(catalogue);
        Ok(storage)
    }

    /// Makes the node a peer of its cluster. Shards that nobody knew there are active.
    pub(crate) async fn join(self: &Arc<Self>) -> Result<()> {
        let mut local = Vec::new();
        for name in self.names().await {
            let peer_id = self.peer_id;
            let found = self.find(&name).await?;
            let topology = found.read(move |open| Ok(local_topology(open, peer_id))).await?;
            local.push((name, topology));
        }
        self.cluster.join(self.peer_id, self, local);
        self.cluster.catch_up().await;
        Ok(())
    }

    /// After a crash in the middle of a replacement: the old collection if the new one is
    /// not in its place yet, else the new one.
    fn finish_replacements(&self) -> Result<()> {
        for name in disk::names_in(&self.replaced())? {
            let old = self.replaced().join(&name);
            let place = self.collections().join(&name);
            if place.exists() {
                disk::remove_dir(&old)?;
            } else {
                disk::rename(&old, &place)?;
            }
        }
        Ok(())
    }

    fn collections(&self) -> PathBuf {
        self.data_dir.join("collections")
    }

    fn replaced(&self) -> PathBuf {
        self.data_dir.join("replaced")
    }

    /// For files in the making; emptied at every start.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.data_dir.join("tmp")
    }

    /// Where the snapshots of a shard are.
    pub(crate) fn shard_snapshots(&self, name: &CollectionName, shard: u32) -> PathBuf {
        self.snapshots(name).join("shards").join(shard.to_string())
    }

    /// Where the snapshots of a collection are. They survive the collection, as on a
    /// Qdrant server.
    pub(crate) fn snapshots(&self, name: &CollectionName) -> PathBuf {
        name.below(&self.data_dir.join("snapshots"))
    }

    /// The names of all collections, sorted.
    pub(crate) async fn names(&self) -> Vec<String> {
        let catalogue = self.catalogue.lock().await;
        let names = catalogue.collections.keys();
        names.map(|name| name.as_str().to_owned()).collect()
    }

    /// The collection of that name or alias.
    pub(crate) async fn find(&self, name: &str) -> Result<Arc<Collection>> {
        let name = CollectionName::parse(name)?;
        let catalogue = self.catalogue.lock().await;
        let real = catalogue.aliases.target(name.as_str());
        let real = real.map_or_else(|| Ok(name.clone()), CollectionName::parse)?;
        let found = catalogue.collections.get(&real);
        found.cloned().ok_or_else(|| missing(&name))
    }

    /// Where the shards of a collection are.
    pub(crate) fn topology(&self, collection: &Collection) -> Result<Topology> {
        self.cluster.topology(collection.name.as_str())
    }

    /// Closes every collection; waits for what still runs on them.
    pub(crate) async fn close(&self) {
        self.cluster.leave(self.peer_id);
        let mut catalogue = self.catalogue.lock().await;
        for collection in std::mem::take(&mut catalogue.collections).into_values() {
            let _writer = collection.writer.lock().await;
            let mut open = collection.open.clone().write_owned().await;
            // The engine flushes when it is dropped, which blocks.
            let closed = spawn_blocking(move || *open = None).await;
            if let Err(error) = closed {
                tracing::error!(collection = %collection.name, %error, "collection was not flushed");
            }
        }
        catalogue.lock = None;
    }
}

impl Catalogue {
    fn insert(&mut self, name: CollectionName, open: OpenCollection) {
        let collection = Collection {
            name: name.clone(),
            open: Arc::new(RwLock::new(Some(open))),
            writer: Arc::new(Mutex::default()),
            snapshots: std::sync::Mutex::default(),
        };
        self.collections.insert(name, Arc::new(collection));
    }

    fn check_free(&self, name: &CollectionName) -> Result<()> {
        if self.collections.contains_key(name) {
            return Err(Error::conflict(format_args!("Collection `{name}` already exists!")));
        }
        if self.aliases.target(name.as_str()).is_some() {
            return Err(Error::bad_input(format_args!(
                "Can't create collection with name {name}. Alias with the same name already exists"
            )));
        }
        Ok(())
    }
}

impl Collection {
    /// What a snapshot of a shard is made under.
    pub(crate) fn snapshot_lock(&self, shard: u32) -> Arc<Mutex<()>> {
        let mut locks = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        locks.entry(shard).or_default().clone()
    }

    /// Runs `work` on the open collection, beside other readers and a writer.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&OpenCollection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let open = self.open.clone().read_owned().await;
        let missing = missing(&self.name);
        blocking(move || work(open.as_ref().ok_or(missing)?)).await
    }

    /// Runs `work`, which changes points or needs them unchanged, as the only such one.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&OpenCollection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let writer = self.writer.clone().lock_owned().await;
        let open = self.open.clone().read_owned().await;
        let missing = missing(&self.name);
        blocking(move || {
            let _writer = writer;
            work(open.as_ref().ok_or(missing)?)
        })
        .await
    }

    /// Runs `work` with the collection for itself.
    pub(crate) async fn alter<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut OpenCollection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let writer = self.writer.clone().lock_owned().await;
        let mut open = self.open.clone().write_owned().await;
        let missing = missing(&self.name);
        blocking(move || {
            let _writer = writer;
            work(open.as_mut().ok_or(missing)?)
        })
        .await
    }
}

/// What the data directory says of a collection that no other node knows.
fn local_topology(open: &OpenCollection, peer_id: u64) -> Topology {
    let custom = open.config.is_custom();
    let local: Vec<u32> = open.shards().map(|(id, _)| id).collect();
    let all: Vec<u32> = match custom {
        true => open.keys.keys().copied().collect(),
        false => (0..open.config.params.shard_number.get()).collect(),
    };
    let placed = |id: u32| Placed {
        key: open.keys.get(&id).cloned(),
        replicas: local
            .contains(&id)
            .then(|| (peer_id, "Active".to_owned()))
            .into_iter()
            .collect(),
    };
    Topology {
        custom,
        shards: all.into_iter().map(|id| (id, placed(id))).collect(),
        ..Topology::default()
    }
}

/// Refuses a data directory that another node has open.
fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).map_err(|error| Error::io(format_args!("open {path:?}"), &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::internal(format_args!(
            "{path:?} is locked: another node uses this data directory; stop it or take another"
        ))),
        Err(TryLockError::Error(error)) => Err(Error::io(format_args!("lock {path:?}"), &error)),
    }
}

fn staging(scratch: &Path) -> Result<TempDir> {
    tempfile::tempdir_in(scratch).map_err(|error| Error::io(format_args!("make a directory in {scratch:?}"), &error))
}

fn missing(name: &CollectionName) -> Error {
    Error::not_found(format_args!("Collection `{name}` doesn't exist!"))
}

/// Runs blocking work on its own thread. A panic in the engine becomes an error.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::internal(format_args!("the engine failed: {error}"))),
    }
}
