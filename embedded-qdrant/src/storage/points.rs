//! Points, wherever the replicas of their shards are.

use std::collections::{BTreeMap, BTreeSet};

use qdrant_edge::{PointOperations, UpdateOperation};
use serde_json::Value;

use super::Storage;
use crate::cluster::{Placed, Topology};
use crate::collection::{OpenCollection, Totals};
use crate::disk;
use crate::error::{Error, Result};
use crate::http::Optimizations;
use crate::points::{Parts, Question};

impl Storage {
    /// Does what `divide` says to every replica that takes updates. It is on disk when this
    /// returns: the engine does not replay its log after a crash.
    pub(crate) async fn update(
        &self,
        name: &str,
        divide: impl FnOnce(&Topology) -> Result<BTreeMap<u32, PointOperations>>,
    ) -> Result<()> {
        let collection = self.find(name).await?;
        let topology = self.topology(&collection)?;
        for (id, operation) in divide(&topology)? {
            for node in self.cluster.writers(collection.name.as_str(), id, topology.shard(id)?) {
                let operation = operation.clone();
                let found = node.find(collection.name.as_str()).await?;
                let write = move |open: &OpenCollection| {
                    let shard = open.shard(id)?;
                    shard.update(UpdateOperation::PointOperation(operation))?;
                    shard.flush();
                    Ok(())
                };
                found.write(write).await?;
            }
        }
        Ok(())
    }

    /// Asks a replica of each shard that the question is for.
    pub(crate) async fn ask<Q: Question>(&self, name: &str, question: Q) -> Result<Q::Answer> {
        let collection = self.find(name).await?;
        question.check()?;
        let topology = self.topology(&collection)?;
        let mut parts: Parts<Q::Part> = Vec::new();
        for id in topology.read(question.shard_key())? {
            let placed = topology.shard(id)?;
            let node = self.cluster.reader(id, placed, self.peer_id)?;
            let found = node.find(collection.name.as_str()).await?;
            let asked = question.clone();
            let part = found.read(move |open| asked.ask(open.shard(id)?)).await?;
            parts.push((placed.key.clone(), part));
        }
        Ok(question.answer(parts))
    }

    /// Asks the replica that is here, whatever its state.
    pub(crate) async fn ask_local<Q: Question>(&self, name: &str, id: u32, question: Q) -> Result<Q::Answer> {
        let collection = self.find(name).await?;
        question.check()?;
        let topology = self.topology(&collection)?;
        let Placed { key, replicas } = topology.shard(id)?;
        if !replicas.contains_key(&self.peer_id) {
            return Err(Error::internal(format_args!("Local shard {id} not found")));
        }
        let asked = question.clone();
        let part = collection.read(move |open| asked.ask(open.shard(id)?)).await?;
        Ok(question.answer(vec![(key.clone(), part)]))
    }

    /// `result` of `GET /collections/{c}`, of all shards that anybody can ask.
    pub(crate) async fn info(&self, name: &str) -> Result<Value> {
        let collection = self.find(name).await?;
        let topology = self.topology(&collection)?;
        let mut totals = Totals::default();
        for (id, placed) in &topology.shards {
            let (id, reader) = (*id, self.cluster.reader(*id, placed, self.peer_id));
            let asked = match reader {
                Ok(node) => node.find(collection.name.as_str()).await?,
                Err(_) => collection.clone(),
            };
            if let Ok(info) = asked.read(move |open| Ok(open.shard(id)?.info())).await {
                totals.add(info)?;
            }
        }
        collection.read(move |open| open.shown(&totals)).await
    }

    /// What is told of the optimizers of each node that has a part of a collection, as (peer,
    /// optimizations, segments). A peer whose replica takes updates has to answer.
    pub(crate) async fn optimizations(&self, name: &str) -> Result<Vec<(u64, Optimizations, Vec<String>)>> {
        let collection = self.find(name).await?;
        let name = collection.name.as_str();
        let topology = self.topology(&collection)?;
        let replicas = topology.shards.values().flat_map(|placed| &placed.replicas);
        let updatable = replicas.filter(|(id, state)| *state != "Dead" || **id == self.peer_id);
        let peers: BTreeSet<u64> = updatable.map(|(id, _)| *id).collect();
        let mut told = Vec::new();
        for peer_id in peers {
            let Some(node) = self.cluster.node(peer_id) else {
                return Err(Error::internal(format_args!(
                    "Tonic status error: code: 'The service is currently unavailable', message: \"Failed to connect to \
                     peer {peer_id}\""
                )));
            };
            let found = node.find(name).await?;
            let asked = found.clone();
            let segments = move |open: &OpenCollection| {
                let mut names = Vec::new();
                for (id, shard) in open.shards() {
                    // As on a Qdrant server: those of which a snapshot is made are hidden behind a new one.
                    match asked.snapshot_lock(id).try_lock() {
                        Ok(_) => names.extend(disk::names_in(&shard.path().join("segments"))?),
                        Err(_) => names.push(uuid::Uuid::new_v4().to_string()),
                    }
                }
                Ok(names)
            };
            told.push((peer_id, node.optimizers.take(name), found.read(segments).await?));
        }
        Ok(told)
    }
}
