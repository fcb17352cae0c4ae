//! The cluster that nodes of one process form: its peers, and the replicas of each shard.
//!
//! What Qdrant's nodes agree upon by consensus is one value here, which every node of the
//! cluster has in its hands. So a change is there for all at once, and a test may write
//! into it what a cluster only shows in an unlucky moment. The replicas' data is not here
//! but on the nodes, each with a data directory of its own.

mod topology;

pub use topology::{ShardKey, Transfer};

pub(crate) use topology::{Mapping, Placed, Placement, ShardKeySelector, Topology, mapping};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::snapshot::create::Form;
use crate::storage::{Priority, Storage};

/// A cluster of one or more nodes. Give a clone of it to each in
/// [`NodeOptions::cluster`](crate::NodeOptions::cluster).
#[derive(Clone, Default)]
pub struct Cluster {
    state: Arc<Mutex<State>>,
    /// Held while collections, aliases or shard keys come and go, on whatever node.
    changes: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    peers: BTreeMap<u64, Peer>,
    collections: BTreeMap<String, Topology>,
    /// Replicas that lack data which another one has.
    behind: BTreeSet<Replica>,
    /// Whether they have to wait for it.
    held: bool,
}

/// A replica of a shard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Replica {
    collection: String,
    shard: u32,
    peer_id: u64,
}

struct Peer {
    uri: String,
    /// Gone while the node does not run.
    storage: Weak<Storage>,
}

impl Cluster {
    /// A cluster without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a peer that no node runs: `GET /cluster` lists it, and it has no shards.
    pub fn add_peer(&self, peer_id: u64, uri: &str) {
        let peer = Peer {
            uri: uri.to_owned(),
            storage: Weak::new(),
        };
        self.lock().peers.insert(peer_id, peer);
    }

    /// Sets the state of a replica, which is created if that peer has none of this shard:
    /// `Active`, `Dead`, `Partial`, `Initializing` or anything else that a client may have
    /// to live with. It holds until the next change or the end of the last node.
    pub fn set_state(&self, collection: &str, shard: u32, peer_id: u64, state: &str) {
        self.change(collection, |topology| {
            if let Some(placed) = topology.shards.get_mut(&shard) {
                placed.replicas.insert(peer_id, state.to_owned());
            }
        });
    }

    /// The state of a replica.
    pub fn state(&self, collection: &str, shard: u32, peer_id: u64) -> Option<String> {
        let state = self.lock();
        let placed = state.collections.get(collection)?.shards.get(&shard)?;
        placed.replicas.get(&peer_id).cloned()
    }

    /// Replaces the transfers that `GET /collections/{c}/cluster` shows. Nothing is sent.
    pub fn set_transfers(&self, collection: &str, transfers: Vec<Transfer>) {
        self.change(collection, |topology| topology.transfers = transfers);
    }

    /// Replaces what `GET /collections/{c}/cluster` shows as `resharding_operations`, which
    /// is left out while it is `None`. Nothing is resharded.
    pub fn set_resharding(&self, collection: &str, operations: Option<Value>) {
        self.change(collection, |topology| topology.resharding = operations);
    }

    /// Whether replicas that a restore or an update left behind stay so, and dead, until
    /// [`Cluster::finish_transfers`]. Otherwise they have the data, and are active, before
    /// the request that left them behind is answered, or as soon as their node runs again.
    pub fn hold_transfers(&self, hold: bool) {
        self.lock().held = hold;
    }

    /// Sends every replica that is behind the data of an active one, if both nodes run.
    pub async fn finish_transfers(&self) -> Result<()> {
        let behind = self.lock().behind.clone();
        for replica in behind {
            let Replica {
                collection,
                shard,
                peer_id,
            } = &replica;
            let Some(to) = self.node(*peer_id) else { continue };
            let topology = self.topology(collection)?;
            let placed = topology.shard(*shard)?;
            let Ok(from) = self.reader(*shard, placed, *peer_id) else {
                continue;
            };
            let written = from.pack(collection, *shard, Form::Plain).await?;
            let found = to.find(collection).await?;
            to.put_shard(&found, *shard, written.file.to_path_buf()).await?;
            self.set_state(collection, *shard, *peer_id, "Active");
            self.lock().behind.remove(&replica);
        }
        Ok(())
    }

    /// The same unless transfers are held. One that fails leaves the replica dead.
    pub(crate) async fn catch_up(&self) {
        if self.lock().held {
            return;
        }
        if let Err(error) = self.finish_transfers().await {
            tracing::error!(%error, "a transfer failed: {error}");
        }
    }

    fn left_behind(&self, collection: &str, shard: u32, peer_id: u64) {
        self.set_state(collection, shard, peer_id, "Dead");
        self.lock().behind.insert(Replica {
            collection: collection.to_owned(),
            shard,
            peer_id,
        });
    }

    fn change(&self, collection: &str, change: impl FnOnce(&mut Topology)) {
        if let Some(topology) = self.lock().collections.get_mut(collection) {
            change(topology);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn changes(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.changes.lock().await
    }

    /// Makes a node known, with the shards that are in its data directory.
    ///
    /// Its URI is the address for other peers, as Qdrant's Helm chart makes it. Nothing
    /// listens there, as nothing that speaks REST does on a Qdrant server.
    pub(crate) fn join(&self, peer_id: u64, storage: &Arc<Storage>, local: Vec<(String, Topology)>) {
        let mut state = self.lock();
        let number = state.peers.len();
        let peer = state.peers.entry(peer_id).or_insert_with(|| Peer {
            uri: format!("http://qdrant-{number}.qdrant-headless:6335/"),
            storage: Weak::new(),
        });
        peer.storage = Arc::downgrade(storage);
        for (name, topology) in local {
            state.collections.entry(name).or_insert(topology);
        }
    }

    /// The node ends. It stays a peer, and its replicas keep their states.
    pub(crate) fn leave(&self, peer_id: u64) {
        if let Some(peer) = self.lock().peers.get_mut(&peer_id) {
            peer.storage = Weak::new();
        }
    }

    /// All nodes that run.
    pub(crate) fn running(&self) -> Vec<Arc<Storage>> {
        let state = self.lock();
        state.peers.values().filter_map(|peer| peer.storage.upgrade()).collect()
    }

    fn node(&self, peer_id: u64) -> Option<Arc<Storage>> {
        self.lock().peers.get(&peer_id)?.storage.upgrade()
    }

    /// `peers` of `GET /cluster`.
    pub(crate) fn shown(&self) -> Value {
        let state = self.lock();
        let peers = state.peers.iter();
        peers
            .map(|(id, peer)| (id.to_string(), json!({"uri": peer.uri})))
            .collect()
    }

    /// The peers among which shards are placed: `wanted`, or all that run.
    pub(crate) fn places(&self, wanted: Option<&[u64]>) -> Result<Vec<u64>> {
        let state = self.lock();
        let Some(wanted) = wanted else {
            let running = state.peers.iter().filter(|(_, peer)| peer.storage.strong_count() > 0);
            return Ok(running.map(|(id, _)| *id).collect());
        };
        match wanted.iter().find(|id| !state.peers.contains_key(id)) {
            Some(unknown) => Err(Error::bad_request(format_args!("Peer {unknown} does not exist"))),
            None => Ok(wanted.to_vec()),
        }
    }

    /// Where the shards of a collection are.
    pub(crate) fn topology(&self, collection: &str) -> Result<Topology> {
        let found = self.lock().collections.get(collection).cloned();
        found.ok_or_else(|| Error::not_found(format_args!("Collection `{collection}` doesn't exist!")))
    }

    /// Replaces what is known of a collection; `None` forgets it.
    pub(crate) fn set_topology(&self, collection: &str, topology: Option<Topology>) {
        let mut state = self.lock();
        match topology {
            Some(topology) => state.collections.insert(collection.to_owned(), topology),
            None => state.collections.remove(collection),
        };
    }

    /// A replica was restored: it is active, unless another active one is to win. With
    /// `Snapshot` the others are behind.
    pub(crate) fn recovered(&self, collection: &str, shard: u32, own: u64, priority: Priority) {
        let Ok(topology) = self.topology(collection) else {
            return;
        };
        let Some(placed) = topology.shards.get(&shard) else {
            return;
        };
        let others = placed
            .replicas
            .iter()
            .filter(|(id, state)| **id != own && is_active(state));
        let others: Vec<u64> = others.map(|(id, _)| *id).collect();
        if priority == Priority::Replica && !others.is_empty() {
            return self.left_behind(collection, shard, own);
        }
        self.set_state(collection, shard, own, "Active");
        if priority == Priority::Snapshot {
            others
                .into_iter()
                .for_each(|other| self.left_behind(collection, shard, other));
        }
    }

    /// A running node with an active replica of the shard, `own` if it has one.
    pub(crate) fn reader(&self, shard: u32, placed: &Placed, own: u64) -> Result<Arc<Storage>> {
        let mut active = placed.replicas.iter().filter(|(_, state)| is_active(state));
        let ids = active.clone().filter(|(id, _)| **id == own);
        let found = ids
            .map(|(id, _)| *id)
            .find_map(|id| self.node(id))
            .or_else(|| active.find_map(|(id, _)| self.node(*id)));
        found.ok_or_else(|| {
            Error::internal(format_args!(
                "The replica set for shard {shard} on peer {own} has no active replica"
            ))
        })
    }

    /// The running nodes whose replica of a shard takes updates. What is on another node,
    /// and would take them, is left behind.
    pub(crate) fn writers(&self, collection: &str, shard: u32, placed: &Placed) -> Vec<Arc<Storage>> {
        let mut writers = Vec::new();
        for (id, _) in placed.replicas.iter().filter(|(_, state)| *state != "Dead") {
            match self.node(*id) {
                Some(node) => writers.push(node),
                None => self.left_behind(collection, shard, *id),
            }
        }
        writers
    }
}

fn is_active(state: &str) -> bool {
    matches!(state, "Active" | "ReshardingScaleDown")
}
