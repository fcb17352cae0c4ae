//! The plan that all tasks of an execution share.

use super::Task;
use crate::base::error::{Code, Error, Result};
use crate::ops::backup::guard::latencies;
use crate::ops::backup::{free_id, planned};
use crate::ops::context::Context;
use crate::repository::intents;
use crate::repository::jobs::{self, FORMAT, JobPlan};
use crate::repository::selection::Selection;

/// The plan of the execution, if there is one yet.
pub(super) async fn plan(ctx: &Context, task: &Task, selection: &Selection) -> Result<Option<JobPlan>> {
    let Some(plan) = jobs::plan(&*ctx.store, &task.execution).await? else {
        return Ok(None);
    };
    let differs = |what: &str, theirs: String, ours: String| {
        Err(Error::new(
            Code::ConfigInvalid,
            format!(
                "execution {} started with {what} {theirs}, this task has {ours}",
                task.execution
            ),
        )
        .remedy("give all tasks of an execution the same configuration, and each execution its own name"))
    };
    if plan.format != FORMAT {
        return differs(
            "a version of the tool that writes format",
            plan.format.to_string(),
            FORMAT.to_string(),
        );
    }
    if plan.tasks != task.count {
        return differs("a number of tasks of", plan.tasks.to_string(), task.count.to_string());
    }
    if plan.url != ctx.qdrant.url() {
        return differs("the Qdrant", plan.url, ctx.qdrant.url());
    }
    if plan.selection != *selection {
        return differs("the selection", plan.selection.to_string(), selection.to_string());
    }
    Ok(Some(plan))
}

/// The plan of the execution, made now if this is the first task. Call it with the lease held.
pub(super) async fn plan_or_create(ctx: &Context, selection: &Selection, task: &Task) -> Result<JobPlan> {
    if let Some(plan) = plan(ctx, task, selection).await? {
        return Ok(plan);
    }
    let started_at = ctx.clock.now();
    let made = planned(ctx, selection).await?;
    let latencies = latencies(ctx, &made.nodes, &made.units).await;
    let ours = JobPlan {
        format: FORMAT,
        id: free_id(&*ctx.store, started_at, None).await?,
        started_at,
        tasks: task.count,
        selection: selection.clone(),
        url: ctx.qdrant.url(),
        qdrant: made.qdrant,
        units: made.units,
        aliases: made.aliases,
        warnings: made.warnings,
        latencies,
        collections: Vec::new(),
    };
    if !jobs::create_plan(&*ctx.store, &task.execution, &ours).await? {
        return plan(ctx, task, selection).await?.ok_or_else(|| {
            Error::new(
                Code::StoreConflict,
                format!("{}/{} appeared and disappeared", ctx.store.url(), task.execution.plan()),
            )
            .remedy("stop the other client that deletes objects in the store during a backup")
        });
    }
    tracing::info!(backup = %ours.id, execution = %task.execution, units = ours.units.len(), "backup {} started", ours.id);
    // With the lease held, runs other than this execution are dead. Its own tasks may have begun by now.
    let id = ours.id;
    for warning in intents::recover(&*ctx.store, &ctx.qdrant, started_at, None, move |i| i.run != id).await? {
        tracing::warn!(backup = %id, "{warning}");
    }
    Ok(ours)
}
