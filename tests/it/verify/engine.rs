//! The proof by Qdrant's own engine.

use super::reads::breaks;
use super::verifier;
use qdrant_backup::base::error::Code;
use qdrant_backup::ops::verify::VerifyVerdict;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use testkit::lab::{Lab, of};
use testkit::store::keys;

/// What the engine said of a backup, by the library.
async fn drilled(lab: &Lab) -> qdrant_backup::ops::drill::DrillReport {
    let scratch = tempfile::tempdir().unwrap();
    let drilled = verifier(lab.store.clone())
        .drill(&lab.id, scratch.path())
        .await
        .unwrap();
    assert_eq!(
        std::fs::read_dir(scratch.path()).unwrap().count(),
        0,
        "nothing may stay in the scratch directory"
    );
    let recorded: Value = serde_json::from_slice(&lab.bytes(&lab.id.drilled()).await).unwrap();
    // By way of text on both sides: fractions of a second may lose their last digit on it.
    let told: Value = serde_json::from_str(&serde_json::to_string(&drilled).unwrap()).unwrap();
    assert_eq!(recorded, told);
    drilled
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_proves_a_backup_without_a_server() {
    for lab in [Lab::in_directory().await, Lab::in_bucket().await] {
        let drilled = drilled(&lab).await;
        assert!(drilled.error().is_none() && drilled.warnings.is_empty(), "{drilled:?}");
        let found: Vec<_> = drilled
            .collections
            .iter()
            .map(|c| (c.name.as_str(), c.points.unwrap(), c.searches.unwrap()))
            .collect();
        assert_eq!(found, [("articles", 200, 8), ("drafts", 0, 0), ("products", 100, 24)]);
        assert!(
            drilled
                .collections
                .iter()
                .all(|c| c.points == Some(0) || c.sampled.unwrap() >= 10),
            "{drilled:?}"
        );
        let scratch = tempfile::tempdir().unwrap();
        let (exit, out, err) = lab
            .cli(&[
                "verify",
                "latest",
                "--engine",
                "--scratch",
                scratch.path().to_str().unwrap(),
                "--json",
            ])
            .await;
        assert_eq!(exit, 0, "{out}{err}");
        let told: Value = serde_json::from_str(&out).unwrap();
        let collections = told["drilled"]["collections"]
            .as_array()
            .unwrap_or_else(|| panic!("{told}"));
        let found: Vec<_> = collections.iter().map(|c| (&c["verdict"], &c["points"])).collect();
        let passed = json!("passed");
        let points = [200, 0, 100].map(|points| json!(points));
        assert_eq!(found, points.each_ref().map(|points| (&passed, points)), "{told}");
        // Both, that of the library and that of the command, told of themselves as any other run does.
        let mut runs = keys(&*lab.store, "runs/").await;
        runs.retain(|key| key.contains("-drill-"));
        assert_eq!(runs.len(), 2, "{runs:?}");
        for run in runs {
            let record: Value = serde_json::from_slice(&lab.bytes(&run).await).unwrap();
            assert_eq!(
                (&record["state"], &record["backup"], &record["totals"]["done"]),
                (&json!("succeeded"), &json!(lab.id.to_string()), &json!(3)),
                "{record}"
            );
        }
        assert_eq!(
            lab.cli(&["verify", "latest", "--engine"]).await.0,
            2,
            "the engine needs a scratch directory"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_finds_what_checksums_cannot() {
    let lab = Lab::in_directory().await;
    let artifact = lab.original(&lab.key("articles"));
    let cases: [(&str, &[&str]); 7] = [
        ("another count in the manifest", &["200", "201"]),
        ("another vector size in the manifest", &["64", "65"]),
        ("another index in the manifest", &["year"]),
        (
            "another collection's object in the manifest",
            &["articles/collection.snapshot", "products/collection.snapshot"],
        ),
        // It says what it has instead of what was counted.
        ("another collection's snapshot, saved as this one's", &["200", "100"]),
        ("a segment whose state is no JSON", &["segment.json"]),
        ("vectors overwritten", &["search"]),
    ];
    let mut all = BTreeSet::new();
    println!("{:52} what the engine finds", "fault");
    for (what, names) in cases {
        lab.mend().await;
        match what {
            "another count in the manifest" => {
                lab.edit(|m| {
                    let c = of(m, "articles");
                    c["points_before"] = json!(201);
                    c["points_after"] = json!(201);
                })
                .await;
            }
            "another vector size in the manifest" => {
                lab.edit(|m| of(m, "articles")["config"]["params"]["vectors"]["size"] = json!(65))
                    .await
            }
            "another index in the manifest" => {
                lab.edit(|m| {
                    of(m, "articles")["payload_schema"] = json!({"year": {"data_type": "integer", "points": 1}})
                })
                .await;
            }
            "another collection's object in the manifest" => {
                lab.edit(|m| {
                    let other = of(m, "products")["artifacts"].clone();
                    of(m, "articles")["artifacts"] = other;
                })
                .await;
            }
            "another collection's snapshot, saved as this one's" => {
                let other = lab.original(&lab.key("products"));
                lab.record("articles", &other).await;
            }
            "a segment whose state is no JSON" => {
                let at = (0..artifact.len())
                    .step_by(512)
                    .find(|at| artifact[*at..].starts_with(b"snapshot/files/segment.json"))
                    .unwrap();
                let mut bytes = artifact.clone();
                bytes[at + 512] = b'x';
                lab.record("articles", &bytes).await;
            }
            "vectors overwritten" => {
                let name = b"snapshot/files/vector_storage/vectors/chunk_0.mmap";
                let at = (0..artifact.len())
                    .step_by(512)
                    .find(|at| artifact[*at..].starts_with(name))
                    .unwrap();
                let mut bytes = artifact.clone();
                // All but the last vectors, so that some are as they were.
                bytes[at + 512..at + 512 + 150 * 256].fill(0x7f);
                lab.record("articles", &bytes).await;
            }
            other => panic!("{other}"),
        }
        if !what.contains("manifest") && !what.contains("another collection") {
            assert_eq!(
                verifier(lab.store.clone()).run(&lab.id).await.unwrap().verdict,
                VerifyVerdict::Intact,
                "{what}: the bytes are those recorded"
            );
        }
        let drilled = drilled(&lab).await;
        let articles = &drilled.collections[0];
        let problem = articles.problem.clone().unwrap_or_default();
        println!("{what:52} {}", problem.chars().take(150).collect::<String>());
        for name in names {
            assert!(problem.contains(name), "{what}: {name:?} is not in {problem}");
        }
        // A failed drill, which is no word of damage.
        let error = drilled.error().unwrap();
        assert_eq!((error.code(), error.exit_code()), (Code::RestoreFailed, 12), "{error}");
        assert!(!error.to_string().to_lowercase().contains("damaged"), "{error}");
        assert!(all.insert(problem), "{what} is told as another fault: {all:?}");
        assert!(
            drilled.collections[1..].iter().all(|c| c.problem.is_none()),
            "{drilled:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_that_cannot_be_held_has_no_verdict() {
    let lab = Lab::in_directory().await;
    let scratch = tempfile::tempdir().unwrap();
    let nowhere = scratch.path().join("nowhere");
    let error = verifier(lab.store.clone()).drill(&lab.id, &nowhere).await.unwrap_err();
    assert_eq!(error.code(), Code::ConfigInvalid, "{error}");
    assert!(error.to_string().contains("--scratch"), "{error}");
    let error = breaks(&lab.store, "articles", 99, Code::StoreUnreachable)
        .drill(&lab.id, scratch.path())
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::StoreUnreachable, "{error}");
    lab.edit(|m| of(m, "articles")["artifacts"][0]["storage"] = json!("of_the_future"))
        .await;
    let error = verifier(lab.store.clone())
        .drill(&lab.id, scratch.path())
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::BackupUnsupported, "{error}");
    lab.edit(|m| m["format"] = json!(7)).await;
    let error = verifier(lab.store.clone())
        .drill(&lab.id, scratch.path())
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::BackupUnsupported, "{error}");
    assert!(lab.keys().await.iter().all(|key| !key.ends_with("drilled.json")));
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}
