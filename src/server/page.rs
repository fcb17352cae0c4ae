//! The pages for people: `/` and what lies below `/ui/`.
//!
//! They are made here and now from what the API tells, too: no script is needed to read them, and each is a plain GET. What is
//! changed is changed by a form, which says beside its button by which command the same can be done.

mod asset;
mod backup;
mod backups;
mod begin;
mod chart;
mod document;
mod ladder;
mod language;
mod overview;
mod parts;
mod pin;
mod prune;
mod reader;
mod refused;
mod report;
mod restore;
mod run;
mod text;

pub(super) use overview::Seen;
pub(super) use refused::Refused;

use super::App;
use axum::Router;
use axum::routing::{get, post};

/// The routes of all pages.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/", get(overview::show))
        .route("/ui/backups", get(backups::list))
        .route("/ui/backups/{id}", get(backup::show))
        .route("/ui/backup", post(begin::backup))
        .route("/ui/backups/{id}/verify", post(begin::verification))
        .route("/ui/backups/{id}/drill", post(begin::drill))
        .route("/ui/backups/{id}/pin", post(pin::pin))
        .route("/ui/backups/{id}/unpin", post(pin::unpin))
        .route("/ui/restore", get(restore::show).post(restore::begin))
        .route("/ui/prune", get(prune::show).post(prune::begin))
        .route("/ui/runs/{id}", get(run::show).post(run::cancel))
        .route(asset::PATH, get(asset::serve))
}

/// Whether a path is that of a page.
fn is_page(path: &str) -> bool {
    path == "/" || path.starts_with("/ui/")
}
