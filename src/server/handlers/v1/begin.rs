//! `POST /v1/backups` and its like: 202 with the operation as soon as it holds its lease, and `Location`; with `?wait=true` 200 when
//! it has ended well, else its error.

use super::Problems;
use crate::base::error::{Code, Error};
use crate::ops::prune as pruning;
use crate::repository::names::RunId;
use crate::repository::requests::RequestedRun;
use crate::server::App;
use crate::server::api::{
    BackupFields, BackupRequest, DoneOrPlanned, DrillOf, DrillRequest, DryRun, Operation, PlanOfError, PrunePlan,
    PruneRequest, ReportOfError, RestoreFields, RestoreRequest, VerificationRequest, WaitQuery,
};
use crate::server::error::{HttpError, RequestCode};
use crate::server::extract::{BodyBesideQuery, Wait};
use crate::server::handlers::backup::{self, Made};
use crate::server::handlers::{drill as drills, prune as prunes, restore as restores, verify as verifications};
use crate::server::idempotency::RequestKey;
use crate::server::runs::{Begun, RunEnd};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::time::Duration;
use utoipa::IntoResponses;

/// How long the first record of a run is waited for, which comes after a second.
const LOOK: Duration = Duration::from_millis(500);
const LOOKS: usize = 10;

/// The answer to a request that has begun an operation.
#[derive(IntoResponses)]
#[response(status = 202, description = "It has begun.", headers(("Location" = String, description = "The operation.")))]
#[allow(dead_code)] // It is for the description alone.
struct HasBegun(Operation);

/// Makes a backup.
#[utoipa::path(
    post,
    path = "/v1/backups",
    operation_id = "beginBackup",
    tag = "Operations",
    params(WaitQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "A retry with the same key finds the first run.", pattern = "^[ -~]{1,255}$", min_length = 1, max_length = 255)),
    request_body(content = Option<BackupFields>, content_type = "application/json"),
    responses(
        Problems,
        (
            status = 200,
            description = "With `wait=true`: it has ended well. Or an earlier request with the same key began it, and it has ended. With `dry_run`: the plan.",
            body = DoneOrPlanned
        ),
        HasBegun
    )
)]
pub(super) async fn backup(
    State(app): State<App>,
    Wait(wait): Wait,
    key: RequestKey,
    BodyBesideQuery(request): BodyBesideQuery<BackupRequest>,
) -> Result<Response, HttpError> {
    if request.dry_run {
        return Ok(planned(backup::plan(&app, &request).await?));
    }
    match backup::begin(&app, key, &request, wait).await? {
        Made::Now(begun) => begun_now(&app, *begun, wait).await,
        Made::UnderWay(RequestedRun { run: Some(id), .. }) => {
            let operation = told(&app, &id).await?.repeated();
            Ok(answer(StatusCode::ACCEPTED, &id, operation))
        }
        Made::UnderWay(RequestedRun { id, .. }) => Err(untold(&id.to_string())),
        Made::Before { report, run } => {
            let id = run.ok_or_else(|| untold(&report.id.to_string()))?;
            let RunEnd { report, error } = backup::end(*report);
            match error.filter(|_| wait) {
                Some(error) => Err(HttpError::from(error).with_report(report).with_operation(&id)),
                None => {
                    let operation = app.operation(&id).await?.with_report(Some(report.into())).repeated();
                    Ok(answer(StatusCode::OK, &id, operation))
                }
            }
        }
    }
}

/// Restores a backup, and compares the result with it.
#[utoipa::path(
    post,
    path = "/v1/restores",
    operation_id = "beginRestore",
    tag = "Operations",
    params(WaitQuery),
    request_body(content = RestoreFields, content_type = "application/json"),
    responses(
        Problems,
        (status = 200, description = "With `wait=true`: it has ended well. With `dry_run`: the plan.", body = DoneOrPlanned),
        HasBegun
    )
)]
pub(super) async fn restore(
    State(app): State<App>,
    Wait(wait): Wait,
    BodyBesideQuery(RestoreRequest { request, dry_run }): BodyBesideQuery<RestoreRequest>,
) -> Result<Response, HttpError> {
    match dry_run {
        true => Ok(planned(restores::plan(&app, &request).await?)),
        false => begun_now(&app, restores::start(&app, request)?, wait).await,
    }
}

/// Restores a backup into temporary collections, compares, and deletes them.
#[utoipa::path(
    post,
    path = "/v1/drills",
    operation_id = "beginDrill",
    tag = "Operations",
    params(WaitQuery),
    request_body(content = DrillOf, content_type = "application/json"),
    responses(
        Problems,
        (status = 200, description = "With `wait=true`: it has ended well.", body = Operation),
        HasBegun
    )
)]
pub(super) async fn drill(
    State(app): State<App>,
    Wait(wait): Wait,
    BodyBesideQuery(request): BodyBesideQuery<DrillOf>,
) -> Result<Response, HttpError> {
    let DrillOf {
        id,
        same_qdrant,
        no_lock,
    } = request;
    let request = DrillRequest { same_qdrant, no_lock };
    begun_now(&app, drills::start(&app, &id, &request).await?, wait).await
}

/// Reads a backup back.
#[utoipa::path(
    post,
    path = "/v1/verifications",
    operation_id = "beginVerification",
    tag = "Operations",
    params(WaitQuery),
    request_body(content = VerificationRequest, content_type = "application/json"),
    responses(
        Problems,
        (status = 200, description = "With `wait=true`: it has ended well.", body = Operation),
        HasBegun
    )
)]
pub(super) async fn verification(
    State(app): State<App>,
    Wait(wait): Wait,
    BodyBesideQuery(VerificationRequest { id }): BodyBesideQuery<VerificationRequest>,
) -> Result<Response, HttpError> {
    begun_now(&app, verifications::start(&app, id)?, wait).await
}

/// Deletes old backups by the retention policy; only with `dry_run` false.
#[utoipa::path(
    post,
    path = "/v1/prunes",
    operation_id = "beginPrune",
    tag = "Operations",
    params(WaitQuery),
    request_body(content = Option<PruneRequest>, content_type = "application/json"),
    responses(
        Problems,
        (
            status = 200,
            description = "The plan, unless `dry_run` is false. Else, with `wait=true` or where there was nothing to delete: it has ended well.",
            body = DoneOrPlanned
        ),
        HasBegun
    )
)]
pub(super) async fn prune(
    State(app): State<App>,
    Wait(wait): Wait,
    BodyBesideQuery(PruneRequest { dry_run }): BodyBesideQuery<PruneRequest>,
) -> Result<Response, HttpError> {
    let job = prunes::context(&app);
    let plan = pruning::plan(&job).await?;
    match dry_run {
        true => Ok(planned(PrunePlan::from(plan))),
        false => begun_now(&app, prunes::start(&app, job, plan)?, wait).await,
    }
}

/// The answer to a request that has begun an operation of this process.
async fn begun_now<T: Into<ReportOfError>>(app: &App, mut begun: Begun<T>, wait: bool) -> Result<Response, HttpError> {
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
        }) => Err(HttpError::from(error).with_report(report).with_operation(&id).logged()),
        Err(error) => {
            let error = app.with_lease_holder(error).await.logged();
            // What was refused is no operation.
            Err(match app.runs.own(&id) {
                Some(_) => error.with_operation(&id),
                None => error,
            })
        }
    }
}

/// The operation of a run that works, which may not have told of itself yet.
async fn told(app: &App, id: &RunId) -> Result<Operation, HttpError> {
    for _ in 0..LOOKS {
        match app.operation(id).await {
            Err(error) if error.code() == RequestCode::OperationNotFound.to_string() => app.runs.pause(LOOK).await?,
            found => return found,
        }
    }
    app.operation(id).await
}

fn answer(status: StatusCode, id: &RunId, operation: Operation) -> Response {
    let location = [(header::LOCATION, format!("/v1/operations/{id}"))];
    (status, location, Json(DoneOrPlanned::Done(Box::new(operation)))).into_response()
}

fn planned(plan: impl Into<PlanOfError>) -> Response {
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
