//! A trial: one snapshot that Qdrant makes and that is deleted again, nothing is saved.

use super::artifact::{Job, delete, make, unless_cancelled};
use super::{Context, sweep};
use crate::base::error::{Code, Error, Result};
use crate::ops::progress::Progress;
use crate::repository::lease;
use crate::repository::names::{ArtifactKind, BackupId};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// Size of the snapshot.
    pub bytes: u64,
    /// How long Qdrant took to make it.
    pub took: Duration,
}

/// Has Qdrant make a snapshot of `collection` and deletes it, under the lease, and under an intent as a backup does: killed at any
/// moment, the next backup removes what is left.
///
/// # Errors
/// Those of a backup; [`Code::RunInProgress`] while a run works.
pub async fn trial(ctx: &Context, collection: &str, cancel: &CancellationToken) -> Result<Trial> {
    let lease = lease::acquire(ctx.store.clone(), &ctx.clock, &ctx.who, ctx.settings.lease).await?;
    let token = lease.token(cancel);
    let run = BackupId::at(ctx.clock.now());
    let result = under_lease(ctx, run, collection, &token).await;
    if lease.confirm_not_lost().is_ok() {
        sweep(ctx, |intent| intent.run == run).await;
    }
    if let Err(error) = lease.release().await {
        tracing::warn!(error = %error, "the lease could not be given back; it runs out by itself");
    }
    result
}

async fn under_lease(ctx: &Context, run: BackupId, collection: &str, cancel: &CancellationToken) -> Result<Trial> {
    let job = Job {
        ctx,
        run,
        collection,
        kind: ArtifactKind::Collection,
        first: 1,
        progress: &Progress::new(ctx.clock.now()),
        cancel,
    };
    let began = Instant::now();
    let made = make(job, job.first).await?;
    let took = began.elapsed();
    let snapshot = made.snapshot.clone();
    delete(job, made).await;
    let (left, _) = unless_cancelled(cancel, ctx.qdrant.snapshots(collection)).await?;
    match left.contains(&snapshot) {
        false => Ok(Trial {
            bytes: snapshot.size,
            took,
        }),
        true => Err(Error::new(
            Code::QdrantFailed,
            format!(
                "snapshot {:?} of collection {collection:?} was made, but could not be deleted",
                snapshot.name
            ),
        )
        .remedy("look in Qdrant's log why; the next backup deletes it")),
    }
}
