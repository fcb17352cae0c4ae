//! Snapshots restored: by upload and by URL, into missing and existing collections, from
//! good files and bad ones; and opened without a node.

use crate::support::{TestNode, dense_point, fingerprint, sha256};
use embedded_qdrant::open_snapshot;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn every_kind_of_collection_is_restored_equal_by_upload_and_by_url() {
    let source = TestNode::start().await;
    source.dense("dense").await;
    source
        .put(
            "/collections/dense/index",
            json!({"field_name": "n", "field_schema": "integer"}),
        )
        .await;
    source.mixed("mixed").await;
    source.empty("empty").await;
    let target = TestNode::start().await;
    for name in ["dense", "mixed", "empty"] {
        let expected = fingerprint(&source, name).await;
        let snapshot = source.snapshot(name).await;
        let bytes = source.download(name, &snapshot).await;
        let checksum = snapshot["checksum"].as_str().unwrap();
        assert_eq!(sha256(&bytes), checksum);
        assert_eq!(snapshot["size"], bytes.len());

        let by_upload = format!("{name}-uploaded");
        let query = format!("?wait=true&priority=snapshot&checksum={checksum}");
        let (status, answer) = target.upload(&by_upload, &query, bytes).await;
        assert_eq!((status, &answer["result"]), (200, &json!(true)), "{answer}");
        assert_eq!(fingerprint(&target, &by_upload).await, expected, "{by_upload}");
        let left = target.get(&format!("/collections/{by_upload}/snapshots")).await;
        assert_eq!(left[0]["name"], "uploaded.snapshot");
        assert_eq!(left[0].get("checksum"), None);

        let by_url = format!("{name}-fetched");
        let file = snapshot["name"].as_str().unwrap();
        let location = source.url(&format!("/collections/{name}/snapshots/{file}"));
        let body = json!({"location": location, "checksum": checksum, "priority": "no_sync"});
        let done = target
            .put(&format!("/collections/{by_url}/snapshots/recover"), body)
            .await;
        assert_eq!(done, true);
        assert_eq!(fingerprint(&target, &by_url).await, expected, "{by_url}");
    }
    let dir = target.stop().await;
    let target = TestNode::start_in(dir, |_| ()).await;
    assert_eq!(
        fingerprint(&target, "mixed-fetched").await,
        fingerprint(&source, "mixed").await
    );
}

#[tokio::test]
async fn a_restored_collection_takes_updates_of_its_old_points() {
    let node = TestNode::start().await;
    node.dense("c").await;
    for round in 0..5 {
        node.put(
            "/collections/c/points",
            json!({"points": [dense_point(3, round as f32)]}),
        )
        .await;
    }
    let snapshot = node.snapshot("c").await;
    let bytes = node.download("c", &snapshot).await;
    node.upload("copy", "", bytes).await;
    let mut point = dense_point(3, 0.0);
    point["payload"] = json!({"after": "restore"});
    node.put("/collections/copy/points", json!({"points": [point]})).await;
    let page = json!({"offset": 3, "limit": 1});
    let page = node.post("/collections/copy/points/scroll", page).await;
    assert_eq!(page["points"][0]["payload"], json!({"after": "restore"}));
}

#[tokio::test]
async fn a_restore_replaces_the_data_of_an_existing_collection_and_keeps_its_aliases() {
    let node = TestNode::start().await;
    node.dense("c").await;
    let alias = json!({"create_alias": {"collection_name": "c", "alias_name": "al"}});
    node.post("/collections/aliases", json!({"actions": [alias]})).await;
    let old = fingerprint(&node, "c").await;
    let snapshot = node.snapshot("c").await;
    let more: Vec<Value> = (300..310).map(|n| dense_point(n, 0.0)).collect();
    node.put("/collections/c/points", json!({"points": more})).await;
    node.post("/collections/c/points/delete", json!({"points": [0, 1, 2]}))
        .await;
    assert_eq!(node.count("c").await, 257);

    let file = snapshot["name"].as_str().unwrap();
    let location = node.url(&format!("/collections/c/snapshots/{file}"));
    node.put("/collections/c/snapshots/recover", json!({"location": location}))
        .await;
    assert_eq!(fingerprint(&node, "al").await, old);

    let other = node.snapshot("al").await;
    assert!(other["name"].as_str().unwrap().starts_with("c-"), "{other}");
    node.empty("two").await;
    let (status, text) = node
        .refused(
            Method::PUT,
            "/collections/two/snapshots/recover",
            json!({"location": location}),
        )
        .await;
    assert_eq!(status, 400);
    assert!(text.contains("not compatible with existing collection"), "{text}");
    assert_eq!(node.count("two").await, 0);
}

#[tokio::test]
async fn cut_garbled_and_unsafe_uploads_are_refused_and_the_old_data_stays() {
    let node = TestNode::start().await;
    node.dense("c").await;
    let expected = fingerprint(&node, "c").await;
    let snapshot = node.snapshot("c").await;
    let whole = node.download("c", &snapshot).await;

    let mut flipped = whole.clone();
    flipped[600] ^= 0xff;
    let mut on_entry_boundary = whole[..entry_start(&whole, "version.info")].to_vec();
    on_entry_boundary.extend([0; 1024]);
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("garbage", b"this is no tar".repeat(500)),
        ("a cut file", whole[..whole.len() / 2].to_vec()),
        ("a file without its end marker", whole[..whole.len() - 1024].to_vec()),
        ("a file cut between entries", on_entry_boundary),
        ("a file with a broken nested tar", flipped),
        (
            "a path that leaves the directory",
            with_entry("../../evil", tar::EntryType::Regular, &whole),
        ),
        (
            "an absolute path",
            with_entry("/tmp/evil", tar::EntryType::Regular, &whole),
        ),
        ("a symbolic link", with_entry("link", tar::EntryType::Symlink, &whole)),
        (
            "a tar of something else",
            with_entry("readme", tar::EntryType::Regular, &[0; 1024]),
        ),
    ] {
        for target in ["c", "fresh"] {
            let (status, answer) = node.upload(target, "", bytes.clone()).await;
            assert!(matches!(status, 400 | 500), "{what}: {status} {answer}");
            assert!(answer["status"]["error"].is_string(), "{what}: {answer}");
        }
        assert_eq!(fingerprint(&node, "c").await, expected, "{what}");
    }
    let harmless = with_entry("readme", tar::EntryType::Regular, &whole);
    let (status, answer) = node.upload("c", "", harmless).await;
    assert_eq!(status, 200, "one more entry does not matter: {answer}");
    let wrong = "0".repeat(64);
    let (status, answer) = node.upload("c", &format!("?checksum={wrong}"), whole.clone()).await;
    assert_eq!(status, 400, "{answer}");
    let file = snapshot["name"].as_str().unwrap();
    let recover = "/collections/c/snapshots/recover";
    for (what, body) in [
        (
            "wrong checksum",
            json!({"location": node.url(&format!("/collections/c/snapshots/{file}")), "checksum": wrong}),
        ),
        (
            "no such file",
            json!({"location": node.url("/collections/c/snapshots/none.snapshot")}),
        ),
        ("not a URL", json!({"location": "nonsense"})),
        ("another scheme", json!({"location": "gs://bucket/object"})),
        (
            "unknown priority",
            json!({"location": "http://localhost/x", "priority": "mine"}),
        ),
    ] {
        let (status, text) = node.refused(Method::PUT, recover, body).await;
        assert_eq!(status, 400, "{what}: {text}");
    }
    assert_eq!(fingerprint(&node, "c").await, expected);
    assert_eq!(node.get("/collections").await, json!({"collections": [{"name": "c"}]}));
    let leftovers = std::fs::read_dir(node.dir.path().join("tmp")).unwrap().count();
    assert_eq!(leftovers, 0, "temporary files are left");
}

/// Where the header of an entry of the outer tar begins.
fn entry_start(bytes: &[u8], name: &str) -> usize {
    let mut archive = tar::Archive::new(bytes);
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    let entry = entries
        .find(|entry| entry.path().unwrap().to_str() == Some(name))
        .unwrap();
    usize::try_from(entry.raw_header_position()).unwrap()
}

/// A good snapshot with one more entry in front.
fn with_entry(name: &str, kind: tar::EntryType, snapshot: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    if kind == tar::EntryType::Symlink {
        header.set_link_name("/etc/passwd").unwrap();
    }
    header.set_size(0);
    header.set_mode(0o644);
    header.set_cksum();
    [header.as_bytes().as_slice(), snapshot].concat()
}

#[tokio::test]
async fn a_snapshot_file_is_opened_without_a_node() {
    let node = TestNode::start().await;
    node.mixed("m").await;
    let expected = fingerprint(&node, "m").await;
    let snapshot = node.snapshot("m").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.snapshot");
    let bytes = node.download("m", &snapshot).await;
    std::fs::write(&file, &bytes).unwrap();

    let work = dir.path().join("work");
    let opened = open_snapshot(&file, &work).unwrap();
    assert_eq!(opened.count().unwrap(), 60);
    assert_eq!(opened.info().unwrap()["config"], expected["config"]);
    let page = opened.scroll(json!({"limit": 100, "with_vector": true})).unwrap();
    assert_eq!(page, expected["page"]);
    let search = json!({"vector": {"name": "image", "vector": [0.5, 1.0, 0.5, 0.25]}, "limit": 7});
    assert_eq!(opened.search(search).unwrap(), expected["found"][0]["points"]);
    let query = json!({"query": {"indices": [7_000_000], "values": [2.0]}, "using": "words", "limit": 7});
    assert_eq!(opened.query(query).unwrap(), expected["found"][1]);
    drop(opened);
    assert_eq!(
        std::fs::read_dir(&work).unwrap().count(),
        0,
        "the work directory is cleaned up"
    );

    std::fs::write(&file, &bytes[..bytes.len() - 2048]).unwrap();
    let error = open_snapshot(&file, &work).err().unwrap();
    assert!(error.to_string().contains("m.snapshot"), "{error}");
}
