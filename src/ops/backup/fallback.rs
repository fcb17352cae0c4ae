//! A unit that cannot be saved as it was planned, and is saved the other way.
//!
//! With `SNAPSHOT_MODE=auto` what Qdrant's disk has no room for is streamed; and a collection of one node that is never at rest is
//! saved by a file, which has the write-ahead log and is right at any time.

use super::artifact::UnitRun;
use super::collection::try_save;
use super::plan::require_streams;
use super::replicas::Spread;
use super::report::{add_shard, shards_changed};
use crate::base::error::{Code, Error, Result};
use crate::repository::manifest::Collection;
use crate::repository::unit::{Mode, SnapshotMode, Unit};

const STREAMED: &str = "Qdrant's disk had no room for its snapshot, so it was streamed";
const IN_A_FILE: &str =
    "Qdrant optimized it without a pause, so it was saved by a snapshot on Qdrant's disk instead of streams";

/// Saves a unit as it was planned, or else the other way.
pub(super) async fn save_any_way(of: UnitRun<'_>, aliases: &[String]) -> Result<Collection> {
    let is_auto = of.ctx.settings.mode == SnapshotMode::Auto;
    match (of.unit.mode, of.unit.shard) {
        (Mode::File, _) if is_auto => by_file(of, aliases).await,
        (Mode::Stream, None) if is_auto => match by_streams(of, aliases, true).await? {
            Some(saved) => Ok(saved),
            None => in_a_file(of, aliases).await,
        },
        (Mode::Stream, None) => taken(of.unit, by_streams(of, aliases, false).await?),
        _ => taken(of.unit, try_save(of, aliases).await?),
    }
}

/// By a file, or, for want of room, by streams.
async fn by_file(of: UnitRun<'_>, aliases: &[String]) -> Result<Collection> {
    let first = UnitRun {
        has_another_way: true,
        ..of
    };
    let full = match try_save(first, aliases).await {
        Err(full) if full.code() == Code::DiskFull => full,
        saved => return taken(of.unit, saved?),
    };
    let version = of.run.unless_cancelled(of.qdrant().version()).await?;
    if require_streams(of.qdrant(), &version).is_err() {
        let again = UnitRun {
            first: of.first + 1,
            ..of
        };
        return taken(of.unit, try_save(again, aliases).await?);
    }
    tracing::warn!(backup = %of.id, collection = of.unit.collection, error = %full, "Qdrant's disk has no room for a snapshot of {}; streaming it", of.unit.snapshot());
    let mut saved = taken(of.unit, by_streams(of, aliases, false).await?)?;
    saved.warnings.push(STREAMED.to_owned());
    Ok(saved)
}

/// For want of a moment at which it is at rest. Where the disk has no room for that, streams are better than nothing.
async fn in_a_file(of: UnitRun<'_>, aliases: &[String]) -> Result<Collection> {
    tracing::warn!(backup = %of.id, collection = of.unit.collection, "Qdrant optimizes collection {:?} without a pause; saving it by a snapshot on Qdrant's disk", of.unit.collection);
    let unit = of.unit.clone().by(Mode::File);
    let mut saved = by_file(UnitRun { unit: &unit, ..of }, aliases).await?;
    if !saved.is_by_shards() {
        saved.warnings.push(IN_A_FILE.to_owned());
    }
    Ok(saved)
}

/// The unit's shards, one after the other, as one entry. `None`: one of them is never at rest, and there is another way.
async fn by_streams(of: UnitRun<'_>, aliases: &[String], has_another_way: bool) -> Result<Option<Collection>> {
    let units = match of.unit.shard {
        Some(_) => vec![of.unit.clone()],
        None => {
            let name = of.unit.collection.as_str();
            let (map, _) = of.run.unless_cancelled(of.qdrant().shards(name)).await?;
            Spread::default().units(name, &map)?
        }
    };
    let mut whole: Option<Collection> = None;
    for unit in units.into_iter().map(|unit| unit.by(Mode::Stream)) {
        let part = UnitRun {
            unit: &unit,
            has_another_way,
            ..of
        };
        let Some(saved) = try_save(part, aliases).await? else {
            return Ok(None);
        };
        match &mut whole {
            None => whole = Some(saved),
            Some(whole) => add_shard(whole, saved)?,
        }
    }
    whole.map(Some).ok_or_else(|| shards_changed(&of.unit.collection))
}

/// What there was no other way for.
fn taken(unit: &Unit, saved: Option<Collection>) -> Result<Collection> {
    saved.ok_or_else(|| Error::new(Code::Internal, format!("internal error: {unit} was not saved")))
}
