//! Collections and aliases over HTTP.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::envelope::{Body, timed};
use crate::aliases::Action;
use crate::collection::CreatePayloadIndex;
use crate::config::CreateCollection;

type Node = State<Arc<Shared>>;

pub(super) async fn list(State(node): Node) -> Response {
    timed(async {
        let names = node.storage.names().await.into_iter();
        let names: Vec<Value> = names.map(|name| json!({"name": name})).collect();
        Ok(json!({"collections": names}))
    })
    .await
}

pub(super) async fn info(State(node): Node, Path(name): Path<String>) -> Response {
    timed(node.storage.info(&name)).await
}

pub(super) async fn exists(State(node): Node, Path(name): Path<String>) -> Response {
    timed(async {
        match node.storage.find(&name).await {
            Ok(_) => Ok(json!({"exists": true})),
            Err(error) if error.status() == http::StatusCode::NOT_FOUND => Ok(json!({"exists": false})),
            Err(error) => Err(error),
        }
    })
    .await
}

pub(super) async fn create(
    State(node): Node,
    Path(name): Path<String>,
    Body(request): Body<CreateCollection>,
) -> Response {
    let storage = node.storage.clone();
    let work = async move { storage.create(&name, request).await.map(|()| true) };
    timed(node.spawn(work)).await
}

pub(super) async fn delete(State(node): Node, Path(name): Path<String>) -> Response {
    let storage = node.storage.clone();
    timed(node.spawn(async move { storage.delete(&name).await })).await
}

pub(super) async fn create_index(
    State(node): Node,
    Path(name): Path<String>,
    Body(request): Body<CreatePayloadIndex>,
) -> Response {
    timed(async {
        node.storage.create_index(&name, request).await?;
        Ok(json!({"operation_id": null, "status": "completed"}))
    })
    .await
}

pub(super) async fn aliases(State(node): Node) -> Response {
    timed(async { Ok(shown(node.storage.aliases(None).await)) }).await
}

pub(super) async fn aliases_of(State(node): Node, Path(name): Path<String>) -> Response {
    timed(async {
        let collection = node.storage.find(&name).await?;
        Ok(shown(node.storage.aliases(Some(&collection.name)).await))
    })
    .await
}

fn shown(aliases: Vec<(String, String)>) -> Value {
    let aliases: Vec<Value> = aliases
        .into_iter()
        .map(|(alias, collection)| json!({"alias_name": alias, "collection_name": collection}))
        .collect();
    json!({"aliases": aliases})
}

/// Body of `POST /collections/aliases`.
#[derive(Deserialize)]
pub(super) struct ChangeAliases {
    actions: Vec<Action>,
}

pub(super) async fn change_aliases(State(node): Node, Body(request): Body<ChangeAliases>) -> Response {
    timed(async {
        node.storage.change_aliases(request.actions).await?;
        Ok(true)
    })
    .await
}
