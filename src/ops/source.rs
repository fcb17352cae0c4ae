//! Which Qdrant this is.

use crate::repository::manifest::Source;
use crate::wire::qdrant::{ClusterInfo, Qdrant};
use std::collections::BTreeMap;

/// The Qdrant as manifests name it. A standalone node tells its peer id with the shards of any of its `collections`, so that it is not known
/// of an empty one.
pub(crate) async fn qdrant(qdrant: &Qdrant, name: Option<&str>, collections: &[String]) -> Source {
    /// Collections that are asked about: one of them may be broken, or gone.
    const TRIED: usize = 10;
    let mut peers = match qdrant.cluster().await {
        Ok(ClusterInfo::Enabled { peers, .. }) => peers.into_keys().collect(),
        _ => Vec::new(),
    };
    for collection in collections.iter().take(TRIED) {
        if !peers.is_empty() {
            break;
        }
        peers.extend(qdrant.shards(collection).await.map(|(map, _)| map.peer_id));
    }
    peers.sort_unstable();
    Source {
        name: name.map(str::to_owned),
        url: qdrant.url(),
        peers,
        extra: BTreeMap::new(),
    }
}
