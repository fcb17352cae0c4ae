//! What the tasks of an execution tell each other through the store: one plan, and a part for each unit.

use crate::base::error::{Code, Error, Result};
use crate::repository::aliases::Aliases;
use crate::repository::manifest::{self, Failure, QdrantInfo};
use crate::repository::names::{ArtifactKind, BackupId, Execution, JOBS, Name};
use crate::repository::selection::Selection;
use crate::repository::unit::Unit;
use crate::wire::store::record::{self, Record};
use crate::wire::store::{Condition, Store};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// The records' version. Only tasks of the same execution read them, and these are of the same version of the tool.
pub(crate) const FORMAT: u32 = 1;
const LARGEST: u64 = 64 << 20;
/// Parts read at once.
const READ_AT_ONCE: usize = 8;

/// What all tasks of an execution agree on. Written once, by the first of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct JobPlan {
    pub(crate) format: u32,
    pub(crate) id: BackupId,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) started_at: OffsetDateTime,
    pub(crate) tasks: u32,
    pub(crate) selection: Selection,
    /// Base URL of the Qdrant.
    pub(crate) url: String,
    pub(crate) qdrant: QdrantInfo,
    /// In the order of their names; task i of n does every n-th of them from the i-th on.
    #[serde(default)]
    pub(crate) units: Vec<Unit>,
    /// Those of each collection that has any.
    #[serde(default)]
    pub(crate) aliases: Aliases,
    pub(crate) warnings: Vec<String>,
    /// How long the nodes took to answer before anything was begun, where that is watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) latencies: Vec<NodeLatency>,
    /// What earlier versions wrote in place of the units.
    #[serde(default, skip_serializing)]
    pub(crate) collections: Vec<WholeCollection>,
}

/// How long a node took to answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeLatency {
    /// Of which a point was read, on its node.
    pub(crate) unit: Unit,
    pub(crate) microseconds: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WholeCollection {
    name: String,
    aliases: Vec<String>,
}

impl JobPlan {
    /// The units of the task of that number, from 0.
    pub(crate) fn share(&self, task: u32) -> impl Iterator<Item = &Unit> {
        self.units
            .iter()
            .skip(task as usize)
            .step_by(self.tasks.max(1) as usize)
    }

    /// With units, whichever version wrote it.
    fn with_units(mut self) -> Self {
        for whole in std::mem::take(&mut self.collections) {
            self.units.push(Unit::whole(&whole.name));
            self.aliases.insert(whole.name, whole.aliases);
        }
        self
    }
}

/// The result of one unit. Written once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    format: u32,
    id: BackupId,
    #[serde(flatten)]
    pub(crate) unit: Unit,
    #[serde(flatten)]
    pub(crate) outcome: PartOutcome,
    /// Some segments that the collection had meanwhile, where Qdrant tells them: of another one of its name all are others.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) segments: BTreeSet<String>,
}

/// How a unit ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PartOutcome {
    /// Saved: its entry in the manifest.
    Saved(Box<manifest::Collection>),
    /// Given up.
    Failed(Failure),
    /// Deleted on Qdrant in mid-run.
    Gone,
}

impl PartOutcome {
    pub(crate) fn saved(collection: manifest::Collection) -> Self {
        Self::Saved(Box::new(collection))
    }
}

impl Part {
    pub(crate) fn new(id: BackupId, unit: &Unit, outcome: PartOutcome) -> Self {
        Self {
            format: FORMAT,
            id,
            unit: unit.clone(),
            outcome,
            segments: BTreeSet::new(),
        }
    }

    pub(crate) fn with_segments(self, segments: BTreeSet<String>) -> Self {
        Self { segments, ..self }
    }
}

/// The collections of which not all parts are of the same one: no chain of common segments leads from each part to each other. Over a
/// time in which Qdrant has written all segments anew that is so of one as well. A part without segments tells nothing.
pub(crate) fn remade(parts: &[Part]) -> BTreeSet<String> {
    let mut collections: BTreeMap<&str, Vec<&BTreeSet<String>>> = BTreeMap::new();
    for part in parts.iter().filter(|part| !part.segments.is_empty()) {
        let seen = collections.entry(&part.unit.collection).or_default();
        seen.push(&part.segments);
    }
    let is_one = |seen: &[&BTreeSet<String>]| {
        let (mut known, mut rest) = (BTreeSet::new(), seen.to_vec());
        // The first one, and then whatever has a segment of those.
        while let Some(at) = rest.iter().position(|one| known.is_empty() || !known.is_disjoint(one)) {
            known.extend(rest.swap_remove(at).iter().cloned());
        }
        rest.is_empty()
    };
    let several = collections.iter().filter(|(_, seen)| !is_one(seen));
    several.map(|(name, _)| (*name).to_owned()).collect()
}

/// The plan of the execution, if there is one yet. Whether this version understands it, its format tells.
pub(crate) async fn plan(store: &dyn Store, execution: &Execution) -> Result<Option<JobPlan>> {
    let plan = read::<JobPlan>(store, &execution.plan()).await?;
    Ok(plan.map(JobPlan::with_units))
}

/// Writes the plan of the execution; `false` when there is one.
pub(crate) async fn create_plan(store: &dyn Store, execution: &Execution, plan: &JobPlan) -> Result<bool> {
    create(store, &execution.plan(), plan).await
}

/// Records a part, and returns the one that holds: an earlier one, if there is one.
pub(crate) async fn create_part(store: &dyn Store, execution: &Execution, part: Part) -> Result<Part> {
    let key = execution.part(&part.unit);
    if create(store, &key, &part).await? {
        return Ok(part);
    }
    tracing::warn!(
        key,
        "another process already recorded this part of the backup; its result is used"
    );
    self::part(store, execution, part.id, &part.unit).await
}

/// The units that have no part yet.
pub(crate) async fn open(store: &dyn Store, execution: &Execution, plan: &JobPlan) -> Result<BTreeSet<Unit>> {
    let keys = store.list(&execution.parts()).await?.map_ok(|object| object.key);
    let keys: BTreeSet<String> = keys.try_collect().await?;
    let open = plan.units.iter().filter(|unit| !keys.contains(&execution.part(unit)));
    Ok(open.cloned().collect())
}

/// The parts of these units, which must be there.
pub(crate) async fn parts(
    store: &dyn Store,
    execution: &Execution,
    plan: &JobPlan,
    units: impl Iterator<Item = &Unit>,
) -> Result<Vec<Part>> {
    let units: Vec<Unit> = units.cloned().collect();
    stream::iter(units)
        .map(|unit| async move { part(store, execution, plan.id, &unit).await })
        .buffered(READ_AT_ONCE)
        .try_collect()
        .await
}

async fn part(store: &dyn Store, execution: &Execution, id: BackupId, unit: &Unit) -> Result<Part> {
    let key = execution.part(unit);
    let odd = |what: String| {
        Error::new(Code::BackupDamaged, format!("{}/{key} {what}", store.url()))
            .remedy("start another execution; nothing was committed")
    };
    let Some(part) = read::<Part>(store, &key).await? else {
        return Err(odd("is missing".to_owned()));
    };
    if part.format != FORMAT || part.id != id || part.unit != *unit {
        return Err(odd(format!(
            "is a part of backup {}, {:?}, not of {id}, {:?}",
            part.id,
            part.unit.to_string(),
            unit.to_string()
        )));
    }
    if let PartOutcome::Saved(saved) = &part.outcome
        && (saved.name != unit.collection || !saved.artifacts.iter().all(|artifact| is_of(artifact.kind, unit)))
    {
        return Err(odd(format!(
            "has what was saved of collection {:?}, not {:?}",
            saved.name,
            unit.to_string()
        )));
    }
    Ok(part)
}

/// Whether an artifact may be what became of a unit, or a part of it: a whole collection may be saved by its shards.
fn is_of(kind: ArtifactKind, unit: &Unit) -> bool {
    unit.shard.is_none() || kind == unit.kind()
}

async fn read<T: Record>(store: &dyn Store, key: &str) -> Result<Option<T>> {
    record::read(store, key).await.map_err(|e| match e.code() {
        Code::BackupDamaged => e.remedy("start another execution; nothing was committed"),
        _ => e,
    })
}

/// Records that cannot be read, and what to do about each, as far as many are looked at.
pub(crate) async fn unreadable(store: &dyn Store) -> Result<Vec<Error>> {
    const LOOKED_AT: usize = 1000;
    let objects = store.list(JOBS).await?.take(LOOKED_AT);
    let looks = objects
        .map_ok(|object| async move {
            let read = match Name::parse(&object.key) {
                Some(Name::JobPlan(_)) => record::read::<JobPlan>(store, &object.key).await.map(drop),
                Some(Name::JobPart { .. }) => record::read::<Part>(store, &object.key).await.map(drop),
                _ => Ok(()),
            };
            match read {
                Err(e) if e.code() == Code::BackupDamaged => Ok(Some(e.remedy(
                    "start another execution, if this one has not ended; `qdrant-backup prune` deletes the records a day after \
                     their last change",
                ))),
                read => read.map(|()| None),
            }
        })
        .try_buffered(READ_AT_ONCE);
    looks.try_filter_map(async |odd| Ok(odd)).try_collect().await
}

/// Whether it was written; `false` when there is an object of that name.
async fn create<T: Record>(store: &dyn Store, key: &str, record: &T) -> Result<bool> {
    let written = record::write::<T>(store, key, record, Condition::Absent).await?;
    Ok(written.is_some())
}

impl Record for JobPlan {
    const WHAT: &'static str = "the plan of a job";
    const LARGEST: u64 = LARGEST;
}

impl Record for Part {
    const WHAT: &'static str = "a part of a job's backup";
    const LARGEST: u64 = LARGEST;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    #[test]
    fn records_of_an_earlier_version_name_whole_collections() {
        let plan = json!({
            "format": 1, "id": "2026-11-22T12-00-00Z", "started_at": "2026-11-22T12:00:00Z", "tasks": 2, "selection": {},
            "url": "http://q:6333", "qdrant": {"version": "1.18.3", "topology": {"kind": "standalone"}},
            "collections": [
                {"name": "a", "aliases": ["live"], "artifacts": [{"kind": "collection"}]},
                {"name": "b", "aliases": [], "artifacts": [{"kind": "collection"}]}
            ],
            "warnings": []
        });
        let plan = from_value::<JobPlan>(plan).unwrap().with_units();
        assert_eq!(plan.units, [Unit::whole("a"), Unit::whole("b")]);
        assert_eq!(
            (plan.aliases.of("a"), plan.aliases.of("b")),
            (&["live".to_owned()][..], &[][..])
        );
        let again: JobPlan = from_value(serde_json::to_value(&plan).unwrap()).unwrap();
        assert_eq!(again.with_units().units, plan.units);

        let part = json!({"format": 1, "id": "2026-11-22T12-00-00Z", "collection": "a", "gone": null});
        assert!(from_value::<Part>(part.clone()).unwrap().segments.is_empty());
        assert_eq!(from_value::<Part>(part).unwrap().unit, Unit::whole("a"));
    }
    #[test]
    fn parts_of_one_collection_have_segments_in_common() {
        let part = |collection: &str, shard: u32, segments: &[&str]| {
            let unit = Unit::shard(collection, shard, 1);
            let id = "2026-11-22T12-00-00Z".parse().unwrap();
            let seen = segments.iter().map(|segment| (*segment).to_owned()).collect();
            let part = Part::new(id, &unit, PartOutcome::Gone).with_segments(seen);
            from_value::<Part>(serde_json::to_value(&part).unwrap()).unwrap()
        };
        let parts = [
            // One after the other is written anew.
            part("optimized", 0, &["1", "2"]),
            part("optimized", 2, &["4", "5"]),
            part("optimized", 1, &["2", "3", "4"]),
            part("optimized", 3, &[]),
            part("remade", 0, &["1", "2"]),
            part("remade", 1, &["2", "3"]),
            part("remade", 2, &["7", "8"]),
            part("remade", 3, &["8"]),
            part("silent", 0, &[]),
            part("silent", 1, &[]),
        ];
        assert_eq!(remade(&parts), BTreeSet::from(["remade".to_owned()]));
    }
}
