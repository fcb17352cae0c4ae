//! `DELETE /v1/backups/{id}`: deletes one backup, whatever the policy says, or says what that would delete.

use super::Problems;
use super::begun::{HasBegun, begun_now, planned};
use crate::ops::prune::{self as pruning, PruneContext};
use crate::server::App;
use crate::server::api::{DeleteQuery, DoneOrPlanned, PrunePlan};
use crate::server::error::HttpError;
use crate::server::extract::PathId;
use crate::server::handlers::prune as prunes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;

/// Deletes a backup; only with `dry_run` false. Never one that is pinned, nor the newest good one.
#[utoipa::path(
    delete,
    path = "/v1/backups/{id}",
    operation_id = "deleteBackup",
    tag = "Backups",
    params(("id" = String, Path, description = "An id, or `latest`."), DeleteQuery),
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
pub(super) async fn delete(
    State(app): State<App>,
    PathId(id): PathId,
    query: Result<Query<DeleteQuery>, QueryRejection>,
) -> Result<Response, HttpError> {
    const REMEDY: &str =
        "write nothing to see what would be deleted, ?dry_run=false to delete it, &wait=true to wait for the end";
    let Query(DeleteQuery { dry_run, wait }) = query.map_err(|e| HttpError::bad_request(e.body_text(), REMEDY))?;
    let job = PruneContext {
        only: Some(app.named(&id).await?),
        ..prunes::context(&app)
    };
    let plan = pruning::plan(&job).await?;
    if let Some(kept) = plan.items.iter().find(|item| item.keep) {
        return Err(HttpError::from(kept.refused("")).with_plan(PrunePlan::from(plan.clone())));
    }
    match dry_run {
        true => Ok(planned(PrunePlan::from(plan))),
        false => begun_now(&app, prunes::start(&app, job, plan, None)?, wait).await,
    }
}
