//! `POST /backup`: makes a backup and answers when it has ended. Sent again with the same key, it makes no second one.

use super::answer;
use crate::base::error::Result;
use crate::ops::backup::{self, EarlierRun, KeyedRequest};
use crate::ops::events::Operation;
use crate::ops::prune::{self, PruneContext};
use crate::server::App;
use crate::server::api::{BackupPlan, BackupReport, BackupRequest};
use crate::server::error::{HttpError, RequestCode};
use crate::server::extract::JsonBody;
use crate::server::idempotency::RequestKey;
use crate::server::runs::RunEnd;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use std::time::Duration;

/// How often one looks whether a run has ended that another request began.
const POLL: Duration = Duration::from_secs(1);
/// A run that has begun so recently may not have recorded yet for which request.
const SETTLING: Duration = Duration::from_secs(10);

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
        return planned(&app, &request).await.map(Json::into_response);
    }
    made(&app, key, &request).await.map(Json::into_response)
}

/// What would be saved. It changes nothing and takes no lease.
async fn planned(app: &App, request: &BackupRequest) -> Result<Json<BackupPlan>, HttpError> {
    let selection = request.selection.as_ref().unwrap_or(&app.selection);
    let plan = backup::plan(&app.probe, selection, app.ctx.settings.mode).await?;
    Ok(Json(plan.into()))
}

async fn made(app: &App, key: RequestKey, request: &BackupRequest) -> Result<Json<BackupReport>, HttpError> {
    let Some(keyed) = key.with(request.fingerprint()) else {
        return begin(app, request, None).await;
    };
    loop {
        if let Some(report) = result_of_earlier(app, &keyed).await? {
            return repeated(app, report).await;
        }
        match begin(app, request, Some(keyed.clone())).await {
            // That run may be the one of an earlier request with this key.
            Err(refused) if refused.is_held_since(app.ctx.clock.now() - SETTLING) => app.runs.pause(POLL).await?,
            answer => return answer,
        }
    }
}

/// Makes the backup.
async fn begin(
    app: &App,
    request: &BackupRequest,
    keyed: Option<KeyedRequest>,
) -> Result<Json<BackupReport>, HttpError> {
    let selection = request.selection.clone().unwrap_or_else(|| app.selection.clone());
    let prune_after = app.prunes_after_backup.then(|| app.retention.clone());
    let mut ctx = app.ctx.clone();
    ctx.settings.source.accept_new = request.new_source;
    let run = app.runs.begin(Operation::Backup)?;
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
    answer(app, run.detached(work).await).await
}

fn end(report: backup::BackupReport) -> RunEnd<BackupReport> {
    RunEnd {
        error: report.error(),
        report: report.into(),
    }
}

/// What the run came to that an earlier request with the same key began; waits while it is under way. `None`: there is no result,
/// so that the backup is to be made.
async fn result_of_earlier(app: &App, keyed: &KeyedRequest) -> Result<Option<backup::BackupReport>, HttpError> {
    let ctx = app.ctx.on_store();
    loop {
        let run = match backup::earlier(&ctx, keyed).await? {
            EarlierRun::None => return Ok(None),
            EarlierRun::Ended(report) => return Ok(Some(*report)),
            EarlierRun::OfAnother => {
                return Err(HttpError::new(
                    RequestCode::KeyReused,
                    format!(
                        "the idempotency key of this request ({}) was used for another body",
                        keyed.key
                    ),
                    "send another Idempotency-Key; a retry has the key and the body of the request that it repeats",
                ));
            }
            EarlierRun::UnderWay(run) => run,
        };
        tracing::info!(backup = %run.id, "backup {} is being made for this request already; waiting for it", run.id);
        while backup::is_under_way(&ctx, &run).await? {
            app.runs.pause(POLL).await?;
        }
    }
}

/// The same answer as that of the request which began the run.
async fn repeated(app: &App, report: backup::BackupReport) -> Result<Json<BackupReport>, HttpError> {
    tracing::info!(backup = %report.id, "backup {} was made for this request already; nothing is done", report.id);
    let mut end = end(report);
    end.report.repeated = true;
    answer(app, Ok(end)).await
}
