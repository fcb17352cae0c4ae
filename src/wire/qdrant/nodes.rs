//! The nodes of a cluster: each is asked for the replicas that it has itself.
//!
//! Qdrant tells its nodes' addresses for each other (`peers` of `GET /cluster`), not those of their REST APIs, so these are
//! configured, and told apart by the peer id that each answers with.

use super::{ClusterInfo, Options, Qdrant};
use crate::base::error::{Code, Error, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};
use url::Url;

/// Connections by which each node is asked who it is: one that balances load answers for several.
const ASKED: usize = 4;
const ASKED_AT_ONCE: usize = 8;

/// Where the nodes of a cluster are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NodeAddresses {
    /// At [`Options::url`], which is the only one.
    #[default]
    One,
    /// Base URLs of their REST APIs.
    Urls(Vec<Url>),
    /// At each address of a host's name, by HTTP.
    Dns { host: String, port: u16 },
}

/// The nodes of a Qdrant.
#[derive(Clone, Debug)]
pub(crate) struct Nodes {
    /// The one that is asked for what each of them knows.
    first: Qdrant,
    /// By their peer ids; empty where Qdrant is not clustered, or does not tell.
    by_peer: BTreeMap<u64, Qdrant>,
    /// Whether the key may not ask how Qdrant is clustered.
    pub(crate) is_hidden: bool,
}

impl Nodes {
    /// One that holds everything.
    pub(crate) fn one(qdrant: &Qdrant) -> Self {
        Self {
            first: qdrant.clone(),
            by_peer: BTreeMap::new(),
            is_hidden: false,
        }
    }

    /// The node with this peer id, or the only one.
    pub(crate) fn of(&self, peer: Option<u64>) -> &Qdrant {
        let node = peer.and_then(|peer| self.by_peer.get(&peer));
        node.unwrap_or(&self.first)
    }

    /// Peer id and client of each.
    pub(crate) fn by_peer(&self) -> &BTreeMap<u64, Qdrant> {
        &self.by_peer
    }

    /// The client of each, also where there is only one.
    pub(crate) fn all(&self) -> Vec<&Qdrant> {
        match self.by_peer.is_empty() {
            true => vec![&self.first],
            false => self.by_peer.values().collect(),
        }
    }

    /// The release of each, by peer id; of one that is not clustered, 0.
    pub(crate) async fn versions(&self) -> Result<BTreeMap<u64, String>> {
        let mut versions = BTreeMap::new();
        if self.by_peer.is_empty() {
            versions.insert(0, self.first.version().await?);
        }
        for (peer, node) in &self.by_peer {
            versions.insert(*peer, node.version().await?);
        }
        Ok(versions)
    }

    /// Whether there are several.
    pub(crate) fn are_several(&self) -> bool {
        self.by_peer.len() > 1
    }
}

impl Qdrant {
    /// Finds the nodes.
    ///
    /// # Errors
    /// [`Code::Unsupported`] for a cluster of which only one node is known, [`Code::ConfigInvalid`] when the addresses are not those
    /// of exactly its nodes.
    pub(crate) async fn nodes(&self) -> Result<Nodes> {
        let nodes = |by_peer, is_hidden| Nodes {
            first: self.clone(),
            by_peer,
            is_hidden,
        };
        let addresses = &self.http.options().nodes;
        match self.cluster().await? {
            ClusterInfo::Disabled => match addresses {
                NodeAddresses::Urls(urls) if urls.len() > 1 => Err(Error::new(
                    Code::ConfigInvalid,
                    format!(
                        "{} nodes are configured; {} is not in cluster mode",
                        urls.len(),
                        self.url()
                    ),
                )
                .remedy("back up each Qdrant by itself, into a store of its own")),
                _ => Ok(nodes(BTreeMap::new(), false)),
            },
            ClusterInfo::Hidden => match addresses {
                NodeAddresses::One => Ok(nodes(BTreeMap::new(), true)),
                _ => Err(hidden(self)),
            },
            ClusterInfo::Enabled { peer, peers } if peers.len() <= 1 && *addresses == NodeAddresses::One => {
                Ok(nodes(BTreeMap::from([(peer, self.clone())]), false))
            }
            ClusterInfo::Enabled { peers, .. } => match addresses {
                NodeAddresses::One => Err(Error::new(
                    Code::Unsupported,
                    format!(
                        "{} is a cluster of {} nodes, and QDRANT_NODES does not name them: {}",
                        self.url(),
                        peers.len(),
                        listed(&peers)
                    ),
                )
                .remedy(
                    "set QDRANT_NODES (of another Qdrant DRILL_QDRANT_NODES or RESTORE_QDRANT_NODES) to the REST URLs of all nodes, \
                     or to dns://HEADLESS-SERVICE:6333",
                )),
                _ => Ok(nodes(self.each(&peers).await?, false)),
            },
        }
    }

    /// The node at each of the addresses, by its peer id: each of `peers` once.
    async fn each(&self, peers: &BTreeMap<u64, String>) -> Result<BTreeMap<u64, Qdrant>> {
        let urls = self.addresses().await?;
        let known: Vec<(u64, Qdrant)> = stream::iter(urls)
            .map(|url| self.node_at(url, peers))
            .buffered(ASKED_AT_ONCE)
            .try_collect()
            .await?;
        let mut by_peer: BTreeMap<u64, Qdrant> = BTreeMap::new();
        for (peer, node) in known {
            let url = node.url();
            if let Some(other) = by_peer.insert(peer, node) {
                return Err(
                    invalid(format!("{} and {url} are the same node, peer {peer}", other.url()))
                        .remedy("name each node once"),
                );
            }
        }
        let missing: BTreeMap<u64, String> = peers
            .iter()
            .filter(|(peer, _)| !by_peer.contains_key(peer))
            .map(|(peer, uri)| (*peer, uri.clone()))
            .collect();
        match missing.is_empty() {
            true => Ok(by_peer),
            false => Err(invalid(format!(
                "{} of {} nodes of the cluster are not among the configured ones: {}",
                missing.len(),
                peers.len(),
                listed(&missing)
            ))
            .remedy(
                "add the REST URL of each; a peer that is gone for good is removed with DELETE /cluster/peer/ID, after its shards were \
                 moved",
            )),
        }
    }

    async fn addresses(&self) -> Result<Vec<Url>> {
        let options = self.http.options();
        match &options.nodes {
            NodeAddresses::One => Ok(vec![options.url.clone()]),
            NodeAddresses::Urls(urls) => Ok(urls.clone()),
            NodeAddresses::Dns { host, port } => {
                let doing = format!("resolving {host:?}, the name of the nodes");
                let failed = |e: std::io::Error| {
                    Error::new(Code::QdrantUnreachable, doing.clone())
                        .because(e)
                        .remedy("check the name: that of a headless service has an address for each of its pods")
                };
                let found: BTreeSet<_> = tokio::net::lookup_host((host.as_str(), *port))
                    .await
                    .map_err(failed)?
                    .collect();
                let urls: Option<Vec<Url>> = found
                    .iter()
                    .map(|address| Url::parse(&format!("http://{address}")).ok())
                    .collect();
                match urls {
                    Some(urls) if !urls.is_empty() => Ok(urls),
                    _ => Err(
                        Error::new(Code::QdrantUnreachable, format!("{doing}: it has no address"))
                            .remedy("check the name: that of a headless service has an address for each of its pods"),
                    ),
                }
            }
        }
    }

    /// The node at this URL and its peer id, if it is one node, and one of `peers`.
    async fn node_at(&self, url: Url, peers: &BTreeMap<u64, String>) -> Result<(u64, Qdrant)> {
        let at = || {
            Qdrant::new(Options {
                url: url.clone(),
                nodes: NodeAddresses::One,
                ..self.http.options().clone()
            })
        };
        let node = at()?;
        let mut seen = BTreeSet::new();
        for _ in 0..ASKED {
            // By a connection of its own.
            match at()?.cluster().await? {
                ClusterInfo::Enabled { peer, .. } => seen.insert(peer),
                ClusterInfo::Hidden => return Err(hidden(&node)),
                ClusterInfo::Disabled => {
                    return Err(invalid(format!("{} is no node of a cluster", node.url()))
                        .remedy("name only nodes of the cluster at QDRANT_URL"));
                }
            };
        }
        let mut seen = seen.into_iter();
        match (seen.next(), seen.next()) {
            (Some(peer), None) if peers.contains_key(&peer) => Ok((peer, node)),
            (Some(peer), None) => Err(invalid(format!(
                "{} is peer {peer}, which is no node of the cluster at {}",
                node.url(),
                self.url()
            ))
            .remedy("name only nodes of one cluster")),
            (one, other) => Err(invalid(format!(
                "{} balances load: it answered as peer {} and as peer {}",
                node.url(),
                one.unwrap_or_default(),
                other.unwrap_or_default()
            ))
            .remedy("name the nodes themselves; in Kubernetes dns:// and the headless service")),
        }
    }
}

fn hidden(node: &Qdrant) -> Error {
    Error::new(
        Code::QdrantForbidden,
        format!(
            "the key may not read the cluster status of {}, so its nodes are unknown",
            node.url()
        ),
    )
    .remedy("use the full key, or a token with `manage` access")
}

fn invalid(text: String) -> Error {
    Error::new(Code::ConfigInvalid, text)
}

/// Peers with their addresses for each other.
fn listed(peers: &BTreeMap<u64, String>) -> String {
    let list: Vec<_> = peers.iter().map(|(peer, uri)| format!("{peer} ({uri})")).collect();
    list.join(", ")
}
