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
mod record;

use super::artifact::{CLEAN_UP, unless_cancelled};
use super::collection::save_collection;
use super::{Context, Report, Results, Saved, save_all, sweep};
use crate::base::error::{Code, Error, Result};
use crate::ops::events;
use crate::ops::plan::CollectionPlan;
use crate::ops::progress::{Phase, Progress};
use crate::repository::intents::{self, Intent};
use crate::repository::lease::{self, Lease};
use crate::repository::manifest::Failure;
use crate::repository::names::{BackupId, Execution};
use crate::repository::selection::Selection;
use finish::{Standing, finish};
use record::{Fate, Part, Plan};
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Which task of which execution this process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The execution.
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
    /// The execution.
    pub execution: Execution,
    /// The task's number, from 0.
    pub task: u32,
    /// How many tasks there are.
    pub tasks: u32,
    /// How often the task was tried before.
    pub attempt: u32,
    /// Whether a failure of this attempt is final.
    pub last_attempt: bool,
    /// What of its share is saved, by this attempt or an earlier one.
    pub saved: Vec<Saved>,
    /// What of its share is not.
    pub failed: Vec<Failure>,
    /// How many collections of all tasks are neither saved nor given up yet; 0 when the backup has ended.
    pub open: usize,
    /// The whole backup, once it has ended.
    pub backup: Option<Report>,
    /// Whether it was this task that wrote the manifest.
    pub committed: bool,
}

impl TaskReport {
    /// The error that the task amounts to: that of the whole backup once it has ended, else that of its share.
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
            "task {} of {} of backup {}: {} of {} collections could not be saved in attempt {}: {}",
            self.task,
            self.tasks,
            self.id,
            self.failed.len(),
            self.saved.len() + self.failed.len(),
            self.attempt,
            names.join(", ")
        );
        Some(Error::new(code, text).remedy(match self.last_attempt {
            true => "that was the last attempt: the backup will be partial without them; mend the causes",
            false => "they are tried again when the task is; the others are saved",
        }))
    }
}

/// Does the share of `task`, and commits the backup if nothing is left to be done by others. `Err` and `Ok` as for
/// [`super::run`]. The lease stays with the execution until the backup has ended, or runs out.
pub async fn run(
    ctx: &Context,
    selection: &Selection,
    task: &Task,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<TaskReport> {
    let began = ctx.clock.now();
    let result = work(ctx, selection, task, progress, cancel).await;
    if let Err(error) = &result
        && task.is_last_attempt()
    {
        events::backup_failed(progress.now().id, ctx.clock.now() - began, error.code());
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
        match record::plan(ctx, task, selection).await? {
            Some(plan) => Ok(finish::committed(ctx, task, &plan).await?.map(|end| (plan, end))),
            None => Ok(None),
        }
    });
    let group = task.execution.as_str();
    if let Some((plan, standing)) = ended.await? {
        tracing::info!(backup = %plan.id, task = task.index, "the backup of this execution has ended already");
        unless_cancelled(cancel, clear(ctx, group, plan.id)).await?;
        let parts = unless_cancelled(cancel, record::share(ctx, task, &plan)).await?;
        return Ok(report(task, &plan, parts, Vec::new(), standing));
    }

    let joined = lease::join(ctx.store.clone(), &ctx.clock, group, ctx.settings.lease);
    let lease = unless_cancelled(cancel, joined).await?;
    let token = lease.token(cancel);
    let result = match under_lease(ctx, selection, task, progress, &token, &lease).await {
        Err(e) if e.code() == Code::Cancelled => lease.confirm_not_lost().and(Err(e)),
        other => other,
    };
    // Otherwise other tasks still work under it, or this one when it is tried again.
    if let Ok(report) = &result
        && report.backup.is_some()
    {
        end(ctx, lease, report.id).await;
    }
    result
}

/// Cleans up after a task that was killed between the commit and the end of its lease.
async fn clear(ctx: &Context, group: &str, id: BackupId) -> Result<()> {
    let holder = lease::holder(&*ctx.store, &ctx.clock).await?;
    if holder.is_some_and(|record| record.is_of(group)) {
        let lease = lease::join(ctx.store.clone(), &ctx.clock, group, ctx.settings.lease).await?;
        end(ctx, lease, id).await;
    }
    Ok(())
}

/// Nobody works for the execution any more.
async fn end(ctx: &Context, lease: Lease, id: BackupId) {
    if lease.confirm_not_lost().is_ok() {
        sweep(ctx, |intent| intent.run == id).await;
    }
    if let Err(error) = lease.release().await {
        tracing::warn!(error = %error, "the lease could not be given back; it runs out by itself");
    }
}

async fn under_lease(
    ctx: &Context,
    selection: &Selection,
    task: &Task,
    progress: &Progress,
    cancel: &CancellationToken,
    lease: &Lease,
) -> Result<TaskReport> {
    let (plan, parts) = unless_cancelled(cancel, async {
        let plan = record::agree(ctx, selection, task).await?;
        let parts = record::share(ctx, task, &plan).await?;
        Ok((plan, parts))
    })
    .await?;
    let share: Vec<_> = plan.share(task).collect();
    progress.planned(plan.id, share.iter().map(|c| c.name.as_str()));
    for part in &parts {
        progress.phase(&part.collection, part.fate.phase());
    }
    let id = plan.id;
    tracing::info!(
        backup = %id, task = task.index, tasks = task.count, attempt = task.attempt,
        collections = share.len(), done = parts.len(), "task begins"
    );

    // Whoever did this task before is dead. The other tasks are not: theirs is left alone.
    let names: BTreeSet<String> = share.iter().map(|c| c.name.clone()).collect();
    let of_this_task = move |intent: &Intent| intent.run == id && names.contains(&intent.collection);
    let recovery = intents::recover(&*ctx.store, &ctx.qdrant, ctx.clock.now(), &of_this_task);
    for warning in unless_cancelled(cancel, recovery).await? {
        tracing::warn!(backup = %id, "{warning}");
    }
    let is_done = |c: &CollectionPlan| parts.iter().any(|part| part.collection == c.name);
    let todo = share.iter().filter(|c| !is_done(c)).map(|c| (*c).clone()).collect();
    let result = save_share(ctx, task, id, todo, progress, cancel).await;
    let swept = async {
        if lease.confirm_not_lost().is_ok() {
            sweep(ctx, &of_this_task).await;
        }
    };
    let results = match result {
        Ok(results) => results,
        Err(e) => {
            swept.await;
            return Err(e);
        }
    };
    // Told to stop, there is still time for some small objects; without the lease there is none.
    let stopped = !results.stopped.is_empty() || cancel.is_cancelled();
    if stopped && (!task.is_last_attempt() || lease.confirm_not_lost().is_err()) {
        swept.await;
        return unless_cancelled(cancel, std::future::pending()).await;
    }
    let end = async {
        let failed = give_up(ctx, task, id, results).await?;
        let standing = finish(ctx, task, &plan, lease).await?;
        Ok((failed, record::share(ctx, task, &plan).await?, standing))
    };
    let (failed, parts, standing) = soon(cancel, end).await?;
    if matches!(standing, Standing::Open(_)) {
        swept.await;
    }
    Ok(report(task, &plan, parts, failed, standing))
}

/// Saves what is to be done of the share, and records each part as soon as it is there.
async fn save_share(
    ctx: &Context,
    task: &Task,
    id: BackupId,
    todo: Vec<CollectionPlan>,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Results> {
    // No attempt of an earlier process had these numbers.
    let first = 1 + task.attempt * ctx.settings.attempts;
    let shared = Arc::new((ctx.clone(), task.clone(), progress.clone(), cancel.clone()));
    let save = move |collection: CollectionPlan| {
        let shared = shared.clone();
        async move {
            let (ctx, task, progress, cancel) = &*shared;
            let saved = save_collection(ctx, id, &collection, first, progress, cancel).await?;
            let part = Part::new(id, &collection.name, saved.map_or(Fate::Gone, Fate::saved));
            match soon(cancel, record::record(ctx, task, part)).await?.fate {
                Fate::Saved(saved) => Ok(Some(*saved)),
                Fate::Gone => Ok(None),
                Fate::Failed(failure) => Err(Error::new(Code::BackupFailed, failure.message)
                    .remedy("another process gave this collection up in the last attempt of this task")),
            }
        }
    };
    save_all(ctx, id, todo, progress, cancel, save).await
}

/// What could not be saved. In the last attempt each gets a part, so that the backup of the others can be committed.
async fn give_up(ctx: &Context, task: &Task, id: BackupId, results: Results) -> Result<Vec<Failure>> {
    let stopped = results.stopped.iter().map(|name| {
        let error = Error::new(Code::Cancelled, "the task was told to stop in its last attempt").remedy(
            "a task that takes too long needs more time or a smaller share: raise its timeout or the number of tasks",
        );
        Failure::of(name, &error)
    });
    let failed: Vec<_> = results.failed.into_iter().chain(stopped).collect();
    if task.is_last_attempt() {
        for failure in &failed {
            let part = Part::new(id, &failure.collection, Fate::Failed(failure.clone()));
            record::record(ctx, task, part).await?;
        }
    }
    Ok(failed)
}

/// What the parts of the share say, and what failed without leaving one.
fn report(task: &Task, plan: &Plan, parts: Vec<Part>, failed: Vec<Failure>, standing: Standing) -> TaskReport {
    let is_open = |failure: &Failure| !parts.iter().any(|part| part.collection == failure.collection);
    let mut failed: Vec<_> = failed.into_iter().filter(is_open).collect();
    let mut saved = Vec::new();
    for part in parts {
        match part.fate {
            Fate::Saved(collection) => saved.push(Saved::of(&collection)),
            Fate::Failed(failure) => failed.push(failure),
            Fate::Gone => {}
        }
    }
    failed.sort_by(|a, b| a.collection.cmp(&b.collection));
    let (open, backup, committed) = match standing {
        Standing::Open(open) => (open, None, false),
        Standing::Ended { report, by_this_task } => (0, Some(report), by_this_task),
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
    }
}

/// Does `work` to its end, unless the run is told to stop and it does not end soon.
async fn soon<T>(cancel: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        biased;
        result = work => result,
        () = async { cancel.cancelled().await; sleep(CLEAN_UP).await } => {
            unless_cancelled(cancel, std::future::pending()).await
        }
    }
}

impl Fate {
    fn phase(&self) -> Phase {
        match self {
            Self::Saved(_) => Phase::Saved,
            Self::Failed(_) => Phase::Failed,
            Self::Gone => Phase::Gone,
        }
    }
}
