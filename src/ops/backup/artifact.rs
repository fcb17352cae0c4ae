//! One artifact: asked for, relayed into the store, deleted on Qdrant.

use super::settling::{Hold, Settling};
use super::streamed::HeldStream;
use crate::base::error::{Code, Error, Result};
use crate::ops::context::Context;
use crate::ops::progress::Phase;
use crate::ops::run::{Run, stopped};
use crate::repository::blobs::{self, Written};
use crate::repository::intents::{self, Intent, Recorded};
use crate::repository::manifest::Artifact;
use crate::repository::names::BackupId;
use crate::repository::unit::{Mode, Unit};
use crate::wire::qdrant::{Count, Nodes, Optimizations, Qdrant, Snapshot, SnapshotName};
use crate::wire::transfer::Expected;
use std::collections::BTreeMap;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};

/// What to save, and for whom.
#[derive(Clone, Copy)]
pub(super) struct UnitRun<'a> {
    pub(super) ctx: &'a Context,
    pub(super) nodes: &'a Nodes,
    pub(super) settling: &'a Settling,
    pub(super) run: &'a Run,
    pub(super) id: BackupId,
    /// What is saved now.
    pub(super) unit: &'a Unit,
    /// What was planned, and is shown: it, or what it is a part of.
    pub(super) shown: &'a Unit,
    /// Whether there is a better way than to try a file again on a full disk, or to save a shard that never is at rest.
    pub(super) has_another_way: bool,
    /// Number of the first attempt; each one's objects have it in their names.
    pub(super) first: u32,
}

impl<'a> UnitRun<'a> {
    /// The node that has the unit.
    pub(super) fn qdrant(&self) -> &'a Qdrant {
        self.nodes.of(self.unit.node)
    }

    /// Whether it is not saved if it never is at rest: of what is saved by a file, that is no way out.
    fn may_be_left(&self) -> bool {
        self.has_another_way && self.unit.mode == Mode::Stream
    }
}

/// Between two looks whether an optimizer is at work.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// So often it is looked again whether a collection really is another one.
const OTHER_LOOKS: u32 = 2;
/// What a cancelled run waits for a snapshot that Qdrant is making: with its deletion, below five seconds.
const UNFINISHED: Duration = Duration::from_secs(4);
/// What a run that was not cancelled looks for a snapshot that a failed request may have left.
const SETTLE: Duration = Duration::from_secs(5);

/// A saved artifact, and the points of what it is of before its snapshot was asked for and after it was made.
pub(super) struct SavedArtifact {
    pub(super) artifact: Artifact,
    pub(super) before: Count,
    pub(super) after: Count,
}

/// Saves one artifact, with further attempts when a failure may pass. `None`: it is never at rest, and there
/// is another way.
pub(super) async fn save(of: UnitRun<'_>) -> Result<Option<SavedArtifact>> {
    let settings = &of.ctx.settings;
    let mut pause = settings.backoff;
    let last = of.first + settings.attempts.saturating_sub(1);
    for attempt in of.first.. {
        let error = match attempt_once(of, attempt).await {
            Ok(done) => return Ok(done),
            Err(e) => e,
        };
        // A snapshot that vanished is gone for good, but another one can be made. A name that is taken, as by a process that
        // does the same task again although this one still lives, is not that of the next attempt.
        let useless = match error.code() {
            Code::SnapshotChanged | Code::StoreConflict => false,
            Code::DiskFull if of.has_another_way => true,
            _ => error.is_permanent(),
        };
        if useless || attempt >= last || of.run.cancel.is_cancelled() {
            return Err(error);
        }
        tracing::warn!(backup = %of.id, collection = of.unit.collection, attempt, error = %error, "failed to save {}; trying again", of.unit.snapshot());
        of.run
            .unless_cancelled(async {
                sleep(pause).await;
                Ok(())
            })
            .await?;
        pause = pause.saturating_mul(2);
    }
    Err(Error::new(Code::Internal, "internal error: no attempt was made"))
}

async fn attempt_once(of: UnitRun<'_>, attempt: u32) -> Result<Option<SavedArtifact>> {
    let before = of.run.unless_cancelled(of.qdrant().count(of.unit.snapshot())).await?;
    let Some((begun, optimizing)) = settled(of, attempt).await? else {
        return Ok(None);
    };
    let (mut artifact, after) = match begun {
        Begun::File(made) => {
            let relayed = relay(of, attempt, &made.snapshot, made.requested_at);
            let result = of.run.unless_cancelled(relayed).await;
            delete(of, made).await;
            result?
        }
        Begun::Stream(stream, hold) => {
            let relayed = stream.relay(of, attempt, before);
            let relayed = of.run.unless_cancelled(relayed).await?;
            drop(hold);
            // Under the hold it could not be told whether it is still the same one.
            look_at(of).await?;
            relayed
        }
    };
    if of.unit.shard.is_some() {
        (artifact.points_before, artifact.points_after) = (Some(before.points), Some(after.points));
        artifact.optimizing = optimizing;
    }
    Ok(Some(SavedArtifact {
        artifact,
        before,
        after,
    }))
}

/// What the bytes come from.
enum Begun<'a> {
    File(PendingSnapshot),
    Stream(HeldStream, Hold<'a>),
}

impl<'a> Begun<'a> {
    async fn begin(of: UnitRun<'a>, attempt: u32) -> Result<Self> {
        let hold = of.settling.hold(&of.unit.collection);
        match of.unit.mode {
            Mode::File => make(of, attempt).await.map(Self::File),
            Mode::Stream => HeldStream::begin(of).await.map(|stream| Self::Stream(stream, hold)),
        }
    }

    async fn discard(self, of: UnitRun<'_>) {
        if let Self::File(made) = self {
            delete(of, made).await;
        }
    }
}

/// A snapshot, and whether an optimizer may have worked while it was made. That of a shard has no write-ahead log, and what an
/// optimizer works on has points in it that were deleted meanwhile; so another one is made, until there was none at work, or it is
/// too late. That of a whole collection has the log, and is right at any time.
///
/// While a stream is held after its first bytes, no optimization of the shard starts or ends: what is seen then was so before.
///
/// `None`: it is too late, or Qdrant does not tell, and there is another way.
async fn settled(of: UnitRun<'_>, attempt: u32) -> Result<Option<(Begun<'_>, bool)>> {
    if of.unit.shard.is_none() {
        return Ok(Some((Begun::begin(of, attempt).await?, false)));
    }
    let deadline = of.settling.until(&of.unit.collection, of.ctx.settings.settle);
    let mut pause = FIRST_PAUSE;
    loop {
        let is_late = Instant::now() >= deadline;
        let before = look_at(of).await?;
        let is_known_idle = before.as_ref().is_some_and(Optimizations::is_idle);
        if is_late && !is_known_idle && of.may_be_left() {
            return Ok(None);
        }
        if is_late || before.as_ref().is_none_or(Optimizations::is_idle) {
            let made = Begun::begin(of, attempt).await?;
            let after = match look_at(of).await {
                Ok(after) => after,
                Err(error) => {
                    made.discard(of).await;
                    return Err(error);
                }
            };
            match (before, after) {
                (Some(before), Some(after)) if after.are_none_since(&before) => return Ok(Some((made, false))),
                (Some(_), Some(_)) if !is_late => made.discard(of).await,
                _ if of.may_be_left() => {
                    made.discard(of).await;
                    return Ok(None);
                }
                _ => return Ok(Some((made, true))),
            }
        }
        tracing::info!(backup = %of.id, collection = of.unit.collection, "Qdrant is optimizing collection {:?}; waiting before {} is saved", of.unit.collection, of.unit);
        let waited = async {
            sleep(pause).await;
            Ok(())
        };
        of.run.unless_cancelled(waited).await?;
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

/// What Qdrant optimizes, if it tells; fails where the collection is not the one of before.
async fn look_at(of: UnitRun<'_>) -> Result<Option<Optimizations>> {
    let (mut pause, mut left) = (FIRST_PAUSE, OTHER_LOOKS);
    let looks = async {
        loop {
            let moment = of.settling.moment(&of.unit.collection);
            let look = of.qdrant().optimizations(&of.unit.collection).await?;
            let Some(look) = look else { return Ok(None) };
            match of.settling.require_same(&of.unit.collection, moment, &look) {
                Ok(()) => return Ok(Some(look)),
                Err(other) if left == 0 => return Err(other),
                // Qdrant may not know yet that a stream was dropped.
                Err(_) => sleep(pause).await,
            }
            (pause, left) = (pause.saturating_mul(2), left - 1);
        }
    };
    of.run.unless_cancelled(looks).await
}

/// A snapshot on Qdrant, and the intent that tells of it. Whoever has one calls [`delete`] with it, whatever happens.
pub(super) struct PendingSnapshot {
    pub(super) snapshot: Snapshot,
    requested_at: OffsetDateTime,
    recorded: Recorded,
}

/// Has Qdrant make a snapshot. When that fails there is none, or a later run will find it by its intent.
pub(super) async fn make(of: UnitRun<'_>, attempt: u32) -> Result<PendingSnapshot> {
    let (ctx, collection) = (of.ctx, of.unit.collection.as_str());
    let RequestedSnapshot {
        existing,
        requested_at,
        recorded,
    } = announce(of, attempt).await?;

    of.run.progress.phase(of.shown, Phase::Snapshot);
    let created = created_before_the_end(of).await;
    let snapshot = match created {
        Ok(snapshot) if existing.contains(&snapshot.name) => {
            // Somebody else's, of the same second: Qdrant wrote ours over it, and which one it is now cannot be told.
            intents::clear(&*ctx.store, &recorded).await;
            return Err(same_second(collection, &snapshot));
        }
        Ok(snapshot) => snapshot,
        Err(e) => {
            after_failed_create(of, &recorded, &e).await;
            return Err(e);
        }
    };
    let made = PendingSnapshot {
        snapshot,
        requested_at,
        recorded,
    };
    match SnapshotName::parse(&made.snapshot.name, of.unit.kind()) {
        Some(name) if name.collection != collection => {
            let error = unexpected_snapshot(collection, &made.snapshot);
            delete(of, made).await;
            Err(error)
        }
        _ => Ok(made),
    }
}

/// The snapshot of a cancelled run is waited for a little: Qdrant makes it to its end all the same, and who knows its name can
/// delete it.
async fn created_before_the_end(of: UnitRun<'_>) -> Result<Snapshot> {
    if of.run.cancel.is_cancelled() {
        return Err(stopped());
    }
    let created = of.qdrant().create_snapshot(of.unit.snapshot());
    of.run.within_grace(UNFINISHED, created).await
}

/// What is known when a snapshot may be asked for.
struct RequestedSnapshot {
    /// The names that cannot be ours.
    existing: Vec<String>,
    requested_at: OffsetDateTime,
    recorded: Recorded,
}

/// Looks at what is there, and records that there will be one more at once; again, if that took so long that the one could
/// not be told from others'.
async fn announce(of: UnitRun<'_>, attempt: u32) -> Result<RequestedSnapshot> {
    let (ctx, collection) = (of.ctx, of.unit.collection.as_str());
    let mut within = intents::WITHIN;
    loop {
        let (there, date) = of
            .run
            .unless_cancelled(of.qdrant().snapshots(of.unit.snapshot()))
            .await?;
        let looked = Instant::now();
        let existing: Vec<String> = there.into_iter().map(|s| s.name).collect();
        let requested_at = ctx.clock.now();
        let intent = Intent {
            run: of.id,
            unit: of.unit.clone(),
            qdrant: of.qdrant().url(),
            existing: Vec::new(),
            requested_at: date.unwrap_or(requested_at),
            within_seconds: within.as_secs(),
        }
        .with_existing(&existing);
        let recorded = of
            .run
            .unless_cancelled(intents::record(&*ctx.store, intent, attempt))
            .await?;
        let recording = looked.elapsed();
        of.qdrant().unpaused().await;
        if !of.run.cancel.is_cancelled() && looked.elapsed() <= within {
            return Ok(RequestedSnapshot {
                existing,
                requested_at,
                recorded,
            });
        }
        // Nothing has been asked of Qdrant: whatever were found there by this intent would be somebody else's.
        intents::clear(&*ctx.store, &recorded).await;
        of.run.unless_cancelled(async { Ok(()) }).await?;
        tracing::info!(
            backup = %of.id, collection,
            ?recording,
            "recording an intent for {} took long; listing the snapshots again", of.unit.snapshot()
        );
        within = within.max(recording * 2);
        if within > intents::LONGEST_WITHIN {
            return Err(Error::new(
                Code::StoreUnreachable,
                format!("recording an intent for {} took {recording:?}", of.unit.snapshot()),
            )
            .remedy("check the network to the store, then try again"));
        }
    }
}

async fn relay(
    of: UnitRun<'_>,
    attempt: u32,
    snapshot: &Snapshot,
    requested_at: OffsetDateTime,
) -> Result<(Artifact, Count)> {
    let (ctx, unit) = (of.ctx, of.unit);
    let created_at = ctx.clock.now();
    let after = of.qdrant().count(unit.snapshot()).await?;
    let download = of.qdrant().download(unit.snapshot(), snapshot).await?;
    let expected = Expected {
        bytes: snapshot.size,
        sha256: snapshot.sha256(),
        crc32c: None,
    };
    let settings = &ctx.settings;
    let target = blobs::Target {
        store: &*ctx.store,
        id: of.id,
        unit: of.unit,
        attempt,
        limits: &settings.limits,
        rate: settings.rate.as_deref(),
        done: of.run.progress.copying(of.shown, Some(snapshot.size)),
    };
    let written = blobs::write(Box::new(download), &expected, target).await?;
    let artifact = Artifact {
        node: unit
            .node
            .or_else(|| SnapshotName::parse(&snapshot.name, unit.kind())?.peer),
        sha256_confirmed_by_qdrant: expected.sha256.is_some(),
        snapshot: snapshot.name.clone(),
        ..stored(unit, written, (requested_at, created_at))
    };
    Ok((artifact, after))
}

/// What a manifest says of a unit in the store, which was asked for and had begun at these times. What Qdrant tells of a snapshot on its
/// disk is not in it.
pub(super) fn stored(
    unit: &Unit,
    written: Written,
    (requested_at, created_at): (OffsetDateTime, OffsetDateTime),
) -> Artifact {
    let Written {
        key,
        storage,
        digest,
        version,
    } = written;
    Artifact {
        key,
        storage,
        kind: unit.kind(),
        node: unit.node,
        bytes: digest.bytes,
        sha256: digest.sha256_hex(),
        sha256_confirmed_by_qdrant: false,
        crc32c: format!("{:08x}", digest.crc32c),
        version: version.0,
        points_before: None,
        points_after: None,
        optimizing: false,
        snapshot: String::new(),
        requested_at,
        created_at,
        extra: BTreeMap::new(),
    }
}

/// Deletes the snapshot that this run made, whatever became of it; if that fails, the intent stays and the next run does it.
pub(super) async fn delete(of: UnitRun<'_>, made: PendingSnapshot) {
    let (ctx, collection) = (of.ctx, of.unit.collection.as_str());
    let (snapshot, recorded) = (&made.snapshot, &made.recorded);
    let work = async {
        // Qdrant overwrites a snapshot by another of the same second: delete only what is still the one that we made.
        let (there, _) = of.qdrant().snapshots(of.unit.snapshot()).await?;
        match there.iter().find(|s| s.name == snapshot.name) {
            Some(now) if now == snapshot => of
                .qdrant()
                .delete_snapshot(of.unit.snapshot(), &snapshot.name)
                .await
                .map(|_| ()),
            Some(_) => {
                tracing::warn!(
                    backup = %of.id, collection,
                    snapshot = snapshot.name,
                    "another client created a snapshot of collection {collection:?} in the same second; it was not \
                     deleted"
                );
                Ok(())
            }
            None => Ok(()),
        }
    };
    let error = match of.run.clean_up(Duration::MAX, work).await {
        Some(Ok(())) => return intents::clear(&*ctx.store, recorded).await,
        // Qdrant keeps the snapshots of a collection that was deleted, where its API does not reach them until there is
        // a collection of that name again. The intent stays: then the next run deletes it.
        Some(Err(e)) if e.code() == Code::CollectionNotFound => {
            tracing::warn!(
                backup = %of.id, collection,
                snapshot = snapshot.name,
                "collection {collection:?} was deleted; its snapshot may still be on Qdrant's disk: delete \
                 snapshots/{collection}/{} there by hand (unless a collection of that name is created within two days: then a later run does it)",
                snapshot.name
            );
            return;
        }
        Some(Err(e)) => e.to_string(),
        None => "Qdrant did not respond in time".to_owned(),
    };
    tracing::warn!(
        backup = %of.id, collection,
        snapshot = snapshot.name,
        error,
        "failed to delete the snapshot of collection {collection:?} on Qdrant; the next run does it"
    );
}

/// A create that failed may still have made a snapshot, or make one later.
async fn after_failed_create(of: UnitRun<'_>, recorded: &Recorded, error: &Error) {
    let ctx = of.ctx;
    // Qdrant itself refused or failed: there is nothing of ours, and nothing will appear any more. What has appeared
    // meanwhile is somebody else's. A lost connection, or a gateway's answer, does not mean that.
    if matches!(
        error.code(),
        Code::QdrantUnauthorized
            | Code::QdrantForbidden
            | Code::QdrantFailed
            | Code::DiskFull
            | Code::CollectionNotFound
    ) {
        return intents::clear(&*ctx.store, recorded).await;
    }
    let settled = intents::settle(&*ctx.store, of.qdrant(), recorded, ctx.clock.now());
    match of.run.clean_up(SETTLE, settled).await {
        Some(Ok(None)) => {}
        Some(Ok(Some(warning))) => tracing::warn!(backup = %of.id, collection = of.unit.collection, "{warning}"),
        Some(Err(e)) => {
            tracing::warn!(backup = %of.id, collection = of.unit.collection, error = %e, "failed to look for a snapshot that a failed request left; the next run does it")
        }
        None => {
            tracing::warn!(backup = %of.id, collection = of.unit.collection, "timeout while looking for a snapshot that a failed request left; the next run does it")
        }
    }
}

fn unexpected_snapshot(collection: &str, snapshot: &Snapshot) -> Error {
    Error::new(
        Code::QdrantUnexpected,
        format!(
            "requested a snapshot of collection {collection:?}, Qdrant created {:?} of another one",
            snapshot.name
        ),
    )
    .remedy("connect without the proxy in front of Qdrant; it seems to change the name in the URL")
}

fn same_second(collection: &str, snapshot: &Snapshot) -> Error {
    Error::new(
        Code::SnapshotChanged,
        format!(
            "another client created a snapshot of collection {collection:?} in the same second; Qdrant gave both the \
             name {:?}",
            snapshot.name
        ),
    )
    .remedy("do not run other backup tools at the same time")
}
