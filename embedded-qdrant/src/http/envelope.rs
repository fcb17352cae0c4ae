//! Qdrant's envelope around results and errors, and JSON bodies read with its errors.

use std::time::Instant;

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::error::{Error, Result};

#[derive(Serialize)]
struct Envelope<T> {
    result: T,
    status: &'static str,
    time: f64,
}

/// Runs `work` and answers `{"result", "status": "ok", "time"}` or the error's envelope.
pub(super) async fn timed<T: Serialize>(work: impl Future<Output = Result<T>>) -> Response {
    let begin = Instant::now();
    match work.await {
        Ok(result) => Json(Envelope {
            result,
            status: "ok",
            time: begin.elapsed().as_secs_f64(),
        })
        .into_response(),
        Err(error) => self::error(&error),
    }
}

/// `{"status": {"error"}, "time"}` with the error's HTTP status. A failure of the node
/// itself is logged here, once.
pub(super) fn error(error: &Error) -> Response {
    if error.status().is_server_error() {
        tracing::error!(%error, "request failed: {error}");
    }
    let body = json!({"status": {"error": error.message()}, "time": 0.0});
    (error.status(), Json(body)).into_response()
}

/// The answer to `wait=false`: the work goes on and nobody hears of its end.
pub(super) fn accepted() -> Response {
    let body = json!({"status": "accepted", "time": 0.0});
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

/// A JSON body of any content type; what does not parse is a 400 in the envelope. An
/// empty body counts as `{}`, which only bodies without required fields accept.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> std::result::Result<Self, Response> {
        let bytes = bytes::Bytes::from_request(request, state).await.map_err(|rejection| {
            error(&Error::malformed(format_args!(
                "Payload error: {}",
                rejection.body_text()
            )))
        })?;
        let text = if bytes.is_empty() { &b"{}"[..] } else { &bytes };
        serde_json::from_slice(text)
            .map(Self)
            .map_err(|wrong| error(&Error::malformed(format_args!("Format error in JSON body: {wrong}"))))
    }
}
