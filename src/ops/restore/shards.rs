//! What is restored by its shards: the collection and its shards are made first, as the backup has them.

use super::RestoreStep;
use crate::base::error::{Code, Error, Result};
use crate::repository::manifest::Collection;
use crate::repository::sharding::ShardKeys;
use crate::wire::qdrant::Qdrant;
use serde_json::{Value, json};

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

/// Makes the collection with its shards and payload indexes, all of them empty.
pub(super) async fn create(qdrant: &Qdrant, step: &RestoreStep) -> Result<()> {
    let name = step.target.as_str();
    qdrant.create_collection(name, &step.wanted.config.value()).await?;
    let mut fillers = Vec::new();
    let mut next = 1;
    for key in &step.keys {
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
    let (_, made) = qdrant.shards(name).await?;
    require_made(name, step, &made)?;
    for (field, index) in step.wanted.payload_schema.value().as_object().into_iter().flatten() {
        qdrant.create_index(name, field, index).await?;
    }
    Ok(())
}

/// That the shards have the ids and keys of the backup: each point is looked for by the id of its shard.
fn require_made(name: &str, step: &RestoreStep, made: &Value) -> Result<()> {
    let wanted: Vec<_> = step.keys.iter().map(|key| (&key.key, key.first, key.count)).collect();
    let found = ShardKeys::of(made).in_order();
    let found = found.as_ref().map(|keys| {
        let keys = keys.iter().map(|key| (&key.key, key.first, key.count));
        keys.collect::<Vec<_>>()
    });
    match found {
        Ok(found) if found == wanted => Ok(()),
        _ => Err(Error::new(
            Code::QdrantUnexpected,
            format!("collection {name:?} was created with other shards than in the backup"),
        )
        .remedy("stop other clients that create shard keys, delete the collection, then restore again")),
    }
}
