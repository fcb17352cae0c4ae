//! `POST /backups/{id}/verify`: reads a backup back and answers when that is done.

use crate::ops::events::Operation;
use crate::server::App;
use crate::server::api::VerifyReport;
use crate::server::error::HttpError;
use crate::server::extract::PathId;
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};

pub(super) fn router() -> Router<App> {
    Router::new().route("/backups/{id}/verify", post(verify))
}

/// 200 with the report when the backup is intact. Otherwise the error, with the report where there is one: 500 and
/// `backup_damaged` for damage, other codes for what could not be checked.
async fn verify(State(app): State<App>, PathId(id): PathId) -> Result<Json<VerifyReport>, HttpError> {
    let run = app.runs.begin(Operation::Verify)?;
    let progress = run.progress.clone();
    let work = async {
        let id = app.named(&id).await?;
        app.verifier.run_watched(&id, &progress).await
    };
    // It ends with the request, and with the service: nothing is lost but the work.
    let report = run.attached(work).await?;
    match report.error() {
        None => Ok(Json(report.into())),
        Some(error) => Err(HttpError::from(error).with_report(VerifyReport::from(report))),
    }
}
