//! Shards and their keys over HTTP.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, State};
use axum::response::Response;
use http::request::Parts;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Shared;
use super::envelope::{self, Body, timed};
use crate::cluster::ShardKey;
use crate::error::{Error, Result};
use crate::points::{Count, Question};
use crate::storage::CreateShardKey;

type Node = State<Arc<Shared>>;

/// A path that names a shard, and maybe one of its snapshots.
pub(super) struct ShardPath {
    pub(super) collection: String,
    pub(super) shard: u32,
    pub(super) snapshot: String,
}

#[derive(Deserialize)]
struct Segments {
    name: String,
    shard: String,
    #[serde(default)]
    snapshot: String,
}

impl<S: Send + Sync> FromRequestParts<S> for ShardPath {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> std::result::Result<Self, Response> {
        let refused = |why: String| envelope::error(&Error::malformed(why));
        let segments: std::result::Result<Path<Segments>, PathRejection> = Path::from_request_parts(parts, state).await;
        let Path(segments) = segments.map_err(|error| refused(error.body_text()))?;
        let shard = segments.shard.parse().map_err(|_| {
            refused(format!(
                "Deserialize error in path parameters: can not parse {:?} to a u32",
                segments.shard
            ))
        })?;
        Ok(Self {
            collection: segments.name,
            shard,
            snapshot: segments.snapshot,
        })
    }
}

pub(super) async fn list(State(node): Node, Path(name): Path<String>) -> Response {
    timed(async {
        let collection = node.storage.find(&name).await?;
        let topology = node.storage.topology(&collection)?;
        if !topology.custom {
            return Ok(json!({}));
        }
        let keys = topology.keys().into_iter();
        let keys: Vec<Value> = keys.map(|key| json!({"key": key})).collect();
        Ok(json!({"shard_keys": keys}))
    })
    .await
}

pub(super) async fn create(
    State(node): Node,
    Path(name): Path<String>,
    Body(request): Body<CreateShardKey>,
) -> Response {
    let work = {
        let node = node.clone();
        async move {
            node.expect_cluster()?;
            node.storage.create_shard_key(&name, request).await?;
            Ok(true)
        }
    };
    timed(node.spawn(work)).await
}

/// Body of `POST /collections/{c}/shards/delete`.
#[derive(Deserialize)]
pub(super) struct DeleteShardKey {
    shard_key: ShardKey,
}

pub(super) async fn delete(
    State(node): Node,
    Path(name): Path<String>,
    Body(request): Body<DeleteShardKey>,
) -> Response {
    let work = {
        let node = node.clone();
        async move {
            node.expect_cluster()?;
            node.storage.delete_shard_key(&name, &request.shard_key).await?;
            Ok(true)
        }
    };
    timed(node.spawn(work)).await
}

/// `GET /collections/{c}/cluster`, as this node sees it.
pub(super) async fn cluster(State(node): Node, Path(name): Path<String>) -> Response {
    timed(shown(&node, &name)).await
}

async fn shown(node: &Shared, name: &str) -> Result<Value> {
    let collection = node.storage.find(name).await?;
    let topology = node.storage.topology(&collection)?;
    let (mut local, mut remote) = (Vec::new(), Vec::new());
    for (id, placed) in &topology.shards {
        let mut common = Map::new();
        common.insert("shard_id".to_owned(), json!(id));
        if let Some(key) = &placed.key {
            common.insert("shard_key".to_owned(), json!(key));
        }
        for (peer, state) in &placed.replicas {
            let mut shown = common.clone();
            if *peer == node.peer_id {
                let id = *id;
                let counted = collection.read(move |open| Count::default().ask(open.shard(id)?));
                // A replica of which a test says that it is here has no points.
                shown.insert("points_count".to_owned(), json!(counted.await.unwrap_or(0)));
            } else {
                shown.insert("peer_id".to_owned(), json!(peer));
            }
            shown.insert("state".to_owned(), json!(state));
            match *peer == node.peer_id {
                true => local.push(Value::Object(shown)),
                false => remote.push(Value::Object(shown)),
            }
        }
    }
    let mut shown = json!({
        "peer_id": node.peer_id,
        "shard_count": topology.shards.len(),
        "local_shards": local,
        "remote_shards": remote,
        "shard_transfers": topology.transfers,
    });
    if let Some(operations) = topology.resharding {
        shown["resharding_operations"] = operations;
    }
    Ok(shown)
}
