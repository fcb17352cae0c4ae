//! `GET /health`, `GET /status` and `GET /collections`: how things are.

use super::App;
use super::error::{HttpError, Told};
use crate::base::error::{Code, Result};
use crate::base::patience::{self, SILENT_QDRANT, SILENT_STORE};
use crate::ops::plan;
use crate::ops::progress::RunProgress;
use crate::repository::catalog::{self, Aged, Asked};
use crate::repository::lease;
use crate::repository::manifest::{Manifest, Source};
use crate::repository::names::BackupId;
use crate::repository::selection::Selection;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use std::collections::HashMap;
use std::future::Future;
use time::OffsetDateTime;

/// Collections asked about at once.
const AT_ONCE: usize = 8;

/// The process is alive. Asks nobody, so that an outage elsewhere does not restart this service.
#[derive(Serialize)]
pub(super) struct Health {
    status: &'static str,
    version: &'static str,
}

/// `GET /health`.
pub(super) async fn health() -> Json<Health> {
    Json(Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// How things are; the same shape whatever is wrong.
#[derive(Serialize)]
pub(super) struct Status {
    /// `ok`, or `degraded` when Qdrant or the store is not usable.
    status: &'static str,
    version: &'static str,
    qdrant: QdrantStatus,
    store: StoreStatus,
    /// The newest one whose time has come, whatever it is worth: its marks say that.
    last_backup: Option<Aged>,
    /// What `latest` means.
    latest_good_backup: Option<BackupId>,
    running: Option<Running>,
}

#[derive(Serialize)]
struct QdrantStatus {
    ok: bool,
    url: String,
    version: Option<String>,
    error: Option<Told>,
}

#[derive(Serialize)]
struct StoreStatus {
    ok: bool,
    url: String,
    error: Option<Told>,
}

#[derive(Serialize)]
struct Running {
    who: String,
    #[serde(with = "time::serde::rfc3339")]
    since: OffsetDateTime,
    /// Known for a run in this process only.
    progress: Option<RunProgress>,
}

/// `GET /status`: 200 when all is well, 503 when Qdrant or the store is not usable.
pub(super) async fn status(State(app): State<App>) -> (StatusCode, Json<Status>) {
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
    let here = app.runs.current().map(|progress| progress.now());
    let running = match (here, holder.as_ref()) {
        (Some(progress), _) => Some(Running {
            who: app.ctx.who.clone(),
            since: progress.started_at,
            progress: Some(progress),
        }),
        (None, Ok(Some(record))) => Some(Running {
            who: record.who.clone(),
            since: record.since,
            progress: None,
        }),
        (None, _) => None,
    };
    let qdrant_error = version.as_ref().err().or(collections.as_ref().err()).map(Told::from);
    let store_error = newest.as_ref().err().or(holder.as_ref().err()).map(Told::from);
    let ok = qdrant_error.is_none() && store_error.is_none();
    let status = Status {
        status: if ok { "ok" } else { "degraded" },
        version: env!("CARGO_PKG_VERSION"),
        qdrant: QdrantStatus {
            ok: qdrant_error.is_none(),
            url: app.probe.url(),
            version: version.ok(),
            error: qdrant_error,
        },
        store: StoreStatus {
            ok: store_error.is_none(),
            url: app.ctx.store.url(),
            error: store_error,
        },
        last_backup: newest.ok().flatten().map(|s| Aged::new(s, now)),
        latest_good_backup: good.ok(),
        running,
    };
    let code = if ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, Json(status))
}

/// What Qdrant holds.
#[derive(Serialize)]
pub(super) struct Collections {
    collections: Vec<Collection>,
}

#[derive(Serialize)]
struct Collection {
    name: String,
    /// `green`, `yellow`, …; as Qdrant says. `unknown`: it does not, see `error`.
    status: String,
    /// Approximate number of points, as Qdrant says.
    points: Option<u64>,
    /// Qdrant does not tell sizes: bytes in the latest good backup, if it is in there.
    backup_bytes: Option<u64>,
    /// Why Qdrant cannot tell about it; the others can be told all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Told>,
}

/// `GET /collections`.
pub(super) async fn collections(State(app): State<App>) -> Result<Json<Collections>, HttpError> {
    let (names, sizes) = tokio::join!(
        app.ask_qdrant("its collections", app.probe.collections()),
        sizes_in_last_backup(&app)
    );
    let (probe, sizes) = (&app.probe, &sizes);
    let collections = stream::iter(names?)
        .map(|name| async move {
            let (status, points, error) = match probe.collection(&name).await {
                Ok(info) => (info.status, info.points_count, None),
                // Deleted since it was listed.
                Err(e) if e.code() == Code::CollectionNotFound => return None,
                Err(e) => ("unknown".to_owned(), None, Some(Told::from(&e))),
            };
            Some(Collection {
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
    Ok(Json(Collections { collections }))
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

impl App {
    /// The collections of Qdrant, and which one it is.
    pub(super) async fn live(&self) -> Result<(Vec<String>, Source)> {
        let live = async {
            let names = self.probe.collections().await?;
            let source = plan::source(&self.probe, self.ctx.settings.source.name.as_deref(), &names).await;
            Ok((names, source))
        };
        self.ask_qdrant("its collections", live).await
    }

    /// Which Qdrant is backed up, as far as that is known without asking it.
    pub(super) fn source(&self) -> Source {
        Source {
            name: self.ctx.settings.source.name.clone(),
            url: self.probe.url(),
            ..Source::default()
        }
    }

    /// The latest good backup of `source`.
    async fn latest(&self, source: Option<&Source>) -> Result<Manifest> {
        let (selection, own) = (Selection::default(), self.source());
        let asked = Asked {
            selection: &selection,
            source: source.or(Some(&own)),
        };
        let latest = catalog::latest(&*self.ctx.store, asked, self.ctx.clock.now());
        self.ask_store("the latest good backup", latest).await
    }

    /// The backup that `id` names; `latest` is one of the Qdrant that is backed up.
    pub(super) async fn named(&self, id: &str) -> Result<BackupId> {
        let source = match id {
            "latest" => self.live().await.map_or_else(|_| self.source(), |(_, source)| source),
            _ => self.source(),
        };
        catalog::named(&*self.ctx.store, id, Some(&source), self.ctx.clock.now()).await
    }

    /// Asks Qdrant for `what`, and gives up when whoever waits would.
    pub(super) async fn ask_qdrant<T>(&self, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let doing = format!("asking Qdrant at {} for {what}", self.probe.url());
        patience::within(self.patience, &doing, SILENT_QDRANT, work).await
    }

    /// Asks the store, likewise.
    pub(super) async fn ask_store<T>(&self, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let doing = format!("asking {} for {what}", self.ctx.store.url());
        patience::within(self.patience, &doing, SILENT_STORE, work).await
    }
}
