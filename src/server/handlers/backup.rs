//! `POST /backup`: makes a backup and answers when it has ended. Sent again with the same key, it makes no second one.

use super::{answer, ended};
use crate::base::error::{Code, Error, Result};
use crate::ops::backup::{self, EarlierRun, KeyedRequest};
use crate::ops::events::Operation;
use crate::ops::prune::{self, PruneContext};
use crate::repository::names::RunId;
use crate::repository::requests::RequestedRun;
use crate::server::App;
use crate::server::api::{BackupPlan, BackupPlanResponse, BackupReport, BackupRequest};
use crate::server::error::HttpError;
use crate::server::extract::JsonBody;
use crate::server::idempotency::{POLL, RequestKey, SETTLING, reused};
use crate::server::runs::{Begun, RunEnd};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};

pub(super) fn router() -> Router<App> {
    Router::new().route("/backup", post(make))
}

/// 200 with the report when everything asked for was saved, or with the plan when that was asked for. Otherwise the error, with the
/// report where there is one.
async fn make(
    State(app): State<App>,
    key: RequestKey,
    JsonBody(request): JsonBody<BackupRequest>,
) -> Result<Response, HttpError> {
    if request.dry_run {
        let plan = plan(&app, &request).await?;
        return Ok(Json(BackupPlanResponse { dry_run: true, plan }).into_response());
    }
    made(&app, key, &request).await.map(Json::into_response)
}

/// What would be saved. It changes nothing and takes no lease.
pub(super) async fn plan(app: &App, request: &BackupRequest) -> Result<BackupPlan> {
    let selection = request.selection.as_ref().unwrap_or(&app.selection);
    match backup::plan(&app.probe, selection, app.ctx.settings.mode).await {
        Ok(plan) => Ok(plan.into()),
        // Nothing is lost where the request itself selects nothing that there is.
        Err(error) if error.code() == Code::NothingToBackUp && request.selection.is_some() => {
            Err(Error::new(Code::CollectionNotFound, error.chain())
                .remedy("check the names and patterns; GET /v1/collections lists what there is"))
        }
        Err(error) => Err(error),
    }
}

async fn made(app: &App, key: RequestKey, request: &BackupRequest) -> Result<Json<BackupReport>, HttpError> {
    match begin(app, key, request, true).await? {
        Made::Now(begun) => answer(app, *begun).await,
        Made::Before { report, .. } => {
            let mut end = end(*report);
            end.report.repeated = true;
            ended(app, Ok(end)).await
        }
        Made::Cancelled(_) => Err(cancelled()),
        Made::UnderWay(run) => Err(HttpError::from(Error::new(
            Code::Internal,
            format!("internal error: backup {} was not waited for", run.id),
        ))),
    }
}

/// What a request comes to.
pub(super) enum Made {
    /// A run of its own.
    Now(Box<Begun<BackupReport>>),
    /// The run that an earlier request with the same key began, and what it came to.
    Before {
        report: Box<backup::BackupReport>,
        run: Option<RunId>,
    },
    /// That run, which is at work.
    UnderWay(RequestedRun),
    /// That run, which somebody cancelled: no other one is to be made.
    Cancelled(RequestedRun),
}

/// What whoever waits is told of a run that somebody cancelled.
pub(super) fn cancelled() -> HttpError {
    HttpError::from(Error::new(Code::Cancelled, "the backup of this request was cancelled")).cancelled_on_request()
}

/// Begins the backup, unless an earlier request with the same key did. `wait`: until that one's run has ended.
pub(super) async fn begin(app: &App, key: RequestKey, request: &BackupRequest, wait: bool) -> Result<Made, HttpError> {
    let Some(keyed) = key.with(request.fingerprint()) else {
        return start(app, request, None).map(|begun| Made::Now(Box::new(begun)));
    };
    loop {
        if let Some(earlier) = earlier(app, &keyed, wait).await? {
            return Ok(earlier);
        }
        match under_lease(app, request, keyed.clone()).await {
            // That run may be the one of an earlier request with this key, in this instance or another.
            Err(refused) if refused.is_held_since(app.ctx.clock.now() - SETTLING) => app.runs.pause(POLL).await?,
            begun => return begun.map(|begun| Made::Now(Box::new(begun))),
        }
    }
}

/// Makes the backup, and answers when that holds its lease.
async fn under_lease(
    app: &App,
    request: &BackupRequest,
    keyed: KeyedRequest,
) -> Result<Begun<BackupReport>, HttpError> {
    let mut begun = start(app, request, Some(keyed))?;
    match begun.settled().await {
        Ok(()) => Ok(begun),
        Err(refused) => Err(app.with_lease_holder(refused).await.logged()),
    }
}

/// Makes the backup.
pub(in crate::server) fn start(
    app: &App,
    request: &BackupRequest,
    keyed: Option<KeyedRequest>,
) -> Result<Begun<BackupReport>, HttpError> {
    let selection = request.selection.clone().unwrap_or_else(|| app.selection.clone());
    let prune_after = app.prunes_after_backup.then(|| app.retention.clone());
    let mut ctx = app.ctx.clone();
    ctx.settings.source.accept_new = request.new_source;
    let run = app.runs.begin(Operation::Backup, keyed.as_ref())?;
    let work = |progress, stop| async move {
        let mut report = backup::run_for(&ctx, &selection, keyed.as_ref(), &progress, &stop).await?;
        if let Some(policy) = prune_after {
            prune::after_backup(
                &PruneContext {
                    ctx: ctx.on_store(),
                    policy,
                    only: None,
                },
                &mut report,
                &stop,
            )
            .await;
        }
        Ok(end(report))
    };
    Ok(run.spawn(work))
}

pub(super) fn end(report: backup::BackupReport) -> RunEnd<BackupReport> {
    RunEnd {
        error: report.error(),
        report: report.into(),
    }
}

/// The run that an earlier request with the same key began, and what it came to. `None`: there is no result, so that the backup
/// is to be made.
async fn earlier(app: &App, keyed: &KeyedRequest, wait: bool) -> Result<Option<Made>, HttpError> {
    let ctx = app.ctx.on_store();
    loop {
        let run = match backup::earlier(&ctx, keyed).await? {
            EarlierRun::None => return Ok(None),
            EarlierRun::Ended { report, run } => {
                tracing::info!(backup = %report.id, "backup {} was made for this request already; nothing is done", report.id);
                return Ok(Some(Made::Before { report, run }));
            }
            EarlierRun::OfAnother => return Err(reused(keyed)),
            EarlierRun::Cancelled(run) => return Ok(Some(Made::Cancelled(run))),
            EarlierRun::UnderWay(run) => run,
        };
        // One of an earlier version cannot be pointed at.
        if !wait && run.run.is_some() {
            return Ok(Some(Made::UnderWay(run)));
        }
        tracing::info!(backup = %run.id, "backup {} is being made for this request already; waiting for it", run.id);
        while backup::is_under_way(&ctx, &run).await? {
            app.runs.pause(POLL).await?;
        }
    }
}
