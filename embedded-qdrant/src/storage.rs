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
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use tokio::sync::{Mutex, RwLock};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::aliases::{Action, Aliases};
use crate::collection::{self, OpenCollection};
use crate::config::CreateCollection;
use crate::disk;
use crate::error::{Error, Result};
use crate::names::CollectionName;
use crate::snapshot::unpack::unpack;

/// A collection in the catalogue; `open` is `None` once it has been dropped.
pub(crate) struct Collection {
    pub(crate) name: CollectionName,
    open: Arc<RwLock<Option<OpenCollection>>>,
    writer: Arc<Mutex<()>>,
}

pub(crate) struct Storage {
    data_dir: PathBuf,
    catalogue: Mutex<Catalogue>,
    /// Held while collections or aliases come and go; `catalogue` only for look-ups and the
    /// final touch, so that nobody waits for the engine or the disk to find a collection.
    changes: Mutex<()>,
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
    pub(crate) fn open(data_dir: &Path) -> Result<Self> {
        let storage = Self {
            data_dir: data_dir.to_owned(),
            catalogue: Mutex::default(),
            changes: Mutex::default(),
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
            let open = OpenCollection::load(&name.below(&storage.collections()))
                .map_err(|error| error.context(format_args!("open collection `{name}`")))?;
            catalogue.insert(name, open);
        }
        Ok(Self {
            catalogue: Mutex::new(catalogue),
            ..storage
        })
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

    /// Makes an empty collection.
    pub(crate) async fn create(&self, name: &str, request: CreateCollection) -> Result<()> {
        let name = CollectionName::parse(name)?;
        let _changes = self.changes.lock().await;
        self.catalogue.lock().await.check_free(&name)?;
        let (place, scratch) = (name.below(&self.collections()), self.scratch());
        let open = blocking(move || {
            let staged = staging(&scratch)?;
            OpenCollection::create(staged.path(), &request.into_config(Uuid::new_v4()))?;
            disk::rename(&staged.keep(), &place)?;
            OpenCollection::load(&place)
        })
        .await?;
        self.catalogue.lock().await.insert(name, open);
        Ok(())
    }

    /// Drops a collection and its aliases, not its snapshots. False if there was none.
    pub(crate) async fn delete(&self, name: &str) -> Result<bool> {
        let name = CollectionName::parse(name)?;
        let _changes = self.changes.lock().await;
        let mut catalogue = self.catalogue.lock().await;
        catalogue.aliases.drop_collection(name.as_str())?;
        let Some(collection) = catalogue.collections.remove(&name) else {
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

    /// Makes the collection `name` what `snapshot` holds. A missing collection gets the
    /// snapshot's configuration; an existing one of the same vectors keeps its own and
    /// its aliases. On an error everything is as before.
    pub(crate) async fn restore(&self, name: &str, snapshot: PathBuf) -> Result<()> {
        let name = CollectionName::parse(name)?;
        let scratch = self.scratch();
        let staged = blocking(move || {
            let staged = staging(&scratch)?;
            unpack(&snapshot, staged.path())?;
            Ok(staged)
        })
        .await?;

        let _changes = self.changes.lock().await;
        let place = name.below(&self.collections());
        let existing = self.catalogue.lock().await.collections.get(&name).cloned();
        let Some(collection) = existing else {
            self.catalogue.lock().await.check_free(&name)?;
            let open = blocking(move || {
                disk::rename(&staged.keep(), &place)?;
                OpenCollection::load(&place)
            })
            .await?;
            self.catalogue.lock().await.insert(name, open);
            return Ok(());
        };

        let _writer = collection.writer.lock().await;
        let mut open = collection.open.clone().write_owned().await;
        let replaced = name.below(&self.replaced());
        blocking(move || replace(&mut open, staged, &place, &replaced)).await
    }

    /// All aliases, or those of one collection, as (alias, collection).
    pub(crate) async fn aliases(&self, of: Option<&CollectionName>) -> Vec<(String, String)> {
        self.catalogue.lock().await.aliases.list(of.map(CollectionName::as_str))
    }

    /// Changes aliases: all of the actions, or on an error none.
    pub(crate) async fn change_aliases(&self, actions: Vec<Action>) -> Result<()> {
        let _changes = self.changes.lock().await;
        let mut guard = self.catalogue.lock().await;
        let Catalogue {
            collections, aliases, ..
        } = &mut *guard;
        let exists = |name: &str| collections.keys().any(|known| known.as_str() == name);
        aliases.change(actions, exists)
    }

    /// Closes every collection; waits for what still runs on them.
    pub(crate) async fn close(&self) {
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

/// Puts the staged collection in the place of the open one, under its configuration.
fn replace(slot: &mut Option<OpenCollection>, staged: TempDir, place: &Path, replaced: &Path) -> Result<()> {
    let gone = || Error::not_found("the collection was deleted meanwhile");
    let old = slot.as_ref().ok_or_else(gone)?;
    let new: crate::config::CollectionConfig = disk::read_json(&staged.path().join(collection::CONFIG))?;
    if new.params.vectors != old.config.params.vectors {
        return Err(Error::bad_input(format_args!(
            "Snapshot is not compatible with existing collection: Collection vectors: {:?} \
             Snapshot Vectors: {:?}",
            old.config.params.vectors, new.params.vectors
        )));
    }
    collection::describe(staged.path(), &old.config, &old.indexes)?;

    *slot = None;
    disk::rename(place, replaced)?;
    let swapped = disk::rename(staged.path(), place).and_then(|()| OpenCollection::load(place));
    match swapped {
        Ok(open) => {
            *slot = Some(open);
            disk::remove_dir(replaced)
        }
        Err(error) => {
            disk::remove_dir(place)?;
            disk::rename(replaced, place)?;
            *slot = Some(OpenCollection::load(place)?);
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
