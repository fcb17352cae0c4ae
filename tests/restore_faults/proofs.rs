//! What a restore makes of what a verification or a drill has recorded about its backup.

use crate::Lost;
use qdrant_backup::error::Code;
use qdrant_backup::restore::{self, Outcome, Request};

impl Lost {
    /// Records a verdict beside the manifest.
    fn recorded(&self, file: &str, verdict: &str) {
        let record = format!(r#"{{"verdict": "{verdict}", "at": "2026-11-20T01:02:03Z"}}"#);
        std::fs::write(self.manifest().with_file_name(file), record).unwrap();
    }

    /// The collection is there again, with other points.
    fn refilled(&self) {
        self.peer.lock().collections.entry("a".into()).or_default().points = 7;
    }
}

#[tokio::test]
async fn a_backup_that_was_found_damaged_is_not_restored_over_points() {
    let lost = Lost::new().await;
    lost.recorded("verified.json", "damaged");
    lost.refilled();
    let over = Request {
        overwrite: true,
        ..lost.request()
    };
    let plan = restore::plan(&lost.bench.ctx, &over).await.unwrap();
    assert_eq!(plan.refusals[0].collection.as_deref(), Some("a"), "{plan}");
    let error = lost.run(&over).await.unwrap_err();
    assert_eq!(error.code(), Code::RestoreRefused, "{error}");
    let text = error.to_string();
    for part in ["found damaged at 2026-11-20T01:02:03Z", "7 points", "verify", "--into"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // And `latest` it is to nobody.
    let latest = Request {
        id: "latest".into(),
        ..over
    };
    let error = lost.run(&latest).await.unwrap_err();
    assert_eq!(error.code(), Code::BackupNotFound, "{error}");
    assert_eq!(lost.peer.requests("/snapshots/upload"), 0);
    assert_eq!(lost.peer.lock().collections["a"].points, 7);

    // Beside it, and over nothing, it is restored with a warning.
    for (into, overwrite) in [(Some("b".to_owned()), true), (Some("c".to_owned()), false)] {
        let request = Request {
            into,
            overwrite,
            ..lost.request()
        };
        let report = lost.run(&request).await.unwrap();
        assert_eq!(report.status, Outcome::Complete, "{report:?}");
        assert!(
            report.warnings.iter().any(|w| w.contains("found damaged")),
            "{report:?}"
        );
    }

    // Checked again and intact.
    lost.recorded("verified.json", "intact");
    let over = Request {
        overwrite: true,
        ..lost.request()
    };
    let report = lost.run(&over).await.unwrap();
    assert_eq!(
        (report.status, report.warnings.len()),
        (Outcome::Complete, 0),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_drill_that_failed_is_told_and_forbids_nothing() {
    let lost = Lost::new().await;
    lost.recorded("drilled.json", "failed");
    lost.refilled();
    let over = Request {
        overwrite: true,
        ..lost.request()
    };
    let report = lost.run(&over).await.unwrap();
    assert_eq!(report.status, Outcome::Complete, "{report:?}");
    assert!(
        report
            .warnings
            .iter()
            .any(|w| w.contains("a drill of backup") && w.contains("2026-11-20")),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_record_that_cannot_be_read_forbids_nothing() {
    let lost = Lost::new().await;
    std::fs::write(lost.manifest().with_file_name("verified.json"), "nonsense").unwrap();
    lost.refilled();
    let over = Request {
        overwrite: true,
        ..lost.request()
    };
    let report = lost.run(&over).await.unwrap();
    assert_eq!(report.status, Outcome::Complete, "{report:?}");
}
