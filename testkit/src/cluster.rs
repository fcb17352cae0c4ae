//! Embedded nodes of one cluster, with collections in it.

mod place;

pub use place::ClusterPlace;

use crate::bench::{Bench, options};
use crate::sample::Client;
use embedded_qdrant::{Cluster, Node, NodeOptions};
use qdrant_backup::base::error::Result;
use qdrant_backup::ops::context::Context;
use qdrant_backup::ops::progress::Progress;
use qdrant_backup::ops::restore::{self, RestoreReport, RestoreRequest};
use qdrant_backup::wire::qdrant::{NodeAddresses, Options, Qdrant};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// The nodes of a cluster, by their peer ids 1, 2, …
pub struct Nodes {
    pub cluster: Cluster,
    pub nodes: Vec<(Node, TempDir)>,
}

impl Nodes {
    pub async fn start(count: u64) -> Self {
        Self::of_releases(&vec!["1.18.3"; usize::try_from(count).unwrap()]).await
    }

    /// A node of each of these releases, by what it says.
    pub async fn of_releases(releases: &[&str]) -> Self {
        let cluster = Cluster::new();
        let mut nodes = Vec::new();
        for (peer_id, release) in (1..).zip(releases) {
            nodes.push(node_of(peer_id, Some(cluster.clone()), release).await);
        }
        Self { cluster, nodes }
    }

    /// Ends a node, which stays a peer, and gives its address that nobody listens at any more.
    pub async fn end(&mut self, peer: usize) -> String {
        let (node, _data) = self.nodes.remove(peer - 1);
        let url = node.url();
        node.stop().await;
        url
    }

    pub fn url(&self, peer: usize) -> String {
        self.nodes[peer - 1].0.url()
    }

    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|(node, _)| node.url()).collect()
    }

    pub fn client(&self) -> Client {
        Client::new(self.url(1), None)
    }

    /// A backup of it, in a directory.
    pub async fn bench(&self) -> Bench {
        let mut bench = Bench::new(&self.url(1)).await;
        bench.ctx.qdrant = qdrant(&self.urls());
        bench
    }

    /// Names of all snapshots of shards and collections on each node.
    pub async fn left(&self, collection: &str) -> Vec<String> {
        left(&self.urls(), collection).await
    }
}

/// Names of all snapshots of the shards of a collection, and of all of it, on each of these nodes.
pub async fn left(urls: &[String], collection: &str) -> Vec<String> {
    let mut left = Vec::new();
    for url in urls {
        let client = Client::new(url, None);
        let path = format!("/collections/{collection}");
        let map = client.call("GET", &format!("{path}/cluster"), None).await.unwrap();
        let of_shards = map["local_shards"].as_array().unwrap().iter();
        let mut paths: Vec<_> = of_shards
            .map(|shard| format!("{path}/shards/{}/snapshots", shard["shard_id"]))
            .collect();
        paths.push(format!("{path}/snapshots"));
        for path in paths {
            let list = client.call("GET", &path, None).await.unwrap();
            let names = list.as_array().unwrap().iter();
            left.extend(names.map(|snapshot| snapshot["name"].as_str().unwrap().to_owned()));
        }
    }
    left
}

/// A node with a data directory of its own.
pub async fn node(peer_id: u64, cluster: Option<Cluster>) -> (Node, TempDir) {
    node_of(peer_id, cluster, "1.18.3").await
}

async fn node_of(peer_id: u64, cluster: Option<Cluster>, release: &str) -> (Node, TempDir) {
    let data = tempfile::tempdir().unwrap();
    let options = NodeOptions {
        peer_id,
        cluster,
        version: release.to_owned(),
        ..NodeOptions::new(data.path())
    };
    (Node::start(options).await.unwrap(), data)
}

/// A client for these nodes.
pub fn qdrant(urls: &[String]) -> Qdrant {
    qdrant_with(urls, |_| {})
}

/// A client for these nodes with other options.
pub fn qdrant_with(urls: &[String], change: impl FnOnce(&mut Options)) -> Qdrant {
    let parsed = urls.iter().map(|url| url.parse().unwrap()).collect();
    let mut options = Options {
        nodes: match urls.len() {
            1 => NodeAddresses::One,
            _ => NodeAddresses::Urls(parsed),
        },
        ..options(&urls[0])
    };
    change(&mut options);
    Qdrant::new(options).unwrap()
}

/// `count` points from `first` on, in the shards of a key or wherever they belong.
pub async fn upsert(client: &Client, collection: &str, key: Option<&Value>, first: u64, count: u64) {
    let points: Vec<_> = (first..first + count)
        .map(|id| json!({"id": id, "vector": [id % 7, id, 1, 2], "payload": {"n": id, "key": key}}))
        .collect();
    let mut body = json!({ "points": points });
    if let Some(key) = key {
        body["shard_key"] = key.clone();
    }
    let path = format!("/collections/{collection}/points?wait=true");
    client.call("PUT", &path, Some(body)).await.unwrap();
}

/// A collection of so many points and shards, with a payload index.
pub async fn automatic(client: &Client, name: &str, shards: u32, replicas: u32, points: u64) {
    let body = json!({
        "vectors": {"size": 4, "distance": "Dot"}, "shard_number": shards, "replication_factor": replicas,
    });
    create(client, name, body).await;
    upsert(client, name, None, 0, points).await;
}

/// A collection with these shard keys, each of two shards with 30 points; another key behind the first one was deleted.
pub async fn keyed(client: &Client, name: &str, replicas: u32, keys: &[Value]) {
    let body = json!({
        "vectors": {"size": 4, "distance": "Dot"}, "sharding_method": "custom", "replication_factor": replicas,
    });
    create(client, name, body).await;
    let (path, gone) = (format!("/collections/{name}/shards"), json!("gone"));
    for (i, key) in keys.iter().enumerate() {
        if i == 1 {
            let body = json!({"shard_key": gone, "shards_number": 3});
            client.call("PUT", &path, Some(body)).await.unwrap();
        }
        let body = json!({"shard_key": key, "shards_number": 2});
        client.call("PUT", &path, Some(body)).await.unwrap();
        upsert(client, name, Some(key), 1000 * i as u64, 30).await;
    }
    if keys.len() > 1 {
        let body = json!({ "shard_key": gone });
        let path = format!("{path}/delete");
        client.call("POST", &path, Some(body)).await.unwrap();
    }
}

async fn create(client: &Client, name: &str, body: Value) {
    let path = format!("/collections/{name}");
    client.call("PUT", &path, Some(body)).await.unwrap();
    let index = json!({"field_name": "n", "field_schema": "integer"});
    client
        .call("PUT", &format!("{path}/index?wait=true"), Some(index))
        .await
        .unwrap();
}

/// Everything of a collection that must come back: its shards with their keys and all of their points, as the node at `url` tells.
pub async fn content(url: &str, collection: &str) -> (BTreeMap<String, Value>, Vec<Value>) {
    let client = Client::new(url, None);
    let path = format!("/collections/{collection}");
    let map = client.call("GET", &format!("{path}/cluster"), None).await.unwrap();
    let mut shards = BTreeMap::new();
    for list in ["local_shards", "remote_shards"] {
        for shard in map[list].as_array().unwrap() {
            shards.insert(shard["shard_id"].to_string(), shard["shard_key"].clone());
        }
    }
    let body = json!({"limit": 10_000, "with_payload": true, "with_vector": true});
    let scrolled = client
        .call("POST", &format!("{path}/points/scroll"), Some(body))
        .await
        .unwrap();
    let mut points: Vec<Value> = scrolled["points"].as_array().unwrap().clone();
    points
        .iter_mut()
        .for_each(|point| drop(point.as_object_mut().unwrap().remove("shard_key")));
    points.sort_by_key(|point| point["id"].as_u64());
    (shards, points)
}

/// Restores what the bench has into another Qdrant.
pub async fn restore_into(bench: &Bench, qdrant: Qdrant, request: RestoreRequest) -> Result<RestoreReport> {
    let ctx = Context {
        qdrant,
        ..bench.ctx.clone()
    };
    let progress = Progress::new(ctx.clock.now());
    restore::run(&ctx, &request, &progress, &CancellationToken::new()).await
}
