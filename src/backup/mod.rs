//! The backup operation: from a lease to a manifest.

mod artifact;
mod collection;

use crate::clock::Clock;
use crate::error::{Code, Error, Result};
use crate::events;
use crate::intent;
use crate::lock;
use crate::manifest::{self, Failure, Manifest, Selection, Status};
use crate::names::BackupId;
use crate::plan::{self, Plan};
use crate::progress::{Phase, Progress};
use crate::qdrant::Qdrant;
use crate::relay::{Limits, RateLimiter};
use crate::store::Store;
use futures_util::TryStreamExt;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// What operations work with; made once by the wiring.
#[derive(Clone, Debug)]
pub struct Context {
    /// The Qdrant to back up.
    pub qdrant: Qdrant,
    /// Where backups are kept.
    pub store: Arc<dyn Store>,
    /// The time of day.
    pub clock: Clock,
    /// Who runs this, for the lease and for messages, e.g. `host/1234`.
    pub who: String,
    /// Everything that can be tuned.
    pub settings: Settings,
}

/// What can be tuned in a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Collections at once.
    pub concurrency: usize,
    /// Attempts at one artifact, when the failure may pass.
    pub attempts: u32,
    /// Pause before the second attempt; doubles with each further one.
    pub backoff: Duration,
    /// Deadlines of the relay.
    pub limits: Limits,
    /// Shared by all relays of this process.
    pub rate: Option<Arc<RateLimiter>>,
    /// How long the lease lasts without being renewed.
    pub lease: Duration,
}

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The backup's id.
    pub id: BackupId,
    /// Whether everything asked for was saved.
    pub status: Outcome,
    /// Start of the run.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// End of the run.
    #[serde(with = "time::serde::rfc3339")]
    pub finished_at: OffsetDateTime,
    /// Where the manifest is; none when nothing was saved.
    pub manifest: Option<String>,
    /// What was saved.
    pub collections: Vec<Saved>,
    /// What was not.
    pub failed: Vec<Failure>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

/// Whether everything asked for was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All of it.
    Complete,
    /// Some of it.
    Partial,
    /// Nothing.
    Failed,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The word in the API, as serde writes it.
        self.serialize(f)
    }
}

/// One saved collection.
#[derive(Clone, Debug, Serialize)]
pub struct Saved {
    /// Its name.
    pub name: String,
    /// Exact count after the snapshot was made.
    pub points: u64,
    /// Bytes stored.
    pub bytes: u64,
}

impl Report {
    /// Bytes of everything that was saved.
    pub fn bytes(&self) -> u64 {
        self.collections.iter().map(|c| c.bytes).sum()
    }

    /// The error that the run amounts to, if not everything was saved.
    pub fn error(&self) -> Option<Error> {
        let all = self.collections.len() + self.failed.len();
        let names: Vec<_> = self.failed.iter().map(|f| f.collection.as_str()).collect();
        let names = names.join(", ");
        match self.status {
            Outcome::Complete => None,
            Outcome::Partial => Some(
                Error::new(
                    Code::BackupPartial,
                    format!(
                        "backup {}: {} of {all} collections could not be saved: {names}",
                        self.id,
                        self.failed.len()
                    ),
                )
                .remedy("the others are saved and can be restored; mend the causes and run it again"),
            ),
            Outcome::Failed => Some(
                Error::new(
                    Code::BackupFailed,
                    format!("backup {}: nothing could be saved of: {names}", self.id),
                )
                .remedy("mend the causes and run it again; `qdrant-backup check` helps to find them"),
            ),
        }
    }
}

/// Backs up what `selection` names. `Err`: nothing came of it at all. `Ok`: see [`Report::status`]; a partial or failed run
/// is an `Ok` here, so that its list can be shown, and an error by [`Report::error`].
pub async fn run(
    ctx: &Context,
    selection: &Selection,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Report> {
    let began = ctx.clock.now();
    let result = with_lease(ctx, selection, progress, cancel).await;
    events::backup(progress.now().id, ctx.clock.now() - began, &result);
    result
}

async fn with_lease(
    ctx: &Context,
    selection: &Selection,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Report> {
    // A token of its own: losing the lease ends this run, not whatever else listens to the caller's token.
    let cancel = cancel.child_token();
    let lease = lock::acquire(ctx.store.clone(), &ctx.clock, &ctx.who, ctx.settings.lease).await?;
    let stop_when_lost = {
        let (lost, cancel) = (lease.lost().clone(), cancel.clone());
        async move {
            lost.cancelled().await;
            cancel.cancel();
        }
    };
    let result = {
        let work = under_lease(ctx, selection, progress, &cancel, &lease);
        tokio::pin!(work);
        tokio::select! {
            result = &mut work => result,
            () = stop_when_lost => work.await,
        }
    };
    let result = match result {
        Err(e) if e.code() == Code::Cancelled => lease.confirm_not_lost().and(Err(e)),
        other => other,
    };
    if lease.confirm_not_lost().is_ok() {
        sweep(ctx).await;
    }
    if let Err(error) = lease.release().await {
        tracing::warn!(error = %error, "the lease could not be given back; it runs out by itself");
    }
    result
}

async fn under_lease(
    ctx: &Context,
    selection: &Selection,
    progress: &Progress,
    cancel: &CancellationToken,
    lease: &lock::Lease,
) -> Result<Report> {
    let started_at = ctx.clock.now();
    let (id, plan, orphans) = artifact::unless_cancelled(cancel, async {
        let orphans = intent::recover(&*ctx.store, &ctx.qdrant, started_at).await?;
        let plan = plan::make(&ctx.qdrant, selection).await?;
        Ok((free_id(&*ctx.store, started_at).await?, plan, orphans))
    })
    .await?;
    progress.planned(id, plan.collections.iter().map(|c| c.name.as_str()));
    tracing::info!(%id, collections = plan.collections.len(), "backup begins");

    let mut results = save_all(ctx, id, &plan, progress, cancel).await?;
    results.collections.sort_by(|a, b| a.name.cmp(&b.name));
    results.failed.sort_by(|a, b| a.collection.cmp(&b.collection));
    let warnings = [plan.warnings, orphans, results.gone].concat();
    for warning in &warnings {
        tracing::warn!(%id, "{warning}");
    }
    let status = match (results.collections.is_empty(), results.failed.is_empty()) {
        (false, true) => Outcome::Complete,
        (false, false) => Outcome::Partial,
        (true, false) => Outcome::Failed,
        (true, true) => {
            return Err(Error::new(
                Code::NothingToBackUp,
                "every collection to be backed up was deleted in mid-run",
            )
            .remedy("nothing was saved; check what deletes collections"));
        }
    };
    let finished_at = ctx.clock.now();
    let mut report = Report {
        id,
        status,
        started_at,
        finished_at,
        manifest: None,
        collections: results.collections.iter().map(Saved::of).collect(),
        failed: results.failed.clone(),
        warnings: warnings.clone(),
    };
    if status != Outcome::Failed {
        let manifest = Manifest {
            format: manifest::FORMAT,
            id,
            status: if status == Outcome::Complete {
                Status::Complete
            } else {
                Status::Partial
            },
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at,
            finished_at,
            qdrant: plan.qdrant,
            selection: selection.clone(),
            collections: results.collections,
            failed: results.failed,
            warnings,
            extra: Default::default(),
        };
        artifact::unless_cancelled(cancel, lease.confirm()).await?;
        commit(ctx, &manifest).await?;
        report.manifest = Some(format!("{}/{}", ctx.store.url(), id.manifest()));
    }
    Ok(report)
}

/// Writes the manifest within the time for which the lease was just confirmed. No longer to be cancelled: it is one small
/// object, and "stopped" must not be said of a backup that then exists.
async fn commit(ctx: &Context, manifest: &Manifest) -> Result<()> {
    let limit = ctx.settings.lease / 2;
    match timeout(limit, manifest::commit(&*ctx.store, manifest)).await {
        Ok(result) => result.map(|_| ()),
        Err(_) => Err(Error::new(
            Code::StoreUnreachable,
            format!(
                "writing the manifest of backup {}: not confirmed within {limit:?}",
                manifest.id
            ),
        )
        .remedy("`qdrant-backup list` shows whether the backup exists all the same; if it does, it is whole")),
    }
}

/// Removes what this run could not remove from Qdrant at once, such as a snapshot that was made although the answer was lost.
async fn sweep(ctx: &Context) {
    let work = intent::recover(&*ctx.store, &ctx.qdrant, ctx.clock.now());
    match timeout(artifact::CLEAN_UP, work).await {
        Ok(Ok(warnings)) => warnings.iter().for_each(|warning| tracing::warn!("{warning}")),
        Ok(Err(error)) => {
            tracing::warn!(error = %error, "could not look for snapshots left on Qdrant; the next run does it")
        }
        Err(_) => tracing::warn!("no time to look for snapshots left on Qdrant; the next run does it"),
    }
}

#[derive(Default)]
struct Results {
    collections: Vec<manifest::Collection>,
    failed: Vec<Failure>,
    gone: Vec<String>,
}

/// Saves all collections of the plan, some at once. An `Err` ends the run; what befalls one collection does not.
async fn save_all(
    ctx: &Context,
    id: BackupId,
    plan: &Plan,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Results> {
    let turns = Arc::new(Semaphore::new(ctx.settings.concurrency.max(1)));
    let mut tasks = JoinSet::new();
    for collection in plan.collections.clone() {
        let (ctx, progress, cancel, turns) = (ctx.clone(), progress.clone(), cancel.clone(), turns.clone());
        let work = async move {
            // The semaphore is never closed.
            let _turn = turns.acquire().await;
            let result = match cancel.is_cancelled() {
                true => artifact::unless_cancelled(&cancel, std::future::pending()).await,
                false => collection::save_collection(&ctx, id, &collection, &progress, &cancel).await,
            };
            (collection.name, result)
        };
        // The caller's span goes along: it carries the request's trace.
        tasks.spawn(work.in_current_span());
    }
    let mut results = Results::default();
    while let Some(joined) = tasks.join_next().await {
        let (name, result) =
            joined.map_err(|e| Error::new(Code::Internal, "a task that saves a collection died").because(e))?;
        match result {
            Ok(Some(saved)) => {
                progress.phase(&name, Phase::Saved);
                tracing::info!(%id, collection = name, bytes = saved.bytes(), points = saved.points_after, "collection saved");
                results.collections.push(saved);
            }
            Ok(None) => {
                progress.phase(&name, Phase::Gone);
                results.gone.push(format!(
                    "collection {name:?} was deleted on Qdrant in mid-run; it is not in this backup"
                ));
            }
            // The other tasks see the same token and end by themselves, each after cleaning up.
            Err(e) if e.code() == Code::Cancelled => {}
            Err(e) => {
                progress.phase(&name, Phase::Failed);
                tracing::error!(%id, collection = name, code = %e.code(), error = %e, "collection not saved");
                results.failed.push(Failure::of(&name, &e));
            }
        }
    }
    artifact::unless_cancelled(cancel, async { Ok(results) }).await
}

/// The id of a run that starts now. The lease keeps others away, so a second that is taken is that of an earlier run.
async fn free_id(store: &dyn Store, now: OffsetDateTime) -> Result<BackupId> {
    let mut id = BackupId::at(now);
    while store.list(&id.prefix()).await?.try_next().await?.is_some() {
        id = id.next();
    }
    Ok(id)
}

impl Saved {
    fn of(collection: &manifest::Collection) -> Self {
        Self {
            name: collection.name.clone(),
            points: collection.points_after,
            bytes: collection.bytes(),
        }
    }
}
