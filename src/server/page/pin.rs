//! What the forms change at once: a pin.

use super::begin::{Nothing, seen_at};
use super::reader::Reader;
use crate::repository::names::BackupId;
use crate::repository::pins;
use crate::server::App;
use crate::server::error::HttpError;
use crate::server::extract::{BodyBesideQuery, PathId};
use axum::extract::State;
use axum::response::Response;

pub(super) async fn pin(
    State(app): State<App>,
    PathId(id): PathId,
    reader: Reader,
    BodyBesideQuery(Nothing): BodyBesideQuery<Nothing>,
) -> Result<Response, HttpError> {
    let id = app.named(&id).await?;
    pins::pin(&*app.ctx.store, &app.ctx.clock, id, &app.ctx.who, None).await?;
    Ok(its_page(&reader, &id))
}

pub(super) async fn unpin(
    State(app): State<App>,
    PathId(id): PathId,
    reader: Reader,
    BodyBesideQuery(Nothing): BodyBesideQuery<Nothing>,
) -> Result<Response, HttpError> {
    let id = app.named(&id).await?;
    pins::unpin(&*app.ctx.store, id).await?;
    Ok(its_page(&reader, &id))
}

fn its_page(reader: &Reader, id: &BackupId) -> Response {
    seen_at(&reader.link(&format!("/ui/backups/{id}"), &[]))
}
