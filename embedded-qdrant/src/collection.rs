//! One collection on disk and in the engine.
//!
//! Its directory is laid out as Qdrant lays out its own: `config.json`, `version.info`,
//! `payload_index.json`, `shard_key_mapping.json`, and each shard that is on this node in
//! a directory that is named after its id.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use qdrant_edge::{
    CreateIndex, EdgeShard, FieldIndexOperations, JsonPath, PayloadFieldSchema, ShardInfo, UpdateOperation,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cluster::{Mapping, ShardKey, mapping};
use crate::config::CollectionConfig;
use crate::disk;
use crate::error::{Error, Result};

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const PAYLOAD_INDEX: &str = "payload_index.json";
pub(crate) const SHARD_KEYS: &str = "shard_key_mapping.json";
pub(crate) const VERSION: &str = "version.info";
/// Version of Qdrant's `collection` crate in releases 1.18: what it writes to `version.info`.
pub(crate) const STORAGE_VERSION: &str = "0.4.2";

/// The payload indexes of a collection, as in `payload_index.json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct PayloadIndexes {
    schema: HashMap<JsonPath, PayloadFieldSchema>,
}

/// Body of `PUT /collections/{c}/index`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct CreatePayloadIndex {
    field_name: JsonPath,
    field_schema: Option<PayloadFieldSchema>,
}

/// The engine's shard, with an end that does not panic.
///
/// The engine flushes when it is dropped and panics if it cannot, say because the data
/// directory of a test is gone already; in a destructor that would abort the process.
/// Nothing depends on this flush: every write was flushed before it was answered.
pub(crate) struct Shard(Option<EdgeShard>);

impl Deref for Shard {
    type Target = EdgeShard;

    fn deref(&self) -> &EdgeShard {
        match &self.0 {
            Some(shard) => shard,
            None => unreachable!("only drop takes the shard out"),
        }
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        let Some(shard) = self.0.take() else { return };
        let path = shard.path().to_owned();
        if !path.is_dir() {
            std::mem::forget(shard);
        } else if catch_unwind(AssertUnwindSafe(|| drop(shard))).is_err() {
            tracing::error!(path = %path.display(), "the engine did not close {path:?} cleanly");
        }
    }
}

/// Opens a shard. Its log is locked for whoever has it open; a process that is being started anywhere in this one has inherited
/// what was open then, and gives it back a moment later.
fn load(dir: &Path, config: &CollectionConfig, schema: Schema) -> Result<Shard> {
    const TRIES: u32 = 100;
    let mut tries = 0;
    loop {
        match EdgeShard::load(dir, Some(config.engine()?)) {
            Err(error) if tries < TRIES && error.to_string().contains("WouldBlock") => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => match schema {
                Schema::Collection => return Err(error.into()),
                Schema::Any => {
                    let other = EdgeShard::load(dir, None).map_err(|_| error)?;
                    return Ok(Shard(Some(other)));
                }
            },
            Ok(shard) => return Ok(Shard(Some(shard))),
        }
    }
}

/// Which schema a shard may have.
#[derive(Clone, Copy)]
enum Schema {
    /// The collection's.
    Collection,
    /// Whatever its segments have: a Qdrant server restores every shard of whatever schema.
    Any,
}

/// A collection opened in the engine, with those of its shards that are on this node. Its
/// calls block.
pub(crate) struct OpenCollection {
    dir: PathBuf,
    pub(crate) config: CollectionConfig,
    pub(crate) indexes: PayloadIndexes,
    /// The keys of all shards that have one, wherever they are.
    pub(crate) keys: BTreeMap<u32, ShardKey>,
    shards: BTreeMap<u32, Shard>,
}

impl OpenCollection {
    /// Writes a new collection into the existing, empty directory `dir`, with these shards,
    /// which are empty.
    pub(crate) fn create(
        dir: &Path,
        config: &CollectionConfig,
        indexes: &PayloadIndexes,
        shards: impl IntoIterator<Item = u32>,
    ) -> Result<()> {
        config.check()?;
        describe(dir, config, indexes, &BTreeMap::new())?;
        shards.into_iter().try_for_each(|id| create_shard(dir, config, id))
    }

    /// Opens what was unpacked into `dir`, all shards of the collection's schema.
    pub(crate) fn load(dir: &Path) -> Result<Self> {
        Self::load_with(dir, Schema::Collection)
    }

    /// Opens what `create` or a restore left in `dir`.
    pub(crate) fn reopen(dir: &Path) -> Result<Self> {
        Self::load_with(dir, Schema::Any)
    }

    fn load_with(dir: &Path, schema: Schema) -> Result<Self> {
        let config: CollectionConfig = disk::read_json(&dir.join(CONFIG))?;
        config.check()?;
        let mut open = Self {
            dir: dir.to_owned(),
            indexes: disk::read_json(&dir.join(PAYLOAD_INDEX))?,
            keys: disk::read_json::<Mapping>(&dir.join(SHARD_KEYS))?.keys(),
            shards: BTreeMap::new(),
            config,
        };
        for id in shards_in(dir)? {
            open.open_shard(id, schema)?;
        }
        Ok(open)
    }

    fn open_shard(&mut self, id: u32, schema: Schema) -> Result<()> {
        let shard = load(&self.shard_dir(id), &self.config, schema)?;
        build_missing_indexes(&shard, &self.indexes)?;
        self.shards.insert(id, shard);
        Ok(())
    }

    /// Adds empty shards, and the key of those that have one, here or on other nodes.
    pub(crate) fn add_shards(&mut self, local: &[u32], all: &[u32], key: Option<&ShardKey>) -> Result<()> {
        if let Some(key) = key {
            self.keys.extend(all.iter().map(|id| (*id, key.clone())));
            self.write_keys()?;
        }
        for id in local {
            create_shard(&self.dir, &self.config, *id)?;
            self.open_shard(*id, Schema::Collection)?;
        }
        Ok(())
    }

    /// Drops shards with their data and their place in the keys.
    pub(crate) fn remove_shards(&mut self, ids: &[u32]) -> Result<()> {
        self.keys.retain(|id, _| !ids.contains(id));
        self.write_keys()?;
        for id in ids {
            drop(self.shards.remove(id));
            disk::remove_dir(&self.shard_dir(*id))?;
        }
        Ok(())
    }

    fn write_keys(&self) -> Result<()> {
        disk::write_json(&self.dir.join(SHARD_KEYS), &mapping(&self.keys))
    }

    /// Puts the content of the directory `staged` in the place of a shard, or without one
    /// nothing. For a moment the shard is in no place at all: a node that ends abruptly
    /// just then has lost it.
    ///
    /// If the engine does not open it the shard is empty afterwards, as on a Qdrant server.
    pub(crate) fn replace_shard(&mut self, id: u32, staged: Option<&Path>) -> Result<()> {
        let place = self.shard_dir(id);
        drop(self.shards.remove(&id));
        disk::remove_dir(&place)?;
        let opened = match staged {
            Some(staged) => disk::rename(staged, &place).and_then(|()| self.open_shard(id, Schema::Any)),
            None => Err(Error::internal("nothing to restore")),
        };
        if opened.is_err() {
            disk::remove_dir(&place)?;
            create_shard(&self.dir, &self.config, id)?;
            self.open_shard(id, Schema::Collection)?;
        }
        match staged {
            Some(_) => opened,
            None => Ok(()),
        }
    }

    /// A shard that is on this node.
    pub(crate) fn shard(&self, id: u32) -> Result<&EdgeShard> {
        let found = self.shards.get(&id).map(|shard| &**shard);
        found.ok_or_else(|| Error::not_found(format_args!("shard {id} not found")))
    }

    /// The shards that are on this node.
    pub(crate) fn shards(&self) -> impl Iterator<Item = (u32, &EdgeShard)> {
        self.shards.iter().map(|(id, shard)| (*id, &**shard))
    }

    /// Builds a payload index and remembers it in `payload_index.json`.
    pub(crate) fn create_index(&mut self, request: CreatePayloadIndex) -> Result<()> {
        let CreatePayloadIndex {
            field_name,
            field_schema,
        } = request;
        let schema = field_schema.ok_or_else(|| {
            Error::bad_input(format_args!(
                "no field_schema for the index on {field_name}; this node does not guess it"
            ))
        })?;
        for shard in self.shards.values() {
            build_index(shard, field_name.clone(), schema.clone())?;
        }
        self.indexes.schema.insert(field_name, schema);
        disk::write_json(&self.dir.join(PAYLOAD_INDEX), &self.indexes)
    }

    /// `result` of `GET /collections/{c}`, of the shards that are on this node.
    pub(crate) fn info(&self) -> Result<Value> {
        let mut totals = Totals::default();
        self.shards.values().try_for_each(|shard| totals.add(shard.info()))?;
        self.shown(&totals)
    }

    /// The same of the shards that `totals` are of.
    pub(crate) fn shown(&self, totals: &Totals) -> Result<Value> {
        Ok(json!({
            "status": "green",
            "optimizer_status": "ok",
            "indexed_vectors_count": totals.indexed_vectors,
            "points_count": totals.points,
            "segments_count": totals.segments,
            "config": self.config.public()?,
            "payload_schema": totals.schema,
            "update_queue": {"length": 0},
        }))
    }

    /// The collection's directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a shard's files are.
    pub(crate) fn shard_dir(&self, id: u32) -> PathBuf {
        self.dir.join(id.to_string())
    }
}

/// What is counted over shards.
#[derive(Default)]
pub(crate) struct Totals {
    indexed_vectors: usize,
    points: usize,
    segments: usize,
    schema: BTreeMap<String, Value>,
}

impl Totals {
    pub(crate) fn add(&mut self, info: ShardInfo) -> Result<()> {
        self.indexed_vectors += info.indexed_vectors_count;
        self.points += info.points_count;
        self.segments += info.segments_count;
        for (field, index) in info.payload_schema {
            let index = serde_json::to_value(index).map_err(Error::internal)?;
            match self.schema.get_mut(&field.to_string()) {
                Some(known) => known["points"] = json!(count(known) + count(&index)),
                None => drop(self.schema.insert(field.to_string(), index)),
            }
        }
        Ok(())
    }
}

fn count(index: &Value) -> u64 {
    index["points"].as_u64().unwrap_or(0)
}

fn create_shard(collection: &Path, config: &CollectionConfig, id: u32) -> Result<()> {
    let dir = collection.join(id.to_string());
    disk::create_dir(&dir)?;
    EdgeShard::new(&dir, config.engine()?)?;
    Ok(())
}

/// A restored shard gets the collection's indexes, whatever its snapshot had.
fn build_missing_indexes(shard: &EdgeShard, indexes: &PayloadIndexes) -> Result<()> {
    let built = shard.info().payload_schema;
    for (field, schema) in &indexes.schema {
        if !built.contains_key(field) {
            build_index(shard, field.clone(), schema.clone())?;
        }
    }
    Ok(())
}

fn build_index(shard: &EdgeShard, field_name: JsonPath, schema: PayloadFieldSchema) -> Result<()> {
    let create = FieldIndexOperations::CreateIndex(CreateIndex {
        field_name,
        field_schema: Some(schema),
    });
    shard.update(UpdateOperation::FieldIndexOperation(create))?;
    shard.flush();
    Ok(())
}

/// The ids of the shards that have a directory in that of a collection.
pub(crate) fn shards_in(dir: &Path) -> Result<Vec<u32>> {
    let names = disk::names_in(dir)?.into_iter();
    let mut ids: Vec<u32> = names.filter_map(|name| name.parse().ok()).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// Writes everything of a collection but its shards.
pub(crate) fn describe(
    dir: &Path,
    config: &CollectionConfig,
    indexes: &PayloadIndexes,
    keys: &BTreeMap<u32, ShardKey>,
) -> Result<()> {
    disk::write_json(&dir.join(CONFIG), config)?;
    disk::write_json(&dir.join(PAYLOAD_INDEX), indexes)?;
    disk::write_json(&dir.join(SHARD_KEYS), &mapping(keys))?;
    disk::write(&dir.join(VERSION), STORAGE_VERSION.as_bytes())
}
