//! Shards as they are streamed: without a length, and with an end that says nothing.

use super::{Fetch, Inner, Shared, error, missing, ok, scripted};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

pub(super) fn routes() -> Router<Arc<Mutex<Inner>>> {
    Router::new()
        .route("/collections/{c}/shards/{id}/snapshot", get(stream))
        .route("/collections/{c}/shards/{id}/points/count", post(count))
        .route("/collections/{c}/shards/{id}/points/scroll", post(scroll))
        .route("/collections/{c}/optimizations", get(optimizations))
}

/// Tells that a body is gone.
struct Gone(Option<Arc<Semaphore>>);

impl Drop for Gone {
    fn drop(&mut self) {
        if let Some(gone) = &self.0 {
            gone.add_permits(1);
        }
    }
}

async fn count(state: Shared, Path((c, _)): Path<(String, u32)>, body: Json<Value>) -> Response {
    super::count(state, Path(c), body).await
}

async fn scroll(state: Shared, Path((c, _)): Path<(String, u32)>, body: Json<Value>) -> Response {
    super::restore::scroll(state, Path(c), body).await
}

async fn optimizations(State(inner): Shared, Path(c): Path<String>) -> Response {
    let mut inner = inner.lock().unwrap();
    let Some(found) = inner.collections.get_mut(&c) else {
        return missing(&c);
    };
    let running = match found.optimizing {
        0 => json!([]),
        _ => json!([{"uuid": "1"}]),
    };
    found.optimizing = found.optimizing.saturating_sub(1);
    ok(json!({"running": running, "completed": []}))
}

async fn stream(State(inner): Shared, Path((c, id)): Path<(String, u32)>, headers: HeaderMap) -> Response {
    assert_eq!(headers.get(header::ACCEPT_ENCODING).unwrap(), "identity");
    let mut inner = inner.lock().unwrap();
    let gone = Gone(inner.dropped_streams.clone());
    if inner.read_only {
        return error(403, "Forbidden: Global access is required");
    }
    let Some(found) = inner.collections.get_mut(&c) else {
        return missing(&c);
    };
    if id != 0 {
        return error(404, &format!("Not found: Shard {id} not found"));
    }
    let mut bytes = found.streamed.clone().unwrap_or_else(|| found.body.clone());
    let script = found.stream.pop_front();
    match &script {
        // Plain text, as the real one.
        Some(Fetch::Gone) => return (StatusCode::NOT_FOUND, "Not found: Shard 0 not found").into_response(),
        Some(Fetch::Unavailable) => return (StatusCode::SERVICE_UNAVAILABLE, "busy").into_response(),
        Some(Fetch::FlipBit(at)) => {
            let mut copy = bytes.to_vec();
            copy[*at] ^= 1;
            bytes = copy.into();
        }
        _ => {}
    }
    let body = scripted(bytes, script).into_data_stream();
    let body = body.map(move |piece| {
        let _held = &gone;
        piece
    });
    Body::from_stream(body).into_response()
}
