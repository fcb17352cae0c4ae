//! Shards and their keys, and how they are made again.
//!
//! Qdrant gives a point its shard by hashing the shards' ids, so a restored shard needs the id that it had. It cannot be asked for:
//! the shards of a new key get the ids behind the highest one that there is, beginning with 1. So keys are made in the order of
//! their ids.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// No collection has a shard of a higher id: Qdrant makes all of those below it, too.
const HIGHEST: u32 = 10_000;

type ShardId = u32;

/// A shard key and its shards, whose ids follow each other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ShardKey {
    /// A text or a number.
    pub(crate) key: Value,
    /// The lowest id of its shards.
    pub(crate) first: ShardId,
    /// How many shards it has.
    pub(crate) count: u32,
}

/// How shards are made again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Creation {
    /// With the collection: so many, from 0 on.
    WithCollection(u32),
    /// By these keys, in this order.
    ByKeys(Vec<ShardKey>),
}

impl Creation {
    /// The ids of the shards.
    pub(crate) fn ids(&self) -> Box<dyn Iterator<Item = ShardId> + '_> {
        match self {
            Self::WithCollection(count) => Box::new(0..*count),
            Self::ByKeys(keys) => Box::new(keys.iter().flat_map(|key| key.first..key.first + key.count)),
        }
    }
}

/// The shards of a collection, with the key of each that has one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ShardKeys {
    shards: BTreeMap<ShardId, Value>,
    /// What is wrong with what was told.
    odd: Option<String>,
}

impl ShardKeys {
    /// As `GET /collections/{name}/cluster` tells them, wherever their replicas are.
    pub(crate) fn of(map: &Value) -> Self {
        let lists = ["local_shards", "remote_shards"].map(|list| map[list].as_array());
        let mut keys = Self::default();
        for shard in lists.into_iter().flatten().flatten() {
            let id = shard["shard_id"].as_u64().and_then(|id| u32::try_from(id).ok());
            let Some(id) = id else {
                keys.odd = Some("a shard has no id".to_owned());
                continue;
            };
            let key = &shard["shard_key"];
            if keys.shards.insert(id, key.clone()).is_some_and(|known| known != *key) {
                keys.odd = Some(format!("shard {id} has two shard keys"));
            }
        }
        keys
    }

    pub(crate) fn ids(&self) -> BTreeSet<ShardId> {
        self.shards.keys().copied().collect()
    }

    /// How they are made again, or why Qdrant does not make such ones.
    pub(crate) fn creation(&self) -> Result<Creation, String> {
        if let Some(odd) = &self.odd {
            return Err(odd.clone());
        }
        if self.shards.values().all(Value::is_null) {
            return match self.shards.keys().zip(0..).find(|(id, expected)| *id != expected) {
                Some((id, expected)) => Err(format!("it has shard {id} and no shard {expected}")),
                None => Ok(Creation::WithCollection(
                    self.shards.len().try_into().unwrap_or(u32::MAX),
                )),
            };
        }
        self.in_order().map(Creation::ByKeys)
    }

    /// Their keys in the order in which they are made.
    fn in_order(&self) -> Result<Vec<ShardKey>, String> {
        let mut keys: Vec<ShardKey> = Vec::new();
        for (&id, key) in &self.shards {
            if !(key.is_string() || key.is_u64()) {
                return Err(format!("shard {id} has no shard key that is a text or a number"));
            }
            if id == 0 {
                return Err("shard 0 has a shard key, and their ids begin with 1".to_owned());
            }
            if id > HIGHEST {
                return Err(format!("it has shard {id}; the highest is {HIGHEST}"));
            }
            match keys.iter_mut().find(|known| known.key == *key) {
                Some(known) if known.first + known.count != id => {
                    return Err(format!("the ids of the shards of key {key} do not follow each other"));
                }
                Some(known) => known.count += 1,
                None => keys.push(ShardKey {
                    key: key.clone(),
                    first: id,
                    count: 1,
                }),
            }
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn keys(shards: &[(u64, Value)]) -> Result<Vec<(Value, u32, u32)>, String> {
        let list: Vec<_> = shards
            .iter()
            .map(|(id, key)| json!({"shard_id": id, "shard_key": key, "state": "Active"}))
            .collect();
        let found = ShardKeys::of(&json!({ "local_shards": list })).in_order()?;
        Ok(found.into_iter().map(|k| (k.key, k.first, k.count)).collect())
    }

    #[test]
    fn keys_are_made_in_the_order_of_their_shards() {
        let found = keys(&[(5, json!(17)), (1, json!("us")), (2, json!("us")), (3, json!("17"))]);
        assert_eq!(
            found.unwrap(),
            [(json!("us"), 1, 2), (json!("17"), 3, 1), (json!(17), 5, 1)]
        );
        assert_eq!(keys(&[]).unwrap(), []);
    }

    #[test]
    fn what_qdrant_would_not_make_again_is_none() {
        let odd = [
            vec![(0, json!("a"))],
            vec![(1, json!("a")), (2, json!("b")), (3, json!("a"))],
            vec![(1, json!("a")), (3, json!("a"))],
            vec![(1, Value::Null)],
            vec![(1, json!({"a": 1}))],
            vec![(u64::from(u32::MAX), json!("a"))],
        ];
        for shards in odd {
            assert!(keys(&shards).is_err(), "{shards:?}");
        }
        for map in [
            json!({"local_shards": [{"shard_id": u64::MAX, "shard_key": "a"}]}),
            json!({"local_shards": [{"shard_id": 1, "shard_key": "a"}, {"shard_id": 1, "shard_key": "b"}]}),
            json!({"local_shards": [{"shard_id": 0}, {"shard_id": "1"}]}),
        ] {
            assert!(ShardKeys::of(&map).creation().is_err(), "{map}");
        }
    }

    #[test]
    fn shards_without_keys_are_made_with_their_collection() {
        let creation = |ids: &[u64]| {
            let list: Vec<_> = ids.iter().map(|id| json!({"shard_id": id})).collect();
            ShardKeys::of(&json!({ "remote_shards": list })).creation()
        };
        assert_eq!(creation(&[2, 0, 1]), Ok(Creation::WithCollection(3)));
        assert!(creation(&[0, 2]).is_err() && creation(&[1]).is_err());
    }

    #[test]
    fn shards_elsewhere_count() {
        let map = json!({
            "local_shards": [{"shard_id": 1, "shard_key": "a"}],
            "remote_shards": [{"shard_id": 2, "shard_key": "b", "peer_id": 7}, {"shard_id": 1, "shard_key": "a"}]
        });
        assert_eq!(ShardKeys::of(&map).ids(), BTreeSet::from([1, 2]));
    }
}
