//! Collections and shards written into snapshots, and restored from them.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use tempfile::TempDir;
use uuid::Uuid;

use super::{Collection, Storage, blocking, staging};
use crate::collection::{self, OpenCollection, PayloadIndexes, shards_in};
use crate::config::CollectionConfig;
use crate::disk;
use crate::error::{Error, Result};
use crate::names::CollectionName;
use crate::snapshot::create::{Form, Writer, Written};
use crate::snapshot::unpack::{unpack, unpack_shard};

/// Which data wins where a restored shard has other replicas.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Priority {
    NoSync,
    #[default]
    Snapshot,
    Replica,
}

impl Storage {
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

        let changes = self.cluster.changes().await;
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
        let writer = collection.writer.lock().await;
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
        drop((changes, writer));
        for id in restored {
            self.cluster.recovered(name.as_str(), id, self.peer_id, priority);
        }
        self.cluster.catch_up().await;
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
        let name = collection.name.as_str();
        self.put_shard(collection, id, snapshot).await?;
        self.cluster.recovered(name, id, self.peer_id, priority);
        self.cluster.catch_up().await;
        Ok(())
    }

    /// The same without a word to other replicas. What cannot be unpacked changes nothing;
    /// what cannot be opened leaves a dead replica without points.
    pub(crate) async fn put_shard(&self, collection: &Collection, id: u32, snapshot: PathBuf) -> Result<()> {
        let scratch = self.scratch();
        let staged = blocking(move || {
            let staged = staging(&scratch)?;
            let has_points = unpack_shard(&snapshot, staged.path())?;
            Ok(has_points.then_some(staged))
        })
        .await?;
        let replaced = collection
            .alter(move |open| open.replace_shard(id, staged.as_ref().map(TempDir::path)))
            .await;
        if replaced.is_err() {
            self.cluster
                .set_state(collection.name.as_str(), id, self.peer_id, "Dead");
        }
        replaced
    }

    /// Writes the tar of a shard that is here to the disk while nobody writes to the
    /// collection.
    pub(crate) async fn pack(&self, name: &str, id: u32, form: Form) -> Result<Written> {
        let collection = self.find(name).await?;
        let topology = self.topology(&collection)?;
        let (peer_id, scratch) = (self.peer_id, self.scratch());
        collection
            .write(move |open| {
                let writer = Writer {
                    collection: open,
                    topology: &topology,
                    peer_id,
                    scratch: &scratch,
                };
                writer.shard(id, form)
            })
            .await
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
