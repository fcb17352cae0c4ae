//! What the forms begin that need no plan: a backup, a verification, a drill.

use super::reader::Reader;
use crate::base::error::{Code, Error, Result};
use crate::repository::names::RunId;
use crate::server::App;
use crate::server::api::{BackupRequest, DrillRequest, RequestBody};
use crate::server::error::HttpError;
use crate::server::extract::{BodyBesideQuery, PathId};
use crate::server::handlers::{backup as backups, drill as drills, verify as verifications};
use crate::server::runs::Begun;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use url::form_urlencoded;

/// The field of a drill that allows the Qdrant that is backed up.
pub(super) const SAME_QDRANT: &str = "same_qdrant";

/// The fields of a form, in the order in which it has them.
pub(super) struct Form(pub(super) Vec<(String, String)>);

impl RequestBody for Form {
    fn parse(body: &[u8]) -> Result<Self> {
        Ok(Self(form_urlencoded::parse(body).into_owned().collect()))
    }
}

impl Form {
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.0.iter().filter(move |(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A form without fields.
pub(super) struct Nothing;

impl RequestBody for Nothing {
    fn parse(body: &[u8]) -> Result<Self> {
        match body.trim_ascii().is_empty() {
            true => Ok(Self),
            false => Err(Error::new(Code::BadRequest, "this form has no fields").remedy("send no body")),
        }
    }
}

pub(super) async fn backup(
    State(app): State<App>,
    reader: Reader,
    BodyBesideQuery(Nothing): BodyBesideQuery<Nothing>,
) -> Result<Response, HttpError> {
    let request = BackupRequest {
        selection: None,
        new_source: false,
        dry_run: false,
    };
    begun(&app, &reader, backups::start(&app, &request, None)?).await
}

pub(super) async fn verification(
    State(app): State<App>,
    PathId(id): PathId,
    reader: Reader,
    BodyBesideQuery(Nothing): BodyBesideQuery<Nothing>,
) -> Result<Response, HttpError> {
    let id = app.named(&id).await?.to_string();
    begun(&app, &reader, verifications::start(&app, id)?).await
}

pub(super) async fn drill(
    State(app): State<App>,
    PathId(id): PathId,
    reader: Reader,
    BodyBesideQuery(form): BodyBesideQuery<Form>,
) -> Result<Response, HttpError> {
    let request = DrillRequest {
        same_qdrant: form.all(SAME_QDRANT).any(|value| value == "true"),
        no_lock: false,
    };
    begun(&app, &reader, drills::start(&app, &id, &request).await?).await
}

/// The page of the run, once it is known that it was not refused.
pub(super) async fn begun<T>(app: &App, reader: &Reader, mut begun: Begun<T>) -> Result<Response, HttpError> {
    let id: RunId = begun.id().clone();
    match begun.settled().await {
        Ok(()) => Ok(seen_at(&reader.link(&format!("/ui/runs/{id}"), &[]))),
        // What was refused is no operation.
        Err(error) => Err(app.with_lease_holder(error).await.logged()),
    }
}

/// Sends the reader there.
pub(super) fn seen_at(address: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, address.to_owned())]).into_response()
}
