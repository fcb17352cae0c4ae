//! Shard keys: made and dropped on every node of the cluster.

use std::num::NonZeroU32;

use serde::Deserialize;

use super::Storage;
use crate::cluster::{Placement, ShardKey};
use crate::error::{Error, Result};

/// Body of `PUT /collections/{c}/shards`.
#[derive(Debug, Deserialize)]
pub(crate) struct CreateShardKey {
    shard_key: ShardKey,
    shards_number: Option<NonZeroU32>,
    replication_factor: Option<NonZeroU32>,
    placement: Option<Vec<u64>>,
    initial_state: Option<InitialState>,
}

/// The states that a client may name.
#[derive(Debug, Clone, Copy, Deserialize)]
enum InitialState {
    Active,
    Dead,
    Partial,
    Initializing,
    Listener,
    PartialSnapshot,
    Recovery,
    Resharding,
    ReshardingScaleDown,
    ActiveRead,
    ManualRecovery,
}

impl Storage {
    /// Adds shards with a key of their own.
    pub(crate) async fn create_shard_key(&self, name: &str, request: CreateShardKey) -> Result<()> {
        let CreateShardKey { shard_key: key, .. } = request;
        let _changes = self.cluster.changes().await;
        let collection = self.find(name).await?;
        let name = collection.name.as_str();
        let mut topology = self.cluster.topology(name)?;
        if !topology.custom {
            return Err(Error::bad_request(
                "Shard Key cannot be created with Auto sharding method",
            ));
        }
        if !topology.of_key(&key).is_empty() {
            return Err(Error::bad_request(format_args!(
                "Sharding key {key} already exists for collection {name}"
            )));
        }
        if request.placement.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::bad_request(format_args!(
                "Sharding key {key} placement cannot be empty. If you want to use random placement, do not specify \
                 placement"
            )));
        }
        let peers = self.cluster.places(request.placement.as_deref())?;
        let (shards, replicas) = collection
            .read(|open| Ok((open.config.params.shard_number, open.config.params.replication_factor)))
            .await?;
        let ids = topology.add(Placement {
            key: Some(key.clone()),
            shards: request.shards_number.unwrap_or(shards).get(),
            replicas: request.replication_factor.unwrap_or(replicas).get(),
            peers: &peers,
            state: &format!("{:?}", request.initial_state.unwrap_or(InitialState::Active)),
        });
        for node in self.cluster.running() {
            let here = topology.on(node.peer_id);
            let local: Vec<u32> = ids.iter().copied().filter(|id| here.contains(id)).collect();
            let (ids, key) = (ids.clone(), key.clone());
            let found = node.find(name).await?;
            found
                .alter(move |open| open.add_shards(&local, &ids, Some(&key)))
                .await?;
        }
        self.cluster.set_topology(name, Some(topology));
        Ok(())
    }

    /// Drops the shards of a key with all that is in them.
    pub(crate) async fn delete_shard_key(&self, name: &str, key: &ShardKey) -> Result<()> {
        let _changes = self.cluster.changes().await;
        let collection = self.find(name).await?;
        let name = collection.name.as_str();
        let mut topology = self.cluster.topology(name)?;
        let ids = topology.of_key(key);
        if ids.is_empty() {
            return Err(Error::bad_request(format_args!(
                "Sharding key {key} does not exist for collection {name}"
            )));
        }
        topology.shards.retain(|id, _| !ids.contains(id));
        self.cluster.set_topology(name, Some(topology));
        for node in self.cluster.running() {
            let ids = ids.clone();
            let found = node.find(name).await?;
            found.alter(move |open| open.remove_shards(&ids)).await?;
        }
        Ok(())
    }
}
