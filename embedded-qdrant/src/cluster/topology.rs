//! The shards of a collection: their keys, their replicas, and which points belong to them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use qdrant_edge::PointId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};

/// A name that clients give to shards: a number or a text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ShardKey {
    /// As in `"shard_key": 7`.
    Number(u64),
    /// As in `"shard_key": "articles"`.
    Keyword(String),
}

impl fmt::Display for ShardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Keyword(text) => write!(f, "{text:?}"),
        }
    }
}

/// `shard_key` in a request about points: one key or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum ShardKeySelector {
    One(ShardKey),
    Several(Vec<ShardKey>),
}

impl ShardKeySelector {
    fn keys(&self) -> &[ShardKey] {
        match self {
            Self::One(key) => std::slice::from_ref(key),
            Self::Several(keys) => keys,
        }
    }
}

/// A transfer as `GET /collections/{c}/cluster` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Transfer {
    /// The shard.
    pub shard_id: u32,
    /// The peer that sends.
    pub from: u64,
    /// The peer that gets.
    pub to: u64,
    /// Whether the sender keeps its replica.
    pub sync: bool,
    /// `stream_records`, `snapshot`, `wal_delta` and so on.
    pub method: String,
}

/// One shard and its replicas.
#[derive(Debug, Clone, Default)]
pub(crate) struct Placed {
    pub(crate) key: Option<ShardKey>,
    /// Peer to state. A text, since a newer release may have states of its own.
    pub(crate) replicas: BTreeMap<u64, String>,
}

/// All shards of a collection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Topology {
    pub(crate) custom: bool,
    pub(crate) shards: BTreeMap<u32, Placed>,
    pub(crate) transfers: Vec<Transfer>,
    pub(crate) resharding: Option<Value>,
}

/// Where shards are to be, and how they begin.
pub(crate) struct Placement<'a> {
    pub(crate) key: Option<ShardKey>,
    pub(crate) shards: u32,
    pub(crate) replicas: u32,
    pub(crate) peers: &'a [u64],
    pub(crate) state: &'a str,
}

impl Topology {
    /// Adds shards; the first id of a key is 1 (of a collection without keys 0), each next
    /// one the highest so far + 1. Their replicas go to the peers in turn.
    pub(crate) fn add(&mut self, placement: Placement<'_>) -> Vec<u32> {
        let Placement {
            key,
            shards,
            replicas,
            peers,
            state,
        } = placement;
        let highest = self.shards.keys().next_back().copied();
        let first = highest.map_or(u32::from(key.is_some()), |id| id + 1);
        let ids: Vec<u32> = (first..first + shards).collect();
        for id in &ids {
            let turn = *id as usize;
            let taken = peers.iter().cycle().skip(turn % peers.len().max(1));
            let taken = taken.take(peers.len().min(replicas as usize));
            let placed = Placed {
                key: key.clone(),
                replicas: taken.map(|peer| (*peer, state.to_owned())).collect(),
            };
            self.shards.insert(*id, placed);
        }
        ids
    }

    /// Shards with a replica on that peer.
    pub(crate) fn on(&self, peer_id: u64) -> Vec<u32> {
        let here = self.shards.iter();
        here.filter(|(_, placed)| placed.replicas.contains_key(&peer_id))
            .map(|(id, _)| *id)
            .collect()
    }

    pub(crate) fn keys(&self) -> BTreeSet<ShardKey> {
        self.shards.values().filter_map(|placed| placed.key.clone()).collect()
    }

    pub(crate) fn of_key(&self, key: &ShardKey) -> Vec<u32> {
        let shards = self.shards.iter();
        shards
            .filter(|(_, placed)| placed.key.as_ref() == Some(key))
            .map(|(id, _)| *id)
            .collect()
    }

    pub(crate) fn shard(&self, id: u32) -> Result<&Placed> {
        self.shards
            .get(&id)
            .ok_or_else(|| Error::not_found(format_args!("shard {id} not found")))
    }

    /// 404 without that shard, 400 where it has no replica.
    pub(crate) fn expect_local(&self, id: u32, peer_id: u64) -> Result<&Placed> {
        let placed = self.shard(id)?;
        if !placed.replicas.contains_key(&peer_id) {
            return Err(Error::bad_input(format_args!(
                "Shard {id} is not a local or queue proxy shard"
            )));
        }
        Ok(placed)
    }

    /// The shards that a question goes to.
    pub(crate) fn read(&self, selector: Option<&ShardKeySelector>) -> Result<Vec<u32>> {
        let Some(selector) = selector else {
            return Ok(self.shards.keys().copied().collect());
        };
        let mut ids = BTreeSet::new();
        for key in selector.keys() {
            let found = self.of_key(key);
            if found.is_empty() {
                return Err(Error::bad_request(format_args!("Shard key {key} not found")));
            }
            ids.extend(found);
        }
        Ok(ids.into_iter().collect())
    }

    /// Divides what is to be written by shards: each goes to one shard of each key that is
    /// named, or to one of all. Which one is not what a Qdrant server's hash ring says.
    pub(crate) fn divide<T: Clone>(
        &self,
        selector: Option<&ShardKeySelector>,
        items: &[T],
        id: impl Fn(&T) -> PointId,
    ) -> Result<BTreeMap<u32, Vec<T>>> {
        let rings = match selector {
            None if self.custom => return Err(Error::bad_input("Shard key not specified")),
            None => vec![self.shards.keys().copied().collect()],
            Some(selector) => {
                let of_key = |key: &ShardKey| match self.of_key(key) {
                    found if found.is_empty() => Err(Error::bad_input(format_args!("Shard key {key} not found"))),
                    found => Ok(found),
                };
                selector.keys().iter().map(of_key).collect::<Result<Vec<_>>>()?
            }
        };
        let mut divided: BTreeMap<u32, Vec<T>> = BTreeMap::new();
        for item in items {
            for ring in rings.iter().filter(|ring| !ring.is_empty()) {
                let shard = ring[spread(id(item)) % ring.len()];
                divided.entry(shard).or_default().push(item.clone());
            }
        }
        Ok(divided)
    }
}

/// A number from an id, the same for ever, since points stay where they were written.
fn spread(id: PointId) -> usize {
    let bits = match id {
        PointId::NumId(number) => u128::from(number),
        PointId::Uuid(uuid) => uuid.as_u128(),
    };
    let folded = (bits ^ (bits >> 64)) as u64;
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as usize
}

/// `shard_key_mapping.json`: which shards a key has.
pub(crate) fn mapping(keys: &BTreeMap<u32, ShardKey>) -> Value {
    let mut by_key: BTreeMap<&ShardKey, Vec<u32>> = BTreeMap::new();
    for (id, key) in keys {
        by_key.entry(key).or_default().push(*id);
    }
    let entries = by_key.into_iter();
    entries
        .map(|(key, ids)| json!({"key": key, "shard_ids": ids}))
        .collect()
}

/// The same file read: a list, or in old releases an object.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Mapping {
    List(Vec<KeyShards>),
    Map(BTreeMap<String, Vec<u32>>),
}

#[derive(Deserialize)]
pub(crate) struct KeyShards {
    key: ShardKey,
    shard_ids: Vec<u32>,
}

impl Mapping {
    pub(crate) fn keys(self) -> BTreeMap<u32, ShardKey> {
        let entries: Vec<(ShardKey, Vec<u32>)> = match self {
            Self::List(list) => list.into_iter().map(|entry| (entry.key, entry.shard_ids)).collect(),
            Self::Map(map) => map
                .into_iter()
                .map(|(key, ids)| (ShardKey::Keyword(key), ids))
                .collect(),
        };
        let entries = entries.into_iter();
        entries
            .flat_map(|(key, ids)| ids.into_iter().map(move |id| (id, key.clone())))
            .collect()
    }
}
