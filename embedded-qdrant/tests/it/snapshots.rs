//! Snapshots made, listed, downloaded and deleted.

use std::sync::Arc;

use crate::support::{TestNode, encoded, entries};
use reqwest::header::{CONTENT_RANGE, ETAG, IF_MATCH, IF_RANGE, RANGE};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use time::macros::datetime;

#[tokio::test]
async fn a_snapshot_has_the_layout_that_a_qdrant_server_restores() {
    let node = TestNode::start_with(|options| options.peer_id = 77).await;
    node.dense("d").await;
    let snapshot = node.snapshot("d").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("d.snapshot");
    std::fs::write(&file, node.download("d", &snapshot).await).unwrap();

    let names = entries(&file);
    let (segments, rest) = names.split_at(names.len() - 9);
    assert_eq!(
        rest,
        [
            "0/newest_clocks.json",
            "0/wal",
            "0/wal/closed-1",
            "0/replica_state.json",
            "0/shard_config.json",
            "version.info",
            "config.json",
            "shard_key_mapping.json",
            "payload_index.json",
        ]
    );
    assert!(!segments.is_empty());
    for segment in segments {
        let id = segment
            .strip_prefix("0/segments/")
            .unwrap()
            .strip_suffix(".tar")
            .unwrap();
        assert_eq!(id.len(), 36, "{segment}");
    }

    let mut archive = tar::Archive::new(std::fs::File::open(&file).unwrap());
    archive.unpack(dir.path()).unwrap();
    for segment in segments {
        let inside = entries(&dir.path().join(segment));
        assert!(
            inside.iter().all(|name| name.starts_with("snapshot/files/")),
            "{inside:?}"
        );
        for needed in ["segment.json", "version.info"] {
            assert!(inside.contains(&format!("snapshot/files/{needed}")), "{inside:?}");
        }
    }
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let json = |name: &str| serde_json::from_str::<Value>(&read(name)).unwrap();
    assert!(dir.path().join("0/wal").is_dir());
    assert_eq!(read("version.info"), "0.4.2");
    assert_eq!(json("0/shard_config.json"), json!({"type": "ReplicaSet"}));
    let replica = json!({"is_local": true, "this_peer_id": 77, "peers": {"77": "Active"}});
    assert_eq!(json("0/replica_state.json"), replica);
    assert_eq!(
        json("config.json")["params"]["vectors"],
        json!({"size": 8, "distance": "Cosine"})
    );
    assert_eq!(json("shard_key_mapping.json"), json!([]));
    assert_eq!(json("payload_index.json"), json!({"schema": {}}));
}

#[tokio::test]
async fn downloads_answer_ranges_and_conditions_as_a_qdrant_server_does() {
    let node = TestNode::start().await;
    node.empty("c").await;
    let snapshot = node.snapshot("c").await;
    let whole = node.download("c", &snapshot).await;
    let size = whole.len();
    let path = format!("/collections/c/snapshots/{}", snapshot["name"].as_str().unwrap());
    let get = || node.request(Method::GET, &path);

    let head = node.request(Method::HEAD, &path).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::NOT_FOUND);

    let all = get().send().await.unwrap();
    let etag = all.headers()[ETAG].clone();
    assert!(etag.to_str().unwrap().starts_with('"'), "{etag:?} is not strong");
    assert_eq!(all.content_length(), Some(size as u64));

    let part = get()
        .header(RANGE, "bytes=1000-1999")
        .header(IF_MATCH, &etag)
        .send()
        .await
        .unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()[CONTENT_RANGE], format!("bytes 1000-1999/{size}"));
    assert_eq!(part.content_length(), Some(1000));
    assert_eq!(part.bytes().await.unwrap(), whole[1000..2000]);

    let rest = get().header(RANGE, "bytes=5000-").send().await.unwrap();
    assert_eq!(rest.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(rest.bytes().await.unwrap(), whole[5000..]);

    let from_zero = get().header(RANGE, "bytes=0-").send().await.unwrap();
    assert_eq!(from_zero.status(), StatusCode::OK);
    assert_eq!(from_zero.bytes().await.unwrap(), whole);

    let beyond = get().header(RANGE, format!("bytes={size}-")).send().await.unwrap();
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.headers()[CONTENT_RANGE], format!("bytes */{size}"));

    let changed = get().header(IF_MATCH, "\"other\"").send().await.unwrap();
    assert_eq!(changed.status(), StatusCode::PRECONDITION_FAILED);

    let ignored = get()
        .header(RANGE, "bytes=10-19")
        .header(IF_RANGE, "\"other\"")
        .send()
        .await
        .unwrap();
    assert_eq!(ignored.status(), StatusCode::PARTIAL_CONTENT);

    let missing = node
        .request(Method::GET, "/collections/c/snapshots/none.snapshot")
        .send()
        .await
        .unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert_eq!(missing.text().await.unwrap(), "Not found: Snapshot none.snapshot");
    let outside = format!("/collections/c/snapshots/{}", encoded("../../aliases.json"));
    assert_eq!(node.request(Method::GET, &outside).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn two_snapshots_in_one_second_are_one_file() {
    let now = datetime!(2026-11-22 13:05:09 +1);
    let node = TestNode::start_with(|options| {
        options.clock = Arc::new(move || now);
        options.peer_id = 42;
    })
    .await;
    node.dense("c d").await;
    let path = "/collections/c%20d/snapshots";
    let (first, second) = tokio::join!(node.snapshot("c%20d"), node.snapshot("c%20d"));
    assert_eq!(first["name"], "c d-42-2026-11-22-12-05-09.snapshot");
    assert_eq!(second["name"], first["name"]);
    assert_eq!(node.get(path).await.as_array().unwrap().len(), 1);

    let file = format!("{path}/{}", encoded(first["name"].as_str().unwrap()));
    assert_eq!(node.ok(Method::DELETE, &file, json!({})).await, true);
    assert_eq!(node.get(path).await, json!([]));
    assert_eq!(node.refused(Method::DELETE, &file, json!({})).await.0, 404);
    let directory = node.dir.path().join("snapshots").join("c d");
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 0);
}

#[tokio::test]
async fn absurd_collection_names_have_snapshots_as_long_as_file_names_last() {
    let node = TestNode::start().await;
    for name in ["späße 🦀 100%", "..a", &"x".repeat(190)] {
        let path = encoded(name);
        node.empty(&path).await;
        let snapshot = node.snapshot(&path).await;
        let prefix = format!("{name}-");
        assert!(snapshot["name"].as_str().unwrap().starts_with(&prefix));
        let bytes = node.download(&path, &snapshot).await;
        assert_eq!(snapshot["size"], bytes.len());
    }
    // As on a Qdrant server, whose files have the same names: the collection lives, its
    // snapshots cannot.
    let longest = "x".repeat(255);
    node.empty(&longest).await;
    let path = format!("/collections/{longest}/snapshots");
    assert_eq!(node.refused(Method::POST, &path, json!({})).await.0, 500);
    assert_eq!(node.count(&longest).await, 0);
}
