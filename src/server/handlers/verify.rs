//! `POST /backups/{id}/verify`: reads a backup back and answers when that is done.

use crate::base::error::Result;
use crate::ops::backup::KeyedRequest;
use crate::ops::events::Operation;
use crate::ops::progress::Progress;
use crate::ops::run;
use crate::server::App;
use crate::server::api::VerifyReport;
use crate::server::error::HttpError;
use crate::server::extract::PathId;
use crate::server::runs::{Begun, RunEnd};
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use tokio_util::sync::CancellationToken;

pub(super) fn router() -> Router<App> {
    Router::new().route("/backups/{id}/verify", post(verify))
}

/// 200 with the report when the backup is intact. Otherwise the error, with the report where there is one: 500 and
/// `backup_damaged` for damage, other codes for what could not be checked.
async fn verify(State(app): State<App>, PathId(id): PathId) -> Result<Json<VerifyReport>, HttpError> {
    let run = app.runs.begin(Operation::Verify, None)?;
    let (run_id, progress) = (run.id().clone(), run.progress.clone());
    // It ends with the request, and with the service: nothing is lost but the work.
    match run.attached(work(&app, &id, &progress)).await {
        Ok(RunEnd { report, error: None }) => Ok(Json(report)),
        Ok(RunEnd {
            report,
            error: Some(error),
        }) => Err(HttpError::from(error).with_report(report)),
        Err(error) => Err(app.told_of(&run_id, error.into())),
    }
}

/// Verifies the backup that `id` names.
pub(in crate::server) fn start(
    app: &App,
    id: String,
    keyed: Option<&KeyedRequest>,
) -> Result<Begun<VerifyReport>, HttpError> {
    let run = app.runs.begin(Operation::Verify, keyed)?;
    let app = app.clone();
    let verify = |progress, stop: CancellationToken| async move {
        let verified = stop.run_until_cancelled(work(&app, &id, &progress)).await;
        let stopped = || Err(run::stopped().remedy("verify again; nothing was recorded"));
        verified.unwrap_or_else(stopped)
    };
    Ok(run.spawn(verify))
}

async fn work(app: &App, id: &str, progress: &Progress) -> Result<RunEnd<VerifyReport>> {
    let id = app.named(id).await?;
    let report = app.verifier.run_watched(&id, progress).await?;
    Ok(RunEnd {
        error: report.error(),
        report: report.into(),
    })
}
