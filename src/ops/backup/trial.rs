//! A trial: one snapshot as a backup makes it, of which nothing is saved or left.

use super::artifact::{UnitRun, delete, make};
use super::plan::{possible, units};
use super::settling::Settling;
use super::streamed::HeldStream;
use crate::base::error::{Code, Error, ErrorInfo, Result};
use crate::ops::context::Context;
use crate::ops::events::Counts;
use crate::ops::progress::Progress;
use crate::ops::run::{self, Conclusion, LeaseMode, Run};
use crate::repository::names::BackupId;
use crate::repository::unit::{Mode, SnapshotMode, Unit};
use crate::wire::qdrant::Nodes;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// So many shards are counted to find a small one.
const COUNTED: usize = 16;

/// Its result.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    /// What the snapshot was of, and how it was made.
    pub unit: Unit,
    /// Size of the snapshot.
    pub bytes: u64,
    /// How long Qdrant took to make it; of a stream, until its last byte.
    pub took: Duration,
}

/// Tries what a backup does for `collection`, or for a small one of its shards: has Qdrant make a snapshot and deletes it, or reads a
/// stream to its end. Under the lease, and under an intent as a backup does: killed at any moment, the next backup removes what is left.
///
/// # Errors
/// Those of a backup; [`Code::RunInProgress`] while a run works.
pub(crate) async fn trial(ctx: &Context, collection: &str, cancel: &CancellationToken) -> Result<Trial> {
    let id = BackupId::at(ctx.clock.now());
    let progress = Progress::new(ctx.clock.now());
    progress.planned(id, []);
    let (store, qdrant) = (ctx.on_store(), Some(&ctx.qdrant));
    run::under_lease(
        &store,
        LeaseMode::Exclusive,
        &progress,
        cancel,
        qdrant,
        |run| async move { tried(ctx, &run, id, collection).await },
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

async fn tried(ctx: &Context, run: &Run, id: BackupId, collection: &str) -> Result<Trial> {
    let version = run.unless_cancelled(ctx.qdrant.version()).await?;
    let mode = possible(ctx.settings.mode, [(&ctx.qdrant, version.as_str())])?;
    let nodes = run.unless_cancelled(ctx.qdrant.nodes()).await?;
    let settling = Settling::default();
    let planned = async |mode| -> Result<Unit> {
        let planned = run.unless_cancelled(units(&nodes, vec![collection.to_owned()], mode));
        smallest(run, &nodes, planned.await?.units).await
    };
    let unit = planned(mode).await?;
    let of = UnitRun {
        ctx,
        nodes: &nodes,
        settling: &settling,
        run,
        id,
        unit: &unit,
        shown: &unit,
        has_another_way: false,
        first: 1,
    };
    if unit.mode == Mode::File {
        match make_and_delete(of).await {
            // As a backup does.
            Err(full) if full.code() == Code::DiskFull && mode == SnapshotMode::Auto => {}
            done => return done,
        }
    }
    let unit = match unit.shard {
        Some(_) => unit.clone().by(Mode::Stream),
        None => planned(SnapshotMode::Stream).await?,
    };
    read(UnitRun { unit: &unit, ..of }).await
}

/// The one with the fewest points of the first ones.
async fn smallest(run: &Run, nodes: &Nodes, units: Vec<Unit>) -> Result<Unit> {
    let mut smallest: Option<(u64, Unit)> = None;
    let is_single = units.len() == 1;
    for unit in units.into_iter().take(COUNTED) {
        let points = match is_single {
            true => 0,
            false => {
                let node = nodes.of(unit.node);
                run.unless_cancelled(node.count(unit.snapshot())).await?.points
            }
        };
        if smallest.as_ref().is_none_or(|(least, _)| points < *least) {
            smallest = Some((points, unit));
        }
    }
    let found = smallest.map(|(_, unit)| unit);
    found.ok_or_else(|| Error::new(Code::Internal, "internal error: a collection is planned as nothing"))
}

async fn make_and_delete(of: UnitRun<'_>) -> Result<Trial> {
    let began = Instant::now();
    let made = make(of, of.first).await?;
    let took = began.elapsed();
    let snapshot = made.snapshot.clone();
    delete(of, made).await;
    let listed = of.qdrant().snapshots(of.unit.snapshot());
    let (left, _) = of.run.unless_cancelled(listed).await?;
    match left.contains(&snapshot) {
        false => Ok(Trial {
            unit: of.unit.clone(),
            bytes: snapshot.size,
            took,
        }),
        true => Err(Error::new(
            Code::QdrantFailed,
            format!(
                "snapshot {:?} of {} was created, but not deleted",
                snapshot.name,
                of.unit.snapshot()
            ),
        )
        .remedy("read Qdrant's log for the cause; the next backup deletes it")),
    }
}

async fn read(of: UnitRun<'_>) -> Result<Trial> {
    let began = Instant::now();
    let before = of.run.unless_cancelled(of.qdrant().count(of.unit.snapshot())).await?;
    let stream = HeldStream::begin(of).await?;
    let bytes = of.run.unless_cancelled(stream.read(of, before)).await?;
    Ok(Trial {
        unit: of.unit.clone(),
        bytes,
        took: began.elapsed(),
    })
}
