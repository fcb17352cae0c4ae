//! The backup operation: from a lease to a manifest.

mod artifact;
mod collection;
pub mod job;
mod report;
mod trial;

pub use collection::survey;
pub use report::{Outcome, Report, Saved};
pub use trial::{Trial, trial};

use crate::base::clock::Clock;
use crate::base::error::{Code, Error, Result};
use crate::ops::events;
use crate::ops::plan::{self, CollectionPlan};
use crate::ops::progress::{Phase, Progress};
use crate::repository::catalog;
use crate::repository::intents::{self, Intent};
use crate::repository::lease;
use crate::repository::manifest::{self, Failure, Sealed};
use crate::repository::names::BackupId;
use crate::repository::selection::Selection;
use crate::wire::qdrant::Qdrant;
use crate::wire::store::Store;
use crate::wire::transfer::{Limits, RateLimiter};
use futures_util::TryStreamExt;
use report::{Results, Run};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
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
    /// Which Qdrant the store is for.
    pub source: SourceSettings,
}

/// Which Qdrant the store is for.
#[derive(Clone, Debug, Default)]
pub struct SourceSettings {
    /// `BACKUP_SOURCE_NAME`: the operator's name for the Qdrant that is backed up.
    pub name: Option<String>,
    /// Whether it may be one of which the store has no backup, but some of others.
    pub accept_new: bool,
    /// Whether [`Context::qdrant`] is another one than that which is backed up.
    pub elsewhere: bool,
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
    let lease = lease::acquire(ctx.store.clone(), &ctx.clock, &ctx.who, ctx.settings.lease).await?;
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
    // Only its own: should somebody else have begun all the same, what they have open is none of our business.
    if let Some(id) = progress.now().id
        && lease.confirm_not_lost().is_ok()
    {
        sweep(ctx, |intent| intent.run == id).await;
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
    lease: &lease::Lease,
) -> Result<Report> {
    let started_at = ctx.clock.now();
    let (id, plan, orphans) = artifact::unless_cancelled(cancel, async {
        let orphans = intents::recover(&*ctx.store, &ctx.qdrant, started_at, |_| true).await?;
        let plan = planned(ctx, selection).await?;
        Ok((free_id(&*ctx.store, started_at).await?, plan, orphans))
    })
    .await?;
    progress.planned(id, plan.collections.iter().map(|c| c.name.as_str()));
    tracing::info!(backup = %id, collections = plan.collections.len(), "backup begins");

    let settings = Arc::new((ctx.clone(), progress.clone(), cancel.clone()));
    let save = move |collection: CollectionPlan| {
        let shared = settings.clone();
        async move {
            let (ctx, progress, cancel) = &*shared;
            collection::save_collection(ctx, id, &collection, 1, progress, cancel).await
        }
    };
    let results = save_all(ctx, id, plan.collections, progress, cancel, save).await?;
    artifact::unless_cancelled(cancel, async { Ok(()) }).await?;
    let run = Run {
        id,
        started_at,
        finished_at: ctx.clock.now(),
        qdrant: plan.qdrant,
        selection: selection.clone(),
        warnings: [plan.warnings, orphans].concat(),
        extra: BTreeMap::new(),
    };
    let (mut report, manifest) = run.conclude(results)?;
    if let Some(manifest) = manifest {
        artifact::unless_cancelled(cancel, lease.confirm()).await?;
        commit(ctx, manifest).await?;
        report.manifest = Some(format!("{}/{}", ctx.store.url(), id.manifest()));
    }
    Ok(report)
}

/// The plan of a run, unless the store is another Qdrant's.
async fn planned(ctx: &Context, selection: &Selection) -> Result<plan::Plan> {
    let mut plan = plan::make(&ctx.qdrant, selection).await?;
    let names: Vec<_> = plan.collections.iter().map(|c| c.name.clone()).collect();
    let settings = &ctx.settings.source;
    let source = plan::source(&ctx.qdrant, settings.name.as_deref(), &names).await;
    if !settings.accept_new {
        catalog::require_source(&*ctx.store, &source, ctx.clock.now()).await?;
    }
    plan.qdrant.source = Some(source);
    Ok(plan)
}

/// Writes the manifest within the time for which the lease was just confirmed. No longer to be cancelled: it is one small
/// object, and "stopped" must not be said of a backup that then exists.
async fn commit(ctx: &Context, manifest: Sealed) -> Result<()> {
    let limit = ctx.settings.lease / 2;
    let id = manifest.id();
    match timeout(limit, manifest.commit(&*ctx.store)).await {
        Ok(result) => result.map(|_| ()),
        Err(_) => Err(Error::new(
            Code::StoreUnreachable,
            format!("writing the manifest of backup {id}: not confirmed within {limit:?}"),
        )
        .remedy("`qdrant-backup list` shows whether the backup exists all the same; if it does, it is whole")),
    }
}

/// Removes what this run could not remove from Qdrant at once, such as a snapshot that was made although the answer was lost.
async fn sweep(ctx: &Context, is_dead: impl Fn(&Intent) -> bool) {
    let work = intents::recover(&*ctx.store, &ctx.qdrant, ctx.clock.now(), is_dead);
    match timeout(artifact::CLEAN_UP, work).await {
        Ok(Ok(warnings)) => warnings.iter().for_each(|warning| tracing::warn!("{warning}")),
        Ok(Err(error)) => {
            tracing::warn!(error = %error, "could not look for snapshots left on Qdrant; the next run does it")
        }
        Err(_) => tracing::warn!("no time to look for snapshots left on Qdrant; the next run does it"),
    }
}

/// Does `save` for all these collections, for some at once. An `Err` ends the run; what befalls one collection does not.
/// Told to stop, it waits until each has cleaned up.
async fn save_all<S, F>(
    ctx: &Context,
    id: BackupId,
    collections: Vec<CollectionPlan>,
    progress: &Progress,
    cancel: &CancellationToken,
    save: S,
) -> Result<Results>
where
    S: Fn(CollectionPlan) -> F,
    F: Future<Output = Result<Option<manifest::Collection>>> + Send + 'static,
{
    let turns = Arc::new(Semaphore::new(ctx.settings.concurrency.max(1)));
    let mut tasks = JoinSet::new();
    for collection in collections {
        let (cancel, turns) = (cancel.clone(), turns.clone());
        let name = collection.name.clone();
        let save = save(collection);
        let work = async move {
            // The semaphore is never closed.
            let _turn = turns.acquire().await;
            let result = match cancel.is_cancelled() {
                true => artifact::unless_cancelled(&cancel, std::future::pending()).await,
                false => save.await,
            };
            (name, result)
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
                tracing::info!(backup = %id, collection = name, bytes = saved.bytes(), points = saved.points_after, "collection saved");
                results.collections.push(saved);
            }
            Ok(None) => {
                progress.phase(&name, Phase::Gone);
                results.gone.push(name);
            }
            // The other tasks see the same token and end by themselves, each after cleaning up.
            Err(e) if e.code() == Code::Cancelled => results.stopped.push(name),
            Err(e) => {
                progress.phase(&name, Phase::Failed);
                tracing::error!(backup = %id, collection = name, code = %e.code(), error = %e, "collection not saved");
                results.failed.push(Failure::of(&name, &e));
            }
        }
    }
    Ok(results)
}

/// The id of a run that starts now. The lease keeps others away, so a second that is taken is that of an earlier run.
async fn free_id(store: &dyn Store, now: OffsetDateTime) -> Result<BackupId> {
    let mut id = BackupId::at(now);
    while store.list(&id.prefix()).await?.try_next().await?.is_some() {
        id = id.next();
    }
    // Until its second has come: whoever prunes right after this run would else meet a backup of the future.
    let early = Duration::try_from(id.time() - now).unwrap_or_default();
    sleep(early).await;
    Ok(id)
}
