//! Restores through the HTTP service and the shipped binary, from both stores: what was deleted comes back equal, nothing is
//! overwritten unasked, aliases are set, moved and swapped.
//!
//! The Qdrant is the embedded node, or the server that `QDRANT_TEST_URL` (and `QDRANT_TEST_API_KEY`) names.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use embedded_qdrant::{Node, NodeOptions};
use gcs_emulator::Emulator;
use serde_json::{Value, json};
use support::process::{command, finish};
use support::sample::{Client, Sample, fill};
use support::service::Service;
use tempfile::TempDir;

/// A Qdrant with the sample collections, a service that backs it up, and a backup.
struct Live {
    client: Client,
    prefix: String,
    samples: Vec<Sample>,
    service: Service,
    id: String,
    node: Option<(Node, TempDir)>,
}

async fn node() -> (Client, Node, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let options = NodeOptions {
        api_key: Some("full".into()),
        read_only_key: Some("read".into()),
        ..NodeOptions::new(dir.path())
    };
    let node = Node::start(options).await.unwrap();
    (Client::new(node.url(), Some("full")), node, dir)
}

impl Live {
    async fn start(store: &[(&str, &str)]) -> Self {
        let prefix = format!("t{}-", uuid::Uuid::new_v4().simple());
        let (client, node) = match std::env::var("QDRANT_TEST_URL") {
            Ok(url) => {
                let key = std::env::var("QDRANT_TEST_API_KEY").ok();
                (Client::new(url.trim_end_matches('/'), key.as_deref()), None)
            }
            Err(_) => {
                let (client, node, dir) = node().await;
                (client, Some((node, dir)))
            }
        };
        let samples = fill(&client, &prefix, 50).await.unwrap();
        let include = format!("{prefix}*");
        let mut env = vec![("QDRANT_URL", client.url.as_str()), ("BACKUP_INCLUDE", &include)];
        env.extend(client.key.as_deref().map(|key| ("QDRANT_API_KEY", key)));
        env.extend(store);
        let service = Service::start(&env).await;
        let (status, report) = service.post("/backup", "{}").await;
        assert_eq!(status, 200, "{report}");
        let id = report["id"].as_str().unwrap().to_owned();
        Self {
            client,
            prefix,
            samples,
            service,
            id,
            node,
        }
    }

    fn sample(&self, name: &str) -> &Sample {
        self.samples.iter().find(|s| s.name.ends_with(name)).unwrap()
    }

    async fn restore(&self, request: Value) -> (u16, Value) {
        let mut body = json!({"id": self.id});
        body.as_object_mut()
            .unwrap()
            .extend(request.as_object().unwrap().clone());
        self.service.post("/restore", &body.to_string()).await
    }

    async fn restored(&self, request: Value) -> Value {
        let (status, report) = self.restore(request).await;
        assert_eq!((status, report["status"].as_str()), (200, Some("complete")), "{report}");
        report
    }

    async fn answers(&self, sample: &Sample, collection: &str) -> Vec<Value> {
        let mut answers = Vec::new();
        for search in &sample.searches {
            answers.push(self.client.search(collection, search).await.unwrap());
        }
        answers
    }

    /// Alias to collection, of this test's collections.
    async fn aliases(&self) -> Vec<(String, String)> {
        let all = self.client.call("GET", "/aliases", None).await.unwrap();
        let pair = |a: &Value| {
            (
                a["alias_name"].as_str().unwrap().to_owned(),
                a["collection_name"].as_str().unwrap().to_owned(),
            )
        };
        all["aliases"]
            .as_array()
            .unwrap()
            .iter()
            .map(pair)
            .filter(|(a, _)| a.starts_with(&self.prefix))
            .collect()
    }

    /// Collections of this test.
    async fn collections(&self) -> Vec<String> {
        let all = self.client.call("GET", "/collections", None).await.unwrap();
        let mut names: Vec<_> = all["collections"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["name"].as_str().unwrap().to_owned())
            .collect();
        names.retain(|n| n.contains(&self.prefix));
        names.sort();
        names
    }

    async fn end(self) {
        for name in self.collections().await {
            // What a restore uploaded is not left behind.
            let snapshots = self
                .client
                .call("GET", &format!("/collections/{name}/snapshots"), None)
                .await
                .unwrap();
            assert_eq!(snapshots, json!([]), "{name}");
            self.client.delete(&name).await.unwrap();
        }
        if let Some((node, _dir)) = self.node {
            node.stop().await;
        }
    }
}

/// What was deleted at night, and the other ways to get it back.
async fn journey(store: &[(&str, &str)]) {
    let live = Live::start(store).await;
    let (articles, products) = (live.sample("articles"), live.sample("products"));
    let alias = format!("{}live", live.prefix);
    let before = live.answers(articles, &articles.name).await;
    assert!(!before[0]["points"].as_array().unwrap().is_empty());

    // Deleted, and its alias with it.
    live.client.delete(&articles.name).await.unwrap();
    assert_eq!(live.aliases().await, []);
    let report = live.restored(json!({"collections": [articles.name]})).await;
    let restored = &report["collections"][0];
    assert_eq!(restored["points"], json!(articles.points), "{report}");
    assert_eq!(restored["sampled"], json!(100));
    assert_eq!(report["aliases"], json!([alias]));
    assert_eq!(live.answers(articles, &articles.name).await, before);
    assert_eq!(live.aliases().await, [(alias.clone(), articles.name.clone())]);

    // What has points is not overwritten unasked, and the plan says so.
    let body = json!({"points": [0, 1, 2]});
    let gone = live
        .client
        .call(
            "POST",
            &format!("/collections/{}/points/delete?wait=true", articles.name),
            Some(body),
        )
        .await;
    gone.unwrap();
    let lost = live.client.count(&articles.name).await.unwrap();
    assert!(lost < articles.points);
    for dry_run in [true, false] {
        let (status, error) = live
            .restore(json!({"collections": [articles.name], "dry_run": dry_run}))
            .await;
        assert_eq!(
            (status, error["error"]["code"].as_str()),
            (409, Some("restore_refused")),
            "{error}"
        );
        assert!(error.to_string().contains("--overwrite"), "{error}");
    }
    assert_eq!(
        live.client.count(&articles.name).await.unwrap(),
        lost,
        "a refused restore changes nothing"
    );
    let (status, plan) = live
        .restore(json!({"collections": [articles.name], "overwrite": true, "dry_run": true}))
        .await;
    assert_eq!(
        (status, &plan["collections"][0]["overwrites"]["points"]),
        (200, &json!(lost)),
        "{plan}"
    );
    assert_eq!(
        live.client.count(&articles.name).await.unwrap(),
        lost,
        "a plan changes nothing"
    );
    // An index that was made since the backup stays.
    let index = json!({"field_name": "year", "field_schema": "integer"});
    live.client
        .call(
            "PUT",
            &format!("/collections/{}/index?wait=true", articles.name),
            Some(index),
        )
        .await
        .unwrap();
    live.restored(json!({"collections": [articles.name], "overwrite": true}))
        .await;
    assert_eq!(live.answers(articles, &articles.name).await, before);
    assert_eq!(live.aliases().await, [(alias.clone(), articles.name.clone())]);

    // Everything beside the originals; the aliases stay where they are.
    let report = live.restored(json!({"into": "{}-copy"})).await;
    assert_eq!(report["collections"].as_array().unwrap().len(), 3);
    for sample in &live.samples {
        let copy = format!("{}-copy", sample.name);
        assert_eq!(live.client.count(&copy).await.unwrap(), sample.points);
        assert_eq!(
            live.answers(sample, &copy).await,
            live.answers(sample, &sample.name).await
        );
    }
    assert_eq!(live.aliases().await, [(alias.clone(), articles.name.clone())]);

    // The swap: beside the live one, then the alias in one operation.
    let report = live
        .restored(json!({"collections": [articles.name], "swap": true}))
        .await;
    let swapped = report["collections"][0]["target"].as_str().unwrap().to_owned();
    assert_eq!(live.aliases().await, [(alias.clone(), swapped.clone())]);
    assert_eq!(report["replaced"], json!([articles.name]));
    assert_eq!(live.answers(articles, &alias).await, before);
    assert_eq!(
        live.client.count(&articles.name).await.unwrap(),
        articles.points,
        "the old one stays"
    );
    let again = live
        .restored(json!({"collections": [articles.name], "swap": true}))
        .await;
    assert_eq!(
        again["replaced"],
        json!([swapped]),
        "a second swap takes a name of its own"
    );
    let (status, error) = live
        .restore(json!({"collections": [products.name], "swap": true}))
        .await;
    assert_eq!(
        (status, error["error"]["code"].as_str()),
        (409, Some("restore_refused")),
        "{error}"
    );
    assert!(error.to_string().contains("has no alias"), "{error}");
    live.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let url = url::Url::from_directory_path(dir.path()).unwrap().to_string();
    journey(&[("BACKUP_STORE", &url)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_bucket() {
    let emulator = Emulator::start().await.unwrap();
    emulator.create_bucket("test-bucket");
    journey(&[
        ("BACKUP_STORE", "gs://test-bucket/restore"),
        ("STORAGE_EMULATOR_HOST", emulator.url()),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_restores_into_another_qdrant_with_a_key_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let url = url::Url::from_directory_path(dir.path()).unwrap().to_string();
    let live = Live::start(&[("BACKUP_STORE", &url)]).await;
    let (there, node, _dir) = node().await;
    let run = async |args: &[&str], key: &str| {
        let mut restore = command(args, &live.client.url, dir.path());
        restore
            .env("QDRANT_API_KEY", "never sent there")
            .env("RESTORE_QDRANT_API_KEY", key);
        finish(restore.spawn().unwrap()).await
    };
    let to = there.url.as_str();
    let (code, out, err) = run(&["restore", "latest", "--to", to, "--dry-run"], "full").await;
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(
        out.contains("new; 1000 points") && out.contains(&format!("alias \"{}live\": set", live.prefix)),
        "{out}"
    );
    let (code, out, err) = run(&["restore", "latest", "--to", to], "full").await;
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("is complete"), "{out}");
    for sample in &live.samples {
        assert_eq!(there.count(&sample.name).await.unwrap(), sample.points);
        for search in &sample.searches {
            assert_eq!(
                there.search(&sample.name, search).await.unwrap(),
                live.client.search(&sample.name, search).await.unwrap()
            );
        }
    }
    // Keys with too few rights, or none, before anything is changed.
    for (key, exit, word) in [("read", 6, "manage"), ("wrong", 6, "RESTORE_QDRANT_API_KEY")] {
        let (code, out, err) = run(&["restore", "latest", "--to", to, "--into", "{}-2"], key).await;
        assert_eq!(code, Some(exit), "{out}{err}");
        assert!(err.contains(word), "{err}");
    }
    let (code, out, err) = run(&["restore", "latest", "--to", to, "--json"], "full").await;
    assert_eq!((code, out.as_str()), (Some(11), ""), "{err}");
    let (code, _, err) = run(&["restore", "latest", "--to", to, "--into", "one"], "full").await;
    assert_eq!(code, Some(2), "{err}");
    let (code, _, err) = run(&["restore", "latest", "nope", "--to", to], "full").await;
    assert_eq!(code, Some(8), "{err}");
    live.end().await;
    node.stop().await;
}
