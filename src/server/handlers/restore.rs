//! `POST /restore`: restores a backup and answers when the result has been compared with it.

use super::answer;
use crate::ops::backup::KeyedRequest;
use crate::ops::events::Operation;
use crate::ops::restore;
use crate::server::App;
use crate::server::api::{RestorePlan, RestoreReport, RestoreRequest};
use crate::server::error::HttpError;
use crate::server::extract::JsonBody;
use crate::server::runs::{Begun, RunEnd};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};

pub(super) fn router() -> Router<App> {
    Router::new().route("/restore", post(restore))
}

/// 200 with the report when everything asked for was restored and compared, or with the plan when that was asked for and has
/// no refusal. Otherwise the error, with the report or the plan where there is one.
async fn restore(
    State(app): State<App>,
    JsonBody(RestoreRequest { request, dry_run }): JsonBody<RestoreRequest>,
) -> Result<Response, HttpError> {
    if dry_run {
        return Ok(Json(plan(&app, &request).await?).into_response());
    }
    let begun = start(&app, request, None)?;
    answer(&app, begun).await.map(Json::into_response)
}

/// The plan; an error with the plan where it has refusals.
pub(super) async fn plan(app: &App, request: &restore::RestoreRequest) -> Result<RestorePlan, HttpError> {
    let plan = restore::plan(&app.ctx, request).await?;
    match plan.error() {
        None => Ok(plan.into()),
        Some(error) => Err(HttpError::from(error).with_plan(RestorePlan::from(plan))),
    }
}

/// Restores.
pub(in crate::server) fn start(
    app: &App,
    request: restore::RestoreRequest,
    keyed: Option<&KeyedRequest>,
) -> Result<Begun<RestoreReport>, HttpError> {
    let ctx = app.ctx.clone();
    let run = app.runs.begin(Operation::Restore, keyed)?;
    let work = |progress, stop| async move {
        let report = restore::run(&ctx, &request, &progress, &stop).await?;
        Ok(RunEnd {
            error: report.error(),
            report: RestoreReport::from(report),
        })
    };
    Ok(run.spawn(work))
}
