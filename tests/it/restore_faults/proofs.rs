//! What a restore makes of what a verification or a drill has recorded about its backup.

use crate::told::offers;
use qdrant_backup::base::error::{Code, Error};
use qdrant_backup::ops::restore::{self, RestoreOutcome, RestoreRequest};
use testkit::lost::Lost;

/// Records a verdict beside the manifest.
fn record(lost: &Lost, file: &str, verdict: &str) {
    let record = format!(r#"{{"verdict": "{verdict}", "at": "2026-11-20T01:02:03Z"}}"#);
    std::fs::write(lost.manifest().with_file_name(file), record).unwrap();
}

/// The collection is there again, with other points.
fn refill(lost: &Lost) {
    lost.peer.lock().collections.entry("a".into()).or_default().points = 7;
}

/// Refused for the 7 points that would be lost; a check by this command, or a restore beside it, is offered.
#[track_caller]
fn assert_forbidden(error: &Error, check: &str) {
    assert_eq!(error.code(), Code::RestoreRefused, "{error}");
    assert!(error.chain().contains("7 points"), "{error}");
    let remedy = error.remedy_text().unwrap();
    for command in [&[check][..], &["restore", "--into"]] {
        assert!(offers(remedy, command), "{command:?}: {error}");
    }
}

#[tokio::test]
async fn a_backup_that_was_found_damaged_is_not_restored_over_points() {
    let lost = Lost::new().await;
    record(&lost, "verified.json", "damaged");
    refill(&lost);
    let over = RestoreRequest {
        overwrite: true,
        ..lost.request()
    };
    let plan = restore::plan(&lost.bench.ctx, &over).await.unwrap();
    assert_eq!(plan.refusals[0].collection.as_deref(), Some("a"), "{plan}");
    let error = lost.run(&over).await.unwrap_err();
    assert_eq!(error.code(), Code::RestoreRefused, "{error}");
    assert_forbidden(&error, "verify");
    assert!(error.chain().contains("2026-11-20T01:02:03Z"), "{error}");
    // And `latest` it is to nobody.
    let latest = RestoreRequest {
        id: "latest".into(),
        ..over
    };
    let error = lost.run(&latest).await.unwrap_err();
    assert_eq!(error.code(), Code::BackupNotFound, "{error}");
    assert_eq!(lost.peer.requests("/snapshots/upload"), 0);
    assert_eq!(lost.peer.lock().collections["a"].points, 7);

    // Beside it, and over nothing, it is restored with a warning.
    for (into, overwrite) in [(Some("b".to_owned()), true), (Some("c".to_owned()), false)] {
        let request = RestoreRequest {
            into,
            overwrite,
            ..lost.request()
        };
        let report = lost.run(&request).await.unwrap();
        assert_eq!(report.status, RestoreOutcome::Complete, "{report:?}");
        assert!(
            report.warnings.iter().any(|w| w.contains("2026-11-20T01:02:03Z")),
            "{report:?}"
        );
    }

    // Checked again and intact.
    record(&lost, "verified.json", "intact");
    let over = RestoreRequest {
        overwrite: true,
        ..lost.request()
    };
    let report = lost.run(&over).await.unwrap();
    assert_eq!(
        (report.status, report.warnings.len()),
        (RestoreOutcome::Complete, 0),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_drill_that_failed_is_told_and_forbids_nothing() {
    let lost = Lost::new().await;
    record(&lost, "drilled.json", "failed");
    refill(&lost);
    let over = RestoreRequest {
        overwrite: true,
        ..lost.request()
    };
    let report = lost.run(&over).await.unwrap();
    assert_eq!(report.status, RestoreOutcome::Complete, "{report:?}");
    assert!(
        report
            .warnings
            .iter()
            .any(|w| w.contains(&lost.id) && w.contains("2026-11-20T01:02:03Z")),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_record_that_is_not_understood_forbids_what_damage_forbids() {
    for (file, record, by) in [
        ("verified.json", "nonsense", "verify"),
        ("drilled.json", r#"{"verdict": "so-so"}"#, "drill"),
    ] {
        let lost = Lost::new().await;
        std::fs::write(lost.manifest().with_file_name(file), record).unwrap();
        refill(&lost);
        let over = RestoreRequest {
            overwrite: true,
            ..lost.request()
        };
        let plan = restore::plan(&lost.bench.ctx, &over).await.unwrap();
        assert_eq!(plan.refusals[0].collection.as_deref(), Some("a"), "{plan}");
        let error = lost.run(&over).await.unwrap_err();
        assert_forbidden(&error, by);
        assert_eq!(lost.peer.lock().collections["a"].points, 7);
        let beside = RestoreRequest {
            into: Some("b".into()),
            ..lost.request()
        };
        let report = lost.run(&beside).await.unwrap();
        assert_eq!(report.status, RestoreOutcome::Complete, "{report:?}");
        assert!(
            report.warnings.len() == 1 && report.warnings[0].contains(&lost.id),
            "{report:?}"
        );
    }
}

#[tokio::test]
async fn a_backup_whose_time_has_not_come_is_restored_with_a_warning() {
    let lost = Lost::new().await;
    let id = "9999-01-01T00-00-00Z";
    let text = std::fs::read_to_string(lost.manifest()).unwrap().replace(&lost.id, id);
    std::fs::write(lost.manifest(), text).unwrap();
    let folder = lost.manifest().parent().unwrap().to_owned();
    std::fs::rename(&folder, folder.with_file_name(id)).unwrap();
    let request = RestoreRequest {
        id: id.into(),
        ..lost.request()
    };
    let plan = restore::plan(&lost.bench.ctx, &request).await.unwrap();
    assert!(plan.refusals.is_empty(), "{plan}");
    assert!(plan.warnings.len() == 1 && plan.warnings[0].contains(id), "{plan}");
}

#[tokio::test]
async fn a_plan_is_one_plain_line_for_each_thing_whatever_the_manifest_says() {
    let lost = Lost::new().await;
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(lost.manifest()).unwrap()).unwrap();
    let mean = "1.18.3-\u{1b}[2J\n\u{9b}\u{202e}";
    manifest["qdrant"]["version"] = mean.into();
    manifest["collections"][0]["config"][mean] = 1.into();
    manifest["collections"][0]["payload_schema"][mean] = serde_json::json!({"data_type": mean});
    std::fs::write(lost.manifest(), manifest.to_string()).unwrap();
    refill(&lost);
    let over = RestoreRequest {
        overwrite: true,
        ..lost.request()
    };
    let plan = restore::plan(&lost.bench.ctx, &over).await.unwrap();
    assert!(plan.collections[0].differences.len() >= 2, "{plan:?}");
    let text = plan.to_string();
    let wild = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    assert!(!text.contains(wild), "{text:?}");
    assert!(text.lines().all(|line| !line.starts_with('[')), "{text}");
    assert!(text.contains(r"config.1.18.3-\u{1b}[2J\n"), "{text}");
}

#[tokio::test]
async fn qdrant_is_not_asked_about_a_name_that_it_does_not_take() {
    let lost = Lost::new().await;
    let request = |into: String| RestoreRequest {
        into: Some(into),
        ..lost.request()
    };
    let plan = restore::plan(&lost.bench.ctx, &request("x".repeat(256))).await.unwrap();
    assert_eq!(plan.refusals[0].collection.as_deref(), Some("a"), "{plan}");
    assert_eq!(lost.peer.requests("/snapshots/recover"), 0);
    let plan = restore::plan(&lost.bench.ctx, &request("x".repeat(255))).await.unwrap();
    assert!(plan.refusals.is_empty(), "{plan}");
    assert_eq!(lost.peer.requests("/snapshots/recover"), 1);
}
