//! Doing what a plan says: prove the objects, move the bytes, compare, and only then touch aliases.

use super::command::command;
use super::converge::{Found, converge, state};
use super::each::restore_each;
use super::failed::{failure, next_for_all};
use super::plan::{RestorePlan, make};
use super::report::{NextAttempt, RestoreOutcome, RestoreReport, Restored};
use super::step::{Existing, From};
use super::target::{TargetState, target_state};
use super::{RestoreRequest, RestoreStep, Timeouts, Via, shards, swap, uploaded};
use crate::base::error::{Code, Error, Result};
use crate::base::hash::parse_sha256;
use crate::base::snapshot::split::{self, Part};
use crate::base::total::total;
use crate::ops::context::Context;
use crate::ops::progress::Phase;
use crate::ops::run::{CLEAN_UP, Run, stopped};
use crate::repository::blobs::{self, BlobSource, ShardSource};
use crate::repository::names::ArtifactKind;
use crate::repository::sharding::Creation;
use crate::wire::qdrant::{Qdrant, SnapshotOf};
use crate::wire::store::Source;
use crate::wire::transfer::{self, Expected};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::time::Instant;

/// How long a signed URL is good for: it is checked when Qdrant begins to read.
const SIGNED_FOR: Duration = Duration::from_secs(3600);

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
    let plan = run.unless_cancelled(make(ctx, request, None)).await;
    let plan = plan.map_err(|e| unchanged(e, request))?;
    if let Some(error) = plan.error() {
        return Err(error);
    }
    // From here on it is about this backup, whatever `latest` is when it is tried again.
    let request = &RestoreRequest {
        id: plan.id.to_string(),
        ..request.clone()
    };
    progress.planned_bytes(
        plan.id,
        plan.collections.iter().map(|step| (step.unit(), Some(step.bytes))),
    );
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
        failed: Vec::new(),
        next: Vec::new(),
        aliases: Vec::new(),
        replaced: Vec::new(),
        warnings: plan.warnings.clone(),
    };
    (report.collections, report.failed) = restore_each(ctx, request, &plan, &run).await;
    aliases(ctx, request, &plan, &mut report, &run).await;
    report.status = match (report.collections.is_empty(), report.failed.is_empty()) {
        (_, true) => RestoreOutcome::Complete,
        (false, false) => RestoreOutcome::Partial,
        (true, false) => RestoreOutcome::Failed,
    };
    report.next = next_for_all(request, &plan, &report.failed);
    report.finished_at = ctx.clock.now();
    Ok(report)
}

async fn prove_all(ctx: &Context, plan: &RestorePlan) -> Result<()> {
    let mut proofs = Vec::new();
    for from in plan.collections.iter().flat_map(|step| &step.from) {
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
    let done: BTreeSet<_> = report.collections.iter().map(|r| r.target.clone()).collect();
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
                let now = state(&ctx.qdrant, &step.target).await.to_string();
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
    /// What may be left of an upload, and how it is removed.
    pub(crate) left: Option<String>,
}

/// How far a restore came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
            error,
            reached,
            left: None,
        }
    }

    fn untouched(error: Error) -> Self {
        Self::at(Reached::Nothing, error)
    }

    fn begun(error: Error) -> Self {
        Self::at(Reached::Asked, error)
    }
}

/// Restores one collection and compares it.
pub(crate) async fn restore_one(
    ctx: &Context,
    plan: &RestorePlan,
    step: &RestoreStep,
    patience: &Timeouts,
    run: &Run,
) -> Result<Restored, Unrestored> {
    let unchanged = run.unless_cancelled(still_as_planned(ctx, step)).await;
    unchanged.map_err(Unrestored::untouched)?;
    let mut notes = step.warnings.clone();
    let began = Instant::now();
    let via = transfer_all(ctx, plan, step, run, &mut notes).await?;
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
    notes.extend(uploaded::others(ctx, &step.target).await);
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

/// Gets the bytes to Qdrant, and Qdrant to restore them: of the whole collection, or of one shard after the other.
async fn transfer_all(
    ctx: &Context,
    plan: &RestorePlan,
    step: &RestoreStep,
    run: &Run,
    notes: &mut Vec<String>,
) -> Result<Via, Unrestored> {
    let mut way = Way {
        via: plan.via,
        uploaded: None,
        bytes: step.bytes,
    };
    let Some(creation) = &step.creation else {
        for from in &step.from {
            let transfer = Transfer::new((ctx, plan, step, run), &ctx.qdrant, from);
            transfer_one(transfer, &mut way, notes).await?;
        }
        return Ok(way.via);
    };
    let shards = run.unless_cancelled(divided(ctx, step, creation)).await;
    let shards = shards.map_err(Unrestored::untouched)?;
    if step.overwrites.is_none() {
        let created = run.unless_cancelled(shards::create(&ctx.qdrant, step, creation)).await;
        created.map_err(Unrestored::begun)?;
    }
    let replicas = shards::replicas(&ctx.qdrant, &plan.nodes, &step.target);
    let replicas = run.unless_cancelled(replicas).await.map_err(Unrestored::begun)?;
    let on = |shard: &u32| replicas.get(shard).map(Vec::as_slice).unwrap_or_default();
    way.bytes = total(
        shards
            .iter()
            .flat_map(|(shard, of)| on(shard).iter().map(|_| of.bytes())),
    );
    for (shard, of_shard) in &shards {
        // One after the other: never two at once on one shard.
        for node in on(shard) {
            let transfer = Transfer {
                of: SnapshotOf {
                    collection: &step.target,
                    kind: ArtifactKind::Shard(*shard),
                },
                parts: of_shard.parts.as_deref(),
                ..Transfer::new((ctx, plan, step, run), node, of_shard.from)
            };
            transfer_one(transfer, &mut way, notes).await?;
        }
    }
    Ok(way.via)
}

/// What a shard is restored from.
struct ShardFrom<'a> {
    from: &'a From,
    /// Of the object of a whole collection: those of the shard.
    parts: Option<Vec<Part>>,
}

impl ShardFrom<'_> {
    fn bytes(&self) -> u64 {
        self.parts.as_deref().map_or(self.from.artifact.bytes, split::length)
    }
}

/// The shards, each from an object of its own, or from that of the whole collection.
async fn divided<'a>(
    ctx: &Context,
    step: &'a RestoreStep,
    creation: &Creation,
) -> Result<BTreeMap<u32, ShardFrom<'a>>> {
    let mut shards = BTreeMap::new();
    for from in &step.from {
        match from.artifact.kind {
            ArtifactKind::Shard(shard) => drop(shards.insert(shard, ShardFrom { from, parts: None })),
            ArtifactKind::Collection => {
                for (shard, parts) in blobs::divide(&ctx.store, &from.blob).await? {
                    let parts = Some(parts);
                    shards.insert(shard, ShardFrom { from, parts });
                }
            }
        }
    }
    match creation.ids().find(|id| !shards.contains_key(id)) {
        None => Ok(shards),
        Some(id) => Err(Error::new(
            Code::BackupDamaged,
            format!("the backup has nothing of shard {id} of collection {:?}", step.source),
        )
        .remedy("restore this collection from another backup: `qdrant-backup list` shows them")),
    }
}

/// How the bytes of a collection get to Qdrant.
struct Way {
    via: Via,
    /// Bytes uploaded so far.
    uploaded: Option<Arc<AtomicU64>>,
    /// Of how many.
    bytes: u64,
}

/// Gets one object to a node, and that to restore it.
async fn transfer_one(transfer: Transfer<'_>, way: &mut Way, notes: &mut Vec<String>) -> Result<(), Unrestored> {
    let Transfer {
        ctx, plan, step, run, ..
    } = transfer;
    // Qdrant fetches objects, not parts of them.
    if way.via == Via::Url && transfer.parts.is_none() {
        run.progress.phase(&step.unit(), Phase::Restore);
        let unrestored = match by_url(transfer).await {
            Ok(()) => return Ok(()),
            Err(e) => e,
        };
        let error = &unrestored.error;
        // A second way is tried only where the first one has ended and changed nothing: into a collection that still does not
        // exist, or that was made for it.
        let may_try = plan.may_upload && step.overwrites.is_none() && has_ended(error);
        if !may_try || !(step.creation.is_some() || is_absent(ctx, &step.target).await.unwrap_or(false)) {
            return Err(unrestored);
        }
        tracing::warn!(backup = %plan.id, collection = step.source, error = %error, "Qdrant failed to fetch collection {:?}; uploading it", step.source);
        notes.push(format!(
            "Qdrant failed to fetch it, so it was uploaded: {}",
            error.chain()
        ));
        way.via = Via::Upload;
    }
    let copying = || run.progress.copying(&step.unit(), Some(way.bytes));
    let done = way.uploaded.get_or_insert_with(copying).clone();
    by_upload(transfer, done, notes).await
}

/// One object on its way.
#[derive(Clone, Copy)]
struct Transfer<'a> {
    ctx: &'a Context,
    plan: &'a RestorePlan,
    step: &'a RestoreStep,
    run: &'a Run,
    /// The node that it goes to.
    node: &'a Qdrant,
    from: &'a From,
    /// The parts of it that are restored, if not all of it.
    parts: Option<&'a [Part]>,
    /// What it is restored into.
    of: SnapshotOf<'a>,
}

impl<'a> Transfer<'a> {
    fn new(
        (ctx, plan, step, run): (&'a Context, &'a RestorePlan, &'a RestoreStep, &'a Run),
        node: &'a Qdrant,
        from: &'a From,
    ) -> Self {
        Self {
            ctx,
            plan,
            step,
            run,
            node,
            from,
            parts: None,
            of: SnapshotOf {
                collection: &step.target,
                kind: from.artifact.kind,
            },
        }
    }
}

/// Whether a restore by URL that failed so is surely over: Qdrant refused, or no URL could be signed, so that it was not asked.
/// A Qdrant that has not answered may still be at work: it makes the collection only after it has fetched and unpacked the
/// snapshot, and would replace then what a second restore put there.
fn has_ended(error: &Error) -> bool {
    matches!(
        error.code(),
        Code::QdrantFailed
            | Code::DiskFull
            | Code::QdrantUnauthorized
            | Code::QdrantForbidden
            | Code::CollectionNotFound
            | Code::StoreUnreachable
            | Code::StoreUnauthorized
            | Code::StoreForbidden
            | Code::StoreMissing
            | Code::StoreFailed
    )
}

async fn by_url(transfer: Transfer<'_>) -> Result<(), Unrestored> {
    let Transfer {
        ctx,
        node,
        from,
        of,
        run,
        ..
    } = transfer;
    let Some(signing) = ctx.store.signing() else {
        let error = Error::new(Code::Internal, "internal error: a URL for a store that cannot sign");
        return Err(Unrestored::untouched(error));
    };
    let signed = blobs::signed_url(signing, &from.blob, SIGNED_FOR);
    let url = run.unless_cancelled(signed).await.map_err(Unrestored::untouched)?;
    let recovered = node.recover(of, &url, &from.artifact.sha256);
    run.unless_cancelled(recovered).await.map_err(Unrestored::begun)
}

async fn by_upload(transfer: Transfer<'_>, done: Arc<AtomicU64>, notes: &mut Vec<String>) -> Result<(), Unrestored> {
    let Transfer {
        ctx,
        step,
        run,
        node,
        from,
        parts,
        of,
        ..
    } = transfer;
    if run.cancel.is_cancelled() {
        return Err(Unrestored::untouched(stopped()));
    }
    let file = uploaded::new_name();
    let (source, expected, sha256): (Box<dyn Source>, _, _) = match parts {
        None => (
            Box::new(BlobSource::new(ctx.store.clone(), &from.blob)),
            Expected {
                bytes: from.artifact.bytes,
                sha256: parse_sha256(&from.artifact.sha256),
                crc32c: u32::from_str_radix(&from.artifact.crc32c, 16).ok(),
            },
            Some(from.artifact.sha256.as_str()),
        ),
        // The whole object was proven before; of its parts there is no checksum.
        Some(parts) => (
            Box::new(ShardSource::new(ctx.store.clone(), &from.blob, parts.to_vec())),
            Expected {
                bytes: split::length(parts),
                sha256: None,
                crc32c: None,
            },
            None,
        ),
    };
    let settings = &ctx.settings;
    let (body, watch) = transfer::outgoing(
        source,
        expected,
        (&ctx.store.url(), &from.artifact.key, &node.url()),
        &settings.limits,
        settings.rate.as_deref(),
        done,
    );
    let sent = run
        .unless_cancelled(async {
            tokio::select! {
                sent = node.upload(of, &file, body, sha256) => sent,
                stalled = watch.stalled() => Err(stalled),
            }
        })
        .await;
    let limit = if run.cancel.is_cancelled() {
        CLEAN_UP
    } else {
        Duration::from_secs(300)
    };
    let left = match of.kind {
        ArtifactKind::Collection => uploaded::remove(ctx, &step.target, &file, &sent, limit).await,
        // Of a shard Qdrant keeps no file.
        ArtifactKind::Shard(_) => None,
    };
    match sent {
        Ok(()) => {
            notes.extend(left);
            Ok(())
        }
        Err(error) => Err(Unrestored {
            left,
            ..Unrestored::begun(error)
        }),
    }
}

async fn is_absent(ctx: &Context, name: &str) -> Result<bool> {
    Ok(matches!(target_state(&ctx.qdrant, name).await?, TargetState::Absent))
}
