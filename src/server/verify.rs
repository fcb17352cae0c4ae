//! `POST /backups/{id}/verify`: reads a backup back and answers when that is done.

use super::App;
use super::error::{HeldBy, HttpError};
use crate::base::error::{Code, Error};
use crate::ops::verify::VerifyReport;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use std::sync::{Arc, Mutex, PoisonError};
use time::OffsetDateTime;

/// 200 with the report when the backup is intact. Otherwise the error, with the report where there is one: 500 and
/// `backup_damaged` for damage, other codes for what could not be checked. The id may be `latest`.
pub(super) async fn verify(
    State(app): State<App>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<VerifyReport>, HttpError> {
    const REMEDY: &str = "GET /backups lists the ids";
    let Path(id) = id.map_err(|e| HttpError::bad_request(e.body_text(), REMEDY))?;
    // One at a time: memory and the store are shared with backups.
    let _turn = turn(&app)?;
    let work = async {
        let id = app.named(&id).await?;
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

/// Since when a backup is verified, if one is.
pub(super) type Verifying = Arc<Mutex<Option<OffsetDateTime>>>;

/// The turn to verify; given back when it is dropped. Refused, with who and since when, while somebody else has it.
fn turn(app: &App) -> Result<Turn, HttpError> {
    // It holds one value, which is whole at all times.
    let mut verifying = app.verifying.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(since) = *verifying {
        let error = Error::new(Code::RunInProgress, "this service is verifying a backup already");
        let who = app.ctx.who.clone();
        return Err(HttpError::from(error.remedy("wait for it to end")).with_holder(Some(HeldBy { who, since })));
    }
    *verifying = Some(app.ctx.clock.now());
    Ok(Turn(app.verifying.clone()))
}

struct Turn(Verifying);

impl Drop for Turn {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
