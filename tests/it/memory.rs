//! Memory of the shipped binary as a process of its own: it depends neither on what Qdrant says nor on how many backups there
//! are. What is measured is the peak since the start; the executable itself comes to it.

use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;
use testkit::many;
use testkit::peer::{Create, Peer};
use testkit::process::{Served, command, peak_memory};
use testkit::store::{BUCKET, TestStore};
use tokio::sync::Semaphore;

/// In MB.
const BOUND: u64 = 130;

/// The service over a store of its own.
struct Watched {
    served: Served,
    store: TempDir,
    http: reqwest::Client,
}

impl Watched {
    async fn start(peer: &Peer) -> Self {
        let store = tempfile::tempdir().unwrap();
        let served = Served::start(&mut command(&["serve"], &peer.url, store.path())).await;
        Self {
            served,
            store,
            http: reqwest::Client::new(),
        }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let response = self
            .http
            .get(format!("{}{path}", self.served.url))
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    fn post_backup(&self) -> reqwest::RequestBuilder {
        self.http.post(format!("{}/backup", self.served.url)).body("{}")
    }

    async fn backup(&self) -> (u16, Value) {
        let response = self.post_backup().send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// Answers `GET`s of `path`, so many at once.
    async fn at_once(&self, path: &str, count: usize) -> Vec<u16> {
        let all = (0..count).map(|_| self.get(path));
        let answers = futures_util::future::join_all(all).await;
        answers.into_iter().map(|(status, _)| status).collect()
    }

    fn stayed_small(&self, what: &str) {
        let peak = peak_memory(&self.served.child);
        println!("{what}: {peak} MB");
        assert!(peak < BOUND, "{what}: {peak} MB");
    }
}

/// What Qdrant says of a collection whose metadata is a list of so many bytes of `filler`.
fn described(filler: &str, bytes: usize) -> bytes::Bytes {
    let list = filler.repeat(bytes / filler.len());
    let (head, tail) = (
        r#"{"result":{"status":"green","points_count":1,"config":{"metadata":{"x":["#,
        r#"0]}},"payload_schema":{}},"status":"ok","time":0}"#,
    );
    [head, &list, tail].concat().into()
}

fn listed(names: usize) -> bytes::Bytes {
    let names: Vec<_> = (0..names)
        .map(|n| format!(r#"{{"name":"{}"}}"#, many::name(n)))
        .collect();
    format!(
        r#"{{"result":{{"collections":[{}]}},"status":"ok","time":0}}"#,
        names.join(",")
    )
    .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_of_any_size_and_kind_costs_one_collection_and_little_memory() {
    for (filler, mib) in [
        ("[],", 63),
        ("[],", 15),
        (r#"{"":0},"#, 63),
        (r#"{"":0},"#, 15),
        (r#""",0,"#, 15),
    ] {
        let peer = Peer::start(&[("a", 1000), ("odd", 1000)]).await;
        peer.lock()
            .answers
            .insert("/collections/odd".to_owned(), described(filler, mib << 20));
        let watched = Watched::start(&peer).await;
        let (status, answer) = watched.backup().await;
        let failed = &answer["report"]["failed"];
        assert_eq!(
            (status, failed[0]["collection"].as_str(), failed[0]["code"].as_str()),
            (500, Some("odd"), Some("unsupported")),
            "{answer}"
        );
        assert_eq!(failed.as_array().unwrap().len(), 1, "{answer}");
        assert!(failed[0]["message"].as_str().unwrap().contains("limit"), "{answer}");
        let (status, answer) = watched.get("/collections").await;
        assert_eq!(
            (status, answer["collections"].as_array().unwrap().len()),
            (200, 2),
            "{answer}"
        );
        watched.stayed_small(&format!("{mib} MiB of {filler}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_thousand_collections_are_begun_one_by_one() {
    let names: Vec<_> = (0..2).map(many::name).collect();
    let peer = Peer::start(&[(&names[0], 1000), (&names[1], 1000)]).await;
    let reached = Arc::new(Semaphore::new(0));
    for name in &names {
        let held = Create::Held {
            reached: reached.clone(),
            go: Arc::new(Semaphore::new(0)),
        };
        peer.on_create(name, [held]);
    }
    peer.lock().answers.insert("/collections".to_owned(), listed(40_000));
    let watched = Watched::start(&peer).await;
    let backup = tokio::spawn(watched.post_backup().send());
    reached.acquire_many(2).await.unwrap().forget();
    let (status, answer) = watched.get("/status").await;
    let units = answer["running"]["progress"]["collections"].as_array().map(Vec::len);
    assert_eq!(
        (status, units),
        (200, Some(40_000)),
        "{}",
        answer["running"]["progress"]["id"]
    );
    watched.stayed_small("40,000 names");
    backup.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_collections_are_refused_by_their_number() {
    let peer = Peer::start(&[]).await;
    peer.lock().answers.insert("/collections".to_owned(), listed(1_000_000));
    let watched = Watched::start(&peer).await;
    let (_, answer) = watched.backup().await;
    assert_eq!(answer["error"]["code"], "unsupported", "{answer}");
    let told = answer["error"]["message"].as_str().unwrap();
    assert!(told.contains("limit"), "{told}");
    watched.stayed_small("1,000,000 names");
}

/// A shard whose log has a file of so many zeros.
fn shard(zeros: usize) -> bytes::Bytes {
    const SHARD: &[u8] = include_bytes!("../fixtures/shards/streamed.tar");
    // Before its last two entries and the end marker.
    let (head, tail) = SHARD.split_at(SHARD.len() - 1024 - 4 * 512);
    let mut header = tar::Header::new_gnu();
    header.set_path("wal/closed-5").unwrap();
    header.set_size(zeros as u64);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    let mut shard = [head, header.as_bytes()].concat();
    shard.resize(shard.len() + zeros, 0);
    shard.extend_from_slice(tail);
    shard.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_into_cloud_storage_takes_two_chunks_however_long_it_is() {
    let peer = Peer::start(&[("a", 10), ("b", 10)]).await;
    let shard = shard(96 << 20);
    for name in ["a", "b"] {
        peer.with(name, |c| c.streamed = Some(shard.clone()));
    }
    let (bucket, unused) = (TestStore::in_emulator().await, tempfile::tempdir().unwrap());
    let mut command = command(&["serve"], &peer.url, unused.path());
    let served = Served::start(command.envs(bucket.env()).env("SNAPSHOT_MODE", "stream")).await;
    let backup = reqwest::Client::new().post(format!("{}/backup", served.url)).body("{}");
    let answer = backup.send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert_eq!(status, 200, "{text}");
    let objects = bucket.gcs().objects(BUCKET);
    let shards = objects.iter().filter(|object| object.size == shard.len() as u64);
    assert_eq!(shards.count(), 2);
    let peak = peak_memory(&served.child);
    println!("2 streams at once: {peak} MB");
    assert!(peak < BOUND, "{peak} MB");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_may_be_large() {
    const BACKUPS: usize = 12;
    let names: Vec<_> = (0..1000).map(many::name).collect();
    let collections: Vec<_> = names.iter().map(|name| (name.as_str(), 10)).collect();
    let peer = Peer::start(&collections).await;
    let watched = Watched::start(&peer).await;
    many::write_backups(watched.store.path(), BACKUPS, 1000);
    let (status, answer) = watched.get("/backups?limit=50").await;
    let backups = answer["backups"].as_array().unwrap();
    assert_eq!((status, backups.len()), (200, BACKUPS), "{}", answer["error"]);
    for backup in backups {
        assert_eq!(
            (&backup["marks"], &backup["collections"]),
            (&json!(["good"]), &json!(1000))
        );
        assert_eq!(backup["points_by_collection"]["collection-0999"], 3);
    }
    let (status, answer) = watched.get("/health/freshness").await;
    assert_eq!((status, &answer["fresh"]), (200, &json!(true)), "{answer}");
    watched.stayed_small("1 list of 12 backups of 1,000 collections");
    for path in ["/backups?limit=50", "/health/freshness", "/status", "/backups/latest"] {
        // Whoever waits too long is told so; on a busy machine that may happen here, and it costs no memory.
        let answers = watched.at_once(path, 8).await;
        assert!(
            answers.iter().all(|status| matches!(status, 200 | 503)),
            "{path}: {answers:?}"
        );
        watched.stayed_small(&format!("8 of {path} at once"));
    }
}
