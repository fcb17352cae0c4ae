//! `GET /backups` and `GET /backups/{id}`: what backups there are.

use super::large;
use super::v1::ReadProblems;
use crate::ops::prune;
use crate::repository::catalog::{self, ListedBackup};
use crate::server::App;
use crate::server::api::{BackupDetail, BackupSummary, BackupsQuery, BackupsResponse};
use crate::server::error::HttpError;
use crate::server::extract::{PathId, limited};
use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;

const LARGEST_LIMIT: u16 = 1000;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/backups", get(list))
        .route("/backups/{id}", get(show))
}

/// The newest backups.
#[utoipa::path(
    get,
    path = "/v1/backups",
    operation_id = "listBackups",
    tag = "Backups",
    params(BackupsQuery),
    responses(ReadProblems, (status = 200, description = "Newest first.", body = BackupsResponse))
)]
pub(super) async fn list(
    State(app): State<App>,
    query: Result<Query<BackupsQuery>, QueryRejection>,
) -> Result<Response, HttpError> {
    const REMEDY: &str = "write e.g. /v1/backups?limit=10, at most 1000";
    let Query(query) = query.map_err(|e| HttpError::bad_request(e.body_text(), REMEDY))?;
    let limit = limited(query.limit, catalog::LISTED, LARGEST_LIMIT, REMEDY)?;
    let list = catalog::list(&*app.ctx.store, limit, app.ctx.clock.now());
    let summaries = app.ask_store("its backups", list).await?;
    let now = app.ctx.clock.now();
    let leftovers = match query.all {
        true => {
            let leftovers = prune::leftovers(&*app.ctx.store, &app.retention, now);
            let leftovers = app.ask_store("what killed runs left", leftovers).await?;
            Some(leftovers.into_iter().map(Into::into).collect())
        }
        false => None,
    };
    let shown = move |summary| BackupSummary::from(ListedBackup::new(summary, now));
    large(move || BackupsResponse {
        backups: summaries.into_iter().map(shown).collect(),
        leftovers,
    })
    .await
}

/// One backup in full.
#[utoipa::path(
    get,
    path = "/v1/backups/{id}",
    operation_id = "showBackup",
    tag = "Backups",
    params(("id" = String, Path, description = "An id, or `latest`.")),
    responses(ReadProblems, (status = 200, description = "The backup.", body = BackupDetail))
)]
pub(super) async fn show(State(app): State<App>, PathId(id): PathId) -> Result<Response, HttpError> {
    let what = format!("backup {id:?}");
    let id = app.ask_store(&what, app.named(&id)).await?;
    let shown = catalog::show(&*app.ctx.store, id, app.ctx.clock.now());
    let shown = app.ask_store(&what, shown).await?;
    large(move || BackupDetail::from(shown)).await
}
