//! `PUT` and `DELETE /backups/{id}/pin`: keeps a backup whatever the retention policy says, or no longer.

use super::App;
use super::audit::Audit;
use super::backup::unread;
use super::body;
use super::error::HttpError;
use crate::repository::catalog::Pin;
use crate::repository::names::BackupId;
use crate::repository::pins::{self, Pinned};
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Body {
    note: Option<String>,
}

/// That a backup is pinned.
#[derive(Serialize)]
pub(super) struct IsPinned {
    id: BackupId,
    /// The pin that it had before, which stays as it is; the note of the request was not written then.
    already: Option<Pin>,
    /// Who was at work meanwhile. If that is a prune, the pin may have come too late: `GET /backups/{id}` tells.
    beside: Option<String>,
}

/// That a backup is not pinned.
#[derive(Serialize)]
pub(super) struct IsNotPinned {
    id: BackupId,
    /// Whether it was.
    was_pinned: bool,
}

/// 200 when the backup is pinned, by this request or by an earlier one.
pub(super) async fn pin(
    State(app): State<App>,
    Extension(audit): Extension<Audit>,
    id: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<IsPinned>, HttpError> {
    const REMEDY: &str = "send {}, or {\"note\": \"why\"}";
    let body = body.map_err(unread)?;
    let Body { note } = body::object(&body, REMEDY)?;
    audit.asked(&body);
    let (store, id) = (&*app.ctx.store, named(&app, id).await?);
    let (already, beside) = match pins::pin(store, &app.ctx.clock, id, &app.ctx.who, note).await? {
        Pinned::Now { beside } => (None, beside),
        Pinned::Already(pin) => (Some(pin), None),
    };
    Ok(Json(IsPinned { id, already, beside }))
}

/// 200 when the backup is not pinned any more, or was not.
pub(super) async fn unpin(
    State(app): State<App>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<IsNotPinned>, HttpError> {
    let id = named(&app, id).await?;
    let was_pinned = pins::unpin(&*app.ctx.store, id).await?;
    Ok(Json(IsNotPinned { id, was_pinned }))
}

async fn named(app: &App, id: Result<Path<String>, PathRejection>) -> Result<BackupId, HttpError> {
    let Path(id) = id.map_err(|e| HttpError::bad_request(e.body_text(), "GET /backups lists the ids"))?;
    Ok(app.named(&id).await?)
}
