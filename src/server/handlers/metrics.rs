//! `GET /metrics`: how everything stands, for Prometheus.

use crate::ops::metrics::{self, MetricsInput};
use crate::repository::lease;
use crate::server::App;
use crate::server::error::HttpError;
use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// The version of the text format, which a scraper may ask for.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn router() -> Router<App> {
    Router::new().route("/metrics", get(metrics))
}

/// An error when the store cannot be read: no value is better than an old one that looks new.
async fn metrics(State(app): State<App>) -> Result<Response, HttpError> {
    let (look, stored_bytes, holder) = tokio::join!(
        app.watch.look(&app),
        app.watch.stored_bytes(&app),
        app.ask_store("the lease", lease::holder(&*app.ctx.store, &app.ctx.clock)),
    );
    let look = look?;
    let running: Vec<_> = app.runs.all().iter().map(|run| run.operation).collect();
    let text = metrics::text(&MetricsInput {
        answer: &look.answer,
        failed: &look.failed,
        max_age: app.wanted.max_age,
        at: look.at,
        stored_bytes,
        is_lease_held: holder?.is_some(),
        running: Some(&running),
    });
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}
