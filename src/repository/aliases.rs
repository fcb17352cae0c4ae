//! The aliases of collections.

use crate::wire::qdrant::Alias;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The aliases of each collection that has any, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Aliases(BTreeMap<String, Vec<String>>);

impl Aliases {
    pub(crate) fn of(&self, collection: &str) -> &[String] {
        self.0.get(collection).map_or(&[], Vec::as_slice)
    }

    /// Leaves out those of other collections.
    pub(crate) fn retain(&mut self, collections: &[String]) {
        self.0.retain(|collection, _| collections.contains(collection));
    }

    pub(crate) fn insert(&mut self, collection: String, aliases: Vec<String>) {
        self.0.insert(collection, aliases);
    }
}

impl From<Vec<Alias>> for Aliases {
    fn from(aliases: Vec<Alias>) -> Self {
        let mut by_collection: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for alias in aliases {
            by_collection.entry(alias.collection).or_default().push(alias.alias);
        }
        for list in by_collection.values_mut() {
            list.sort_unstable();
        }
        Self(by_collection)
    }
}
