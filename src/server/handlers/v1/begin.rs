//! `POST /v1/backups` and its like: 202 with the operation as soon as it holds its lease, and `Location`; with `?wait=true` 200 when
//! it has ended well, else its error.

use super::Problems;
use crate::base::error::{Code, Error};
use crate::base::hash::sha256_hex;
use crate::ops::backup::{self as backups, KeyedRequest};
use crate::ops::events::Operation as Kind;
use crate::ops::prune as pruning;
use crate::ops::restore::{self, Interface};
use crate::repository::names::{BackupId, RunId};
use crate::repository::requests::RequestedRun;
use crate::repository::runs::RunState;
use crate::server::App;
use crate::server::api::{
    BackupFields, BackupRequest, DoneOrPlanned, DrillOf, DrillRequest, DryRun, Operation, PlanOfError, PrunePlan,
    PruneRequest, ReportOfError, RestoreFields, RestoreRequest, VerificationRequest, WaitQuery,
};
use crate::server::error::{HttpError, RequestCode};
use crate::server::extract::{BodyBesideQuery, Wait};
use crate::server::handlers::backup::{self, Made};
use crate::server::handlers::{drill as drills, prune as prunes, restore as restores, verify as verifications};
use crate::server::idempotency::{POLL, RequestKey, SETTLING};
use crate::server::lookup::mistake;
use crate::server::runs::{Begun, RunEnd};
use axum::Json;
use axum::extract::State;
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
    let selection = request.selection.as_ref().unwrap_or(&app.selection);
    let look = backups::check(&app.ctx, &app.probe, selection);
    mistake(app.ask_qdrant("the collections that are asked for", look).await)?;
    match backup::begin(&app, key, &request, wait).await? {
        Made::Now(begun) => begun_now(&app, *begun, wait).await,
        Made::UnderWay(RequestedRun {
            run: Some(id), id: of, ..
        }) => {
            let operation = told(&app, &id, of).await?.repeated();
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

/// Restores a backup, and compares the result with it.
#[utoipa::path(
    post,
    path = "/v1/restores",
    operation_id = "beginRestore",
    tag = "Operations",
    params(WaitQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "A retry with the same key finds the first run.", pattern = "^[ -~]{1,255}$", min_length = 1, max_length = 255)),
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
    key: RequestKey,
    BodyBesideQuery(RestoreRequest { mut request, dry_run }): BodyBesideQuery<RestoreRequest>,
) -> Result<Response, HttpError> {
    request.form = Interface::Operations;
    if dry_run {
        return Ok(planned(restores::plan(&app, &request).await?));
    }
    let asked = restore::command(&request, false);
    let (app, request) = (&app, &request);
    once(
        app,
        (Kind::Restore, key.with(sha256_hex(asked.as_bytes()))),
        wait,
        |keyed| {
            Box::pin(async move {
                let look = restore::check(&app.ctx, request);
                mistake(app.ask_store("the backup", look).await)?;
                restores::start(app, request.clone(), keyed.as_ref())
            })
        },
    )
    .await
}

/// Restores a backup into temporary collections, compares, and deletes them.
#[utoipa::path(
    post,
    path = "/v1/drills",
    operation_id = "beginDrill",
    tag = "Operations",
    params(WaitQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "A retry with the same key finds the first run.", pattern = "^[ -~]{1,255}$", min_length = 1, max_length = 255)),
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
    key: RequestKey,
    BodyBesideQuery(request): BodyBesideQuery<DrillOf>,
) -> Result<Response, HttpError> {
    let DrillOf {
        id,
        same_qdrant,
        no_lock,
    } = request;
    let asked = format!("{id} {same_qdrant} {no_lock}");
    let request = DrillRequest { same_qdrant, no_lock };
    let (app, id, request) = (&app, &id, &request);
    once(
        app,
        (Kind::Drill, key.with(sha256_hex(asked.as_bytes()))),
        wait,
        |keyed| Box::pin(async move { drills::start(app, id, request, keyed.as_ref()).await }),
    )
    .await
}

/// Reads a backup back.
#[utoipa::path(
    post,
    path = "/v1/verifications",
    operation_id = "beginVerification",
    tag = "Operations",
    params(WaitQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "A retry with the same key finds the first run.", pattern = "^[ -~]{1,255}$", min_length = 1, max_length = 255)),
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
    key: RequestKey,
    BodyBesideQuery(VerificationRequest { id }): BodyBesideQuery<VerificationRequest>,
) -> Result<Response, HttpError> {
    let (app, id) = (&app, &id);
    once(
        app,
        (Kind::Verify, key.with(sha256_hex(id.as_bytes()))),
        wait,
        |keyed| {
            Box::pin(async move {
                app.check_named(id).await?;
                verifications::start(app, id.clone(), keyed.as_ref())
            })
        },
    )
    .await
}

/// Deletes old backups by the retention policy; only with `dry_run` false.
#[utoipa::path(
    post,
    path = "/v1/prunes",
    operation_id = "beginPrune",
    tag = "Operations",
    params(WaitQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "A retry with the same key finds the first run.", pattern = "^[ -~]{1,255}$", min_length = 1, max_length = 255)),
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
    key: RequestKey,
    BodyBesideQuery(PruneRequest { dry_run }): BodyBesideQuery<PruneRequest>,
) -> Result<Response, HttpError> {
    let job = prunes::context(&app);
    if dry_run {
        return Ok(planned(PrunePlan::from(pruning::plan(&job).await?)));
    }
    let (app, job) = (&app, &job);
    once(app, (Kind::Prune, key.with(String::new())), wait, |keyed| {
        Box::pin(async move {
            let plan = pruning::plan(job).await?;
            prunes::start(app, job.clone(), plan, keyed.as_ref())
        })
    })
    .await
}

/// Begins what a request asks for, unless an earlier one with its key did.
async fn once<'a, T: Into<ReportOfError>>(
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
