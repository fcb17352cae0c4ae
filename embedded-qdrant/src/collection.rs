//! One collection on disk and in the engine.
//!
//! Its directory is laid out as Qdrant lays out its own: `config.json`, `version.info`,
//! `payload_index.json`, `shard_key_mapping.json`, and the shard in `0/`.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use qdrant_edge::{CreateIndex, EdgeShard, FieldIndexOperations, JsonPath, PayloadFieldSchema, UpdateOperation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::CollectionConfig;
use crate::disk;
use crate::error::{Error, Result};

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const PAYLOAD_INDEX: &str = "payload_index.json";
pub(crate) const SHARD_KEYS: &str = "shard_key_mapping.json";
pub(crate) const VERSION: &str = "version.info";
/// The directory of the only shard.
pub(crate) const SHARD: &str = "0";
/// Version of Qdrant's `collection` crate in releases 1.18: what it writes to `version.info`.
pub(crate) const STORAGE_VERSION: &str = "0.4.2";

/// The payload indexes of a collection, as in `payload_index.json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct PayloadIndexes {
    schema: HashMap<JsonPath, PayloadFieldSchema>,
}

/// Body of `PUT /collections/{c}/index`.
#[derive(Debug, Deserialize)]
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
fn load(dir: &Path, config: &CollectionConfig) -> Result<EdgeShard> {
    const TRIES: u32 = 100;
    let mut tries = 0;
    loop {
        match EdgeShard::load(dir, Some(config.engine()?)) {
            Err(error) if tries < TRIES && error.to_string().contains("WouldBlock") => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            loaded => return Ok(loaded?),
        }
    }
}

/// A collection opened in the engine. Its calls block.
pub(crate) struct OpenCollection {
    dir: PathBuf,
    pub(crate) config: CollectionConfig,
    pub(crate) indexes: PayloadIndexes,
    pub(crate) shard: Shard,
}

impl OpenCollection {
    /// Writes a new, empty collection into the existing, empty directory `dir`.
    pub(crate) fn create(dir: &Path, config: &CollectionConfig) -> Result<()> {
        config.check()?;
        describe(dir, config, &PayloadIndexes::default())?;
        let shard = dir.join(SHARD);
        disk::create_dir(&shard)?;
        EdgeShard::new(&shard, config.engine()?)?;
        Ok(())
    }

    /// Opens what `create` or a restore left in `dir`.
    pub(crate) fn load(dir: &Path) -> Result<Self> {
        let config: CollectionConfig = disk::read_json(&dir.join(CONFIG))?;
        config.check()?;
        let open = Self {
            dir: dir.to_owned(),
            indexes: disk::read_json(&dir.join(PAYLOAD_INDEX))?,
            shard: Shard(Some(load(&dir.join(SHARD), &config)?)),
            config,
        };
        open.build_missing_indexes()?;
        Ok(open)
    }

    /// A restored shard gets the collection's indexes, whatever its snapshot had.
    fn build_missing_indexes(&self) -> Result<()> {
        let built = self.shard.info().payload_schema;
        for (field, schema) in &self.indexes.schema {
            if !built.contains_key(field) {
                self.build_index(field.clone(), schema.clone())?;
            }
        }
        Ok(())
    }

    fn build_index(&self, field_name: JsonPath, schema: PayloadFieldSchema) -> Result<()> {
        let create = FieldIndexOperations::CreateIndex(CreateIndex {
            field_name,
            field_schema: Some(schema),
        });
        self.shard.update(UpdateOperation::FieldIndexOperation(create))?;
        self.shard.flush();
        Ok(())
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
        self.build_index(field_name.clone(), schema.clone())?;
        self.indexes.schema.insert(field_name, schema);
        disk::write_json(&self.dir.join(PAYLOAD_INDEX), &self.indexes)
    }

    /// `result` of `GET /collections/{c}`.
    pub(crate) fn info(&self) -> Result<Value> {
        let info = self.shard.info();
        let schema: BTreeMap<String, _> = info
            .payload_schema
            .into_iter()
            .map(|(field, index)| (field.to_string(), index))
            .collect();
        Ok(json!({
            "status": "green",
            "optimizer_status": "ok",
            "indexed_vectors_count": info.indexed_vectors_count,
            "points_count": info.points_count,
            "segments_count": info.segments_count,
            "config": self.config.public()?,
            "payload_schema": schema,
            "update_queue": {"length": 0},
        }))
    }

    /// The collection's directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Writes everything of a collection but its shard.
pub(crate) fn describe(dir: &Path, config: &CollectionConfig, indexes: &PayloadIndexes) -> Result<()> {
    disk::write_json(&dir.join(CONFIG), config)?;
    disk::write_json(&dir.join(PAYLOAD_INDEX), indexes)?;
    disk::write_json(&dir.join(SHARD_KEYS), &json!({}))?;
    disk::write(&dir.join(VERSION), STORAGE_VERSION.as_bytes())
}
