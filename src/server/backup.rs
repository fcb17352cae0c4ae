//! `POST /backup`: makes a backup and answers when it has ended.

use super::App;
use super::audit::Audit;
use super::body;
use super::error::{HeldBy, HttpError};
use crate::base::error::{Code, Error};
use crate::ops::backup::BackupReport;
use crate::repository::lease;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::{Extension, Json};
use std::error::Error as _;
use tower_http::timeout::TimeoutError;

/// 200 with the report when everything asked for was saved. Otherwise the error, with the report where there is one.
pub(super) async fn backup(
    State(app): State<App>,
    Extension(audit): Extension<Audit>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<BackupReport>, HttpError> {
    let body = body.map_err(unread)?;
    let request = body::backup_request(&body)?;
    let selection = request.selection.unwrap_or_else(|| app.selection.clone());
    audit.asked(&body);
    let run = match app.runs.backup(selection, request.new_source) {
        Ok(run) => run,
        Err(e) => return Err(refused(&app, e).await),
    };
    // A client that goes away drops this future here; the run goes on.
    let result = run
        .await
        .unwrap_or_else(|e| Err(Error::new(Code::Internal, "the backup ended by a defect of this service").because(e)));
    match result {
        Ok(report) => match report.error() {
            None => Ok(Json(report)),
            Some(error) => Err(HttpError::from(error).with_report(&report).logged()),
        },
        Err(e) => Err(refused(&app, e).await.logged()),
    }
}

/// The error of a body that could not be read.
pub(super) fn unread(rejection: BytesRejection) -> HttpError {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => HttpError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("the body is larger than {} bytes", super::BODY_LIMIT),
            "select collections by patterns instead of names",
        ),
        _ if timed_out(&rejection) => HttpError::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            format!("no byte of the body came for {} s", super::BODY_TIMEOUT.as_secs()),
            "send as many bytes as Content-Length says, without a pause",
        ),
        _ => HttpError::bad_request(rejection.body_text(), "send the whole body"),
    }
}

fn timed_out(rejection: &BytesRejection) -> bool {
    let mut cause = rejection.source();
    while let Some(error) = cause {
        if error.is::<TimeoutError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The error; if another run is in the way, with who and since when.
pub(super) async fn refused(app: &App, error: Error) -> HttpError {
    let holder = match (error.code(), app.runs.current()) {
        (Code::RunInProgress, Some(progress)) => Some(HeldBy {
            who: app.ctx.who.clone(),
            since: progress.now().started_at,
        }),
        (Code::RunInProgress, None) => {
            // Who that is, is an extra: without it the answer is right all the same.
            let record = lease::holder(&*app.ctx.store, &app.ctx.clock).await.ok().flatten();
            record.map(|r| HeldBy {
                who: r.who,
                since: r.since,
            })
        }
        _ => None,
    };
    HttpError::from(error).with_holder(holder)
}
