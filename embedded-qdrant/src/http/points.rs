//! Points over HTTP.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::json;

use super::Shared;
use super::envelope::{Body, timed};
use super::shards::ShardPath;
use crate::points::{Count, Delete, Query, Question, Scroll, Search, Upsert};

type Node = State<Arc<Shared>>;

/// Answered only when the points are on disk, whatever `wait` says: the engine does not
/// replay its log after a crash.
pub(super) async fn upsert(State(node): Node, Path(name): Path<String>, Body(upsert): Body<Upsert>) -> Response {
    timed(async {
        node.storage.update(&name, |topology| upsert.divide(topology)).await?;
        Ok(json!({"operation_id": null, "status": "completed"}))
    })
    .await
}

pub(super) async fn delete(State(node): Node, Path(name): Path<String>, Body(delete): Body<Delete>) -> Response {
    timed(async {
        node.storage.update(&name, |topology| delete.divide(topology)).await?;
        Ok(json!({"operation_id": null, "status": "completed"}))
    })
    .await
}

pub(super) async fn count(node: Node, path: Path<String>, body: Body<Count>) -> Response {
    ask(node, path, body).await
}

pub(super) async fn scroll(node: Node, path: Path<String>, body: Body<Scroll>) -> Response {
    ask(node, path, body).await
}

pub(super) async fn search(node: Node, path: Path<String>, body: Body<Search>) -> Response {
    ask(node, path, body).await
}

pub(super) async fn query(node: Node, path: Path<String>, body: Body<Query>) -> Response {
    ask(node, path, body).await
}

async fn ask<Q: Question>(State(node): Node, Path(name): Path<String>, Body(question): Body<Q>) -> Response {
    timed(node.storage.ask(&name, question)).await
}

pub(super) async fn count_in_shard(node: Node, path: ShardPath, body: Body<Count>) -> Response {
    ask_shard(node, path, body).await
}

pub(super) async fn scroll_in_shard(node: Node, path: ShardPath, body: Body<Scroll>) -> Response {
    ask_shard(node, path, body).await
}

async fn ask_shard<Q: Question>(State(node): Node, path: ShardPath, Body(question): Body<Q>) -> Response {
    timed(node.storage.ask_local(&path.collection, path.shard, question)).await
}
