//! The fault matrix: what befalls a backup behind the tool's back, by both ways of asking and in both stores.

use super::{service, verifier};
use qdrant_backup::ops::verify::{Problem, VerifyVerdict, read_record};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use testkit::lab::{Lab, of};

/// One thing that befalls a backup, and what must be said of it.
struct Case {
    what: &'static str,
    /// Of the collection `articles`, unless the manifest itself is meant.
    problems: &'static [&'static str],
    /// A name or number that must be in what the command line says.
    says: &'static str,
    exit: i32,
    http: u16,
    code: &'static str,
}

const fn damaged(what: &'static str, problems: &'static [&'static str], says: &'static str) -> Case {
    Case {
        what,
        problems,
        says,
        exit: 9,
        http: 500,
        code: "backup_damaged",
    }
}

const fn unclear(what: &'static str, says: &'static str, exit: i32, http: u16, code: &'static str) -> Case {
    Case {
        what,
        problems: &[],
        says,
        exit,
        http,
        code,
    }
}

const BYTES: &[&str] = &["sha256", "crc32c", "replaced"];

const CASES: &[Case] = &[
    damaged("one bit flipped in data", BYTES, "SHA-256"),
    damaged("one bit flipped in padding", BYTES, "SHA-256"),
    damaged(
        "one bit flipped in a header",
        &["sha256", "crc32c", "replaced", "structure"],
        "articles",
    ),
    damaged("object missing", &["missing"], "articles"),
    damaged(
        "object truncated",
        &["length", "sha256", "crc32c", "replaced", "structure"],
        "articles",
    ),
    damaged(
        "object empty",
        &["length", "sha256", "crc32c", "replaced", "structure"],
        "0 bytes",
    ),
    damaged(
        "bytes appended",
        &["length", "sha256", "crc32c", "replaced", "structure"],
        "articles",
    ),
    damaged(
        "objects swapped",
        &["length", "sha256", "crc32c", "replaced"],
        "articles",
    ),
    damaged(
        "replaced by others of equal length",
        &["sha256", "crc32c", "replaced", "structure"],
        "articles",
    ),
    damaged("wrong SHA-256 recorded", &["sha256"], "SHA-256"),
    damaged("wrong CRC32C recorded", &["crc32c"], "CRC32C"),
    damaged("wrong length recorded", &["length"], "articles"),
    damaged("no checksum recorded", &["manifest"], "SHA-256"),
    damaged("source cut between entries", &["structure"], "articles"),
    damaged("source without end marker", &["structure"], "articles"),
    damaged("segment without segment.json", &["structure"], "segment.json"),
    damaged("write-ahead log missing", &["structure"], "shard 0"),
    damaged("entry that leaves its directory", &["structure"], "../hard_config.json"),
    damaged("nested archive cut between entries", &["structure"], "version.info"),
    damaged("nested archive cut within an entry", &["structure"], ".tar"),
    damaged("object named twice", &["named_twice"], "articles"),
    damaged(
        "objects swapped in the manifest",
        &["foreign_key"],
        "/articles/collection.snapshot",
    ),
    damaged(
        "key in another spelling",
        &["foreign_key"],
        "/articles/collection.snapshot",
    ),
    damaged("key with a NUL", &["foreign_key"], "/articles/collection.snapshot"),
    damaged(
        "key with an empty part",
        &["foreign_key"],
        "/articles/collection.snapshot",
    ),
    damaged(
        "key outside the backup",
        &["foreign_key"],
        "/articles/collection.snapshot",
    ),
    damaged(
        "key that climbs out of the backup",
        &["foreign_key"],
        "/articles/collection.snapshot",
    ),
    damaged("collection without an object", &["no_artifact"], "articles"),
    damaged("manifest of another backup", &[], "2020-01-01T00-00-00Z"),
    damaged("manifest is no JSON", &[], "manifest.json"),
    damaged("manifest without its format", &[], "`format`"),
    unclear("manifest of a newer format", "format 99", 13, 501, "backup_unsupported"),
    unclear("unknown storage", "\"chunks\"", 13, 501, "backup_unsupported"),
    unclear("manifest missing", "`qdrant-backup list`", 8, 404, "backup_not_found"),
];

/// Does to the backup what the case names.
async fn befall(lab: &Lab, what: &str) {
    let (key, other) = (lab.key("articles"), lab.key("products"));
    let bytes = lab.original(&key);
    let find = |name: &str| {
        let at = (0..bytes.len())
            .step_by(512)
            .find(|at| bytes[*at..].starts_with(name.as_bytes()));
        at.unwrap_or_else(|| panic!("no entry {name}"))
    };
    let flipped = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 16;
        bytes
    };
    let artifact = async |field: &'static str, value: Value| {
        lab.edit(|manifest| of(manifest, "articles")["artifacts"][0][field] = value)
            .await;
    };
    match what {
        "one bit flipped in data" => {
            lab.put(&key, &flipped(find("snapshot/files/mutable_id_tracker.mappings") + 700))
                .await
        }
        "one bit flipped in padding" => lab.put(&key, &flipped(find("config.json") + 512 + 1000)).await,
        "one bit flipped in a header" => lab.put(&key, &flipped(find("version.info") + 130)).await,
        "object missing" => lab.delete(&key).await,
        "object truncated" => lab.put(&key, &bytes[..bytes.len() / 2]).await,
        "object empty" => lab.put(&key, &[]).await,
        "bytes appended" => lab.put(&key, &[bytes.as_slice(), b"x"].concat()).await,
        "objects swapped" => {
            lab.put(&key, &lab.original(&other)).await;
            lab.put(&other, &bytes).await;
        }
        "replaced by others of equal length" => lab.put(&key, &testkit::source::noise(bytes.len(), 9)).await,
        "wrong SHA-256 recorded" => artifact("sha256", json!("ab".repeat(32))).await,
        "wrong CRC32C recorded" => artifact("crc32c", json!("01234567")).await,
        "wrong length recorded" => artifact("bytes", json!(bytes.len() + 1)).await,
        "no checksum recorded" => artifact("sha256", json!("")).await,
        "source cut between entries" => lab.record("articles", &bytes[..find("config.json")]).await,
        "source without end marker" => lab.record("articles", &bytes[..bytes.len() - 1024]).await,
        "segment without segment.json" => {
            lab.record(
                "articles",
                &renamed(&bytes, find("snapshot/files/segment.json"), 15, b"S"),
            )
            .await
        }
        "write-ahead log missing" => {
            let without_directory = renamed(&bytes, find("0/wal"), 2, b"W");
            let file = find("0/wal/closed-");
            lab.record("articles", &renamed(&without_directory, file, 2, b"W"))
                .await
        }
        "entry that leaves its directory" => {
            lab.record("articles", &renamed(&bytes, find("0/shard_config.json"), 0, b"../"))
                .await
        }
        "nested archive cut between entries" => {
            lab.record(
                "articles",
                &with_nested(&bytes, find("snapshot/files/version.info") - 512),
            )
            .await;
        }
        "nested archive cut within an entry" => {
            lab.record(
                "articles",
                &with_nested(&bytes, find("snapshot/files/mutable_id_tracker.mappings") + 512),
            )
            .await;
        }
        "object named twice" => {
            lab.edit(|m| {
                let list = &mut of(m, "articles")["artifacts"];
                let first = list[0].clone();
                list.as_array_mut().unwrap().push(first);
            })
            .await;
        }
        "objects swapped in the manifest" => {
            lab.edit(|m| {
                let articles = of(m, "articles")["artifacts"].take();
                let products = std::mem::replace(&mut of(m, "products")["artifacts"], articles);
                of(m, "articles")["artifacts"] = products;
            })
            .await;
        }
        "key in another spelling" => artifact("key", json!(key.replace(".snapshot", "-01.snapshot"))).await,
        "key with a NUL" => artifact("key", json!(format!("{key}\0"))).await,
        "key with an empty part" => artifact("key", json!(key.replace("articles/", "articles//"))).await,
        "key outside the backup" => artifact("key", json!("lock.json")).await,
        "key that climbs out of the backup" => artifact("key", json!(format!("{}../x", lab.id.prefix()))).await,
        "collection without an object" => lab.edit(|m| of(m, "articles")["artifacts"] = json!([])).await,
        "manifest of another backup" => lab.edit(|m| m["id"] = json!("2020-01-01T00-00-00Z")).await,
        "manifest is no JSON" => lab.put(&lab.id.manifest(), b"{\"format\": 1, ").await,
        "manifest without its format" => {
            lab.edit(|m| drop(m.as_object_mut().unwrap().remove("format"))).await;
        }
        "manifest of a newer format" => lab.edit(|m| m["format"] = json!(99)).await,
        "unknown storage" => artifact("storage", json!("chunks")).await,
        "manifest missing" => lab.delete(&lab.id.manifest()).await,
        other => panic!("{other}"),
    }
}

/// The archive with other bytes in the name of the entry at `at`.
fn renamed(bytes: &[u8], at: usize, offset: usize, name: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at + offset..at + offset + name.len()].copy_from_slice(name);
    let header = tar::Header::from_byte_slice(&bytes[at..at + 512]);
    let mut fixed = header.clone();
    fixed.set_cksum();
    bytes[at..at + 512].copy_from_slice(fixed.as_bytes());
    bytes
}

/// The archive with its first entry, a segment, cut to so many bytes.
fn with_nested(bytes: &[u8], keep: usize) -> Vec<u8> {
    let mut header = tar::Header::from_byte_slice(&bytes[..512]).clone();
    let size = header.size().unwrap() as usize;
    header.set_size(keep as u64);
    header.set_cksum();
    let rest = &bytes[512 + size.next_multiple_of(512)..];
    let padding = vec![0; keep.next_multiple_of(512) - keep];
    [header.as_bytes().as_slice(), &bytes[512..512 + keep], &padding, rest].concat()
}

fn problems(of: &Value) -> BTreeSet<&str> {
    let list = of["findings"].as_array();
    list.into_iter()
        .flatten()
        .map(|f| f["problem"].as_str().unwrap())
        .collect()
}

async fn fault_matrix(lab: Lab, store: &str) {
    let service = service(&lab).await;
    let id = lab.id.to_string();
    let path = format!("/backups/{id}/verify");
    lab.mend().await;
    let (status, intact) = service.post(&path, "").await;
    assert_eq!((status, intact["verdict"].as_str()), (200, Some("intact")), "{intact}");
    assert!(!intact.to_string().contains("warnings"), "{intact}");

    let mut table = format!(
        "{:38} {:>4} {:>4}  {:14} what is found ({store})\n",
        "fault", "exit", "HTTP", "code"
    );
    for case in CASES {
        let what = case.what;
        lab.mend().await;
        befall(&lab, what).await;
        let (status, answer) = service.post(&path, "").await;
        let report = &answer["report"];
        let code = answer["error"]["code"].as_str().unwrap_or("");
        let recorded = read_record(&*lab.store, &lab.id)
            .await
            .unwrap()
            .map(|record| record.verdict);
        let (exit, out, err) = lab.cli(&["verify", &id]).await;
        let (json_exit, json_out, _) = lab.cli(&["verify", &id, "--json"]).await;
        let mut found = problems(report);
        let objects = report["objects"].as_array().cloned().unwrap_or_default();
        for object in objects.iter().filter(|o| o["collection"] == "articles") {
            found.extend(problems(object));
        }
        let list: Vec<_> = found.iter().copied().collect();
        table += &format!("{what:38} {exit:>4} {status:>4}  {code:14} {}\n", list.join(", "));

        assert_eq!((status, code), (case.http, case.code), "{what}: {answer}");
        assert_eq!((exit, json_exit), (case.exit, case.exit), "{what}: {out}{err}");
        assert_eq!(found, case.problems.iter().copied().collect(), "{what}: {answer}");
        let said = format!("{out}{err}");
        assert!(said.contains(case.says), "{what}: {said}");
        // The two words are never mixed.
        let is_damage = case.code == "backup_damaged";
        let message = answer["error"]["message"].as_str().unwrap();
        assert_eq!(message.contains("is damaged"), is_damage, "{what}: {message}");
        assert_eq!(said.to_lowercase().contains("damaged"), is_damage, "{what}: {said}");
        // A record says damaged, or there is none: never that it is intact.
        let report_there = report.is_object();
        assert_eq!(
            recorded,
            (is_damage && report_there).then_some(VerifyVerdict::Damaged),
            "{what}"
        );
        if report_there {
            let told: Value = serde_json::from_str(&json_out).unwrap();
            assert_eq!(told["error"]["code"], code, "{what}");
            let printed = &told["report"];
            assert_eq!(printed["verdict"], report["verdict"], "{what}");
            assert_eq!(printed["objects"], report["objects"], "{what}: the same by both ways");
            // Everything was looked at, and what is whole is said to be.
            let named = match what {
                "collection without an object" => 2,
                "object named twice" => 4,
                _ => 3,
            };
            assert_eq!(objects.len(), named, "{what}: {answer}");
            let drafts = objects.iter().find(|o| o["collection"] == "drafts").unwrap();
            assert_eq!(drafts["verdict"], "intact", "{what}: {answer}");
        }
    }
    // At once: the tables of both stores would mix.
    println!("{table}");
    lab.mend().await;
    let (exit, out, err) = lab.cli(&["verify", "latest", "--json"]).await;
    assert_eq!(exit, 0, "{out}{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let objects = report["objects"].as_array().unwrap();
    assert_eq!((&report["verdict"], objects.len()), (&json!("intact"), 3), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_befalls_a_backup_in_a_directory_is_told_by_its_name() {
    fault_matrix(Lab::in_directory().await, "directory").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_befalls_a_backup_in_a_bucket_is_told_by_its_name() {
    fault_matrix(Lab::in_bucket().await, "bucket").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_flipped_bit_is_found() {
    let lab = Lab::in_directory().await;
    let verifier = verifier(lab.store.clone());
    let mut tried = 0;
    for collection in ["articles", "drafts"] {
        let key = lab.key(collection);
        let original = lab.original(&key);
        let ends = [
            0,
            1,
            511,
            512,
            original.len() - 1,
            original.len() - 1024,
            original.len() - 1025,
        ];
        let spread = (0..40).map(|i| (i * 7_919_993) % original.len());
        for at in ends.into_iter().chain(spread) {
            let mut bytes = original.clone();
            bytes[at] ^= 1 << (at % 8);
            lab.put(&key, &bytes).await;
            let report = verifier.run(&lab.id).await.unwrap();
            let object = report.objects.iter().find(|o| o.key == key).unwrap();
            let has = |problem| object.findings.iter().any(|f| f.problem == problem);
            assert!(
                has(Problem::Sha256) && has(Problem::Crc32c),
                "byte {at} of {collection}: {object:?}"
            );
            assert_eq!(report.verdict, VerifyVerdict::Damaged);
            tried += 1;
        }
        lab.put(&key, &original).await;
    }
    println!("{tried} flipped bits, each found by SHA-256 and by CRC32C");
    let report = verifier.run(&lab.id).await.unwrap();
    assert_eq!(report.verdict, VerifyVerdict::Intact);
    let warnings: Vec<_> = report.objects.iter().flat_map(|o| &o.warnings).collect();
    assert_eq!(
        warnings.len(),
        2,
        "the same bytes, written again, are no damage but worth a word: {warnings:?}"
    );
}
