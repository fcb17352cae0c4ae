//! `GET /backups` and `GET /backups/{id}`: what backups there are.

use super::App;
use super::error::HttpError;
use crate::repository::catalog::{self, Aged, Detail};
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};

const LARGEST_LIMIT: u16 = 1000;

/// `?limit=`, 1 to 1000; without it [`catalog::LISTED`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limit {
    limit: Option<u16>,
}

/// Newest first.
#[derive(Serialize)]
pub(super) struct Backups {
    backups: Vec<Aged>,
}

/// The newest backups.
pub(super) async fn list(
    State(app): State<App>,
    query: Result<Query<Limit>, QueryRejection>,
) -> Result<Json<Backups>, HttpError> {
    const REMEDY: &str = "write e.g. /backups?limit=10, at most 1000";
    let Query(query) = query.map_err(|e| HttpError::bad_request(e.body_text(), REMEDY))?;
    let limit = query.limit.unwrap_or(catalog::LISTED);
    if !(1..=LARGEST_LIMIT).contains(&limit) {
        return Err(HttpError::bad_request(
            format!("limit={limit} is not between 1 and {LARGEST_LIMIT}"),
            REMEDY,
        ));
    }
    let list = catalog::list(&*app.ctx.store, limit.into(), app.ctx.clock.now());
    let summaries = app.ask_store("its backups", list).await?;
    let now = app.ctx.clock.now();
    Ok(Json(Backups {
        backups: summaries.into_iter().map(|s| Aged::new(s, now)).collect(),
    }))
}

/// One backup in full; the id may be `latest`.
pub(super) async fn show(
    State(app): State<App>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Detail>, HttpError> {
    let Path(id) = id.map_err(|e| HttpError::bad_request(e.body_text(), "GET /backups lists the ids"))?;
    let what = format!("backup {id:?}");
    let id = app.ask_store(&what, app.named(&id)).await?;
    let shown = catalog::show(&*app.ctx.store, id, app.ctx.clock.now());
    Ok(Json(app.ask_store(&what, shown).await?))
}
