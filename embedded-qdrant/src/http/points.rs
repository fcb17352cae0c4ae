//! Points over HTTP.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::json;

use super::Shared;
use super::envelope::{Body, timed};
use crate::points::{Count, Delete, Query, Scroll, Search, Upsert};

type Node = State<Arc<Shared>>;

/// Answered only when the points are on disk, whatever `wait` says: the engine does not
/// replay its log after a crash.
pub(super) async fn upsert(State(node): Node, Path(name): Path<String>, Body(upsert): Body<Upsert>) -> Response {
    timed(async {
        let collection = node.storage.find(&name).await?;
        collection
            .write(|open| {
                upsert.run(&open.shard)?;
                open.shard.flush();
                Ok(())
            })
            .await?;
        Ok(json!({"operation_id": null, "status": "completed"}))
    })
    .await
}

pub(super) async fn delete(State(node): Node, Path(name): Path<String>, Body(delete): Body<Delete>) -> Response {
    timed(async {
        let collection = node.storage.find(&name).await?;
        collection
            .write(|open| {
                delete.run(&open.shard)?;
                open.shard.flush();
                Ok(())
            })
            .await?;
        Ok(json!({"operation_id": null, "status": "completed"}))
    })
    .await
}

pub(super) async fn count(State(node): Node, Path(name): Path<String>, Body(count): Body<Count>) -> Response {
    timed(async {
        let collection = node.storage.find(&name).await?;
        collection.read(|open| count.run(&open.shard)).await
    })
    .await
}

pub(super) async fn scroll(State(node): Node, Path(name): Path<String>, Body(scroll): Body<Scroll>) -> Response {
    timed(async {
        let collection = node.storage.find(&name).await?;
        collection.read(|open| scroll.run(&open.shard)).await
    })
    .await
}

pub(super) async fn search(State(node): Node, Path(name): Path<String>, Body(search): Body<Search>) -> Response {
    timed(async {
        let collection = node.storage.find(&name).await?;
        collection.read(|open| search.run(&open.shard)).await
    })
    .await
}

pub(super) async fn query(State(node): Node, Path(name): Path<String>, Body(query): Body<Query>) -> Response {
    timed(async {
        let collection = node.storage.find(&name).await?;
        let points = collection.read(|open| query.run(&open.shard)).await?;
        Ok(Hits { points })
    })
    .await
}

/// `result` of a query.
#[derive(serde::Serialize)]
struct Hits {
    points: Vec<crate::points::Hit>,
}
