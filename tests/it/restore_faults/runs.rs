//! What a run makes of partial failures, aliases, stops, and others at work; and what its exit codes say.

use crate::told::offers;
use qdrant_backup::base::error::Code;
use qdrant_backup::ops::restore::{RestoreOutcome, RestoreRequest};
use qdrant_backup::repository::selection::Selection;
use std::sync::Arc;
use testkit::bench::Bench;
use testkit::lost::Lost;
use testkit::lost::edit;
use testkit::peer::{Create, Peer, Upload};
use testkit::process::{command, finish};
use testkit::service::Service;
use tokio::sync::Semaphore;

#[tokio::test]
async fn a_whole_restore_is_told_as_one() {
    let lost = Lost::new().await;
    let report = lost.run(&lost.request()).await.unwrap();
    assert_eq!(report.status, RestoreOutcome::Complete, "{report:?}");
    assert!(report.error().is_none());
    assert_eq!(
        (report.collections[0].points, report.collections[0].sampled),
        (100, 100)
    );
    assert_eq!(report.aliases, ["live"]);
    assert_eq!(lost.peer.snapshots("a"), [""; 0], "the uploaded file is deleted");
    assert!(!lost.bench.dir.path().join("lock.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_says_what_happened() {
    let lost = Lost::new().await;
    let run = async |args: &[&str]| finish(command(args, &lost.peer.url, lost.bench.dir.path()).spawn().unwrap()).await;
    lost.upload(Upload::Full);
    let (code, out, err) = run(&["restore", "latest", "a", "--json"]).await;
    assert_eq!(code, Some(12), "{out}{err}");
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(told["error"]["code"].is_string(), "{told}");
    let report = &told["report"];
    assert_eq!(
        (report["status"].as_str(), report["failed"][0]["code"].as_str()),
        (Some("failed"), Some("disk_full"))
    );
    let state = report["failed"][0]["state"].as_str().unwrap();
    assert!(state.starts_with("it does not exist; "), "{state}");
    let (code, out, err) = run(&["restore", "latest", "a"]).await;
    assert_eq!(code, Some(0), "{out}{err}");
    let (code, out, err) = run(&["restore", "latest"]).await;
    assert_eq!(code, Some(11), "{out}{err}");
    for text in [&out, &err] {
        assert!(offers(text, &["restore", "--into"]), "{out}{err}");
    }
    edit(&lost.object("b"), |bytes| bytes[5] ^= 1);
    let (code, _, err) = run(&["restore", "latest", "b"]).await;
    assert_eq!(code, Some(9), "{err}");
    lost.peer.lock().may_not_manage = true;
    let (code, _, err) = run(&["restore", "latest", "b", "--into", "c"]).await;
    assert_eq!(code, Some(6), "{err}");
}
#[tokio::test]
async fn if_one_fails_the_others_are_restored_and_told_apart() {
    let lost = Lost::new().await;
    lost.upload(Upload::Full);
    let request = RestoreRequest {
        selection: Selection::default(),
        ..lost.request()
    };
    let report = lost.run(&request).await.unwrap();
    assert_eq!(report.status, RestoreOutcome::Partial);
    assert_eq!(
        (report.collections[0].source.as_str(), report.failed[0].source.as_str()),
        ("b", "a")
    );
    let error = report.error().unwrap();
    assert_eq!(
        (
            error.code(),
            error.exit_code(),
            qdrant_backup::server::http_status(&error).as_u16()
        ),
        (Code::RestoreFailed, 12, 502)
    );
    assert!(error.to_string().contains("1 of 2"), "{error}");
}

#[tokio::test]
async fn a_swap_that_fails_moves_nothing() {
    let lost = Lost::new().await;
    {
        let mut inner = lost.peer.lock();
        inner.collections.entry("a".into()).or_default().points = 7;
        inner.aliases.push(("live".into(), "a".into()));
        inner.aliases.push(("newer".into(), "a".into()));
    }
    lost.upload(Upload::Empty);
    let request = RestoreRequest {
        swap: true,
        ..lost.request()
    };
    let report = lost.run(&request).await.unwrap();
    assert_eq!(report.status, RestoreOutcome::Failed, "{report:?}");
    assert_eq!((report.warnings.len(), report.aliases.len()), (1, 0), "{report:?}");
    let before = [
        ("live".to_owned(), "a".to_owned()),
        ("newer".to_owned(), "a".to_owned()),
    ];
    assert_eq!(lost.peer.lock().aliases, before);
    assert_eq!(lost.peer.requests("POST /collections/aliases"), 0);
    let left = report.failed[0].target.clone();

    let report = lost.run(&request).await.unwrap();
    assert!(
        report.warnings.len() == 1 && report.warnings[0].contains(&format!("{left:?}")),
        "what nobody reuses is named: {report:?}"
    );
    assert_eq!(report.status, RestoreOutcome::Complete, "{report:?}");
    assert_eq!(
        lost.peer.requests("POST /collections/aliases"),
        1,
        "all aliases in one operation"
    );
    assert_eq!(report.aliases, ["live", "newer"]);
    assert_eq!(report.replaced, ["a"]);
    assert_eq!(lost.peer.lock().collections["a"].points, 7, "the old one stays");
}

#[tokio::test]
async fn an_alias_that_points_elsewhere_is_a_conflict_and_moved_only_when_told() {
    let lost = Lost::new().await;
    lost.peer.lock().collections.entry("other".into()).or_default();
    lost.peer.lock().aliases.push(("live".into(), "other".into()));
    let report = lost.run(&lost.request()).await.unwrap();
    assert_eq!(report.status, RestoreOutcome::Complete);
    assert!(
        report
            .warnings
            .iter()
            .any(|w| w.contains("\"live\"") && w.contains("\"other\"") && w.contains("--move-aliases")),
        "{report:?}"
    );
    assert_eq!(lost.peer.lock().aliases, [("live".to_owned(), "other".to_owned())]);
    let request = RestoreRequest {
        overwrite: true,
        move_aliases: true,
        ..lost.request()
    };
    let report = lost.run(&request).await.unwrap();
    assert_eq!(report.aliases, ["live"]);
    assert_eq!(lost.peer.lock().aliases, [("live".to_owned(), "a".to_owned())]);
}

#[tokio::test]
async fn a_target_of_another_shape_is_refused_and_of_another_tuning_kept() {
    let lost = Lost::new().await;
    lost.peer.lock().collections.entry("a".into()).or_default().size = Some(8);
    let request = RestoreRequest {
        overwrite: true,
        ..lost.request()
    };
    let error = lost.run(&request).await.unwrap_err();
    assert_eq!(error.code(), Code::RestoreRefused);
    // Its vectors would be of another size.
    assert!(
        error.chain().contains("vectors") && error.chain().contains("8"),
        "{error}"
    );
    assert_eq!(lost.peer.requests("/snapshots/upload"), 0);
}

#[tokio::test]
async fn the_next_release_may_have_fields_of_its_own_and_the_same_release_may_not() {
    let lost = Lost::new().await;
    lost.upload(Upload::NewField);
    let failed = &lost.run(&lost.request()).await.unwrap().failed[0];
    assert_eq!(failed.error.code, Code::RestoreUnequal);
    assert!(failed.error.message.contains("config.new_field"), "{failed:?}");

    let lost = Lost::new().await;
    lost.peer.lock().version = Some("1.19.0");
    lost.upload(Upload::NewField);
    let report = lost.run(&lost.request()).await.unwrap();
    assert_eq!(report.status, RestoreOutcome::Complete, "{report:?}");
    assert!(
        report.collections[0].notes[0].contains("config.new_field"),
        "{report:?}"
    );
    let lost = Lost::new().await;
    lost.peer.lock().version = Some("1.19.0");
    lost.upload(Upload::OtherConfig);
    assert_eq!(
        lost.run(&lost.request()).await.unwrap().failed[0].error.code,
        Code::RestoreUnequal
    );
}

#[tokio::test]
async fn a_collection_that_appears_after_the_plan_is_left_alone() {
    let lost = Lost::new().await;
    let peer = lost.peer.clone();
    // While `a` is compared; the plan has been made by then.
    lost.peer.lock().on_count = Some(Box::new(move || {
        peer.lock().collections.entry("b".into()).or_default().points = 3;
    }));
    let request = RestoreRequest {
        selection: Selection::default(),
        ..lost.request()
    };
    let report = lost.run(&request).await.unwrap();
    let failed = &report.failed[0];
    assert_eq!(
        (failed.source.as_str(), failed.error.code),
        ("b", Code::RestoreRefused),
        "{report:?}"
    );
    assert!(
        failed.error.message.contains("\"b\"") && failed.state.contains("3 points"),
        "{failed:?}"
    );
    assert_eq!(lost.peer.requests("/collections/b/snapshots/upload"), 0);
    // It is somebody else's, so nothing is printed that would write over it.
    assert_eq!(
        failed.next,
        format!("qdrant-backup restore {} b --skip-existing", lost.id)
    );
    assert!(
        !report.error().unwrap().to_string().contains("--overwrite"),
        "{report:?}"
    );
}

#[tokio::test]
async fn told_to_stop_it_says_what_is_there() {
    let lost = Lost::new().await;
    let reached = Arc::new(Semaphore::new(0));
    lost.upload(Upload::Held {
        reached: reached.clone(),
    });
    let stop = async {
        reached.acquire().await.unwrap().forget();
        lost.bench.cancel.cancel();
    };
    let request = RestoreRequest {
        selection: Selection::default(),
        ..lost.request()
    };
    let (result, ()) = tokio::join!(lost.run(&request), stop);
    let report = result.unwrap();
    let error = report.error().unwrap();
    assert_eq!(report.failed[1].state, "unchanged: not started");
    assert_eq!((error.code(), error.exit_code()), (Code::Cancelled, 10));
    let state = &report.failed[0].state;
    assert!(
        state.starts_with("it does not exist, and Qdrant may still be restoring it; the uploaded file qdrant-backup-"),
        "{state}"
    );
    assert!(!lost.bench.dir.path().join("lock.json").exists());
}

#[tokio::test]
async fn a_backup_and_a_restore_never_work_at_once() {
    let lost = Lost::new().await;
    let reached = Arc::new(Semaphore::new(0));
    lost.upload(Upload::Held {
        reached: reached.clone(),
    });
    let meanwhile = async {
        reached.acquire().await.unwrap().forget();
        let backup = lost.bench.run().await.unwrap_err();
        let second = lost.run(&lost.request()).await.unwrap_err();
        lost.bench.cancel.cancel();
        (backup, second)
    };
    let request = lost.request();
    let (_, (backup, second)) = tokio::join!(lost.run(&request), meanwhile);
    assert_eq!(
        (backup.code(), second.code()),
        (Code::RunInProgress, Code::RunInProgress)
    );
}

#[tokio::test]
async fn a_partial_backup_is_restorable_for_what_it_has() {
    let peer = Peer::start(&[("a", 1000), ("b", 1000)]).await;
    peer.on_create("b", [Create::Forbidden]);
    let bench = Bench::new(&peer.url).await;
    let id = bench.run().await.unwrap().id.to_string();
    peer.lock().collections.clear();
    let lost = Lost { peer, bench, id };
    let report = lost
        .run(&RestoreRequest {
            selection: Selection::default(),
            ..lost.request()
        })
        .await
        .unwrap();
    assert_eq!(report.status, RestoreOutcome::Complete);
    assert!(report.warnings.iter().any(|w| w.contains("\"b\"")), "{report:?}");
    let request = RestoreRequest {
        selection: Selection {
            collections: vec!["b".into()],
            ..Selection::default()
        },
        ..lost.request()
    };
    let error = lost.run(&request).await.unwrap_err();
    assert_eq!(error.code(), Code::CollectionNotFound);
    // Why it is not there, and not only that it is not.
    for told in ["\"b\"", "403"] {
        assert!(error.to_string().contains(told), "{told}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_a_failure_carries_its_report_and_a_refusal_its_plan() {
    let lost = Lost::new().await;
    let store = url::Url::from_directory_path(lost.bench.dir.path())
        .unwrap()
        .to_string();
    let service = Service::start(&[("QDRANT_URL", &lost.peer.url), ("BACKUP_STORE", &store)]).await;
    lost.peer.on_upload("a", [Upload::Full]);
    let (status, answer) = service.post("/restore", r#"{"id": "latest"}"#).await;
    assert_eq!(
        (status, answer["error"]["code"].as_str()),
        (502, Some("restore_failed")),
        "{answer}"
    );
    assert_eq!(answer["report"]["status"], "partial");
    let state = answer["report"]["failed"][0]["state"].as_str().unwrap();
    assert!(state.starts_with("it does not exist; "), "{state}");
    let (status, answer) = service.post("/restore", r#"{"id": "latest", "dry_run": true}"#).await;
    assert_eq!(
        (status, answer["error"]["code"].as_str()),
        (409, Some("restore_refused")),
        "{answer}"
    );
    assert_eq!(answer["plan"]["refusals"][0]["collection"], "b", "{answer}");
    assert!(answer["report"].is_null(), "nothing was run: {answer}");
    let (status, answer) = service.post("/restore", r#"{"id": "2020-01-01T00-00-00Z"}"#).await;
    assert_eq!(
        (status, answer["error"]["code"].as_str()),
        (404, Some("backup_not_found")),
        "{answer}"
    );
    let (status, answer) = service.post("/restore", "{}").await;
    assert_eq!(
        (status, answer["error"]["code"].as_str()),
        (400, Some("bad_request")),
        "{answer}"
    );
    let (status, answer) = service
        .post("/restore", r#"{"id": "latest", "collections": ["a"]}"#)
        .await;
    assert_eq!((status, answer["status"].as_str()), (200, Some("complete")), "{answer}");
}

#[tokio::test]
async fn points_larger_than_an_answer_may_be_are_sampled_as_far_as_they_can_be_read() {
    for (bytes, sampled, cut) in [(0, 100, false), (7 << 10, 9, true), (65 << 10, 0, true)] {
        let mut lost = Lost::new().await;
        lost.bench = lost.bench.impatient(|options| options.largest_answer = 64 << 10);
        lost.peer.lock().point_bytes = bytes;
        let report = lost.run(&lost.request()).await.unwrap();
        let a = &report.collections[0];
        assert_eq!(
            (a.target.as_str(), a.sampled),
            ("a", sampled),
            "{bytes} bytes: {:?}",
            report.failed
        );
        assert_eq!(!a.notes.is_empty(), cut, "{:?}", a.notes);
    }
}
