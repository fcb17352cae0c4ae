//! One unit: its artifact, and what must be known of its collection beside the data.

use super::artifact::{UnitRun, save};
use crate::base::error::{Code, Error, Result};
use crate::ops::context::Context;
use crate::repository::manifest::{self, Collection, Description, without_points};
use crate::repository::sharding;
use crate::wire::qdrant::{CollectionInfo, Qdrant};
use serde_json::Value;
use std::collections::BTreeMap;

/// Saves one unit: the entry of its collection in the manifest, with this one artifact. `Ok(None)`: the collection was deleted
/// on Qdrant in mid-run.
pub(super) async fn save_unit(of: UnitRun<'_>, aliases: &[String]) -> Result<Option<Collection>> {
    match try_save(of, aliases).await {
        Ok(collection) => Ok(Some(collection)),
        Err(e) if may_mean_gone(&e) && is_gone(of.ctx, &of.unit.collection).await => Ok(None),
        Err(e) => Err(e),
    }
}

async fn try_save(of: UnitRun<'_>, aliases: &[String]) -> Result<Collection> {
    let (ctx, run, name) = (of.ctx, of.run, of.unit.collection.as_str());
    let look = async {
        Ok((
            describe(&ctx.qdrant, name, aliases).await?,
            ctx.qdrant.count(name).await?,
        ))
    };
    let (mut saved, before) = run.unless_cancelled(look).await?;
    let done = save(of).await?;
    (saved.points_before, saved.points_after) = (before.points, done.after.points);
    saved.points_estimated = !(before.is_exact && done.after.is_exact);
    if saved.points_estimated {
        saved
            .warnings
            .push("it refuses exact counts (strict mode), so its number of points is an estimate".into());
    }
    saved.artifacts.push(done.artifact);
    let after = run.unless_cancelled(ctx.qdrant.collection(name)).await?;
    // It may have been deleted, and made again as another one.
    require_restorable(name, &after.config, &Value::Null)?;
    if after.config != saved.config || without_points(&after.payload_schema) != without_points(&saved.payload_schema) {
        saved.warnings.push(
            "its configuration or payload indexes changed during the backup; both states are recorded, the snapshot has one of \
             them"
                .into(),
        );
        saved.changed_to = Some(Description {
            config: after.config,
            payload_schema: after.payload_schema,
        });
    }
    if saved.artifacts.iter().any(|a| !a.sha256_confirmed_by_qdrant) {
        saved.warnings.push(
            "Qdrant gave no checksum for its snapshot (S3 snapshot storage?), so only the length was \
             compared with Qdrant"
                .into(),
        );
    }
    manifest::entry(&saved).map(|_| saved)
}

/// What the manifest will say of a collection, as far as that is known before its points are counted and its snapshot is made.
/// Refuses one of which a snapshot through this node would not bring everything back, or that no manifest can describe.
pub async fn describe(qdrant: &Qdrant, name: &str, aliases: &[String]) -> Result<Collection> {
    let info = qdrant.collection(name).await?;
    let (shards, mut warnings) = shards(qdrant, name).await?;
    require_restorable(name, &info.config, &shards)?;
    warnings.extend(state_warning(&info));
    let known = Collection {
        name: name.to_owned(),
        config: info.config,
        payload_schema: info.payload_schema,
        aliases: aliases.to_vec(),
        // Approximately.
        points_before: info.points_count.unwrap_or_default(),
        points_after: 0,
        points_estimated: false,
        changed_to: None,
        shards,
        artifacts: Vec::new(),
        warnings,
        extra: BTreeMap::new(),
    };
    manifest::entry(&known).map(|_| known)
}

/// Refuses what Qdrant would make a snapshot of, but would not bring back from it.
fn require_restorable(name: &str, config: &Value, shards: &Value) -> Result<()> {
    match sharding::is_custom(config, shards) {
        false => Ok(()),
        true => Err(sharding::cannot_be_restored(name).remedy(
            "exclude it (BACKUP_EXCLUDE, or --exclude), so that backups of the others are complete; copy its shards by hand: \
             POST /collections/NAME/shards/ID/snapshots for each shard that GET /collections/NAME/cluster shows",
        )),
    }
}

/// The shard map. Refuses what a snapshot of the whole collection through this node would not contain.
async fn shards(qdrant: &Qdrant, name: &str) -> Result<(Value, Vec<String>)> {
    let (map, raw) = match qdrant.shards(name).await {
        Ok(found) => found,
        Err(e) if e.code() == Code::QdrantForbidden => {
            let warning = "the key may not read its shards, so it is unknown whether other nodes have some of its data";
            return Ok((Value::Null, vec![warning.to_owned()]));
        }
        Err(e) => return Err(e),
    };
    if !map.remote_shards.is_empty() {
        return Err(Error::new(
            Code::Unsupported,
            format!(
                "collection {name:?} has {} shards on other nodes; this version can back up only a single node",
                map.remote_shards.len()
            ),
        )
        .remedy("create a snapshot on each node by hand; a backup through one node would miss the others' data"));
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
        .remedy("wait until Qdrant shows it as Active, or find out why it is not"));
    }
    if map.resharding_operations.is_some_and(|under_way| !under_way.is_empty()) {
        return Err(Error::new(
            Code::Unsupported,
            format!("collection {name:?} is being resharded; a snapshot may have points twice or not at all"),
        )
        .remedy("wait until GET /collections/NAME/cluster shows no resharding"));
    }
    if let Some(all) = map.shard_count
        && all != map.local_shards.len()
    {
        return Err(Error::new(
            Code::Unsupported,
            format!(
                "collection {name:?} has {all} shards; only {} of them have a replica",
                map.local_shards.len()
            ),
        )
        .remedy(
            "restore the other shards from an older backup, or delete the collection; a backup would miss their data",
        ));
    }
    Ok((raw, Vec::new()))
}

fn state_warning(info: &CollectionInfo) -> Option<String> {
    (info.status == "red").then(|| "its status on Qdrant is red: Qdrant reports an error in it".to_owned())
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
