//! One collection: what must be known beside its data, and its artifacts.

use super::Context;
use super::artifact::{Job, save, unless_cancelled};
use crate::error::{Code, Error, Result};
use crate::manifest::Collection;
use crate::names::BackupId;
use crate::plan::CollectionPlan;
use crate::progress::Progress;
use crate::qdrant::CollectionInfo;
use serde_json::Value;
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

/// Saves one collection; `first` is the number of the first attempt. `Ok(None)`: it was deleted on Qdrant in mid-run.
pub(super) async fn save_collection(
    ctx: &Context,
    run: BackupId,
    plan: &CollectionPlan,
    first: u32,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Option<Collection>> {
    match try_save(ctx, run, plan, first, progress, cancel).await {
        Ok(collection) => Ok(Some(collection)),
        Err(e) if may_mean_gone(&e) && is_gone(ctx, &plan.name).await => Ok(None),
        Err(e) => Err(e),
    }
}

async fn try_save(
    ctx: &Context,
    run: BackupId,
    plan: &CollectionPlan,
    first: u32,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Collection> {
    let name = plan.name.as_str();
    let look = async {
        let info = ctx.qdrant.collection(name).await?;
        let (shards, mut warnings) = shards(ctx, name).await?;
        warnings.extend(state_warning(&info));
        let points_before = ctx.qdrant.count(name).await?;
        Ok((info, shards, warnings, points_before))
    };
    let (before, shards, mut warnings, points_before) = unless_cancelled(cancel, look).await?;
    let mut artifacts = Vec::new();
    let mut points_after = points_before;
    for artifact in &plan.artifacts {
        let done = save(Job {
            ctx,
            run,
            collection: name,
            kind: artifact.kind,
            first,
            progress,
            cancel,
        })
        .await?;
        points_after = done.points_after;
        artifacts.push(done.artifact);
    }
    let after = unless_cancelled(cancel, ctx.qdrant.collection(name)).await?;
    if after.config != before.config || schema(&after) != schema(&before) {
        warnings.push(
            "its configuration or payload indexes were changed while it was backed up; the older ones are recorded"
                .into(),
        );
    }
    if artifacts.iter().any(|a| !a.sha256_confirmed_by_qdrant) {
        warnings.push("Qdrant gave no checksum for its snapshot (S3 snapshot storage?), so only the length could be compared with Qdrant".into());
    }
    Ok(Collection {
        name: name.to_owned(),
        config: before.config,
        payload_schema: before.payload_schema,
        aliases: plan.aliases.clone(),
        points_before,
        points_after,
        shards,
        artifacts,
        warnings,
        extra: BTreeMap::new(),
    })
}

/// The shard map. Refuses what a snapshot of the whole collection through this node would not contain.
async fn shards(ctx: &Context, name: &str) -> Result<(Value, Vec<String>)> {
    let (map, raw) = match ctx.qdrant.shards(name).await {
        Ok(found) => found,
        Err(e) if e.code() == Code::QdrantForbidden => {
            let warning =
                "the key may not ask for its shards, so it is not known whether other nodes have some of its data";
            return Ok((Value::Null, vec![warning.to_owned()]));
        }
        Err(e) => return Err(e),
    };
    if !map.remote_shards.is_empty() {
        return Err(Error::new(
            Code::Unsupported,
            format!(
                "collection {name:?} has {} shards on other nodes, and this version can back up only a single node",
                map.remote_shards.len()
            ),
        )
        .remedy("a backup through one node would silently miss the data of the others"));
    }
    // Qdrant snapshots a dead or stale replica without a word.
    if let Some(shard) = map.local_shards.iter().find(|s| s.state != "Active") {
        return Err(Error::new(
            Code::Unsupported,
            format!(
                "shard {} of collection {name:?} is {}, so its data may be stale",
                shard.shard_id, shard.state
            ),
        )
        .remedy("wait until Qdrant shows it as Active, or see to why it is not"));
    }
    Ok((raw, Vec::new()))
}

fn state_warning(info: &CollectionInfo) -> Option<String> {
    (info.status == "red").then(|| "its status on Qdrant is red: Qdrant reports an error in it".to_owned())
}

/// The payload indexes without their point counts, which change by themselves.
fn schema(info: &CollectionInfo) -> Value {
    let mut schema = info.payload_schema.clone();
    for index in schema.as_object_mut().into_iter().flat_map(|s| s.values_mut()) {
        if let Some(index) = index.as_object_mut() {
            index.remove("points");
        }
    }
    schema
}

fn may_mean_gone(error: &Error) -> bool {
    matches!(
        error.code(),
        Code::CollectionNotFound | Code::SnapshotChanged | Code::QdrantFailed
    )
}

/// Whether the collection is gone; when that cannot be told, it is not.
async fn is_gone(ctx: &Context, name: &str) -> bool {
    match ctx.qdrant.collections().await {
        Ok(names) => !names.iter().any(|n| n == name),
        Err(_) => false,
    }
}
