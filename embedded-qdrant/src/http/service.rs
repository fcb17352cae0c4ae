//! What is not about collections: version, health, cluster, unknown paths.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use serde_json::json;
use time::format_description::well_known::Rfc3339;

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

/// Consensus is told as of a cluster in good order: here it takes no time.
pub(super) async fn cluster(State(shared): State<Arc<Shared>>) -> Response {
    envelope::timed(async {
        let Some(cluster) = &shared.cluster else {
            return Ok(json!({"status": "disabled"}));
        };
        let now = (shared.clock)().format(&Rfc3339).map_err(Error::internal)?;
        Ok(json!({
            "status": "enabled",
            "peer_id": shared.peer_id,
            "peers": cluster.shown(),
            "raft_info": {
                "term": 1, "commit": 1, "pending_operations": 0, "leader": shared.peer_id, "role": "Leader",
                "is_voter": true,
            },
            "consensus_thread_status": {"consensus_thread_status": "working", "last_update": now},
            "message_send_failures": {},
        }))
    })
    .await
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
