//! `POST /backups/{id}/verify`: reads a backup back and answers when that is done.

use super::App;
use super::error::HttpError;
use crate::catalog;
use crate::error::{Code, Error};
use crate::verify::Report;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};

/// 200 with the report when the backup is intact. Otherwise the error, with the report where there is one: 500 and
/// `backup_damaged` for damage, other codes for what could not be checked. `latest` is the newest backup.
pub(super) async fn verify(
    State(app): State<App>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Report>, HttpError> {
    const REMEDY: &str = "GET /backups lists the ids";
    let Path(id) = id.map_err(|e| HttpError::bad_request(e.body_text(), REMEDY))?;
    // One at a time: memory and the store are shared with backups.
    let Ok(_turn) = app.verifying.try_acquire() else {
        return Err(
            Error::new(Code::RunInProgress, "this service is verifying a backup already")
                .remedy("wait for it to end")
                .into(),
        );
    };
    let work = async {
        let id = catalog::resolve(&*app.verifier.store, &id).await?;
        app.verifier.run(&id).await
    };
    // It ends with the request, and with the service: nothing is lost but the work.
    let stopped = || Err(Error::new(Code::Cancelled, "the service is stopping").remedy("try again in a minute"));
    let report = app
        .runs
        .stop()
        .run_until_cancelled(work)
        .await
        .unwrap_or_else(stopped)?;
    match report.error() {
        None => Ok(Json(report)),
        Some(error) => Err(HttpError::from(error).with_report(&report)),
    }
}
