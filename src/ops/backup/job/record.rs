//! What the tasks of an execution tell each other through the store: one plan, and a part for each unit.

use super::Task;
use crate::base::error::{Code, Error, Result};
use crate::ops::backup::{free_id, planned};
use crate::ops::context::Context;
use crate::repository::intents;
use crate::repository::manifest::{self, Failure, QdrantInfo};
use crate::repository::names::BackupId;
use crate::repository::selection::Selection;
use crate::repository::unit::Unit;
use crate::wire::store::Condition;
use crate::wire::store::record::{self, Record};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// The records' version. Only tasks of the same execution read them, and these are of the same version of the tool.
const FORMAT: u32 = 1;
const LARGEST: u64 = 64 << 20;
/// Parts read at once.
const READ_AT_ONCE: usize = 8;

/// What all tasks of an execution agree on. Written once, by the first of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    format: u32,
    pub(super) id: BackupId,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) started_at: OffsetDateTime,
    pub(super) tasks: u32,
    pub(super) selection: Selection,
    /// Base URL of the Qdrant.
    url: String,
    pub(super) qdrant: QdrantInfo,
    /// In the order of their names; task i of n does every n-th of them from the i-th on.
    #[serde(default)]
    pub(super) units: Vec<Unit>,
    /// Those of each collection that has any.
    #[serde(default)]
    aliases: BTreeMap<String, Vec<String>>,
    pub(super) warnings: Vec<String>,
    /// What earlier versions wrote in place of the units.
    #[serde(default, skip_serializing)]
    collections: Vec<WholeCollection>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct WholeCollection {
    name: String,
    aliases: Vec<String>,
}

impl Plan {
    pub(super) fn share(&self, task: &Task) -> impl Iterator<Item = &Unit> {
        let (index, count) = (task.index as usize, task.count as usize);
        self.units.iter().skip(index).step_by(count)
    }

    pub(super) fn aliases_of(&self, collection: &str) -> &[String] {
        self.aliases.get(collection).map_or(&[], Vec::as_slice)
    }

    /// With units, whichever version wrote it.
    fn understood(mut self) -> Self {
        for whole in std::mem::take(&mut self.collections) {
            self.units.push(Unit::whole(&whole.name));
            self.aliases.insert(whole.name, whole.aliases);
        }
        self
    }
}

/// The result of one unit. Written once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Part {
    format: u32,
    id: BackupId,
    #[serde(flatten)]
    pub(super) unit: Unit,
    #[serde(flatten)]
    pub(super) fate: PartOutcome,
}

/// How a unit ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PartOutcome {
    /// Saved: its entry in the manifest.
    Saved(Box<manifest::Collection>),
    /// Given up.
    Failed(Failure),
    /// Deleted on Qdrant in mid-run.
    Gone,
}

impl PartOutcome {
    pub(super) fn saved(collection: manifest::Collection) -> Self {
        Self::Saved(Box::new(collection))
    }
}

impl Part {
    pub(super) fn new(id: BackupId, unit: &Unit, fate: PartOutcome) -> Self {
        Self {
            format: FORMAT,
            id,
            unit: unit.clone(),
            fate,
        }
    }
}

/// The plan of the execution, if there is one yet.
pub(super) async fn plan(ctx: &Context, task: &Task, selection: &Selection) -> Result<Option<Plan>> {
    let Some(plan) = read::<Plan>(ctx, &task.execution.plan()).await? else {
        return Ok(None);
    };
    let plan = plan.understood();
    let differs = |what: &str, theirs: String, ours: String| {
        Err(Error::new(
            Code::ConfigInvalid,
            format!(
                "execution {} started with {what} {theirs}, this task has {ours}",
                task.execution
            ),
        )
        .remedy("give all tasks of an execution the same configuration, and each execution its own name"))
    };
    if plan.format != FORMAT {
        return differs(
            "a version of the tool that writes format",
            plan.format.to_string(),
            FORMAT.to_string(),
        );
    }
    if plan.tasks != task.count {
        return differs("a number of tasks of", plan.tasks.to_string(), task.count.to_string());
    }
    if plan.url != ctx.qdrant.url() {
        return differs("the Qdrant", plan.url, ctx.qdrant.url());
    }
    if plan.selection != *selection {
        return differs("the selection", plan.selection.to_string(), selection.to_string());
    }
    Ok(Some(plan))
}

/// The plan of the execution, made now if this is the first task. Call it with the lease held.
pub(super) async fn plan_or_create(ctx: &Context, selection: &Selection, task: &Task) -> Result<Plan> {
    if let Some(plan) = plan(ctx, task, selection).await? {
        return Ok(plan);
    }
    let started_at = ctx.clock.now();
    let made = planned(ctx, selection).await?;
    let ours = Plan {
        format: FORMAT,
        id: free_id(&*ctx.store, started_at).await?,
        started_at,
        tasks: task.count,
        selection: selection.clone(),
        url: ctx.qdrant.url(),
        qdrant: made.qdrant,
        units: made.units,
        aliases: made.aliases,
        warnings: made.warnings,
        collections: Vec::new(),
    };
    if !write(ctx, &task.execution.plan(), &ours).await? {
        return plan(ctx, task, selection).await?.ok_or_else(|| {
            Error::new(
                Code::StoreConflict,
                format!("{}/{} appeared and disappeared", ctx.store.url(), task.execution.plan()),
            )
            .remedy("stop the other client that deletes objects in the store during a backup")
        });
    }
    tracing::info!(backup = %ours.id, execution = %task.execution, units = ours.units.len(), "backup {} started", ours.id);
    // With the lease held, runs other than this execution are dead. Its own tasks may have begun by now.
    let id = ours.id;
    for warning in intents::recover(&*ctx.store, &ctx.qdrant, started_at, move |i| i.run != id).await? {
        tracing::warn!(backup = %id, "{warning}");
    }
    Ok(ours)
}

/// Records a part, and returns the one that holds: an earlier one, if there is one.
pub(super) async fn done(ctx: &Context, task: &Task, part: Part) -> Result<Part> {
    let key = task.execution.part(&part.unit);
    if write(ctx, &key, &part).await? {
        return Ok(part);
    }
    tracing::warn!(
        key,
        "another process already recorded this part of the backup; its result is used"
    );
    self::part(ctx, task, part.id, &part.unit).await
}

/// The units that have no part yet.
pub(super) async fn open(ctx: &Context, task: &Task, plan: &Plan) -> Result<BTreeSet<Unit>> {
    let keys = ctx
        .store
        .list(&task.execution.parts())
        .await?
        .map_ok(|object| object.key);
    let keys: BTreeSet<String> = keys.try_collect().await?;
    let open = plan
        .units
        .iter()
        .filter(|unit| !keys.contains(&task.execution.part(unit)));
    Ok(open.cloned().collect())
}

/// The parts that there are of the share of a task.
pub(super) async fn share(ctx: &Context, task: &Task, plan: &Plan) -> Result<Vec<Part>> {
    let open = open(ctx, task, plan).await?;
    let done = plan.share(task).filter(|unit| !open.contains(*unit));
    parts(ctx, task, plan, done).await
}

/// The parts of these units, which must be there.
pub(super) async fn parts(
    ctx: &Context,
    task: &Task,
    plan: &Plan,
    units: impl Iterator<Item = &Unit>,
) -> Result<Vec<Part>> {
    let units: Vec<Unit> = units.cloned().collect();
    stream::iter(units)
        .map(|unit| async move { part(ctx, task, plan.id, &unit).await })
        .buffered(READ_AT_ONCE)
        .try_collect()
        .await
}

async fn part(ctx: &Context, task: &Task, id: BackupId, unit: &Unit) -> Result<Part> {
    let key = task.execution.part(unit);
    let odd = |what: String| {
        Error::new(Code::BackupDamaged, format!("{}/{key} {what}", ctx.store.url()))
            .remedy("start another execution; nothing was committed")
    };
    let Some(part) = read::<Part>(ctx, &key).await? else {
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
    Ok(part)
}

async fn read<T: Record>(ctx: &Context, key: &str) -> Result<Option<T>> {
    record::read(&*ctx.store, key).await.map_err(|e| match e.code() {
        Code::BackupDamaged => e.remedy("start another execution; nothing was committed"),
        _ => e,
    })
}

/// Whether it was written; `false` when there is an object of that name.
async fn write<T: Record>(ctx: &Context, key: &str, record: &T) -> Result<bool> {
    let written = record::write::<T>(&*ctx.store, key, record, Condition::Absent).await?;
    Ok(written.is_some())
}

impl Record for Plan {
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
        let plan = from_value::<Plan>(plan).unwrap().understood();
        assert_eq!(plan.units, [Unit::whole("a"), Unit::whole("b")]);
        assert_eq!(
            (plan.aliases_of("a"), plan.aliases_of("b")),
            (&["live".to_owned()][..], &[][..])
        );
        let again: Plan = from_value(serde_json::to_value(&plan).unwrap()).unwrap();
        assert_eq!(again.understood().units, plan.units);

        let part = json!({"format": 1, "id": "2026-11-22T12-00-00Z", "collection": "a", "gone": null});
        assert_eq!(from_value::<Part>(part).unwrap().unit, Unit::whole("a"));
    }
}
