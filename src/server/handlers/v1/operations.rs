//! `/v1/operations`: what runs and what ran, here and elsewhere; and `POST /v1/operations/{id}:cancel`.

use super::{Problems, ReadProblems};
use crate::server::App;
use crate::server::api::{CancelRequest, Operation, OperationsQuery, OperationsResponse};
use crate::server::error::HttpError;
use crate::server::extract::{JsonBody, PathId, limited};
use crate::server::operations::operation_id;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

const LARGEST_LIMIT: u16 = 100;
const LIMIT: u16 = 20;
/// What stands behind the id of an operation that is to be cancelled.
const CANCEL: &str = ":cancel";

/// The newest operations.
#[utoipa::path(
    get,
    path = "/v1/operations",
    operation_id = "listOperations",
    tag = "Operations",
    params(OperationsQuery),
    responses(ReadProblems, (status = 200, description = "Newest first.", body = OperationsResponse))
)]
pub(super) async fn list(
    State(app): State<App>,
    query: Result<Query<OperationsQuery>, QueryRejection>,
) -> Result<Json<OperationsResponse>, HttpError> {
    const REMEDY: &str = "write e.g. /v1/operations?limit=10, at most 100";
    let Query(query) = query.map_err(|e| HttpError::bad_request(e.body_text(), REMEDY))?;
    let limit = limited(query.limit, LIMIT, LARGEST_LIMIT, REMEDY)?;
    let (operations, error) = app.operations(limit).await;
    Ok(Json(OperationsResponse {
        operations,
        store_error: error.as_ref().map(Into::into),
    }))
}

/// One operation.
#[utoipa::path(
    get,
    path = "/v1/operations/{id}",
    operation_id = "showOperation",
    tag = "Operations",
    params(("id" = String, Path, description = "Of the operation.")),
    responses(ReadProblems, (status = 200, description = "How far it is, or what it came to.", body = Operation))
)]
pub(super) async fn show(State(app): State<App>, PathId(id): PathId, uri: Uri) -> Response {
    match id.ends_with(CANCEL) {
        true => other_methods(Method::GET, uri, "POST").await,
        false => found(&app, &id).await.map(Json).into_response(),
    }
}

/// Cancels one; the only thing that can be done to it.
#[utoipa::path(
    post,
    path = "/v1/operations/{id}:cancel",
    operation_id = "cancelOperation",
    tag = "Operations",
    params(("id" = String, Path, description = "Of the operation.")),
    request_body(content = Option<CancelRequest>, content_type = "application/json"),
    responses(
        Problems,
        (status = 200, description = "It has ended, now or before.", body = Operation),
        (status = 202, description = "It is still cleaning up.", body = Operation)
    )
)]
pub(super) async fn act(
    State(app): State<App>,
    PathId(segment): PathId,
    uri: Uri,
    body: Result<JsonBody<CancelRequest>, HttpError>,
) -> Response {
    match segment.split_once(':') {
        Some((id, "cancel")) => match body {
            Ok(_) => cancel(&app, id).await.into_response(),
            Err(error) => error.into_response(),
        },
        Some(_) => HttpError::no_such_path(uri).await.into_response(),
        None => other_methods(Method::POST, uri, "GET,HEAD").await,
    }
}

/// 200 once it has ended, also if it had before; 202 while it is still cleaning up.
async fn cancel(app: &App, id: &str) -> Result<(StatusCode, Json<Operation>), HttpError> {
    let now = app.cancel(&operation_id(id)?).await?;
    let status = match now.has_ended() {
        true => StatusCode::OK,
        false => StatusCode::ACCEPTED,
    };
    Ok((status, Json(now)))
}

async fn found(app: &App, id: &str) -> Result<Operation, HttpError> {
    app.operation(&operation_id(id)?).await
}

/// An operation is looked at, and what cancels it is posted; nothing else.
pub(super) async fn other(method: Method, PathId(segment): PathId, uri: Uri) -> Response {
    match segment.ends_with(CANCEL) {
        true => other_methods(method, uri, "POST").await,
        false => other_methods(method, uri, "GET,HEAD").await,
    }
}

async fn other_methods(method: Method, uri: Uri, allowed: &'static str) -> Response {
    let error = HttpError::method_not_allowed(method, uri).await;
    ([(header::ALLOW, allowed)], error).into_response()
}
