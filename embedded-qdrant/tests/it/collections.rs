//! Collections, points and aliases over HTTP.

use crate::support::{TestNode, dense_point, encoded};
use embedded_qdrant::{Node, NodeOptions};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn points_are_counted_scrolled_page_by_page_and_found() {
    let node = TestNode::start().await;
    node.dense("dense").await;
    assert_eq!(node.count("dense").await, 250);

    let scroll = "/collections/dense/points/scroll";
    let first = node.post(scroll, json!({"limit": 3, "with_vector": true})).await;
    let ids = |page: &Value| -> Vec<u64> {
        page["points"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["id"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(ids(&first), [0, 1, 2]);
    assert_eq!(first["points"][1]["payload"], dense_point(1, 0.0)["payload"]);
    assert_eq!(first["points"][1]["vector"].as_array().unwrap().len(), 8);
    let offset = &first["next_page_offset"];
    let rest = node
        .post(scroll, json!({"limit": 500, "offset": offset, "with_payload": false}))
        .await;
    assert_eq!(ids(&rest), (3..250).collect::<Vec<_>>());
    assert_eq!(rest["next_page_offset"], Value::Null);
    assert_eq!(rest["points"][0].get("payload"), None);
    assert_eq!(rest["points"][0].get("vector"), None);

    let query = dense_point(17, 0.0)["vector"].take();
    let hits = node
        .post("/collections/dense/points/search", json!({"vector": query, "limit": 2}))
        .await;
    assert_eq!(hits[0]["id"], 17);
    assert!((hits[0]["score"].as_f64().unwrap() - 1.0).abs() < 1e-5, "{hits}");
    let same = node
        .post("/collections/dense/points/query", json!({"query": query, "limit": 2}))
        .await;
    assert_eq!(same["points"], hits);
}

#[tokio::test]
async fn named_and_sparse_vectors_are_kept_and_searched() {
    let node = TestNode::start().await;
    node.mixed("mixed").await;
    let search = "/collections/mixed/points/search";
    let sparse = json!({
        "vector": {"name": "words", "vector": {"indices": [41], "values": [1.0]}},
        "limit": 5, "with_vector": true, "with_payload": true,
    });
    let hits = node.post(search, sparse).await;
    assert_eq!(hits.as_array().unwrap().len(), 1, "{hits}");
    assert_eq!(hits[0]["id"], "00000000-0000-4000-8000-000000000029");
    assert_eq!(hits[0]["payload"]["n"], 41);
    assert_eq!(hits[0]["vector"]["words"]["indices"], json!([41, 141, 7_000_000]));
    assert_eq!(hits[0]["vector"]["image"], json!([4.1, 1.0, -4.1, 0.5]));

    let dense = json!({"query": {"nearest": [0.4, 0.8, 0.125]}, "using": "text", "limit": 1});
    let hits = node.post("/collections/mixed/points/query", dense).await;
    assert_eq!(hits["points"][0]["id"], "00000000-0000-4000-8000-000000000004");
}

#[tokio::test]
async fn updates_replace_points_and_deletes_remove_them() {
    let node = TestNode::start().await;
    node.dense("c").await;
    let mut point = dense_point(5, 0.0);
    point["payload"] = json!({"new": true});
    node.put("/collections/c/points", json!({"points": [point]})).await;
    node.post("/collections/c/points/delete", json!({"points": [6, 7]}))
        .await;
    assert_eq!(node.count("c").await, 248);
    let page = node
        .post("/collections/c/points/scroll", json!({"offset": 5, "limit": 2}))
        .await;
    assert_eq!(page["points"][0]["payload"], json!({"new": true}));
    assert_eq!(page["points"][1]["id"], 8);
}

#[tokio::test]
async fn collection_info_has_the_shape_of_qdrant() {
    let node = TestNode::start().await;
    node.empty("e").await;
    node.mixed("m").await;
    let list = node.get("/collections").await;
    assert_eq!(list, json!({"collections": [{"name": "e"}, {"name": "m"}]}));

    let info = node.get("/collections/m").await;
    assert_eq!(info["status"], "green");
    assert_eq!(info["points_count"], 60);
    let params = &info["config"]["params"];
    assert_eq!(params["vectors"]["image"], json!({"size": 4, "distance": "Dot"}));
    assert_eq!(params["sparse_vectors"], json!({"words": {}}));
    assert_eq!(params["shard_number"], 1);
    assert_eq!(info["config"]["hnsw_config"]["m"], 16);
    assert_eq!(info["config"].get("uuid"), None);
    assert_eq!(node.get("/collections/m/exists").await, json!({"exists": true}));
    assert_eq!(node.get("/collections/x/exists").await, json!({"exists": false}));

    let cluster = node.get("/collections/m/cluster").await;
    assert_eq!(
        cluster["local_shards"],
        json!([{"shard_id": 0, "points_count": 60, "state": "Active"}])
    );
    assert_eq!(node.get("/cluster").await, json!({"status": "disabled"}));
    let root: Value = node
        .request(Method::GET, "/")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(root["version"], "1.18.3");
}

#[tokio::test]
async fn payload_indexes_are_built_by_the_engine_and_filters_work() {
    let node = TestNode::start().await;
    node.dense("c").await;
    let index = json!({"field_name": "n", "field_schema": "integer"});
    node.put("/collections/c/index?wait=true", index).await;
    let schema = node.get("/collections/c").await["payload_schema"].take();
    assert_eq!(schema, json!({"n": {"data_type": "integer", "points": 250}}));
    let filter = json!({"must": [{"key": "n", "range": {"lt": 10}}]});
    let counted = node
        .post("/collections/c/points/count", json!({"exact": true, "filter": filter}))
        .await;
    assert_eq!(counted["count"], 10);
}

#[tokio::test]
async fn aliases_change_all_or_not_at_all_and_go_with_their_collection() {
    let node = TestNode::start().await;
    node.dense("a").await;
    node.empty("b").await;
    let create = |alias: &str, of: &str| json!({"create_alias": {"collection_name": of, "alias_name": alias}});
    let both = json!({"actions": [create("one", "a"), create("two", "b")]});
    assert_eq!(node.post("/collections/aliases", both).await, true);
    assert_eq!(node.count("one").await, 250);

    let bad = json!({"actions": [{"delete_alias": {"alias_name": "one"}}, create("x", "nothing")]});
    let (status, text) = node.refused(Method::POST, "/collections/aliases", bad).await;
    assert_eq!(
        (status, text.as_str()),
        (404, "Not found: Collection `nothing` doesn't exist!")
    );
    let expected = json!({"aliases": [
        {"alias_name": "one", "collection_name": "a"}, {"alias_name": "two", "collection_name": "b"},
    ]});
    assert_eq!(node.get("/aliases").await, expected);

    let rename = json!({"rename_alias": {"old_alias_name": "two", "new_alias_name": "deux"}});
    node.post("/collections/aliases", json!({"actions": [rename]})).await;
    assert_eq!(
        node.get("/collections/b/aliases").await,
        json!({"aliases": [{"alias_name": "deux", "collection_name": "b"}]})
    );
    node.ok(Method::DELETE, "/collections/a", json!({})).await;
    assert_eq!(node.get("/aliases").await["aliases"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let node = TestNode::start().await;
    node.dense("d").await;
    node.mixed("späße 100% 🦀").await;
    let index = json!({"field_name": "n", "field_schema": "integer"});
    node.put("/collections/d/index", index).await;
    let alias = json!({"create_alias": {"collection_name": "d", "alias_name": "al"}});
    node.post("/collections/aliases", json!({"actions": [alias]})).await;
    let before = (node.get("/collections/d").await, node.snapshot("d").await);
    let mixed = encoded("späße 100% 🦀");
    let scroll = json!({"limit": 100, "with_vector": true});
    let page = node
        .post(&format!("/collections/{mixed}/points/scroll"), scroll.clone())
        .await;

    let dir = node.stop().await;
    let node = TestNode::start_in(dir, |_| ()).await;
    assert_eq!(node.count("al").await, 250);
    assert_eq!(node.get("/collections/d").await, before.0);
    assert_eq!(node.get("/collections/d/snapshots").await, json!([before.1]));
    assert_eq!(
        node.post(&format!("/collections/{mixed}/points/scroll"), scroll).await,
        page
    );
    // The engine numbers its operations on, so that updates are not taken for old ones.
    let mut point = dense_point(1, 0.0);
    point["payload"] = json!({"changed": 1});
    node.put("/collections/d/points", json!({"points": [point]})).await;
    let page = node
        .post("/collections/d/points/scroll", json!({"offset": 1, "limit": 1}))
        .await;
    assert_eq!(page["points"][0]["payload"], json!({"changed": 1}));
}

#[tokio::test]
async fn written_points_survive_a_node_that_is_never_stopped() {
    let node = TestNode::start().await;
    node.dense("d").await;
    let copy = tempfile::tempdir().unwrap();
    copy_dir(node.dir.path(), copy.path());
    let second = TestNode::start_in(copy, |_| ()).await;
    assert_eq!(second.count("d").await, 250);
}

#[tokio::test]
async fn a_data_directory_has_one_node_at_a_time() {
    let node = TestNode::start().await;
    let second = Node::start(NodeOptions::new(node.dir.path())).await;
    let error = second.err().unwrap().to_string();
    assert!(error.contains("another node uses"), "{error}");
    let dir = node.stop().await;
    TestNode::start_in(dir, |_| ()).await;
}

#[tokio::test]
async fn a_replacement_that_a_crash_cut_short_leaves_the_old_collection() {
    let node = TestNode::start().await;
    node.dense("c").await;
    let dir = node.stop().await;
    let aside = dir.path().join("replaced/c");
    std::fs::rename(place_in(&dir), &aside).unwrap();
    let node = TestNode::start_in(dir, |_| ()).await;
    assert_eq!(node.count("c").await, 250);
    let dir = node.stop().await;

    copy_dir(&place_in(&dir), &dir.path().join("replaced/c"));
    let node = TestNode::start_in(dir, |_| ()).await;
    assert_eq!(node.count("c").await, 250);
    assert!(!node.dir.path().join("replaced/c").exists());
}

fn place_in(dir: &tempfile::TempDir) -> std::path::PathBuf {
    dir.path().join("collections/c")
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
