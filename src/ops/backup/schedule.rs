//! Which unit is begun when: in their order, some at once, not too many on one node, and none while Qdrant is busy.

use super::guard::{Guard, Verdict, since};
use super::report::Results;
use crate::base::error::{Code, Error, Result};
use crate::ops::context::Context;
use crate::ops::progress::Phase;
use crate::ops::run::Run;
use crate::repository::manifest::{self, Failure};
use crate::repository::names::BackupId;
use crate::repository::unit::Unit;
use crate::wire::qdrant::{ClusterInfo, Nodes};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::Instrument;

/// What the units of a run have in common while they are begun one after the other.
pub(super) struct Schedule<'a> {
    pub(super) ctx: &'a Context,
    pub(super) nodes: &'a Nodes,
    pub(super) run: &'a Run,
    pub(super) id: BackupId,
    pub(super) guard: Guard,
}

/// A unit that is begun.
pub(super) struct Turn {
    pub(super) unit: Unit,
    /// What the backup has to say of its beginning.
    pub(super) warning: Option<String>,
}

impl Schedule<'_> {
    /// Does `save` for all these units, for some at once. An `Err` ends the run; what happens to one unit does not. Told to stop, it
    /// waits until each has cleaned up. Where a failure shows that no other one can be saved, the others are not tried.
    pub(super) async fn save_all<S, F>(&mut self, units: Vec<Unit>, save: S) -> Result<Results>
    where
        S: Fn(Turn) -> F,
        F: Future<Output = Result<Option<manifest::Collection>>> + Send + 'static,
    {
        let is_single = units.len() == 1;
        let mut results = self.save_each(units, &save, is_single).await?;
        // A single one tells its failure itself.
        let is_told = is_single || self.run.cancel.is_cancelled();
        let Some(refused) = results.refused.take().filter(|_| !is_told) else {
            return Ok(results);
        };
        if results.collections.is_empty() {
            not_tried(self.id, &mut results, &refused);
            results.refused = Some(refused);
            return Ok(results);
        }
        if refused.code() == Code::QdrantUnauthorized {
            not_tried(self.id, &mut results, &refused);
            return Ok(results);
        }
        // One that was under way was saved all the same.
        let rest = std::mem::take(&mut results.stopped);
        let mut more = self.save_each(rest, &save, true).await?;
        if let Some(refused) = more.refused.take() {
            not_tried(self.id, &mut more, &refused);
        }
        results.extend(more);
        Ok(results)
    }

    /// As [`Schedule::save_all`], but what was not tried is among the stopped ones. `is_possible`: no failure is taken for one of all
    /// but that of a key that is not accepted any more.
    async fn save_each<S, F>(&mut self, units: Vec<Unit>, save: &S, is_possible: bool) -> Result<Results>
    where
        S: Fn(Turn) -> F,
        F: Future<Output = Result<Option<manifest::Collection>>> + Send + 'static,
    {
        let (ctx, run, id) = (self.ctx, self.run, self.id);
        let give_up = run.cancel.child_token();
        let mut waiting = Waiting::new(units);
        let mut tasks = JoinSet::new();
        let mut results = Results::default();
        loop {
            let began = ctx.clock.now();
            self.guard.next_round();
            let mut at = 0;
            // In their order, and each only when it has its turn: what one shows comes before the next.
            while tasks.len() < ctx.settings.concurrency.max(1)
                && !give_up.is_cancelled()
                && !self.guard.is_full()
                && let Some(unit) = waiting.next(&mut at)
            {
                let look = self.guard.look(ctx, self.nodes, unit);
                let warning = match give_up.run_until_cancelled(look).await {
                    Some(Verdict::Begin(warning)) => warning,
                    Some(Verdict::Wait) => {
                        at += 1;
                        continue;
                    }
                    None => break,
                };
                let Some(unit) = waiting.begin(at) else { break };
                let work = save(Turn {
                    unit: unit.clone(),
                    warning,
                });
                let work = async move {
                    let result = work.await;
                    (unit, result)
                };
                // The caller's span goes along: it carries the request's trace.
                tasks.spawn(work.in_current_span());
            }
            let is_alone = tasks.is_empty();
            let is_waiting = self.guard.is_waiting();
            let pause = ctx.settings.guard.as_ref().map_or(Duration::ZERO, |guard| guard.pause);
            let (joined, slept) = tokio::select! {
                joined = tasks.join_next(), if !is_alone => (joined, Duration::ZERO),
                _ = give_up.run_until_cancelled(sleep(pause)), if is_waiting && !give_up.is_cancelled() => (None, pause),
                else => break,
            };
            if is_waiting {
                // Whatever the clock says, it does not wait for ever.
                self.guard.has_waited(since(ctx, began).max(slept), is_alone);
            }
            let Some(joined) = joined else { continue };
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

    /// The first one from `at` on whose node has room for it, and in `at` where it is.
    fn next(&self, at: &mut usize) -> Option<&Unit> {
        let has_room = |unit: &Unit| {
            let under_way = unit.node.and_then(|node| self.under_way.get(&node));
            under_way.is_none_or(|n| *n < AT_ONCE_ON_A_NODE)
        };
        let (found, unit) = self
            .units
            .iter()
            .enumerate()
            .skip(*at)
            .find(|(_, unit)| has_room(unit))?;
        *at = found;
        Some(unit)
    }

    /// The one that is there has its turn.
    fn begin(&mut self, at: usize) -> Option<Unit> {
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
