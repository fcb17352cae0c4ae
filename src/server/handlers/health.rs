//! `GET /health`: liveness; it asks nobody, so that an outage elsewhere does not restart this service. `GET /health/freshness`:
//! for a watch that is not part of this service, and notices when nothing runs any more.

use crate::ops::freshness::{Expected, FreshnessPolicy};
use crate::server::App;
use crate::server::api::{FreshnessQuery, FreshnessResponse, HealthResponse};
use crate::server::error::HttpError;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/health", get(health))
        .route("/health/freshness", get(freshness))
}

async fn health() -> Json<HealthResponse> {
    Json(HealthResponse {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// 200 when every expected collection has a good backup that is young enough, or is new; 503 when one is not, or none is expected. An
/// error when the store cannot be read.
async fn freshness(
    State(app): State<App>,
    query: Result<Query<FreshnessQuery>, QueryRejection>,
) -> Result<(StatusCode, Json<FreshnessResponse>), HttpError> {
    let Query(FreshnessQuery { verified }) = query.map_err(|e| {
        HttpError::bad_request(
            e.body_text(),
            "write /health/freshness or /health/freshness?verified=true",
        )
    })?;
    let wanted = FreshnessPolicy { verified, ..app.wanted };
    let now = app.ctx.clock.now();
    let (answer, qdrant_error) = app.assess(wanted, now).await?;
    let fresh = answer.is_fresh();
    let status = match fresh {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let response = FreshnessResponse {
        fresh,
        max_age_seconds: wanted.max_age.as_secs(),
        verified,
        expected_by: match answer.expected {
            Expected::Live(_) => Some("qdrant"),
            Expected::LastBackup(_) => Some("last_backup"),
            Expected::Unknown => None,
        },
        collections: answer.collections.into_iter().map(Into::into).collect(),
        qdrant_error: qdrant_error.as_ref().map(Into::into),
    };
    Ok((status, Json(response)))
}
