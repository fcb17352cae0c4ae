//! A row for each collection, the worst first.

use super::look::{Look, SeenBackup};
use crate::ops::freshness::{CollectionState, State};
use crate::repository::names::BackupId;
use crate::server::page::backups::tone;
use crate::server::page::chart::StripMark;
use crate::server::page::ladder::Ladder;
use crate::server::page::parts::Tone;
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

/// How one collection stands.
pub(super) struct Row {
    pub(super) standing: CollectionState,
    pub(super) ladder: Ladder,
    /// The newest good backup that has it, and how old the state in it is: also one too old to count.
    pub(super) newest: Option<(BackupId, Duration)>,
    /// The newest backup that has it and is not good, where no good one has.
    pub(super) doubtful: Option<BackupId>,
    /// In its newest good backup.
    pub(super) bytes: Option<u64>,
    pub(super) points: Option<u64>,
}

pub(super) fn rows(look: &Look) -> Vec<Row> {
    let Some(answer) = &look.answer else { return Vec::new() };
    let row = |standing: &CollectionState| Row {
        ladder: Ladder::of(&standing.name, &answer.backups, look.now),
        bytes: standing.backup.and_then(|id| {
            let good = answer.backups.iter().find(|good| good.id == id);
            good.and_then(|good| good.bytes.get(&standing.name).copied())
        }),
        points: standing.backup.and_then(|id| points(look, id, &standing.name)),
        newest: newest(look, standing),
        doubtful: doubtful(look, &standing.name),
        standing: standing.clone(),
    };
    let mut rows: Vec<_> = answer.collections.iter().map(row).collect();
    rows.sort_by_cached_key(|row| {
        let age = row.standing.age_seconds.unwrap_or_default();
        let rank = match row.standing.state {
            State::Missing => (0, Reverse(0), 0),
            State::Stale => (1, Reverse(age), 0),
            State::New => (2, Reverse(0), 0),
            State::Fresh => (3, Reverse(0), row.ladder.height(row.standing.backup)),
        };
        (rank, row.standing.name.clone())
    });
    rows
}

fn newest(look: &Look, standing: &CollectionState) -> Option<(BackupId, Duration)> {
    if let (Some(id), Some(age)) = (standing.backup, standing.age_seconds) {
        return Some((id, Duration::from_secs(age)));
    }
    let has = |seen: &&Arc<SeenBackup>| seen.summary.is_good() && seen.bytes.contains_key(&standing.name);
    let seen = look.backups.iter().find(has)?;
    Some((
        seen.summary.id,
        Duration::try_from(look.now - seen.summary.id.time()).unwrap_or_default(),
    ))
}

fn doubtful(look: &Look, name: &str) -> Option<BackupId> {
    let mut having = look.backups.iter().filter(|seen| seen.bytes.contains_key(name));
    match having.clone().any(|seen| seen.summary.is_good()) {
        true => None,
        false => having.next().map(|seen| seen.summary.id),
    }
}

fn points(look: &Look, id: BackupId, name: &str) -> Option<u64> {
    let seen = look.backups.iter().find(|seen| seen.summary.id == id)?;
    seen.summary.points_by_collection.get(name).copied()
}

/// What became of a collection in the last backups, oldest first.
pub(super) fn strip(look: &Look, name: &str) -> Vec<StripMark> {
    look.backups.iter().rev().map(|seen| outcome(seen, name)).collect()
}

/// The same in one backup.
fn outcome(seen: &SeenBackup, name: &str) -> StripMark {
    let is_saved = seen.bytes.contains_key(name);
    match (is_saved, tone(&seen.summary)) {
        (true, Tone::Good) => StripMark::Good,
        // Nobody can tell what is in one that cannot be read.
        (_, Tone::Bad) if is_saved || seen.is_unreadable => StripMark::Failed,
        (true, _) => StripMark::Doubtful,
        (false, _) if seen.failed.iter().any(|(failed, _)| failed == name) => StripMark::Failed,
        (false, _) => StripMark::Absent,
    }
}
