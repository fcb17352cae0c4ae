//! `GET /collections`: what Qdrant holds.

use super::v1::ReadProblems;
use crate::base::error::Code;
use crate::server::App;
use crate::server::api::{CollectionStatus, CollectionsResponse};
use crate::server::error::HttpError;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use futures_util::{StreamExt, stream};
use std::collections::HashMap;

/// Collections asked about at once.
const AT_ONCE: usize = 8;

pub(super) fn router() -> Router<App> {
    Router::new().route("/collections", get(list))
}

/// What Qdrant holds.
#[utoipa::path(
    get,
    path = "/v1/collections",
    operation_id = "listCollections",
    tag = "Status",
    responses(ReadProblems, (status = 200, description = "The collections.", body = CollectionsResponse))
)]
pub(super) async fn list(State(app): State<App>) -> Result<Json<CollectionsResponse>, HttpError> {
    let (names, sizes) = tokio::join!(
        app.ask_qdrant("its collections", app.probe.collections()),
        sizes_in_last_backup(&app)
    );
    let (probe, sizes) = (&app.probe, &sizes);
    let collections = stream::iter(names?)
        .map(|name| async move {
            let (status, points, error) = match probe.state(&name).await {
                Ok(state) => (state.status, state.points_count, None),
                // Deleted since it was listed.
                Err(e) if e.code() == Code::CollectionNotFound => return None,
                Err(e) => ("unknown".to_owned(), None, Some((&e).into())),
            };
            Some(CollectionStatus {
                status,
                points,
                backup_bytes: sizes.get(&name).copied(),
                error,
                name,
            })
        })
        .buffered(AT_ONCE)
        .filter_map(async |collection| collection)
        .collect()
        .await;
    Ok(Json(CollectionsResponse { collections }))
}

/// Sizes are an extra: none when the store has no backup or does not answer.
async fn sizes_in_last_backup(app: &App) -> HashMap<String, u64> {
    let live = app.live().await;
    match app.latest(live.as_ref().ok().map(|(_, source)| source)).await {
        Ok(manifest) => manifest
            .collections
            .into_iter()
            .map(|c| (c.name.clone(), c.bytes()))
            .collect(),
        Err(_) => HashMap::new(),
    }
}
