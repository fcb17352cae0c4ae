//! `POST /prune`: deletes old backups by the configured policy, or says what it would delete.

use crate::base::error::Result;
use crate::ops::backup::KeyedRequest;
use crate::ops::events::Operation;
use crate::ops::progress::Progress;
use crate::ops::prune::{self, PruneContext};
use crate::server::App;
use crate::server::api::{PrunePlan, PruneReport, PruneRequest, PruneResponse};
use crate::server::error::HttpError;
use crate::server::extract::JsonBody;
use crate::server::runs::{Begun, RunEnd};
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use tokio_util::sync::CancellationToken;

pub(super) fn router() -> Router<App> {
    Router::new().route("/prune", post(by_policy))
}

/// 200 when all of the plan was executed, or none was to be. Otherwise the error, with plan and report once it was begun.
async fn by_policy(
    State(app): State<App>,
    JsonBody(PruneRequest { dry_run }): JsonBody<PruneRequest>,
) -> Result<Json<PruneResponse>, HttpError> {
    let job = context(&app);
    let plan = prune::plan(&job).await?;
    if dry_run {
        return Ok(Json(PruneResponse {
            dry_run,
            plan: plan.into(),
            report: None,
        }));
    }
    let shown = PrunePlan::from(plan.clone());
    let (end, id) = match plan.is_empty() {
        // What deletes nothing takes no lease, and is in nobody's way.
        true => {
            let progress = Progress::new(app.ctx.clock.now());
            (execute(job, plan, &progress, CancellationToken::new()).await, None)
        }
        false => {
            let begun = start(&app, job, plan, None)?;
            let id = begun.id().clone();
            (begun.ended().await, Some(id))
        }
    };
    let told = |error: HttpError| match &id {
        Some(id) => app.told_of(id, error),
        None => error,
    };
    match end {
        Ok(RunEnd { report, error: None }) => Ok(Json(PruneResponse {
            dry_run,
            plan: shown,
            report: Some(report),
        })),
        Ok(RunEnd {
            report,
            error: Some(error),
        }) => Err(told(
            HttpError::from(error).with_plan(shown).with_report(report).logged(),
        )),
        Err(error) => Err(told(app.with_lease_holder(error).await.logged())),
    }
}

pub(in crate::server) fn context(app: &App) -> PruneContext {
    PruneContext {
        ctx: app.ctx.on_store(),
        policy: app.retention.clone(),
        only: None,
    }
}

/// Deletes what the plan says.
pub(in crate::server) fn start(
    app: &App,
    job: PruneContext,
    plan: prune::PrunePlan,
    keyed: Option<&KeyedRequest>,
) -> Result<Begun<PruneReport>, HttpError> {
    let run = app.runs.begin(Operation::Prune, keyed)?;
    Ok(run.spawn(|progress, stop| async move { execute(job, plan, &progress, stop).await }))
}

async fn execute(
    job: PruneContext,
    plan: prune::PrunePlan,
    progress: &Progress,
    stop: CancellationToken,
) -> Result<RunEnd<PruneReport>> {
    let mut report = prune::execute_as(&job, &plan, progress, &stop).await?;
    for deleted in &report.deleted {
        tracing::info!(backup = %deleted.id, objects = deleted.objects, bytes = deleted.bytes, "deleted by the retention policy");
    }
    Ok(RunEnd {
        error: report
            .take_error()
            .or_else(|| job.only.and_then(|_| report.not_deleted())),
        report: report.into(),
    })
}
