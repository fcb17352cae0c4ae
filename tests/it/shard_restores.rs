//! The shards of one collection, several at a time: which begin when, and what is told when one fails or the run is stopped.

use qdrant_backup::base::error::Code;
use qdrant_backup::base::hash::sha256_hex;
use qdrant_backup::ops::context::Context;
use qdrant_backup::ops::drill::DrillVerdict;
use qdrant_backup::ops::progress::Progress;
use qdrant_backup::ops::restore::{self, RestoreOutcome, RestoreReport, RestoreRequest};
use qdrant_backup::ops::verify::Verifier;
use qdrant_backup::repository::names::BackupId;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use testkit::bench::Bench;
use testkit::cluster::{Nodes, content, keyed, qdrant};
use testkit::process;
use testkit::proxy::{Fault, Proxy};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Fails a test that would hang otherwise.
const NEVER: Duration = Duration::from_secs(60);
const UPLOAD: &str = "/snapshots/upload";

/// A cluster behind proxies, one before each node.
struct Proxied {
    nodes: Nodes,
    proxies: Vec<Proxy>,
    bench: Bench,
    reached: Arc<Semaphore>,
    go: Arc<Semaphore>,
}

impl Proxied {
    /// With a backup of collections of so many keys, of two shards each.
    async fn start(nodes: u64, collections: &[(&str, usize)], at_once: usize) -> Self {
        let nodes = Nodes::start(nodes).await;
        for (name, keys) in collections {
            let keys: Vec<Value> = ["eu", "us", "asia"][..*keys].iter().map(|key| json!(key)).collect();
            keyed(&nodes.client(), name, 1, &keys).await;
        }
        let mut bench = nodes.bench().await;
        bench.run().await.unwrap();
        let mut proxies = Vec::new();
        for url in nodes.urls() {
            proxies.push(Proxy::before(&url).await);
        }
        let urls: Vec<String> = proxies.iter().map(|proxy| proxy.url.clone()).collect();
        bench.ctx.qdrant = qdrant(&urls);
        bench.ctx.settings.restore_concurrency = at_once;
        Self {
            nodes,
            proxies,
            bench,
            reached: Arc::new(Semaphore::new(0)),
            go: Arc::new(Semaphore::new(0)),
        }
    }

    /// The answers to uploads into the shards of the collection wait, each for a permit of its node.
    fn hold(&self, collection: &str) -> Vec<Arc<Semaphore>> {
        let gos: Vec<_> = self.proxies.iter().map(|_| Arc::new(Semaphore::new(0))).collect();
        for (proxy, go) in self.proxies.iter().zip(&gos) {
            for shard in 1..20 {
                let held = Fault::Held {
                    after: 0,
                    reached: self.reached.clone(),
                    go: go.clone(),
                };
                proxy.on(
                    &format!("POST /collections/{collection}/shards/{shard}{UPLOAD}"),
                    [held],
                );
            }
        }
        gos
    }

    /// Ends one on a node that has another shard to restore.
    async fn free_one(&self, gos: &[Arc<Semaphore>]) {
        let map = self
            .nodes
            .client()
            .call("GET", "/collections/back/cluster", None)
            .await
            .unwrap();
        let [here, elsewhere] = ["local_shards", "remote_shards"].map(|list| map[list].as_array().unwrap().len());
        let has_more = |(proxy, of_node): (&Proxy, usize)| proxy.requests(UPLOAD) < of_node;
        let at = self.proxies.iter().zip([here, elsewhere]).position(has_more);
        gos[at.expect("one is left")].add_permits(1);
    }

    fn uploads(&self) -> usize {
        self.proxies.iter().map(|proxy| proxy.requests(UPLOAD)).sum()
    }

    async fn held(&self, count: u32) {
        let held = timeout(NEVER, self.reached.acquire_many(count)).await;
        held.expect("the uploads never began").unwrap().forget();
    }

    async fn restore(&self, ctx: &Context, into: &str) -> RestoreReport {
        let request = RestoreRequest {
            id: "latest".into(),
            into: Some(into.into()),
            ..RestoreRequest::default()
        };
        let progress = Progress::new(ctx.clock.now());
        let work = restore::run(ctx, &request, &progress, &self.bench.cancel);
        work.await.unwrap()
    }
}

/// Ids of the shards of uploads, in the order of these requests.
fn shards(log: &[String]) -> Vec<u32> {
    let id = |line: &String| line.split("/shards/").nth(1)?.split('/').next()?.parse().ok();
    log.iter().filter_map(id).collect()
}

#[tokio::test]
async fn as_many_shards_at_a_time_as_is_set_and_two_on_a_node() {
    for (nodes, at_once, expected) in [(2, 64, 4), (2, 3, 3), (1, 64, 2), (1, 1, 1)] {
        let place = Proxied::start(nodes, &[("keyed", 3)], at_once).await;
        let gos = place.hold("back");
        let ctx = place.bench.ctx.clone();
        let ids = [1, 2, 6, 7, 8, 9];
        let begun = || {
            let mut begun: Vec<u32> = place.proxies.iter().flat_map(|p| shards(&p.log(UPLOAD))).collect();
            begun.sort_unstable();
            begun
        };
        let meanwhile = async {
            let mut count = expected;
            place.held(expected as u32).await;
            for proxy in &place.proxies {
                let on_it = proxy.requests(UPLOAD);
                assert!(on_it <= 2, "{nodes} nodes, {at_once} at once: {on_it}");
            }
            // Each next one begins when one has ended.
            loop {
                let begun = begun();
                assert_eq!(begun.len(), count, "{nodes} nodes, {at_once} at once: {begun:?}");
                if nodes == 1 {
                    assert_eq!(begun, ids[..count], "in the order of their ids");
                }
                if count == ids.len() {
                    break gos.iter().for_each(|go| go.add_permits(ids.len()));
                }
                place.free_one(&gos).await;
                place.held(1).await;
                count += 1;
            }
        };
        let (report, ()) = tokio::join!(place.restore(&ctx, "back"), meanwhile);
        assert_eq!(report.status, RestoreOutcome::Complete, "{report:?}");
        let url = place.nodes.url(1);
        assert_eq!(content(&url, "back").await, content(&url, "keyed").await);
    }
}

#[tokio::test]
async fn when_one_shard_fails_the_others_under_way_end_and_no_further_one_begins() {
    let place = Proxied::start(1, &[("keyed", 3), ("other", 1)], 64).await;
    let proxy = &place.proxies[0];
    proxy.on(
        &format!("POST /collections/keyed-back/shards/1{UPLOAD}"),
        [Fault::Answer(500, r#"{"status":{"error":"it broke"}}"#)],
    );
    let held = Fault::Held {
        after: 0,
        reached: place.reached.clone(),
        go: place.go.clone(),
    };
    proxy.on(&format!("POST /collections/keyed-back/shards/2{UPLOAD}"), [held]);
    let meanwhile = async {
        place.held(1).await;
        // Both of the other one are restored while the failed one still has a shard under way.
        while proxy.requests("GET /collections/other-back/snapshots") == 0 {
            tokio::task::yield_now().await;
        }
        place.go.add_permits(1);
    };
    let ctx = place.bench.ctx.clone();
    let (report, ()) = tokio::join!(place.restore(&ctx, "{}-back"), meanwhile);
    assert_eq!(report.status, RestoreOutcome::Partial, "{report:?}");
    let restored: Vec<_> = report.collections.iter().map(|c| c.source.as_str()).collect();
    assert_eq!(restored, ["other"], "a half is none");
    let [failed] = &report.failed[..] else {
        panic!("{report:?}");
    };
    assert_eq!(failed.error.code, Code::QdrantFailed, "{failed:?}");
    // Of shard 2 alone: it ended by itself, and nothing was begun after the failure.
    assert!(failed.state.starts_with("it exists with "), "{}", failed.state);
    assert!(failed.next.contains("--overwrite"), "this run made it: {}", failed.next);
    let uploads = proxy.log(UPLOAD);
    let of_it: Vec<_> = uploads
        .into_iter()
        .filter(|line| line.contains("/keyed-back/"))
        .collect();
    let mut of_it = shards(&of_it);
    of_it.sort_unstable();
    assert_eq!(of_it, [1, 2]);
}

#[tokio::test]
async fn told_to_stop_it_says_of_each_collection_that_it_made_it() {
    let place = Proxied::start(1, &[("keyed", 1), ("later", 1)], 64).await;
    // The node has room for two: both are of the first collection, and the other one waits with all that it has.
    place.hold("keyed-back");
    let proxy = &place.proxies[0];
    let stop = async {
        place.held(2).await;
        // It is made, and its replicas are looked for.
        while proxy.requests("GET /collections/later-back/cluster") < 2 {
            tokio::task::yield_now().await;
        }
        place.bench.cancel.cancel();
    };
    let ctx = place.bench.ctx.clone();
    let (report, ()) = tokio::join!(place.restore(&ctx, "{}-back"), stop);
    assert_eq!(report.error().unwrap().code(), Code::Cancelled);
    assert_eq!((report.status, report.collections.len()), (RestoreOutcome::Failed, 0));
    let failed: Vec<_> = report.failed.iter().map(|f| f.source.as_str()).collect();
    assert_eq!(failed, ["keyed", "later"]);
    for failed in &report.failed {
        assert!(failed.state.starts_with("it exists with "), "{failed:?}");
        assert!(failed.next.contains("--overwrite"), "{failed:?}");
    }
    assert_eq!(
        proxy.requests("/later-back/shards"),
        1,
        "its key was made, none of its shards restored"
    );
    assert_eq!(place.uploads(), 2);
}

/// Changes the manifest of a backup.
fn edit(bench: &Bench, id: &BackupId, change: impl FnOnce(&mut Value)) {
    let path = bench.dir.path().join(format!("backups/{id}/manifest.json"));
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    std::fs::write(&path, manifest.to_string()).unwrap();
}

/// Makes `bytes` the object of a shard of the first collection, as if Qdrant itself had sent them.
async fn record(bench: &Bench, id: &BackupId, at: usize, bytes: &[u8]) {
    let manifest = qdrant_backup::repository::manifest::read(&*bench.ctx.store, id)
        .await
        .unwrap();
    let key = manifest.collections[0].artifacts[at].key.clone();
    std::fs::write(bench.dir.path().join(&key), bytes).unwrap();
    let meta = bench.ctx.store.head(&key).await.unwrap().unwrap();
    edit(bench, id, |manifest| {
        let artifact = &mut manifest["collections"][0]["artifacts"][at];
        artifact["bytes"] = bytes.len().into();
        artifact["sha256"] = sha256_hex(bytes).into();
        artifact["crc32c"] = format!("{:08x}", crc32c::crc32c(bytes)).into();
        artifact["version"] = meta.version.0.clone().into();
    });
}

/// The snapshot of shard 1 of a collection like that of the nodes, with as many points, whose vectors have eight numbers.
async fn of_other_vectors(points: u64) -> Vec<u8> {
    let nodes = Nodes::start(1).await;
    let client = nodes.client();
    let body = json!({"vectors": {"size": 8, "distance": "Dot"}, "sharding_method": "custom"});
    client.call("PUT", "/collections/other", Some(body)).await.unwrap();
    let body = json!({"shard_key": "eu", "shards_number": 1});
    client
        .call("PUT", "/collections/other/shards", Some(body))
        .await
        .unwrap();
    let points: Vec<_> = (0..points)
        .map(|id| json!({"id": 500_000 + id, "vector": [1, 2, 3, 4, 5, 6, 7, 8]}))
        .collect();
    let body = json!({"points": points, "shard_key": "eu"});
    client
        .call("PUT", "/collections/other/points?wait=true", Some(body))
        .await
        .unwrap();
    let path = format!("{}/collections/other/shards/1/snapshot", nodes.url(1));
    client
        .http
        .get(path)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap()
        .to_vec()
}

#[tokio::test]
async fn a_shard_of_other_vectors_is_found_by_a_restore_and_by_a_drill() {
    let nodes = Nodes::start(1).await;
    // The points of this one are all behind the first hundred.
    keyed(&nodes.client(), "keyed", 1, &[json!("eu"), json!("us"), json!("asia")]).await;
    testkit::cluster::upsert(&nodes.client(), "keyed", Some(&json!("us")), 0, 300).await;
    let bench = nodes.bench().await;
    let report = bench.run().await.unwrap();
    let manifest = bench.manifest(&report).await;
    let points = manifest.collections[0].artifacts[0].points_after.unwrap();
    assert!(points > 0);
    record(&bench, &report.id, 0, &of_other_vectors(points).await).await;
    let drilled = bench.drill(report.id).await.unwrap();
    assert_eq!(drilled.verdict, DrillVerdict::Failed, "{drilled:?}");
    let problem = drilled.collections[0].problem.as_deref().unwrap();
    assert!(
        problem.contains("shard 1") && problem.contains("8 numbers"),
        "{problem}"
    );
    let request = RestoreRequest {
        id: report.id.to_string(),
        into: Some("back".into()),
        ..RestoreRequest::default()
    };
    let progress = Progress::new(bench.ctx.clock.now());
    let restored = restore::run(&bench.ctx, &request, &progress, &bench.cancel)
        .await
        .unwrap();
    // Whether the engine refuses it by itself depends on which segment it loads first.
    let code = restored.failed[0].error.code;
    assert!(
        matches!(code, Code::RestoreUnequal | Code::QdrantFailed),
        "{restored:?}"
    );
}

fn verifier(bench: &Bench) -> Verifier {
    Verifier {
        store: bench.ctx.store.clone(),
        clock: bench.ctx.clock.clone(),
        who: "test".into(),
        concurrency: 2,
        attempts: 1,
        backoff: Duration::ZERO,
        notify: Default::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_opens_each_shard_and_finds_what_checksums_cannot() {
    let nodes = Nodes::start(1).await;
    keyed(&nodes.client(), "keyed", 1, &[json!("eu"), json!("us")]).await;
    for mode in [
        qdrant_backup::repository::unit::SnapshotMode::File,
        qdrant_backup::repository::unit::SnapshotMode::Stream,
    ] {
        let mut bench = nodes.bench().await;
        bench.ctx.settings.mode = mode;
        let report = bench.run().await.unwrap();
        let id = report.id;
        let scratch = tempfile::tempdir().unwrap();
        let drilled = async || {
            let drilled = verifier(&bench).drill(&id, scratch.path()).await.unwrap();
            assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
            drilled
        };
        let good = drilled().await;
        assert_eq!(good.verdict, DrillVerdict::Passed, "{good:?}");
        let found = &good.collections[0];
        assert_eq!(found.points, Some(60), "{found:?}");
        assert!(found.searches.unwrap() >= 8, "{found:?}");
        let artifacts = bench.manifest(&report).await.collections.remove(0).artifacts;
        let whole = std::fs::read(bench.dir.path().join(&artifacts[0].key)).unwrap();
        let problem = async || {
            let drilled = drilled().await;
            assert_eq!(drilled.verdict, DrillVerdict::Failed, "{drilled:?}");
            drilled.collections[0].problem.clone().unwrap()
        };

        let points = artifacts[0].points_after.unwrap();
        edit(&bench, &id, |m| {
            let artifact = &mut m["collections"][0]["artifacts"][0];
            artifact["points_before"] = json!(points + 1);
            artifact["points_after"] = json!(points + 1);
        });
        let told = problem().await;
        assert!(
            told.contains("shard 1") && told.contains(&format!("expected {}", points + 1)),
            "{told}"
        );
        edit(&bench, &id, |m| {
            let artifact = &mut m["collections"][0]["artifacts"][0];
            artifact["points_before"] = json!(points);
            artifact["points_after"] = json!(points);
        });

        record(&bench, &id, 0, &of_other_vectors(points).await).await;
        let told = problem().await;
        assert!(told.starts_with("shard 1: "), "{told}");
        record(&bench, &id, 0, &whole[..whole.len() - 1024]).await;
        let told = problem().await;
        assert!(told.starts_with("shard 1: the engine failed to open it"), "{told}");
        record(&bench, &id, 0, &whole).await;
        assert_eq!(drilled().await.verdict, DrillVerdict::Passed);
        edit(&bench, &id, |m| {
            m["collections"][0]["artifacts"].as_array_mut().unwrap().remove(0);
        });
        let told = problem().await;
        assert!(told.contains("shard 1"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_is_made_again_between_two_tasks_is_not_mixed() {
    let nodes = Nodes::start(1).await;
    let client = nodes.client();
    keyed(&client, "fine", 1, &[json!("a")]).await;
    keyed(&client, "keyed", 1, &[json!("eu")]).await;
    let dir = tempfile::tempdir().unwrap();
    let mut ends = Vec::new();
    for task in ["0", "1"] {
        if task == "1" {
            // The same again, with other points.
            client.delete("keyed").await.unwrap();
            keyed(&client, "keyed", 1, &[json!("eu")]).await;
            testkit::cluster::upsert(&client, "keyed", Some(&json!("eu")), 90_000, 40).await;
        }
        let mut command = process::task(task, &nodes.url(1), dir.path());
        ends.push(process::finish(command.spawn().unwrap()).await);
    }
    let (code, out, err) = &ends[1];
    assert_eq!((ends[0].0, *code), (Some(0), Some(3)), "{out}{err}");
    let told: Value = serde_json::from_str(out).unwrap();
    let backup = &told["report"]["backup"];
    assert_eq!(backup["status"], "partial", "{backup}");
    assert_eq!(backup["collections"][0]["name"], "fine");
    assert_eq!(
        (&backup["failed"][0]["collection"], &backup["failed"][0]["code"]),
        (&json!("keyed"), &json!("snapshot_changed")),
        "{backup}"
    );
}
