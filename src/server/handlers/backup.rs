//! `POST /backup`: makes a backup and answers when it has ended.

use super::answer;
use crate::ops::backup;
use crate::ops::events::Operation;
use crate::ops::prune::{self, PruneContext};
use crate::server::App;
use crate::server::api::{BackupReport, BackupRequest};
use crate::server::error::HttpError;
use crate::server::extract::JsonBody;
use crate::server::runs::RunEnd;
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};

pub(super) fn router() -> Router<App> {
    Router::new().route("/backup", post(make))
}

/// 200 with the report when everything asked for was saved. Otherwise the error, with the report where there is one.
async fn make(
    State(app): State<App>,
    JsonBody(request): JsonBody<BackupRequest>,
) -> Result<Json<BackupReport>, HttpError> {
    let selection = request.selection.unwrap_or_else(|| app.selection.clone());
    let prune_after = app.prunes_after_backup.then(|| app.retention.clone());
    let mut ctx = app.ctx.clone();
    ctx.settings.source.accept_new = request.new_source;
    let run = app.runs.begin(Operation::Backup)?;
    let work = |progress, stop| async move {
        let mut report = backup::run(&ctx, &selection, &progress, &stop).await?;
        if let Some(policy) = prune_after {
            prune::after_backup(
                &PruneContext {
                    ctx: ctx.on_store(),
                    policy,
                },
                &mut report,
                &stop,
            )
            .await;
        }
        Ok(RunEnd {
            error: report.error(),
            report: report.into(),
        })
    };
    answer(&app, run.detached(work).await).await
}
