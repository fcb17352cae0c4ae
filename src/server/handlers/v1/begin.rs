//! `POST /v1/backups` and its like: 202 with the operation as soon as it holds its lease, and `Location`; with `?wait=true` 200 when
//! it has ended well, else its error.

use super::Problems;
use super::begun::{HasBegun, of_backup, once, planned};
use crate::base::hash::sha256_hex;
use crate::ops::backup as backups;
use crate::ops::events::Operation as Kind;
use crate::ops::prune as pruning;
use crate::ops::restore::{self, Interface};
use crate::server::App;
use crate::server::api::{
    BackupFields, BackupRequest, DoneOrPlanned, DrillOf, DrillRequest, Operation, PrunePlan, PruneRequest,
    RestoreFields, RestoreRequest, VerificationRequest, WaitQuery,
};
use crate::server::error::HttpError;
use crate::server::extract::{BodyBesideQuery, Wait};
use crate::server::handlers::{backup, drill as drills, prune as prunes, restore as restores, verify as verifications};
use crate::server::idempotency::RequestKey;
use crate::server::lookup::mistake;
use axum::extract::State;
use axum::response::Response;

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
    if let Some(selection) = &request.selection {
        let look = backups::check(&app.ctx, &app.probe, selection);
        mistake(app.ask_qdrant("the collections that are asked for", look).await)?;
    }
    of_backup(&app, backup::begin(&app, key, &request, wait).await?, wait).await
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
