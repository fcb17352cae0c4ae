//! `backup` as one task of a job: its share, and the whole backup if it is the one that ends it.

use super::backup::{held_back, rendered};
use super::failure::conclude;
use super::text::size;
use super::{BackupArgs, Bars, drill};
use crate::base::error::Result;
use crate::base::total::total;
use crate::ops::backup::job::{self, Task, TaskReport};
use crate::ops::context::Context;
use crate::ops::drill::DrillTarget;
use crate::ops::events::Operation;
use crate::ops::progress::Progress;
use crate::ops::prune::{self, PruneContext};
use crate::ops::retention::Policy;
use crate::repository::selection::Selection;
use tokio_util::sync::CancellationToken;

/// What is done after a backup, by the task that committed it.
pub(crate) struct FollowUp<'a> {
    /// The policy by which old ones go.
    pub(crate) prune: Option<Policy>,
    /// Where a complete one is drilled.
    pub(crate) drill: Option<&'a DrillTarget>,
}

/// As `backup`, for a share of the collections.
pub(crate) async fn backup_task(
    args: BackupArgs,
    ctx: &Context,
    default: Selection,
    task: &Task,
    afterwards: FollowUp<'_>,
    bars: &Bars,
    stop: &CancellationToken,
) -> Result<()> {
    let json = args.json;
    let selection = args.selection().unwrap_or(default);
    let progress = Progress::new(ctx.clock.now());
    let result = bars
        .during(
            Operation::Backup,
            &progress,
            job::run(ctx, &selection, task, &progress, stop),
        )
        .await;
    let mut report = result?;
    let committed = report.committed;
    if let Some(policy) = afterwards.prune
        && let Some(backup) = report.backup.as_mut().filter(|_| committed)
    {
        prune::after_backup(
            &PruneContext {
                ctx: ctx.on_store(),
                policy,
                only: None,
            },
            backup,
            stop,
        )
        .await;
    }
    let is_good = report.error().is_none();
    let printed = conclude(json, &report, report.error(), task_rendered);
    match afterwards.drill {
        Some(place) if is_good && committed => drill::after_backup(&report.id, place, bars, stop, json)
            .await
            .and(printed),
        _ => printed,
    }
}

/// The report for people.
fn task_rendered(report: &TaskReport) -> String {
    let bytes = total(report.saved.iter().map(|c| c.bytes));
    let mut text = format!(
        "Task {} of {} of execution {}, backup {}: {} collections saved, {}",
        report.task,
        report.tasks,
        report.execution,
        report.id,
        report.saved.len(),
        size(bytes)
    );
    if !report.failed.is_empty() {
        text += &format!(", {} FAILED", report.failed.len());
    }
    let held = held_back(report.held_back.as_ref());
    match &report.backup {
        None => text + &format!("; {} collections of all tasks are still open\n{held}", report.open),
        Some(backup) => text + "\n" + &held + &rendered(backup),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::backup::Saved;

    #[test]
    fn a_task_that_does_not_end_the_backup_tells_its_share() {
        let report = TaskReport {
            id: "2026-11-22T12-00-00Z".parse().unwrap(),
            execution: "nightly-x7k2p".parse().unwrap(),
            task: 3,
            tasks: 8,
            attempt: 0,
            last_attempt: false,
            saved: vec![Saved {
                name: "docs".into(),
                points: 1200,
                points_estimated: false,
                bytes: 3 << 20,
                streamed: 0,
            }],
            failed: Vec::new(),
            open: 5,
            backup: None,
            committed: false,
            held_back: None,
            ended_now: false,
        };
        assert_eq!(
            task_rendered(&report),
            "Task 3 of 8 of execution nightly-x7k2p, backup 2026-11-22T12-00-00Z: 1 collections saved, 3.00 MiB; 5 collections \
             of all tasks are still open\n"
        );
        assert!(report.error().is_none());
    }
}
