//! What a cluster has is saved and comes back: on one node in cluster mode, and on three. Embedded ones, or the servers that
//! `QDRANT_TEST_NODES` names ([`ClusterPlace`]).

use super::{keys, marks};
use qdrant_backup::base::error::Code;
use qdrant_backup::base::snapshot::ArtifactKind;
use qdrant_backup::ops::backup::{BackupOutcome, BackupReport};
use qdrant_backup::ops::drill::DrillVerdict;
use qdrant_backup::ops::restore::{RestoreOutcome, RestoreReport, RestoreRequest};
use qdrant_backup::repository::catalog::Mark;
use qdrant_backup::repository::manifest::Topology;
use qdrant_backup::repository::unit::SnapshotMode;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use testkit::bench::Bench;
use testkit::cluster::{ClusterPlace, automatic, content, keyed, restore_into};

/// Numbers of nodes.
const SIZES: [usize; 2] = [1, 3];
const SHARDS: u32 = 6;
const POINTS: u64 = 500;

/// A place with a collection of each kind, and a backup of them that is good.
struct Journey {
    place: ClusterPlace,
    bench: Bench,
    report: BackupReport,
}

impl Journey {
    async fn begin(size: usize, mode: SnapshotMode) -> Self {
        let place = ClusterPlace::of(size).await;
        let (client, replicas) = (place.client(), size.min(2) as u32);
        automatic(&client, &place.name("auto"), SHARDS, replicas, POINTS).await;
        keyed(&client, &place.name("keyed"), replicas, &keys()).await;
        let alias = json!({"collection_name": place.name("keyed"), "alias_name": place.name("live")});
        let actions = json!({"actions": [{"create_alias": alias}]});
        client
            .call("POST", "/collections/aliases", Some(actions))
            .await
            .unwrap();
        let bench = place.bench(mode).await;
        let report = place.backup(&bench).await;
        assert_eq!(
            (report.status, report.warnings.as_slice()),
            (BackupOutcome::Complete, &[][..]),
            "{report:?}"
        );
        assert_eq!(marks(&bench).await, [Mark::Good]);
        place.has_only(&["auto", "keyed"]).await;
        Self { place, bench, report }
    }

    async fn restore(&self, request: RestoreRequest) -> RestoreReport {
        let request = RestoreRequest {
            id: self.report.id.to_string(),
            ..request
        };
        let restored = restore_into(&self.bench, self.bench.ctx.qdrant.clone(), request).await;
        let restored = restored.unwrap();
        assert_eq!(restored.status, RestoreOutcome::Complete, "{restored:?}");
        restored
    }

    /// That each node shows the same in `copy` as in the collection that was saved.
    async fn is_as(&self, saved: &str, copy: &str) {
        let expected = content(&self.place.urls[0], &self.place.name(saved)).await;
        for url in &self.place.urls {
            assert_eq!(content(url, copy).await, expected, "{copy} as {url} shows it");
        }
    }
}

fn beside() -> RestoreRequest {
    RestoreRequest {
        into: Some("{}-back".into()),
        ..RestoreRequest::default()
    }
}

#[tokio::test]
async fn a_cluster_is_saved_by_its_shards_and_comes_back_beside_itself() {
    for (size, mode) in SIZES
        .into_iter()
        .flat_map(|size| [(size, SnapshotMode::File), (size, SnapshotMode::Stream)])
    {
        let journey = Journey::begin(size, mode).await;
        let Journey { place, bench, report } = &journey;
        let manifest = bench.manifest(report).await;
        let is_cluster = matches!(&manifest.qdrant.topology, Topology::Cluster { peers } if peers.len() == size);
        assert_eq!(is_cluster, size > 1);
        let mut of_nodes: BTreeMap<u64, usize> = BTreeMap::new();
        for collection in &manifest.collections {
            let by_shards = collection.name == place.name("keyed") || size > 1 || mode == SnapshotMode::Stream;
            let artifacts = &collection.artifacts;
            let distinct: BTreeSet<ArtifactKind> = artifacts.iter().map(|artifact| artifact.kind).collect();
            let expected = if by_shards { SHARDS as usize } else { 1 };
            assert_eq!(
                (artifacts.len(), distinct.len()),
                (expected, expected),
                "each shard once"
            );
            let points = if collection.name == place.name("auto") {
                POINTS
            } else {
                90
            };
            assert_eq!(collection.points_after, points);
            for artifact in artifacts {
                *of_nodes.entry(artifact.node.unwrap()).or_default() += 1;
                bench.artifact(artifact).await;
                assert_eq!(artifact.points_before, artifact.points_after);
                assert_eq!(
                    artifact.snapshot.is_empty(),
                    mode == SnapshotMode::Stream,
                    "{artifact:?}"
                );
            }
        }
        assert_eq!(of_nodes.len(), size, "from each node: {of_nodes:?}");

        journey.restore(beside()).await;
        journey.is_as("auto", &place.name("auto-back")).await;
        journey.is_as("keyed", &place.name("keyed-back")).await;
        place.has_only(&["auto", "auto-back", "keyed", "keyed-back"]).await;
    }
}

#[tokio::test]
async fn a_restore_over_it_brings_back_what_was_lost_and_never_into_other_shard_keys() {
    for size in SIZES {
        let journey = Journey::begin(size, SnapshotMode::File).await;
        let Journey { place, bench, report } = &journey;
        journey.restore(beside()).await;
        let client = place.client();
        for (name, key) in [("auto", Value::Null), ("keyed", json!("eu"))] {
            let mut lost = json!({"points": [0, 1, 2]});
            if !key.is_null() {
                lost["shard_key"] = key;
            }
            let path = format!("/collections/{}/points/delete?wait=true", place.name(name));
            client.call("POST", &path, Some(lost)).await.unwrap();
        }
        let over = RestoreRequest {
            overwrite: true,
            ..RestoreRequest::default()
        };
        journey.restore(over.clone()).await;
        journey.is_as("auto", &place.name("auto-back")).await;
        journey.is_as("keyed", &place.name("keyed-back")).await;

        let more = json!({"shard_key": "more"});
        let path = format!("/collections/{}/shards", place.name("keyed"));
        client.call("PUT", &path, Some(more)).await.unwrap();
        let before = content(&place.urls[0], &place.name("keyed")).await;
        let over = RestoreRequest {
            id: report.id.to_string(),
            ..over
        };
        let refused = restore_into(bench, bench.ctx.qdrant.clone(), over).await.unwrap_err();
        assert_eq!(refused.code(), Code::RestoreRefused, "{refused:?}");
        assert_eq!(content(&place.urls[0], &place.name("keyed")).await, before);
        place.has_only(&["auto", "auto-back", "keyed", "keyed-back"]).await;
    }
}

#[tokio::test]
async fn a_swap_puts_the_restored_one_in_the_place_of_the_live_one() {
    for size in SIZES {
        let journey = Journey::begin(size, SnapshotMode::Stream).await;
        let place = &journey.place;
        let mut request = RestoreRequest {
            swap: true,
            ..RestoreRequest::default()
        };
        request.selection.collections = vec![place.name("keyed")];
        let swapped = journey.restore(request).await;
        let target = swapped.collections[0].target.clone();
        journey.is_as("keyed", &target).await;
        let aliases = place.client().call("GET", "/aliases", None).await.unwrap();
        let mut of_live = aliases["aliases"].as_array().unwrap().iter();
        let live = of_live.find(|alias| alias["alias_name"] == place.name("live"));
        assert_eq!(live.unwrap()["collection_name"], target);
        assert_eq!(swapped.replaced, [place.name("keyed")]);
        assert_eq!(place.client().count(&place.name("live")).await.unwrap(), 90);
        let end = target.strip_prefix(&place.prefix).unwrap();
        place.has_only(&["auto", "keyed", end]).await;
    }
}

#[tokio::test]
async fn a_drill_proves_it_on_the_same_nodes_and_leaves_nothing_there() {
    for (size, mode) in [(1, SnapshotMode::Stream), (3, SnapshotMode::File)] {
        let Journey { place, bench, report } = &Journey::begin(size, mode).await;
        let drilled = bench.drill(report.id).await.unwrap();
        assert_eq!(
            (drilled.verdict, drilled.collections.len()),
            (DrillVerdict::Passed, 2),
            "{drilled:?}"
        );
        assert_eq!(marks(bench).await, [Mark::Good, Mark::Drilled]);
        place.has_only(&["auto", "keyed"]).await;
    }
}

#[tokio::test]
async fn a_restore_makes_as_many_replicas_as_it_is_told() {
    for (size, factor) in [(1, 1), (3, 1), (3, 3)] {
        let journey = Journey::begin(size, SnapshotMode::File).await;
        let place = &journey.place;
        let request = RestoreRequest {
            replication_factor: Some(factor),
            ..beside()
        };
        journey.restore(request).await;
        for name in ["auto", "keyed"] {
            let copy = place.name(&format!("{name}-back"));
            journey.is_as(name, &copy).await;
            let path = format!("/collections/{copy}");
            let made = place.client().call("GET", &path, None).await.unwrap();
            assert_eq!(made["config"]["params"]["replication_factor"], factor);
            let map = place
                .client()
                .call("GET", &format!("{path}/cluster"), None)
                .await
                .unwrap();
            let replicas = ["local_shards", "remote_shards"].map(|list| map[list].as_array().unwrap().len());
            assert_eq!(replicas.iter().sum::<usize>(), (SHARDS * factor) as usize, "{map}");
        }
    }
}
