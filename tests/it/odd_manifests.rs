//! A manifest that was copied into another backup's folder, one of a newer version of the tool, and one that is none: every
//! way to look at a backup says the same of it, nothing is restored from it, and nothing of it is deleted.

use qdrant_backup::repository::names::BackupId;
use serde_json::{Value, json};
use testkit::lab::Lab;
use testkit::peer::Peer;
use testkit::service::Service;

/// The id of the odd one. It is newer than the backup that the lab makes.
const ODD: &str = "2030-01-01T00-00-00Z";

struct Case {
    what: &'static str,
    mark: &'static str,
    /// What must be named.
    says: &'static str,
    code: &'static str,
    exit: i32,
    http: u16,
}

const CASES: [Case; 4] = [
    Case {
        what: "a copy of another backup's manifest",
        mark: "DAMAGED",
        // Whose it is: replaced by the id of the good one.
        says: "ID",
        code: "backup_damaged",
        exit: 9,
        http: 500,
    },
    Case {
        what: "a manifest of a newer version",
        mark: "UNREADABLE",
        says: "format 2",
        code: "backup_unsupported",
        exit: 13,
        http: 501,
    },
    Case {
        what: "numbers that nobody can add up",
        mark: "DAMAGED",
        says: "counts",
        code: "backup_damaged",
        exit: 9,
        http: 500,
    },
    Case {
        what: "no manifest at all in its place",
        mark: "DAMAGED",
        says: "manifest.json",
        code: "backup_damaged",
        exit: 9,
        http: 500,
    },
];

/// A folder with objects of its own and an odd manifest, beside the good backup.
async fn befall(lab: &Lab, what: &str) {
    let manifest = lab.original(&lab.id.manifest());
    let odd: BackupId = ODD.parse().unwrap();
    for collection in &lab.manifest.collections {
        let key = &collection.artifacts[0].key;
        lab.put(&key.replace(&lab.id.to_string(), ODD), &lab.original(key))
            .await;
    }
    let bytes = match what {
        "a copy of another backup's manifest" => manifest,
        "a manifest of a newer version" => {
            let mut newer: Value = serde_json::from_slice(&manifest).unwrap();
            newer["id"] = json!(ODD);
            newer["format"] = json!(2);
            serde_json::to_vec(&newer).unwrap()
        }
        "numbers that nobody can add up" => {
            let mut vast: Value = serde_json::from_slice(&manifest).unwrap();
            vast["id"] = json!(ODD);
            for collection in vast["collections"].as_array_mut().unwrap() {
                collection["points_after"] = json!(u64::MAX);
                let artifact = &mut collection["artifacts"][0];
                let key = artifact["key"].as_str().unwrap().replace(&lab.id.to_string(), ODD);
                (artifact["key"], artifact["bytes"]) = (json!(key), json!(u64::MAX));
            }
            serde_json::to_vec(&vast).unwrap()
        }
        _ => b"[]".to_vec(),
    };
    lab.put(&odd.manifest(), &bytes).await;
}

async fn every_way(lab: Lab) {
    let env = lab.env();
    let mut env: Vec<_> = env.iter().map(|(k, v)| (*k, v.as_str())).collect();
    // The good backup is the one that may go: of the odd one nothing is known.
    env.extend([("RETAIN_LAST", "1"), ("RETAIN_MIN_AGE_HOURS", "0")]);
    let service = Service::start(&env).await;
    for case in CASES {
        let what = case.what;
        lab.mend().await;
        befall(&lab, what).await;
        let before = lab.keys().await;

        // The lists show it for what it is, and the good one beside it; neither twice.
        let says = case.says.replace("ID", &lab.id.to_string());
        let (exit, out, err) = lab.cli(&["list"]).await;
        assert_eq!(exit, 0, "{what}: {err}");
        let rows: Vec<_> = out
            .lines()
            .filter(|l| l.contains("  good ") || l.contains(case.mark))
            .collect();
        assert_eq!(rows.len(), 2, "{what}: {out}");
        // When it was made stands between.
        let is_row = |row: &str, id: &str, mark: &str| row.starts_with(id) && row.contains(&format!("  {mark}"));
        assert!(is_row(rows[0], ODD, case.mark), "{what}: {out}");
        assert!(is_row(rows[1], &lab.id.to_string(), "good"), "{what}: {out}");
        assert!(
            out.lines().any(|l| l.starts_with(ODD) && l.contains(&says)),
            "{what}: {out}"
        );
        let (_, list) = service.get("/backups").await;
        let ids: Vec<_> = list["backups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|b| b["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, [ODD, &lab.id.to_string()], "{what}");
        assert_eq!(
            list["backups"][0]["marks"],
            json!([case.mark.to_lowercase()]),
            "{what}: {list}"
        );
        assert_eq!(
            list["backups"][0]["status"],
            Value::Null,
            "{what}: nothing of it is believed"
        );

        // Whatever needs what is in it fails by one code and one message.
        let mut said = Vec::new();
        for args in [
            &["show", ODD][..],
            &["verify", ODD],
            &["verify", ODD, "--json"],
            &["restore", ODD],
            &["restore", ODD, "--dry-run"],
            &["drill", ODD, "--same-qdrant"],
        ] {
            let (exit, out, err) = lab.cli(args).await;
            assert_eq!(exit, case.exit, "{what}: {args:?}: {out}{err}");
            // What the log says of the end of a run comes before it.
            said.push(err[err.find("error: ").unwrap()..].to_owned());
        }
        for (path, body) in [
            (&*format!("/backups/{ODD}/verify"), "{}"),
            (&format!("/backups/{ODD}/drill"), r#"{"same_qdrant": true}"#),
            ("/restore", &format!(r#"{{"id": "{ODD}"}}"#)),
        ] {
            let (status, answer) = service.post(path, body).await;
            let error = &answer["error"];
            assert_eq!(
                (status, error["code"].as_str()),
                (case.http, Some(case.code)),
                "{what}: {path}: {answer}"
            );
            said.push(format!(
                "error: {}\n  {}\n",
                error["message"].as_str().unwrap(),
                error["remedy"].as_str().unwrap()
            ));
        }
        let (status, answer) = service.get(&format!("/backups/{ODD}")).await;
        assert_eq!(
            (status, answer["error"]["code"].as_str()),
            (case.http, Some(case.code)),
            "{what}: {answer}"
        );
        assert!(said[0].contains(&says) && said[0].contains(ODD), "{what}: {}", said[0]);
        assert!(said.iter().all(|one| *one == said[0]), "{what}: {said:#?}");

        // `latest` is the good one before it, and says so.
        let (exit, out, err) = lab.cli(&["show", "latest"]).await;
        assert_eq!(exit, 0, "{what}: {err}");
        assert!(out.contains(&lab.id.to_string()) && !out.contains(ODD), "{what}: {out}");
        assert!(err.contains(ODD), "{what}: {err}");

        // It counts for nothing, and nothing of it is deleted; nor is the good one, for which it would be no replacement.
        let (status, answer) = service.post("/prune", r#"{"dry_run": false}"#).await;
        assert_eq!(status, 200, "{what}: {answer}");
        let item = &answer["plan"]["items"][0];
        assert_eq!(
            (item["id"].as_str(), item["keep"].as_bool()),
            (Some(ODD), Some(true)),
            "{what}: {answer}"
        );
        assert!(
            item["reasons"].as_array().unwrap().contains(&json!("not_understood")),
            "{what}: {item}"
        );
        assert_eq!(lab.keys().await, before, "{what}: nothing was written or deleted");
        println!(
            "{what:38} {:>4} {:>4}  {:20} {}",
            case.exit,
            case.http,
            case.code,
            said[0].lines().next().unwrap()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_odd_manifest_in_a_directory_is_told_alike_by_every_way() {
    every_way(Lab::in_directory().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_odd_manifest_in_a_bucket_is_told_alike_by_every_way() {
    every_way(Lab::in_bucket().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_has_something_twice_is_damaged_and_nothing_of_that_is_restored() {
    let lab = Lab::in_directory().await;
    for (what, says) in [
        ("collection", "it has collection \"articles\" twice"),
        ("object", "it has object \"backups/"),
    ] {
        lab.mend().await;
        lab.edit(|manifest| {
            let list = manifest["collections"].as_array_mut().unwrap();
            let at = list.iter().position(|c| c["name"] == "articles").unwrap();
            let list = match what {
                "collection" => list,
                _ => list[at]["artifacts"].as_array_mut().unwrap(),
            };
            let again = list[if what == "collection" { at } else { 0 }].clone();
            list.push(again);
        })
        .await;
        let (exit, out, err) = lab.cli(&["list"]).await;
        assert_eq!(exit, 0, "{err}");
        let row = out.lines().nth(1).unwrap_or_default();
        assert!(
            row.starts_with(&lab.id.to_string()) && row.contains("  DAMAGED ") && out.contains(says),
            "{what}: {out}"
        );
        let (exit, out, err) = lab.cli(&["show", "latest"]).await;
        assert_eq!(exit, 8, "{what}: {out}{err}");
        let peer = Peer::start(&[]).await;
        let store = lab.env().remove(0).1;
        let service = Service::start(&[("QDRANT_URL", &peer.url), ("BACKUP_STORE", &store)]).await;
        let body = json!({"id": lab.id, "collections": ["articles"], "dry_run": true});
        let (status, answer) = service.post("/restore", &body.to_string()).await;
        assert_ne!(status, 200, "{what}: {answer}");
        // What is in it once can be had.
        let body = json!({"id": lab.id, "collections": ["products"], "dry_run": true});
        let (status, answer) = service.post("/restore", &body.to_string()).await;
        assert_eq!(status, 200, "{what}: {answer}");
    }
}
