//! One shard as Qdrant streams it: no snapshot is written to its disk, so that none is left there, whatever happens.

use super::artifact::{UnitRun, stored};
use crate::base::error::Result;
use crate::base::snapshot::Expected;
use crate::ops::progress::Phase;
use crate::repository::blobs;
use crate::repository::manifest::Artifact;
use crate::wire::qdrant::{Count, ShardStream};
use crate::wire::transfer;
use time::OffsetDateTime;

/// A stream of which the first bytes have come: what it has is what the shard had then.
pub(super) struct HeldStream {
    stream: ShardStream,
    requested_at: OffsetDateTime,
    created_at: OffsetDateTime,
}

impl HeldStream {
    pub(super) async fn begin(of: UnitRun<'_>) -> Result<Self> {
        of.run.progress.phase(of.shown, Phase::Snapshot);
        let requested_at = of.ctx.clock.now();
        let shard = of.unit.shard.unwrap_or_default();
        let stream = of
            .run
            .unless_cancelled(of.qdrant().stream_shard(&of.unit.collection, shard))
            .await?;
        Ok(Self {
            stream,
            requested_at,
            created_at: of.ctx.clock.now(),
        })
    }

    /// Moves it into the store; the answer has the points right after it began.
    pub(super) async fn relay(self, of: UnitRun<'_>, attempt: u32, before: Count) -> Result<(Artifact, Count)> {
        let settings = &of.ctx.settings;
        let target = blobs::Target {
            store: &*of.ctx.store,
            id: of.id,
            unit: of.unit,
            attempt,
            limits: &settings.limits,
            rate: settings.rate.as_deref(),
            done: of.run.progress.copying(of.shown, None),
        };
        // Qdrant ends a stream that is not read for minutes, and counting may take that long.
        let (written, after) = tokio::try_join!(
            blobs::write_stream(Box::new(self.stream), expected(of, before), target),
            of.qdrant().count(of.unit.snapshot()),
        )?;
        let artifact = stored(of.unit, written, (self.requested_at, self.created_at));
        Ok((artifact, after))
    }

    /// Reads it to its end and keeps nothing; the answer is its length, if it is whole.
    pub(super) async fn read(self, of: UnitRun<'_>, before: Count) -> Result<u64> {
        let (name, limits) = (of.unit.to_string(), &of.ctx.settings.limits);
        transfer::drain_stream(Box::new(self.stream), expected(of, before), &name, limits).await
    }
}

/// What has to come, of a shard that had so many points.
fn expected(of: UnitRun<'_>, before: Count) -> Expected {
    Expected {
        kind: of.unit.kind(),
        shards: Vec::new(),
        holds_points: before.points > 0,
    }
}
