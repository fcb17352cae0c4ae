//! Two Qdrants and one store: neither gets into the other's by mistake.

use qdrant_backup::base::error::Code;
use qdrant_backup::ops::context::Context;
use qdrant_backup::ops::prune::{self, PruneContext};
use qdrant_backup::ops::restore::{self, RestoreRequest};
use qdrant_backup::ops::retention::Policy;
use qdrant_backup::repository::catalog::Mark;
use qdrant_backup::repository::manifest;
use qdrant_backup::repository::names::BackupId;
use qdrant_backup::repository::selection::Selection;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::bench::{Bench, context};
use testkit::peer::Peer;
use testkit::process;
use testkit::service::Service;

/// A Qdrant whose only node has this peer id.
async fn qdrant(peer_id: u64) -> Peer {
    let peer = Peer::start(&[("articles", 1000), ("tiny", 10)]).await;
    let id = peer_id.to_string();
    peer.lock().cluster =
        Some(json!({"status": "enabled", "peer_id": peer_id, "peers": {id: {"uri": "http://x:6335/"}}}));
    peer
}

/// Another Qdrant with the store of `bench`.
fn beside(bench: &Bench, peer: &Peer) -> Bench {
    Bench {
        dir: tempfile::tempdir().unwrap(),
        ctx: context(&peer.url, bench.ctx.store.clone()),
        cancel: bench.cancel.clone(),
    }
}

fn named(ctx: &mut Context, name: &str) {
    ctx.settings.source.name = Some(name.to_owned());
}

async fn backup(bench: &Bench) -> BackupId {
    bench.run().await.unwrap().id
}

fn latest() -> RestoreRequest {
    RestoreRequest {
        id: "latest".into(),
        ..RestoreRequest::default()
    }
}

#[tokio::test]
async fn a_manifest_names_its_source() {
    let peer = Peer::start(&[("articles", 1000)]).await;
    let mut bench = Bench::new(&peer.url).await;
    named(&mut bench.ctx, "production");
    let report = bench.run().await.unwrap();
    let source = bench.manifest(&report).await.qdrant.source.unwrap();
    assert_eq!(source.name.as_deref(), Some("production"));
    assert_eq!(source.url, bench.ctx.qdrant.url());
    // Of a standalone node, from the shards of a collection.
    assert_eq!(source.peers, [testkit::peer::PEER_ID]);
}

#[tokio::test]
async fn a_store_of_another_qdrant_is_refused_until_that_is_said_once() {
    let (production, staging) = (qdrant(1).await, qdrant(2).await);
    let first = Bench::new(&production.url).await;
    let id = backup(&first).await;
    let mut second = beside(&first, &staging);
    let error = second.run().await.unwrap_err();
    assert_eq!(
        (
            error.code(),
            error.exit_code(),
            qdrant_backup::server::http_status(&error).as_u16()
        ),
        (Code::SourceMismatch, 2, 409)
    );
    assert!(error.chain().contains(&id.to_string()), "{error}");
    assert_eq!(staging.snapshots("articles"), [""; 0]);
    assert_eq!(staging.requests("POST /collections/articles/snapshots"), 0);

    second.ctx.settings.source.accept_new = true;
    backup(&second).await;
    second.ctx.settings.source.accept_new = false;
    backup(&second).await;
    // The first one's backups go on as before.
    backup(&first).await;
}

#[tokio::test]
async fn one_name_is_one_qdrant_on_whatever_machine() {
    let (old, new) = (qdrant(1).await, qdrant(2).await);
    let mut first = Bench::new(&old.url).await;
    named(&mut first.ctx, "production");
    backup(&first).await;
    let mut second = beside(&first, &new);
    named(&mut second.ctx, "production");
    backup(&second).await;
    // A copy of a machine has its peer id, too.
    let mut copy = beside(&first, &old);
    named(&mut copy.ctx, "staging");
    assert_eq!(copy.run().await.unwrap_err().code(), Code::SourceMismatch);
}

#[tokio::test]
async fn a_backup_that_does_not_tell_its_source_forbids_nothing() {
    let (one, other) = (qdrant(1).await, qdrant(2).await);
    let first = Bench::new(&one.url).await;
    let id = backup(&first).await;
    let path = first.dir.path().join(id.manifest());
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    manifest["qdrant"].as_object_mut().unwrap().remove("source").unwrap();
    std::fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    let second = beside(&first, &other);
    let request = RestoreRequest {
        overwrite: true,
        ..latest()
    };
    let plan = restore::plan(&second.ctx, &request).await.unwrap();
    assert!(plan.error().is_none(), "{plan}");
    backup(&second).await;
}

#[tokio::test]
async fn latest_is_that_of_the_qdrant_that_is_restored() {
    let (production, staging, new) = (qdrant(1).await, qdrant(2).await, qdrant(3).await);
    let first = Bench::new(&production.url).await;
    let ours = backup(&first).await;
    let mut second = beside(&first, &staging);
    second.ctx.settings.source.accept_new = true;
    let theirs = backup(&second).await;
    let plan = restore::plan(&first.ctx, &latest()).await.unwrap();
    assert_eq!(plan.id, ours);
    assert!(
        plan.warnings.len() == 1 && plan.warnings[0].contains(&theirs.to_string()),
        "{plan}"
    );
    // Of a new machine there is none yet, and whose is meant is for its owner to say.
    let third = beside(&first, &new);
    let error = restore::plan(&third.ctx, &latest()).await.unwrap_err();
    assert_eq!(error.code(), Code::SourceMismatch);
    assert!(
        error.chain().contains(&ours.to_string()) && error.chain().contains(&theirs.to_string()),
        "{error}"
    );
    let request = RestoreRequest {
        id: theirs.to_string(),
        ..RestoreRequest::default()
    };
    let plan = restore::plan(&third.ctx, &request).await.unwrap();
    let told = serde_json::to_value(&plan).unwrap();
    let peers = ["source", "target_source"].map(|whose| told[whose]["peers"].clone());
    assert_eq!(peers, [json!([2]), json!([3])], "{plan}");
    // Who has some, but not of this collection, does not get that of another one.
    let tiny = Selection {
        collections: vec!["tiny".into()],
        ..Selection::default()
    };
    let mut fourth = beside(&first, &new);
    fourth.ctx.settings.source.accept_new = true;
    fourth.run_for(&tiny).await.unwrap();
    let request = RestoreRequest {
        selection: Selection {
            collections: vec!["articles".into()],
            ..Selection::default()
        },
        ..latest()
    };
    let error = restore::plan(&fourth.ctx, &request).await.unwrap_err();
    assert_eq!(error.code(), Code::BackupNotFound);
    assert!(
        error.chain().contains(&theirs.to_string()) && error.chain().contains(&second.ctx.qdrant.url()),
        "{error}"
    );
}

#[tokio::test]
async fn latest_on_an_empty_new_qdrant_is_nobody_elses() {
    let (production, staging) = (qdrant(1).await, qdrant(2).await);
    let mut first = Bench::new(&production.url).await;
    let alone = backup(&first).await;
    let empty = Peer::start(&[]).await;
    let mut new = beside(&first, &empty);
    let plan = restore::plan(&new.ctx, &latest()).await.unwrap();
    assert_eq!((plan.id, plan.warnings), (alone, vec![]), "the store is one Qdrant's");
    let other = beside(&first, &staging);
    let plan = restore::plan(&other.ctx, &latest()).await.unwrap();
    assert_eq!(plan.id, alone);
    let [warning] = &plan.warnings[..] else {
        panic!("{plan}");
    };
    // Both Qdrants by their URLs.
    for peer in [&staging, &production] {
        assert!(warning.contains(&peer.url), "{warning}");
    }

    named(&mut first.ctx, "production");
    let ours = backup(&first).await;
    let mut second = beside(&first, &staging);
    second.ctx.settings.source.accept_new = true;
    backup(&second).await;
    let error = restore::plan(&new.ctx, &latest()).await.unwrap_err();
    assert_eq!(error.code(), Code::SourceMismatch);
    // --to: no more is known than the name, if there is one.
    new.ctx.settings.source.elsewhere = true;
    let error = restore::plan(&new.ctx, &latest()).await.unwrap_err();
    assert_eq!(error.code(), Code::SourceMismatch);
    for elsewhere in [false, true] {
        named(&mut new.ctx, "production");
        new.ctx.settings.source.elsewhere = elsewhere;
        let plan = restore::plan(&new.ctx, &latest()).await.unwrap();
        assert_eq!(plan.id, ours, "{elsewhere}: {plan}");
    }
}

#[tokio::test]
async fn a_store_with_bad_backups_of_another_qdrant_alone_is_not_called_empty() {
    let (old, new) = (qdrant(1).await, qdrant(2).await);
    let first = Bench::new(&old.url).await;
    old.on_create("articles", [testkit::peer::Create::Forbidden]);
    let partial = first.run().await.unwrap().id;
    let second = beside(&first, &new);
    let error = restore::plan(&second.ctx, &latest()).await.unwrap_err();
    assert_eq!(error.code(), Code::BackupNotFound);
    for told in [&partial.to_string(), Mark::Partial.to_string().as_str()] {
        assert!(error.chain().contains(told), "{told}: {error}");
    }
}

#[tokio::test]
async fn what_another_qdrant_has_is_not_overwritten_unless_that_is_meant() {
    let (production, staging) = (qdrant(1).await, qdrant(2).await);
    let bench = Bench::new(&staging.url).await;
    backup(&bench).await;
    let target = beside(&bench, &production);
    let mut request = RestoreRequest {
        overwrite: true,
        ..latest()
    };
    let plan = restore::plan(&target.ctx, &request).await.unwrap();
    let error = plan.error().unwrap();
    assert_eq!(error.code(), Code::RestoreRefused);
    for peer in [&staging, &production] {
        assert!(error.chain().contains(&peer.url), "{error}");
    }
    for flag in ["--other-source", "--overwrite"] {
        assert!(error.remedy_text().unwrap().contains(flag), "{error}");
    }
    request.other_source = true;
    let plan = restore::plan(&target.ctx, &request).await.unwrap();
    assert!(plan.error().is_none(), "{plan}");
    // What does not exist there is nobody's.
    let beside = RestoreRequest {
        into: Some("{}-restored".into()),
        ..latest()
    };
    let plan = restore::plan(&target.ctx, &beside).await.unwrap();
    assert!(plan.error().is_none(), "{plan}");
}

#[tokio::test]
async fn two_qdrants_do_not_displace_each_others_backups() {
    let (production, staging) = (qdrant(1).await, qdrant(2).await);
    let first = Bench::new(&production.url).await;
    let ours = backup(&first).await;
    let mut second = beside(&first, &staging);
    second.ctx.settings.source.accept_new = true;
    backup(&second).await;
    let newest = backup(&second).await;
    let policy = Policy {
        last: 1,
        min_age: Duration::ZERO,
        ..Policy::default()
    };
    let plan = prune::plan(&PruneContext {
        ctx: first.ctx.on_store(),
        policy,
        only: None,
    })
    .await
    .unwrap();
    let kept: Vec<_> = plan.items.iter().filter(|item| item.keep).map(|item| item.id).collect();
    assert_eq!(kept, [newest, ours]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_knows_whose_backups_it_looks_at() {
    let (production, staging) = (qdrant(1).await, qdrant(2).await);
    let bench = Bench::new(&staging.url).await;
    backup(&bench).await;
    let store = url::Url::from_directory_path(bench.dir.path()).unwrap().to_string();
    let env = [("QDRANT_URL", production.url.as_str()), ("BACKUP_STORE", &store)];
    let service = Service::start(&env).await;
    let (status, fresh) = service.get("/health/freshness").await;
    assert_eq!(
        (status, &fresh["collections"][0]["state"]),
        (503, &json!("missing")),
        "{fresh}"
    );
    let (status, answer) = service.post("/backup", "").await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (409, &json!("source_mismatch")),
        "{answer}"
    );
    let (status, answer) = service.post("/backup", r#"{"new_source": true}"#).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(service.post("/backup", "").await.0, 200);
    let (status, fresh) = service.get("/health/freshness").await;
    assert_eq!(status, 200, "{fresh}");

    // However new those of the other one are.
    let (_, mine) = service.get("/backups/latest").await;
    backup(&bench).await;
    let (_, status) = service.get("/status").await;
    assert_eq!(status["latest_good_backup"], mine["id"], "{status}");
    let (_, shown) = service.get("/backups/latest").await;
    assert_eq!(shown["id"], mine["id"], "{shown}");
    let (_, pinned) = service.put("/backups/latest/pin", "").await;
    assert_eq!(pinned["id"], mine["id"], "{pinned}");
}

#[tokio::test]
async fn the_command_line_takes_the_name_and_says_it_once() {
    let (production, staging) = (qdrant(1).await, qdrant(2).await);
    let dir = tempfile::tempdir().unwrap();
    let run = async |peer: &Peer, args: &[&str]| {
        let mut command = process::command(args, &peer.url, dir.path());
        command.env(
            "BACKUP_SOURCE_NAME",
            if peer.url == staging.url {
                "staging"
            } else {
                "production"
            },
        );
        process::finish(command.spawn().unwrap()).await
    };
    assert_eq!(run(&production, &["backup"]).await.0, Some(0));
    let (code, _, err) = run(&staging, &["backup"]).await;
    assert_eq!(code, Some(2), "{err}");
    for told in ["\"production\"", &production.url, "--new-source"] {
        assert!(err.contains(told), "{told}: {err}");
    }
    assert_eq!(run(&staging, &["backup", "--new-source"]).await.0, Some(0));
    assert_eq!(run(&staging, &["backup"]).await.0, Some(0));
    let (_, staged, _) = run(&staging, &["show", "latest", "--json"]).await;
    let (_, produced, _) = run(&production, &["show", "latest", "--json"]).await;
    let name = |shown: &str| serde_json::from_str::<Value>(shown).unwrap()["qdrant"]["source"]["name"].clone();
    assert_eq!(
        (name(&staged), name(&produced)),
        (json!("staging"), json!("production"))
    );
    // --to is somewhere else, whatever the name of what is backed up.
    let (code, out, err) = run(
        &staging,
        &["restore", "latest", "--to", &production.url, "--overwrite", "--dry-run"],
    )
    .await;
    assert_eq!(code, Some(11), "{out}{err}");
    let args = [
        "restore",
        "latest",
        "--to",
        &production.url,
        "--overwrite",
        "--other-source",
        "--dry-run",
    ];
    let (code, out, err) = run(&staging, &args).await;
    assert_eq!(code, Some(0), "{out}{err}");
    let id = out.split_whitespace().nth(2).unwrap();
    let manifest = std::fs::read(dir.path().join(format!("backups/{id}/manifest.json"))).unwrap();
    let manifest: manifest::Manifest = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest.qdrant.source.unwrap().name.as_deref(), Some("staging"));
}
