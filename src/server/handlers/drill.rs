//! `POST /backups/{id}/drill`: proves that a backup can be restored, and answers when that is done.
//!
//! On the Qdrant that `DRILL_QDRANT_URL` names; `{"same_qdrant": true}` allows the one that is backed up instead where none is
//! named.

use super::answer;
use crate::ops::context::Context;
use crate::ops::drill::{self, DrillTarget};
use crate::ops::events::Operation;
use crate::server::App;
use crate::server::api::{DrillReport, DrillRequest};
use crate::server::error::HttpError;
use crate::server::extract::{JsonBody, PathId};
use crate::server::runs::{Begun, RunEnd};
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};

pub(super) fn router() -> Router<App> {
    Router::new().route("/backups/{id}/drill", post(drill))
}

/// 200 with what was found when the backup came back equal. Otherwise the error, with what was found where there is a verdict.
async fn drill(
    State(app): State<App>,
    PathId(id): PathId,
    JsonBody(request): JsonBody<DrillRequest>,
) -> Result<Json<DrillReport>, HttpError> {
    let begun = start(&app, &id, &request).await?;
    answer(&app, begun.ended().await).await
}

/// Drills the backup that `id` names.
pub(in crate::server) async fn start(
    app: &App,
    id: &str,
    request: &DrillRequest,
) -> Result<Begun<DrillReport>, HttpError> {
    let (qdrant, elsewhere) = match (&app.drills_on, request.same_qdrant) {
        (Some(qdrant), _) => (qdrant, true),
        (None, true) => (&app.ctx.qdrant, false),
        (None, false) => return Err(drill::needs_a_qdrant().into()),
    };
    let mut ctx = Context {
        qdrant: qdrant.clone(),
        ..app.ctx.clone()
    };
    ctx.settings.source.elsewhere = elsewhere;
    let place = DrillTarget { ctx, elsewhere };
    // `latest` is that of now, not of when the run begins.
    let id = app.named(id).await?;
    let request = drill::DrillRequest {
        id: id.to_string(),
        no_lock: request.no_lock,
        ..drill::DrillRequest::default()
    };
    let run = app.runs.begin(Operation::Drill)?;
    let work = |progress, stop| async move {
        let drilled = drill::run(&place, &request, &progress, &stop).await?;
        Ok(RunEnd {
            error: drilled.error(),
            report: drilled.into(),
        })
    };
    Ok(run.spawn(work))
}
