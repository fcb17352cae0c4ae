//! `POST /backups/{id}/drill`: proves that a backup can be restored, and answers when that is done.
//!
//! On the Qdrant that `DRILL_QDRANT_URL` names; `{"same_qdrant": true}` allows the one that is backed up instead where none is
//! named. The request names no other: whoever may call this service must not choose where Qdrant's data goes.

use super::App;
use super::audit::Audit;
use super::backup::{refused, unread};
use super::body;
use super::error::HttpError;
use crate::base::error::{Code, Error};
use crate::ops::context::Context;
use crate::ops::drill::{self, DrillReport, DrillTarget};
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde::Deserialize;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Body {
    same_qdrant: bool,
    no_lock: bool,
}

/// 200 with what was found when the backup came back equal. Otherwise the error, with what was found where there is a verdict.
pub(super) async fn drill(
    State(app): State<App>,
    Extension(audit): Extension<Audit>,
    id: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<DrillReport>, HttpError> {
    const REMEDY: &str = "send {}, or {\"same_qdrant\": true} to allow a drill on the Qdrant that is backed up, \
                          {\"no_lock\": true} to go on without the lease";
    let Path(id) = id.map_err(|e| HttpError::bad_request(e.body_text(), "GET /backups lists the ids"))?;
    let body = body.map_err(unread)?;
    let Body { same_qdrant, no_lock } = body::object(&body, REMEDY)?;
    audit.asked(&body);
    let (qdrant, elsewhere) = match (&app.drills_on, same_qdrant) {
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
    let id = app.named(&id).await?;
    let request = drill::DrillRequest {
        id: id.to_string(),
        no_lock,
        ..drill::DrillRequest::default()
    };
    let run = match app.runs.drill(place, request) {
        Ok(run) => run,
        Err(e) => return Err(refused(&app, e).await),
    };
    // A client that goes away drops this future here; the run goes on.
    let result = run
        .await
        .unwrap_or_else(|e| Err(Error::new(Code::Internal, "the drill ended by a defect of this service").because(e)));
    match result {
        Ok(drilled) => match drilled.error() {
            None => Ok(Json(drilled)),
            Some(error) => Err(HttpError::from(error).with_report(&drilled).logged()),
        },
        Err(e) => Err(refused(&app, e).await.logged()),
    }
}
