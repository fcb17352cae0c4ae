//! A backup of an older version that has a collection with custom sharding: it is marked wherever it is shown, counts as good to
//! nobody, and its other collections can be restored.

use serde_json::{Value, json};
use std::path::PathBuf;
use tempfile::TempDir;
use testkit::peer::Peer;
use testkit::process;
use testkit::service::Service;

struct Bench {
    peer: Peer,
    service: Service,
    dir: TempDir,
}

impl Bench {
    async fn new() -> Self {
        let (peer, dir) = (
            Peer::start(&[("a", 1000), ("keyed", 1000)]).await,
            tempfile::tempdir().unwrap(),
        );
        let url = url::Url::from_directory_path(dir.path()).unwrap().to_string();
        let env = [
            ("QDRANT_URL", peer.url.as_str()),
            ("BACKUP_STORE", &url),
            ("RETAIN_LAST", "1"),
            ("RETAIN_MIN_AGE_HOURS", "0"),
        ];
        let service = Service::start(&env).await;
        Self { peer, service, dir }
    }

    async fn backup(&self) -> String {
        let (status, report) = self.service.post("/backup", "").await;
        assert_eq!(status, 200, "{report}");
        report["id"].as_str().unwrap().to_owned()
    }

    fn manifest(&self, id: &str) -> PathBuf {
        self.dir.path().join(format!("backups/{id}/manifest.json"))
    }

    /// Makes it one of a collection with custom sharding, as an older version would have saved it.
    fn age(&self, id: &str) {
        let mut manifest: Value = serde_json::from_slice(&std::fs::read(self.manifest(id)).unwrap()).unwrap();
        manifest["collections"][1]["config"]["params"]["sharding_method"] = json!("custom");
        std::fs::write(self.manifest(id), manifest.to_string()).unwrap();
    }

    async fn cli(&self, args: &[&str]) -> (Option<i32>, String) {
        let child = process::command(args, &self.peer.url, self.dir.path()).spawn().unwrap();
        let (code, out, err) = process::finish(child).await;
        (code, out + &err)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_look_at_it_tells_what_cannot_be_restored() {
    let bench = Bench::new().await;
    let id = bench.backup().await;
    bench.age(&id);
    let marks = json!(["not_restorable"]);

    let json = async |args: &[&str]| {
        let (_, out) = bench.cli(&[args, &["--json"]].concat()).await;
        let mut values = serde_json::Deserializer::from_str(&out).into_iter::<Value>();
        values.next().unwrap().unwrap_or_else(|_| panic!("{out}"))
    };
    let listed = json(&["list"]).await["backups"][0].take();
    assert_eq!(listed["marks"], marks, "{listed}");
    let why = listed["not_restorable"]["keyed"].as_str().unwrap();
    let shown = json(&["show", &id]).await;
    assert_eq!(shown["summary"]["marks"], marks, "{shown}");
    assert_eq!(shown["summary"]["not_restorable"], json!({"keyed": why}), "{shown}");
    for args in [&["list"][..], &["show", &id]] {
        let (code, out) = bench.cli(args).await;
        assert!(code == Some(0) && out.contains(why), "{args:?}: {out}");
    }
    let (_, list) = bench.service.get("/backups").await;
    assert_eq!(list["backups"][0]["marks"], marks, "{list}");
    let (_, shown) = bench.service.get(&format!("/backups/{id}")).await;
    assert_eq!(shown["summary"]["marks"], marks, "{shown}");
    assert_eq!(shown["summary"]["not_restorable"]["keyed"], why, "{shown}");
    let (status, freshness) = bench.service.get("/health/freshness").await;
    let keyed = &freshness["collections"][1];
    assert_eq!((status, &keyed["state"]), (503, &json!("missing")), "{freshness}");
    // The bytes are what was saved, whatever they are good for. The peer's are no snapshots, so only the warning counts here.
    let (_, verified) = bench.service.post(&format!("/backups/{id}/verify"), "").await;
    let objects = verified["report"]["objects"].as_array().unwrap();
    assert!(objects[0]["warnings"].is_null(), "{verified}");
    assert_eq!(verified["report"]["not_restorable"], json!(["keyed"]), "{verified}");
    assert_eq!(
        json(&["verify", &id]).await["report"]["not_restorable"],
        json!(["keyed"])
    );
    assert!(objects[1]["warnings"][0].as_str().unwrap().contains(why), "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_refused_by_name_and_the_others_come_back() {
    let bench = Bench::new().await;
    let id = bench.backup().await;
    bench.age(&id);
    let restore = async |more: Value| {
        let mut body = json!({"id": id, "overwrite": true});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bench.service.post("/restore", &body.to_string()).await
    };
    bench.peer.lock().collections.get_mut("keyed").unwrap().custom_sharding = true;
    let (status, _) = restore(json!({})).await;
    assert_eq!(
        (status, bench.peer.requests("/snapshots/upload")),
        (502, 0),
        "nothing was changed"
    );
    let (status, refused) = restore(json!({"dry_run": true})).await;
    let plan = &refused["plan"];
    assert_eq!(
        (status, plan["refusals"].as_array().unwrap().len()),
        (502, 1),
        "{refused}"
    );
    assert_eq!(plan["refusals"][0]["collection"], "keyed", "{refused}");
    for others in [json!({"exclude": ["keyed"]}), json!({"collections": ["a"]})] {
        let (status, restored) = restore(others).await;
        assert_eq!(status, 200, "{restored}");
    }
    assert_eq!(bench.peer.requests("POST /collections/a/snapshots/upload"), 2);

    let (status, answer) = bench
        .service
        .post(&format!("/backups/{id}/drill"), r#"{"same_qdrant": true}"#)
        .await;
    let drilled = &answer["report"];
    assert_eq!((status, &drilled["verdict"]), (502, &json!("failed")), "{answer}");
    let verdicts: Vec<_> = drilled["collections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c["name"].as_str().unwrap(), c["verdict"].as_str().unwrap()))
        .collect();
    assert_eq!(verdicts, [("a", "passed"), ("keyed", "failed")], "{answer}");
    let (_, shown) = bench.service.get(&format!("/backups/{id}")).await;
    let why = shown["summary"]["not_restorable"]["keyed"].as_str().unwrap();
    let problem = drilled["collections"][1]["problem"].as_str().unwrap();
    assert!(problem.contains(why), "{why}: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_takes_no_other_ones_place() {
    let bench = Bench::new().await;
    let older = bench.backup().await;
    let newer = bench.backup().await;
    bench.age(&newer);
    let (status, pruned) = bench.service.post("/prune", r#"{"dry_run": false}"#).await;
    assert_eq!(status, 200, "{pruned}");
    for id in [older, newer] {
        assert!(bench.manifest(&id).exists(), "{id} is gone: {pruned}");
    }
}
