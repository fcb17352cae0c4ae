//! Clusters and shard keys: what is saved by its shards comes back with all of its points, into whatever arrangement of nodes.

mod bad_input;
mod faults;
mod journeys;

use embedded_qdrant::{Optimizations, Transfer};
use futures_util::FutureExt;
use qdrant_backup::base::error::Code;
use qdrant_backup::ops::backup::BackupOutcome;
use qdrant_backup::ops::restore::{RestoreOutcome, RestoreRequest};
use qdrant_backup::repository::catalog::{self, Mark};
use qdrant_backup::repository::manifest::Topology;
use qdrant_backup::repository::unit::SnapshotMode;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use testkit::bench::Bench;
use testkit::cluster::{Nodes, automatic, content, keyed, node, qdrant, restore_into, upsert};
use testkit::faulty::{Twist, twisted};
use testkit::process;
use testkit::proxy::{Fault, Proxy};
use testkit::sample::Client;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// One transfer: of this shard, from this node to that one.
fn transfer(shard_id: u32, from: u64, to: u64) -> Vec<Transfer> {
    vec![Transfer {
        shard_id,
        from,
        to,
        sync: true,
        method: "stream_records".into(),
    }]
}

fn keys() -> Vec<Value> {
    vec![json!("eu"), json!("us"), json!(17)]
}

fn all_as(into: &str) -> RestoreRequest {
    RestoreRequest {
        id: "latest".into(),
        into: Some(into.into()),
        ..RestoreRequest::default()
    }
}

async fn marks(bench: &Bench) -> Vec<Mark> {
    let now = bench.ctx.clock.now();
    catalog::list(&*bench.ctx.store, 1, now).await.unwrap().remove(0).marks
}

/// What an older version made of a collection with shard keys: one snapshot of all of it.
async fn saved_whole(bench: &Bench, nodes: &Nodes, collection: &str) {
    let report = bench.run().await.unwrap();
    let client = nodes.client();
    let path = format!("/collections/{collection}/snapshots");
    let made = client.call("POST", &path, None).await.unwrap();
    let name = made["name"].as_str().unwrap();
    let url = format!("{}{path}/{name}", nodes.url(1));
    let bytes = client.http.get(url).send().await.unwrap().bytes().await.unwrap();
    let key = format!("backups/{}/{collection}/collection.snapshot", report.id);
    std::fs::write(bench.dir.path().join(&key), &bytes).unwrap();
    let path = bench.dir.path().join(format!("backups/{}/manifest.json", report.id));
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let of = manifest["collections"].as_array_mut().unwrap();
    let artifacts = &mut of.iter_mut().find(|c| c["name"] == collection).unwrap()["artifacts"];
    let mut whole = artifacts[0].clone();
    for counts in ["points_before", "points_after"] {
        whole.as_object_mut().unwrap().remove(counts);
    }
    whole["key"] = key.into();
    whole["kind"] = "collection".into();
    whole["bytes"] = bytes.len().into();
    whole["sha256"] = qdrant_backup::base::hash::sha256_hex(&bytes).into();
    whole["crc32c"] = format!("{:08x}", crc32c::crc32c(&bytes)).into();
    *artifacts = json!([whole]);
    std::fs::write(&path, manifest.to_string()).unwrap();
}

#[tokio::test]
async fn what_an_older_version_saved_whole_is_divided_into_its_shards() {
    let nodes = Nodes::start(1).await;
    keyed(&nodes.client(), "keyed", 1, &keys()).await;
    let bench = nodes.bench().await;
    saved_whole(&bench, &nodes, "keyed").await;
    assert_eq!(marks(&bench).await, [Mark::Good]);
    let target = Nodes::start(3).await;
    for into in [&nodes, &target] {
        let restored = restore_into(&bench, qdrant(&into.urls()), all_as("back"))
            .await
            .unwrap();
        assert_eq!(restored.status, RestoreOutcome::Complete, "{restored:?}");
        for url in into.urls() {
            assert_eq!(content(&url, "back").await, content(&nodes.url(1), "keyed").await);
        }
    }
    // Qdrant's own way answers 200, and the points are gone.
    let key = format!("backups/{}/keyed/collection.snapshot", bench.run().await.unwrap().id);
    assert!(!bench.dir.path().join(key).exists(), "a new one is saved by its shards");
}

#[tokio::test]
async fn a_cluster_comes_back_into_any_arrangement_of_nodes() {
    let nodes = Nodes::start(3).await;
    let client = nodes.client();
    automatic(&client, "auto", 6, 2, 500).await;
    keyed(&client, "keyed", 2, &keys()).await;
    let bench = nodes.bench().await;
    let report = bench.run().await.unwrap();
    assert_eq!(
        (report.status, report.warnings.as_slice()),
        (BackupOutcome::Complete, &[][..])
    );
    let manifest = bench.manifest(&report).await;
    assert_eq!(manifest.qdrant.topology, Topology::Cluster { peers: vec![1, 2, 3] });
    let mut by_node: BTreeMap<u64, usize> = BTreeMap::new();
    for artifact in manifest.collections.iter().flat_map(|c| &c.artifacts) {
        *by_node.entry(artifact.node.unwrap()).or_default() += 1;
    }
    assert!(
        by_node.len() == 3 && by_node.values().all(|n| (3..=5).contains(n)),
        "each shard once, spread over the nodes: {by_node:?}"
    );
    for collection in ["auto", "keyed"] {
        assert_eq!(nodes.left(collection).await, [""; 0]);
    }

    let (two, one) = (Nodes::start(2).await, Nodes::start(1).await);
    for target in [&nodes, &two, &one] {
        let restored = restore_into(&bench, qdrant(&target.urls()), all_as("{}-back"))
            .await
            .unwrap();
        assert_eq!(restored.status, RestoreOutcome::Complete, "{restored:?}");
        for url in target.urls() {
            for collection in ["auto", "keyed"] {
                let back = format!("{collection}-back");
                assert_eq!(content(&url, &back).await, content(&nodes.url(1), collection).await);
            }
        }
        assert_eq!(target.left("auto-back").await, [""; 0]);
    }

    // Without cluster mode there are no shard keys, but shards.
    let (standalone, _data) = node(9, None).await;
    let into = || qdrant(&[standalone.url()]);
    let refused = restore_into(&bench, into(), all_as("{}-back")).await.unwrap_err();
    assert_eq!(refused.code(), Code::RestoreRefused, "{refused:?}");
    let mut only = all_as("{}-back");
    only.selection.collections = vec!["auto".into()];
    let restored = restore_into(&bench, into(), only).await.unwrap();
    assert_eq!(restored.status, RestoreOutcome::Complete, "{restored:?}");
    assert_eq!(
        content(&standalone.url(), "auto-back").await,
        content(&nodes.url(1), "auto").await
    );
}

#[tokio::test]
async fn what_a_single_node_saved_goes_into_a_cluster_with_another_number_of_replicas() {
    let (single, _data) = node(1, None).await;
    let client = Client::new(single.url(), None);
    automatic(&client, "auto", 3, 1, 300).await;
    let bench = Bench::new(&single.url()).await;
    assert_eq!(bench.run().await.unwrap().status, BackupOutcome::Complete);
    let nodes = Nodes::start(3).await;
    let request = RestoreRequest {
        replication_factor: Some(3),
        ..all_as("back")
    };
    let restored = restore_into(&bench, qdrant(&nodes.urls()), request).await.unwrap();
    assert_eq!(restored.status, RestoreOutcome::Complete, "{restored:?}");
    for url in nodes.urls() {
        assert_eq!(content(&url, "back").await, content(&single.url(), "auto").await);
        let map = Client::new(&url, None)
            .call("GET", "/collections/back/cluster", None)
            .await
            .unwrap();
        assert_eq!(
            map["local_shards"].as_array().unwrap().len(),
            3,
            "each shard on each node: {map}"
        );
    }
}

#[tokio::test]
async fn a_shard_is_not_saved_while_it_is_optimized() {
    let nodes = Nodes::start(1).await;
    keyed(&nodes.client(), "keyed", 1, &[json!("a")]).await;
    let optimizer = &nodes.nodes[0].0;
    let (idle, busy) = (
        Optimizations::default(),
        Optimizations {
            running: 1,
            completed: 0,
        },
    );
    let done = Optimizations {
        running: 0,
        completed: 1,
    };
    let mut bench = nodes.bench().await;
    bench.ctx.settings.concurrency = 1;
    // One is at work; it ends; one begins under the first snapshot and has ended after it.
    optimizer.script_optimizations("keyed", [busy, idle, done]);
    let report = bench.run().await.unwrap();
    assert_eq!(
        (report.status, report.warnings.as_slice()),
        (BackupOutcome::Complete, &[][..])
    );
    assert_eq!(marks(&bench).await, [Mark::Good]);
    assert_eq!(nodes.left("keyed").await, [""; 0]);

    // It never rests: saved all the same, and good once a drill has counted it.
    optimizer.script_optimizations("keyed", [busy]);
    bench.ctx.settings.settle = Duration::ZERO;
    let report = bench.run().await.unwrap();
    assert_eq!(
        (report.status, report.warnings.len()),
        (BackupOutcome::Complete, 1),
        "{report:?}"
    );
    assert_eq!(report.unproven, ["keyed"]);
    let manifest = bench.manifest(&report).await;
    assert!(
        manifest.collections[0]
            .artifacts
            .iter()
            .all(|artifact| artifact.optimizing)
    );
    assert_eq!(marks(&bench).await, [Mark::Unproven]);
    bench.drill(report.id).await.unwrap();
    assert_eq!(marks(&bench).await, [Mark::Good, Mark::Drilled]);
}

#[tokio::test]
async fn a_cluster_is_streamed_and_comes_back_and_no_node_makes_a_file() {
    let nodes = Nodes::start(3).await;
    let client = nodes.client();
    automatic(&client, "auto", 6, 2, 500).await;
    keyed(&client, "keyed", 2, &keys()).await;
    // Each shard of a node passes its proxy.
    let mut proxies = Vec::new();
    for url in nodes.urls() {
        proxies.push(Proxy::before(&url).await);
    }
    let urls: Vec<_> = proxies.iter().map(|proxy| proxy.url.clone()).collect();
    let mut bench = nodes.bench().await;
    bench.ctx.qdrant = qdrant(&urls);
    bench.ctx.settings.mode = SnapshotMode::Stream;
    // One of each kind on its way.
    proxies[1].on("GET /collections/auto/shards/1/snapshot", [Fault::CleanEnd(4096)]);
    proxies[2].on("GET /collections/auto/shards/2/snapshot", [Fault::Cut(4096)]);
    let report = bench.run().await.unwrap();
    assert_eq!(
        (report.status, report.warnings.as_slice()),
        (BackupOutcome::Complete, &[][..])
    );
    assert_eq!(marks(&bench).await, [Mark::Good]);
    let manifest = bench.manifest(&report).await;
    let artifacts: Vec<_> = manifest.collections.iter().flat_map(|c| &c.artifacts).collect();
    assert!(
        artifacts
            .iter()
            .all(|a| a.snapshot.is_empty() && a.node.is_some() && !a.optimizing)
    );
    assert_eq!(artifacts.len(), 12);
    for proxy in &proxies {
        assert_eq!(proxy.requests("/snapshots"), 0, "no file is made or looked for");
        assert!(proxy.requests("/snapshot") >= 3, "the load is spread");
    }
    for target in [&nodes, &Nodes::start(1).await] {
        let restored = restore_into(&bench, qdrant(&target.urls()), all_as("{}-back"))
            .await
            .unwrap();
        assert_eq!(restored.status, RestoreOutcome::Complete, "{restored:?}");
        for collection in ["auto", "keyed"] {
            let back = format!("{collection}-back");
            assert_eq!(
                content(&target.url(1), &back).await,
                content(&nodes.url(1), collection).await
            );
        }
    }
}

#[tokio::test]
async fn a_stream_under_which_qdrant_hides_the_segments_is_of_the_same_collection() {
    // Of one shard, and of two that are streamed at once; more than connections take without being read.
    for shards in [1, 2] {
        let nodes = Nodes::start(1).await;
        let client = nodes.client();
        automatic(&client, "auto", shards, 1, 20).await;
        let noise = testkit::source::noise(1 << 20, 1);
        let text: String = noise.iter().map(|byte| char::from(b'a' + byte % 26)).collect();
        for id in 100..116 {
            let point = json!({"id": id, "vector": [1, 2, 3, 4], "payload": {"text": text}});
            let body = json!({ "points": [point] });
            client
                .call("PUT", "/collections/auto/points?wait=true", Some(body))
                .await
                .unwrap();
        }
        let mut bench = nodes.bench().await;
        bench.ctx.settings.mode = SnapshotMode::Stream;
        bench.ctx.settings.attempts = 1;
        let report = bench.run().await.unwrap();
        assert_eq!(report.status, BackupOutcome::Complete, "{report:?}");
        assert_eq!((report.collections[0].points, report.warnings.len()), (36, 0));
        let keys = bench.keys().await;
        let objects = keys.iter().filter(|key| key.ends_with(".snapshot"));
        assert_eq!(objects.count(), shards as usize, "each was streamed once: {keys:?}");
    }
}

#[tokio::test]
async fn a_shard_of_a_cluster_that_never_rests_is_unproven_in_any_mode() {
    // There is no snapshot of a whole collection in a cluster.
    for mode in [SnapshotMode::Stream, SnapshotMode::Auto] {
        let nodes = Nodes::start(2).await;
        automatic(&nodes.client(), "auto", 2, 1, 20).await;
        let busy = Optimizations {
            running: 1,
            completed: 0,
        };
        nodes.nodes[0].0.script_optimizations("auto", [busy]);
        let mut bench = nodes.bench().await;
        bench.ctx.settings.mode = mode;
        bench.ctx.settings.settle = Duration::ZERO;
        let report = bench.run().await.unwrap();
        let manifest = bench.manifest(&report).await;
        let artifacts = &manifest.collections[0].artifacts;
        assert!(artifacts.iter().all(|artifact| artifact.optimizing), "{artifacts:?}");
        assert_eq!(artifacts[0].snapshot.is_empty(), mode == SnapshotMode::Stream);
        assert_eq!(marks(&bench).await, [Mark::Unproven]);
        assert_eq!(nodes.left("auto").await, [""; 0]);
    }
}

#[tokio::test]
async fn a_node_without_room_has_its_shards_streamed_and_the_others_none() {
    let nodes = Nodes::start(2).await;
    automatic(&nodes.client(), "auto", 2, 1, 200).await;
    let full = Proxy::before(&nodes.url(2)).await;
    let no_room = Fault::Answer(500, "No space left on device (os error 28)");
    for shard in [0, 1] {
        let request = format!("POST /collections/auto/shards/{shard}/snapshots");
        full.on(&request, [no_room.clone()]);
    }
    let mut bench = nodes.bench().await;
    bench.ctx.qdrant = qdrant(&[nodes.url(1), full.url.clone()]);
    bench.ctx.settings.mode = SnapshotMode::Auto;
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Complete, "{report:?}");
    let manifest = bench.manifest(&report).await;
    for artifact in &manifest.collections[0].artifacts {
        assert_eq!(artifact.snapshot.is_empty(), artifact.node == Some(2), "{artifact:?}");
    }
    assert_eq!((report.collections[0].points, report.collections[0].streamed), (200, 1));
    assert_eq!(marks(&bench).await, [Mark::Good]);
}

#[tokio::test]
async fn a_collection_that_is_made_again_under_a_backup_is_not_mixed_with_the_one_before() {
    // The same again, another configuration, and the same for good.
    for (size, times) in [(4, 1), (8, 1), (4, 9)] {
        let nodes = Nodes::start(1).await;
        keyed(&nodes.client(), "keyed", 1, &keys()).await;
        let mut bench = nodes.bench().await;
        bench.ctx.settings.concurrency = 1;
        let (client, left) = (nodes.client(), Arc::new(AtomicUsize::new(times)));
        let remade = move || {
            let client = client.clone();
            async move {
                client.delete("keyed").await.unwrap();
                let body = json!({"vectors": {"size": size, "distance": "Dot"}, "sharding_method": "custom"});
                client.call("PUT", "/collections/keyed", Some(body)).await.unwrap();
                // With the shards of before, and other points.
                for (key, shards) in [("eu", 2), ("gone", 3), ("us", 2)] {
                    let body = json!({"shard_key": key, "shards_number": shards});
                    client
                        .call("PUT", "/collections/keyed/shards", Some(body))
                        .await
                        .unwrap();
                }
                let body = json!({"shard_key": 17, "shards_number": 2});
                client
                    .call("PUT", "/collections/keyed/shards", Some(body))
                    .await
                    .unwrap();
                let body = json!({"shard_key": "gone"});
                client
                    .call("POST", "/collections/keyed/shards/delete", Some(body))
                    .await
                    .unwrap();
                let index = json!({"field_name": "n", "field_schema": "integer"});
                client
                    .call("PUT", "/collections/keyed/index?wait=true", Some(index))
                    .await
                    .unwrap();
                if size == 4 {
                    upsert(&client, "keyed", Some(&json!("us")), 90_000, 40).await;
                }
            }
        };
        // Between the first shard and the others, in each of the tries.
        bench.ctx.store = twisted(&bench.ctx.store.clone(), move |key| {
            let is_first = key.contains("/keyed/shard-1.") || key.contains("/keyed/shard-1-");
            let again = is_first && left.try_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok();
            match again {
                true => Twist::After(remade().boxed()),
                false => Twist::None,
            }
        });
        let report = bench.run().await.unwrap();
        if times > 1 {
            assert_eq!(report.status, BackupOutcome::Failed, "{report:?}");
            assert_eq!(report.failed[0].error.code, "snapshot_changed", "{report:?}");
            continue;
        }
        assert_eq!(report.status, BackupOutcome::Complete, "{report:?}");
        let points = if size == 4 { 40 } else { 0 };
        assert_eq!(
            report.collections[0].points, points,
            "of the later one alone: {report:?}"
        );
        let restored = restore_into(&bench, bench.ctx.qdrant.clone(), all_as("back"))
            .await
            .unwrap();
        assert_eq!(restored.status, RestoreOutcome::Complete, "{restored:?}");
        let url = nodes.url(1);
        assert_eq!(content(&url, "back").await, content(&url, "keyed").await);
    }
}

#[tokio::test]
async fn a_manifest_that_lacks_a_shard_is_damaged() {
    let nodes = Nodes::start(1).await;
    keyed(&nodes.client(), "keyed", 1, &keys()).await;
    let bench = nodes.bench().await;
    let report = bench.run().await.unwrap();
    let verify = |args: &[&str]| process::command(&[&["verify"], args].concat(), &nodes.url(1), bench.dir.path());
    let id = report.id.to_string();
    let (code, out, err) = process::finish(verify(&[&id]).spawn().unwrap()).await;
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(marks(&bench).await, [Mark::Good, Mark::Verified]);
    let path = bench.dir.path().join(format!("backups/{id}/manifest.json"));
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    manifest["collections"][0]["artifacts"]
        .as_array_mut()
        .unwrap()
        .remove(2);
    std::fs::write(&path, manifest.to_string()).unwrap();
    assert_eq!(marks(&bench).await, [Mark::Damaged], "whoever lists it sees it at once");
    let shown = process::command(&["show", &report.id.to_string()], &nodes.url(1), bench.dir.path());
    let (_, out, _) = process::finish({ shown }.spawn().unwrap()).await;
    assert!(
        out.contains("DAMAGED  collection \"keyed\" has no object of its shard"),
        "{out}"
    );
    let listed = process::command(&["list"], &nodes.url(1), bench.dir.path());
    let (_, out, _) = process::finish({ listed }.spawn().unwrap()).await;
    assert!(out.contains("no object of its shard"), "{out}");
    let (code, out, err) = process::finish(verify(&[&id, "--json"]).spawn().unwrap()).await;
    assert_eq!(code, Some(9), "{out}{err}");
    assert_eq!(marks(&bench).await, [Mark::Damaged]);
}

#[tokio::test]
async fn what_may_be_stale_fails_alone_and_a_stale_replica_beside_it_is_told() {
    let nodes = Nodes::start(2).await;
    let client = nodes.client();
    for name in ["dead", "fine", "moving", "resharded"] {
        automatic(&client, name, 1, 2, 20).await;
    }
    nodes.cluster.set_state("dead", 0, 1, "Dead");
    nodes.cluster.set_state("dead", 0, 2, "Partial");
    nodes.cluster.set_state("fine", 0, 1, "Dead");
    nodes.cluster.set_transfers("moving", transfer(0, 1, 2));
    nodes
        .cluster
        .set_resharding("resharded", Some(json!([{"direction": "up", "shard_id": 0}])));
    let bench = nodes.bench().await;
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Partial);
    let failed: Vec<_> = report
        .failed
        .iter()
        .map(|f| (f.collection.as_str(), f.error.code.as_str()))
        .collect();
    let unsupported = ["dead", "moving", "resharded"].map(|name| (name, "unsupported"));
    assert_eq!(failed, unsupported, "{report:?}");
    let manifest = bench.manifest(&report).await;
    assert_eq!(manifest.collections[0].name, "fine");
    assert_eq!(
        manifest.collections[0].artifacts[0].node,
        Some(2),
        "from the replica that is Active"
    );
    assert_eq!(
        manifest.collections[0].warnings.len(),
        1,
        "{:?}",
        manifest.collections[0].warnings
    );
}

#[tokio::test]
async fn replicas_that_differ_are_told_with_their_numbers() {
    let nodes = Nodes::start(2).await;
    automatic(&nodes.client(), "auto", 1, 2, 20).await;
    // One missed a write, as after qdrant#9578.
    nodes.cluster.set_state("auto", 0, 2, "Dead");
    upsert(&nodes.client(), "auto", None, 100, 5).await;
    nodes.cluster.set_state("auto", 0, 2, "Active");
    let bench = nodes.bench().await;
    let report = bench.run().await.unwrap();
    let warning = report
        .warnings
        .iter()
        .find(|w| w.contains("peer 1") && w.contains("peer 2"));
    assert!(
        warning.is_some_and(|w| w.contains("25") && w.contains("20")),
        "{:?}",
        report.warnings
    );
}

#[tokio::test]
async fn what_a_killed_run_left_on_a_node_is_removed_there_and_nothing_else() {
    let nodes = Nodes::start(2).await;
    automatic(&nodes.client(), "auto", 2, 2, 20).await;
    let bench = nodes.bench().await;
    let at = OffsetDateTime::now_utc();
    // On both nodes there is one of that shard and that second; the run asked the second node.
    let path = "/collections/auto/shards/1/snapshots";
    for peer in [1, 2] {
        Client::new(nodes.url(peer), None)
            .call("POST", path, None)
            .await
            .unwrap();
    }
    let intent = json!({
        "run": "2026-11-01T00-00-00Z", "collection": "auto", "shard": 1, "node": 2, "qdrant": "http://10.9.9.9:6333",
        "existing": [], "requested_at": at.format(&Rfc3339).unwrap(), "within_seconds": 5,
    });
    let key = bench
        .dir
        .path()
        .join("intents/2026-11-01T00-00-00Z/auto.shard-1-1.json");
    std::fs::create_dir_all(key.parent().unwrap()).unwrap();
    std::fs::write(&key, intent.to_string()).unwrap();
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Complete, "{report:?}");
    assert!(!key.exists(), "{report:?}");
    let left = async |peer| {
        Client::new(nodes.url(peer), None)
            .call("GET", path, None)
            .await
            .unwrap()
    };
    assert_eq!(left(2).await, json!([]));
    assert_eq!(left(1).await.as_array().unwrap().len(), 1, "somebody else's");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tasks_of_a_job_share_the_shards_of_one_collection() {
    let nodes = Nodes::start(2).await;
    automatic(&nodes.client(), "auto", 4, 1, 200).await;
    let dir = tempfile::tempdir().unwrap();
    let mut reports = Vec::new();
    for task in ["0", "1"] {
        let mut command = process::task(task, &nodes.url(1), dir.path());
        command.env("QDRANT_NODES", nodes.urls().join(","));
        let (code, out, err) = process::finish(command.spawn().unwrap()).await;
        assert_eq!(code, Some(0), "{out}{err}");
        reports.push(serde_json::from_str::<Value>(&out).unwrap());
    }
    let saved = |report: &Value| report["saved"].as_array().unwrap().len();
    assert_eq!([saved(&reports[0]), saved(&reports[1])], [2, 2], "{reports:?}");
    let backup = &reports[1]["backup"];
    assert_eq!(
        (&backup["status"], &backup["collections"][0]["points"]),
        (&json!("complete"), &json!(200)),
        "{backup}"
    );
}
