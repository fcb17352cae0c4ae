//! A trial: one snapshot that Qdrant makes and that is deleted again, nothing is saved.

use super::artifact::{Settling, UnitRun, delete, make};
use crate::base::error::{Code, Error, ErrorInfo, Result};
use crate::ops::context::Context;
use crate::ops::events::Counts;
use crate::ops::progress::Progress;
use crate::ops::run::{self, Conclusion, LeaseMode, Run};
use crate::repository::names::BackupId;
use crate::repository::unit::Unit;
use crate::wire::qdrant::Nodes;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Its result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial {
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
pub(crate) async fn trial(ctx: &Context, collection: &str, cancel: &CancellationToken) -> Result<Trial> {
    let id = BackupId::at(ctx.clock.now());
    let progress = Progress::new(ctx.clock.now());
    progress.planned(id, [Unit::whole(collection)]);
    let (store, qdrant) = (ctx.on_store(), Some(&ctx.qdrant));
    run::under_lease(
        &store,
        LeaseMode::Exclusive,
        &progress,
        cancel,
        qdrant,
        |run| async move { make_and_delete(ctx, &run, id, collection).await },
    )
    .await
}

impl Conclusion for Trial {
    fn failure(&self) -> Option<ErrorInfo> {
        None
    }

    fn counts(&self) -> Counts {
        Counts::default()
    }

    // An exclusive lease gives no warning.
    fn warn(&mut self, _: String) {}
}

async fn make_and_delete(ctx: &Context, run: &Run, id: BackupId, collection: &str) -> Result<Trial> {
    let unit = Unit::whole(collection);
    let (nodes, settling) = (Nodes::one(&ctx.qdrant), Settling::default());
    let of = UnitRun {
        ctx,
        nodes: &nodes,
        settling: &settling,
        run,
        id,
        unit: &unit,
        first: 1,
    };
    let began = Instant::now();
    let made = make(of, of.first).await?;
    let took = began.elapsed();
    let snapshot = made.snapshot.clone();
    delete(of, made).await;
    let (left, _) = run.unless_cancelled(ctx.qdrant.snapshots(collection)).await?;
    match left.contains(&snapshot) {
        false => Ok(Trial {
            bytes: snapshot.size,
            took,
        }),
        true => Err(Error::new(
            Code::QdrantFailed,
            format!(
                "snapshot {:?} of collection {collection:?} was created, but not deleted",
                snapshot.name
            ),
        )
        .remedy("read Qdrant's log for the cause; the next backup deletes it")),
    }
}
