//! The load guard: nothing is begun while Qdrant is busy.
//!
//! Busy is a node that takes much longer to answer than before the run, and a collection that Qdrant works on. A guard never costs a
//! backup: what it waits for is bounded, and where it cannot look, it lets go.

use crate::ops::context::{Context, LoadGuard};
use crate::repository::jobs::NodeLatency;
use crate::repository::names::BackupId;
use crate::repository::unit::Unit;
use crate::wire::qdrant::{Nodes, Qdrant};
use futures_util::future::join_all;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::timeout;

/// Looks before the run, and before each unit; the median counts, so that one slow answer does not.
const LOOKS_BEFORE: usize = 5;
const LOOKS: usize = 3;
/// A node that has not answered by then is busy.
const LONGEST_LOOK: Duration = Duration::from_secs(5);
/// A faster node counts as this fast: below it a factor is mere noise.
const FASTEST: Duration = Duration::from_millis(2);
/// Units of a node that are tried to be read before the run.
const TRIED: usize = 3;
/// Units of which each may be looked at and found held, before it is waited.
const MOST_HELD: usize = 16;
/// Collections that are told by name.
const TOLD: usize = 5;

/// Why a unit waits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// This node, or the only one, takes long to answer.
    Slow(Option<u64>),
    /// The collection is yellow or grey.
    Worked(String),
}

/// What is to become of a unit now.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// Begin it; with what the backup has to say of that.
    Begin(Option<String>),
    Wait,
}

/// What a run waited, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldBack {
    /// In which something was not begun; other units may have been under way.
    pub seconds: u64,
    pub reasons: Vec<String>,
}

/// The guard of one run.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// Before the run; of a node that is not among them the time is not looked at.
    before: Vec<NodeLatency>,
    /// What keeps units from being begun in this round of looks.
    round: BTreeSet<Cause>,
    held: usize,
    waited: Duration,
    /// Of that, while nothing else was under way.
    alone: Duration,
    /// How it was when it was waited for last, and of a node when it was slowest.
    seen: BTreeMap<Cause, Seen>,
    is_over: bool,
}

#[derive(Debug)]
struct Seen {
    how: String,
    time: Duration,
}

impl Guard {
    /// With the times of before the run.
    pub(super) fn new(before: Vec<NodeLatency>) -> Self {
        Self {
            before,
            ..Self::default()
        }
    }

    /// A new look at all.
    pub(super) fn next_round(&mut self) {
        self.round.clear();
        self.held = 0;
    }

    /// Whether it is of no use to look at further units.
    pub(super) fn is_full(&self) -> bool {
        self.held >= MOST_HELD
    }

    /// Whether anything waits.
    pub(super) fn is_waiting(&self) -> bool {
        !self.round.is_empty()
    }

    /// Some time has passed since the beginning of the round. `is_alone`: while nothing else was under way.
    pub(super) fn has_waited(&mut self, time: Duration, is_alone: bool) {
        self.waited = self.waited.saturating_add(time);
        if is_alone {
            self.alone = self.alone.saturating_add(time);
        }
    }

    /// Whether the unit may be begun.
    pub(super) async fn look(&mut self, ctx: &Context, nodes: &Nodes, unit: &Unit) -> Verdict {
        let Some(settings) = &ctx.settings.guard else {
            return Verdict::Begin(None);
        };
        if self.alone >= settings.patience {
            return Verdict::Begin(self.end());
        }
        let causes = [Cause::Slow(unit.node), Cause::Worked(unit.collection.clone())];
        if causes.iter().any(|cause| self.round.contains(cause)) {
            self.held += 1;
            return Verdict::Wait;
        }
        let Some((cause, seen)) = self.cause(ctx, nodes, unit, settings).await else {
            return Verdict::Begin(None);
        };
        let known = self.seen.get(&cause).map(|known| known.time);
        if known.is_none() {
            tracing::info!(
                collection = unit.collection,
                node = unit.node,
                "{}; {} waits",
                seen.how,
                unit.snapshot()
            );
        }
        if known.is_none_or(|known| known <= seen.time) {
            self.seen.insert(cause.clone(), seen);
        }
        self.held += 1;
        self.round.insert(cause);
        Verdict::Wait
    }

    /// From now on nothing is waited for: once a warning of that.
    fn end(&mut self) -> Option<String> {
        let is_told = std::mem::replace(&mut self.is_over, true);
        let reasons = self.reasons().join("; ");
        (!is_told).then(|| {
            let waited = self.alone.as_secs();
            format!("the run has waited {waited} s for Qdrant, and goes on without waiting any more: {reasons}")
        })
    }

    async fn cause(&self, ctx: &Context, nodes: &Nodes, unit: &Unit, settings: &LoadGuard) -> Option<(Cause, Seen)> {
        // What is wrong with a collection that cannot be asked, the run itself tells.
        if let Ok(state) = nodes.of(unit.node).state(&unit.collection).await
            && matches!(state.status.as_str(), "yellow" | "grey")
        {
            let seen = Seen {
                how: format!("collection {:?} is {}", unit.collection, state.status),
                time: Duration::ZERO,
            };
            return Some((Cause::Worked(unit.collection.clone()), seen));
        }
        let before = self.before.iter().find(|before| before.unit.node == unit.node)?;
        let usual = Duration::from_micros(before.microseconds);
        let node = nodes.of(unit.node);
        let time = latency(ctx, node, &before.unit, LOOKS).await?;
        if time.as_secs_f64() <= usual.max(FASTEST).as_secs_f64() * settings.factor {
            return None;
        }
        let (url, usual) = (node.url(), milliseconds(usual));
        let how = match time {
            Duration::MAX => format!("{url} does not answer within {LONGEST_LOOK:?}, in {usual} before the run"),
            time => format!("{url} answers in {}, in {usual} before the run", milliseconds(time)),
        };
        Some((Cause::Slow(unit.node), Seen { how, time }))
    }

    /// Each node, and the collections together.
    fn reasons(&self) -> Vec<String> {
        let is_node = |cause: &Cause| matches!(cause, Cause::Slow(_));
        let how = |(_, seen): (&Cause, &Seen)| seen.how.clone();
        let mut reasons: Vec<_> = self.seen.iter().filter(|(cause, _)| is_node(cause)).map(how).collect();
        let of_collections = self.seen.iter().filter(|(cause, _)| !is_node(cause));
        reasons.extend(of_collections.clone().take(TOLD).map(how));
        let more = of_collections.count().saturating_sub(TOLD);
        if more > 0 {
            reasons.push(format!("so are {more} more"));
        }
        reasons
    }

    /// The end of the run: what was waited; `None`: nothing.
    pub(super) fn told(&self, id: BackupId) -> Option<HeldBack> {
        if self.seen.is_empty() {
            return None;
        }
        let held = HeldBack {
            seconds: self.waited.as_secs(),
            reasons: self.reasons(),
        };
        let reasons = held.reasons.join("; ");
        tracing::info!(backup = %id, seconds = held.seconds, "waited {} s while Qdrant was busy: {reasons}", held.seconds);
        Some(held)
    }
}

/// How long each node of these units takes to answer; nothing where that is not to be looked at.
pub(super) async fn latencies(ctx: &Context, nodes: &Nodes, units: &[Unit]) -> Vec<NodeLatency> {
    if ctx.settings.guard.is_none() {
        return Vec::new();
    }
    let mut of_nodes: BTreeMap<Option<u64>, Vec<&Unit>> = BTreeMap::new();
    for unit in units {
        let tried = of_nodes.entry(unit.node).or_default();
        if tried.len() < TRIED {
            tried.push(unit);
        }
    }
    let looks = of_nodes
        .into_iter()
        .map(|(node, tried)| before(ctx, nodes.of(node), tried));
    join_all(looks).await.into_iter().flatten().collect()
}

async fn before(ctx: &Context, node: &Qdrant, tried: Vec<&Unit>) -> Option<NodeLatency> {
    for unit in tried {
        let time = latency(ctx, node, unit, LOOKS_BEFORE).await;
        if let Some(time) = time.filter(|time| *time < LONGEST_LOOK) {
            return Some(NodeLatency {
                unit: unit.clone(),
                microseconds: u64::try_from(time.as_micros()).unwrap_or(u64::MAX),
            });
        }
    }
    tracing::warn!(
        node = node.url(),
        "how long {} takes to answer cannot be looked at; the run does not wait for it",
        node.url()
    );
    None
}

/// How long the node takes to read a point of `unit`: the median of so many looks, or [`Duration::MAX`]. `None`: it does not let one
/// look.
async fn latency(ctx: &Context, node: &Qdrant, unit: &Unit, looks: usize) -> Option<Duration> {
    let mut taken = Vec::new();
    for _ in 0..looks {
        node.unpaused().await;
        let began = ctx.clock.now();
        let answered = timeout(LONGEST_LOOK, node.probe(unit.snapshot())).await;
        let time = since(ctx, began);
        match answered {
            Ok(Ok(())) => taken.push(time),
            Err(_) => taken.push(Duration::MAX),
            Ok(Err(error)) => {
                tracing::debug!(error = %error, "the load of {} cannot be looked at", node.url());
                return None;
            }
        }
    }
    taken.sort_unstable();
    taken.get(looks / 2).copied()
}

/// The time since then, none where the clock was set back.
pub(super) fn since(ctx: &Context, began: OffsetDateTime) -> Duration {
    Duration::try_from(ctx.clock.now() - began).unwrap_or_default()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
