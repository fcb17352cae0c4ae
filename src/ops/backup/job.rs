//! One backup made by several processes: the tasks of one execution of a job.
//!
//! All tasks read one plan, which the first of them wrote: the backup's id and the list of collections. Each takes its share,
//! saves it as a run of its own would, and records for each collection what became of it: a part. Whoever finds that all parts
//! are there writes the manifest from them. Everything but the lease and the intents is written once and never changed:
//!
//! - A task that is tried again leaves alone what has a part. What else an earlier attempt stored has other names.
//! - A collection that could not be saved gets a part in the last attempt only; before it, the attempt fails without one, and
//!   the next one tries it again.
//! - Two processes that do the same task, or commit at the same time, come to the same: the first part and the first manifest
//!   hold, and the other process takes them over.

mod finish;
mod plan;

use super::artifact::UnitRun;
use super::collection::save_unit;
use super::guard::{Guard, HeldBack, latencies};
use super::schedule::{Schedule, Turn};
use super::settling::Settling;
use super::{BackupReport, Results, Saved, with_run_again};
use crate::base::error::{Code, Error, ErrorInfo, Result};
use crate::ops::context::Context;
use crate::ops::events::{Counts, Operation};
use crate::ops::journal::Journal;
use crate::ops::notify::Follow;
use crate::ops::progress::{Phase, Progress};
use crate::ops::run::{self, Conclusion, LeaseMode, Run, unless_cancelled};
use crate::repository::intents::{self, Intent};
use crate::repository::jobs::{self, JobPlan, Part, PartOutcome};
use crate::repository::lease;
use crate::repository::manifest::Failure;
use crate::repository::names::{BackupId, Execution};
use crate::repository::selection::Selection;
use crate::repository::unit::{Mode, Unit};
use crate::wire::qdrant::Nodes;
use finish::{ExecutionState, finish};
use plan::{plan, plan_or_create};
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Which task of which execution this process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub execution: Execution,
    /// The task's number, from 0.
    pub index: u32,
    /// How many tasks the execution has, at least 1.
    pub count: u32,
    /// How often the task was tried before.
    pub attempt: u32,
    /// How often a task is tried again when it fails.
    pub max_retries: u32,
}

impl Task {
    /// Whether nobody tries again what fails now.
    pub fn is_last_attempt(&self) -> bool {
        self.attempt >= self.max_retries
    }
}

/// What a task came to.
#[derive(Clone, Debug, Serialize)]
pub struct TaskReport {
    /// The backup's id.
    pub id: BackupId,
    pub execution: Execution,
    /// The task's number, from 0.
    pub task: u32,
    /// How many tasks there are.
    pub tasks: u32,
    /// How often the task was tried before.
    pub attempt: u32,
    /// Whether a failure of this attempt is final.
    pub(crate) last_attempt: bool,
    /// What of its share is saved, by this attempt or an earlier one.
    pub saved: Vec<Saved>,
    /// What of its share is not.
    pub failed: Vec<Failure>,
    /// How many collections of all tasks are neither saved nor given up yet; 0 when the backup has ended.
    pub open: usize,
    /// The whole backup, once it has ended.
    pub backup: Option<BackupReport>,
    /// Whether it was this task that wrote the manifest.
    pub committed: bool,
    /// What this attempt waited because Qdrant was busy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBack>,
    /// Whether the backup ended in this very attempt.
    #[serde(skip)]
    pub(crate) ended_now: bool,
}

impl TaskReport {
    fn took(&self) -> time::Duration {
        let backup = self.backup.as_ref();
        backup.map_or(time::Duration::ZERO, |backup| backup.finished_at - backup.started_at)
    }

    /// The error of the task: that of the whole backup once it has ended, else that of its share.
    pub fn error(&self) -> Option<Error> {
        if let Some(backup) = &self.backup {
            return backup.error();
        }
        if self.failed.is_empty() {
            return None;
        }
        let code = match self.saved.is_empty() {
            true => Code::BackupFailed,
            false => Code::BackupPartial,
        };
        let names: Vec<_> = self.failed.iter().map(|f| f.collection.as_str()).collect();
        let text = format!(
            "task {} of {} of backup {}: {} of {} collections failed in attempt {}: {}",
            self.task,
            self.tasks,
            self.id,
            self.failed.len(),
            self.saved.len() + self.failed.len(),
            self.attempt,
            names.join(", ")
        );
        Some(Error::new(code, text).remedy(match self.last_attempt {
            true => "fix the causes; this was the last attempt, so the backup will be partial",
            false => "run the task again; the other collections are saved",
        }))
    }
}

/// Does the share of `task`, and commits the backup if nothing is left to be done by others. `Err` and `Ok` as for
/// [`super::run()`]. The lease stays with the execution until the backup has ended, or runs out.
pub async fn run(
    ctx: &Context,
    selection: &Selection,
    task: &Task,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<TaskReport> {
    let began = ctx.clock.now();
    let is_first = task.index == 0 && task.attempt == 0;
    let follow = Follow::task(
        &ctx.notify,
        &ctx.store,
        &ctx.clock,
        Operation::Backup,
        is_first.then_some(progress),
    );
    let journal = Journal::start(&ctx.store, &ctx.clock, &ctx.who, Operation::Backup, progress);
    let result = work(ctx, selection, task, progress, cancel).await;
    // Before its end is told, as that of a backup by one process.
    let result = result.map_err(|error| with_run_again(error, ctx.settings.mode));
    let ended = match &result {
        Ok(report) => report.ended_now.then(|| report.took()),
        Err(_) => task.is_last_attempt().then(|| ctx.clock.now() - began),
    };
    let told = ended.map(|took| run::end(follow, progress.now().id, took, result.as_ref()));
    journal.end(run::ended(&result)).await;
    if let Some(told) = told {
        told.await;
    }
    result
}

async fn work(
    ctx: &Context,
    selection: &Selection,
    task: &Task,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<TaskReport> {
    // For what has ended no lease is needed, which may be another run's by now.
    let ended = unless_cancelled(cancel, async {
        match plan(ctx, task, selection).await? {
            Some(plan) => Ok(finish::committed(ctx, task, &plan).await?.map(|end| (plan, end))),
            None => Ok(None),
        }
    });
    let group = task.execution.as_str();
    if let Some((plan, standing)) = ended.await? {
        tracing::info!(backup = %plan.id, task = task.index, "backup {} of this execution already finished", plan.id);
        let parts = unless_cancelled(cancel, parts_of(ctx, task, &plan)).await?;
        let report = report(task, &plan, parts, Vec::new(), standing);
        return clear(ctx, group, progress, cancel, report).await;
    }
    let wanted = LeaseMode::Shared(group);
    run::under_lease(&ctx.on_store(), wanted, progress, cancel, Some(&ctx.qdrant), |run| {
        run_share(ctx, selection, task, run)
    })
    .await
}

/// Cleans up after a task that was killed between the commit and the end of its lease.
async fn clear(
    ctx: &Context,
    group: &str,
    progress: &Progress,
    cancel: &CancellationToken,
    report: TaskReport,
) -> Result<TaskReport> {
    let holder = unless_cancelled(cancel, lease::holder(&*ctx.store, &ctx.clock)).await?;
    if !holder.is_some_and(|record| record.is_of(group)) {
        return Ok(report);
    }
    progress.planned(report.id, []);
    let wanted = LeaseMode::Shared(group);
    run::under_lease(
        &ctx.on_store(),
        wanted,
        progress,
        cancel,
        Some(&ctx.qdrant),
        |_| async { Ok(report) },
    )
    .await
}

impl Conclusion for TaskReport {
    fn failure(&self) -> Option<ErrorInfo> {
        self.error().map(|error| (&error).into())
    }

    fn counts(&self) -> Counts {
        self.backup
            .as_ref()
            .map_or(Operation::Backup.nothing(), Conclusion::counts)
    }

    fn warn(&mut self, warning: String) {
        if let Some(backup) = &mut self.backup {
            backup.warn(warning);
        }
    }

    fn is_open(&self) -> bool {
        self.backup.is_none()
    }
}

async fn run_share(ctx: &Context, selection: &Selection, task: &Task, run: Run) -> Result<TaskReport> {
    let Run { progress, cancel, .. } = &run;
    let (plan, parts) = run
        .unless_cancelled(async {
            let plan = plan_or_create(ctx, selection, task).await?;
            let parts = parts_of(ctx, task, &plan).await?;
            Ok((plan, parts))
        })
        .await?;
    let share: Vec<Unit> = plan.share(task.index).cloned().collect();
    progress.planned(plan.id, share.iter().cloned());
    for part in &parts {
        progress.phase(&part.unit, part.outcome.phase());
    }
    let id = plan.id;
    tracing::info!(
        backup = %id, task = task.index, tasks = task.count, attempt = task.attempt,
        units = share.len(), done = parts.len(), "task {} of {} of backup {id} started", task.index, task.count
    );

    // Whoever did this task before is dead. The other tasks are not: theirs is left alone.
    // Only files leave something behind, whatever was planned.
    let ours: BTreeSet<Unit> = share.iter().map(|unit| unit.clone().by(Mode::File)).collect();
    let of_this_task = move |intent: &Intent| ours.contains(&intent.unit);
    let recovery = intents::recover(&*ctx.store, &ctx.qdrant, ctx.clock.now(), Some(id), &of_this_task);
    for warning in run.unless_cancelled(recovery).await? {
        tracing::warn!(backup = %id, "{warning}");
    }
    let is_done = |unit: &Unit| parts.iter().any(|part| part.unit == *unit);
    let todo = share.into_iter().filter(|unit| !is_done(unit)).collect();
    let result = save_share(ctx, task, &plan, todo, &run).await;
    let swept = async {
        if run.confirm_not_lost().is_ok() {
            run::sweep(&ctx.on_store(), &run, &ctx.qdrant, id, &of_this_task).await;
        }
    };
    let (results, held_back) = match result {
        Ok(results) => results,
        Err(e) => {
            swept.await;
            return Err(e);
        }
    };
    // Told to stop, there is still time for some small objects; without the lease there is none.
    let stopped = !results.stopped.is_empty() || cancel.is_cancelled();
    if stopped && (!task.is_last_attempt() || run.confirm_not_lost().is_err()) {
        swept.await;
        return Err(run::stopped());
    }
    let end = async {
        let failed = give_up(ctx, task, id, results).await?;
        let parts = parts_of(ctx, task, &plan).await?;
        // Last: from then on the backup exists, and nothing may hide that.
        Ok((failed, parts, finish(ctx, task, &plan, &run).await?))
    };
    let (failed, parts, standing) = run.within_cleanup(end).await?;
    if matches!(standing, ExecutionState::Open(_)) {
        swept.await;
    }
    Ok(TaskReport {
        held_back,
        ..report(task, &plan, parts, failed, standing)
    })
}

/// The parts that there are of the share of a task.
async fn parts_of(ctx: &Context, task: &Task, plan: &JobPlan) -> Result<Vec<Part>> {
    let open = jobs::open(&*ctx.store, &task.execution, plan).await?;
    let done = plan.share(task.index).filter(|unit| !open.contains(*unit));
    jobs::parts(&*ctx.store, &task.execution, plan, done).await
}

/// Saves what is to be done of the share, and records each part as soon as it is there.
async fn save_share(
    ctx: &Context,
    task: &Task,
    plan: &JobPlan,
    todo: Vec<Unit>,
    run: &Run,
) -> Result<(Results, Option<HeldBack>)> {
    // No attempt of an earlier process had these numbers.
    let first = 1 + task.attempt * ctx.settings.attempts;
    let nodes = match todo.iter().any(|unit| unit.node.is_some()) {
        true => run.unless_cancelled(ctx.qdrant.nodes()).await?,
        false => Nodes::one(&ctx.qdrant),
    };
    let before = match plan.latencies.is_empty() {
        true => {
            run.unless_cancelled(async { Ok(latencies(ctx, &nodes, &todo).await) })
                .await?
        }
        false => plan.latencies.clone(),
    };
    let mut schedule = Schedule {
        ctx,
        nodes: &nodes,
        run,
        id: plan.id,
        guard: Guard::new(before),
    };
    let of_all = (nodes.clone(), Settling::default());
    let shared = Arc::new((ctx.clone(), task.clone(), run.clone(), plan.clone(), of_all));
    let save = move |Turn { unit, warning }: Turn| {
        let shared = shared.clone();
        async move {
            let (ctx, task, run, plan, (nodes, settling)) = &*shared;
            let of = UnitRun {
                ctx,
                nodes,
                settling,
                run,
                id: plan.id,
                unit: &unit,
                shown: &unit,
                has_another_way: false,
                first,
            };
            let saved = save_unit(of, plan.aliases.of(&unit.collection), warning).await?;
            let part = Part::new(plan.id, &unit, saved.map_or(PartOutcome::Gone, PartOutcome::saved))
                .with_segments(settling.seen(&unit.collection));
            let recorded = jobs::create_part(&*ctx.store, &task.execution, part);
            match run.within_cleanup(recorded).await?.outcome {
                PartOutcome::Saved(saved) => Ok(Some(*saved)),
                PartOutcome::Gone => Ok(None),
                PartOutcome::Failed(failure) => Err(Error::new(Code::BackupFailed, failure.error.message)
                    .remedy("read the other process's log; it gave up this collection in the last attempt")),
            }
        }
    };
    let results = schedule.save_all(todo, save).await?;
    Ok((results, schedule.guard.told(schedule.id)))
}

/// What could not be saved. In the last attempt each gets a part, so that the backup of the others can be committed.
async fn give_up(ctx: &Context, task: &Task, id: BackupId, results: Results) -> Result<Vec<Failure>> {
    let stopped = results.stopped.into_iter().map(|unit| {
        let error = Error::new(Code::Cancelled, "the task was cancelled in its last attempt")
            .remedy("raise the task's timeout or the number of tasks, if a task takes too long");
        let failure = Failure::of(&unit.collection, &error);
        (unit, failure)
    });
    let failed: Vec<_> = results.failed.into_iter().chain(stopped).collect();
    if task.is_last_attempt() {
        for (unit, failure) in &failed {
            jobs::create_part(
                &*ctx.store,
                &task.execution,
                Part::new(id, unit, PartOutcome::Failed(failure.clone())),
            )
            .await?;
        }
    }
    Ok(failed.into_iter().map(|(_, failure)| failure).collect())
}

/// What the parts of the share say, and what failed without leaving one.
fn report(task: &Task, plan: &JobPlan, parts: Vec<Part>, failed: Vec<Failure>, standing: ExecutionState) -> TaskReport {
    let is_open = |failure: &Failure| !parts.iter().any(|part| part.unit.collection == failure.collection);
    let mut failed: Vec<_> = failed.into_iter().filter(is_open).collect();
    let mut saved = Vec::new();
    for part in parts {
        match part.outcome {
            PartOutcome::Saved(collection) => saved.push(Saved::of(&collection)),
            PartOutcome::Failed(failure) => failed.push(failure),
            PartOutcome::Gone => {}
        }
    }
    failed.sort_by(|a, b| a.collection.cmp(&b.collection));
    let (open, backup, committed, ended_now) = match standing {
        ExecutionState::Open(open) => (open, None, false, false),
        ExecutionState::Ended {
            report,
            by_this_task,
            now,
        } => (0, Some(*report), by_this_task, now),
    };
    TaskReport {
        id: plan.id,
        execution: task.execution.clone(),
        task: task.index,
        tasks: task.count,
        attempt: task.attempt,
        last_attempt: task.is_last_attempt(),
        saved,
        failed,
        open,
        backup,
        committed,
        held_back: None,
        ended_now,
    }
}

impl PartOutcome {
    fn phase(&self) -> Phase {
        match self {
            Self::Saved(_) => Phase::Saved,
            Self::Failed(_) => Phase::Failed,
            Self::Gone => Phase::Gone,
        }
    }
}
