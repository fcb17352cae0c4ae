//! Collections, their payload indexes and aliases, on every node of the cluster alike.

use uuid::Uuid;

use super::{Catalogue, Storage, blocking, staging};
use crate::aliases::Action;
use crate::cluster::{Placement, Topology};
use crate::collection::{CreatePayloadIndex, OpenCollection, PayloadIndexes};
use crate::config::{CollectionConfig, CreateCollection};
use crate::disk;
use crate::error::Result;
use crate::names::CollectionName;

impl Storage {
    /// Makes an empty collection, its shards divided among the peers.
    pub(crate) async fn create(&self, name: &str, request: CreateCollection) -> Result<()> {
        let name = CollectionName::parse(name)?;
        let _changes = self.cluster.changes().await;
        let config = request.into_config(Uuid::new_v4());
        self.create_everywhere(&name, &config, &PayloadIndexes::default()).await
    }

    /// The caller holds `changes`.
    pub(super) async fn create_everywhere(
        &self,
        name: &CollectionName,
        config: &CollectionConfig,
        indexes: &PayloadIndexes,
    ) -> Result<()> {
        self.catalogue.lock().await.check_free(name)?;
        let mut topology = Topology {
            custom: config.is_custom(),
            ..Topology::default()
        };
        if !topology.custom {
            topology.add(Placement {
                key: None,
                shards: config.params.shard_number.get(),
                replicas: config.params.replication_factor.get(),
                peers: &self.cluster.places(None)?,
                state: "Active",
            });
        }
        for node in self.cluster.running() {
            let (place, scratch) = (name.below(&node.collections()), node.scratch());
            let (config, indexes) = (config.clone(), indexes.clone());
            let shards = topology.on(node.peer_id);
            let open = blocking(move || {
                let staged = staging(&scratch)?;
                OpenCollection::create(staged.path(), &config, &indexes, shards)?;
                disk::rename(&staged.keep(), &place)?;
                OpenCollection::reopen(&place)
            })
            .await?;
            node.catalogue.lock().await.insert(name.clone(), open);
        }
        self.cluster.set_topology(name.as_str(), Some(topology));
        Ok(())
    }

    /// Drops a collection and its aliases, not its snapshots. False if there was none.
    pub(crate) async fn delete(&self, name: &str) -> Result<bool> {
        let name = CollectionName::parse(name)?;
        let _changes = self.cluster.changes().await;
        let mut deleted = false;
        for node in self.cluster.running() {
            deleted |= node.delete_here(&name).await?;
        }
        self.cluster.set_topology(name.as_str(), None);
        Ok(deleted)
    }

    async fn delete_here(&self, name: &CollectionName) -> Result<bool> {
        let mut catalogue = self.catalogue.lock().await;
        catalogue.aliases.drop_collection(name.as_str())?;
        let Some(collection) = catalogue.collections.remove(name) else {
            return Ok(false);
        };
        drop(catalogue);
        let _writer = collection.writer.lock().await;
        let mut open = collection.open.clone().write_owned().await;
        let (place, scratch) = (name.below(&self.collections()), self.scratch());
        blocking(move || {
            *open = None;
            let trash = staging(&scratch)?.keep();
            disk::rename(&place, &trash)?;
            disk::remove_dir(&trash)
        })
        .await?;
        Ok(true)
    }

    /// Builds a payload index on every node.
    pub(crate) async fn create_index(&self, name: &str, request: CreatePayloadIndex) -> Result<()> {
        let collection = self.find(name).await?;
        for node in self.cluster.running() {
            let request = request.clone();
            let found = node.find(collection.name.as_str()).await?;
            found.alter(move |open| open.create_index(request)).await?;
        }
        Ok(())
    }

    /// All aliases, or those of one collection, as (alias, collection).
    pub(crate) async fn aliases(&self, of: Option<&CollectionName>) -> Vec<(String, String)> {
        self.catalogue.lock().await.aliases.list(of.map(CollectionName::as_str))
    }

    /// Changes aliases: all of the actions, or on an error none.
    pub(crate) async fn change_aliases(&self, actions: Vec<Action>) -> Result<()> {
        let _changes = self.cluster.changes().await;
        for node in self.cluster.running() {
            let mut guard = node.catalogue.lock().await;
            let Catalogue {
                collections, aliases, ..
            } = &mut *guard;
            let exists = |name: &str| collections.keys().any(|known| known.as_str() == name);
            aliases.change(actions.clone(), exists)?;
        }
        Ok(())
    }
}
