//! Nodes, keys and targets that cannot be right: each is told as what it is, with what to do, and changes nothing on any node.

use super::transfer;
use crate::screens::holds;
use embedded_qdrant::Cluster;
use qdrant_backup::base::error::{Code, Error};
use qdrant_backup::ops::backup::BackupReport;
use qdrant_backup::ops::restore::RestoreRequest;
use qdrant_backup::repository::unit::SnapshotMode;
use qdrant_backup::wire::qdrant::{NodeAddresses, Qdrant};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use testkit::bench::Bench;
use testkit::cluster::{Nodes, automatic, content, keyed, left, node, qdrant, qdrant_with, restore_into};
use testkit::proxy::{Fault, Proxy};

/// The table, and what is written for what differs from run to run.
struct Table {
    lines: String,
    /// Inputs of which something else was said.
    wrong: Vec<String>,
    names: Vec<(String, String)>,
}

impl Table {
    fn new() -> Self {
        Self {
            lines: "| input | code | exit | what is said | remedy |\n|---|---|---|---|---|\n".to_owned(),
            wrong: Vec::new(),
            names: Vec::new(),
        }
    }

    /// That each was told as it should be, in these words.
    #[track_caller]
    fn holds(&self, name: &str) {
        assert_eq!(self.wrong, [""; 0]);
        holds(name, &self.lines);
    }

    fn call(&mut self, urls: &[String], name: &str) {
        for (url, number) in urls.iter().zip(1..) {
            self.names.push((url.clone(), format!("http://{name}-{number}")));
        }
    }

    fn row(&mut self, input: &str, (code, exit): (&str, u8), said: &str, remedy: &str) {
        // What the system says of names and connections is its own.
        let foreign = ["error sending request", "failed to lookup address"];
        let end = foreign.iter().filter_map(|cause| said.find(cause)).min();
        let said = end.map_or(said.to_owned(), |end| format!("{}…", &said[..end]));
        let mut told = format!("{said} | {remedy}");
        for (url, name) in &self.names {
            told = told.replace(url, name);
        }
        self.lines += &format!("| {input} | {code} | {exit} | {told} |\n");
    }

    /// Of an error, which has a remedy.
    fn refused(&mut self, input: &str, error: &Error) {
        let code = error.code().to_string();
        self.row(
            input,
            (&code, error.exit_code()),
            &error.chain(),
            error.remedy_text().unwrap(),
        );
    }
}

/// Everything on these nodes, and that no snapshot is among it.
async fn all_of(urls: &[String]) -> BTreeMap<String, (BTreeMap<String, Value>, Vec<Value>)> {
    let mut all = BTreeMap::new();
    for url in urls {
        for name in qdrant(std::slice::from_ref(url)).collections().await.unwrap() {
            assert_eq!(left(std::slice::from_ref(url), &name).await, [""; 0], "{name} at {url}");
            all.insert(format!("{name} at {url}"), content(url, &name).await);
        }
    }
    all
}

/// Whether nothing is in the store but what tells of earlier runs.
async fn is_empty(bench: &Bench) -> bool {
    let keys = bench.keys().await;
    let left = |key: &String| key.ends_with(".snapshot") || key.starts_with("intents/");
    bench.has_no_backup().await && !keys.iter().any(left)
}

/// A backup by these nodes; what it came to.
async fn backup(qdrant: Qdrant, mode: SnapshotMode) -> (Bench, Result<BackupReport, Error>) {
    let mut bench = Bench::new(&qdrant.url()).await;
    bench.ctx.qdrant = qdrant;
    bench.ctx.settings.mode = mode;
    let result = bench.run().await;
    (bench, result)
}

/// A backup that is refused as a whole, and leaves everything as it was.
async fn refused(table: &mut Table, input: &str, qdrant: Qdrant, mode: SnapshotMode, code: Code) {
    let (bench, result) = backup(qdrant, mode).await;
    let error = match result {
        Err(error) if error.code() == code && error.remedy_text().is_some() => error,
        other => return table.wrong.push(format!("{input}: {other:?}")),
    };
    assert!(is_empty(&bench).await, "{input}: {:?}", bench.keys().await);
    table.refused(input, &error);
}

#[tokio::test]
async fn nodes_that_are_not_exactly_those_of_the_cluster_are_refused() {
    let mut nodes = Nodes::start(3).await;
    automatic(&nodes.client(), "auto", 2, 1, 10).await;
    let (other, _other) = node(99, Some(Cluster::new())).await;
    let (standalone, _data) = node(9, None).await;
    let balanced = Proxy::balancing(nodes.urls()).await.url;
    let before = all_of(&nodes.urls()).await;
    let [one, two, three] = nodes.urls().try_into().unwrap();
    let (another, none) = (other.url(), standalone.url());
    let mut table = Table::new();
    table.call(&nodes.urls(), "node");
    for (url, name) in [(&another, "foreign"), (&none, "single"), (&balanced, "balancer")] {
        table.call(std::slice::from_ref(url), name);
    }
    let (unsupported, invalid) = (Code::Unsupported, Code::ConfigInvalid);
    let rows = [
        ("no list of a cluster's nodes", vec![&one], unsupported),
        ("a list without one of them", vec![&one, &two], invalid),
        ("one of them twice", vec![&one, &two, &two], invalid),
        ("a load balancer among them", vec![&one, &two, &balanced], invalid),
        ("a node of another cluster", vec![&one, &two, &three, &another], invalid),
        ("a node of no cluster", vec![&one, &two, &three, &none], invalid),
        ("several that are no cluster", vec![&none, &one], invalid),
    ];
    for (input, urls, code) in rows {
        let urls: Vec<String> = urls.into_iter().cloned().collect();
        refused(&mut table, input, qdrant(&urls), SnapshotMode::File, code).await;
    }
    let nowhere = "a".repeat(64);
    let by_name = qdrant_with(&nodes.urls(), |options| {
        options.nodes = NodeAddresses::Dns {
            // Longer than a name can be, so that nobody is asked for it.
            host: nowhere.clone(),
            port: 6333,
        };
    });
    table.names.push((nowhere, "qdrant-headless".to_owned()));
    let unreachable = Code::QdrantUnreachable;
    refused(
        &mut table,
        "a DNS name without records",
        by_name,
        SnapshotMode::File,
        unreachable,
    )
    .await;

    let (code, input) = (Code::QdrantForbidden, "a key that may not read the cluster status");
    for of in ["", " of one node"] {
        let hides = Proxy::before(&one).await;
        hides.on("GET /cluster", vec![Fault::Answer(403, "Forbidden"); 99]);
        table
            .names
            .push((hides.url.clone(), format!("http://hidden{}", of.replace(' ', "-"))));
        let mut urls = vec![hides.url, two.clone(), three.clone()];
        if !of.is_empty() {
            urls.rotate_left(1);
        }
        refused(
            &mut table,
            &format!("{input}{of}"),
            qdrant(&urls),
            SnapshotMode::File,
            code,
        )
        .await;
    }

    assert_eq!(all_of(&nodes.urls()).await, before);
    nodes.cluster.add_peer(77, "");
    refused(
        &mut table,
        "a peer without URL",
        qdrant(&nodes.urls()),
        SnapshotMode::File,
        invalid,
    )
    .await;
    let urls = nodes.urls();
    nodes.end(3).await;
    refused(
        &mut table,
        "a node that is down",
        qdrant(&urls),
        SnapshotMode::File,
        unreachable,
    )
    .await;
    let mut told: Vec<&str> = table.lines.lines().filter_map(|line| line.split('|').nth(4)).collect();
    let rows = told.len();
    told.sort_unstable();
    told.dedup();
    assert_eq!(told.len(), rows, "each is told as what it is");
    table.holds("nodes_that_are_not_those_of_the_cluster");
}

#[tokio::test]
async fn shards_and_releases_of_which_no_backup_can_be_right_are_told() {
    let mut table = Table::new();
    let mixed = Nodes::of_releases(&["1.18.3", "1.16.3"]).await;
    automatic(&mixed.client(), "auto", 2, 1, 10).await;
    table.call(&mixed.urls(), "node");
    let (input, code) = ("nodes of two releases, by streams", Code::Unsupported);
    refused(&mut table, input, qdrant(&mixed.urls()), SnapshotMode::Stream, code).await;
    let (_bench, result) = backup(qdrant(&mixed.urls()), SnapshotMode::File).await;
    let report = result.unwrap();
    assert!(report.error().is_none() && report.warnings.len() == 1, "{report:?}");
    let (what, remedy) = report.warnings[0].rsplit_once("; ").unwrap();
    table.row(
        "nodes of two releases, by files",
        ("saved, with a warning", 0),
        what,
        remedy,
    );

    for input in [
        "a shard without an Active replica",
        "a shard in a transfer",
        "a collection that is resharded",
    ] {
        for mode in [SnapshotMode::File, SnapshotMode::Stream] {
            let nodes = Nodes::start(2).await;
            automatic(&nodes.client(), "auto", 2, 2, 20).await;
            let before = all_of(&nodes.urls()).await;
            match input {
                "a shard without an Active replica" => {
                    nodes.cluster.set_state("auto", 0, 1, "Dead");
                    nodes.cluster.set_state("auto", 0, 2, "Partial");
                }
                "a shard in a transfer" => nodes.cluster.set_transfers("auto", transfer(0, 1, 2)),
                _ => nodes
                    .cluster
                    .set_resharding("auto", Some(json!([{"direction": "up", "shard_id": 0}]))),
            }
            let (bench, result) = backup(qdrant(&nodes.urls()), mode).await;
            let report = result.unwrap();
            let [failure] = report.failed.as_slice() else {
                panic!("{report:?}")
            };
            let error = &failure.error;
            assert_eq!(error.code, "unsupported", "{input}: {report:?}");
            assert!(is_empty(&bench).await, "{input}: {:?}", bench.keys().await);
            let exit = report.error().unwrap().exit_code();
            if mode == SnapshotMode::File {
                let remedy = error.remedy.as_deref().unwrap();
                table.row(input, (&error.code, exit), &error.message, remedy);
            }
            for (peer, state) in [(1, "Active"), (2, "Active")] {
                nodes.cluster.set_state("auto", 0, peer, state);
            }
            assert_eq!(all_of(&nodes.urls()).await, before);
        }
    }
    table.holds("shards_of_which_no_backup_can_be_right");
}

/// A restore that is refused, and leaves everything as it was.
async fn not_restored(
    table: &mut Table,
    input: &str,
    bench: &Bench,
    into: &[String],
    request: RestoreRequest,
    code: Code,
) {
    let before = all_of(into).await;
    let error = match restore_into(bench, qdrant(into), request).await {
        Err(error) if error.code() == code && error.remedy_text().is_some() => error,
        other => return table.wrong.push(format!("{input}: {other:?}")),
    };
    assert_eq!(all_of(into).await, before, "{input}");
    table.refused(input, &error);
}

fn over(collection: &str) -> RestoreRequest {
    let mut request = RestoreRequest {
        id: "latest".into(),
        overwrite: true,
        ..RestoreRequest::default()
    };
    request.selection.collections = vec![collection.to_owned()];
    request
}

#[tokio::test]
async fn targets_that_cannot_hold_what_was_saved_are_refused_untouched() {
    let nodes = Nodes::start(3).await;
    automatic(&nodes.client(), "auto", 2, 2, 50).await;
    keyed(&nodes.client(), "keyed", 2, &super::keys()).await;
    let bench = nodes.bench().await;
    bench.run().await.unwrap();
    let (refused, mut table) = (Code::RestoreRefused, Table::new());
    table.call(&nodes.urls(), "node");

    let input = "a cluster whose nodes are not named";
    let of_three = &nodes.urls()[..1];
    not_restored(&mut table, input, &bench, of_three, over("keyed"), Code::Unsupported).await;
    for factor in [4, 5] {
        let request = RestoreRequest {
            replication_factor: Some(factor),
            into: Some("{}-back".into()),
            ..over("auto")
        };
        let input = format!("{factor} replicas on 3 nodes");
        not_restored(&mut table, &input, &bench, &nodes.urls(), request, refused).await;
    }
    nodes.cluster.set_transfers("auto", transfer(0, 1, 2));
    let input = "over a shard that is in a transfer";
    not_restored(&mut table, input, &bench, &nodes.urls(), over("auto"), refused).await;
    nodes.cluster.set_transfers("auto", Vec::new());
    let resharding = json!([{"direction": "up", "shard_id": 0}]);
    nodes.cluster.set_resharding("keyed", Some(resharding));
    let input = "over a collection that is resharded";
    not_restored(&mut table, input, &bench, &nodes.urls(), over("keyed"), refused).await;
    nodes.cluster.set_resharding("keyed", None);

    // Another cluster that has collections of these names.
    let others = Nodes::start(2).await;
    table.call(&others.urls(), "other");
    keyed(&others.client(), "auto", 1, &[json!("a")]).await;
    automatic(&others.client(), "keyed", 2, 1, 20).await;
    for (input, collection) in [
        ("over one with shard keys", "auto"),
        ("with shard keys, over one without", "keyed"),
    ] {
        let request = RestoreRequest {
            other_source: true,
            ..over(collection)
        };
        not_restored(&mut table, input, &bench, &others.urls(), request, refused).await;
    }
    for name in ["auto", "keyed"] {
        others.client().delete(name).await.unwrap();
    }
    automatic(&others.client(), "auto", 3, 1, 20).await;
    let request = RestoreRequest {
        other_source: true,
        ..over("auto")
    };
    let input = "over one with another number of shards";
    not_restored(&mut table, input, &bench, &others.urls(), request, refused).await;

    let mixed = Nodes::of_releases(&["1.18.3", "1.18.2"]).await;
    table.call(&mixed.urls(), "mixed");
    let input = "a cluster with a node of an older release";
    not_restored(&mut table, input, &bench, &mixed.urls(), over("auto"), refused).await;
    let (single, _data) = node(9, None).await;
    let single = [single.url()];
    table.call(&single, "single");
    let input = "with shard keys, into one without cluster mode";
    not_restored(&mut table, input, &bench, &single, over("keyed"), refused).await;
    table.holds("targets_that_cannot_hold_what_was_saved");
}
