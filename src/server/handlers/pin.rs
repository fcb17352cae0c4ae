//! `PUT` and `DELETE /backups/{id}/pin`: keeps a backup whatever the retention policy says, or no longer.

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

/// 200 when the backup is pinned, by this request or by an earlier one.
async fn pin(
    State(app): State<App>,
    PathId(id): PathId,
    JsonBody(PinRequest { note }): JsonBody<PinRequest>,
) -> Result<Json<PinResponse>, HttpError> {
    let id = app.named(&id).await?;
    let pinned = pins::pin(&*app.ctx.store, &app.ctx.clock, id, &app.ctx.who, note).await?;
    Ok(Json(PinResponse::new(id, pinned)))
}

/// 200 when the backup is not pinned any more, or was not.
async fn unpin(State(app): State<App>, PathId(id): PathId) -> Result<Json<UnpinResponse>, HttpError> {
    let id = app.named(&id).await?;
    let was_pinned = pins::unpin(&*app.ctx.store, id).await?;
    Ok(Json(UnpinResponse { id, was_pinned }))
}
