//! What a run comes to: the report for its caller, and the manifest if there is something to restore.

use super::guard::HeldBack;
use crate::base::error::{Code, Error, Result};
use crate::base::text::in_the_middle;
use crate::base::total::total;
use crate::repository::blobs;
use crate::repository::manifest::{self, EncodedManifest, Failure, Manifest, QdrantInfo, Status};
use crate::repository::names::BackupId;
use crate::repository::selection::Selection;
use crate::repository::sharding::ShardKeys;
use crate::repository::unit::{Mode, Unit};
use crate::wire::store::record;
use serde::Serialize;
use serde_json::Value;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// Warnings of collections that a report repeats; the manifest has all.
const MOST_WARNINGS: usize = 100;

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct BackupReport {
    /// The backup's id.
    pub id: BackupId,
    /// Whether everything asked for was saved.
    pub status: BackupOutcome,
    /// Start of the run.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// End of the run.
    #[serde(with = "time::serde::rfc3339")]
    pub finished_at: OffsetDateTime,
    /// Where the manifest is; none when nothing was saved.
    pub manifest: Option<String>,
    pub collections: Vec<Saved>,
    /// What was not.
    pub failed: Vec<Failure>,
    /// What the reader should know.
    pub warnings: Vec<String>,
    /// Collections that Qdrant optimized while they were saved: the backup is not good before a drill has counted them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unproven: Vec<String>,
    /// What the run waited because Qdrant was busy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBack>,
}

/// Whether everything asked for was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupOutcome {
    /// All of it.
    Complete,
    /// Some of it.
    Partial,
    /// Nothing.
    Failed,
}

impl std::fmt::Display for BackupOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The word in the API, as serde writes it.
        self.serialize(f)
    }
}

/// One saved collection.
#[derive(Clone, Debug, Serialize)]
pub struct Saved {
    pub name: String,
    /// Count after the snapshot was made.
    pub points: u64,
    /// Whether that is Qdrant's estimate, because the collection refuses exact counts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub points_estimated: bool,
    /// Bytes stored.
    pub bytes: u64,
    /// Shards that were streamed; the others, and whole collections, by way of a file on Qdrant's disk.
    #[serde(skip_serializing_if = "is_none")]
    pub streamed: usize,
}

fn is_none(count: &usize) -> bool {
    *count == 0
}

impl BackupReport {
    /// What the run came to that wrote this manifest into the store at `url`.
    pub(super) fn of<D>(manifest: &Manifest<D>, url: &str) -> Self {
        Self {
            id: manifest.id,
            status: match manifest.status {
                Status::Complete => BackupOutcome::Complete,
                Status::Partial => BackupOutcome::Partial,
            },
            started_at: manifest.started_at,
            finished_at: manifest.finished_at,
            manifest: Some(format!("{url}/{}", manifest.id.manifest())),
            collections: manifest.collections.iter().map(Saved::of).collect(),
            failed: manifest.failed.clone(),
            warnings: manifest
                .warnings
                .iter()
                .cloned()
                .chain(warnings(&manifest.collections))
                .collect(),
            unproven: unproven(&manifest.collections),
            held_back: None,
        }
    }

    /// Bytes of everything that was saved.
    pub fn bytes(&self) -> u64 {
        total(self.collections.iter().map(|c| c.bytes))
    }

    /// The error of the run, if not everything was saved.
    pub fn error(&self) -> Option<Error> {
        let all = self.collections.len() + self.failed.len();
        let names: Vec<_> = self.failed.iter().map(|f| f.collection.as_str()).collect();
        let names = names.join(", ");
        match self.status {
            BackupOutcome::Complete => None,
            BackupOutcome::Partial => Some(
                Error::new(
                    Code::BackupPartial,
                    format!(
                        "backup {}: {} of {all} collections failed: {names}",
                        self.id,
                        self.failed.len()
                    ),
                )
                .remedy("fix the causes and run it again; the others are saved and can be restored"),
            ),
            BackupOutcome::Failed => Some(
                Error::new(
                    Code::BackupFailed,
                    format!("backup {}: all collections failed: {names}", self.id),
                )
                .remedy("fix the causes and run it again; `qdrant-backup check` helps to find them"),
            ),
        }
    }
}

/// Those of these collections that a report repeats.
fn warnings<D>(collections: &[manifest::Collection<D>]) -> Vec<String> {
    let of_each = collections.iter().flat_map(|collection| {
        let name = in_the_middle(&collection.name, manifest::LONGEST_NAME);
        let told = collection.warnings.iter().take(MOST_WARNINGS);
        told.map(move |warning| format!("collection {name:?}: {warning}"))
    });
    of_each.take(MOST_WARNINGS).collect()
}

fn unproven<D>(collections: &[manifest::Collection<D>]) -> Vec<String> {
    let unsettled = collections.iter().filter(|collection| collection.is_unsettled());
    unsettled.map(|collection| collection.name.clone()).collect()
}

impl Saved {
    pub(super) fn of<D>(collection: &manifest::Collection<D>) -> Self {
        Self {
            name: collection.name.clone(),
            points: collection.points_after,
            points_estimated: collection.points_estimated,
            bytes: collection.bytes(),
            streamed: collection.artifacts.iter().filter(|a| a.is_streamed()).count(),
        }
    }
}

/// The results of the units of a run, or of some of them.
#[derive(Default)]
pub(super) struct Results {
    /// An entry for each saved unit, with its one artifact.
    pub(super) collections: Vec<manifest::Collection>,
    pub(super) failed: Vec<(Unit, Failure)>,
    /// Deleted on Qdrant in mid-run.
    pub(super) gone: Vec<String>,
    /// Not saved, because the run was cancelled.
    pub(super) stopped: Vec<Unit>,
    /// The failure of one that concerns all.
    pub(super) refused: Option<Error>,
}

/// Whether two units are shards of one collection, as it was when each was saved.
fn are_of_one(one: &manifest::Collection, other: &manifest::Collection) -> bool {
    one.is_described_by(&other.config, &other.payload_schema)
        && ShardKeys::of(&one.shards.value()) == ShardKeys::of(&other.shards.value())
}

/// Adds to the entry of a collection what another unit of it, a shard, came to.
pub(super) fn add_shard(there: &mut manifest::Collection, unit: manifest::Collection) -> Result<()> {
    let is_same = are_of_one(there, &unit);
    // Each unit is a shard, and tells the points of that one.
    there.points_before = there.points_before.saturating_add(unit.points_before);
    there.points_after = there.points_after.saturating_add(unit.points_after);
    there.points_estimated |= unit.points_estimated;
    there.changed_to = unit.changed_to.or(there.changed_to.take());
    there.artifacts.extend(unit.artifacts);
    there.artifacts.sort_by(|a, b| a.key.cmp(&b.key));
    there.warnings.extend(unit.warnings);
    there.warnings.dedup();
    match is_same {
        true => Ok(()),
        false => Err(shards_changed(&unit.name)),
    }
}

/// The error of a collection whose shards are not those that were to be saved.
pub(super) fn shards_changed(collection: &str) -> Error {
    Error::new(
        Code::SnapshotChanged,
        format!("the shards or the configuration of collection {collection:?} changed during the backup"),
    )
    .remedy("run it again; nobody else may change its shard keys or its configuration meanwhile")
}

/// The error of a collection of which some shards were saved of another one of its name.
pub(super) fn remade(collection: &str) -> Error {
    Error::new(
        Code::SnapshotChanged,
        format!("collection {collection:?} was deleted and made again during the backup"),
    )
    .remedy("run it again; nobody else may replace the collection meanwhile")
}

/// The results of the collections.
struct Merged {
    collections: Vec<manifest::Collection>,
    failed: Vec<Failure>,
    gone: BTreeSet<String>,
}

impl Results {
    pub(super) fn extend(&mut self, more: Self) {
        self.collections.extend(more.collections);
        self.failed.extend(more.failed);
        self.gone.extend(more.gone);
        self.stopped.extend(more.stopped);
        self.refused = more.refused.or(self.refused.take());
    }

    /// Nothing of that collection is left here.
    pub(super) fn forget(&mut self, name: &str) {
        self.collections.retain(|collection| collection.name != name);
        self.failed.retain(|(unit, _)| unit.collection != name);
    }

    /// The collections of which a shard moved or changed while they were saved, with nothing of them left here.
    pub(super) fn forget_changed(&mut self) -> Vec<String> {
        let is_changed = |(unit, failure): &(Unit, Failure)| {
            let changed = failure.error.code == Code::SnapshotChanged.to_string();
            let is_by_shards = unit.shard.is_some() || unit.mode == Mode::Stream;
            (changed && is_by_shards).then(|| unit.collection.clone())
        };
        let mut changed: BTreeSet<String> = self.failed.iter().filter_map(is_changed).collect();
        changed.extend(self.uneven());
        self.collections
            .retain(|collection| !changed.contains(&collection.name));
        self.failed.retain(|(unit, _)| !changed.contains(&unit.collection));
        changed.into_iter().collect()
    }

    /// Collections whose units saw another collection each, or which changed under one.
    fn uneven(&self) -> Vec<String> {
        let mut seen: BTreeMap<&str, &manifest::Collection> = BTreeMap::new();
        let mut uneven = Vec::new();
        for unit in self.collections.iter().filter(|collection| collection.is_by_shards()) {
            let known = seen.insert(&unit.name, unit);
            if unit.changed_to.is_some() || known.is_some_and(|known| !are_of_one(known, unit)) {
                uneven.push(unit.name.clone());
            }
        }
        uneven
    }

    /// One entry for each collection. One that lacks a unit is not saved, and told once.
    fn merge(self) -> Merged {
        let gone: BTreeSet<String> = self.gone.into_iter().collect();
        let mut failed: BTreeMap<String, Failure> = BTreeMap::new();
        for (unit, failure) in self.failed {
            failed.entry(unit.collection).or_insert(failure);
        }
        let mut whole: BTreeMap<String, manifest::Collection> = BTreeMap::new();
        for unit in self.collections {
            match whole.entry(unit.name.clone()) {
                Entry::Vacant(free) => drop(free.insert(unit)),
                Entry::Occupied(mut there) => {
                    let name = unit.name.clone();
                    if let Err(error) = add_shard(there.get_mut(), unit) {
                        failed.insert(name.clone(), Failure::of(&name, &error));
                    }
                }
            }
        }
        for collection in whole.values().filter(|c| !gone.contains(&c.name)) {
            if let Some(id) = collection.lacks_shard() {
                let error = shards_changed(&collection.name).because(format!("shard {id} was not saved"));
                let failure = || Failure::of(&collection.name, &error);
                failed.entry(collection.name.clone()).or_insert_with(failure);
            }
        }
        // What is gone is told as that.
        failed.retain(|name, _| !gone.contains(name));
        whole.retain(|name, _| !gone.contains(name) && !failed.contains_key(name));
        Merged {
            collections: whole.into_values().collect(),
            failed: failed.into_values().collect(),
            gone,
        }
    }
}

/// What is known of a run beside its results.
pub(super) struct RunFacts {
    pub(super) id: BackupId,
    pub(super) started_at: OffsetDateTime,
    pub(super) finished_at: OffsetDateTime,
    pub(super) qdrant: QdrantInfo,
    pub(super) selection: Selection,
    pub(super) warnings: Vec<String>,
    pub(super) extra: BTreeMap<String, Value>,
}

impl RunFacts {
    /// The report and the manifest that `results` amount to; no manifest when nothing was saved.
    pub(super) fn conclude(mut self, results: Results) -> Result<(BackupReport, Option<EncodedManifest>)> {
        let id = self.id;
        let mut results = results.merge();
        for name in std::mem::take(&mut results.gone) {
            let shown = in_the_middle(&name, manifest::LONGEST_NAME);
            let text = format!("collection {shown:?} was deleted on Qdrant during the run; it is not in this backup");
            // Of a pattern there is one less; who asked for it by its name does not have what was asked for.
            if self.selection.collections.contains(&name) {
                let error = Error::new(Code::CollectionNotFound, text).remedy("omit it, or find out what deletes it");
                results.failed.push(Failure::of(&name, &error));
            } else {
                self.warnings.push(text);
            }
        }
        let rest = (
            &self.qdrant,
            &self.selection,
            &self.warnings,
            &self.extra,
            &results.failed,
        );
        for (name, error) in manifest::unreadable_collections(&results.collections, &rest)? {
            results.collections.retain(|c| c.name != name);
            results.failed.push(Failure::of(&name, &error));
        }
        results.failed.sort_by(|a, b| a.collection.cmp(&b.collection));
        for warning in &self.warnings {
            tracing::warn!(backup = %id, "{warning}");
        }
        let status = match (results.collections.is_empty(), results.failed.is_empty()) {
            (false, true) => BackupOutcome::Complete,
            (false, false) => BackupOutcome::Partial,
            (true, false) => BackupOutcome::Failed,
            (true, true) => {
                return Err(Error::new(
                    Code::NothingToBackUp,
                    "every selected collection was deleted during the run",
                )
                .remedy("check what deletes collections; nothing was saved"));
            }
        };
        let of_collections = warnings(&results.collections);
        for warning in &of_collections {
            tracing::warn!(backup = %id, "{warning}");
        }
        let report = BackupReport {
            id,
            status,
            started_at: self.started_at,
            finished_at: self.finished_at,
            manifest: None,
            collections: results.collections.iter().map(Saved::of).collect(),
            failed: results.failed.clone(),
            warnings: self.warnings.iter().cloned().chain(of_collections).collect(),
            unproven: unproven(&results.collections),
            held_back: None,
        };
        let status = match status {
            BackupOutcome::Complete => Status::Complete,
            BackupOutcome::Partial => Status::Partial,
            BackupOutcome::Failed => return Ok((report, None)),
        };
        let manifest = Manifest {
            format: manifest::FORMAT,
            id,
            status,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            finished_at: self.finished_at,
            qdrant: self.qdrant,
            selection: self.selection,
            collections: results.collections,
            failed: results.failed,
            warnings: self.warnings,
            extra: self.extra,
        };
        // What names objects of others can be read, and is damaged to everybody.
        let what = format!("the manifest of backup {id}");
        record::read_back(&what, blobs::require_places(&manifest, &id))?;
        Ok((report, Some(EncodedManifest::new(&manifest)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::names::ArtifactKind;
    use serde_json::{from_value, json};

    /// An entry as a unit leaves it, with its one artifact.
    fn entry(name: &str, shard: u32) -> manifest::Collection {
        let kind = ArtifactKind::Shard(shard);
        let key = format!("backups/x/{name}/shard-{shard}.snapshot");
        from_value(json!({
            "name": name, "config": {}, "payload_schema": {}, "aliases": [], "points_before": 1, "points_after": shard,
            "shards": null, "warnings": ["same"],
            "artifacts": [{
                "key": key, "storage": "object", "kind": kind, "bytes": 1, "sha256": "", "sha256_confirmed_by_qdrant": true,
                "crc32c": "", "version": "", "snapshot": "", "requested_at": "2026-11-22T12:00:00Z",
                "created_at": "2026-11-22T12:00:00Z"
            }]
        }))
        .unwrap()
    }

    #[test]
    fn the_units_of_a_collection_make_one_entry_or_none() {
        let unit = |name: &str, shard| Unit {
            shard: Some(shard),
            ..Unit::whole(name)
        };
        let failure = |name: &str| Failure::of(name, &Error::new(Code::Stalled, "x"));
        let merged = Results {
            collections: vec![entry("b", 0), entry("a", 1), entry("a", 0), entry("c", 0)],
            failed: vec![(unit("b", 1), failure("b")), (unit("b", 2), failure("b"))],
            gone: vec!["c".into(), "c".into()],
            stopped: Vec::new(),
            refused: None,
        }
        .merge();
        let names: Vec<_> = merged.collections.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["a"], "what lacks a unit is not saved");
        let kinds: Vec<_> = merged.collections[0].artifacts.iter().map(|a| a.kind).collect();
        assert_eq!(kinds, [ArtifactKind::Shard(0), ArtifactKind::Shard(1)]);
        assert_eq!(merged.collections[0].warnings, ["same"]);
        let failed: Vec<_> = merged.failed.iter().map(|f| f.collection.as_str()).collect();
        assert_eq!((failed, merged.gone.len()), (vec!["b"], 1), "each is told once");
    }
}
