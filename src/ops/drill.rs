//! The drill: a proof that a backup can be restored, without touching what is live.
//!
//! Every collection is restored under a temporary name with a reserved prefix, compared with the manifest as any restore is,
//! and deleted again. Only names that this very run made up, and found free before, are ever deleted, and those of earlier drills
//! whose intents are in the store.

pub use crate::repository::verdicts::drilled::{DrillReport, DrillVerdict, read};

pub use crate::repository::verdicts::drilled::CollectionDrill;

pub(crate) use crate::repository::verdicts::drilled::write as record;

use crate::base::error::{Code, Error, ErrorInfo, Result};
use crate::base::total::total;
use crate::ops::context::Context;
use crate::ops::events::{Counts, Operation};
use crate::ops::progress::{Phase, Progress};
use crate::ops::restore::{self, RestoreStep, Restoring, Timeouts, Turns};
use crate::ops::run::{self, Conclusion, LeaseMode, Run};
use crate::repository::intents::temporary::{self, RecordedTemporary};
use crate::repository::lease;
use crate::repository::names::{DrillTag, TemporaryName};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub use crate::repository::names::PREFIX;

const DELETE: Duration = Duration::from_secs(300);
/// What a drill that was not cancelled waits for a collection that Qdrant may still make.
const APPEAR: Duration = Duration::from_secs(5);
/// Between two looks for it.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

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
            "run the drill again; the backup is unchanged. If a temporary collection is left, the next drill deletes it",
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
    let drill = DrillTag::of(uuid::Uuid::new_v4());
    // Only under the lease what others have recorded is nobody's, and what this one records is left to it.
    let is_alone = run.holder().await.is_some();
    let (plan, mut warnings) = run
        .unless_cancelled(async {
            let mut warnings = match is_alone {
                true => temporary::recover(&*ctx.store, &ctx.qdrant, ctx.clock.now()).await,
                false => Vec::new(),
            };
            let plan = restore::plan_drill(ctx, &request, drill).await?;
            warnings.extend(left_behind(ctx).await?);
            Ok((plan, warnings))
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
        let name = drill.collection(at);
        let drilled = one(of, at, step, (name, is_alone), &mut warnings).await?;
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
async fn one(
    of: Restoring<'_>,
    at: usize,
    step: &RestoreStep,
    (name, is_alone): (TemporaryName, bool),
    warnings: &mut Vec<String>,
) -> Result<CollectionDrill> {
    let Restoring { ctx, plan, .. } = of;
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
    let recorded = match is_alone {
        true => record_intent(of, name, warnings).await?,
        false => None,
    };
    let result = restore::restore_one(of, at, step).await;
    // Whatever came of it: a failed restore may have made the collection all the same, or make it yet.
    let may_appear = result.as_ref().is_err_and(|unrestored| unrestored.may_go_on);
    match (delete(of, name, may_appear).await, recorded) {
        (None, Some(recorded)) => temporary::clear(&*ctx.store, &recorded).await,
        (None, None) => {}
        (Some(why), recorded) => {
            tracing::warn!(backup = %plan.id, collection = step.target, why, "the temporary collection {:?} of this drill may be left", step.target);
            let by_whom = match recorded {
                Some(_) => "the next drill deletes it",
                None => "delete it by hand",
            };
            warnings.push(format!(
                "the temporary collection {:?} may be left; {by_whom}: {why}",
                step.target
            ));
        }
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

/// Records that the temporary collection is about to be made. `None`: the store takes no such records, which is no reason not to drill.
async fn record_intent(
    of: Restoring<'_>,
    name: TemporaryName,
    warnings: &mut Vec<String>,
) -> Result<Option<RecordedTemporary>> {
    let ctx = of.ctx;
    let recorded = temporary::record(&*ctx.store, &ctx.qdrant, name, ctx.clock.now());
    match of.run.unless_cancelled(recorded).await {
        Ok(recorded) => Ok(Some(recorded)),
        Err(error) if lease::is_refused(&error) => {
            warnings.push(format!(
                "the temporary collection \"{name}\" stays on Qdrant if this drill is killed: {}",
                error.chain()
            ));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Deletes the temporary collection. One that Qdrant may still make is waited for, and looked for again once it is deleted. The answer
/// is why it may be left.
async fn delete(of: Restoring<'_>, name: TemporaryName, may_appear: bool) -> Option<String> {
    let Restoring { ctx, run, .. } = of;
    let is_answered = AtomicBool::new(false);
    let looks = async {
        let (mut pause, mut was_there) = (FIRST_PAUSE, false);
        loop {
            let is_there = temporary::remove(&ctx.qdrant, &name).await?;
            is_answered.store(true, Relaxed);
            if !may_appear || (was_there && !is_there) {
                return Ok::<_, Error>(());
            }
            was_there |= is_there;
            sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    };
    let longest = if may_appear { APPEAR } else { DELETE };
    match run.clean_up(longest, looks).await {
        Some(Ok(())) => None,
        Some(Err(error)) => Some(error.chain()),
        None if may_appear && is_answered.load(Relaxed) => {
            Some("Qdrant goes on with what it was asked for, and may still make it".to_owned())
        }
        None => Some("Qdrant did not respond in time".to_owned()),
    }
}

/// Throw-away collections that are there before this drill and have no intent in this store: of another store's drill, or of one without
/// the lease. Never deleted here, since that cannot be told.
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
