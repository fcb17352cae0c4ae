//! What handlers take from a request.

use super::api::{RequestBody, WaitQuery};
use super::audit::Audit;
use super::connections::Limits;
use super::error::{HttpError, RequestCode, is_described};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use std::time::Duration;

/// Largest body of a request: a list of a thousand long names fits.
pub(super) const BODY_LIMIT: usize = 64 << 10;

/// Longest time for a whole body.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyTime(pub(super) Duration);

/// A body that was understood, which is then in the audit log.
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: RequestBody, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = HttpError;

    async fn from_request(request: Request, state: &S) -> Result<Self, HttpError> {
        // What is asked for stands in the body. Ignored, `?dry_run=true` would do what it was to show.
        if let Some(query) = request.uri().query().filter(|query| !query.is_empty()) {
            return Err(HttpError::bad_request(
                format!("this request takes no query parameters, but has {query:?}"),
                "send the fields as JSON in the body, e.g. {\"dry_run\": true}",
            ));
        }
        read(request, state).await.map(Self)
    }
}

/// As [`JsonBody`], of a request that takes query parameters, too.
pub(super) struct BodyBesideQuery<T>(pub(super) T);

impl<T: RequestBody, S: Send + Sync> FromRequest<S> for BodyBesideQuery<T> {
    type Rejection = HttpError;

    async fn from_request(request: Request, state: &S) -> Result<Self, HttpError> {
        read(request, state).await.map(Self)
    }
}

async fn read<T: RequestBody, S: Send + Sync>(request: Request, state: &S) -> Result<T, HttpError> {
    let audit = request.extensions().get::<Audit>().cloned();
    let time = request
        .extensions()
        .get()
        .copied()
        .unwrap_or(BodyTime(Limits::default().body));
    let must_be_json = is_described(request.uri());
    let body = match tokio::time::timeout(time.0, Bytes::from_request(request, state)).await {
        Ok(body) => body.map_err(unread)?,
        Err(_) => return Err(too_slow(time)),
    };
    // The old routes take blanks for no body, and always did; the description knows JSON alone.
    if must_be_json && !body.is_empty() && body.trim_ascii().is_empty() {
        return Err(HttpError::bad_request("the body is blank", "send no body, or {}"));
    }
    let understood = T::parse(&body)?;
    if let Some(audit) = audit {
        audit.asked(&body);
    }
    Ok(understood)
}

/// `?wait=true`: whether the answer is to come when the work has ended.
pub(super) struct Wait(pub(super) bool);

impl<S: Send + Sync> FromRequestParts<S> for Wait {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        match Query::<WaitQuery>::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Self(query.wait)),
            Err(e) => Err(HttpError::bad_request(
                e.body_text(),
                "write ?wait=true, or nothing; what is asked for stands in the body, as JSON",
            )),
        }
    }
}

fn unread(rejection: BytesRejection) -> HttpError {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => HttpError::new(
            RequestCode::BodyTooLarge,
            format!("the body is larger than {BODY_LIMIT} bytes"),
            "select collections by patterns instead of names",
        ),
        _ => HttpError::bad_request(rejection.body_text(), "send the whole body"),
    }
}

fn too_slow(BodyTime(time): BodyTime) -> HttpError {
    HttpError::new(
        RequestCode::BodyTimeout,
        format!("the body did not arrive within {time:?}"),
        "send as many bytes as Content-Length says, at once",
    )
}

/// The `{id}` of a path: that of a backup, or `latest`, see [`super::App::named`].
pub(super) struct PathId(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(e) => Err(HttpError::bad_request(e.body_text(), "GET /v1/backups lists the ids")),
        }
    }
}

/// How many of a list are asked for: from one to `most`; `default` where nothing is said.
pub(super) fn limited(asked: Option<u16>, default: u16, most: u16, remedy: &str) -> Result<usize, HttpError> {
    let limit = asked.unwrap_or(default);
    match (1..=most).contains(&limit) {
        true => Ok(limit.into()),
        false => Err(HttpError::bad_request(
            format!("limit={limit} is not between 1 and {most}"),
            remedy,
        )),
    }
}
