//! `GET /health`: liveness; it asks nobody, so that an outage elsewhere does not restart this service. `GET /health/freshness`:
//! for a watch that is not part of this service, and notices when nothing runs any more.

use crate::ops::freshness::{self, Expected, State as Standing, Wanted};
use crate::repository::manifest::Relation;
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

/// 200 when every expected collection has a good backup that is young enough; 503 when one has not, or none is expected. An
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
    let wanted = Wanted { verified, ..app.wanted };
    let now = app.ctx.clock.now();
    let (live, backups) = tokio::join!(
        app.live(),
        app.ask_store(
            "the last backups",
            freshness::good_backups(&*app.ctx.store, wanted, now)
        ),
    );
    let source = live
        .as_ref()
        .map_or_else(|_| app.source(), |(_, source)| source.clone());
    let mut backups = backups?;
    // Those of another Qdrant in the same store say nothing of this one.
    backups.retain(|backup| source.relation_to(backup.source.as_ref()) != Relation::Different);
    let names = live.as_ref().ok().map(|(names, _)| names.as_slice());
    let expected = freshness::expected(&app.selection, names, &backups)?;
    let (expected_by, names) = match expected {
        Expected::Live(names) => (Some("qdrant"), names),
        Expected::LastBackup(names) => (Some("last_backup"), names),
        Expected::Unknown => (None, Vec::new()),
    };
    let collections = freshness::standings(&names, &backups, wanted, now);
    // Nothing to back up is no good news: a Qdrant that lost its data has nothing, either.
    let fresh = !collections.is_empty() && collections.iter().all(|c| c.state == Standing::Fresh);
    let status = match fresh {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let response = FreshnessResponse {
        fresh,
        max_age_seconds: wanted.max_age.as_secs(),
        verified,
        expected_by,
        collections: collections.into_iter().map(Into::into).collect(),
        qdrant_error: live.as_ref().err().map(Into::into),
    };
    Ok((status, Json(response)))
}
