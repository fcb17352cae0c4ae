//! Which replica of each shard is saved, and when none is: Qdrant makes a snapshot of a dead or stale one without a word.

use crate::base::error::{Code, Error, Result};
use crate::repository::unit::Unit;
use crate::wire::qdrant::{Replica, ShardMap};
use std::collections::BTreeMap;

/// Spreads the replicas that are saved over the nodes.
#[derive(Default)]
pub(super) struct Spread {
    /// Units of each node so far.
    load: BTreeMap<u64, usize>,
}

impl Spread {
    /// A unit for each shard of the collection: an Active replica on the node that has the fewest units so far.
    pub(super) fn units(&mut self, name: &str, map: &ShardMap) -> Result<Vec<Unit>> {
        require_whole(name, map)?;
        let moving = map.moving();
        let mut units = Vec::new();
        for (shard, replicas) in map.replicas() {
            let fit = replicas.iter().filter(|replica| replica.is_active());
            let load = |replica: &&Replica| (self.load.get(&replica.peer).copied().unwrap_or_default(), replica.peer);
            let chosen = fit.min_by_key(load).map(|replica| replica.peer);
            let Some(peer) = chosen.filter(|_| !moving.contains(&shard)) else {
                return Err(match moving.contains(&shard) {
                    true => in_transfer(name, shard),
                    false => inactive(name, shard, &replicas),
                });
            };
            *self.load.entry(peer).or_default() += 1;
            units.push(Unit::shard(name, shard, peer));
        }
        Ok(units)
    }
}

/// That the snapshot of a unit has what it should, as the shard map tells; warnings about what else it tells. Of a shard, whose replica was
/// Active when it was chosen, anything else is a change since then ([`Code::SnapshotChanged`]): another choice may be right.
pub(super) fn check(unit: &Unit, map: &ShardMap) -> Result<Vec<String>> {
    match unit.shard {
        None => check_whole(&unit.collection, map).map(|()| Vec::new()),
        Some(shard) => check_shard(unit, shard, map).map_err(|e| e.with_code(Code::SnapshotChanged)),
    }
}

fn check_whole(name: &str, map: &ShardMap) -> Result<()> {
    require_whole(name, map)?;
    let (replicas, moving) = (map.replicas(), map.moving());
    // Of nodes that are all known a shard without an Active replica is why it is not saved by its shards.
    for (shard, replicas) in &replicas {
        if moving.contains(shard) {
            return Err(in_transfer(name, *shard));
        }
        if !replicas.iter().any(Replica::is_active) {
            return Err(inactive(name, *shard, replicas));
        }
    }
    if !map.remote_shards.is_empty() {
        return Err(Error::new(
            Code::Unsupported,
            format!(
                "collection {name:?} has {} replicas on other nodes; through one node a backup would miss their data",
                map.remote_shards.len()
            ),
        )
        .remedy("set QDRANT_NODES to the REST URLs of all nodes"));
    }
    match replicas.iter().find(|(_, r)| !r.iter().all(Replica::is_active)) {
        Some((shard, replicas)) => Err(inactive(name, *shard, replicas)),
        None => Ok(()),
    }
}

fn check_shard(unit: &Unit, shard: u32, map: &ShardMap) -> Result<Vec<String>> {
    let name = unit.collection.as_str();
    require_whole(name, map)?;
    let replicas = map.replicas();
    let of_shard = replicas.get(&shard).map(Vec::as_slice).unwrap_or_default();
    let is_saved = |replica: &&Replica| Some(replica.peer) == unit.node;
    match of_shard.iter().find(is_saved) {
        Some(replica) if replica.is_active() => {}
        Some(_) => return Err(inactive(name, shard, of_shard)),
        None => {
            let node = unit.node.unwrap_or_default();
            return Err(Error::new(
                Code::SnapshotChanged,
                format!(
                    "shard {shard} of collection {name:?} is no longer on peer {node}: it was moved, or the collection was made again"
                ),
            )
            .remedy("run it again; nobody else may move shards or replace the collection meanwhile"));
        }
    }
    if map.moving().contains(&shard) {
        return Err(in_transfer(name, shard));
    }
    let others = of_shard.iter().filter(|replica| !replica.is_active());
    Ok(others
        .map(|replica| {
            format!(
                "the replica of shard {shard} on peer {} is {}",
                replica.peer, replica.state
            )
        })
        .collect())
}

/// That each shard is there, and stays what it is.
fn require_whole(name: &str, map: &ShardMap) -> Result<()> {
    if map.is_resharded() {
        return Err(Error::new(
            Code::Unsupported,
            format!("collection {name:?} is being resharded; a snapshot may have points twice or not at all"),
        )
        .remedy("wait until GET /collections/NAME/cluster shows no resharding"));
    }
    let found = map.replicas().len();
    match map.shard_count {
        Some(all) if all != found => Err(Error::new(
            Code::Unsupported,
            format!("collection {name:?} has {all} shards; only {found} of them have a replica"),
        )
        .remedy(
            "restore the collection from an older backup under another name, and keep this one until nothing of it is needed; a \
             backup of it would miss the data of the other shards",
        )),
        _ => Ok(()),
    }
}

fn in_transfer(name: &str, shard: u32) -> Error {
    Error::new(
        Code::Unsupported,
        format!("shard {shard} of collection {name:?} is being copied between nodes"),
    )
    .remedy("wait until GET /collections/NAME/cluster shows no transfer of it, then run it again")
}

fn inactive(name: &str, shard: u32, replicas: &[Replica]) -> Error {
    let states: Vec<_> = replicas
        .iter()
        .map(|replica| format!("{} on peer {}", replica.state, replica.peer))
        .collect();
    let states = match states.is_empty() {
        true => "gone".to_owned(),
        false => states.join(", "),
    };
    Error::new(
        Code::Unsupported,
        format!("shard {shard} of collection {name:?} is {states}, so its data may be stale"),
    )
    .remedy("wait until Qdrant shows it as Active, or find out why it is not")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, from_value, json};

    fn map(local: Value, remote: Value, more: Value) -> ShardMap {
        let mut map = json!({"peer_id": 1, "local_shards": local, "remote_shards": remote});
        let fields = more.as_object().unwrap().clone();
        map.as_object_mut().unwrap().extend(fields);
        from_value(map).unwrap()
    }

    fn replica(shard: u32, peer: u64, state: &str) -> Value {
        json!({"shard_id": shard, "peer_id": peer, "state": state})
    }

    #[test]
    fn one_active_replica_of_each_shard_spread_over_the_nodes() {
        let of = map(
            json!([replica(0, 1, "Active"), replica(1, 1, "Active"), replica(2, 1, "Dead")]),
            json!([
                replica(0, 2, "Active"),
                replica(1, 3, "Active"),
                replica(2, 3, "Active"),
                replica(3, 2, "Active"),
                replica(3, 3, "Active")
            ]),
            json!({"shard_count": 4}),
        );
        let mut spread = Spread::default();
        let units = spread.units("c", &of).unwrap();
        let chosen: Vec<_> = units
            .iter()
            .map(|unit| (unit.shard.unwrap(), unit.node.unwrap()))
            .collect();
        assert_eq!(chosen, [(0, 1), (1, 3), (2, 3), (3, 2)]);
        for unit in &units {
            let warnings = check(unit, &of).unwrap();
            assert_eq!(warnings.len(), usize::from(unit.shard == Some(2)), "{warnings:?}");
        }
    }

    #[test]
    fn what_may_be_stale_or_moves_is_refused() {
        let active = || json!([replica(0, 1, "Active")]);
        let rows = [
            map(
                json!([replica(0, 1, "Dead")]),
                json!([replica(0, 2, "Partial")]),
                json!({}),
            ),
            map(active(), json!([]), json!({"shard_count": 2})),
            map(
                active(),
                json!([]),
                json!({"shard_transfers": [{"shard_id": 0, "from": 1, "to": 2, "sync": true}]}),
            ),
            map(
                active(),
                json!([]),
                json!({"resharding_operations": [{"direction": "up"}]}),
            ),
        ];
        for row in rows {
            let error = Spread::default().units("c", &row).unwrap_err();
            assert_eq!(error.code(), Code::Unsupported, "{row:?}");
            let unit = Unit::shard("c", 0, 1);
            assert_eq!(check(&unit, &row).unwrap_err().code(), Code::SnapshotChanged, "{row:?}");
            let whole = check(&Unit::whole("c"), &row).unwrap_err();
            assert_eq!(whole.chain(), error.chain(), "of the same cause");
        }
        // Another shard's transfer is no matter.
        let other = map(active(), json!([]), json!({"shard_transfers": [{"shard_id": 7}]}));
        assert_eq!(check(&Unit::shard("c", 0, 1), &other).unwrap(), [""; 0]);
        // The replica went elsewhere.
        assert!(check(&Unit::shard("c", 0, 9), &other).is_err());
        assert!(
            check(
                &Unit::whole("c"),
                &map(active(), json!([replica(0, 2, "Active")]), json!({}))
            )
            .is_err()
        );
    }
}
