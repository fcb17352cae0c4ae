//! What `latest` means: the newest good backup whose time has come and that has what is asked for.

use crate::told::offers;
use qdrant_backup::base::error::{Code, Error, Result};
use qdrant_backup::ops::prune::{self, PruneContext};
use qdrant_backup::ops::restore::{self, RestorePlan, RestoreRequest};
use qdrant_backup::ops::retention::Policy;
use qdrant_backup::repository::catalog::{self, Mark};
use qdrant_backup::repository::manifest::{self, Manifest, Status};
use qdrant_backup::repository::names::BackupId;
use qdrant_backup::repository::selection::Selection;
use qdrant_backup::wire::store::{BytesSource, Condition};
use serde_json::json;
use testkit::bench::Bench;
use testkit::peer::{Create, Peer};
use testkit::service::Service;
use time::OffsetDateTime;

/// A Qdrant with two collections and a backup of both.
async fn saved() -> (Peer, Bench, BackupId) {
    let peer = Peer::start(&[("articles", 1000), ("tiny", 10)]).await;
    let bench = Bench::new(&peer.url).await;
    let id = bench.run().await.unwrap().id;
    (peer, bench, id)
}

fn named(names: &[&str]) -> Selection {
    Selection {
        collections: names.iter().map(|n| (*n).to_owned()).collect(),
        ..Selection::default()
    }
}

async fn plan(bench: &Bench, names: &[&str]) -> Result<RestorePlan> {
    let request = RestoreRequest {
        id: "latest".into(),
        selection: named(names),
        ..RestoreRequest::default()
    };
    restore::plan(&bench.ctx, &request).await
}

async fn latest(bench: &Bench, names: &[&str]) -> BackupId {
    plan(bench, names).await.unwrap().id
}

async fn backup_of(bench: &Bench, names: &[&str]) -> BackupId {
    bench.run_for(&named(names)).await.unwrap().id
}

/// A partial backup: `articles` could not be saved.
async fn partial(peer: &Peer, bench: &Bench) -> BackupId {
    peer.on_create("articles", [Create::Forbidden]);
    let report = bench.run().await.unwrap();
    assert!(report.error().is_some());
    report.id
}

async fn put(bench: &Bench, key: &str, bytes: Vec<u8>) {
    let source = Box::new(BytesSource::new(bytes));
    bench.ctx.store.put(key, source, Condition::Absent).await.unwrap();
}

/// The same backup under another id, as a wrong clock or a hand would make it.
async fn copy(bench: &Bench, from: BackupId, to: &str) -> BackupId {
    let id: BackupId = to.parse().unwrap();
    let mut copied: Manifest = manifest::read(&*bench.ctx.store, &from).await.unwrap();
    for artifact in copied.collections.iter_mut().flat_map(|c| &mut c.artifacts) {
        let bytes = bench.artifact(artifact).await;
        artifact.key = artifact.key.replace(&from.to_string(), to);
        put(bench, &artifact.key, bytes).await;
        artifact.version = bench.ctx.store.head(&artifact.key).await.unwrap().unwrap().version.0;
    }
    copied.id = id;
    put(bench, &id.manifest(), serde_json::to_vec(&copied).unwrap()).await;
    id
}

/// An error tells of these backups, each with what speaks against it, and of no other.
#[track_caller]
fn tells(error: &Error, backups: &[(BackupId, Mark)], others: &[BackupId]) {
    let text = error.chain();
    for (id, mark) in backups {
        let (_, behind) = text
            .split_once(&id.to_string())
            .unwrap_or_else(|| panic!("{id}: {text}"));
        // Up to the next one.
        let until = backups.iter().filter_map(|(other, _)| behind.find(&other.to_string()));
        let own = &behind[..until.min().unwrap_or(behind.len())];
        assert!(own.contains(&mark.to_string()), "{id} is {mark}: {text}");
    }
    for other in others {
        assert!(!text.contains(&other.to_string()), "{other}: {text}");
    }
}

#[tokio::test]
async fn a_backup_of_one_collection_is_the_latest_of_that_one_alone() {
    let (_peer, bench, all) = saved().await;
    let tiny = backup_of(&bench, &["tiny"]).await;
    assert_eq!(latest(&bench, &["tiny"]).await, tiny);
    assert_eq!(latest(&bench, &["articles"]).await, all);
    assert_eq!(latest(&bench, &["articles", "tiny"]).await, all);
    let plan = plan(&bench, &[]).await.unwrap();
    assert_eq!(plan.id, all);
    let [warning] = &plan.warnings[..] else {
        panic!("{plan}");
    };
    assert!(
        warning.contains(&tiny.to_string()) && warning.contains("only tiny"),
        "{warning}"
    );
}

#[tokio::test]
async fn without_a_backup_of_everything_the_newest_one_is_the_latest() {
    let peer = Peer::start(&[("articles", 1000), ("tiny", 10)]).await;
    let bench = Bench::new(&peer.url).await;
    let flawed = partial(&peer, &bench).await;
    let articles = backup_of(&bench, &["articles"]).await;
    let tiny = backup_of(&bench, &["tiny"]).await;
    assert_eq!(latest(&bench, &[]).await, tiny);
    // What is older than the latest is no matter of it.
    let plan = plan(&bench, &[]).await.unwrap();
    for older in [flawed, articles] {
        let told = plan.warnings.iter().any(|warning| warning.contains(&older.to_string()));
        assert!(!told, "{older}: {plan}");
    }
    let some = Selection {
        include: vec!["a*".into()],
        ..Selection::default()
    };
    let some = bench.run_for(&some).await.unwrap().id;
    backup_of(&bench, &["tiny"]).await;
    assert_eq!(latest(&bench, &[]).await, some);
}

#[tokio::test]
async fn a_partial_backup_is_the_latest_of_nothing() {
    let (peer, bench, all) = saved().await;
    let partial = partial(&peer, &bench).await;
    for names in [&[][..], &["articles"], &["tiny"]] {
        let plan = plan(&bench, names).await.unwrap();
        assert_eq!(plan.id, all, "{names:?}");
        let [warning] = plan.warnings.as_slice() else {
            panic!("{:?}", plan.warnings)
        };
        for told in [&partial.to_string(), Mark::Partial.to_string().as_str(), "\"articles\""] {
            assert!(warning.contains(told), "{told}: {warning}");
        }
    }
}

#[tokio::test]
async fn a_damaged_backup_is_the_latest_of_nothing() {
    let (_peer, bench, all) = saved().await;
    let damaged = bench.run().await.unwrap().id;
    put(&bench, &damaged.verified(), br#"{"verdict":"damaged"}"#.to_vec()).await;
    assert_eq!(latest(&bench, &["tiny"]).await, all);
    let failed = bench.run().await.unwrap().id;
    put(&bench, &failed.drilled(), br#"{"verdict":"failed"}"#.to_vec()).await;
    assert_eq!(latest(&bench, &[]).await, all);
    let odd = bench.run().await.unwrap().id;
    std::fs::write(bench.dir.path().join(odd.manifest()), "[]").unwrap();
    assert_eq!(latest(&bench, &["articles"]).await, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_the_future_is_the_latest_to_nobody() {
    let (peer, bench, all) = saved().await;
    let future = copy(&bench, all, "9999-01-01T00-00-00Z").await;
    let plan = plan(&bench, &["tiny"]).await.unwrap();
    assert_eq!(plan.id, all);
    assert!(plan.warnings[0].contains(&future.to_string()), "{:?}", plan.warnings);
    let now = OffsetDateTime::now_utc();
    assert_eq!(catalog::newest(&*bench.ctx.store, now).await.unwrap().unwrap().id, all);

    let store = url::Url::from_directory_path(bench.dir.path()).unwrap().to_string();
    let service = Service::start(&[("QDRANT_URL", &peer.url), ("BACKUP_STORE", &store)]).await;
    let (_, status) = service.get("/status").await;
    assert_eq!(status["last_backup"]["id"], json!(all), "{status}");
    assert_eq!(status["latest_good_backup"], json!(all), "{status}");
    let (code, pinned) = service.put("/backups/latest/pin", "").await;
    assert_eq!((code, &pinned["id"]), (200, &json!(all)), "{pinned}");
    let (code, shown) = service.get("/backups/latest").await;
    assert_eq!((code, &shown["id"]), (200, &json!(all)), "{shown}");
    let (_, list) = service.get("/backups").await;
    assert_eq!(list["backups"][0]["id"], json!(future));
    assert_eq!(list["backups"][0]["marks"], json!(["future"]));
    // The scripted peer's snapshots are none, so that this one is damaged from here on.
    let (_, answer) = service.post("/backups/latest/verify", "").await;
    assert_eq!(answer["report"]["id"], json!(all), "{answer}");
}

#[tokio::test]
async fn without_a_good_one_the_error_says_what_is_wrong_and_which_has_it() {
    let peer = Peer::start(&[("articles", 1000), ("tiny", 10)]).await;
    let bench = Bench::new(&peer.url).await;
    let error = plan(&bench, &[]).await.unwrap_err();
    assert_eq!(error.code(), Code::BackupNotFound);
    assert!(offers(error.remedy_text().unwrap(), &["backup"]), "{error}");

    let first = partial(&peer, &bench).await;
    assert_eq!(
        manifest::read(&*bench.ctx.store, &first).await.unwrap().status,
        Status::Partial
    );
    let tiny = backup_of(&bench, &["tiny"]).await;
    put(&bench, &tiny.verified(), br#"{"verdict":"damaged"}"#.to_vec()).await;
    let error = plan(&bench, &["tiny"]).await.unwrap_err();
    assert_eq!(error.code(), Code::BackupNotFound);
    tells(&error, &[(tiny, Mark::Damaged)], &[first]);
    let error = plan(&bench, &[]).await.unwrap_err();
    tells(&error, &[(tiny, Mark::Damaged)], &[first]);
    let error = plan(&bench, &["articles"]).await.unwrap_err();
    assert_eq!(error.code(), Code::CollectionNotFound);

    let articles = backup_of(&bench, &["articles"]).await;
    put(&bench, &articles.drilled(), br#"{"verdict":"failed"}"#.to_vec()).await;
    let error = plan(&bench, &["tiny"]).await.unwrap_err();
    assert_eq!(error.code(), Code::BackupNotFound);
    tells(
        &error,
        &[(articles, Mark::DrillFailed), (tiny, Mark::Damaged)],
        &[first],
    );
}

#[tokio::test]
async fn a_date_in_the_future_is_no_date_of_a_good_backup_or_of_a_proof() {
    let (_peer, bench, all) = saved().await;
    let later = bench.run().await.unwrap().id;
    let edit = |id: BackupId, field: &str, value: serde_json::Value| {
        let path = bench.dir.path().join(id.manifest());
        let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        manifest[field] = value;
        std::fs::write(path, manifest.to_string()).unwrap();
    };
    edit(later, "finished_at", json!("2999-01-01T00:00:00Z"));
    for (key, verdict) in [(all.verified(), "intact"), (all.drilled(), "passed")] {
        let proof = json!({"verdict": verdict, "at": "2999-01-01T00:00:00Z"});
        put(&bench, &key, proof.to_string().into_bytes()).await;
    }
    let plan = plan(&bench, &[]).await.unwrap();
    assert_eq!(plan.id, all);
    assert!(
        plan.warnings[0].contains(&later.to_string()) && plan.warnings[0].contains("in the future"),
        "{:?}",
        plan.warnings
    );
    let now = OffsetDateTime::now_utc();
    let list = catalog::list(&*bench.ctx.store, 9, now).await.unwrap();
    assert_eq!((list[0].id, list[0].marks_text().as_str()), (later, "FUTURE"));
    assert_eq!(list[0].age(now), None, "nothing that is to come is young");
    assert_eq!(
        (list[1].id, list[1].marks_text().as_str()),
        (all, "good"),
        "proven by nothing"
    );

    let (code, out, err) = cli(&bench, &["list"]).await;
    assert_eq!(code, Some(0), "{err}");
    let rows: Vec<Vec<_>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        (rows[1][0], &rows[1][3..5]),
        (later.to_string().as_str(), &["FUTURE", "stored"][..]),
        "{out}"
    );
    assert!(rows[2].contains(&"stored"), "{out}");
    let (_, out, _) = cli(&bench, &["show", &all.to_string()]).await;
    assert!(out.contains("verified in the future, which does not count"), "{out}");
    let (_, out, _) = cli(&bench, &["show", &later.to_string()]).await;
    assert!(out.contains("made in the future"), "{out}");
    // Asked for by its id it is restored, with a warning.
    let request = RestoreRequest {
        id: later.to_string(),
        ..RestoreRequest::default()
    };
    let plan = restore::plan(&bench.ctx, &request).await.unwrap();
    assert!(plan.warnings[0].contains("in the future"), "{:?}", plan.warnings);
    // Nor does it take the place of a good one when old ones are deleted.
    let policy = Policy {
        last: 1,
        min_age: std::time::Duration::ZERO,
        ..Policy::default()
    };
    let job = PruneContext {
        ctx: bench.ctx.on_store(),
        policy,
        only: None,
    };
    let plan = prune::plan(&job).await.unwrap();
    assert!(plan.items.iter().all(|item| item.keep), "{plan:?}");
}

async fn cli(bench: &Bench, args: &[&str]) -> testkit::process::End {
    let url = bench.ctx.qdrant.url();
    testkit::process::finish(testkit::process::command(args, &url, bench.dir.path()).spawn().unwrap()).await
}
