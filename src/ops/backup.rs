//! The backup operation: from a lease to a manifest.

mod artifact;
mod collection;
pub mod job;
mod plan;
mod replicas;
mod report;
mod request;
mod streamed;
mod trial;

pub use collection::describe;
pub use plan::{BackupPlan, NodeState, SCOPED_KEY, make as plan};
pub use report::{BackupOutcome, BackupReport, Saved};
pub(crate) use request::{EarlierRun, KeyedRequest, earlier, is_under_way};
pub(crate) use trial::trial;

use crate::base::error::{Code, Error, ErrorInfo, Result};
use crate::base::heavy;
use crate::ops::context::Context;
use crate::ops::events::{Counts, Operation};
use crate::ops::progress::{Phase, Progress};
use crate::ops::run::{self, Conclusion, LeaseMode, Run};
use crate::ops::source;
use crate::repository::aliases::Aliases;
use crate::repository::catalog;
use crate::repository::intents;
use crate::repository::manifest::{self, EncodedManifest, Failure};
use crate::repository::names::BackupId;
use crate::repository::selection::Selection;
use crate::repository::unit::Unit;
use crate::wire::qdrant::ClusterInfo;
use crate::wire::store::Store;
use artifact::{Settling, UnitRun};
use collection::save_unit;
use futures_util::TryStreamExt;
use report::{Results, RunFacts};
use request::Claim;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

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
    let work = run::under_lease(
        &store,
        LeaseMode::Exclusive,
        progress,
        cancel,
        Some(&ctx.qdrant),
        |run| save(ctx, selection, request, run),
    );
    let result = run::ending(&store, Operation::Backup, progress, work).await;
    result.map_err(with_run_again)
}

/// Adds the remedy for a cancelled run.
fn with_run_again(error: Error) -> Error {
    match error.code() {
        Code::Cancelled => error.remedy(
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
    tracing::info!(backup = %id, collections = plan.collections().len(), "backup {id} started");

    let shared = Arc::new((ctx.clone(), run.clone(), plan.aliases, plan.nodes, Settling::default()));
    let save_from = |first: u32| {
        let shared = shared.clone();
        move |unit: Unit| {
            let shared = shared.clone();
            async move {
                let (ctx, run, aliases, nodes, settling) = &*shared;
                let of = UnitRun {
                    ctx,
                    nodes,
                    settling,
                    run,
                    id,
                    unit: &unit,
                    first,
                };
                save_unit(of, aliases.of(&unit.collection)).await
            }
        }
    };
    let mut results = save_all(ctx, id, plan.units, &run, save_from(1)).await?;
    run.unless_cancelled(async { Ok(()) }).await?;
    let changed = results.forget_changed();
    if !changed.is_empty() {
        tracing::warn!(backup = %id, "shards of {} collections changed during the backup; saving these again", changed.len());
        shared.4.forget(&changed);
        let again = run
            .unless_cancelled(plan::units(&shared.3, changed, ctx.settings.mode))
            .await?;
        let more = save_all(ctx, id, again.units, &run, save_from(1 + ctx.settings.attempts)).await?;
        run.unless_cancelled(async { Ok(()) }).await?;
        results.extend(more);
    }
    if let Some(refused) = &results.refused {
        let doing = format!("none of the {} collections can be saved", results.failed.len());
        return Err(ErrorInfo::from(refused).error(&doing));
    }
    let aliases = run
        .unless_cancelled(async { Ok(refresh_aliases(ctx, &mut results).await) })
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
    if let Some(manifest) = manifest {
        run.unless_cancelled(run.confirm()).await?;
        commit(ctx, manifest).await?;
        report.manifest = Some(format!("{}/{}", ctx.store.url(), id.manifest()));
    }
    Ok(report)
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
    let mut plan = plan(&ctx.qdrant, selection, ctx.settings.mode).await?;
    let settings = &ctx.settings.source;
    let source = source::qdrant(&ctx.qdrant, settings.name.as_deref(), &plan.collections()).await;
    if !settings.accept_new {
        catalog::require_source(&*ctx.store, &source, ctx.clock.now()).await?;
    }
    plan.qdrant.source = Some(source);
    Ok(plan)
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

/// Does `save` for all these units, for some at once. An `Err` ends the run; what happens to one unit does not. Told to stop, it
/// waits until each has cleaned up. Where a failure shows that no other one can be saved, the others are not tried.
async fn save_all<S, F>(ctx: &Context, id: BackupId, units: Vec<Unit>, run: &Run, save: S) -> Result<Results>
where
    S: Fn(Unit) -> F,
    F: Future<Output = Result<Option<manifest::Collection>>> + Send + 'static,
{
    let is_single = units.len() == 1;
    let mut results = save_each(ctx, id, units, run, &save, is_single).await?;
    // A single one tells its failure itself.
    let is_told = is_single || run.cancel.is_cancelled();
    let Some(refused) = results.refused.take().filter(|_| !is_told) else {
        return Ok(results);
    };
    if results.collections.is_empty() {
        not_tried(id, &mut results, &refused);
        results.refused = Some(refused);
        return Ok(results);
    }
    if refused.code() == Code::QdrantUnauthorized {
        not_tried(id, &mut results, &refused);
        return Ok(results);
    }
    // One that was under way was saved all the same.
    let rest = std::mem::take(&mut results.stopped);
    let mut more = save_each(ctx, id, rest, run, &save, true).await?;
    if let Some(refused) = more.refused.take() {
        not_tried(id, &mut more, &refused);
    }
    results.extend(more);
    Ok(results)
}

/// What is still to be saved fails for the same reason, without being tried.
fn not_tried(id: BackupId, results: &mut Results, refused: &Error) {
    let rest = std::mem::take(&mut results.stopped);
    tracing::error!(backup = %id, code = %refused.code(), not_tried = rest.len(), "the failure affects every collection; {} others are not tried", rest.len());
    let failures = rest.into_iter().map(|unit| {
        let failure = Failure::of(&unit.collection, refused);
        (unit, failure)
    });
    results.failed.extend(failures);
}

/// Snapshots that are made at once on a node of which several units are saved.
const AT_ONCE_ON_A_NODE: usize = 2;

/// Units that have not had their turn.
struct Waiting {
    units: VecDeque<Unit>,
    /// How many of each node are under way.
    under_way: BTreeMap<u64, usize>,
}

impl Waiting {
    fn new(units: Vec<Unit>) -> Self {
        Self {
            units: units.into(),
            under_way: BTreeMap::new(),
        }
    }

    /// The first one whose node has room for it.
    fn next(&mut self) -> Option<Unit> {
        let has_room = |unit: &Unit| {
            let under_way = unit.node.and_then(|node| self.under_way.get(&node));
            under_way.is_none_or(|n| *n < AT_ONCE_ON_A_NODE)
        };
        let at = self.units.iter().position(has_room)?;
        let unit = self.units.remove(at)?;
        if let Some(node) = unit.node {
            *self.under_way.entry(node).or_default() += 1;
        }
        Some(unit)
    }

    fn done(&mut self, unit: &Unit) {
        if let Some(n) = unit.node.and_then(|node| self.under_way.get_mut(&node)) {
            *n = n.saturating_sub(1);
        }
    }
}

/// As [`save_all`], but what was not tried is among the stopped ones. `is_possible`: no failure is taken for one of all but that of
/// a key that is not accepted any more.
async fn save_each<S, F>(
    ctx: &Context,
    id: BackupId,
    units: Vec<Unit>,
    run: &Run,
    save: &S,
    is_possible: bool,
) -> Result<Results>
where
    S: Fn(Unit) -> F,
    F: Future<Output = Result<Option<manifest::Collection>>> + Send + 'static,
{
    let give_up = run.cancel.child_token();
    let mut waiting = Waiting::new(units);
    let mut tasks = JoinSet::new();
    let mut results = Results::default();
    loop {
        // In their order, and each only when it has its turn: what one shows comes before the next.
        while tasks.len() < ctx.settings.concurrency.max(1)
            && !give_up.is_cancelled()
            && let Some(unit) = waiting.next()
        {
            let save = save(unit.clone());
            let work = async move {
                let result = save.await;
                (unit, result)
            };
            // The caller's span goes along: it carries the request's trace.
            tasks.spawn(work.in_current_span());
        }
        let Some(joined) = tasks.join_next().await else { break };
        let (unit, result) =
            joined.map_err(|e| Error::new(Code::Internal, "internal error: a task died").because(e))?;
        waiting.done(&unit);
        match result {
            Ok(Some(saved)) => {
                run.progress.phase(&unit, Phase::Saved);
                tracing::info!(backup = %id, collection = unit.collection, bytes = saved.bytes(), points = saved.points_after, "{} saved", unit.snapshot());
                results.collections.push(saved);
            }
            Ok(None) => {
                run.progress.phase(&unit, Phase::Gone);
                results.gone.push(unit.collection);
            }
            // The other tasks see the same token and end by themselves, each after cleaning up.
            Err(e) if e.code() == Code::Cancelled => results.stopped.push(unit),
            Err(e) => {
                run.progress.phase(&unit, Phase::Failed);
                tracing::error!(backup = %id, collection = unit.collection, code = %e.code(), error = %e, "{} not saved", unit.snapshot());
                let failure = Failure::of(&unit.collection, &e);
                results.failed.push((unit, failure));
                let may_be_all = match e.code() {
                    Code::QdrantUnauthorized => true,
                    _ => !is_possible && results.collections.is_empty(),
                };
                if may_be_all && !give_up.is_cancelled() && fails_every_collection(ctx, &e).await {
                    give_up.cancel();
                    results.refused = Some(e);
                }
            }
        }
    }
    results.stopped.extend(waiting.units);
    Ok(results)
}

/// Whether the failure of one collection is that of all: a key that is not accepted, or that may only read; a store that takes
/// no writes. A key that may not ask for the cluster is one for certain collections, and may be good for others.
async fn fails_every_collection(ctx: &Context, error: &Error) -> bool {
    match error.code() {
        Code::QdrantTls
        | Code::QdrantUnauthorized
        | Code::StoreUnauthorized
        | Code::StoreForbidden
        | Code::StoreRetained
        | Code::StoreMissing => true,
        Code::QdrantForbidden => !matches!(ctx.qdrant.cluster().await, Ok(ClusterInfo::Hidden) | Err(_)),
        _ => false,
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
