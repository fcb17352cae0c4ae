//! Below `/v1`: what works for long is an operation, a resource that can be looked at and cancelled. The handlers of what only
//! looks, and of pins, are those of the old routes. `openapi/v1.json` describes all of it.
//!
//! Each kind of work has a collection of its own, named by what it makes: `POST /v1/backups`, `/v1/restores`, `/v1/drills`,
//! `/v1/verifications`, `/v1/prunes`. All answer with the operation; what an operation is about stands in the body.

mod begin;
mod begun;
mod delete;
mod openapi;
mod operations;

pub use openapi::openapi;

pub(super) use openapi::{Problems, ReadProblems};

use super::{backups, collections, pin, status};
use crate::server::App;
use axum::Router;
use axum::routing::{get, post, put};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/v1/backups", get(backups::list).post(begin::backup))
        .route("/v1/backups/{id}", get(backups::show).delete(delete::delete))
        .route("/v1/backups/{id}/pin", put(pin::pin).delete(pin::unpin))
        .route("/v1/restores", post(begin::restore))
        .route("/v1/drills", post(begin::drill))
        .route("/v1/verifications", post(begin::verification))
        .route("/v1/prunes", post(begin::prune))
        .route("/v1/operations", get(operations::list))
        .route(
            "/v1/operations/{id}",
            get(operations::show).post(operations::act).fallback(operations::other),
        )
        .route("/v1/collections", get(collections::list))
        .route("/v1/status", get(status::status))
        .route("/v1/openapi.json", get(openapi::serve))
}
