//! What each request does. A file for each resource, with its own routes.
//!
//! | request | answer |
//! |---|---|
//! | `GET /health` | liveness probe; no outbound calls; the only endpoint without authentication |
//! | `GET /health/freshness` | whether every collection has a young enough backup; 503 when one has not |
//! | `GET /status` | Qdrant, store, last backup, what runs; 503 when one of the first two is not usable |
//! | `GET /metrics` | how every collection stands, for Prometheus |
//! | `GET /collections` | names, points, sizes |
//! | `POST /backup` | makes a backup and answers when it has ended |
//! | `POST /restore` | restores a backup and answers when the result has been compared with it |
//! | `GET /backups`, `GET /backups/{id}` | what backups there are, and what is known of their worth |
//! | `POST /backups/{id}/verify` | reads a backup back and says whether it is intact |
//! | `POST /backups/{id}/drill` | proves that a backup can be restored, in temporary collections |
//! | `PUT`, `DELETE /backups/{id}/pin` | keeps a backup whatever the policy says, or no longer |
//! | `POST /prune` | says which old backups the policy would delete; `{"dry_run": false}`: deletes them |
//! | `/v1/…` | the same with operations as resources, see [`v1`] |

pub(super) mod backup;
mod backups;
mod collections;
pub(super) mod drill;
mod health;
mod metrics;
mod pin;
pub(super) mod prune;
pub(super) mod restore;
mod status;
mod v1;
pub(super) mod verify;

pub use v1::openapi;

use super::App;
use super::api::ReportOfError;
use super::error::HttpError;
use super::runs::RunEnd;
use crate::base::error::{Code, Error, Result};
use crate::base::heavy;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde::Serialize;

/// The routes of all resources.
pub(super) fn router() -> Router<App> {
    [
        health::router(),
        status::router(),
        metrics::router(),
        collections::router(),
        backup::router(),
        restore::router(),
        prune::router(),
        backups::router(),
        verify::router(),
        drill::router(),
        pin::router(),
        v1::router(),
    ]
    .into_iter()
    .fold(Router::new(), Router::merge)
}

/// An answer that may be large. It is made and written by no thread that others wait for.
async fn large<T: Serialize>(make: impl FnOnce() -> T + Send + 'static) -> Result<Response, HttpError> {
    let json = heavy::run(usize::MAX, move || serde_json::to_vec(&make())).await?;
    let json = json.map_err(|e| Error::new(Code::Internal, "writing the answer as JSON").because(e))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

/// The answer to a request whose run has ended: its report, or the error that it came to, with the report where there is one.
async fn answer<T: Into<ReportOfError>>(app: &App, end: Result<RunEnd<T>>) -> Result<Json<T>, HttpError> {
    match end {
        Ok(RunEnd { report, error: None }) => Ok(Json(report)),
        Ok(RunEnd {
            report,
            error: Some(error),
        }) => Err(HttpError::from(error).with_report(report).logged()),
        Err(error) => Err(app.with_lease_holder(error).await.logged()),
    }
}
