//! What is not about collections: version, health, cluster, unknown paths.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use serde_json::json;

use super::{Shared, envelope};
use crate::error::Error;

pub(super) async fn root(State(shared): State<Arc<Shared>>) -> Response {
    Json(json!({
        "title": "qdrant - vector search engine",
        "version": shared.version,
        "commit": concat!("embedded-qdrant ", env!("CARGO_PKG_VERSION")),
    }))
    .into_response()
}

pub(super) async fn healthz() -> &'static str {
    "healthz check passed"
}

pub(super) async fn readyz() -> &'static str {
    "all shards are ready"
}

pub(super) async fn cluster() -> Response {
    envelope::timed(async { Ok(json!({"status": "disabled"})) }).await
}

/// Unknown paths, and known ones with a method that they do not have.
pub(super) async fn unknown(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    envelope::error(&Error::not_found(format_args!("{method} {path}")))
}

/// Qdrant has no HEAD: it answers 404 where GET works, so it does not do to ask for a
/// snapshot's size that way.
pub(super) async fn no_head(request: Request, next: Next) -> Response {
    if request.method() == Method::HEAD {
        return StatusCode::NOT_FOUND.into_response();
    }
    next.run(request).await
}
