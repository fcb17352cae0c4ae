//! What is recorded, and which backups are verified.

use super::{service, verifier};
use gcs_emulator::{Fault, On};
use qdrant_backup::base::clock::Clock;
use qdrant_backup::base::error::Code;
use qdrant_backup::ops::verify::{Verifier, VerifyVerdict, read_record};
use qdrant_backup::repository::catalog::State;
use qdrant_backup::repository::catalog::{self, Mark};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use testkit::lab::{Lab, of};
use time::OffsetDateTime;

#[tokio::test(flavor = "multi_thread")]
async fn the_record_is_that_of_the_youngest_check() {
    for lab in [Lab::in_directory().await, Lab::in_bucket().await] {
        let store = &*lab.store;
        assert!(read_record(store, &lab.id).await.unwrap().is_none());
        let first = verifier(lab.store.clone()).run(&lab.id).await.unwrap();
        let record = read_record(store, &lab.id).await.unwrap().unwrap();
        assert_eq!(
            (record.format, record.id, record.verdict),
            (1, lab.id, VerifyVerdict::Intact)
        );
        assert_eq!(
            (record.by.as_str(), record.tool_version.as_str()),
            ("test", env!("CARGO_PKG_VERSION"))
        );
        assert_eq!(record.at, first.at);
        assert_eq!(record.extra["objects"].as_array().unwrap().len(), 3);

        lab.delete(&lab.key("drafts")).await;
        verifier(lab.store.clone()).run(&lab.id).await.unwrap();
        assert_eq!(
            read_record(store, &lab.id).await.unwrap().unwrap().verdict,
            VerifyVerdict::Damaged
        );

        // One that began earlier and ended later does not replace it.
        lab.put(&lab.key("drafts"), &lab.original(&lab.key("drafts"))).await;
        assert_eq!(
            began_long_ago(&lab).run(&lab.id).await.unwrap().verdict,
            VerifyVerdict::Intact
        );
        assert_eq!(
            read_record(store, &lab.id).await.unwrap().unwrap().verdict,
            VerifyVerdict::Damaged
        );

        // What cannot be read as a record is replaced.
        lab.put(&lab.id.verified(), b"nonsense").await;
        assert!(read_record(store, &lab.id).await.unwrap().is_none());
        verifier(lab.store.clone()).run(&lab.id).await.unwrap();
        assert_eq!(
            read_record(store, &lab.id).await.unwrap().unwrap().verdict,
            VerifyVerdict::Intact
        );

        // Several at once end well, and one of them is recorded.
        let verifier = verifier(lab.store.clone());
        let (a, b, c) = tokio::join!(verifier.run(&lab.id), verifier.run(&lab.id), verifier.run(&lab.id));
        let youngest = [a, b, c].map(|r| r.unwrap().at).into_iter().max().unwrap();
        assert_eq!(read_record(store, &lab.id).await.unwrap().unwrap().at, youngest);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_names_anothers_object_is_no_good_backup() {
    let lab = Lab::in_directory().await;
    lab.edit(|m| {
        let other = of(m, "products")["artifacts"].clone();
        of(m, "articles")["artifacts"] = other;
    })
    .await;
    let listed = catalog::list(&*lab.store, 10, time::OffsetDateTime::now_utc())
        .await
        .unwrap()
        .remove(0);
    assert_eq!(
        (listed.marks.clone(), listed.state(time::OffsetDateTime::now_utc())),
        (vec![Mark::Damaged], State::Unknown)
    );
    let problem = listed.problem.unwrap();
    for collection in ["articles", "products"] {
        let key = lab.key(collection);
        assert!(problem.contains(&key), "{key}: {problem}");
    }
    let shown = catalog::show(&*lab.store, lab.id, OffsetDateTime::now_utc())
        .await
        .unwrap();
    assert_eq!(shown.summary.marks, [Mark::Damaged]);
}

/// A verifier whose checks began long ago, by its clock, and end now.
fn began_long_ago(lab: &Lab) -> Verifier {
    let asked = AtomicUsize::new(0);
    Verifier {
        // Asked for the start of the run, for that of the check, and then for what comes at the end.
        clock: Clock::new(move || match asked.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => time::macros::datetime!(2026-01-01 00:00 UTC),
            _ => OffsetDateTime::now_utc(),
        }),
        ..verifier(lab.store.clone())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_recorded_over_a_later_check_that_found_none_and_over_a_record_of_the_future() {
    let lab = Lab::in_directory().await;
    let recorded = async || read_record(&*lab.store, &lab.id).await.unwrap().unwrap();
    verifier(lab.store.clone()).run(&lab.id).await.unwrap();
    assert_eq!(recorded().await.verdict, VerifyVerdict::Intact);
    lab.delete(&lab.key("drafts")).await;
    let late = began_long_ago(&lab).run(&lab.id).await.unwrap();
    assert_eq!(late.verdict, VerifyVerdict::Damaged);
    assert_eq!(
        (recorded().await.verdict, recorded().await.at),
        (VerifyVerdict::Damaged, late.at)
    );

    // A clock that is a year ahead does not make verdicts that last a year.
    for (verdict, restored) in [(VerifyVerdict::Intact, false), (VerifyVerdict::Damaged, true)] {
        let mut record: Value = serde_json::from_slice(&lab.bytes(&lab.id.verified()).await).unwrap();
        record["at"] = json!("2999-01-01T00:00:00Z");
        record["verdict"] = serde_json::to_value(verdict).unwrap();
        lab.put(&lab.id.verified(), &serde_json::to_vec(&record).unwrap()).await;
        if restored {
            lab.put(&lab.key("drafts"), &lab.original(&lab.key("drafts"))).await;
        }
        let report = verifier(lab.store.clone()).run(&lab.id).await.unwrap();
        assert_ne!(report.verdict, verdict);
        assert_eq!(
            (recorded().await.verdict, recorded().await.at),
            (report.verdict, report.at)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_is_older_than_its_backup_is_none_of_it() {
    let lab = Lab::in_directory().await;
    let now = OffsetDateTime::now_utc();
    let marks = async || catalog::list(&*lab.store, 9, now).await.unwrap()[0].marks.clone();
    for (key, intact, bad, mark, first) in [
        (lab.id.verified(), "intact", "damaged", Mark::Verified, Mark::Damaged),
        (lab.id.drilled(), "passed", "failed", Mark::Drilled, Mark::DrillFailed),
    ] {
        let put = async |verdict: &str, at: &str| {
            let record = json!({"format": 1, "id": lab.id, "verdict": verdict, "at": at});
            lab.put(&key, &serde_json::to_vec(&record).unwrap()).await;
            marks().await
        };
        let recently = now.format(&time::format_description::well_known::Rfc3339).unwrap();
        assert_eq!(put(intact, &recently).await, [Mark::Good, mark], "{key}");
        assert_eq!(put(intact, "2001-01-01T00:00:00Z").await, [Mark::Good], "{key}");
        // Who warns is heard, whatever the clock said.
        assert_eq!(put(bad, "2001-01-01T00:00:00Z").await, [first], "{key}");
        lab.delete(&key).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_is_told_also_where_it_cannot_be_recorded() {
    let lab = Lab::in_bucket().await;
    let emulator = lab.gcs();
    for record in ["*verified.json", "*drilled.json"] {
        let refused = Fault::Status {
            on: On::Start,
            code: 403,
        };
        emulator.fault(record, 100, refused);
    }
    let scratch = tempfile::tempdir().unwrap();
    let service = service(&lab).await;
    for (damaged, exit, status, code) in [(false, 0, 502, "store_forbidden"), (true, 9, 500, "backup_damaged")] {
        if damaged {
            lab.delete(&lab.key("drafts")).await;
        }
        let word = if damaged { "damaged" } else { "intact" };
        let (got, out, err) = lab.cli(&["verify", "latest", "--json"]).await;
        assert_eq!(got, exit, "{out}{err}");
        let told: Value = serde_json::from_str(&out).unwrap();
        // Whoever may only read has what it asked for.
        let (error, report) = match damaged {
            true => (Some(code), &told["report"]),
            false => (None, &told),
        };
        assert_eq!(told["error"]["code"].as_str(), error, "{out}");
        assert_eq!(
            (report["verdict"].as_str(), report["not_recorded"]["code"].as_str()),
            (Some(word), Some("store_forbidden")),
            "{out}"
        );
        let outcome = if damaged { "damaged" } else { "failed" };
        let (_, _, log) = lab.cli(&["verify", "latest", "--json", "--log-format", "json"]).await;
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let finished: Vec<_> = lines.filter(|line| line["event"] == "verify_finished").collect();
        assert_eq!((finished.len(), &finished[0]["outcome"]), (1, &json!(outcome)), "{log}");
        let (got, out, err) = lab.cli(&["verify", "latest"]).await;
        assert_eq!(got, exit, "{out}{err}");
        // For people it is all of this on one screen.
        for told in [word, "verified.json"] {
            assert!(out.to_lowercase().contains(told), "{told}: {out}");
        }

        let (got, answer) = service.post("/backups/latest/verify", "").await;
        assert_eq!(
            (got, answer["error"]["code"].as_str()),
            (status, Some(code)),
            "{answer}"
        );
        assert_eq!(answer["report"]["verdict"], word, "{answer}");
        assert!(read_record(&*lab.store, &lab.id).await.unwrap().is_none());

        let drilled = verifier(lab.store.clone())
            .drill(&lab.id, scratch.path())
            .await
            .unwrap();
        let expected = if damaged {
            Code::RestoreFailed
        } else {
            Code::StoreForbidden
        };
        assert_eq!(drilled.error().unwrap().code(), expected);
        assert_eq!(drilled.not_recorded.unwrap().code, Code::StoreForbidden);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_backups_are_verified_and_damage_decides_the_exit_code() {
    let lab = Lab::in_directory().await;
    // A second backup whose manifest is newer than this version, a third that is damaged.
    let manifest = lab.original(&lab.id.manifest());
    let mut newer: Value = serde_json::from_slice(&manifest).unwrap();
    newer["format"] = json!(2);
    lab.put(
        "backups/2030-01-01T00-00-00Z/manifest.json",
        &serde_json::to_vec(&newer).unwrap(),
    )
    .await;
    let (exit, out, err) = lab.cli(&["verify", "all"]).await;
    assert_eq!(exit, 13, "{out}{err}");
    assert!(out.contains("format 2") && out.contains("intact"), "{out}{err}");
    lab.put("backups/2029-01-01T00-00-00Z/manifest.json", &manifest).await;
    let (exit, out, err) = lab.cli(&["verify", "all", "--json"]).await;
    assert_eq!(exit, 9, "{out}{err}");
    let all: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        all["error"]["code"], "backup_damaged",
        "damage goes before what could not be checked"
    );
    let all = all["report"]["backups"].as_array().unwrap();
    assert_eq!(all[0]["error"]["code"], "backup_unsupported");
    assert_eq!(
        all[1]["error"]["code"], "backup_damaged",
        "it is a copy of another one's manifest"
    );
    assert_eq!(all[2]["verdict"], "intact");
    assert_eq!(all.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_backup_is_refused() {
    let lab = Lab::in_directory().await;
    let service = service(&lab).await;
    for (id, status, code) in [
        ("nope", 400, "bad_request"),
        ("all", 400, "bad_request"),
        ("2020-01-01T00-00-00Z", 404, "backup_not_found"),
    ] {
        let (got, answer) = service.post(&format!("/backups/{id}/verify"), "").await;
        assert_eq!(
            (got, answer["error"]["code"].as_str()),
            (status, Some(code)),
            "{answer}"
        );
    }
    let (status, _) = service.get("/backups/latest/verify").await;
    assert_eq!(status, 405);
    let (status, report) = service.post("/backups/latest/verify", "").await;
    assert_eq!(
        (status, report["id"].as_str()),
        (200, Some(lab.id.to_string().as_str())),
        "{report}"
    );
    assert_eq!(lab.cli(&["verify", "nope"]).await.0, 2);
    assert_eq!(lab.cli(&["verify", "2020-01-01T00-00-00Z"]).await.0, 8);
    lab.delete(&lab.id.manifest()).await;
    assert_eq!(lab.cli(&["verify", "latest"]).await.0, 8);
    assert_eq!(lab.cli(&["verify", "all"]).await.0, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_verify_and_drill_record_is_what_the_catalog_reads() {
    let lab = Lab::in_directory().await;
    let listed = async || {
        let mut list = catalog::list(&*lab.store, 10, time::OffsetDateTime::now_utc())
            .await
            .unwrap();
        assert_eq!(list.len(), 1);
        let one = list.remove(0);
        (one.marks.clone(), one.state(time::OffsetDateTime::now_utc()))
    };
    let (verifier, scratch) = (verifier(lab.store.clone()), tempfile::tempdir().unwrap());
    assert_eq!(listed().await, (vec![Mark::Good], State::Good));
    verifier.run(&lab.id).await.unwrap();
    assert_eq!(listed().await, (vec![Mark::Good, Mark::Verified], State::Good));
    assert!(verifier.drill(&lab.id, scratch.path()).await.unwrap().error().is_none());
    let proven = vec![Mark::Good, Mark::Verified, Mark::Drilled];
    assert_eq!(listed().await, (proven, State::Good));

    lab.delete(&lab.key("drafts")).await;
    assert!(verifier.drill(&lab.id, scratch.path()).await.unwrap().error().is_some());
    // It could be the fault of what it was drilled on: not good, and not given up either.
    let unproven = vec![Mark::DrillFailed, Mark::Verified];
    assert_eq!(listed().await, (unproven, State::Unknown));
    assert_eq!(verifier.run(&lab.id).await.unwrap().verdict, VerifyVerdict::Damaged);
    assert_eq!(listed().await, (vec![Mark::Damaged], State::Damaged));
}
