//! Doing what a plan says: prove the objects, move the bytes, compare, and only then touch aliases.

use super::command::command;
use super::converge::{Found, converge, state};
use super::each::restore_each;
use super::failed::{failure, next_for_all};
use super::plan::{RestorePlan, make};
use super::report::{NextAttempt, RestoreOutcome, RestoreReport, Restored, Unchanged};
use super::step::{Existing, Standing};
use super::target::{TargetState, target_state};
use super::transfers::{has_ended, transfer_all};
use super::turns::Turns;
use super::{RestoreRequest, RestoreStep, Timeouts, shards, swap, uploaded};
use crate::base::error::{Code, Error, Result};
use crate::ops::context::Context;
use crate::ops::progress::Phase;
use crate::ops::run::Run;
use crate::repository::blobs;
use crate::repository::intents::temporary;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeSet;
use tokio::time::Instant;

pub(super) async fn run(ctx: &Context, request: &RestoreRequest, run: Run) -> Result<RestoreReport> {
    let progress = &run.progress;
    let started_at = ctx.clock.now();
    let unchanged = |error: Error, request: &RestoreRequest| match error.code() {
        Code::Cancelled => {
            let again = command(request, false);
            error.remedy(format!("run it again, nothing was changed: {again}"))
        }
        _ => error,
    };
    // Whoever reads that it failed is to read of which backup; `latest` is known by the plan alone.
    if let Ok(id) = request.id.parse() {
        progress.about(id);
    }
    let planned = async {
        // Only under the lease they are nobody's.
        let left = match run.holder().await {
            Some(_) => temporary::recover(&*ctx.store, &ctx.qdrant, started_at).await,
            None => Vec::new(),
        };
        let mut plan = make(ctx, request, None).await?;
        plan.warnings.extend(left);
        Ok(plan)
    };
    let plan = run.unless_cancelled(planned).await;
    let plan = plan.map_err(|e| unchanged(e, request))?;
    if let Some(error) = plan.error() {
        return Err(error);
    }
    // From here on it is about this backup, whatever `latest` is when it is tried again.
    let request = &RestoreRequest {
        id: plan.id.to_string(),
        ..request.clone()
    };
    let restored = plan.collections.iter().filter(|step| step.is_restored());
    progress.planned_bytes(plan.id, restored.map(|step| (step.unit(), Some(step.bytes))));
    plan.collections
        .iter()
        .for_each(|step| progress.target(&step.unit(), &step.target));
    tracing::info!(backup = %plan.id, qdrant = plan.target, collections = plan.collections.len(), "restore of backup {} started", plan.id);
    // Before anything is changed.
    let proven = run.unless_cancelled(prove_all(ctx, &plan)).await;
    proven.map_err(|e| unchanged(e, request))?;

    let mut report = RestoreReport {
        id: plan.id,
        target: plan.target.clone(),
        status: RestoreOutcome::Failed,
        started_at,
        finished_at: started_at,
        collections: Vec::new(),
        unchanged: unchanged_of(&plan),
        failed: Vec::new(),
        next: Vec::new(),
        aliases: Vec::new(),
        replaced: Vec::new(),
        warnings: plan.warnings.clone(),
    };
    (report.collections, report.failed) = restore_each(ctx, request, &plan, &run).await;
    aliases(ctx, request, &plan, &mut report, &run).await;
    let is_nothing = report.collections.is_empty() && report.unchanged.is_empty();
    report.status = match (is_nothing, report.failed.is_empty()) {
        (_, true) => RestoreOutcome::Complete,
        (false, false) => RestoreOutcome::Partial,
        (true, false) => RestoreOutcome::Failed,
    };
    report.next = next_for_all(request, &plan, &report.failed);
    report.finished_at = ctx.clock.now();
    Ok(report)
}

/// What exists as the backup has it.
fn unchanged_of(plan: &RestorePlan) -> Vec<Unchanged> {
    let steps = plan.collections.iter();
    let unchanged = steps.filter_map(|step| match &step.standing {
        Some(Standing::Equal {
            points,
            points_estimated,
            sampled,
            notes,
        }) => Some(Unchanged {
            source: step.source.clone(),
            target: step.target.clone(),
            points: *points,
            points_estimated: *points_estimated,
            sampled: *sampled,
            notes: notes.clone(),
        }),
        Some(Standing::Differs { .. }) | None => None,
    });
    unchanged.collect()
}

async fn prove_all(ctx: &Context, plan: &RestorePlan) -> Result<()> {
    let mut proofs = Vec::new();
    let restored = plan.collections.iter().filter(|step| step.is_restored());
    for from in restored.flat_map(|step| &step.from) {
        proofs.push(blobs::prove(&*ctx.store, &from.artifact, &from.blob));
    }
    let at_once = ctx.settings.restore_concurrency.max(1);
    stream::iter(proofs).buffered(at_once).try_collect().await
}

/// Aliases come last: of what was restored and compared, and for a swap only when that is everything.
async fn aliases(ctx: &Context, request: &RestoreRequest, plan: &RestorePlan, report: &mut RestoreReport, run: &Run) {
    if request.swap && !report.failed.is_empty() {
        let mut text =
            "no alias was moved, because not everything was restored: the live collections are unchanged".to_owned();
        if !report.collections.is_empty() {
            let beside: Vec<_> = report.collections.iter().map(|r| format!("{:?}", r.target)).collect();
            text += &format!(
                "; restored beside them, but not reused by another attempt: {}",
                beside.join(", ")
            );
        }
        return report.warnings.push(text);
    }
    let restored = report.collections.iter().map(|r| r.target.clone());
    // One that was there may be of a restore that came as far as this.
    let done: BTreeSet<_> = restored
        .chain(report.unchanged.iter().map(|u| u.target.clone()))
        .collect();
    let steps: Vec<_> = plan
        .collections
        .iter()
        .filter(|s| done.contains(&s.target) && !s.aliases.is_empty())
        .collect();
    if steps.is_empty() {
        return;
    }
    match run.unless_cancelled(swap::apply(&ctx.qdrant, &steps)).await {
        Ok(changed) => {
            report.aliases = changed;
            let left: BTreeSet<_> = steps
                .iter()
                .flat_map(|s| &s.aliases)
                .filter(|a| a.action == swap::AliasAction::Move)
                .filter_map(|a| a.now.clone())
                .collect();
            report.replaced = left.into_iter().collect();
        }
        Err(error) => {
            for step in steps {
                // The collection is whole, but what was asked for is not done.
                report.collections.retain(|r| r.target != step.target);
                report.unchanged.retain(|u| u.target != step.target);
                let now = state(run, &ctx.qdrant, &step.target).await.to_string();
                report
                    .failed
                    .push(failure(request, plan, step, &error, now, NextAttempt::AliasesOnly));
            }
        }
    }
}

/// Why a collection was not restored.
#[derive(Debug)]
pub(crate) struct Unrestored {
    pub(crate) error: Error,
    pub(super) reached: Reached,
    /// Whether Qdrant may still be at it, and make what was asked for all the same.
    pub(crate) may_go_on: bool,
    /// What may be left of an upload, and how it is removed.
    pub(crate) left: Option<String>,
}

/// How far a restore came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reached {
    /// Qdrant was asked for nothing that changes the target: it was as planned until then.
    Nothing,
    /// It was asked, and may not have ended.
    Asked,
    /// It has said that all is restored.
    Restored,
}

impl Unrestored {
    fn at(reached: Reached, error: Error) -> Self {
        Self {
            may_go_on: reached == Reached::Asked && !has_ended(&error),
            error,
            reached,
            left: None,
        }
    }

    pub(super) fn untouched(error: Error) -> Self {
        Self::at(Reached::Nothing, error)
    }

    pub(super) fn begun(error: Error) -> Self {
        Self::at(Reached::Asked, error)
    }
}

/// What the collections of a restore have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restoring<'a> {
    pub(crate) ctx: &'a Context,
    pub(crate) plan: &'a RestorePlan,
    pub(crate) patience: &'a Timeouts,
    pub(crate) run: &'a Run,
    pub(crate) turns: &'a Turns,
}

/// Restores one collection and compares it. `at`: its place in the plan.
pub(crate) async fn restore_one(of: Restoring<'_>, at: usize, step: &RestoreStep) -> Result<Restored, Unrestored> {
    let Restoring {
        ctx,
        plan,
        patience,
        run,
        ..
    } = of;
    let unchanged = run.unless_cancelled(still_as_planned(ctx, step)).await;
    unchanged.map_err(Unrestored::untouched)?;
    let mut notes = step.warnings.clone();
    let began = Instant::now();
    let (via, transferred) = transfer_all(of, at, step).await?;
    notes.extend(transferred);
    let seconds = began.elapsed().as_secs_f64();
    run.progress.phase(&step.unit(), Phase::Check);
    let Found {
        points,
        is_exact,
        sampled,
        notes: found,
    } = run
        .unless_cancelled(converge(&plan.nodes, &step.target, &step.wanted, patience))
        .await
        .map_err(|error| Unrestored::at(Reached::Restored, error))?;
    notes.extend(found);
    let others = run.unless_cancelled(async { Ok(uploaded::others(ctx, &step.target).await) });
    notes.extend(others.await.map_err(|error| Unrestored::at(Reached::Restored, error))?);
    notes.extend(
        step.differences
            .iter()
            .map(|d| format!("{d}: Qdrant kept its own value")),
    );
    Ok(Restored {
        source: step.source.clone(),
        target: step.target.clone(),
        points,
        points_estimated: !is_exact,
        expected: step.points,
        sampled,
        bytes: step.bytes,
        seconds,
        via,
        notes,
    })
}

/// Whether the target is still what the plan saw: checking the objects may have taken hours.
async fn still_as_planned(ctx: &Context, step: &RestoreStep) -> Result<()> {
    let changed = match step.overwrites {
        None => !is_absent(ctx, &step.target).await?,
        // It was to be replaced whatever it has.
        Some(Existing::Unreadable { .. } | Existing::Readable { points: 1.. }) => false,
        Some(Existing::Readable { points: 0 }) => !matches!(
            target_state(&ctx.qdrant, &step.target).await?,
            TargetState::Whole { points: 0, .. }
        ),
    };
    if step.overwrites.is_some()
        && step.creation.is_some()
        && let Some(doing) = shards::busy(&ctx.qdrant, &step.target).await?
    {
        return Err(Error::new(Code::RestoreRefused, doing).remedy(shards::WHEN_BUSY));
    }
    match changed {
        false => Ok(()),
        true => Err(Error::new(
            Code::RestoreRefused,
            format!(
                "another client created, filled or deleted collection {:?} since the plan",
                step.target
            ),
        )
        .remedy("plan again; it was not touched")),
    }
}

pub(super) async fn is_absent(ctx: &Context, name: &str) -> Result<bool> {
    Ok(matches!(target_state(&ctx.qdrant, name).await?, TargetState::Absent))
}
