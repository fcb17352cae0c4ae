//! One artifact: asked for, relayed into the store, deleted on Qdrant.

use super::Context;
use crate::base::error::{Code, Error, Result};
use crate::ops::progress::{Phase, Progress};
use crate::repository::intents::{self, Intent, Recorded};
use crate::repository::manifest::{Artifact, Storage};
use crate::repository::names::{ArtifactKind, BackupId};
use crate::wire::qdrant::{Snapshot, SnapshotName};
use crate::wire::transfer::{self, Expected};
use std::collections::BTreeMap;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Cleaning up after a run that was told to stop must fit into the ten seconds that Cloud Run grants.
pub(super) const CLEAN_UP: Duration = Duration::from_secs(5);

/// What to save, and for whom.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) ctx: &'a Context,
    pub(super) run: BackupId,
    pub(super) collection: &'a str,
    pub(super) kind: ArtifactKind,
    /// Number of the first attempt; each one's objects have it in their names.
    pub(super) first: u32,
    pub(super) progress: &'a Progress,
    pub(super) cancel: &'a CancellationToken,
}

/// A saved artifact and the exact count right after its snapshot was made.
pub(super) struct Done {
    pub(super) artifact: Artifact,
    pub(super) points_after: u64,
}

/// Saves one artifact, with further attempts when a failure may pass.
pub(super) async fn save(job: Job<'_>) -> Result<Done> {
    let settings = &job.ctx.settings;
    let mut pause = settings.backoff;
    let last = job.first + settings.attempts.saturating_sub(1);
    for attempt in job.first.. {
        let error = match attempt_once(job, attempt).await {
            Ok(done) => return Ok(done),
            Err(e) => e,
        };
        // A snapshot that vanished is gone for good, but another one can be made. A name that is taken, as by a process that
        // does the same task again although this one still lives, is not that of the next attempt.
        let useless = error.is_permanent() && !matches!(error.code(), Code::SnapshotChanged | Code::StoreConflict);
        if useless || attempt >= last || job.cancel.is_cancelled() {
            return Err(error);
        }
        tracing::warn!(backup = %job.run, collection = job.collection, attempt, error = %error, "saving a collection failed; trying again");
        unless_cancelled(job.cancel, async {
            sleep(pause).await;
            Ok(())
        })
        .await?;
        pause = pause.saturating_mul(2);
    }
    Err(Error::new(Code::Internal, "no attempt was made"))
}

async fn attempt_once(job: Job<'_>, attempt: u32) -> Result<Done> {
    let made = make(job, attempt).await?;
    let result = unless_cancelled(job.cancel, relay(job, attempt, &made.snapshot, made.requested_at)).await;
    delete(job, made).await;
    result
}

/// A snapshot on Qdrant, and the intent that tells of it. Whoever has one calls [`delete`] with it, whatever happens.
pub(super) struct Made {
    pub(super) snapshot: Snapshot,
    requested_at: OffsetDateTime,
    recorded: Recorded,
}

/// Has Qdrant make a snapshot. When that fails there is none, or a later run will find it by its intent.
pub(super) async fn make(job: Job<'_>, attempt: u32) -> Result<Made> {
    let (ctx, collection) = (job.ctx, job.collection);
    let Announced {
        existing,
        requested_at,
        recorded,
    } = announce(job, attempt).await?;

    job.progress.phase(collection, Phase::Snapshot);
    let created = unless_cancelled(job.cancel, ctx.qdrant.create_snapshot(collection)).await;
    let snapshot = match created {
        Ok(snapshot) if existing.contains(&snapshot.name) => {
            // Somebody else's, of the same second: Qdrant wrote ours over it, and which one it is now cannot be told.
            intents::clear(&*ctx.store, &recorded).await;
            return Err(same_second(collection, &snapshot));
        }
        Ok(snapshot) => snapshot,
        Err(e) => {
            after_failed_create(job, &recorded, &e).await;
            return Err(e);
        }
    };
    let made = Made {
        snapshot,
        requested_at,
        recorded,
    };
    match SnapshotName::parse(&made.snapshot.name) {
        Some(name) if name.collection != collection => {
            let error = another(collection, &made.snapshot);
            delete(job, made).await;
            Err(error)
        }
        _ => Ok(made),
    }
}

/// What is known when a snapshot may be asked for.
struct Announced {
    /// The names that cannot be ours.
    existing: Vec<String>,
    requested_at: OffsetDateTime,
    recorded: Recorded,
}

/// Looks at what is there, and records that there will be one more at once; again, if that took so long that the one could
/// not be told from others'.
async fn announce(job: Job<'_>, attempt: u32) -> Result<Announced> {
    let (ctx, collection) = (job.ctx, job.collection);
    let mut within = intents::WITHIN;
    loop {
        let (there, date) = unless_cancelled(job.cancel, ctx.qdrant.snapshots(collection)).await?;
        let looked = Instant::now();
        let existing: Vec<String> = there.into_iter().map(|s| s.name).collect();
        let requested_at = ctx.clock.now();
        let intent = Intent {
            run: job.run,
            collection: collection.to_owned(),
            qdrant: ctx.qdrant.url(),
            existing: Vec::new(),
            requested_at: date.unwrap_or(requested_at),
            within_seconds: within.as_secs(),
        }
        .beside(&existing);
        let recorded = unless_cancelled(job.cancel, intents::record(&*ctx.store, intent, attempt)).await?;
        let recording = looked.elapsed();
        ctx.qdrant.unpaused().await;
        if !job.cancel.is_cancelled() && looked.elapsed() <= within {
            return Ok(Announced {
                existing,
                requested_at,
                recorded,
            });
        }
        // Nothing has been asked of Qdrant: whatever were found there by this intent would be somebody else's.
        intents::clear(&*ctx.store, &recorded).await;
        unless_cancelled(job.cancel, async { Ok(()) }).await?;
        tracing::info!(
            backup = %job.run, collection,
            ?recording,
            "recording an intent took long; looking at the snapshots again"
        );
        within = within.max(recording * 2);
    }
}

async fn relay(job: Job<'_>, attempt: u32, snapshot: &Snapshot, requested_at: OffsetDateTime) -> Result<Done> {
    let (ctx, collection) = (job.ctx, job.collection);
    let created_at = ctx.clock.now();
    let points_after = ctx.qdrant.count(collection).await?;
    let download = ctx.qdrant.download(collection, snapshot).await?;
    let key = job.run.artifact(collection, &job.kind, attempt);
    let expected = Expected {
        bytes: snapshot.size,
        sha256: snapshot.sha256(),
        crc32c: None,
    };
    let settings = &ctx.settings;
    let (digest, meta) = transfer::copy(
        Box::new(download),
        &expected,
        &*ctx.store,
        &key,
        &settings.limits,
        settings.rate.as_deref(),
        job.progress.copying(collection, snapshot.size),
    )
    .await?;
    let artifact = Artifact {
        key,
        storage: Storage::Object,
        kind: job.kind,
        node: SnapshotName::parse(&snapshot.name).map(|name| name.peer),
        bytes: digest.bytes,
        sha256: digest.sha256_hex(),
        sha256_confirmed_by_qdrant: expected.sha256.is_some(),
        crc32c: format!("{:08x}", digest.crc32c),
        version: meta.version.0,
        snapshot: snapshot.name.clone(),
        requested_at,
        created_at,
        extra: BTreeMap::new(),
    };
    Ok(Done { artifact, points_after })
}

/// Deletes the snapshot that this run made, whatever became of it; if that fails, the intent stays and the next run does it.
pub(super) async fn delete(job: Job<'_>, made: Made) {
    let (ctx, collection) = (job.ctx, job.collection);
    let (snapshot, recorded) = (&made.snapshot, &made.recorded);
    let work = async {
        // Qdrant overwrites a snapshot by another of the same second: delete only what is still the one that we made.
        let (there, _) = ctx.qdrant.snapshots(collection).await?;
        match there.iter().find(|s| s.name == snapshot.name) {
            Some(now) if now == snapshot => ctx.qdrant.delete_snapshot(collection, &snapshot.name).await.map(|_| ()),
            Some(_) => {
                tracing::warn!(
                    backup = %job.run, collection,
                    snapshot = snapshot.name,
                    "somebody else made a snapshot of the same second; it was left alone"
                );
                Ok(())
            }
            None => Ok(()),
        }
    };
    let limit = if job.cancel.is_cancelled() {
        CLEAN_UP
    } else {
        Duration::MAX
    };
    let error = match timeout(limit, work).await {
        Ok(Ok(())) => return intents::clear(&*ctx.store, recorded).await,
        // Qdrant keeps the snapshots of a collection that was deleted, where its API does not reach them until there is
        // a collection of that name again. The intent stays: then the next run deletes it.
        Ok(Err(e)) if e.code() == Code::CollectionNotFound => {
            tracing::warn!(
                backup = %job.run, collection,
                snapshot = snapshot.name,
                "the collection was deleted, and with it the way to its snapshot, which may still be on Qdrant's disk: delete \
                 snapshots/{collection}/{} there by hand (unless a collection of that name is made within two days: then a \
                 later run does it)",
                snapshot.name
            );
            return;
        }
        Ok(Err(e)) => e.to_string(),
        Err(_) => "Qdrant did not answer in time".to_owned(),
    };
    tracing::warn!(
        backup = %job.run, collection,
        snapshot = snapshot.name,
        error,
        "the snapshot could not be deleted on Qdrant; the next run does it"
    );
}

/// A create that failed may still have made a snapshot, or make one later.
async fn after_failed_create(job: Job<'_>, recorded: &Recorded, error: &Error) {
    let ctx = job.ctx;
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
    let settled = intents::settle(&*ctx.store, &ctx.qdrant, recorded, ctx.clock.now());
    match timeout(CLEAN_UP, settled).await {
        Ok(Ok(None)) => {}
        Ok(Ok(Some(warning))) => tracing::warn!(backup = %job.run, warning),
        Ok(Err(e)) => {
            tracing::warn!(backup = %job.run, error = %e, "could not look for what a failed snapshot left; the next run does it")
        }
        Err(_) => {
            tracing::warn!(backup = %job.run, "Qdrant did not answer when asked what a failed snapshot left; the next run asks again")
        }
    }
}

fn another(collection: &str, snapshot: &Snapshot) -> Error {
    Error::new(
        Code::QdrantUnexpected,
        format!(
            "asked for a snapshot of collection {collection:?}, Qdrant made {:?}, which is not of that one",
            snapshot.name
        ),
    )
    .remedy("a proxy before Qdrant seems to change the name in the URL; connect without it")
}

fn same_second(collection: &str, snapshot: &Snapshot) -> Error {
    Error::new(
        Code::SnapshotChanged,
        format!(
            "somebody else made a snapshot of collection {collection:?} in the same second, and Qdrant gave both the name {:?}",
            snapshot.name
        ),
    )
    .remedy("keep other backup tools from running at the same time")
}

/// Does `work` unless the run is told to stop.
pub(super) async fn unless_cancelled<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    cancel.run_until_cancelled(work).await.unwrap_or_else(|| {
        Err(Error::new(Code::Cancelled, "the run was told to stop").remedy("nothing was committed; run it again"))
    })
}
