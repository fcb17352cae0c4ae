//! What the tasks of an execution tell each other through the store: one plan, and a part for each collection.

use super::Task;
use crate::base::error::{Code, Error, Result};
use crate::ops::backup::{Context, free_id, planned};
use crate::ops::plan::CollectionPlan;
use crate::repository::intents;
use crate::repository::manifest::{self, Failure, QdrantInfo};
use crate::repository::names::BackupId;
use crate::repository::selection::Selection;
use crate::wire::store::{BytesSource, Condition, Store, read_small, readable};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
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
    pub(super) collections: Vec<CollectionPlan>,
    pub(super) warnings: Vec<String>,
}

impl Plan {
    /// The share of a task.
    pub(super) fn share(&self, task: &Task) -> impl Iterator<Item = &CollectionPlan> {
        let (index, count) = (task.index as usize, task.count as usize);
        self.collections.iter().skip(index).step_by(count)
    }
}

/// What became of one collection. Written once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Part {
    format: u32,
    id: BackupId,
    pub(super) collection: String,
    #[serde(flatten)]
    pub(super) fate: Fate,
}

/// How a collection ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fate {
    /// Saved: its entry in the manifest.
    Saved(Box<manifest::Collection>),
    /// Given up.
    Failed(Failure),
    /// Deleted on Qdrant in mid-run.
    Gone,
}

impl Fate {
    pub(super) fn saved(collection: manifest::Collection) -> Self {
        Self::Saved(Box::new(collection))
    }
}

impl Part {
    pub(super) fn new(id: BackupId, collection: &str, fate: Fate) -> Self {
        Self {
            format: FORMAT,
            id,
            collection: collection.to_owned(),
            fate,
        }
    }
}

/// The plan of the execution, if there is one yet.
pub(super) async fn plan(ctx: &Context, task: &Task, selection: &Selection) -> Result<Option<Plan>> {
    let Some(plan) = read::<Plan>(ctx, &task.execution.plan()).await? else {
        return Ok(None);
    };
    let differs = |what: &str, theirs: String, ours: String| {
        Err(Error::new(
            Code::ConfigInvalid,
            format!(
                "execution {} was begun with {what} {theirs}, this task has {ours}",
                task.execution
            ),
        )
        .remedy("give all tasks of an execution the same configuration, and each execution a name of its own"))
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
        return differs(
            "the selection",
            format!("{:?}", plan.selection),
            format!("{selection:?}"),
        );
    }
    Ok(Some(plan))
}

/// The plan of the execution, made now if this is the first task. Call it with the lease held.
pub(super) async fn agree(ctx: &Context, selection: &Selection, task: &Task) -> Result<Plan> {
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
        collections: made.collections,
        warnings: made.warnings,
    };
    if !write(ctx, &task.execution.plan(), &ours).await? {
        return plan(ctx, task, selection).await?.ok_or_else(|| {
            Error::new(
                Code::StoreConflict,
                format!("{}/{} is there and is not", ctx.store.url(), task.execution.plan()),
            )
            .remedy("something else deletes objects in the store; keep it from doing so during a backup")
        });
    }
    tracing::info!(backup = %ours.id, execution = %task.execution, collections = ours.collections.len(), "backup begins");
    // With the lease held, runs other than this execution are dead. Its own tasks may have begun by now.
    let id = ours.id;
    for warning in intents::recover(&*ctx.store, &ctx.qdrant, started_at, move |i| i.run != id).await? {
        tracing::warn!(backup = %id, "{warning}");
    }
    Ok(ours)
}

/// Records a part, and returns the one that holds: an earlier one, if there is one.
pub(super) async fn record(ctx: &Context, task: &Task, part: Part) -> Result<Part> {
    let key = task.execution.part(&part.collection);
    if write(ctx, &key, &part).await? {
        return Ok(part);
    }
    tracing::warn!(
        key,
        "another process has done this part of the backup already; its result holds"
    );
    self::part(ctx, task, part.id, &part.collection).await
}

/// The names of the collections that have no part yet.
pub(super) async fn open(ctx: &Context, task: &Task, plan: &Plan) -> Result<Vec<String>> {
    let keys = ctx
        .store
        .list(&task.execution.parts())
        .await?
        .map_ok(|object| object.key);
    let keys: BTreeSet<String> = keys.try_collect().await?;
    let names = plan.collections.iter().map(|c| &c.name);
    Ok(names
        .filter(|name| !keys.contains(&task.execution.part(name)))
        .cloned()
        .collect())
}

/// The parts that there are of the share of a task.
pub(super) async fn share(ctx: &Context, task: &Task, plan: &Plan) -> Result<Vec<Part>> {
    let open: BTreeSet<String> = open(ctx, task, plan).await?.into_iter().collect();
    let names = plan.share(task).map(|c| &c.name).filter(|name| !open.contains(*name));
    parts(ctx, task, plan, names).await
}

/// The parts of these collections, which must be there.
pub(super) async fn parts(
    ctx: &Context,
    task: &Task,
    plan: &Plan,
    names: impl Iterator<Item = &String>,
) -> Result<Vec<Part>> {
    let names: Vec<String> = names.cloned().collect();
    stream::iter(names)
        .map(|name| async move { part(ctx, task, plan.id, &name).await })
        .buffered(READ_AT_ONCE)
        .try_collect()
        .await
}

async fn part(ctx: &Context, task: &Task, id: BackupId, collection: &str) -> Result<Part> {
    let key = task.execution.part(collection);
    let odd = |what: String| {
        Error::new(Code::BackupDamaged, format!("{}/{key} {what}", ctx.store.url()))
            .remedy("nothing was committed; start another execution")
    };
    let Some(part) = read::<Part>(ctx, &key).await? else {
        return Err(odd("is gone".to_owned()));
    };
    if part.format != FORMAT || part.id != id || part.collection != collection {
        return Err(odd(format!(
            "is a part of backup {}, collection {:?}, not of {id}, {collection:?}",
            part.id, part.collection
        )));
    }
    Ok(part)
}

async fn read<T: DeserializeOwned>(ctx: &Context, key: &str) -> Result<Option<T>> {
    let Some(bytes) = read_small(&*ctx.store, key, LARGEST).await? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|e| {
        Error::new(
            Code::BackupDamaged,
            format!("{}/{key} is not a record of a job", ctx.store.url()),
        )
        .because(e)
        .remedy("nothing was committed; start another execution")
    })
}

/// Whether it was written; `false` when there is an object of that name.
async fn write<T: Serialize + DeserializeOwned>(ctx: &Context, key: &str, record: &T) -> Result<bool> {
    let json = readable::<T>("a record of a job", record, LARGEST)?;
    let store: &dyn Store = &*ctx.store;
    match store
        .put(key, Box::new(BytesSource::new(json)), Condition::Absent)
        .await
    {
        Ok(_) => Ok(true),
        Err(e) if e.code() == Code::StoreConflict => Ok(false),
        Err(e) => Err(e),
    }
}
