//! The end of an execution: all parts are there, and one manifest is made of them.

use super::Task;
use crate::base::error::{Code, Error, Result};
use crate::base::heavy;
use crate::ops::backup::report::remade;
use crate::ops::backup::{
    BackupOutcome, BackupReport, Results, RunFacts, commit, fail_what_came_back, refresh_aliases,
};
use crate::ops::context::Context;
use crate::ops::run::Run;
use crate::repository::blobs;
use crate::repository::jobs::{self, JobPlan, Part, PartOutcome};
use crate::repository::manifest::{self, EncodedManifest, Failure};
use crate::repository::unit::Unit;
use crate::wire::store::ObjectMeta;
use futures_util::TryStreamExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The manifest's field that tells which execution wrote it.
const FIELD: &str = "job";

/// How far an execution is.
pub(super) enum ExecutionState {
    /// So many collections are neither saved nor given up.
    Open(usize),
    /// All is done that will be.
    Ended {
        report: Box<BackupReport>,
        by_this_task: bool,
        /// By this very attempt.
        now: bool,
    },
}

/// The end of an execution whose manifest is written; `None` while there is none.
pub(super) async fn committed(ctx: &Context, task: &Task, plan: &JobPlan) -> Result<Option<ExecutionState>> {
    let manifest = match manifest::read(&*ctx.store, &plan.id).await {
        Ok(manifest) => manifest,
        Err(e) if e.code() == Code::BackupNotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let job = manifest.extra.get(FIELD);
    if job.is_none_or(|job| job["execution"] != task.execution.as_str()) {
        return Err(Error::new(
            Code::StoreConflict,
            format!(
                "backup {} was committed by a run other than execution {}",
                plan.id, task.execution
            ),
        )
        .remedy("start another execution"));
    }
    let by_this_task = job.is_some_and(|job| job["committed_by_task"] == task.index);
    Ok(Some(ExecutionState::Ended {
        report: Box::new(BackupReport::of(&manifest, &ctx.store.url())),
        by_this_task,
        now: false,
    }))
}

/// Commits the backup if all parts are there. Call it with the lease held.
pub(super) async fn finish(ctx: &Context, task: &Task, plan: &JobPlan, run: &Run) -> Result<ExecutionState> {
    let open = jobs::open(&*ctx.store, &task.execution, plan).await?.len();
    if open > 0 {
        return Ok(ExecutionState::Open(open));
    }
    if let Some(ended) = committed(ctx, task, plan).await? {
        return Ok(ended);
    }
    let mut results = results(jobs::parts(&*ctx.store, &task.execution, plan, plan.units.iter()).await?);
    check(ctx, plan, &results).await?;
    fail_what_came_back(ctx, &mut results).await;
    let aliases = refresh_aliases(ctx, &mut results).await;
    let known = RunFacts {
        id: plan.id,
        started_at: plan.started_at,
        finished_at: ctx.clock.now(),
        qdrant: plan.qdrant.clone(),
        selection: plan.selection.clone(),
        warnings: plan.warnings.iter().cloned().chain(aliases).collect(),
        extra: BTreeMap::from([(FIELD.to_owned(), origin(task))]),
    };
    let (mut report, manifest) = heavy::run(usize::MAX, move || known.conclude(results)).await??;
    if let Some(manifest) = manifest {
        match write(ctx, manifest, run).await {
            Ok(()) => {}
            // Another task found the set complete at the same moment, and may have given the lease back since.
            Err(e) if matches!(e.code(), Code::StoreConflict | Code::LeaseLost) => {
                return committed(ctx, task, plan).await?.ok_or(e);
            }
            Err(e) => return Err(e),
        }
        report.manifest = Some(format!("{}/{}", ctx.store.url(), plan.id.manifest()));
    }
    Ok(ExecutionState::Ended {
        by_this_task: report.status != BackupOutcome::Failed,
        report: Box::new(report),
        now: true,
    })
}

async fn write(ctx: &Context, manifest: EncodedManifest, run: &Run) -> Result<()> {
    run.confirm().await?;
    commit(ctx, manifest).await
}

fn origin(task: &Task) -> Value {
    json!({"execution": task.execution, "tasks": task.count, "committed_by_task": task.index})
}

fn results(parts: Vec<Part>) -> Results {
    let mut results = Results::default();
    for collection in jobs::remade(&parts) {
        let failure = Failure::of(&collection, &remade(&collection));
        results.failed.push((Unit::whole(&collection), failure));
    }
    for part in parts {
        match part.outcome {
            PartOutcome::Saved(collection) => results.collections.push(*collection),
            PartOutcome::Failed(failure) => results.failed.push((part.unit, failure)),
            PartOutcome::Gone => results.gone.push(part.unit.collection),
        }
    }
    results
}

/// Whether every object that the parts name is still the one that was stored: some may be days old.
async fn check(ctx: &Context, plan: &JobPlan, results: &Results) -> Result<()> {
    let there: Vec<ObjectMeta> = ctx.store.list(&plan.id.prefix()).await?.try_collect().await?;
    let there: BTreeMap<&str, &ObjectMeta> = there.iter().map(|object| (object.key.as_str(), object)).collect();
    let artifacts = results
        .collections
        .iter()
        .flat_map(|c| c.artifacts.iter().map(|a| (&c.name, a)));
    for (collection, artifact) in artifacts {
        if let Some(how) = blobs::misplaced(artifact, &plan.id, collection) {
            return Err(
                Error::new(Code::BackupDamaged, format!("a part of backup {}: {how}", plan.id)).remedy(
                    "find out what changes objects in the store, then start another execution; nothing was committed",
                ),
            );
        }
        let found = there.get(artifact.key.as_str());
        if found.is_none_or(|o| o.size != artifact.bytes || o.version.0 != artifact.version) {
            return Err(Error::new(
                Code::BackupDamaged,
                format!(
                    "{}/{} was deleted or replaced since it was stored",
                    ctx.store.url(),
                    artifact.key
                ),
            )
            .remedy(
                "find out what changes objects in the store, then start another execution; nothing was committed",
            ));
        }
    }
    Ok(())
}
