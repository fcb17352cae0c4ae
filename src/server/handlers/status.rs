//! `GET /status`: how things are.

use super::v1::ReadProblems;
use crate::repository::catalog::{self, ListedBackup};
use crate::repository::lease;
use crate::server::App;
use crate::server::api::{Problem, QdrantStatus, RunningOperation, RunningRun, StatusResponse, StoreStatus};
use crate::server::runs::Running;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};

pub(super) fn router() -> Router<App> {
    Router::new().route("/status", get(status))
}

/// How things are. 200 when all is well, 503 when Qdrant or the store is not usable.
#[utoipa::path(
    get,
    path = "/v1/status",
    operation_id = "status",
    tag = "Status",
    responses(
        ReadProblems,
        (status = 200, description = "Qdrant and the store are usable.", body = StatusResponse),
        (
            status = 503,
            description = "Qdrant or the store is not usable; or the service is handling as many requests as it can.",
            content((StatusResponse = "application/json"), (Problem = "application/problem+json"))
        )
    )
)]
pub(super) async fn status(State(app): State<App>) -> (StatusCode, Json<StatusResponse>) {
    let now = app.ctx.clock.now();
    let (version, (collections, good), newest, holder) = tokio::join!(
        app.ask_qdrant("its version", app.probe.version()),
        async {
            // The version needs no key; this does.
            let live = app.live().await;
            let latest = app.latest(live.as_ref().ok().map(|(_, source)| source));
            let good = latest.await.map(|manifest| manifest.id);
            (live, good)
        },
        app.ask_store("the last backup", catalog::newest(&*app.ctx.store, now)),
        app.ask_store("the lease", lease::holder(&*app.ctx.store, &app.ctx.clock)),
    );
    let running = match (app.runs.under_lease(), holder.as_ref()) {
        (Some(run), _) => Some(RunningRun {
            who: app.ctx.who.clone(),
            since: run.since,
            progress: Some(run.progress.now().into()),
            operation: Some(run.operation.into()),
        }),
        (None, Ok(Some(record))) => Some(RunningRun {
            who: record.who.clone(),
            since: record.since,
            progress: None,
            operation: None,
        }),
        (None, _) => None,
    };
    let qdrant_error = version.as_ref().err().or(collections.as_ref().err()).map(Into::into);
    let store_error = newest.as_ref().err().or(holder.as_ref().err()).map(Into::into);
    let (qdrant_ok, store_ok) = (qdrant_error.is_none(), store_error.is_none());
    let (status, code) = match qdrant_ok && store_ok {
        true => ("ok", StatusCode::OK),
        false => ("degraded", StatusCode::SERVICE_UNAVAILABLE),
    };
    let response = StatusResponse {
        status,
        version: env!("CARGO_PKG_VERSION"),
        qdrant: QdrantStatus {
            ok: qdrant_ok,
            url: app.probe.url(),
            version: version.ok(),
            error: qdrant_error,
        },
        store: StoreStatus {
            ok: store_ok,
            url: app.ctx.store.url(),
            error: store_error,
        },
        last_backup: newest
            .ok()
            .flatten()
            .map(|summary| ListedBackup::new(summary, now).into()),
        latest_good_backup: good.ok(),
        running,
        operations: app.runs.all().into_iter().map(Into::into).collect(),
    };
    (code, Json(response))
}

impl From<Running> for RunningOperation {
    fn from(run: Running) -> Self {
        Self {
            operation: run.operation.into(),
            since: run.since,
            progress: run.progress.now().into(),
        }
    }
}
