//! Collections of several shards: where their points are, their keys, their snapshots. What is asserted here is what a
//! Qdrant 1.18.3 server in cluster mode answered to the same requests.

use crate::support::{TestNode, dense_point};
use embedded_qdrant::{Cluster, Optimizations, Transfer, open_snapshot};
use futures_util::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};

const PEER: u64 = 77;

async fn cluster_node() -> (TestNode, Cluster) {
    let cluster = Cluster::new();
    let node = TestNode::start_with(|options| {
        options.peer_id = PEER;
        options.cluster = Some(cluster.clone());
    })
    .await;
    (node, cluster)
}

fn points(ids: std::ops::Range<u64>) -> Vec<Value> {
    ids.map(|n| dense_point(n, 0.0)).collect()
}

/// A collection with the keys `a` (shards 1 and 2) and 7 (shard 3); 100 and 20 points.
async fn custom(node: &TestNode, name: &str) {
    let config = json!({
        "vectors": {"size": 8, "distance": "Cosine"}, "sharding_method": "custom", "shard_number": 2,
    });
    node.put(&format!("/collections/{name}"), config).await;
    let shards = format!("/collections/{name}/shards");
    assert_eq!(node.put(&shards, json!({"shard_key": "a"})).await, true);
    assert_eq!(
        node.put(&shards, json!({"shard_key": 7, "shards_number": 1})).await,
        true
    );
    let upsert = format!("/collections/{name}/points?wait=true");
    node.put(&upsert, json!({"points": points(0..100), "shard_key": "a"}))
        .await;
    node.put(&upsert, json!({"points": points(0..20), "shard_key": 7}))
        .await;
}

async fn automatic(node: &TestNode, name: &str, shards: u32) {
    let config = json!({"vectors": {"size": 8, "distance": "Euclid"}, "shard_number": shards});
    node.put(&format!("/collections/{name}"), config).await;
    let upsert = format!("/collections/{name}/points");
    node.put(&upsert, json!({"points": points(0..200)})).await;
}

/// (shard, key, points, state) of the replicas on this node.
async fn local(node: &TestNode, name: &str) -> Vec<(u64, Value, u64, String)> {
    let shown = node.get(&format!("/collections/{name}/cluster")).await;
    let shards = shown["local_shards"].as_array().unwrap().iter();
    shards
        .map(|s| {
            let state = s["state"].as_str().unwrap().to_owned();
            let number = |field: &str| s[field].as_u64().unwrap();
            (
                number("shard_id"),
                s["shard_key"].clone(),
                number("points_count"),
                state,
            )
        })
        .collect()
}

async fn counts(node: &TestNode, name: &str) -> Vec<u64> {
    local(node, name)
        .await
        .into_iter()
        .map(|(_, _, points, _)| points)
        .collect()
}

async fn count(node: &TestNode, path: &str, body: Value) -> u64 {
    node.post(path, body).await["count"].as_u64().unwrap()
}

async fn shard_upload(node: &TestNode, path: &str, query: &str, bytes: &[u8]) -> (u16, Value) {
    let part = reqwest::multipart::Part::bytes(bytes.to_vec()).file_name("shard.snapshot");
    let form = reqwest::multipart::Form::new().part("snapshot", part);
    let path = format!("{path}/snapshots/upload{query}");
    let response = node.request(Method::POST, &path).multipart(form).send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

async fn stream(node: &TestNode, path: &str) -> Vec<u8> {
    let response = node
        .request(Method::GET, &format!("{path}/snapshot"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.content_length(), None);
    assert_eq!(response.headers()["transfer-encoding"], "chunked");
    let name = response.headers()["content-disposition"].to_str().unwrap();
    assert!(name.starts_with("attachment; filename=\""), "{name}");
    response.bytes().await.unwrap().to_vec()
}

fn names(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect()
}

/// Where the header of an entry begins.
fn start_of(tar: &[u8], name: &str) -> usize {
    let mut archive = tar::Archive::new(tar);
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    let entry = entries.find(|entry| entry.path().unwrap().ends_with(name)).unwrap();
    usize::try_from(entry.raw_header_position()).unwrap()
}

#[tokio::test]
async fn a_node_says_whether_it_is_in_cluster_mode() {
    let single = TestNode::start().await;
    assert_eq!(single.get("/cluster").await, json!({"status": "disabled"}));
    single.dense("c").await;
    let refused = single
        .refused(Method::PUT, "/collections/c/shards", json!({"shard_key": "a"}))
        .await;
    assert_eq!(refused, (400, "Bad request: Distributed mode disabled".to_owned()));

    let (node, cluster) = cluster_node().await;
    cluster.add_peer(78, "http://elsewhere:6335/");
    let shown = node.get("/cluster").await;
    assert_eq!((&shown["status"], &shown["peer_id"]), (&json!("enabled"), &json!(PEER)));
    assert_eq!(
        shown["peers"],
        json!({
            "77": {"uri": "http://qdrant-0.qdrant-headless:6335/"},
            "78": {"uri": "http://elsewhere:6335/"},
        })
    );
}

#[tokio::test]
async fn points_are_divided_among_shards_and_found_as_in_one() {
    let node = TestNode::start().await;
    automatic(&node, "one", 1).await;
    automatic(&node, "four", 4).await;
    let divided = counts(&node, "four").await;
    assert_eq!((divided.len(), divided.iter().sum::<u64>()), (4, 200));
    assert!(divided.iter().all(|points| *points > 20), "{divided:?}");
    for (path, body) in [
        ("scroll", json!({"limit": 30, "with_vector": true})),
        ("scroll", json!({"limit": 30, "offset": 190})),
        (
            "search",
            json!({"vector": [1, 2, 3, 4, 5, 6, 7, 9], "limit": 5, "offset": 2}),
        ),
        (
            "count",
            json!({"filter": {"must": [{"key": "city", "match": {"value": "Łódź"}}]}}),
        ),
    ] {
        let ask = |name: &str| format!("/collections/{name}/points/{path}");
        let one = node.post(&ask("one"), body.clone()).await;
        let mut four = node.post(&ask("four"), body.clone()).await;
        // Each shard numbers its operations for itself.
        for (hit, same) in four
            .as_array_mut()
            .into_iter()
            .flatten()
            .zip(one.as_array().into_iter().flatten())
        {
            hit["version"] = same["version"].clone();
        }
        assert_eq!(one, four, "{path}");
    }
    node.post("/collections/four/points/delete", json!({"points": [0, 1, 2, 3]}))
        .await;
    assert_eq!(node.count("four").await, 196);

    let expected = counts(&node, "four").await;
    let node = TestNode::start_in(node.stop().await, |_| ()).await;
    assert_eq!(counts(&node, "four").await, expected, "after a restart");
    node.put("/collections/four/points", json!({"points": points(4..200)}))
        .await;
    assert_eq!(
        counts(&node, "four").await,
        expected,
        "the same points went to the same shards"
    );
}

#[tokio::test]
async fn shards_with_keys_are_made_numbered_and_dropped() {
    let (node, _) = cluster_node().await;
    custom(&node, "c").await;
    let active = |id: u64, key: Value, points| (id, key, points, "Active".to_owned());
    let shown = local(&node, "c").await;
    assert_eq!(shown[0].2 + shown[1].2, 100);
    assert_eq!(shown[2], active(3, json!(7), 20));

    let path = "/collections/c/shards";
    node.put(
        path,
        json!({"shard_key": "p", "initial_state": "Partial", "shards_number": 1, "placement": [PEER]}),
    )
    .await;
    assert_eq!(local(&node, "c").await[3], (4, json!("p"), 0, "Partial".to_owned()));
    assert_eq!(
        node.get(path).await,
        json!({"shard_keys": [{"key": 7}, {"key": "a"}, {"key": "p"}]})
    );
    assert_eq!(
        node.post(&format!("{path}/delete"), json!({"shard_key": "p"})).await,
        true
    );
    node.put(
        path,
        json!({"shard_key": "q", "shards_number": 1, "replication_factor": 3}),
    )
    .await;
    assert_eq!(local(&node, "c").await[3], active(4, json!("q"), 0));

    automatic(&node, "auto", 2).await;
    assert_eq!(node.get("/collections/auto/shards").await, json!({}));
    for (method, path, body, status, text) in [
        (
            Method::PUT,
            path,
            json!({"shard_key": "a"}),
            400,
            "Bad request: Sharding key \"a\" already exists for collection c",
        ),
        (
            Method::PUT,
            path,
            json!({"shard_key": "b", "placement": [1]}),
            400,
            "Bad request: Peer 1 does not exist",
        ),
        (
            Method::PUT,
            path,
            json!({"shard_key": "y", "placement": []}),
            400,
            "Bad request: Sharding key \"y\" placement cannot be empty. If you want to use random placement, do not specify placement",
        ),
        (
            Method::PUT,
            "/collections/x/shards",
            json!({"shard_key": "b"}),
            404,
            "Not found: Collection `x` doesn't exist!",
        ),
        (
            Method::PUT,
            "/collections/auto/shards",
            json!({"shard_key": "b"}),
            400,
            "Bad request: Shard Key cannot be created with Auto sharding method",
        ),
        (
            Method::POST,
            "/collections/c/shards/delete",
            json!({"shard_key": "zz"}),
            400,
            "Bad request: Sharding key \"zz\" does not exist for collection c",
        ),
        (
            Method::PUT,
            "/collections/c/points",
            json!({"points": points(0..1)}),
            400,
            "Wrong input: Shard key not specified",
        ),
        (
            Method::PUT,
            "/collections/c/points",
            json!({"points": points(0..1), "shard_key": "no"}),
            400,
            "Wrong input: Shard key \"no\" not found",
        ),
        (
            Method::POST,
            "/collections/c/points/delete",
            json!({"points": [1]}),
            400,
            "Wrong input: Shard key not specified",
        ),
        (
            Method::POST,
            "/collections/auto/points/count",
            json!({"shard_key": "a"}),
            400,
            "Bad request: Shard key \"a\" not found",
        ),
        (
            Method::POST,
            "/collections/c/shards/99/points/count",
            json!({}),
            404,
            "Not found: shard 99 not found",
        ),
    ] {
        let refused = node.refused(method, path, body).await;
        assert_eq!(refused, (status, text.to_owned()), "{path}");
    }
    for body in [
        json!({"shard_key": 1.5}),
        json!({}),
        json!({"shard_key": "b", "shards_number": 0}),
    ] {
        assert_eq!(node.refused(Method::PUT, path, body).await.0, 400);
    }
}

#[tokio::test]
async fn points_are_written_read_and_counted_by_key() {
    let (node, _) = cluster_node().await;
    custom(&node, "c").await;
    let path = "/collections/c/points/count";
    assert_eq!(
        count(&node, path, json!({})).await,
        120,
        "a point that two keys have counts twice"
    );
    assert_eq!(count(&node, path, json!({"shard_key": "a"})).await, 100);
    assert_eq!(count(&node, path, json!({"shard_key": ["a", 7]})).await, 120);
    let mut shards = 0;
    for id in 1..=3 {
        shards += count(
            &node,
            &format!("/collections/c/shards/{id}/points/count"),
            json!({"exact": true}),
        )
        .await;
    }
    assert_eq!(shards, 120);
    let page = node
        .post("/collections/c/points/scroll", json!({"shard_key": 7, "limit": 2}))
        .await;
    assert_eq!(
        (&page["points"][0]["shard_key"], &page["next_page_offset"]),
        (&json!(7), &json!(2))
    );
    let page = node.post("/collections/c/points/scroll", json!({"limit": 1000})).await;
    assert_eq!(page["points"].as_array().unwrap().len(), 100, "a scroll tells it once");
    let search = json!({"vector": [1, 2, 3, 4, 5, 6, 7, 9], "limit": 3, "shard_key": 7});
    let found = node.post("/collections/c/points/search", search).await;
    assert_eq!(found[0]["shard_key"], 7);
    node.post(
        "/collections/c/points/delete",
        json!({"points": [1, 2], "shard_key": ["a", 7]}),
    )
    .await;
    assert_eq!(count(&node, path, json!({})).await, 116);
    let expected = local(&node, "c").await;
    let node = TestNode::start_in(node.stop().await, |options| {
        options.peer_id = PEER;
        options.cluster = Some(Cluster::new());
    })
    .await;
    assert_eq!(local(&node, "c").await, expected, "after a restart");
}

#[tokio::test]
async fn a_collection_snapshot_brings_shards_back_but_no_keys() {
    let (node, _) = cluster_node().await;
    automatic(&node, "auto", 3).await;
    custom(&node, "keys").await;
    let expected = counts(&node, "auto").await;
    let auto = node.snapshot("auto").await;
    let auto = node.download("auto", &auto).await;
    let (status, answer) = node.upload("fresh", "", auto.clone()).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(counts(&node, "fresh").await, expected);
    node.put("/collections/auto/points", json!({"points": points(500..600)}))
        .await;
    node.upload("auto", "?priority=snapshot", auto).await;
    assert_eq!(counts(&node, "auto").await, expected);

    // The fault of a Qdrant server: 200, and neither keys nor points.
    let keys = node.snapshot("keys").await;
    let keys = node.download("keys", &keys).await;
    let (status, answer) = node.upload("empty", "?priority=snapshot", keys.clone()).await;
    assert_eq!((status, &answer["result"]), (200, &json!(true)));
    assert_eq!(local(&node, "empty").await, []);
    assert_eq!(node.get("/collections/empty/shards").await, json!({"shard_keys": []}));
    assert_eq!(node.count("empty").await, 0);

    // With shards of these ids it restores by id, whatever their keys.
    let config = json!({
        "vectors": {"size": 8, "distance": "Cosine"}, "sharding_method": "custom", "shard_number": 2,
    });
    node.put("/collections/other", config.clone()).await;
    for key in ["x", "y", "z"] {
        node.put(
            "/collections/other/shards",
            json!({"shard_key": key, "shards_number": 1}),
        )
        .await;
    }
    assert_eq!(node.upload("other", "", keys.clone()).await.0, 200);
    assert_eq!(counts(&node, "other").await, counts(&node, "keys").await);
    assert_eq!(local(&node, "other").await[2].1, "z");
    node.put("/collections/other/shards", json!({"shard_key": "more"}))
        .await;
    let (status, answer) = node.upload("other", "", keys.clone()).await;
    assert!(
        status == 500
            && answer["status"]["error"]
                .as_str()
                .unwrap()
                .contains("No shard found: 4"),
        "{answer}"
    );
    node.put(
        "/collections/few",
        json!({"vectors": {"size": 8, "distance": "Cosine"}}),
    )
    .await;
    let (status, answer) = node.upload("few", "", keys.clone()).await;
    let text = "Wrong input: Snapshot is not compatible with existing collection: Collection shard number: 1 Snapshot shard number: 2";
    assert_eq!((status, answer["status"]["error"].as_str().unwrap()), (400, text));

    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), keys).unwrap();
    let opened = open_snapshot(&dir.path().join("file"), &dir.path().join("work")).unwrap();
    assert_eq!(opened.count().unwrap(), 120);
    let page = opened.scroll(json!({"limit": 200})).unwrap();
    assert_eq!(page["points"].as_array().unwrap().len(), 100);
}

#[tokio::test]
async fn a_collection_snapshot_has_its_shards_in_order_and_their_keys() {
    let (node, cluster) = cluster_node().await;
    custom(&node, "c").await;
    cluster.set_state("c", 2, 78, "Dead");
    let snapshot = node.snapshot("c").await;
    let tar = node.download("c", &snapshot).await;
    let all: Vec<String> = names(&tar)
        .into_iter()
        .filter(|name| !name.contains("/segments/"))
        .collect();
    let mut expected = Vec::new();
    for id in 1..=3 {
        for name in [
            "newest_clocks.json",
            "wal",
            "wal/closed",
            "replica_state.json",
            "shard_config.json",
        ] {
            expected.push(format!("{id}/{name}"));
        }
    }
    expected.extend(
        [
            "version.info",
            "config.json",
            "shard_key_mapping.json",
            "payload_index.json",
        ]
        .map(str::to_owned),
    );
    let all: Vec<_> = all.iter().map(|name| name.split("/closed-").next().unwrap()).collect();
    let expected: Vec<_> = expected.iter().map(|name| name.trim_end_matches("/closed")).collect();
    assert_eq!(all, expected);
    let read = |name: &str| {
        let mut archive = tar::Archive::new(&tar[..]);
        let mut entries = archive.entries().unwrap().map(Result::unwrap);
        let entry = entries
            .find(|entry| entry.path().unwrap().to_str() == Some(name))
            .unwrap();
        serde_json::from_reader::<_, Value>(entry).unwrap()
    };
    assert_eq!(
        read("shard_key_mapping.json"),
        json!([{"key": 7, "shard_ids": [3]}, {"key": "a", "shard_ids": [1, 2]}])
    );
    assert_eq!(
        read("2/replica_state.json"),
        json!({"is_local": true, "this_peer_id": PEER, "peers": {"77": "Active", "78": "Dead"}})
    );
}

#[tokio::test]
async fn a_shard_is_saved_and_restored_by_file_url_and_upload() {
    let (node, _) = cluster_node().await;
    custom(&node, "c").await;
    let path = "/collections/c/shards/1";
    let list = format!("{path}/snapshots");
    let before = counts(&node, "c").await;
    assert_eq!(node.get(&list).await, json!([]));
    let made = node.post(&list, json!({})).await;
    assert_eq!(node.get(&list).await, json!([made]));
    let name = made["name"].as_str().unwrap();
    assert!(name.starts_with("c-shard-1-2"), "{name}");
    assert_eq!(
        node.get("/collections/c/snapshots").await,
        json!([]),
        "it is none of the collection's"
    );
    let file = format!("{list}/{name}");
    let stored = node
        .request(Method::GET, &file)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert_eq!(made["size"], stored.len());
    assert_eq!(made["checksum"], crate::support::sha256(&stored));
    let all = names(&stored);
    let (segments, rest) = all.split_at(all.len() - 5);
    assert!(
        segments
            .iter()
            .all(|name| name.starts_with("segments/") && name.ends_with(".tar")),
        "{segments:?}"
    );
    assert_eq!(rest[..2], ["newest_clocks.json", "wal"]);
    assert_eq!(rest[3..], ["replica_state.json", "shard_config.json"]);

    let empty = |id: u32| {
        let path = format!("/collections/c/shards/{id}/points/count");
        let node = &node;
        async move { count(node, &path, json!({})).await }
    };
    node.put("/collections/c/shards", json!({"shard_key": "new", "shards_number": 3}))
        .await;
    let checksum = made["checksum"].as_str().unwrap();
    let (status, answer) = shard_upload(
        &node,
        "/collections/c/shards/4",
        &format!("?checksum={checksum}"),
        &stored,
    )
    .await;
    assert_eq!((status, &answer["result"]), (200, &Value::Null), "{answer}");
    assert_eq!(empty(4).await, before[0]);
    let recover = "/collections/c/shards/5/snapshots/recover";
    let body = json!({"location": node.url(&file), "priority": "no_sync", "checksum": checksum});
    assert_eq!(node.put(recover, body).await, true);
    assert_eq!(empty(5).await, before[0]);
    let ids: Vec<u64> = (0..100).collect();
    node.post("/collections/c/points/delete", json!({"points": ids, "shard_key": "a"}))
        .await;
    assert_eq!(empty(1).await, 0);
    node.put(&format!("{list}/recover"), json!({"location": name})).await;
    assert_eq!(empty(1).await, before[0]);
    // A shard without other replicas is restored whatever the priority, and takes writes.
    let (status, _) = shard_upload(&node, "/collections/c/shards/6", "?priority=replica", &stored).await;
    assert_eq!((status, empty(6).await), (200, before[0]));
    node.post("/collections/c/points/delete", json!({"points": ids, "shard_key": "a"}))
        .await;
    assert_eq!(empty(1).await, 0);

    let wrong = "0".repeat(64);
    for (method, path, body, status) in [
        (
            Method::GET,
            "/collections/c/shards/99/snapshots".to_owned(),
            json!({}),
            404,
        ),
        (
            Method::POST,
            "/collections/c/shards/99/snapshots".to_owned(),
            json!({}),
            404,
        ),
        (
            Method::POST,
            "/collections/x/shards/1/snapshots".to_owned(),
            json!({}),
            404,
        ),
        (
            Method::POST,
            "/collections/c/shards/x/snapshots".to_owned(),
            json!({}),
            400,
        ),
        (Method::DELETE, format!("{list}/none.snapshot"), json!({}), 404),
        (
            Method::PUT,
            "/collections/c/shards/99/snapshots/recover".to_owned(),
            json!({"location": name}),
            404,
        ),
        (Method::PUT, format!("{list}/recover"), json!({"location": "none"}), 404),
        (
            Method::PUT,
            format!("{list}/recover"),
            json!({"location": "gs://b/o"}),
            400,
        ),
        (
            Method::PUT,
            format!("{list}/recover"),
            json!({"location": node.url(&file), "checksum": wrong}),
            400,
        ),
    ] {
        assert_eq!(node.refused(method, &path, body).await.0, status, "{path}");
    }
    assert_eq!(
        shard_upload(&node, path, &format!("?checksum={wrong}"), &stored)
            .await
            .0,
        400
    );
    assert_eq!(node.ok(Method::DELETE, &file, json!({})).await, true);
    assert_eq!(node.get(&list).await, json!([]));
    assert_eq!(node.request(Method::GET, &file).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn a_stream_is_a_plain_tar_that_other_snapshots_of_the_shard_wait_for() {
    let (node, _) = cluster_node().await;
    custom(&node, "c").await;
    let path = "/collections/c/shards/1";
    let tar = stream(&node, path).await;
    assert_eq!(tar[tar.len() - 1024..], [0; 1024]);
    let all = names(&tar);
    let (segments, rest) = all.split_at(all.len() - 5);
    let uuid = segments[0].split('/').nth(1).unwrap();
    assert!(
        segments
            .iter()
            .all(|name| name.starts_with(&format!("segments/{uuid}/files/"))),
        "{segments:?}"
    );
    let last: Vec<_> = segments[segments.len() - 2..]
        .iter()
        .map(|name| name.rsplit('/').next().unwrap())
        .collect();
    assert_eq!(last, ["segment.json", "version.info"]);
    assert_eq!(rest[..2], ["newest_clocks.json", "wal"]);
    assert!(rest[2].starts_with("wal/closed-"), "{rest:?}");
    assert_eq!(rest[3..], ["replica_state.json", "shard_config.json"]);
    for missing in ["/collections/c/shards/99", "/collections/x/shards/1"] {
        let answer = node
            .request(Method::GET, &format!("{missing}/snapshot"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 404);
        assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    }
}

#[tokio::test]
async fn snapshots_of_a_shard_wait_for_a_stream_of_it_and_writes_do_not() {
    let (node, _) = cluster_node().await;
    custom(&node, "c").await;
    let path = "/collections/c/shards/3";
    // More than the buffers between a server and a client who does not read.
    for n in 0..3 {
        let noise: String = (n * 1_000_000..).map(noise).take(8 << 20).collect();
        let mut point = dense_point(1000 + n, 0.0);
        point["payload"] = json!({ "noise": noise });
        node.put("/collections/c/points", json!({"points": [point], "shard_key": 7}))
            .await;
    }
    let get = || node.request(Method::GET, &format!("{path}/snapshot")).send();
    let first = get().await.unwrap();
    let second = get().await.unwrap();
    assert_eq!(second.status(), 200);
    let mut second = second.bytes_stream();
    let list = format!("{path}/snapshots");
    let mut made = Box::pin(node.post(&list, json!({})));
    let others = async {
        node.put("/collections/c/points", json!({"points": points(0..5), "shard_key": 7}))
            .await;
        stream(&node, "/collections/c/shards/1").await
    };
    tokio::select! {
        biased;
        chunk = second.next() => panic!("a second stream has bytes: {:?}", chunk.map(|c| c.map(|c| c.len()))),
        made = &mut made => panic!("a snapshot is made beside a stream: {made}"),
        tar = others => assert!(tar.len() > 1024),
    }
    let length = first.bytes().await.unwrap().len();
    let mut same = 0;
    while let Some(chunk) = second.next().await {
        same += chunk.unwrap().len();
    }
    assert_eq!(same, length);
    assert!(made.await["size"].as_u64().unwrap() > 8 << 20);
}

/// A letter without a pattern that could be compressed.
fn noise(n: u64) -> char {
    let mixed = (n + 1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(29)
        .wrapping_mul(0xbf58_476d_1ce4_e5b9);
    char::from(b'#' + (mixed >> 58) as u8)
}

#[tokio::test]
async fn a_cut_shard_is_refused_or_taken_for_an_empty_one_as_a_server_does() {
    let (node, _) = cluster_node().await;
    custom(&node, "c").await;
    let path = "/collections/c/shards/3";
    let tar = stream(&node, path).await;
    let cut = |name: &str| &tar[..start_of(&tar, name)];
    let uuid = names(&tar)[0].split('/').nth(1).unwrap().to_owned();
    let middle = start_of(&tar, &format!("{uuid}/files/segment.json"));
    for (what, bytes, status, points) in [
        ("without its end marker", &tar[..tar.len() - 1024], 200, 20),
        ("before shard_config.json", cut("shard_config.json"), 200, 20),
        ("before replica_state.json", cut("replica_state.json"), 200, 0),
        ("before the log", cut("wal"), 400, 20),
        ("before the clocks", cut("newest_clocks.json"), 400, 20),
        ("in a segment", &tar[..middle], 400, 20),
        ("in a header", &tar[..middle + 100], 500, 20),
        ("in a file", &tar[..middle + 512 + 10], 500, 20),
        ("nothing", &[][..], 400, 20),
        ("no tar", &[b'x'; 2000][..], 500, 20),
        ("all of it", &tar[..], 200, 20),
    ] {
        assert_eq!(shard_upload(&node, path, "?priority=no_sync", &tar).await.0, 200);
        let (got, answer) = shard_upload(&node, path, "?priority=no_sync", bytes).await;
        assert_eq!(got, status, "{what}: {answer}");
        let after = &local(&node, "c").await[2];
        assert_eq!((after.2, after.3.as_str()), (points, "Active"), "{what}");
    }
    let leftovers = std::fs::read_dir(node.dir.path().join("tmp")).unwrap().count();
    assert_eq!(leftovers, 0, "temporary files are left");
}

#[tokio::test]
async fn a_shard_of_another_schema_is_restored() {
    let (node, _) = cluster_node().await;
    custom(&node, "c").await;
    node.put("/collections/two", json!({"vectors": {"size": 2, "distance": "Dot"}}))
        .await;
    let tar = stream(&node, "/collections/c/shards/3").await;
    let (status, answer) = shard_upload(&node, "/collections/two/shards/0", "", &tar).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(node.count("two").await, 20);
    let node = TestNode::start_in(node.stop().await, |_| ()).await;
    assert_eq!(node.count("two").await, 20, "after a restart");
}

#[tokio::test]
async fn states_transfers_and_optimizations_are_what_a_test_says() {
    let (node, cluster) = cluster_node().await;
    custom(&node, "c").await;
    cluster.set_state("c", 1, PEER, "Dead");
    cluster.set_state("c", 2, 78, "SomethingNew");
    let transfer = Transfer {
        shard_id: 2,
        from: PEER,
        to: 78,
        sync: true,
        method: "snapshot".to_owned(),
    };
    cluster.set_transfers("c", vec![transfer]);
    cluster.set_resharding("c", Some(json!([{"direction": "up"}])));
    let shown = node.get("/collections/c/cluster").await;
    assert_eq!(shown["shard_count"], 3);
    assert_eq!(shown["local_shards"][0]["state"], "Dead");
    assert_eq!(
        shown["remote_shards"],
        json!([{"shard_id": 2, "shard_key": "a", "peer_id": 78, "state": "SomethingNew"}])
    );
    assert_eq!(
        shown["shard_transfers"],
        json!([{"shard_id": 2, "from": PEER, "to": 78, "sync": true, "method": "snapshot"}])
    );
    assert_eq!(shown["resharding_operations"], json!([{"direction": "up"}]));
    assert_eq!(
        node.refused(Method::POST, "/collections/c/points/count", json!({}))
            .await
            .0,
        500
    );

    let path = "/collections/c/optimizations";
    let shown = node.get(path).await;
    let summary = json!({"queued_optimizations": 0, "queued_segments": 0, "queued_points": 0, "idle_segments": 3});
    assert_eq!(shown, json!({"summary": summary, "running": []}));
    node.node.script_optimizations(
        "c",
        [(1, 0), (0, 1)].map(|(running, completed)| Optimizations { running, completed }),
    );
    let path = "/collections/c/optimizations?with=completed";
    let (first, second, third) = (node.get(path).await, node.get(path).await, node.get(path).await);
    assert_eq!(
        (&first["running"][0]["status"], &first["completed"]),
        (&json!("optimizing"), &json!([]))
    );
    assert_eq!(
        (&second["running"], &second["completed"][0]["status"]),
        (&json!([]), &json!("done"))
    );
    assert_eq!(first["running"][0]["uuid"], second["completed"][0]["uuid"]);
    assert_eq!(second, third);
    let refused = node
        .refused(Method::GET, "/collections/c/optimizations?with=x", json!({}))
        .await;
    assert_eq!(
        refused,
        (400, "Wrong input: Unknown field in 'with' parameter: x".to_owned())
    );
}
