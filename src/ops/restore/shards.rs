//! What is restored by its shards: the collection and its shards are made first, as the backup has them.

use super::RestoreStep;
use crate::base::error::{Code, Error, Result};
use crate::repository::manifest::Collection;
use crate::repository::sharding::{self, Creation, ShardKey, ShardKeys};
use crate::wire::qdrant::{Nodes, Qdrant, ShardMap};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How the shards are made of what is restored by its shards: what was saved so; what has shard keys, since Qdrant restores its snapshot
/// without the points; whatever goes into a cluster, where a snapshot that is restored through one node is on that one only; and what is
/// to have another number of replicas (`is_other`), since Qdrant makes a collection as its snapshot says.
pub(super) fn creation(collection: &Collection, nodes: &Nodes, is_other: bool) -> Result<Option<Creation>, String> {
    let is_custom = sharding::is_custom(&collection.config, &collection.shards);
    if !collection.is_by_shards() && !is_custom && !nodes.are_several() && !is_other {
        return Ok(None);
    }
    if !collection.config.value()["params"].is_object() {
        return Err("its configuration has no parameters".to_owned());
    }
    let shards = collection.shards.value();
    if shards.is_null() && !is_custom {
        let number = collection.config.value()["params"]["shard_number"]
            .as_u64()
            .unwrap_or(1);
        let number = u32::try_from(number).map_err(|_| format!("it has {number} shards"))?;
        return Ok(Some(Creation::WithCollection(number)));
    }
    ShardKeys::of(&shards).creation().map(Some)
}

/// In what the shards of the collection `name` differ from those in the backup, so that snapshots of these cannot be restored into
/// them.
pub(super) async fn differ(qdrant: &Qdrant, name: &str, backup: &Collection) -> Result<Option<String>> {
    let wanted = ShardKeys::of(&backup.shards.value());
    match qdrant.shards(name).await {
        Ok((_, map)) if ShardKeys::of(&map) == wanted => Ok(None),
        Ok(_) => Ok(Some("with other shards or shard keys than in the backup".to_owned())),
        Err(e) if matches!(e.code(), Code::CollectionNotFound) => Ok(None),
        Err(e)
            if matches!(
                e.code(),
                Code::QdrantFailed | Code::QdrantUnexpected | Code::QdrantForbidden
            ) =>
        {
            Ok(Some(format!("and its shards are unreadable: {}", e.chain())))
        }
        Err(e) => Err(e),
    }
}

/// What Qdrant does to the shards of the collection `name` that a restore into them would meet: it would undo it, or be mixed with it.
pub(super) async fn busy(qdrant: &Qdrant, name: &str) -> Result<Option<String>> {
    let (map, _) = qdrant.shards(name).await?;
    Ok(match map.moving().first() {
        _ if map.is_resharded() => Some(format!("collection {name:?} is being resharded")),
        Some(shard) => Some(format!(
            "shard {shard} of collection {name:?} is being copied between nodes"
        )),
        None => None,
    })
}

/// What to do about it.
pub(super) const WHEN_BUSY: &str =
    "wait until GET /collections/NAME/cluster shows neither a transfer nor resharding, then run it again";

/// The most replicas that a shard of it has in the backup, where that is known.
pub(super) fn most_replicas(backup: &Collection) -> usize {
    let map: Option<ShardMap> = serde_json::from_value(backup.shards.value()).ok();
    let replicas = map.map(|map| map.replicas()).unwrap_or_default();
    replicas.values().map(Vec::len).max().unwrap_or_default()
}

/// Makes the collection with its shards and payload indexes, all of them empty.
pub(super) async fn create(qdrant: &Qdrant, step: &RestoreStep, creation: &Creation) -> Result<()> {
    let name = step.target.as_str();
    let mut config = step.wanted.config.value();
    if let Creation::WithCollection(shards) = creation {
        // As many as there are, whatever it was made with.
        set_parameter(&mut config, "shard_number", json!(shards));
    }
    qdrant.create_collection(name, &config).await?;
    if let Creation::ByKeys(keys) = creation {
        create_keys(qdrant, name, keys).await?;
    }
    let (_, made) = qdrant.shards(name).await?;
    if ShardKeys::of(&made).creation().as_ref() != Ok(creation) {
        // Each point is looked for by the id of its shard.
        return Err(Error::new(
            Code::QdrantUnexpected,
            format!("collection {name:?} was created with other shards than in the backup"),
        )
        .remedy(format!(
            "stop other clients that create shard keys, delete {name:?}, which this restore has created, then restore again"
        )));
    }
    for (field, index) in step.wanted.payload_schema.value().as_object().into_iter().flatten() {
        qdrant.create_index(name, field, index).await?;
    }
    Ok(())
}

/// Sets one of `params`, where the configuration has any.
pub(super) fn set_parameter(config: &mut Value, name: &str, value: Value) {
    if let Some(params) = config.get_mut("params").and_then(Value::as_object_mut) {
        params.insert(name.to_owned(), value);
    }
}

async fn create_keys(qdrant: &Qdrant, name: &str, keys: &[ShardKey]) -> Result<()> {
    let mut fillers = Vec::new();
    let mut next = 1;
    for key in keys {
        // Shards of a key that was deleted before the backup: without them the ids of those behind would be others.
        if key.first > next {
            let filler = json!(format!("qdrant-backup-{}", uuid::Uuid::new_v4()));
            qdrant.create_shard_key(name, &filler, key.first - next).await?;
            fillers.push(filler);
        }
        qdrant.create_shard_key(name, &key.key, key.count).await?;
        next = key.first + key.count;
    }
    for filler in &fillers {
        qdrant.delete_shard_key(name, filler).await?;
    }
    Ok(())
}

/// The nodes that have a replica of each shard of the collection.
pub(super) async fn replicas(qdrant: &Qdrant, nodes: &Nodes, name: &str) -> Result<BTreeMap<u32, Vec<Qdrant>>> {
    let (map, _) = qdrant.shards(name).await?;
    let mut shards = BTreeMap::new();
    for (shard, replicas) in map.replicas() {
        let mut on = Vec::new();
        for replica in replicas {
            let node = match nodes.are_several() {
                true => nodes.by_peer().get(&replica.peer),
                false => Some(qdrant),
            };
            let Some(node) = node else {
                return Err(Error::new(
                    Code::QdrantUnexpected,
                    format!(
                        "shard {shard} of collection {name:?} has a replica on peer {}, which joined the cluster",
                        replica.peer
                    ),
                )
                .remedy("add its REST URL to the configured nodes, then restore again"));
            };
            on.push(node.clone());
        }
        shards.insert(shard, on);
    }
    Ok(shards)
}
