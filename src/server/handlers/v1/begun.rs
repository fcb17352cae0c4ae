//! The answers to requests that begin an operation, or find the one that an earlier request with their key began.

use crate::base::error::{Code, Error};
use crate::ops::backup::{self as backups, KeyedRequest};
use crate::ops::events::Operation as Kind;
use crate::repository::names::{BackupId, RunId};
use crate::repository::requests::RequestedRun;
use crate::repository::runs::RunState;
use crate::server::App;
use crate::server::api::{DoneOrPlanned, DryRun, Operation, PlanOfError, ReportOfError};
use crate::server::error::{HttpError, RequestCode};
use crate::server::handlers::backup::{self, Made};
use crate::server::idempotency::{POLL, SETTLING};
use crate::server::runs::{Begun, RunEnd};
use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use std::time::Duration;
use utoipa::IntoResponses;

/// How long the first record of a run is waited for, which comes after a second.
const LOOK: Duration = Duration::from_millis(500);
const LOOKS: usize = 10;

/// The answer to a request that has begun an operation.
#[derive(IntoResponses)]
#[response(status = 202, description = "It has begun.", headers(("Location" = String, description = "The operation.")))]
#[allow(dead_code)] // It is for the description alone.
pub(super) struct HasBegun(Operation);

/// The answer to a request for a backup.
pub(super) async fn of_backup(app: &App, made: Made, wait: bool) -> Result<Response, HttpError> {
    match made {
        Made::Now(begun) => begun_now(app, *begun, wait).await,
        Made::UnderWay(RequestedRun {
            run: Some(id), id: of, ..
        }) => {
            let operation = told(app, &id, of).await?.repeated();
            Ok(answer(StatusCode::ACCEPTED, &id, operation))
        }
        Made::UnderWay(RequestedRun { id, .. }) => Err(untold(&id.to_string())),
        Made::Cancelled(RequestedRun { run, id, .. }) => {
            let run = run.ok_or_else(|| untold(&id.to_string()))?;
            if wait {
                return Err(backup::cancelled().with_operation(&run));
            }
            let record = || backups::told(run.clone(), id, RunState::Cancelled);
            let operation = app.operation_or(&run, record).await?.repeated();
            Ok(answer(StatusCode::OK, &run, operation))
        }
        Made::Before { report, run } => {
            let id = run.ok_or_else(|| untold(&report.id.to_string()))?;
            let record = backups::told_by_report(id.clone(), &report);
            let RunEnd { report, error } = backup::end(*report);
            match error.filter(|_| wait) {
                Some(error) => Err(HttpError::from(error).with_report(report).with_operation(&id)),
                None => {
                    let operation = app.operation_or(&id, || record).await?;
                    let operation = operation.with_report(Some(report.into())).repeated();
                    Ok(answer(StatusCode::OK, &id, operation))
                }
            }
        }
    }
}

/// Begins what a request asks for, unless an earlier one with its key did.
pub(super) async fn once<'a, T: Into<ReportOfError>>(
    app: &App,
    (kind, keyed): (Kind, Option<KeyedRequest>),
    wait: bool,
    begin: impl Fn(Option<KeyedRequest>) -> BoxFuture<'a, Result<Begun<T>, HttpError>>,
) -> Result<Response, HttpError> {
    let Some(keyed) = keyed else {
        return begun_now(app, begin(None).await?, wait).await;
    };
    loop {
        if let Some(operation) = app.earlier(kind, &keyed, wait).await? {
            return again(operation, wait);
        }
        let refused = match begin(Some(keyed.clone())).await {
            Ok(mut begun) => match begun.settled().await {
                Ok(()) => return begun_now(app, begun, wait).await,
                Err(refused) => failed(app, begun.id(), refused).await,
            },
            Err(refused) => refused,
        };
        // That run may be the one of an earlier request with this key, in this instance or another.
        match refused.is_held_since(app.ctx.clock.now() - SETTLING) {
            true => app.runs.pause(POLL).await?,
            false => return Err(refused),
        }
    }
}

/// The answer to a request whose operation an earlier one began. Whoever waits is told the error that it came to.
fn again(operation: Operation, wait: bool) -> Result<Response, HttpError> {
    let id = operation.id().clone();
    let status = match operation.has_ended() {
        true => StatusCode::OK,
        false => StatusCode::ACCEPTED,
    };
    match operation.error().filter(|_| wait).cloned() {
        None => Ok(answer(status, &id, operation.repeated())),
        Some(error) => {
            let error = HttpError::from(error).with_operation(&id).cancelled_on_request();
            Err(match operation.report().cloned() {
                Some(report) => error.with_report(report),
                None => error,
            })
        }
    }
}

/// The answer to a request that has begun an operation of this process.
pub(super) async fn begun_now<T: Into<ReportOfError>>(
    app: &App,
    mut begun: Begun<T>,
    wait: bool,
) -> Result<Response, HttpError> {
    let id = begun.id().clone();
    let end = match begun.settled().await {
        Err(refused) => Err(refused),
        Ok(()) if wait || begun.has_ended() => begun.ended().await,
        Ok(()) => return Ok(answer(StatusCode::ACCEPTED, &id, app.operation(&id).await?)),
    };
    match end {
        Ok(RunEnd { report, error: None }) => {
            let operation = app.operation(&id).await?.with_report(Some(report.into()));
            Ok(answer(StatusCode::OK, &id, operation))
        }
        Ok(RunEnd {
            report,
            error: Some(error),
        }) => {
            let error = HttpError::from(error).with_report(report).with_operation(&id).logged();
            Err(app.told_of(&id, error))
        }
        Err(error) => Err(failed(app, &id, error).await),
    }
}

/// The error of a run, or why there is none.
async fn failed(app: &App, id: &RunId, error: Error) -> HttpError {
    let error = app.with_lease_holder(error).await.logged();
    // What was refused is no operation.
    match app.runs.own(id) {
        Some(_) => app.told_of(id, error.with_operation(id)),
        None => error,
    }
}

/// The operation of a run that works on a backup, which may not have told of itself yet.
async fn told(app: &App, id: &RunId, backup: BackupId) -> Result<Operation, HttpError> {
    for _ in 0..LOOKS {
        match app.operation(id).await {
            Err(error) if error.code() == RequestCode::OperationNotFound.to_string() => app.runs.pause(LOOK).await?,
            found => return found,
        }
    }
    let record = || backups::told(id.clone(), backup, RunState::Running);
    app.operation_or(id, record).await
}

fn answer(status: StatusCode, id: &RunId, operation: Operation) -> Response {
    let location = [(header::LOCATION, format!("/v1/operations/{id}"))];
    (status, location, Json(DoneOrPlanned::Done(Box::new(operation)))).into_response()
}

pub(super) fn planned(plan: impl Into<PlanOfError>) -> Response {
    let plan = plan.into();
    Json(DoneOrPlanned::Planned(DryRun { dry_run: true, plan })).into_response()
}

/// A run of a version that told nothing of itself has no operation.
fn untold(backup: &str) -> HttpError {
    HttpError::from(
        Error::new(
            Code::RunInProgress,
            format!("backup {backup} is that of this request, begun by an earlier version of the service"),
        )
        .remedy("GET /v1/backups shows it once it is made"),
    )
}
