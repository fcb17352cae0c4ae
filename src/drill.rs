//! The drill: a proof that a backup can be restored, without touching what is live.
//!
//! Every collection is restored under a throw-away name of a reserved prefix, compared with the manifest as any restore is,
//! and deleted again. Only names that this very run made up, and found free before, are ever deleted.

use crate::backup::Context;
use crate::error::{Code, Error, Result};
use crate::events;
use crate::lock;
use crate::names::BackupId;
use crate::progress::{Phase, Progress};
use crate::restore::{self, Patience, Plan, Request, Step};
use crate::store::{BytesSource, Condition, Store};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// What the names of all throw-away collections begin with. Nobody else may use it.
pub const PREFIX: &str = "qdrant-backup-drill-";
/// The record's format.
const FORMAT: u32 = 1;
/// Deleting after a run that was told to stop must fit into the ten seconds that Cloud Run grants.
const CLEAN_UP: Duration = Duration::from_secs(5);
const DELETE: Duration = Duration::from_secs(300);

/// What a drill found: `drilled.json` beside the manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Drilled {
    /// Version of this format.
    pub format: u32,
    /// The backup.
    pub id: BackupId,
    /// When the drill ended.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Who ran it.
    pub by: String,
    /// Version of the tool.
    pub tool_version: String,
    /// The Qdrant that it was restored into, and its release.
    pub target: String,
    /// Release of that Qdrant.
    pub target_version: String,
    /// What came of it all.
    pub verdict: Verdict,
    /// What came of each collection.
    pub collections: Vec<CollectionDrill>,
    /// What the reader should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Whether a restore was equal to the backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was.
    Passed,
    /// It was not, or could not be made.
    Failed,
}

/// What came of one collection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CollectionDrill {
    /// Its name in the backup.
    pub name: String,
    /// What came of it.
    pub verdict: Verdict,
    /// Exact count of the restored collection.
    pub points: Option<u64>,
    /// Points that were read with their vectors.
    pub sampled: Option<usize>,
    /// Bytes moved.
    pub bytes: u64,
    /// Seconds for moving and restoring them.
    pub seconds: Option<f64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Drilled {
    /// The error that the drill amounts to, if it did not pass.
    pub fn error(&self) -> Option<Error> {
        let problems: Vec<_> = self
            .collections
            .iter()
            .filter_map(|c| c.problem.as_ref().map(|p| format!("{:?}: {p}", c.name)))
            .collect();
        (self.verdict == Verdict::Failed).then(|| {
            Error::new(
                Code::RestoreFailed,
                format!("the drill of backup {} failed: {}", self.id, problems.join(" | ")),
            )
            .permanent(true)
            .remedy("do not rely on this backup: make another one, and drill that")
        })
    }
}

/// Restores backup `id` (or `latest`) into throw-away collections of the Qdrant of `ctx`, compares and deletes them, and
/// records the result beside the manifest. `Err`: no verdict, because the drill itself could not be held. A backup that does
/// not pass is an `Ok` here and an error by [`Drilled::error`].
pub async fn run(
    ctx: &Context,
    id: &str,
    patience: &Patience,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Drilled> {
    let began = ctx.clock.now();
    let result = with_lease(ctx, id, patience, progress, cancel).await;
    events::drill(progress.now().id, ctx.clock.now() - began, &result);
    result
}

async fn with_lease(
    ctx: &Context,
    id: &str,
    patience: &Patience,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Drilled> {
    let lease = lock::acquire(ctx.store.clone(), &ctx.clock, &ctx.who, ctx.settings.lease).await?;
    let token = lease.token(cancel);
    let result = under_lease(ctx, id, patience, progress, &token, &lease).await;
    let result = match lease.confirm_not_lost() {
        Err(lost) if result.is_err() => Err(lost),
        _ => result,
    };
    if let Err(error) = lease.release().await {
        tracing::warn!(error = %error, "the lease could not be given back; it runs out by itself");
    }
    result
}

async fn under_lease(
    ctx: &Context,
    id: &str,
    patience: &Patience,
    progress: &Progress,
    cancel: &CancellationToken,
    lease: &lock::Lease,
) -> Result<Drilled> {
    let request = Request {
        id: id.to_owned(),
        patience: patience.clone(),
        ..Request::default()
    };
    let stem = format!("{PREFIX}{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
    let (plan, mut warnings) = restore::unless_cancelled(cancel, async {
        let left = left_behind(ctx).await?;
        Ok((restore::plan_drill(ctx, &request, &stem).await?, left))
    })
    .await?;
    // What forbids a restore as such says nothing of the backup.
    if plan
        .refusals
        .iter()
        .any(|r| r.collection.is_none() || r.code != Code::BackupDamaged)
        && let Some(error) = plan.error()
    {
        return Err(error);
    }
    warnings.extend(plan.warnings.iter().cloned());
    progress.planned(plan.id, plan.collections.iter().map(|s| s.source.as_str()));
    tracing::info!(id = %plan.id, target = plan.target, "drill begins");

    let mut collections = Vec::new();
    for step in &plan.collections {
        let drilled = one(ctx, &plan, step, patience, progress, cancel, &mut warnings).await?;
        progress.phase(
            &step.source,
            if drilled.verdict == Verdict::Passed {
                Phase::Restored
            } else {
                Phase::Failed
            },
        );
        collections.push(drilled);
    }
    let passed = collections.iter().all(|c| c.verdict == Verdict::Passed);
    let drilled = Drilled {
        format: FORMAT,
        id: plan.id,
        at: ctx.clock.now(),
        by: ctx.who.clone(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        target: plan.target,
        target_version: plan.target_version,
        verdict: if passed { Verdict::Passed } else { Verdict::Failed },
        collections,
        warnings,
    };
    restore::unless_cancelled(cancel, lease.confirm()).await?;
    record(&*ctx.store, &drilled).await?;
    Ok(drilled)
}

/// Drills one collection. `Err`: the drill was told to stop.
async fn one(
    ctx: &Context,
    plan: &Plan,
    step: &Step,
    patience: &Patience,
    progress: &Progress,
    cancel: &CancellationToken,
    warnings: &mut Vec<String>,
) -> Result<CollectionDrill> {
    let mut drilled = CollectionDrill {
        name: step.source.clone(),
        verdict: Verdict::Failed,
        points: None,
        sampled: None,
        bytes: step.bytes,
        seconds: None,
        problem: plan
            .refusals
            .iter()
            .find(|r| r.collection.as_ref() == Some(&step.source))
            .map(|r| r.message.clone()),
    };
    if drilled.problem.is_some() {
        return Ok(drilled);
    }
    let result = restore::restore_one(ctx, plan, step, patience, progress, cancel).await;
    // Whatever came of it: a failed restore may have made the collection all the same.
    let limit = if cancel.is_cancelled() { CLEAN_UP } else { DELETE };
    let left = match timeout(limit, ctx.qdrant.delete_collection(&step.target)).await {
        Ok(Ok(_)) => None,
        Ok(Err(e)) => Some(e.chain()),
        Err(_) => Some("Qdrant did not answer in time".to_owned()),
    };
    if let Some(why) = left {
        tracing::warn!(
            collection = step.target,
            why,
            "a throw-away collection of this drill could not be deleted"
        );
        warnings.push(format!(
            "the throw-away collection {:?} could not be deleted, delete it by hand: {why}",
            step.target
        ));
    }
    match result {
        Ok(restored) => {
            drilled.verdict = Verdict::Passed;
            drilled.points = Some(restored.points);
            drilled.sampled = Some(restored.sampled);
            drilled.seconds = Some(restored.seconds);
            warnings.extend(restored.notes.iter().map(|note| format!("{:?}: {note}", step.source)));
        }
        Err(e) if matches!(e.code(), Code::Cancelled | Code::LeaseLost) => return Err(e),
        Err(e) => {
            tracing::error!(collection = step.source, code = %e.code(), error = %e, "the drill of a collection failed");
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
        .map(|name| format!("collection {name:?} was left by a drill that was killed, unless another one runs now: delete it by hand"))
        .collect())
}

/// What the last drill of a backup found; `None` without one, or when what is there cannot be read.
pub async fn read(store: &dyn Store, id: &BackupId) -> Result<Option<Drilled>> {
    const LARGEST: u64 = 16 << 20;
    let bytes = crate::manifest::read_small(store, &id.drilled(), LARGEST).await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

async fn record(store: &dyn Store, drilled: &Drilled) -> Result<()> {
    let key = drilled.id.drilled();
    let mut json = serde_json::to_vec_pretty(drilled)
        .map_err(|e| Error::new(Code::Internal, "writing the result of a drill as JSON").because(e))?;
    json.push(b'\n');
    let condition = match store.head(&key).await? {
        Some(meta) => Condition::Unchanged(meta.version),
        None => Condition::Absent,
    };
    store
        .put(&key, Box::new(BytesSource::new(json)), condition)
        .await
        .map(|_| ())
}
