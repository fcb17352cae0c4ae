//! Qdrant over its REST API: the calls that a backup and a restore need, and no more.
//!
//! One concrete client, no port: the risks are on the wire. Behaviour that differs from Qdrant's documentation was seen on a
//! real 1.18.3 server and is noted where it matters.

mod answer;
mod counted;
mod create;
mod download;
mod http;
mod key;
mod limits;
mod nodes;
mod optimizations;
mod probe;
mod restore;
mod sample;
mod snapshot;
mod streamed;
mod tls;
mod trials;

pub use download::Download;
pub(crate) use key::is_key;
pub use nodes::NodeAddresses;
pub(crate) use nodes::Nodes;
pub(crate) use optimizations::Optimizations;
pub use restore::AliasAction;
pub(crate) use sample::Shape;
pub(crate) use snapshot::{LONGEST_NAME, SnapshotName};
pub use snapshot::{Snapshot, SnapshotOf};
pub use streamed::ShardStream;
pub use tls::{Tls, TlsNames};

use crate::base::error::{Code, Error, Result};
use crate::base::json::Packed;
use crate::base::pause::Pause;
use crate::base::text::in_the_middle;
use answer::Answer;
use counted::Counted;
use http::Http;
use limits::{Limit, MOST_NAMES};
use reqwest::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;
use time::OffsetDateTime;
use url::Url;

/// Characters of a peer's address that are told.
const LONGEST_URI: usize = 200;

/// How to reach a Qdrant.
#[derive(Clone, Debug)]
pub struct Options {
    /// Base URL of the REST API, e.g. `http://10.0.0.5:6333`. A path is kept (reverse proxies).
    pub url: Url,
    /// Where the nodes are, if it is a cluster of several.
    pub nodes: NodeAddresses,
    /// Key sent as `api-key`.
    pub api_key: Option<SecretString>,
    /// The file that the key is from, which may be replaced while this client lives.
    pub api_key_file: Option<PathBuf>,
    /// Certificates, for https.
    pub tls: Tls,
    /// Longest time without a byte: while connecting, waiting for a short answer's head, or downloading.
    pub idle: Duration,
    /// Longest time until the first byte of a shard that is streamed: updates that wait, and other snapshots of it, come before.
    pub first_byte: Duration,
    /// How long a lost connection is tried again, beyond the other attempts, before Qdrant has answered this client for the first
    /// time: the network of a new instance may come up after the program.
    pub start: Duration,
    /// Longest time of a short call, and of each look whether Qdrant is still alive during a long one.
    pub request_timeout: Duration,
    /// Longest time of an exact count, which reads every segment.
    pub count_timeout: Duration,
    /// Longest time that Qdrant may take to make or restore one snapshot. Qdrant itself has no limit, and hundreds of GB take hours.
    pub create_timeout: Duration,
    /// Further attempts at a call that may be repeated, and at a cut download that makes no progress.
    pub retries: u32,
    /// Pause before the first further attempt; doubles with each.
    pub backoff: Duration,
    /// Bytes of an answer with points; of a larger one nothing is understood.
    pub largest_answer: usize,
    /// While it lasts no request is begun.
    pub pause: Pause,
}

impl Options {
    /// The defaults for `url`.
    pub fn new(url: Url) -> Self {
        Self {
            url,
            nodes: NodeAddresses::One,
            api_key: None,
            api_key_file: None,
            tls: Tls::default(),
            idle: Duration::from_secs(60),
            first_byte: Duration::from_secs(300),
            start: Duration::ZERO,
            request_timeout: Duration::from_secs(60),
            count_timeout: Duration::from_secs(600),
            create_timeout: Duration::from_secs(6 * 3600),
            largest_answer: 16 << 20,
            retries: 4,
            backoff: Duration::from_millis(500),
            pause: Pause::default(),
        }
    }
}

/// A client for one node's REST API. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Qdrant {
    http: Http,
}

/// `GET /collections/{name}`, as far as a backup needs it.
#[derive(Clone, Debug, Deserialize)]
pub struct CollectionInfo {
    /// `green`, `yellow`, `grey` or `red`; an open set.
    pub status: String,
    /// Approximate number of points.
    pub points_count: Option<u64>,
    /// The collection's parameters, kept as they are.
    pub config: Packed,
    /// Payload indexes, kept as they are.
    #[serde(default)]
    pub payload_schema: Packed,
    /// Whether an optimizer failed for want of space on Qdrant's disk. The API has no more of what is free there.
    #[serde(default, rename = "optimizer_status", deserialize_with = "answer::lacks_room")]
    pub(crate) lacks_room: bool,
}

impl CollectionInfo {
    /// Bytes of what is kept as it is.
    pub fn size(&self) -> usize {
        self.config.size().saturating_add(self.payload_schema.size())
    }
}

/// `GET /collections/{name}`, as far as people are shown it.
#[derive(Clone, Debug, Deserialize)]
pub struct CollectionState {
    /// `green`, `yellow`, `grey` or `red`; an open set.
    pub status: String,
    /// Approximate number of points.
    pub points_count: Option<u64>,
}

/// A number of points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    pub points: u64,
    /// `false`: Qdrant's estimate, which may count a point twice while it is moved between segments.
    pub is_exact: bool,
}

/// An alias and the collection that it points to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Alias {
    #[serde(rename = "alias_name")]
    pub alias: String,
    #[serde(rename = "collection_name")]
    pub collection: String,
}

/// `GET /cluster`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterInfo {
    /// Not clustered.
    Disabled,
    /// A cluster with these peers; possibly only one.
    Enabled {
        /// Peer id of the node that answered.
        peer: u64,
        /// The peer id of each node, and its address for the others.
        peers: BTreeMap<u64, String>,
    },
    /// The key may not ask (a token for collections only gets 403 here).
    Hidden,
}

/// `GET /collections/{name}/cluster`, as far as a backup needs it.
#[derive(Clone, Debug, Deserialize)]
pub struct ShardMap {
    /// Peer id of the node that answered.
    pub peer_id: u64,
    /// How many shards there are, wherever their replicas are, if they have any.
    pub shard_count: Option<usize>,
    /// Shards on this node.
    #[serde(default)]
    pub local_shards: Vec<LocalShard>,
    /// Shards on other nodes.
    #[serde(default)]
    pub remote_shards: Vec<RemoteShard>,
    /// Transfers under way.
    #[serde(default)]
    pub shard_transfers: Vec<ShardTransfer>,
    /// Changes of the number of shards under way; none is not even an empty list.
    pub resharding_operations: Option<Vec<Value>>,
}

/// A shard's replica on the node that answered.
#[derive(Clone, Debug, Deserialize)]
pub struct LocalShard {
    pub shard_id: u32,
    /// `Active`, `Dead`, …; an open set.
    pub state: String,
}

/// A shard's replica on another node.
#[derive(Clone, Debug, Deserialize)]
pub struct RemoteShard {
    pub shard_id: u32,
    pub peer_id: u64,
    /// `Active`, `Dead`, …; an open set.
    pub state: String,
}

/// A replica that is being copied from one node to another.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct ShardTransfer {
    pub shard_id: u32,
}

/// A replica of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replica {
    pub(crate) peer: u64,
    /// `Active`, `Dead`, …; an open set.
    pub(crate) state: String,
}

impl Replica {
    pub(crate) fn is_active(&self) -> bool {
        self.state == "Active"
    }
}

impl ShardMap {
    /// The replicas of each shard, wherever they are.
    pub(crate) fn replicas(&self) -> BTreeMap<u32, Vec<Replica>> {
        let local = self.local_shards.iter().map(|s| (s.shard_id, self.peer_id, &s.state));
        let remote = self.remote_shards.iter().map(|s| (s.shard_id, s.peer_id, &s.state));
        let mut shards: BTreeMap<u32, Vec<Replica>> = BTreeMap::new();
        for (shard, peer, state) in local.chain(remote) {
            let replica = Replica {
                peer,
                state: state.clone(),
            };
            shards.entry(shard).or_default().push(replica);
        }
        shards
    }

    /// The shards that are being copied between nodes.
    pub(crate) fn moving(&self) -> BTreeSet<u32> {
        self.shard_transfers.iter().map(|transfer| transfer.shard_id).collect()
    }

    /// Whether the number of shards is being changed.
    pub(crate) fn is_resharded(&self) -> bool {
        self.resharding_operations
            .as_ref()
            .is_some_and(|under_way| !under_way.is_empty())
    }
}

impl Qdrant {
    /// A client; nothing is sent yet.
    pub fn new(options: Options) -> Result<Self> {
        Ok(Self {
            http: Http::new(options)?,
        })
    }

    /// The base URL, for messages.
    pub fn url(&self) -> String {
        self.http.base()
    }

    /// Qdrant's release version (`GET /`; needs no key).
    pub async fn version(&self) -> Result<String> {
        #[derive(Deserialize)]
        struct Root {
            version: String,
        }
        let doing = format!("reading the version of {}", self.url());
        let answer = self.read(Method::GET, &[], None, &doing).await?;
        serde_json::from_slice::<Root>(answer.ok(&doing)?)
            .map(|root| root.version)
            .map_err(|e| Error::new(Code::QdrantUnexpected, doing).because(e).remedy(REST_API))
    }

    /// Waits for the end of a pause of the network, see [`Pause`], so that the next request does not have to.
    pub(crate) async fn unpaused(&self) {
        self.http.options().pause.over().await;
    }

    /// How the node is clustered.
    pub async fn cluster(&self) -> Result<ClusterInfo> {
        let doing = format!("reading the cluster status of {}", self.url());
        let answer = self.read(Method::GET, &["cluster"], None, &doing).await?;
        if answer.status == 403 {
            return Ok(ClusterInfo::Hidden);
        }
        let info: Value = answer.kept(&doing).await?;
        match info["status"].as_str() {
            Some("disabled") => Ok(ClusterInfo::Disabled),
            Some("enabled") => {
                let peers = info["peers"].as_object().map(|peers| {
                    let uri = |peer: &Value| peer["uri"].as_str().map(|uri| in_the_middle(uri, LONGEST_URI));
                    let peers = peers.iter();
                    peers
                        .filter_map(|(id, peer)| Some((id.parse().ok()?, uri(peer).unwrap_or_default())))
                        .collect::<BTreeMap<u64, String>>()
                });
                match (info["peer_id"].as_u64(), peers) {
                    (Some(peer), Some(peers)) => Ok(ClusterInfo::Enabled { peer, peers }),
                    _ => Err(Error::new(
                        Code::QdrantUnexpected,
                        format!("{doing}: the response has no peers"),
                    )),
                }
            }
            _ => Err(Error::new(
                Code::QdrantUnexpected,
                format!("{doing}: the response has an unknown status"),
            )),
        }
    }

    /// Names of all collections that the key may see, sorted, each once.
    pub async fn collections(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Collections {
            collections: Counted<Name>,
        }
        #[derive(Deserialize)]
        struct Name {
            name: String,
        }
        let doing = format!("listing the collections of {}", self.url());
        let list: Collections = self.get(&["collections"], &doing).await?;
        if list.collections.count > MOST_NAMES {
            let text = format!(
                "{doing}: {} collections; the limit is {MOST_NAMES}",
                list.collections.count
            );
            let remedy = Limit::of(&["collections"], 0).remedy;
            return Err(Error::new(Code::Unsupported, text).remedy(remedy));
        }
        let mut names: Vec<_> = list.collections.first.into_iter().map(|c| c.name).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Configuration and state of a collection.
    pub async fn collection(&self, collection: &str) -> Result<CollectionInfo> {
        let doing = format!("reading collection {collection:?}");
        let path = ["collections", collection];
        self.read(Method::GET, &path, None, &doing).await?.kept(&doing).await
    }

    /// State of a collection, whatever its configuration.
    pub async fn state(&self, collection: &str) -> Result<CollectionState> {
        let doing = format!("reading collection {collection:?}");
        self.get(&["collections", collection], &doing).await
    }

    /// Number of points of a collection or a shard: exact, or, where the collection refuses that for good, as strict mode lets it, an estimate.
    pub async fn count(&self, of: impl Into<SnapshotOf<'_>>) -> Result<Count> {
        #[derive(Deserialize)]
        struct Found {
            count: u64,
        }
        let of = of.into();
        let doing = format!("counting the points of {of}");
        let path = of.count_path();
        let mut refusal = None;
        for is_exact in [true, false] {
            let body = json!({ "exact": is_exact });
            let answer = self.read(Method::POST, &segments(&path), Some(&body), &doing).await?;
            let status = answer.status;
            match answer.result::<Found>(&doing).await {
                Ok(Found { count: points }) => return Ok(Count { points, is_exact }),
                Err(error) if is_exact && status == 400 => refusal = Some(error),
                Err(error) => return Err(refusal.unwrap_or(error)),
            }
        }
        Err(refusal.unwrap_or_else(|| Error::new(Code::Internal, doing)))
    }

    /// Where the shards of a collection are, and the same as Qdrant wrote it.
    pub async fn shards(&self, collection: &str) -> Result<(ShardMap, Value)> {
        let doing = format!("reading the shards of collection {collection:?}");
        let path = ["collections", collection, "cluster"];
        let raw: Value = self.read(Method::GET, &path, None, &doing).await?.kept(&doing).await?;
        let map =
            serde_json::from_value(raw.clone()).map_err(|e| Error::new(Code::QdrantUnexpected, doing).because(e))?;
        Ok((map, raw))
    }

    /// All aliases that the key may see.
    pub async fn aliases(&self) -> Result<Vec<Alias>> {
        #[derive(Deserialize)]
        struct Aliases {
            aliases: Vec<Alias>,
        }
        let doing = format!("listing the aliases of {}", self.url());
        let list: Aliases = self.get(&["aliases"], &doing).await?;
        Ok(list.aliases)
    }

    /// The snapshots that are on the node, and the node's clock (to the second) if it told it.
    pub async fn snapshots(&self, of: impl Into<SnapshotOf<'_>>) -> Result<(Vec<Snapshot>, Option<OffsetDateTime>)> {
        let of = of.into();
        let doing = format!("listing the snapshots of {of}");
        let answer = self.read(Method::GET, &segments(&of.path(&[])), None, &doing).await?;
        let date = answer.date;
        let listed: Vec<Snapshot> = answer.result(&doing).await?;
        let named = listed.into_iter().map(|snapshot| snapshot.named_as_made(of.collection));
        Ok((named.collect(), date))
    }

    /// Makes a snapshot and waits for it, however long that takes within
    /// [`Options::create_timeout`], as long as Qdrant shows that it is alive. Never repeated by itself: a client that goes
    /// away does not stop Qdrant from making the snapshot.
    pub(crate) async fn create_snapshot(&self, of: impl Into<SnapshotOf<'_>>) -> Result<Snapshot> {
        let of = of.into();
        let doing = format!("creating a snapshot of {of}");
        let url = self.http.url(&segments(&of.path(&[])), &doing)?;
        let request = http::without_body(self.http.request(Method::POST, url));
        let answer = self.http.long(request, &doing).await?;
        let snapshot: Snapshot = answer.result(&doing).await?;
        snapshot.checked(&doing)
    }

    /// Begins to read a snapshot.
    pub async fn download(&self, of: impl Into<SnapshotOf<'_>>, snapshot: &Snapshot) -> Result<Download> {
        let of = of.into();
        let doing = format!("downloading snapshot {:?} of {of}", snapshot.name);
        let url = self.http.url(&segments(&of.path(&[&snapshot.name])), &doing)?;
        Download::open(self.http.clone(), url, snapshot.size, doing).await
    }

    /// Begins to read a shard as it is now, without a file on Qdrant's disk. Only one stream or snapshot of a shard at a time makes
    /// progress; and see [`ShardStream`] for what its end does not say.
    pub async fn stream_shard(&self, collection: &str, shard: u32) -> Result<ShardStream> {
        let doing = format!("streaming shard {shard} of collection {collection:?}");
        let path = ["collections", collection, "shards", &shard.to_string(), "snapshot"];
        ShardStream::open(self.http.clone(), self.http.url(&path, &doing)?, doing).await
    }

    /// Deletes a snapshot. `false`: it was not there.
    pub(crate) async fn delete_snapshot(&self, of: impl Into<SnapshotOf<'_>>, name: &str) -> Result<bool> {
        let of = of.into();
        let doing = format!("deleting snapshot {name:?} of {of}");
        let path = of.path(&[name]);
        let answer = self.read(Method::DELETE, &segments(&path), None, &doing).await?;
        if answer.status == 404 {
            return Ok(false);
        }
        answer.ok(&doing).map(|_| true)
    }

    /// The URL of a snapshot of a collection, for messages.
    pub(crate) fn snapshot_url(&self, collection: &str, name: &str) -> String {
        let path = SnapshotOf::from(collection).path(&[name]);
        let path: Vec<_> = path.iter().map(|segment| http::encoded(segment)).collect();
        format!("{}/{}", self.url().trim_end_matches('/'), path.join("/"))
    }

    async fn get<T: DeserializeOwned + Send + 'static>(&self, path: &[&str], doing: &str) -> Result<T> {
        self.read(Method::GET, path, None, doing).await?.result(doing).await
    }

    /// A call that may be repeated.
    async fn read(&self, method: Method, path: &[&str], body: Option<&Value>, doing: &str) -> Result<Answer> {
        let answer = self.http.call(method, path, body, doing).await?;
        // Of a path with a name in it a 404 means that name; what every Qdrant has is missing only where there is none.
        if answer.status == 404 && path.len() < 2 {
            return Err(Error::new(Code::QdrantUnexpected, format!("{doing}: not found (HTTP 404)")).remedy(REST_API));
        }
        match answer.status == 404 && answer.is_page() {
            true => Err(answer.refusal(doing)),
            false => Ok(answer),
        }
    }
}

fn segments(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

const REST_API: &str = "use the URL of Qdrant's REST API, usually port 6333";
