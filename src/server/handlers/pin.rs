//! `PUT` and `DELETE /backups/{id}/pin`: keeps a backup whatever the retention policy says, or no longer.

use super::v1::Problems;
use crate::repository::pins;
use crate::server::App;
use crate::server::api::{PinRequest, PinResponse, UnpinResponse};
use crate::server::error::HttpError;
use crate::server::extract::{JsonBody, PathId};
use axum::extract::State;
use axum::routing::put;
use axum::{Json, Router};

pub(super) fn router() -> Router<App> {
    Router::new().route("/backups/{id}/pin", put(pin).delete(unpin))
}

/// Keeps a backup whatever the policy says. 200 when it is pinned, by this request or by an earlier one.
#[utoipa::path(
    put,
    path = "/v1/backups/{id}/pin",
    operation_id = "pinBackup",
    tag = "Backups",
    params(("id" = String, Path, description = "An id, or `latest`.")),
    request_body(content = Option<PinRequest>, content_type = "application/json"),
    responses(Problems, (status = 200, description = "It is pinned.", body = PinResponse))
)]
pub(super) async fn pin(
    State(app): State<App>,
    PathId(id): PathId,
    JsonBody(PinRequest { note }): JsonBody<PinRequest>,
) -> Result<Json<PinResponse>, HttpError> {
    let id = app.named(&id).await?;
    let pinned = pins::pin(&*app.ctx.store, &app.ctx.clock, id, &app.ctx.who, note).await?;
    Ok(Json(PinResponse::new(id, pinned)))
}

/// Keeps it no longer. 200 when it is not pinned any more, or was not.
#[utoipa::path(
    delete,
    path = "/v1/backups/{id}/pin",
    operation_id = "unpinBackup",
    tag = "Backups",
    params(("id" = String, Path, description = "An id, or `latest`.")),
    responses(Problems, (status = 200, description = "It is not pinned.", body = UnpinResponse))
)]
pub(super) async fn unpin(State(app): State<App>, PathId(id): PathId) -> Result<Json<UnpinResponse>, HttpError> {
    let id = app.named(&id).await?;
    let was_pinned = pins::unpin(&*app.ctx.store, id).await?;
    Ok(Json(UnpinResponse { id, was_pinned }))
}
