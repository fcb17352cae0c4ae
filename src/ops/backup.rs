//! The backup operation: from a lease to a manifest.

mod artifact;
mod collection;
mod fallback;
mod guard;
pub mod job;
mod plan;
mod replicas;
mod report;
mod request;
mod schedule;
mod settling;
mod streamed;
mod trial;

pub use collection::describe;
pub use guard::HeldBack;
use plan::NoSuchCollection;
pub use plan::{BackupPlan, NodeState, SCOPED_KEY, make as plan};
pub use report::{BackupOutcome, BackupReport, Saved};
pub(crate) use request::{EarlierRun, KeyedRequest, REMEMBERED, earlier, is_under_way, told, told_by_report};
pub(crate) use trial::{Trial, trial};

use crate::base::error::{Code, Error, ErrorInfo, Result};
use crate::base::heavy;
use crate::ops::context::Context;
use crate::ops::events::{Counts, Operation};
use crate::ops::progress::Progress;
use crate::ops::run::{self, Conclusion, LeaseMode, Run};
use crate::ops::source;
use crate::repository::aliases::Aliases;
use crate::repository::catalog;
use crate::repository::intents;
use crate::repository::manifest::{EncodedManifest, Failure, Source};
use crate::repository::names::BackupId;
use crate::repository::runs::ToSave;
use crate::repository::selection::{Filter, Selection};
use crate::repository::unit::{SnapshotMode, Unit};
use crate::wire::qdrant::Qdrant;
use crate::wire::store::Store;
use artifact::UnitRun;
use collection::save_unit;
use futures_util::TryStreamExt;
use guard::{Guard, latencies};
use report::{Results, RunFacts, remade};
use request::Claim;
use schedule::{Schedule, Turn};
use settling::Settling;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Backs up what `selection` names. `Err`: no backup at all. `Ok`: see [`BackupReport::status`]; a partial or failed run
/// is an `Ok` here, so that its list can be shown, and an error by [`BackupReport::error`].
pub async fn run(
    ctx: &Context,
    selection: &Selection,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<BackupReport> {
    run_for(ctx, selection, None, progress, cancel).await
}

/// The same for a request, of which [`earlier`] then finds the run.
pub(crate) async fn run_for(
    ctx: &Context,
    selection: &Selection,
    request: Option<&KeyedRequest>,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<BackupReport> {
    let store = ctx.on_store();
    progress.is_to_save(ToSave {
        selection: selection.clone(),
        source: Source {
            name: ctx.settings.source.name.clone(),
            url: ctx.qdrant.url(),
            ..Source::default()
        },
    });
    // On the heap: each future around it would else be as large again.
    let work = Box::pin(run::under_lease(
        &store,
        LeaseMode::Exclusive,
        progress,
        cancel,
        Some(&ctx.qdrant),
        |run| save(ctx, selection, request, run),
    ));
    // Before its end is told: who reads of it elsewhere is to have the remedy, too.
    let work = async { work.await.map_err(|error| with_run_again(error, ctx.settings.mode)) };
    run::ending(&store, Operation::Backup, progress, work).await
}

/// Adds the remedy for a cancelled run.
fn with_run_again(error: Error, mode: SnapshotMode) -> Error {
    match (error.code(), mode) {
        // A stream ends with its connection.
        (Code::Cancelled, SnapshotMode::Stream) => {
            error.remedy("run it again; nothing was committed, and nothing is left on Qdrant's disk")
        }
        (Code::Cancelled, SnapshotMode::File | SnapshotMode::Auto) => error.remedy(
            "run it again; nothing was committed, and the next run deletes a snapshot that Qdrant may still be making",
        ),
        _ => error,
    }
}

impl Conclusion for BackupReport {
    fn failure(&self) -> Option<ErrorInfo> {
        self.error().map(|error| (&error).into())
    }

    fn counts(&self) -> Counts {
        Counts {
            collections: Some(self.collections.len()),
            bytes: self.bytes(),
            is_unproven: !self.unproven.is_empty(),
            ..Counts::default()
        }
    }

    fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }
}

async fn save(ctx: &Context, selection: &Selection, request: Option<&KeyedRequest>, run: Run) -> Result<BackupReport> {
    let started_at = ctx.clock.now();
    let claim = match request {
        Some(request) => {
            let id = run.progress.run(Operation::Backup);
            run.holder().await.map(|holder| request.claim(holder, id))
        }
        None => None,
    };
    let (id, plan, orphans) = run
        .unless_cancelled(async {
            // First, so that the same request, sent again, finds this run however long the rest takes.
            let id = free_id(&*ctx.store, started_at, claim.as_ref()).await?;
            let orphans = intents::recover(&*ctx.store, &ctx.qdrant, started_at, None, |_| true).await?;
            Ok((id, planned(ctx, selection).await?, orphans))
        })
        .await?;
    run.progress.planned(id, plan.units.iter().cloned());
    let mode = plan.mode;
    tracing::info!(backup = %id, collections = plan.collections().len(), "backup {id} started");

    let shared = Arc::new((ctx.clone(), run.clone(), plan.aliases, plan.nodes, Settling::default()));
    let save_from = |first: u32| {
        let shared = shared.clone();
        move |turn: Turn| {
            let shared = shared.clone();
            async move {
                let (ctx, run, aliases, nodes, settling) = &*shared;
                let of = UnitRun {
                    ctx,
                    nodes,
                    settling,
                    run,
                    id,
                    unit: &turn.unit,
                    shown: &turn.unit,
                    has_another_way: false,
                    first,
                };
                save_unit(of, aliases.of(&turn.unit.collection), turn.warning).await
            }
        }
    };
    let before = run
        .unless_cancelled(async { Ok(latencies(ctx, &shared.3, &plan.units).await) })
        .await?;
    let mut schedule = Schedule {
        ctx,
        nodes: &shared.3,
        run: &run,
        id,
        guard: Guard::new(before),
    };
    let mut results = schedule.save_all(plan.units, save_from(1)).await?;
    run.unless_cancelled(async { Ok(()) }).await?;
    let mut changed = results.forget_changed();
    for name in run
        .unless_cancelled(async { Ok(came_back(ctx, &mut results).await) })
        .await?
    {
        results.forget(&name);
        changed.push(name);
    }
    if !changed.is_empty() {
        tracing::warn!(backup = %id, "{} collections or their shards changed during the backup; saving these again", changed.len());
        shared.4.forget(&changed);
        let again = run.unless_cancelled(plan::units(&shared.3, changed, mode)).await?;
        let more = schedule
            .save_all(again.units, save_from(1 + ctx.settings.attempts))
            .await?;
        run.unless_cancelled(async { Ok(()) }).await?;
        results.extend(more);
    }
    if let Some(refused) = &results.refused {
        let doing = format!("none of the {} collections can be saved", results.failed.len());
        return Err(ErrorInfo::from(refused).error(&doing));
    }
    let aliases = run
        .unless_cancelled(async {
            fail_what_came_back(ctx, &mut results).await;
            Ok(refresh_aliases(ctx, &mut results).await)
        })
        .await?;
    let known = RunFacts {
        id,
        started_at,
        finished_at: ctx.clock.now(),
        qdrant: plan.qdrant,
        selection: selection.clone(),
        warnings: plan.warnings.into_iter().chain(orphans).chain(aliases).collect(),
        extra: request.map(KeyedRequest::origin).into_iter().collect(),
    };
    let (mut report, manifest) = heavy::run(usize::MAX, move || known.conclude(results)).await??;
    report.held_back = schedule.guard.told(schedule.id);
    if let Some(manifest) = manifest {
        run.unless_cancelled(run.confirm()).await?;
        commit(ctx, manifest).await?;
        report.manifest = Some(format!("{}/{}", ctx.store.url(), id.manifest()));
    }
    Ok(report)
}

/// The collections that were gone and exist again: they are not gone. The results do not have them any more.
async fn came_back(ctx: &Context, results: &mut Results) -> Vec<String> {
    if results.gone.is_empty() {
        return Vec::new();
    }
    let gone: BTreeSet<String> = std::mem::take(&mut results.gone).into_iter().collect();
    // Where that cannot be told, none is gone.
    let there = ctx.qdrant.collections().await.ok();
    let (back, gone) = gone
        .into_iter()
        .partition(|name| there.as_ref().is_none_or(|there| there.contains(name)));
    results.gone = gone;
    back
}

/// What was gone and exists again is not in the backup, and counts as failed: the backup is not one of everything.
async fn fail_what_came_back(ctx: &Context, results: &mut Results) {
    for name in came_back(ctx, results).await {
        let failure = Failure::of(&name, &remade(&name));
        results.failed.push((Unit::whole(&name), failure));
    }
}

/// Records the aliases as they are after the snapshots; the plan has those of before. A warning where they cannot be read.
async fn refresh_aliases(ctx: &Context, results: &mut Results) -> Option<String> {
    let aliases = match ctx.qdrant.aliases().await {
        Ok(aliases) => Aliases::from(aliases),
        Err(error) => {
            return Some(format!(
                "failed to read the aliases again after the snapshots, those of before are recorded: {}",
                error.chain()
            ));
        }
    };
    for collection in &mut results.collections {
        let now = aliases.of(&collection.name);
        if now != collection.aliases {
            collection.aliases = now.to_vec();
            let warning = "its aliases changed during the backup; the later ones are recorded";
            collection.warnings.push(warning.to_owned());
        }
    }
    None
}

/// The plan of a run, unless the store is another Qdrant's.
async fn planned(ctx: &Context, selection: &Selection) -> Result<BackupPlan> {
    let mut plan = match plan(&ctx.qdrant, selection, ctx.settings.mode).await {
        Ok(plan) => plan,
        Err(error) => return Err(mistaken(ctx, error).await),
    };
    let settings = &ctx.settings.source;
    let source = source::qdrant(&ctx.qdrant, settings.name.as_deref(), &plan.collections()).await;
    if !settings.accept_new {
        catalog::require_source(&*ctx.store, &source, ctx.clock.now()).await?;
    }
    plan.qdrant.source = Some(source);
    Ok(plan)
}

/// Refuses the caller's mistakes in a selection, before anything is begun: what is no pattern, and a name that neither Qdrant nor a
/// recent backup has.
///
/// # Errors
/// [`Code::BadRequest`], [`Code::CollectionNotFound`], and those of Qdrant.
pub(crate) async fn check(ctx: &Context, qdrant: &Qdrant, selection: &Selection) -> Result<()> {
    let filter = Filter::new(selection)?;
    if selection.collections.is_empty() {
        return Ok(());
    }
    let existing = qdrant.collections().await?;
    match plan::choose(&filter, qdrant, selection, existing) {
        Err(error) if error.code() == Code::CollectionNotFound => match mistaken(ctx, error).await {
            error if error.is_refusal() => Err(error),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Backups among which a name is looked for.
const RECENT: usize = 20;

/// A collection that neither Qdrant nor a recent backup has was never there: the caller has mistaken its name. One that was saved
/// before is gone, and whoever backs it up by a schedule has to be told.
async fn mistaken(ctx: &Context, error: Error) -> Error {
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref());
    let Some(NoSuchCollection(name)) = source else {
        return error;
    };
    // Where that cannot be told, it counts as gone.
    match catalog::recently_saved(&*ctx.store, name, RECENT, ctx.clock.now()).await {
        Ok(false) => error.refused(),
        _ => error,
    }
}

/// Writes the manifest within the time for which the lease was just confirmed. No longer to be cancelled: it is one small
/// object, and "stopped" must not be said of a backup that then exists.
async fn commit(ctx: &Context, manifest: EncodedManifest) -> Result<()> {
    let limit = ctx.settings.lease / 2;
    let id = manifest.id();
    match timeout(limit, manifest.commit(&*ctx.store)).await {
        Ok(result) => result.map(|_| ()),
        Err(_) => Err(Error::new(
            Code::StoreUnreachable,
            format!("writing the manifest of backup {id}: no confirmation within {limit:?}"),
        )
        .remedy("run `qdrant-backup list`; if it shows the backup, the backup is valid")),
    }
}

/// The id of a run that starts now. The lease keeps others away, so a second that is taken is that of an earlier run. `claim`:
/// what asks for it, recorded as soon as the id is known.
async fn free_id(store: &dyn Store, now: OffsetDateTime, claim: Option<&Claim>) -> Result<BackupId> {
    let mut id = BackupId::at(now);
    loop {
        let is_free = store.list(&id.prefix()).await?.try_next().await?.is_none();
        let is_ours = match claim {
            Some(claim) if is_free => claim.record(store, id).await?,
            _ => is_free,
        };
        if is_ours {
            break;
        }
        id = id.next();
    }
    // Until its second has come: whoever prunes right after this run would else meet a backup of the future.
    let early = Duration::try_from(id.time() - now).unwrap_or_default();
    sleep(early).await;
    Ok(id)
}
