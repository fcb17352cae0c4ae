//! All collections of a node: found by name or alias, created, replaced, dropped.
//!
//! In the data directory: `collections/{name}/`, `snapshots/{name}/`, `aliases.json`,
//! `replaced/{name}/` (a collection that a restore is about to replace), `tmp/`, `lock`.
//!
//! A request that changes a collection takes its `writer` lock, then reads `open`; one
//! that swaps or drops it takes `writer` and then `open` for itself. The engine is used
//! only with one of the two guards held, so that no directory is moved under its feet.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use qdrant_edge::{PointOperations, UpdateOperation};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::sync::{Mutex, RwLock};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::aliases::{Action, Aliases};
use crate::cluster::{Cluster, Placed, Placement, ShardKey, Topology};
use crate::collection::{self, CreatePayloadIndex, OpenCollection, PayloadIndexes, shards_in};
use crate::config::{CollectionConfig, CreateCollection};
use crate::disk;
use crate::error::{Error, Result};
use crate::names::CollectionName;
use crate::points::{Parts, Question};
use crate::snapshot::unpack::{unpack, unpack_shard};

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

/// Body of `PUT /collections/{c}/shards`.
#[derive(Debug, Deserialize)]
pub(crate) struct CreateShardKey {
    shard_key: ShardKey,
    shards_number: Option<NonZeroU32>,
    replication_factor: Option<NonZeroU32>,
    placement: Option<Vec<u64>>,
    initial_state: Option<InitialState>,
}

/// The states that a client may name.
#[derive(Debug, Clone, Copy, Deserialize)]
enum InitialState {
    Active,
    Dead,
    Partial,
    Initializing,
    Listener,
    PartialSnapshot,
    Recovery,
    Resharding,
    ReshardingScaleDown,
    ActiveRead,
    ManualRecovery,
}

/// Which data wins where a restored shard has other replicas.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Priority {
    NoSync,
    #[default]
    Snapshot,
    Replica,
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

    /// Makes an empty collection, its shards divided among the peers.
    pub(crate) async fn create(&self, name: &str, request: CreateCollection) -> Result<()> {
        let name = CollectionName::parse(name)?;
        let _changes = self.cluster.changes().await;
        let config = request.into_config(Uuid::new_v4());
        self.create_everywhere(&name, &config, &PayloadIndexes::default()).await
    }

    /// The caller holds `changes`.
    async fn create_everywhere(
        &self,
        name: &CollectionName,
        config: &CollectionConfig,
        indexes: &PayloadIndexes,
    ) -> Result<()> {
        self.catalogue.lock().await.check_free(name)?;
        let mut topology = Topology {
            custom: config.is_custom(),
            ..Topology::default()
        };
        if !topology.custom {
            topology.add(Placement {
                key: None,
                shards: config.params.shard_number.get(),
                replicas: config.params.replication_factor.get(),
                peers: &self.cluster.places(None)?,
                state: "Active",
            });
        }
        for node in self.cluster.running() {
            let (place, scratch) = (name.below(&node.collections()), node.scratch());
            let (config, indexes) = (config.clone(), indexes.clone());
            let shards = topology.on(node.peer_id);
            let open = blocking(move || {
                let staged = staging(&scratch)?;
                OpenCollection::create(staged.path(), &config, &indexes, shards)?;
                disk::rename(&staged.keep(), &place)?;
                OpenCollection::reopen(&place)
            })
            .await?;
            node.catalogue.lock().await.insert(name.clone(), open);
        }
        self.cluster.set_topology(name.as_str(), Some(topology));
        Ok(())
    }

    /// Drops a collection and its aliases, not its snapshots. False if there was none.
    pub(crate) async fn delete(&self, name: &str) -> Result<bool> {
        let name = CollectionName::parse(name)?;
        let _changes = self.cluster.changes().await;
        let mut deleted = false;
        for node in self.cluster.running() {
            deleted |= node.delete_here(&name).await?;
        }
        self.cluster.set_topology(name.as_str(), None);
        Ok(deleted)
    }

    async fn delete_here(&self, name: &CollectionName) -> Result<bool> {
        let mut catalogue = self.catalogue.lock().await;
        catalogue.aliases.drop_collection(name.as_str())?;
        let Some(collection) = catalogue.collections.remove(name) else {
            return Ok(false);
        };
        drop(catalogue);
        let _writer = collection.writer.lock().await;
        let mut open = collection.open.clone().write_owned().await;
        let (place, scratch) = (name.below(&self.collections()), self.scratch());
        blocking(move || {
            *open = None;
            let trash = staging(&scratch)?.keep();
            disk::rename(&place, &trash)?;
            disk::remove_dir(&trash)
        })
        .await?;
        Ok(true)
    }

    /// Adds shards with a key of their own.
    pub(crate) async fn create_shard_key(&self, name: &str, request: CreateShardKey) -> Result<()> {
        let CreateShardKey { shard_key: key, .. } = request;
        let _changes = self.cluster.changes().await;
        let collection = self.find(name).await?;
        let name = collection.name.as_str();
        let mut topology = self.cluster.topology(name)?;
        if !topology.custom {
            return Err(Error::bad_request(
                "Shard Key cannot be created with Auto sharding method",
            ));
        }
        if !topology.of_key(&key).is_empty() {
            return Err(Error::bad_request(format_args!(
                "Sharding key {key} already exists for collection {name}"
            )));
        }
        if request.placement.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::bad_request(format_args!(
                "Sharding key {key} placement cannot be empty. If you want to use random placement, do not specify \
                 placement"
            )));
        }
        let peers = self.cluster.places(request.placement.as_deref())?;
        let (shards, replicas) = collection
            .read(|open| Ok((open.config.params.shard_number, open.config.params.replication_factor)))
            .await?;
        let ids = topology.add(Placement {
            key: Some(key.clone()),
            shards: request.shards_number.unwrap_or(shards).get(),
            replicas: request.replication_factor.unwrap_or(replicas).get(),
            peers: &peers,
            state: &format!("{:?}", request.initial_state.unwrap_or(InitialState::Active)),
        });
        for node in self.cluster.running() {
            let here = topology.on(node.peer_id);
            let local: Vec<u32> = ids.iter().copied().filter(|id| here.contains(id)).collect();
            let (ids, key) = (ids.clone(), key.clone());
            let found = node.find(name).await?;
            found
                .alter(move |open| open.add_shards(&local, &ids, Some(&key)))
                .await?;
        }
        self.cluster.set_topology(name, Some(topology));
        Ok(())
    }

    /// Drops the shards of a key with all that is in them.
    pub(crate) async fn delete_shard_key(&self, name: &str, key: &ShardKey) -> Result<()> {
        let _changes = self.cluster.changes().await;
        let collection = self.find(name).await?;
        let name = collection.name.as_str();
        let mut topology = self.cluster.topology(name)?;
        let ids = topology.of_key(key);
        if ids.is_empty() {
            return Err(Error::bad_request(format_args!(
                "Sharding key {key} does not exist for collection {name}"
            )));
        }
        topology.shards.retain(|id, _| !ids.contains(id));
        self.cluster.set_topology(name, Some(topology));
        for node in self.cluster.running() {
            let ids = ids.clone();
            let found = node.find(name).await?;
            found.alter(move |open| open.remove_shards(&ids)).await?;
        }
        Ok(())
    }

    /// Builds a payload index on every node.
    pub(crate) async fn create_index(&self, name: &str, request: CreatePayloadIndex) -> Result<()> {
        let collection = self.find(name).await?;
        for node in self.cluster.running() {
            let request = request.clone();
            let found = node.find(collection.name.as_str()).await?;
            found.alter(move |open| open.create_index(request)).await?;
        }
        Ok(())
    }

    /// Where the shards of a collection are.
    pub(crate) fn topology(&self, collection: &Collection) -> Result<Topology> {
        self.cluster.topology(collection.name.as_str())
    }

    /// Does what `divide` says to every replica that takes updates. It is on disk when this
    /// returns: the engine does not replay its log after a crash.
    pub(crate) async fn update(
        &self,
        name: &str,
        divide: impl FnOnce(&Topology) -> Result<BTreeMap<u32, PointOperations>>,
    ) -> Result<()> {
        let collection = self.find(name).await?;
        let topology = self.topology(&collection)?;
        for (id, operation) in divide(&topology)? {
            for node in self.cluster.writers(topology.shard(id)?) {
                let operation = operation.clone();
                let found = node.find(collection.name.as_str()).await?;
                let write = move |open: &OpenCollection| {
                    let shard = open.shard(id)?;
                    shard.update(UpdateOperation::PointOperation(operation))?;
                    shard.flush();
                    Ok(())
                };
                found.write(write).await?;
            }
        }
        Ok(())
    }

    /// Asks a replica of each shard that the question is for.
    pub(crate) async fn ask<Q: Question>(&self, name: &str, question: Q) -> Result<Q::Answer> {
        let collection = self.find(name).await?;
        question.check()?;
        let topology = self.topology(&collection)?;
        let mut parts: Parts<Q::Part> = Vec::new();
        for id in topology.read(question.shard_key())? {
            let placed = topology.shard(id)?;
            let node = self.cluster.reader(id, placed, self.peer_id)?;
            let found = node.find(collection.name.as_str()).await?;
            let asked = question.clone();
            let part = found.read(move |open| asked.ask(open.shard(id)?)).await?;
            parts.push((placed.key.clone(), part));
        }
        Ok(question.answer(parts))
    }

    /// Asks the replica that is here, whatever its state.
    pub(crate) async fn ask_local<Q: Question>(&self, name: &str, id: u32, question: Q) -> Result<Q::Answer> {
        let collection = self.find(name).await?;
        question.check()?;
        let topology = self.topology(&collection)?;
        let Placed { key, .. } = topology.expect_local(id, self.peer_id)?;
        let asked = question.clone();
        let part = collection.read(move |open| asked.ask(open.shard(id)?)).await?;
        Ok(question.answer(vec![(key.clone(), part)]))
    }

    /// Gives the shards of the collection `name` that are here what `snapshot` holds. A
    /// missing collection is made of the snapshot's configuration first; an existing one of
    /// the same vectors keeps its own, its aliases, and its shard keys. So a collection with
    /// shard keys that is made here has none, and nothing is restored: a fault that a Qdrant
    /// server has, too. On an error everything is as before.
    pub(crate) async fn restore(&self, name: &str, snapshot: PathBuf, priority: Priority) -> Result<()> {
        let name = CollectionName::parse(name)?;
        let scratch = self.scratch();
        let (staged, config, indexes) = blocking(move || {
            let staged = staging(&scratch)?;
            unpack(&snapshot, staged.path())?;
            let config: CollectionConfig = disk::read_json(&staged.path().join(collection::CONFIG))?;
            let indexes: PayloadIndexes = disk::read_json(&staged.path().join(collection::PAYLOAD_INDEX))?;
            Ok((staged, config.with_uuid(Uuid::new_v4()), indexes))
        })
        .await?;

        let _changes = self.cluster.changes().await;
        let existing = self.catalogue.lock().await.collections.get(&name).cloned();
        let collection = match existing {
            Some(collection) => collection,
            None => {
                self.create_everywhere(&name, &config, &indexes).await?;
                self.find(name.as_str()).await?
            }
        };
        let topology = self.topology(&collection)?;
        let local = topology.on(self.peer_id);
        let _writer = collection.writer.lock().await;
        let mut open = collection.open.clone().write_owned().await;
        let place = name.below(&self.collections());
        let replaced = name.below(&self.replaced());
        let restored = blocking(move || {
            check_compatible(open.as_ref(), &config)?;
            let found = shards_in(staged.path())?;
            if let Some(missing) = topology
                .shards
                .keys()
                .find(|id| !found.contains(id) && local.contains(id))
            {
                return Err(Error::internal(format_args!(
                    "No shard found: {missing} at {}",
                    staged.path().display()
                )));
            }
            for other in found.iter().filter(|id| !local.contains(id)) {
                disk::remove_dir(&staged.path().join(other.to_string()))?;
            }
            replace(&mut open, staged, &place, &replaced)?;
            Ok(local)
        })
        .await?;
        for id in restored {
            self.cluster.recovered(name.as_str(), id, self.peer_id, priority);
        }
        Ok(())
    }

    /// Gives the replica of a shard that is here what `snapshot` holds, whatever its schema.
    pub(crate) async fn restore_shard(
        &self,
        collection: &Collection,
        id: u32,
        snapshot: PathBuf,
        priority: Priority,
    ) -> Result<()> {
        let (name, scratch) = (collection.name.as_str(), self.scratch());
        let staged = blocking(move || {
            let staged = staging(&scratch)?;
            let has_points = unpack_shard(&snapshot, staged.path())?;
            Ok(has_points.then_some(staged))
        })
        .await?;
        let replaced = collection
            .alter(move |open| open.replace_shard(id, staged.as_ref().map(TempDir::path)))
            .await;
        match &replaced {
            Ok(()) => self.cluster.recovered(name, id, self.peer_id, priority),
            Err(_) => self.cluster.set_state(name, id, self.peer_id, "Dead"),
        }
        replaced
    }

    /// All aliases, or those of one collection, as (alias, collection).
    pub(crate) async fn aliases(&self, of: Option<&CollectionName>) -> Vec<(String, String)> {
        self.catalogue.lock().await.aliases.list(of.map(CollectionName::as_str))
    }

    /// Changes aliases: all of the actions, or on an error none.
    pub(crate) async fn change_aliases(&self, actions: Vec<Action>) -> Result<()> {
        let _changes = self.cluster.changes().await;
        for node in self.cluster.running() {
            let mut guard = node.catalogue.lock().await;
            let Catalogue {
                collections, aliases, ..
            } = &mut *guard;
            let exists = |name: &str| collections.keys().any(|known| known.as_str() == name);
            aliases.change(actions.clone(), exists)?;
        }
        Ok(())
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

fn check_compatible(open: Option<&OpenCollection>, new: &CollectionConfig) -> Result<()> {
    let old = &open.ok_or_else(gone)?.config.params;
    if new.params.vectors != old.vectors {
        return Err(Error::bad_input(format_args!(
            "Snapshot is not compatible with existing collection: Collection vectors: {:?} \
             Snapshot Vectors: {:?}",
            old.vectors, new.params.vectors
        )));
    }
    if new.params.shard_number != old.shard_number {
        return Err(Error::bad_input(format_args!(
            "Snapshot is not compatible with existing collection: Collection shard number: {} \
             Snapshot shard number: {}",
            old.shard_number, new.params.shard_number
        )));
    }
    Ok(())
}

fn gone() -> Error {
    Error::not_found("the collection was deleted meanwhile")
}

/// Puts the staged collection in the place of the open one, under its configuration.
fn replace(slot: &mut Option<OpenCollection>, staged: TempDir, place: &Path, replaced: &Path) -> Result<()> {
    let old = slot.as_ref().ok_or_else(gone)?;
    collection::describe(staged.path(), &old.config, &old.indexes, &old.keys)?;

    *slot = None;
    disk::rename(place, replaced)?;
    let swapped = disk::rename(staged.path(), place).and_then(|()| OpenCollection::reopen(place));
    match swapped {
        Ok(open) => {
            *slot = Some(open);
            disk::remove_dir(replaced)
        }
        Err(error) => {
            disk::remove_dir(place)?;
            disk::rename(replaced, place)?;
            *slot = Some(OpenCollection::reopen(place)?);
            Err(error)
        }
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
