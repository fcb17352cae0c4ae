//! One unit: its artifact, and what must be known of its collection beside the data.

use super::artifact::{SavedArtifact, UnitRun, save};
use super::fallback::save_any_way;
use super::replicas;
use super::report::shards_changed;
use crate::base::error::{Code, Error, Result};
use crate::base::heavy;
use crate::base::json::Packed;
use crate::ops::context::Context;
use crate::repository::manifest::{self, Collection, Description};
use crate::repository::names::ArtifactKind;
use crate::repository::sharding::{self, ShardKeys};
use crate::repository::unit::{Mode, Unit};
use crate::wire::qdrant::{CollectionInfo, Count, Qdrant, ShardMap};
use std::collections::BTreeMap;

/// Saves one unit: the entry of its collection in the manifest, with this one artifact, and with what is to be said of its beginning.
/// `Ok(None)`: the collection was deleted on Qdrant in mid-run.
pub(super) async fn save_unit(
    of: UnitRun<'_>,
    aliases: &[String],
    warning: Option<String>,
) -> Result<Option<Collection>> {
    match save_any_way(of, aliases).await {
        Ok(mut collection) => {
            collection.warnings.extend(warning);
            Ok(Some(collection))
        }
        Err(e) if may_mean_gone(&e) && is_gone(of.ctx, &of.unit.collection).await => Ok(None),
        Err(e) => Err(e),
    }
}

/// Saves it as it is. `None`: it is never at rest, and there is another way.
pub(super) async fn try_save(of: UnitRun<'_>, aliases: &[String]) -> Result<Option<Collection>> {
    let (qdrant, run, name) = (of.qdrant(), of.run, of.unit.collection.as_str());
    let mut saved = run.unless_cancelled(describe(qdrant, of.unit, aliases)).await?;
    let Some(SavedArtifact {
        artifact,
        before,
        after,
    }) = save(of).await?
    else {
        return Ok(None);
    };
    (saved.points_before, saved.points_after) = (before.points, after.points);
    saved.points_estimated = !(before.is_exact && after.is_exact);
    if saved.points_estimated {
        saved
            .warnings
            .push("it refuses exact counts (strict mode), so its number of points is an estimate".into());
    }
    if artifact.optimizing {
        saved.warnings.push(OPTIMIZED.into());
    }
    saved.artifacts.push(artifact);
    if of.unit.shard.is_some() {
        let uneven = run.unless_cancelled(uneven_replicas(of, &saved, after)).await?;
        saved.warnings.extend(uneven);
        run.unless_cancelled(require_same_shards(qdrant, of.unit, &saved))
            .await?;
    }
    let after = run.unless_cancelled(qdrant.collection(name)).await?;
    let (kind, is_file) = (of.unit.kind(), of.unit.mode == Mode::File);
    heavy::run(after.size().saturating_mul(2), move || {
        // It may have been deleted, and made again as another one.
        require_restorable(&saved.name, kind, &after.config, &saved.shards)?;
        if !saved.is_described_by(&after.config, &after.payload_schema) {
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
        // A stream has none; its structure was proven.
        if is_file && saved.artifacts.iter().any(|a| !a.sha256_confirmed_by_qdrant) {
            saved.warnings.push(
                "Qdrant gave no checksum for its snapshot (S3 snapshot storage?), so only the length was \
                 compared with Qdrant"
                    .into(),
            );
        }
        manifest::entry(&saved).map(|_| Some(saved))
    })
    .await?
}

/// The replicas of the shard that have another number of points than the one that was saved (qdrant#9578); none while it is written to.
async fn uneven_replicas(of: UnitRun<'_>, saved: &Collection, after: Count) -> Result<Option<String>> {
    let Some(map) = serde_json::from_value::<ShardMap>(saved.shards.value()).ok() else {
        return Ok(None);
    };
    let replicas = map.replicas();
    let shard = of.unit.shard.unwrap_or_default();
    let mut counts = Vec::new();
    for replica in replicas
        .get(&shard)
        .into_iter()
        .flatten()
        .filter(|replica| replica.is_active())
    {
        let Some(node) = of
            .nodes
            .by_peer()
            .get(&replica.peer)
            .filter(|_| Some(replica.peer) != of.unit.node)
        else {
            continue;
        };
        match node.count(of.unit.snapshot()).await {
            Ok(count) if count != after => counts.push(format!("{} on peer {}", count.points, replica.peer)),
            Ok(_) => {}
            Err(error) => {
                return Ok(Some(format!(
                    "the replicas of shard {shard} cannot be counted: {}",
                    error.chain()
                )));
            }
        }
    }
    if counts.is_empty() || !after.is_exact || of.qdrant().count(of.unit.snapshot()).await? != after {
        return Ok(None);
    }
    Ok(Some(format!(
        "the replicas of shard {shard} differ: {} points on peer {}, which was saved, {}",
        after.points,
        of.unit.node.unwrap_or_default(),
        counts.join(", ")
    )))
}

const OPTIMIZED: &str = "Qdrant optimized it, or did not tell whether it did, while a snapshot of a shard was made, which may have \
    points that had been deleted; a drill counts them: `qdrant-backup drill`";

/// That the shards and their keys are those that were there at the beginning.
async fn require_same_shards(qdrant: &Qdrant, unit: &Unit, saved: &Collection) -> Result<()> {
    let (_, now) = shards(qdrant, unit).await?;
    let now = ShardKeys::of(&now.value());
    match now == ShardKeys::of(&saved.shards.value()) {
        true => Ok(()),
        false => Err(shards_changed(&saved.name)),
    }
}

/// What the manifest will say of a collection, as far as that is known before its points are counted and its snapshot is made.
/// Refuses one of which a snapshot through this node would not bring everything back, or that no manifest can describe.
pub async fn describe(qdrant: &Qdrant, unit: &Unit, aliases: &[String]) -> Result<Collection> {
    let name = unit.collection.as_str();
    let info = qdrant.collection(name).await?;
    let (mut warnings, shards) = shards(qdrant, unit).await?;
    if unit.mode == Mode::Stream && ShardKeys::of(&shards.value()).ids().is_empty() {
        return Err(Error::new(
            Code::Unsupported,
            format!("collection {name:?} cannot be streamed: Qdrant does not tell its shards"),
        )
        .remedy("use a key that may read GET /collections/NAME/cluster, or set SNAPSHOT_MODE=file"));
    }
    let (name, aliases, kind) = (name.to_owned(), aliases.to_vec(), unit.kind());
    heavy::run(info.size().saturating_add(shards.size()), move || {
        require_restorable(&name, kind, &info.config, &shards)?;
        warnings.extend(state_warning(&info));
        let known = Collection {
            name,
            config: info.config,
            payload_schema: info.payload_schema,
            aliases,
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
    })
    .await?
}

/// Refuses what Qdrant would make a snapshot of, but would not bring back from it.
fn require_restorable(name: &str, kind: ArtifactKind, config: &Packed, shards: &Packed) -> Result<()> {
    if sharding::has_unknown_keys(config, shards) {
        return Err(sharding::cannot_be_restored(name).remedy(
            "use a key that may read the collection's shards (GET /collections/NAME/cluster); or exclude it (BACKUP_EXCLUDE, or \
             --exclude), so that backups of the others are complete",
        ));
    }
    let is_custom = sharding::is_custom(config, shards);
    let shards = ShardKeys::of(&shards.value());
    let odd = match kind {
        ArtifactKind::Collection if !is_custom => None,
        ArtifactKind::Shard(id) if !shards.ids().contains(&id) => Some(format!("shard {id} is gone")),
        _ => shards.creation().err(),
    };
    match odd {
        None => Ok(()),
        Some(how) => Err(Error::new(
            Code::Unsupported,
            format!("collection {name:?} has shards that Qdrant cannot be asked to create again: {how}"),
        )
        .remedy("copy it into a new collection, or exclude it (BACKUP_EXCLUDE, or --exclude)")),
    }
}

/// The shard map, as the node of the unit tells it. Refuses what the snapshot of the unit would not have.
async fn shards(qdrant: &Qdrant, unit: &Unit) -> Result<(Vec<String>, Packed)> {
    match qdrant.shards(&unit.collection).await {
        Ok((map, raw)) => Ok((replicas::check(unit, &map)?, raw.into())),
        Err(e) if e.code() == Code::QdrantForbidden => {
            let warning = "the key may not read its shards, so it is unknown whether other nodes have some of its data";
            Ok((vec![warning.to_owned()], Packed::default()))
        }
        Err(e) => Err(e),
    }
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
