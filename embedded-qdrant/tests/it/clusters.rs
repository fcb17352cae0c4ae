//! Several nodes that form one cluster: what each sees and has, and how replicas become equal.

use crate::support::{TestNode, dense_point};
use embedded_qdrant::Cluster;
use reqwest::Method;
use serde_json::{Value, json};

const PEERS: [u64; 3] = [11, 12, 13];

struct Nodes {
    cluster: Cluster,
    nodes: Vec<TestNode>,
}

impl Nodes {
    async fn start() -> Self {
        let cluster = Cluster::new();
        let mut nodes = Vec::new();
        for peer_id in PEERS {
            nodes.push(node(&cluster, peer_id, tempfile::tempdir().unwrap()).await);
        }
        Self { cluster, nodes }
    }

    /// 6 shards, each on two nodes, with 300 points that were written through all of them.
    async fn filled() -> Self {
        let nodes = Self::start().await;
        nodes.nodes[1].put("/collections/c", config(6)).await;
        for (turn, node) in nodes.nodes.iter().enumerate() {
            let first = turn as u64 * 100;
            let points: Vec<Value> = (first..first + 100).map(|n| dense_point(n, 0.0)).collect();
            node.put("/collections/c/points?wait=true", json!({"points": points}))
                .await;
        }
        nodes
    }

    /// Exact count and state of the replicas of a shard, by peer.
    async fn replicas(&self, collection: &str, shard: u32) -> Vec<(u64, u64, String)> {
        let mut replicas = Vec::new();
        for node in &self.nodes {
            let shown = node.get(&format!("/collections/{collection}/cluster")).await;
            let mut local = shown["local_shards"].as_array().unwrap().iter();
            if let Some(found) = local.find(|s| s["shard_id"] == shard) {
                let path = format!("/collections/{collection}/shards/{shard}/points/count");
                let count = node.post(&path, json!({"exact": true})).await["count"]
                    .as_u64()
                    .unwrap();
                assert_eq!(found["points_count"], count);
                let state = found["state"].as_str().unwrap().to_owned();
                replicas.push((shown["peer_id"].as_u64().unwrap(), count, state));
            }
        }
        replicas
    }
}

fn config(shards: u32) -> Value {
    json!({"vectors": {"size": 8, "distance": "Cosine"}, "shard_number": shards, "replication_factor": 2})
}

async fn node(cluster: &Cluster, peer_id: u64, dir: tempfile::TempDir) -> TestNode {
    TestNode::start_in(dir, |options| {
        options.peer_id = peer_id;
        options.cluster = Some(cluster.clone());
    })
    .await
}

async fn stream(node: &TestNode, shard: u32) -> Vec<u8> {
    let path = format!("/collections/c/shards/{shard}/snapshot");
    let response = node.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.bytes().await.unwrap().to_vec()
}

async fn upload(node: &TestNode, collection: &str, shard: u32, priority: &str, tar: &[u8]) {
    let part = reqwest::multipart::Part::bytes(tar.to_vec()).file_name("shard.snapshot");
    let form = reqwest::multipart::Form::new().part("snapshot", part);
    let path = format!("/collections/{collection}/shards/{shard}/snapshots/upload?priority={priority}");
    let response = node.request(Method::POST, &path).multipart(form).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

fn equal(replicas: &[(u64, u64, String)]) -> bool {
    replicas
        .iter()
        .all(|(_, count, state)| *count == replicas[0].1 && state == "Active")
}

#[tokio::test]
async fn each_node_has_its_share_and_tells_of_the_others() {
    let all = Nodes::filled().await;
    for node in &all.nodes {
        let peers = node.get("/cluster").await["peers"].take();
        assert_eq!(
            peers.as_object().unwrap().keys().collect::<Vec<_>>(),
            ["11", "12", "13"]
        );
        let shown = node.get("/collections/c/cluster").await;
        assert_eq!(shown["shard_count"], 6);
        assert_eq!(shown["local_shards"].as_array().unwrap().len(), 4);
        assert_eq!(shown["remote_shards"].as_array().unwrap().len(), 8);
        assert_eq!(node.count("c").await, 300);
        assert_eq!(node.get("/collections/c").await["points_count"], 300);
    }
    let pages = [0, 1, 2].map(|n| all.nodes[n].post("/collections/c/points/scroll", json!({"limit": 300})));
    let [one, two, three] = pages;
    let (one, two, three) = tokio::join!(one, two, three);
    assert!(one == two && two == three);
    for shard in 0..6 {
        let replicas = all.replicas("c", shard).await;
        assert!(replicas.len() == 2 && equal(&replicas), "{replicas:?}");
    }
    let elsewhere = all.nodes[0].get("/collections/c/cluster").await["remote_shards"][0]["shard_id"].clone();
    let here = all.nodes[0].get("/collections/c/cluster").await["local_shards"].take();
    let here: Vec<&Value> = here.as_array().unwrap().iter().map(|s| &s["shard_id"]).collect();
    let foreign = (0..6).find(|id| !here.contains(&&json!(id))).unwrap();
    let path = format!("/collections/c/shards/{foreign}/snapshots");
    let (status, text) = all.nodes[0].refused(Method::POST, &path, json!({})).await;
    assert_eq!(
        (status, text),
        (
            400,
            format!("Wrong input: Shard {foreign} is not a local or queue proxy shard")
        )
    );
    assert!(elsewhere.is_number());

    let alias = json!({"create_alias": {"collection_name": "c", "alias_name": "al"}});
    all.nodes[2]
        .post("/collections/aliases", json!({"actions": [alias]}))
        .await;
    all.nodes[2]
        .put(
            "/collections/c/index",
            json!({"field_name": "n", "field_schema": "integer"}),
        )
        .await;
    assert_eq!(all.nodes[0].count("al").await, 300);
    assert_eq!(
        all.nodes[0].get("/collections/c").await["payload_schema"]["n"]["points"],
        300
    );
    all.nodes[0].ok(Method::DELETE, "/collections/c", json!({})).await;
    for node in &all.nodes {
        assert_eq!(node.get("/collections").await, json!({"collections": []}));
    }
}

#[tokio::test]
async fn a_node_that_was_down_gets_what_it_missed() {
    let mut all = Nodes::filled().await;
    let dir = all.nodes.remove(2).stop().await;
    let node0 = &all.nodes[0];
    assert_eq!(node0.count("c").await, 300, "the other replicas answer");
    let points: Vec<Value> = (300..400).map(|n| dense_point(n, 0.0)).collect();
    node0.put("/collections/c/points", json!({"points": points})).await;
    let shown = node0.get("/collections/c/cluster").await;
    let dead = |shown: &Value| {
        let remote = shown["remote_shards"].as_array().unwrap();
        remote
            .iter()
            .filter(|s| s["state"] == "Dead")
            .map(|s| s["peer_id"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(dead(&shown), [13; 4]);
    assert!(
        node0.get("/cluster").await["peers"]["13"].is_object(),
        "it is a peer all the same"
    );

    all.cluster.hold_transfers(true);
    all.nodes.push(node(&all.cluster, 13, dir).await);
    assert_eq!(dead(&all.nodes[0].get("/collections/c/cluster").await), [13; 4]);
    assert_eq!(all.nodes[2].count("c").await, 400, "it asks the others");
    all.cluster.finish_transfers().await.unwrap();
    for shard in 0..6 {
        let replicas = all.replicas("c", shard).await;
        assert!(replicas.len() == 2 && equal(&replicas), "{replicas:?}");
    }
}

#[tokio::test]
async fn priorities_say_which_replica_wins() {
    let all = Nodes::filled().await;
    let shard = 0;
    let have = all.replicas("c", shard).await;
    let place = |peer: u64| &all.nodes[PEERS.iter().position(|id| *id == peer).unwrap()];
    let (one, two, points) = (have[0].0, have[1].0, have[0].1);
    assert!(points > 10);
    let tar = stream(place(one), shard).await;
    all.nodes[0].put("/collections/fresh", config(6)).await;
    let state = |peer, count, state: &str| (peer, count, state.to_owned());

    // The other replica wins: what was uploaded is gone.
    upload(place(one), "fresh", shard, "replica", &tar).await;
    assert_eq!(
        all.replicas("fresh", shard).await,
        [state(one, 0, "Active"), state(two, 0, "Active")]
    );
    // Each keeps what it has.
    upload(place(one), "fresh", shard, "no_sync", &tar).await;
    assert_eq!(
        all.replicas("fresh", shard).await,
        [state(one, points, "Active"), state(two, 0, "Active")]
    );
    upload(place(two), "fresh", shard, "no_sync", &tar).await;
    assert!(equal(&all.replicas("fresh", shard).await));
    // The others get it, in time.
    all.nodes[0].put("/collections/later", config(6)).await;
    all.cluster.hold_transfers(true);
    upload(place(two), "later", shard, "snapshot", &tar).await;
    assert_eq!(
        all.replicas("later", shard).await,
        [state(one, 0, "Dead"), state(two, points, "Active")]
    );
    all.cluster.finish_transfers().await.unwrap();
    assert_eq!(
        all.replicas("later", shard).await,
        [state(one, points, "Active"), state(two, points, "Active")]
    );
}

#[tokio::test]
async fn a_collection_snapshot_has_the_points_of_its_node_only() {
    let all = Nodes::filled().await;
    let node = &all.nodes[0];
    let snapshot = node.snapshot("c").await;
    assert!(snapshot["name"].as_str().unwrap().starts_with("c-11-"), "{snapshot}");
    let tar = node.download("c", &snapshot).await;
    let mut archive = tar::Archive::new(&tar[..]);
    let names: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().into_owned())
        .collect();
    for shard in 0..6 {
        assert!(
            names.contains(&format!("{shard}/replica_state.json").into()),
            "{names:?}"
        );
        let local = names.contains(&format!("{shard}/wal").into());
        let here = all.cluster.state("c", shard, 11).is_some();
        assert_eq!(local, here, "shard {shard}");
    }
    // Restored into nothing it brings back what it has, to all replicas.
    let (status, answer) = node.upload("copy", "?priority=snapshot", tar).await;
    assert_eq!(status, 200, "{answer}");
    let mut whole = 0;
    for shard in 0..6 {
        let replicas = all.replicas("copy", shard).await;
        assert!(equal(&replicas), "{replicas:?}");
        whole += usize::from(replicas[0].1 > 0);
    }
    assert_eq!(whole, 4);
}

#[tokio::test]
async fn keys_have_shards_on_the_nodes_that_are_named() {
    let all = Nodes::start().await;
    let mut custom = config(1);
    custom["sharding_method"] = json!("custom");
    all.nodes[0].put("/collections/k", custom).await;
    let path = "/collections/k/shards";
    all.nodes[1]
        .put(
            path,
            json!({"shard_key": "x", "placement": [12, 13], "shards_number": 2}),
        )
        .await;
    all.nodes[2]
        .put(path, json!({"shard_key": 1, "replication_factor": 3}))
        .await;
    let points: Vec<Value> = (0..40).map(|n| dense_point(n, 0.0)).collect();
    all.nodes[0]
        .put("/collections/k/points", json!({"points": points, "shard_key": "x"}))
        .await;
    let on = |replicas: Vec<(u64, u64, String)>| replicas.iter().map(|(peer, _, _)| *peer).collect::<Vec<_>>();
    assert_eq!(on(all.replicas("k", 1).await), [12, 13]);
    assert_eq!(on(all.replicas("k", 3).await), [11, 12, 13]);
    for node in &all.nodes {
        assert_eq!(node.count("k").await, 40);
        assert_eq!(node.get(path).await, json!({"shard_keys": [{"key": 1}, {"key": "x"}]}));
    }
    all.nodes[0]
        .post(&format!("{path}/delete"), json!({"shard_key": "x"}))
        .await;
    assert_eq!(all.nodes[2].count("k").await, 0);
    let refused = all.nodes[0]
        .refused(Method::PUT, path, json!({"shard_key": "y", "placement": [14]}))
        .await;
    assert_eq!(refused, (400, "Bad request: Peer 14 does not exist".to_owned()));
}

#[tokio::test]
async fn nodes_of_one_cluster_may_be_of_different_releases() {
    let cluster = Cluster::new();
    let old = node(&cluster, 1, tempfile::tempdir().unwrap()).await;
    let new = TestNode::start_with(|options| {
        options.peer_id = 2;
        options.cluster = Some(cluster.clone());
        options.version = "1.19.0".to_owned();
    })
    .await;
    for (node, version) in [(&old, "1.18.3"), (&new, "1.19.0")] {
        let root = node.request(Method::GET, "/").send().await.unwrap();
        assert_eq!(root.json::<Value>().await.unwrap()["version"], version);
        assert_eq!(node.get("/cluster").await["peers"].as_object().unwrap().len(), 2);
    }
}
