//! What a run does when Qdrant, or what lies between, misbehaves: nothing wrong is saved, nothing is left behind, and the
//! report says what happened.

use qdrant_backup::base::error::Code;
use qdrant_backup::ops::backup::{BackupOutcome, BackupReport};
use qdrant_backup::repository::manifest::Status;
use qdrant_backup::repository::selection::Selection;
use std::sync::Arc;
use std::time::Duration;
use testkit::bench::Bench;
use testkit::peer::{Create, Fetch, LONG_ERROR, Peer};
use testkit::store::keys;
use tokio::sync::Semaphore;

/// Longer than one chunk of any buffer on the way.
const LONG: usize = 3 << 20;

/// One collection `c` and what goes wrong with it.
async fn with_script(
    create: impl IntoIterator<Item = Create>,
    fetch: impl IntoIterator<Item = Fetch>,
) -> (Peer, Bench) {
    let peer = Peer::start(&[("c", LONG)]).await;
    peer.on_create("c", create);
    peer.on_fetch("c", fetch);
    let bench = Bench::new(&peer.url).await;
    (peer, bench)
}

/// The run saved `c` whole, and left nothing on the peer.
async fn saved(peer: &Peer, bench: &Bench) -> BackupReport {
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Complete, "{report:?}");
    let manifest = bench.manifest(&report).await;
    assert_eq!(manifest.status, Status::Complete);
    let artifact = &manifest.collections[0].artifacts[0];
    assert!(bench.artifact(artifact).await == peer.body_of("c"));
    assert_eq!(peer.snapshots("c"), [""; 0]);
    report
}

/// The run saved nothing, says `code`, and left nothing on the peer nor anything that looks like a backup.
async fn refused(peer: &Peer, bench: &Bench, code: Code) -> String {
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Failed, "{report:?}");
    assert_eq!(report.error().unwrap().code(), Code::BackupFailed);
    let failure = &report.failed[0];
    assert_eq!(failure.error.code, code.to_string(), "{failure:?}");
    assert_eq!(report.manifest, None);
    assert_eq!(bench.keys().await, [""; 0], "nothing may be left in the store");
    assert_eq!(peer.snapshots("c"), [""; 0], "nothing may be left on Qdrant");
    format!(
        "{} ({})",
        failure.error.message,
        failure.error.remedy.as_deref().unwrap_or("")
    )
}

#[tokio::test]
async fn a_healthy_peer_is_backed_up_whole() {
    let (peer, bench) = with_script([], []).await;
    peer.lock().aliases.push(("live".into(), "c".into()));
    let report = saved(&peer, &bench).await;
    let manifest = bench.manifest(&report).await;
    assert_eq!(manifest.qdrant.version, "1.18.3");
    let c = &manifest.collections[0];
    assert_eq!((c.points_before, c.points_after), (100, 100));
    assert_eq!(c.aliases, ["live"]);
    assert_eq!(c.config.value()["params"]["vectors"]["size"], 4);
    assert_eq!(c.shards.value()["local_shards"][0]["state"], "Active");
    assert!(c.artifacts[0].sha256_confirmed_by_qdrant);
    assert_eq!(c.artifacts[0].node, Some(testkit::peer::PEER_ID));
    let expected = [
        format!("backups/{}/c/collection.snapshot", report.id),
        format!("backups/{}/manifest.json", report.id),
    ];
    assert_eq!(bench.keys().await, expected, "no lease and no intent may stay");
}

#[tokio::test]
async fn a_cut_download_is_continued_where_it_stopped() {
    let (peer, bench) = with_script([], [Fetch::Cut(1 << 20), Fetch::Cut(1 << 20)]).await;
    saved(&peer, &bench).await;
    assert_eq!(
        peer.requests("POST /collections/c/snapshots "),
        1,
        "one snapshot was enough"
    );
    assert!(peer.requests("bytes=") >= 2, "continued by range");
}

#[tokio::test]
async fn a_clean_end_in_the_middle_is_not_taken_for_the_end() {
    let (peer, bench) = with_script([], [Fetch::CleanEnd(1 << 20)]).await;
    saved(&peer, &bench).await;
    assert_eq!(
        peer.requests("POST /collections/c/snapshots "),
        1,
        "the same snapshot was continued"
    );
    let (peer, bench) = with_script([], vec![Fetch::CleanEnd(0); 100]).await;
    let text = refused(&peer, &bench, Code::LengthMismatch).await;
    assert!(text.contains("0 bytes") && text.contains("3145728"), "{text}");
}

#[tokio::test]
async fn a_stalled_download_is_given_up_and_continued() {
    let (peer, bench) = with_script([], [Fetch::Stall(1 << 20)]).await;
    let bench = bench.impatient(|_| {});
    saved(&peer, &bench).await;
    assert_eq!(
        peer.requests("POST /collections/c/snapshots "),
        1,
        "the same snapshot was continued"
    );
    let (peer, bench) = with_script([], vec![Fetch::Stall(0); 100]).await;
    let bench = bench.impatient(|_| {});
    let text = refused(&peer, &bench, Code::Stalled).await;
    assert!(
        text.contains("400ms") && text.contains("BACKUP_IDLE_TIMEOUT_SECS"),
        "{text}"
    );
}

#[tokio::test]
async fn a_busy_peer_is_asked_again() {
    let (peer, bench) = with_script([], [Fetch::Unavailable]).await;
    saved(&peer, &bench).await;
    assert_eq!(peer.requests("GET /collections/c/snapshots/"), 2, "once in vain");
}

#[tokio::test]
async fn a_wrong_checksum_is_never_stored() {
    let (peer, bench) = with_script([Create::WrongChecksum, Create::WrongChecksum], []).await;
    let text = refused(&peer, &bench, Code::ChecksumMismatch).await;
    assert!(
        text.contains(&qdrant_backup::base::hash::sha256_hex(b"other bytes")),
        "{text}"
    );
}

#[tokio::test]
async fn a_bit_that_flips_on_the_way_costs_one_more_attempt() {
    let (peer, bench) = with_script([], [Fetch::FlipBit(LONG - 1)]).await;
    saved(&peer, &bench).await;
    assert_eq!(peer.requests("POST /collections/c/snapshots "), 2);
}

#[tokio::test]
async fn a_wrong_length_is_never_stored() {
    for more in [1, -1, -(LONG as i64) / 2] {
        let (peer, bench) = with_script([Create::WrongLength(more), Create::WrongLength(more)], []).await;
        let text = refused(&peer, &bench, Code::LengthMismatch).await;
        assert!(text.contains("3145728"), "{text}");
    }
}

#[tokio::test]
async fn a_forbidden_snapshot_says_which_right_is_missing() {
    let (peer, bench) = with_script([Create::Forbidden], []).await;
    let text = refused(&peer, &bench, Code::QdrantForbidden).await;
    assert!(text.contains("Global manage access") && text.contains("rw"), "{text}");
    assert_eq!(
        peer.requests("POST /collections/c/snapshots "),
        1,
        "asking again is useless"
    );
}

#[tokio::test]
async fn a_full_disk_on_qdrant_is_named() {
    let (peer, bench) = with_script(
        [
            Create::Fails("No space left on device"),
            Create::Fails("No space left on device"),
        ],
        [],
    )
    .await;
    let text = refused(&peer, &bench, Code::DiskFull).await;
    assert!(text.contains("No space left on device"), "{text}");
    // Nor is its cause cut off behind the paths that it names.
    let (peer, bench) = with_script([Create::Fails(LONG_ERROR), Create::Fails(LONG_ERROR)], []).await;
    let text = refused(&peer, &bench, Code::DiskFull).await;
    assert!(
        text.contains("to /var/tmp: No space left on device (os error 28)"),
        "{text}"
    );
}

#[tokio::test]
async fn a_snapshot_deleted_while_it_is_read_is_made_again() {
    let (peer, bench) = with_script([], [Fetch::Cut(1 << 20), Fetch::Gone]).await;
    saved(&peer, &bench).await;
    let (peer, bench) = with_script([], vec![Fetch::Gone; 100]).await;
    refused(&peer, &bench, Code::SnapshotChanged).await;
}

#[tokio::test]
async fn a_snapshot_replaced_while_it_is_read_is_not_mixed_with_the_other() {
    let (peer, bench) = with_script([], [Fetch::Cut(1 << 20), Fetch::Replaced]).await;
    saved(&peer, &bench).await;
    assert_eq!(
        peer.requests("POST /collections/c/snapshots "),
        2,
        "by a snapshot of its own"
    );
    // Found out at once, by If-Match, and not only when the checksum of the mixture is wrong.
    let (peer, mut bench) = with_script([], [Fetch::Cut(1 << 20), Fetch::Replaced]).await;
    bench.ctx.settings.attempts = 1;
    refused(&peer, &bench, Code::SnapshotChanged).await;
}

#[tokio::test]
async fn a_snapshot_that_another_of_the_same_second_overwrote_is_neither_used_nor_deleted() {
    let (peer, mut bench) = with_script([Create::Overwritten], []).await;
    bench.ctx.settings.attempts = 1;
    let report = bench.run().await.unwrap();
    assert_eq!(
        report.failed[0].error.code,
        Code::ChecksumMismatch.to_string(),
        "{report:?}"
    );
    assert!(bench.has_no_backup().await);
    assert!(!peer.snapshots("c").is_empty(), "it is somebody else's");
}

#[tokio::test]
async fn a_name_that_was_there_before_is_somebody_elses() {
    let (peer, bench) = with_script([Create::SameSecond], []).await;
    let theirs = format!("c-{}-2026-11-22-12-00-00.snapshot", testkit::peer::PEER_ID);
    peer.add_foreign("c", &theirs);
    let report = bench.run().await.unwrap();
    assert_eq!(
        report.status,
        BackupOutcome::Complete,
        "the second attempt got a name of its own"
    );
    assert_eq!(peer.snapshots("c"), [theirs]);
}

#[tokio::test]
async fn snapshots_of_others_are_never_touched() {
    let (peer, bench) = with_script([Create::Fails("x"), Create::AnswerLost], []).await;
    let theirs = [
        "c-4711-2026-11-22-12-00-00.snapshot".to_owned(),
        "uploaded.snapshot".to_owned(),
    ];
    for name in &theirs {
        peer.add_foreign("c", name);
    }
    bench.run().await.unwrap();
    assert_eq!(peer.snapshots("c"), theirs);
}

#[tokio::test]
async fn a_snapshot_whose_answer_was_lost_is_removed() {
    let (peer, bench) = with_script([Create::AnswerLost], []).await;
    saved(&peer, &bench).await;
    let (peer, bench) = with_script([Create::AnswerLost, Create::AnswerLost], []).await;
    refused(&peer, &bench, Code::QdrantUnreachable).await;
}

#[tokio::test]
async fn a_snapshot_that_appears_after_its_run_ended_is_removed_by_the_next() {
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (peer, bench) = with_script(
        [Create::Held {
            reached: reached.clone(),
            go: go.clone(),
        }],
        [],
    )
    .await;
    let run = bench.run();
    let stop = async {
        reached.acquire().await.unwrap().forget();
        bench.cancel.cancel();
    };
    let (result, ()) = tokio::join!(run, stop);
    assert_eq!(result.unwrap_err().code(), Code::Cancelled);
    assert!(bench.has_no_backup().await);
    go.add_permits(1);
    while peer.snapshots("c").is_empty() {
        tokio::task::yield_now().await;
    }
    let next = Bench {
        cancel: Default::default(),
        ..bench
    };
    saved(&peer, &next).await;
}

#[tokio::test]
async fn a_slow_snapshot_is_waited_for_as_long_as_qdrant_is_alive() {
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let held = Create::Held {
        reached: reached.clone(),
        go: go.clone(),
    };
    let (peer, bench) = with_script([held], []).await;
    let bench = bench.impatient(|_| {});
    let patient = async {
        reached.acquire().await.unwrap().forget();
        // Far more than the idle deadline: four looks whether it is alive make one.
        while peer.requests("GET /readyz") < 12 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        go.add_permits(1);
    };
    tokio::join!(saved(&peer, &bench), patient);
}

#[tokio::test]
async fn a_node_that_went_away_in_mid_snapshot_is_given_up() {
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (peer, bench) = with_script([Create::Held { reached, go }], []).await;
    let mut bench = bench.impatient(|o| o.request_timeout = Duration::from_millis(100));
    bench.ctx.settings.attempts = 1;
    peer.lock().deaf = true;
    let report = bench.run().await.unwrap();
    assert_eq!(
        report.failed[0].error.code,
        Code::QdrantUnreachable.to_string(),
        "{report:?}"
    );
    // It was looked whether it is alive, and more than once.
    assert!(peer.requests("GET /readyz") > 1, "{report:?}");
}

#[tokio::test]
async fn a_snapshot_that_takes_too_long_is_given_up_with_the_limit_named() {
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (_peer, bench) = with_script([Create::Held { reached, go }], []).await;
    let bench = bench.impatient(|o| o.create_timeout = Duration::from_millis(300));
    let report = bench.run().await.unwrap();
    assert_eq!(report.failed[0].error.code, Code::Stalled.to_string(), "{report:?}");
    assert!(
        report.failed[0]
            .error
            .remedy
            .as_deref()
            .unwrap()
            .contains("BACKUP_CREATE_TIMEOUT_SECS")
    );
}

#[tokio::test]
async fn told_to_stop_in_mid_copy_it_leaves_nothing() {
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (peer, bench) = with_script(
        [],
        [Fetch::Held {
            after: 1 << 20,
            reached: reached.clone(),
            go,
        }],
    )
    .await;
    let stop = async {
        reached.acquire().await.unwrap().forget();
        bench.cancel.cancel();
    };
    let (result, ()) = tokio::join!(bench.run(), stop);
    assert_eq!(result.unwrap_err().code(), Code::Cancelled);
    assert_eq!(bench.keys().await, [""; 0]);
    assert_eq!(peer.snapshots("c"), [""; 0]);
}

#[tokio::test]
async fn if_some_fail_the_rest_is_saved_and_the_backup_is_partial() {
    let peer = Peer::start(&[("a", 1000), ("b", 1000), ("c", 0)]).await;
    peer.on_create("b", [Create::Forbidden]);
    let bench = Bench::new(&peer.url).await;
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Partial);
    let error = report.error().unwrap();
    assert_eq!(
        (
            error.code(),
            error.exit_code(),
            qdrant_backup::server::http_status(&error).as_u16()
        ),
        (Code::BackupPartial, 3, 500)
    );
    assert!(error.to_string().contains("1 of 3"), "{error}");
    let manifest = bench.manifest(&report).await;
    assert_eq!(manifest.status, Status::Partial);
    let names: Vec<_> = manifest.collections.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["a", "c"]);
    assert_eq!(manifest.failed[0].collection, "b");
}

#[tokio::test]
async fn a_collection_deleted_in_mid_run_is_a_warning() {
    let peer = Peer::start(&[("a", 1000), ("b", 1000)]).await;
    peer.on_create("b", [Create::ThenCollectionGone]);
    let bench = Bench::new(&peer.url).await;
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Complete, "{report:?}");
    assert!(
        report.warnings.len() == 1 && report.warnings[0].contains("\"b\""),
        "{report:?}"
    );
    assert_eq!(bench.manifest(&report).await.collections.len(), 1);

    let peer = Peer::start(&[("b", 1000)]).await;
    peer.on_create("b", [Create::ThenCollectionGone]);
    let bench = Bench::new(&peer.url).await;
    assert_eq!(bench.run().await.unwrap_err().code(), Code::NothingToBackUp);
    assert!(bench.has_no_backup().await);
}

#[tokio::test]
async fn a_snapshot_that_qdrant_was_making_when_the_run_was_cancelled_is_deleted() {
    let peer = Peer::start(&[("c", 1000)]).await;
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (at, then) = (reached.clone(), go.clone());
    peer.on_create("c", [Create::Held { reached: at, go: then }]);
    let bench = Bench::new(&peer.url).await;
    let cancelled = async {
        let _reached = reached.acquire().await.unwrap();
        bench.cancel.cancel();
        // So long Qdrant still takes.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(peer.snapshots("c"), [""; 0]);
        go.add_permits(1);
    };
    let (run, ()) = tokio::join!(bench.run(), cancelled);
    let error = run.unwrap_err();
    assert_eq!(error.code(), Code::Cancelled);
    assert!(error.remedy_text().is_some(), "{error}");
    assert_eq!(peer.requests("POST /collections/c/snapshots "), 1);
    assert_eq!(peer.snapshots("c"), [""; 0], "nothing may be left on Qdrant");
    assert_eq!(bench.keys().await, [""; 0], "nothing may be left in the store");
}

#[tokio::test]
async fn a_collection_that_is_gone_for_a_while_is_saved_or_the_backup_is_not_good() {
    // Made again before the others are saved: it is saved, too.
    let peer = Peer::start(&[("a", 1000), ("b", 1000)]).await;
    peer.on_create("a", [Create::ThenCollectionGone]);
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (at, then) = (reached.clone(), go.clone());
    peer.on_create("b", [Create::Held { reached: at, go: then }]);
    let mut bench = Bench::new(&peer.url).await;
    bench.ctx.settings.concurrency = 1;
    let make_again = async {
        let _reached = reached.acquire().await.unwrap();
        assert!(!peer.lock().collections.contains_key("a"));
        let like = Peer::start(&[("a", 700)]).await.lock().collections.remove("a").unwrap();
        peer.lock().collections.insert("a".to_owned(), like);
        go.add_permits(1);
    };
    let (report, ()) = tokio::join!(bench.run(), make_again);
    let report = report.unwrap();
    assert_eq!(
        (report.status, report.warnings.len()),
        (BackupOutcome::Complete, 0),
        "{report:?}"
    );
    let manifest = bench.manifest(&report).await;
    let names: Vec<_> = manifest.collections.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let a = &manifest.collections[0].artifacts[0];
    assert!(
        bench.artifact(a).await == peer.body_of("a"),
        "the collection that exists now"
    );
}

#[tokio::test]
async fn with_s3_snapshot_storage_a_snapshot_is_deleted_whatever_its_collection_is_called() {
    let names = ["q#x", "向量", "a%20b", "with space", "é+&=~!"];
    let peer = Peer::start(&names.map(|name| (name, 1000))).await;
    for name in names {
        peer.on_create(name, [Create::OnS3]);
    }
    let bench = Bench::new(&peer.url).await;
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Complete, "{report:?}");
    for name in names {
        assert_eq!(peer.snapshots(name), [""; 0], "{name}");
    }
}

#[tokio::test]
async fn with_s3_snapshot_storage_an_interrupted_read_starts_again() {
    let (peer, bench) = with_script([Create::OnS3], [Fetch::Cut(1 << 20)]).await;
    let report = saved(&peer, &bench).await;
    let c = &bench.manifest(&report).await.collections[0];
    assert!(!c.artifacts[0].sha256_confirmed_by_qdrant);
    assert_eq!(c.warnings.len(), 1, "{:?}", c.warnings);
    let (peer, bench) = with_script([Create::OnS3, Create::OnS3], vec![Fetch::CleanEnd(1 << 20); 100]).await;
    refused(&peer, &bench, Code::LengthMismatch).await;
}

#[tokio::test]
async fn an_empty_qdrant_is_not_a_good_backup() {
    let peer = Peer::start(&[]).await;
    let bench = Bench::new(&peer.url).await;
    let error = bench.run().await.unwrap_err();
    assert_eq!(error.code(), Code::NothingToBackUp);
    assert!(error.to_string().contains("0 collections"), "{error}");
    assert_eq!(bench.keys().await, [""; 0]);
}

#[tokio::test]
async fn what_is_not_on_this_node_is_refused() {
    let peer = Peer::start(&[("c", 10)]).await;
    peer.lock().cluster =
        Some(serde_json::json!({"status": "enabled", "peer_id": 1, "peers": {"1": {"uri": "x"}, "2": {"uri": "y"}}}));
    let bench = Bench::new(&peer.url).await;
    let error = bench.run().await.unwrap_err();
    assert_eq!(error.code(), Code::Unsupported);
    assert!(error.to_string().contains("2 nodes"), "{error}");

    for (remote, state) in [(true, "Active"), (false, "Dead")] {
        let peer = Peer::start(&[("c", 10)]).await;
        peer.lock().collections.get_mut("c").unwrap().remote_shards = remote;
        peer.lock().collections.get_mut("c").unwrap().shard_state = Some(state);
        let bench = Bench::new(&peer.url).await;
        refused(&peer, &bench, Code::Unsupported).await;
    }
}

#[tokio::test]
async fn a_missing_or_wrong_key_is_named_and_never_shown() {
    let peer = Peer::start(&[("c", 10)]).await;
    peer.lock().api_key = Some("right".into());
    for key in [None, Some("s3cret")] {
        let mut bench = Bench::new(&peer.url).await;
        let mut options = testkit::bench::options(&peer.url);
        options.api_key = key.map(|k| k.to_owned().into());
        bench.ctx.qdrant = qdrant_backup::wire::qdrant::Qdrant::new(options).unwrap();
        let error = bench.run().await.unwrap_err();
        assert_eq!(error.code(), Code::QdrantUnauthorized);
        let text = format!("{error} {error:?}");
        assert!(text.contains("QDRANT_API_KEY") && !text.contains("s3cret"), "{text}");
    }
}

#[tokio::test]
async fn an_unreachable_qdrant_is_named_with_its_address() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let bench = Bench::new(&url).await;
    let error = bench.run().await.unwrap_err();
    assert_eq!(error.code(), Code::QdrantUnreachable);
    assert!(error.to_string().contains(&url), "{error}");
    assert_eq!(bench.keys().await, [""; 0]);
}

#[tokio::test]
async fn a_key_that_may_not_ask_whether_qdrant_is_a_cluster_makes_a_backup_with_a_warning() {
    let (peer, bench) = with_script([], []).await;
    peer.lock().cluster_hidden = true;
    let report = saved(&peer, &bench).await;
    assert_eq!(report.warnings.len(), 1, "{report:?}");
    assert_eq!(bench.manifest(&report).await.warnings, report.warnings);
}

#[tokio::test]
async fn a_url_that_is_not_qdrants_is_not_a_missing_collection() {
    let peer = Peer::start(&[("c", 10)]).await;
    let bench = Bench::new(&format!("{}/elsewhere", peer.url)).await;
    let error = bench.run().await.unwrap_err();
    assert_eq!(error.code(), Code::QdrantUnexpected, "{error}");
    assert!(error.to_string().contains(&bench.ctx.qdrant.url()), "{error}");
    assert!(error.remedy_text().unwrap().contains("6333"), "{error}");
    assert_eq!(bench.keys().await, [""; 0]);
}

#[tokio::test]
async fn absurd_names_are_backed_up_like_any_other() {
    let long = "x".repeat(190);
    let names = [
        "a b",
        "ab",
        "a\tb\n",
        "100%",
        "a%2Fb",
        "..x",
        "向量 é",
        "manifest.json",
        "lock.json",
        &long,
        &"é".repeat(95),
        "?#&=+",
    ];
    let list: Vec<_> = names.iter().map(|n| (*n, 5000)).collect();
    let peer = Peer::start(&list).await;
    let bench = Bench::new(&peer.url).await;
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Complete, "{report:?}");
    for c in &bench.manifest(&report).await.collections {
        assert!(
            bench.artifact(&c.artifacts[0]).await == peer.body_of(&c.name),
            "{}",
            c.name
        );
        assert_eq!(peer.snapshots(&c.name), [""; 0]);
    }
}

#[tokio::test]
async fn names_that_would_lead_elsewhere_are_refused_before_anything_is_sent() {
    let peer = Peer::start(&[("c", 10), ("..", 10)]).await;
    let bench = Bench::new(&peer.url).await;
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Partial);
    assert_eq!(report.failed[0].collection, "..");
    assert_eq!(peer.requests("/snapshots/.."), 0);
}

#[tokio::test]
async fn two_runs_never_work_at_once() {
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (peer, bench) = with_script(
        [Create::Held {
            reached: reached.clone(),
            go: go.clone(),
        }],
        [],
    )
    .await;
    let second = async {
        reached.acquire().await.unwrap().forget();
        let error = bench.run().await.unwrap_err();
        go.add_permits(1);
        error
    };
    let (first, error) = tokio::join!(bench.run(), second);
    assert_eq!(first.unwrap().status, BackupOutcome::Complete);
    assert_eq!(
        (
            error.code(),
            qdrant_backup::server::http_status(&error).as_u16(),
            error.exit_code()
        ),
        (Code::RunInProgress, 409, 5)
    );
    // Who, and since when.
    for told in ["test", &time::OffsetDateTime::now_utc().year().to_string()] {
        assert!(error.chain().contains(told), "{told}: {error}");
    }
    assert_eq!(peer.snapshots("c"), [""; 0]);
}

#[tokio::test]
async fn a_run_that_lost_its_lease_stops_and_commits_nothing() {
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (peer, mut bench) = with_script(
        [Create::Held {
            reached: reached.clone(),
            go,
        }],
        [],
    )
    .await;
    bench.ctx.settings.lease = Duration::from_millis(600);
    let thief = async {
        reached.acquire().await.unwrap().forget();
        std::fs::remove_file(bench.dir.path().join("lock.json")).unwrap();
        std::fs::write(
            bench.dir.path().join("lock.json"),
            r#"{"holder":"x","who":"somebody else","since":"2026-11-22T12:00:00Z","expires_at":"2999-01-01T00:00:00Z"}"#,
        )
        .unwrap();
    };
    let (result, ()) = tokio::join!(bench.run(), thief);
    assert_eq!(result.unwrap_err().code(), Code::LeaseLost);
    assert!(
        !keys(&*bench.ctx.store, "")
            .await
            .iter()
            .any(|k| k.ends_with("manifest.json"))
    );
    let lock = std::fs::read(bench.dir.path().join("lock.json")).unwrap();
    let lock: serde_json::Value = serde_json::from_slice(&lock).unwrap();
    assert_eq!(lock["who"], "somebody else", "the other's lease must stay");
    drop(peer);
}

#[tokio::test]
async fn a_lease_that_ran_out_is_taken_over() {
    let (peer, bench) = with_script([], []).await;
    std::fs::write(
        bench.dir.path().join("lock.json"),
        r#"{"holder":"x","who":"a dead run","since":"2026-11-22T12:00:00Z","expires_at":"2026-11-22T12:02:00Z"}"#,
    )
    .unwrap();
    saved(&peer, &bench).await;
}

#[tokio::test]
async fn two_backups_in_one_second_get_ids_of_their_own() {
    let (peer, mut bench) = with_script([], []).await;
    let now = time::OffsetDateTime::now_utc();
    bench.ctx.clock = qdrant_backup::base::clock::Clock::new(move || now);
    let first = bench.run().await.unwrap();
    let second = bench.run().await.unwrap();
    assert!(first.id < second.id);
    assert_eq!(
        qdrant_backup::repository::catalog::list(&*bench.ctx.store, 10, time::OffsetDateTime::now_utc())
            .await
            .unwrap()
            .len(),
        2
    );
    let latest = qdrant_backup::repository::catalog::newest(&*bench.ctx.store, time::OffsetDateTime::now_utc())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(latest.id, second.id);
    drop(peer);
}

#[tokio::test]
async fn backups_that_follow_each_other_at_once_are_not_of_the_future() {
    let (_peer, bench) = with_script([], []).await;
    for _ in 0..3 {
        let id = bench.run().await.unwrap().id;
        assert!(id.time() <= time::OffsetDateTime::now_utc(), "{id} is in the future");
    }
}

#[tokio::test]
async fn only_what_was_asked_for_is_backed_up() {
    let peer = Peer::start(&[("docs-a", 10), ("docs-b", 10), ("tmp", 10)]).await;
    let bench = Bench::new(&peer.url).await;
    let selection = Selection {
        include: vec!["docs-*".into()],
        exclude: vec!["*-b".into()],
        ..Selection::default()
    };
    let report = bench.run_for(&selection).await.unwrap();
    assert_eq!(report.collections.len(), 1);
    assert_eq!(bench.manifest(&report).await.selection, selection);
    assert_eq!(peer.requests("POST /collections/docs-b"), 0);
    let unknown = Selection {
        collections: vec!["nope".into()],
        ..Selection::default()
    };
    assert_eq!(
        bench.run_for(&unknown).await.unwrap_err().code(),
        Code::CollectionNotFound
    );
}

/// Five collections, of which none may be saved, one at a time.
async fn read_only_key(hidden: bool) -> (Peer, Bench) {
    let names = ["a", "b", "c", "d", "e"];
    let peer = Peer::start(&names.map(|name| (name, 10))).await;
    peer.lock().cluster_hidden = hidden;
    for name in names {
        peer.on_create(name, [Create::Forbidden]);
    }
    let mut bench = Bench::new(&peer.url).await;
    bench.ctx.settings.concurrency = 1;
    (peer, bench)
}

fn asked_for(peer: &Peer) -> usize {
    let log = &peer.lock().log;
    log.iter()
        .filter(|line| line.starts_with("POST ") && line.contains("/snapshots"))
        .count()
}

#[tokio::test]
async fn a_key_that_may_only_read_ends_the_run_at_the_first_collection() {
    let (peer, bench) = read_only_key(false).await;
    let error = bench.run().await.unwrap_err();
    assert_eq!(error.code(), Code::QdrantForbidden);
    assert!(error.to_string().contains("5 collections"), "{error}");
    assert_eq!(asked_for(&peer), 1);
    assert!(bench.has_no_backup().await);
}

#[tokio::test]
async fn a_key_for_certain_collections_is_tried_on_each() {
    let (peer, bench) = read_only_key(true).await;
    peer.lock().collections.get_mut("c").unwrap().create.clear();
    let report = bench.run().await.unwrap();
    assert_eq!((report.status, report.failed.len()), (BackupOutcome::Partial, 4));
    assert_eq!(asked_for(&peer), 5);
}
