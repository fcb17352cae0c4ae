//! The node's HTTP face: routes, and the state that their handlers share.

mod auth;
mod collections;
mod download;
mod envelope;
mod fetch;
mod optimizations;
mod points;
mod service;
mod shard_snapshots;
mod shards;
mod snapshots;

pub use optimizations::Optimizations;
pub(crate) use optimizations::Scripts;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, post, put};
use tokio_util::task::TaskTracker;

use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::options::{Clock, NodeOptions};
use crate::storage::Storage;

/// Qdrant's default for JSON bodies (`service.max_request_size_mb`).
const JSON_LIMIT: usize = 32 * 1024 * 1024;

/// What handlers need.
pub(crate) struct Shared {
    pub(crate) storage: Arc<Storage>,
    /// What was started with [`Shared::spawn`] and still runs.
    pub(crate) tasks: TaskTracker,
    pub(crate) client: reqwest::Client,
    pub(crate) version: String,
    pub(crate) peer_id: u64,
    pub(crate) clock: Clock,
    /// In cluster mode.
    pub(crate) cluster: Option<Cluster>,
    pub(crate) optimizations: Arc<Scripts>,
}

impl Shared {
    fn expect_cluster(&self) -> Result<()> {
        match self.cluster {
            Some(_) => Ok(()),
            None => Err(Error::bad_request("Distributed mode disabled")),
        }
    }

    /// Runs `work` to its end, also when the client that asked for it goes away and its
    /// handler is dropped; what is returned only waits.
    fn spawn<T, W>(&self, work: W) -> impl Future<Output = Result<T>> + use<T, W>
    where
        T: Send + 'static,
        W: Future<Output = Result<T>> + Send + 'static,
    {
        let running = self.tasks.spawn(work);
        async {
            let ended = running.await;
            ended.unwrap_or_else(|error| Err(Error::internal(format_args!("{error}"))))
        }
    }
}

/// All routes over `storage`.
pub(crate) fn router(
    storage: Arc<Storage>,
    tasks: TaskTracker,
    optimizations: Arc<Scripts>,
    options: &NodeOptions,
) -> Result<Router> {
    let shared = Arc::new(Shared {
        storage,
        tasks,
        client: fetch::client()?,
        version: options.version.clone(),
        peer_id: options.peer_id,
        clock: options.clock.clone(),
        cluster: options.cluster.clone(),
        optimizations,
    });
    let keys = Arc::new(auth::Keys::new(options));

    let open = Router::new()
        .route("/", get(service::root))
        .route("/healthz", get(service::healthz))
        .route("/livez", get(service::healthz))
        .route("/readyz", get(service::readyz));
    let reading = Router::new()
        .route("/cluster", get(service::cluster))
        .route("/aliases", get(collections::aliases))
        .route("/collections", get(collections::list))
        .route("/collections/{name}", get(collections::info))
        .route("/collections/{name}/exists", get(collections::exists))
        .route("/collections/{name}/cluster", get(shards::cluster))
        .route("/collections/{name}/optimizations", get(optimizations::get))
        .route("/collections/{name}/shards", get(shards::list))
        .route("/collections/{name}/aliases", get(collections::aliases_of))
        .route("/collections/{name}/points/count", post(points::count))
        .route("/collections/{name}/points/scroll", post(points::scroll))
        .route("/collections/{name}/points/search", post(points::search))
        .route("/collections/{name}/points/query", post(points::query))
        .route(&shard("points/count"), post(points::count_in_shard))
        .route(&shard("points/scroll"), post(points::scroll_in_shard))
        .route("/collections/{name}/snapshots", get(snapshots::list))
        .route("/collections/{name}/snapshots/{snapshot}", get(download::snapshot))
        .route(&shard("snapshots"), get(shard_snapshots::list))
        .route(&shard("snapshots/{snapshot}"), get(shard_snapshots::download));
    let writing = Router::new()
        .route("/collections/aliases", post(collections::change_aliases))
        .route(
            "/collections/{name}",
            put(collections::create).delete(collections::delete),
        )
        .route("/collections/{name}/index", put(collections::create_index))
        .route("/collections/{name}/points", put(points::upsert))
        .route("/collections/{name}/points/delete", post(points::delete))
        .route("/collections/{name}/shards", put(shards::create))
        .route("/collections/{name}/shards/delete", post(shards::delete))
        .route(&shard("snapshot"), get(shard_snapshots::stream))
        .route(&shard("snapshots"), post(shard_snapshots::create))
        .route(&shard("snapshots/{snapshot}"), delete(shard_snapshots::delete))
        .route(&shard("snapshots/recover"), put(shard_snapshots::recover))
        .route(
            &shard("snapshots/upload"),
            post(shard_snapshots::upload).layer(DefaultBodyLimit::disable()),
        )
        .route("/collections/{name}/snapshots", post(snapshots::create))
        .route("/collections/{name}/snapshots/{snapshot}", delete(snapshots::delete))
        .route("/collections/{name}/snapshots/recover", put(snapshots::recover))
        .route(
            "/collections/{name}/snapshots/upload",
            post(snapshots::upload).layer(DefaultBodyLimit::disable()),
        )
        .route_layer(from_fn(auth::require_write));

    let guarded = reading
        .merge(writing)
        .fallback(service::unknown)
        .method_not_allowed_fallback(service::unknown)
        .layer(DefaultBodyLimit::max(JSON_LIMIT))
        .layer(from_fn_with_state(keys, auth::authenticate));
    Ok(open.merge(guarded).layer(from_fn(service::no_head)).with_state(shared))
}

/// A path below that of a shard.
fn shard(rest: &str) -> String {
    format!("/collections/{{name}}/shards/{{shard}}/{rest}")
}
