//! A collection's configuration: Qdrant's JSON shape (`config.json`, `GET
//! /collections/{c}`) on one side, the engine's on the other.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;

use qdrant_edge::{
    Distance, EdgeConfig, EdgeOptimizersConfig, EdgeSparseVectorParams, EdgeVectorParams, HnswIndexConfig, Modifier,
    MultiVectorConfig, QuantizationConfig, VectorStorageDatatype,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::names::check_vector_name;

/// What Qdrant keeps in a collection's `config.json`. Fields that this node has no use
/// for are kept as they came, so that a restored collection shows what its source showed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CollectionConfig {
    pub(crate) params: Params,
    hnsw_config: Value,
    optimizer_config: Value,
    wal_config: Value,
    #[serde(default)]
    quantization_config: Option<QuantizationConfig>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// `config.params`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Params {
    #[serde(default)]
    pub(crate) vectors: Vectors,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sparse_vectors: Option<BTreeMap<String, SparseVector>>,
    #[serde(default = "one")]
    pub(crate) shard_number: NonZeroU32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sharding_method: Option<ShardingMethod>,
    #[serde(default = "one")]
    pub(crate) replication_factor: NonZeroU32,
    #[serde(default = "one")]
    write_consistency_factor: NonZeroU32,
    #[serde(default = "yes")]
    on_disk_payload: bool,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// Who says to which shard a point belongs: the server, or the client.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ShardingMethod {
    Auto,
    Custom,
}

/// One unnamed dense vector, or any number of named ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Vectors {
    Single(DenseVector),
    Named(BTreeMap<String, DenseVector>),
}

impl Default for Vectors {
    fn default() -> Self {
        Self::Named(BTreeMap::new())
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DenseVector {
    size: usize,
    distance: Distance,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hnsw_config: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quantization_config: Option<QuantizationConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_disk: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    datatype: Option<VectorStorageDatatype>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    multivector_config: Option<MultiVectorConfig>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct SparseVector {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<SparseIndex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modifier: Option<Modifier>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct SparseIndex {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    full_scan_threshold: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_disk: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    datatype: Option<VectorStorageDatatype>,
}

/// The body of `PUT /collections/{c}`. Sections that only tune a server's background work
/// are taken over into the configuration and have no effect here.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateCollection {
    #[serde(default)]
    vectors: Vectors,
    sparse_vectors: Option<BTreeMap<String, SparseVector>>,
    shard_number: Option<NonZeroU32>,
    sharding_method: Option<ShardingMethod>,
    replication_factor: Option<NonZeroU32>,
    write_consistency_factor: Option<NonZeroU32>,
    on_disk_payload: Option<bool>,
    hnsw_config: Option<Value>,
    optimizers_config: Option<Value>,
    wal_config: Option<Value>,
    quantization_config: Option<QuantizationConfig>,
    strict_mode_config: Option<Value>,
    metadata: Option<Value>,
}

impl CreateCollection {
    /// Fills in Qdrant's defaults (release 1.18).
    pub(crate) fn into_config(self, uuid: uuid::Uuid) -> CollectionConfig {
        let mut other = Map::new();
        if let Some(strict) = self.strict_mode_config {
            other.insert("strict_mode_config".to_owned(), strict);
        }
        other.insert("uuid".to_owned(), json!(uuid));
        if let Some(metadata) = self.metadata {
            other.insert("metadata".to_owned(), metadata);
        }
        CollectionConfig {
            params: Params {
                vectors: self.vectors,
                sparse_vectors: self.sparse_vectors,
                shard_number: self.shard_number.unwrap_or(NonZeroU32::MIN),
                sharding_method: self.sharding_method,
                replication_factor: self.replication_factor.unwrap_or(NonZeroU32::MIN),
                write_consistency_factor: self.write_consistency_factor.unwrap_or(NonZeroU32::MIN),
                on_disk_payload: self.on_disk_payload.unwrap_or(true),
                other: Map::new(),
            },
            hnsw_config: overlaid(
                json!({
                    "m": 16, "ef_construct": 100, "full_scan_threshold": 10_000,
                    "max_indexing_threads": 0, "on_disk": false,
                }),
                self.hnsw_config.as_ref(),
            ),
            optimizer_config: overlaid(
                json!({
                    "deleted_threshold": 0.2, "vacuum_min_vector_number": 1000,
                    "default_segment_number": 0, "max_segment_size": null,
                    "memmap_threshold": null, "indexing_threshold": 10_000,
                    "flush_interval_sec": 5, "max_optimization_threads": null,
                    "prevent_unoptimized": null,
                }),
                self.optimizers_config.as_ref(),
            ),
            wal_config: overlaid(
                json!({"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1}),
                self.wal_config.as_ref(),
            ),
            quantization_config: self.quantization_config,
            other,
        }
    }
}

impl CollectionConfig {
    /// What `GET /collections/{c}` shows under `config`: all but the collection's uuid.
    pub(crate) fn public(&self) -> Result<Value> {
        let mut shown = serde_json::to_value(self).map_err(Error::internal)?;
        if let Some(fields) = shown.as_object_mut() {
            fields.remove("uuid");
        }
        Ok(shown)
    }

    /// Refuses vector names that are no safe file names, and unknown sharding methods.
    pub(crate) fn check(&self) -> Result<()> {
        if let Vectors::Named(named) = &self.params.vectors {
            named.keys().try_for_each(|name| check_vector_name(name))?;
        }
        let mut sparse = self.params.sparse_vectors.iter().flatten();
        sparse.try_for_each(|(name, _)| check_vector_name(name))
    }

    /// The same for another collection.
    pub(crate) fn with_uuid(mut self, uuid: uuid::Uuid) -> Self {
        self.other.insert("uuid".to_owned(), json!(uuid));
        self
    }

    /// Whether clients name the shard of each point.
    pub(crate) fn is_custom(&self) -> bool {
        self.params.sharding_method == Some(ShardingMethod::Custom)
    }

    /// The configuration with which the engine opens the shard.
    pub(crate) fn engine(&self) -> Result<EdgeConfig> {
        let hnsw_config = engine_hnsw(&self.hnsw_config, None)?;
        let mut vectors = HashMap::new();
        match &self.params.vectors {
            Vectors::Single(params) => {
                vectors.insert(String::new(), params.engine(&self.hnsw_config)?);
            }
            Vectors::Named(named) => {
                for (name, params) in named {
                    vectors.insert(name.clone(), params.engine(&self.hnsw_config)?);
                }
            }
        }
        let sparse_vectors = self.params.sparse_vectors.iter().flatten();
        Ok(EdgeConfig {
            on_disk_payload: self.params.on_disk_payload,
            vectors,
            sparse_vectors: sparse_vectors
                .map(|(name, params)| (name.clone(), params.engine()))
                .collect(),
            hnsw_config,
            quantization_config: self.quantization_config.clone(),
            optimizers: EdgeOptimizersConfig::default(),
            wal_options: None,
        })
    }
}

impl DenseVector {
    fn engine(&self, hnsw_base: &Value) -> Result<EdgeVectorParams> {
        let hnsw_config = match &self.hnsw_config {
            None => None,
            own => Some(engine_hnsw(hnsw_base, own.as_ref())?),
        };
        Ok(EdgeVectorParams {
            size: self.size,
            distance: self.distance,
            on_disk: self.on_disk,
            multivector_config: self.multivector_config,
            datatype: self.datatype,
            quantization_config: self.quantization_config.clone(),
            hnsw_config,
        })
    }
}

impl SparseVector {
    fn engine(&self) -> EdgeSparseVectorParams {
        let index = self.index.clone().unwrap_or_default();
        EdgeSparseVectorParams {
            full_scan_threshold: index.full_scan_threshold,
            on_disk: index.on_disk,
            modifier: self.modifier,
            datatype: index.datatype,
        }
    }
}

fn engine_hnsw(base: &Value, own: Option<&Value>) -> Result<HnswIndexConfig> {
    serde_json::from_value(overlaid(base.clone(), own))
        .map_err(|error| Error::bad_input(format_args!("hnsw_config: {error}")))
}

/// `base` with the fields of `over` that are not null.
fn overlaid(mut base: Value, over: Option<&Value>) -> Value {
    if let (Some(base), Some(over)) = (base.as_object_mut(), over.and_then(Value::as_object)) {
        for (name, value) in over.iter().filter(|(_, value)| !value.is_null()) {
            base.insert(name.clone(), value.clone());
        }
    }
    base
}

fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

fn yes() -> bool {
    true
}
