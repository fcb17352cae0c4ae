//! The drill: a proof that a backup can be restored, without touching what is live.
//!
//! Every collection is restored under a temporary name with a reserved prefix, compared with the manifest as any restore is,
//! and deleted again. Only names that this very run made up, and found free before, are ever deleted.

pub use crate::repository::verdicts::drilled::{DrillReport, DrillVerdict, read};

pub use crate::repository::verdicts::drilled::CollectionDrill;

pub(crate) use crate::repository::verdicts::drilled::write as record;

use crate::base::error::{Code, Error, ErrorInfo, Result};
use crate::base::total::total;
use crate::ops::context::Context;
use crate::ops::events::{Counts, Operation};
use crate::ops::progress::{Phase, Progress};
use crate::ops::restore::{self, RestoreStep, Restoring, Timeouts, Turns};
use crate::ops::run::{self, CLEAN_UP, Conclusion, LeaseMode, Run};
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The reserved prefix of the names of temporary collections.
pub const PREFIX: &str = "qdrant-backup-drill-";
const DELETE: Duration = Duration::from_secs(300);

/// The error when no Qdrant for drills is set and a drill on the backed-up Qdrant is not allowed.
pub(crate) fn needs_a_qdrant() -> Error {
    Error::new(
        Code::RestoreRefused,
        "a drill on the backed-up Qdrant takes disk space and time there",
    )
    .remedy("set DRILL_QDRANT_URL to a Qdrant for drills, or allow this one with --same-qdrant")
    .over_http("set DRILL_QDRANT_URL to a Qdrant for drills, or allow this one: send {\"same_qdrant\": true}")
}

/// Where a drill runs.
#[derive(Clone, Debug)]
pub struct DrillTarget {
    /// The clients, that of the Qdrant for it among them.
    pub ctx: Context,
    /// Whether that is the Qdrant of `DRILL_QDRANT_URL`, which has a key of its own.
    pub elsewhere: bool,
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct DrillRequest {
    /// The backup's id, or `latest`.
    pub id: String,
    /// Whether to go on without the lease, whoever has it.
    pub no_lock: bool,
    /// How long to wait for Qdrant after it reported a restore as done.
    pub patience: Timeouts,
}

/// Restores the backup of `request` into temporary collections of the Qdrant of `place`, compares and deletes them, and
/// records the result beside the manifest. `Err`: no verdict, because the drill itself could not be held. A backup that does
/// not pass is an `Ok` here and an error by [`DrillReport::error`]; so is a result that could not be recorded.
pub async fn run(
    place: &DrillTarget,
    request: &DrillRequest,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<DrillReport> {
    let ctx = &place.ctx;
    let wanted = LeaseMode::Preferred {
        no_lock: request.no_lock,
    };
    let store = ctx.on_store();
    // Before its end is told: who reads of it elsewhere is to have the remedy, too.
    let remedied = |e: Error| {
        match e.code() {
        // The key of the Qdrant that is backed up is never sent there.
        Code::QdrantUnauthorized if place.elsewhere => e.remedy(
            "set DRILL_QDRANT_API_KEY or DRILL_QDRANT_API_KEY_FILE to a key that the Qdrant of DRILL_QDRANT_URL accepts",
        ),
        Code::Cancelled => e.remedy(
            "run the drill again; the backup is unchanged. A temporary collection may be left: the next drill names it",
        ),
        _ => e,
    }
    };
    let drilling = |run| async { Box::pin(drill(ctx, request, run)).await.map_err(remedied) };
    let drilled = run::run(&store, Operation::Drill, wanted, progress, cancel, drilling);
    drilled.await
}

impl Conclusion for DrillReport {
    fn failure(&self) -> Option<ErrorInfo> {
        self.error().map(|error| (&error).into())
    }

    fn counts(&self) -> Counts {
        Counts {
            collections: Some(self.collections.len()),
            bytes: total(self.collections.iter().map(|c| c.bytes)),
            ..Counts::default()
        }
    }

    fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }
}

async fn drill(ctx: &Context, request: &DrillRequest, run: Run) -> Result<DrillReport> {
    let progress = &run.progress;
    let patience = &request.patience;
    let request = restore::RestoreRequest {
        id: request.id.clone(),
        patience: patience.clone(),
        ..restore::RestoreRequest::default()
    };
    // Whoever reads that it failed is to read of which backup; `latest` is known by the plan alone.
    if let Ok(id) = request.id.parse() {
        progress.about(id);
    }
    let stem = format!("{PREFIX}{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
    let (plan, mut warnings) = run
        .unless_cancelled(async {
            let plan = restore::plan_drill(ctx, &request, &stem).await?;
            Ok((plan, left_behind(ctx).await?))
        })
        .await?;
    // What forbids a restore as such says nothing of the backup; that a collection of it cannot come back does.
    if plan
        .refusals
        .iter()
        .any(|r| r.collection.is_none() || !matches!(r.error.code, Code::BackupDamaged | Code::Unsupported))
        && let Some(error) = plan.error()
    {
        return Err(error);
    }
    warnings.extend(plan.warnings.iter().cloned());
    progress.planned_bytes(
        plan.id,
        plan.collections.iter().map(|step| (step.unit(), Some(step.bytes))),
    );
    tracing::info!(backup = %plan.id, qdrant = plan.target, "drill of backup {} started", plan.id);

    let turns = Turns::new(ctx.settings.restore_concurrency);
    let of = Restoring {
        ctx,
        plan: &plan,
        patience,
        run: &run,
        turns: &turns,
    };
    let mut collections = Vec::new();
    for (at, step) in plan.collections.iter().enumerate() {
        let drilled = one(of, at, step, &mut warnings).await?;
        progress.phase(
            &step.unit(),
            if drilled.verdict == DrillVerdict::Passed {
                Phase::Restored
            } else {
                Phase::Failed
            },
        );
        collections.push(drilled);
    }
    let mut drilled = DrillReport::new(
        plan.id,
        (ctx.clock.now(), &ctx.who),
        (&plan.target, &plan.target_version),
        collections,
        warnings,
    );
    let recorded = match run.unless_cancelled(run.confirm()).await {
        Ok(()) => record(&*ctx.store, &drilled).await,
        Err(error) => Err(error),
    };
    drilled.recorded(recorded);
    Ok(drilled)
}

/// Drills one collection. `Err`: the drill was cancelled.
async fn one(of: Restoring<'_>, at: usize, step: &RestoreStep, warnings: &mut Vec<String>) -> Result<CollectionDrill> {
    let Restoring { ctx, plan, run, .. } = of;
    let mut drilled = CollectionDrill {
        name: step.source.clone(),
        verdict: DrillVerdict::Failed,
        points: None,
        sampled: None,
        searches: None,
        bytes: step.bytes,
        seconds: None,
        problem: plan
            .refusals
            .iter()
            .find(|r| r.collection.as_ref() == Some(&step.source))
            .map(|r| r.error.message.clone()),
    };
    if drilled.problem.is_some() {
        return Ok(drilled);
    }
    let result = restore::restore_one(of, at, step).await;
    // Whatever came of it: a failed restore may have made the collection all the same.
    let limit = if run.cancel.is_cancelled() { CLEAN_UP } else { DELETE };
    let left = match timeout(limit, ctx.qdrant.delete_collection(&step.target)).await {
        Ok(Ok(_)) => None,
        Ok(Err(e)) => Some(e.chain()),
        Err(_) => Some("Qdrant did not respond in time".to_owned()),
    };
    if let Some(why) = left {
        tracing::warn!(
            backup = %plan.id,
            collection = step.target,
            why,
            "failed to delete the temporary collection {:?} of this drill", step.target
        );
        warnings.push(format!(
            "the temporary collection {:?} was not deleted, delete it by hand: {why}",
            step.target
        ));
    }
    let result = result.map_err(|unrestored| {
        let left = unrestored.left.iter();
        warnings.extend(left.map(|left| format!("{:?}: {left}", step.source)));
        unrestored.error
    });
    match result {
        Ok(restored) => {
            drilled.verdict = DrillVerdict::Passed;
            drilled.points = Some(restored.points);
            drilled.sampled = Some(restored.sampled);
            drilled.seconds = Some(restored.seconds);
            warnings.extend(restored.notes.iter().map(|note| format!("{:?}: {note}", step.source)));
        }
        Err(e) if matches!(e.code(), Code::Cancelled | Code::LeaseLost) => return Err(e),
        // What the key or the account may not do says nothing of the backup.
        Err(e)
            if e.code().refuses_key()
                || matches!(
                    e.code(),
                    Code::StoreUnauthorized | Code::StoreForbidden | Code::StoreMissing
                ) =>
        {
            return Err(e);
        }
        Err(e) => {
            tracing::error!(backup = %plan.id, collection = step.source, code = %e.code(), error = %e, "drill of collection {:?} failed", step.source);
            drilled.problem = Some(e.chain());
        }
    }
    Ok(drilled)
}

/// Throw-away collections that are there before this drill: of one that was killed, or of another store's. Never deleted here,
/// since that cannot be told.
async fn left_behind(ctx: &Context) -> Result<Vec<String>> {
    let names = ctx.qdrant.collections().await?;
    let left = names.iter().filter(|name| name.starts_with(PREFIX));
    Ok(left
        .map(|name| {
            format!(
                "collection {name:?} remains from a killed drill, unless another drill is running: delete it \
                 by hand"
            )
        })
        .collect())
}
