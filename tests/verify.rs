//! Verify, through HTTP and on the command line, against backups in both stores with everything that can befall them.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use qdrant_backup::clock::Clock;
use qdrant_backup::error::{Code, Error, Result};
use qdrant_backup::store::{Condition, ObjectMeta, Source, Store, Version};
use qdrant_backup::verify::{Problem, Verdict, Verifier, read_record};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::lab::{Lab, of};
use support::run::keys;
use support::service::Service;

/// One thing that befalls a backup, and what must be said of it.
struct Case {
    what: &'static str,
    /// Of the collection `articles`, unless the manifest itself is meant.
    problems: &'static [&'static str],
    /// Must be in what the command line says.
    says: &'static str,
    exit: i32,
    http: u16,
    code: &'static str,
}

const fn damaged(what: &'static str, problems: &'static [&'static str], says: &'static str) -> Case {
    Case { what, problems, says, exit: 9, http: 500, code: "backup_damaged" }
}

const fn unclear(what: &'static str, says: &'static str, exit: i32, http: u16, code: &'static str) -> Case {
    Case { what, problems: &[], says, exit, http, code }
}

const BYTES: &[&str] = &["sha256", "crc32c", "replaced"];

const CASES: &[Case] = &[
    damaged("one bit flipped in data", BYTES, "SHA-256 of"),
    damaged("one bit flipped in padding", BYTES, "SHA-256 of"),
    damaged("one bit flipped in a header", &["sha256", "crc32c", "replaced", "structure"], "its checksum is wrong"),
    damaged("object missing", &["missing"], "is not there"),
    damaged("object truncated", &["length", "sha256", "crc32c", "replaced", "structure"], "were saved"),
    damaged("object empty", &["length", "sha256", "crc32c", "replaced", "structure"], "has 0 bytes"),
    damaged("bytes appended", &["length", "sha256", "crc32c", "replaced", "structure"], "data after the archive's end"),
    damaged("objects swapped", &["length", "sha256", "crc32c", "replaced"], "were saved"),
    damaged("replaced by others of equal length", &["sha256", "crc32c", "replaced", "structure"], "was written again since"),
    damaged("wrong SHA-256 recorded", &["sha256"], "was saved"),
    damaged("wrong CRC32C recorded", &["crc32c"], "was saved"),
    damaged("wrong length recorded", &["length"], "were saved"),
    damaged("no checksum recorded", &["manifest"], "the manifest's SHA-256"),
    damaged("source cut between entries", &["structure"], "no end marker"),
    damaged("source without end marker", &["structure"], "no end marker"),
    damaged("segment without segment.json", &["structure"], "has no segment.json"),
    damaged("write-ahead log missing", &["structure"], "no write-ahead log"),
    damaged("entry that leaves its directory", &["structure"], "would leave its directory"),
    damaged("nested archive cut between entries", &["structure"], "has no version.info"),
    damaged("nested archive cut within an entry", &["structure"], "in the middle of an entry"),
    damaged("object named twice", &["named_twice"], "twice"),
    damaged("key outside the backup", &["foreign_key"], "outside its backup"),
    damaged("key that climbs out of the backup", &["foreign_key"], "outside its backup"),
    damaged("collection without an object", &["no_artifact"], "has no object"),
    damaged("manifest of another backup", &["other_backup"], "is that of backup 2020-01-01T00-00-00Z"),
    damaged("manifest is no JSON", &[], "is not a manifest"),
    unclear("manifest of a newer format", "has format 99", 6, 502, "unsupported"),
    unclear("unknown storage", "is stored as \"chunks\"", 6, 502, "unsupported"),
    unclear("manifest missing", "has no backup", 8, 404, "backup_not_found"),
];

/// Does to the backup what the case names.
async fn befall(lab: &Lab, what: &str) {
    let (key, other) = (lab.key("articles"), lab.key("products"));
    let bytes = lab.original(&key);
    let find = |name: &str| {
        let at = (0..bytes.len()).step_by(512).find(|at| bytes[*at..].starts_with(name.as_bytes()));
        at.unwrap_or_else(|| panic!("no entry {name}"))
    };
    let flipped = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 16;
        bytes
    };
    let artifact = async |field: &'static str, value: Value| {
        lab.edit(|manifest| of(manifest, "articles")["artifacts"][0][field] = value).await;
    };
    match what {
        "one bit flipped in data" => lab.put(&key, &flipped(find("snapshot/files/mutable_id_tracker.mappings") + 700)).await,
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
        "replaced by others of equal length" => lab.put(&key, &support::peer::body(bytes.len(), 9)).await,
        "wrong SHA-256 recorded" => artifact("sha256", json!("ab".repeat(32))).await,
        "wrong CRC32C recorded" => artifact("crc32c", json!("01234567")).await,
        "wrong length recorded" => artifact("bytes", json!(bytes.len() + 1)).await,
        "no checksum recorded" => artifact("sha256", json!("")).await,
        "source cut between entries" => lab.record("articles", &bytes[..find("config.json")]).await,
        "source without end marker" => lab.record("articles", &bytes[..bytes.len() - 1024]).await,
        "segment without segment.json" => lab.record("articles", &renamed(&bytes, find("snapshot/files/segment.json"), 15, b"S")).await,
        "write-ahead log missing" => lab.record("articles", &renamed(&bytes, find("0/wal"), 2, b"W")).await,
        "entry that leaves its directory" => lab.record("articles", &renamed(&bytes, find("0/shard_config.json"), 0, b"../")).await,
        "nested archive cut between entries" => {
            lab.record("articles", &with_nested(&bytes, find("snapshot/files/version.info") - 512)).await;
        }
        "nested archive cut within an entry" => {
            lab.record("articles", &with_nested(&bytes, find("snapshot/files/mutable_id_tracker.mappings") + 512)).await;
        }
        "object named twice" => {
            lab.edit(|m| {
                let list = &mut of(m, "articles")["artifacts"];
                let first = list[0].clone();
                list.as_array_mut().unwrap().push(first);
            })
            .await;
        }
        "key outside the backup" => artifact("key", json!("lock.json")).await,
        "key that climbs out of the backup" => artifact("key", json!(format!("{}../x", lab.id.prefix()))).await,
        "collection without an object" => lab.edit(|m| of(m, "articles")["artifacts"] = json!([])).await,
        "manifest of another backup" => lab.edit(|m| m["id"] = json!("2020-01-01T00-00-00Z")).await,
        "manifest is no JSON" => lab.put(&lab.id.manifest(), b"{\"format\": 1, ").await,
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

async fn service(lab: &Lab) -> Service {
    let env = lab.env();
    let env: Vec<_> = env.iter().map(|(k, v)| (*k, v.as_str())).collect();
    Service::start(&env).await
}

fn problems(of: &Value) -> BTreeSet<&str> {
    let list = of["findings"].as_array();
    list.into_iter().flatten().map(|f| f["problem"].as_str().unwrap()).collect()
}

async fn fault_matrix(lab: Lab, store: &str) {
    let service = service(&lab).await;
    let id = lab.id.to_string();
    let path = format!("/backups/{id}/verify");
    lab.mend().await;
    let (status, intact) = service.post(&path, "").await;
    assert_eq!((status, intact["verdict"].as_str()), (200, Some("intact")), "{intact}");
    assert!(!intact.to_string().contains("warnings"), "{intact}");

    let mut table = format!("{:38} {:>4} {:>4}  {:14} what is found ({store})\n", "fault", "exit", "HTTP", "code");
    for case in CASES {
        let what = case.what;
        lab.mend().await;
        befall(&lab, what).await;
        let (status, answer) = service.post(&path, "").await;
        let report = &answer["report"];
        let code = answer["error"]["code"].as_str().unwrap_or("");
        let recorded = read_record(&*lab.store, &lab.id).await.unwrap().map(|record| record.verdict);
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
        assert_eq!(said.to_lowercase().contains("could not be checked"), code == "unsupported", "{what}: {said}");
        // A record says damaged, or there is none: never that it is intact.
        let report_there = report.is_object();
        assert_eq!(recorded, (is_damage && report_there).then_some(Verdict::Damaged), "{what}");
        if report_there {
            let printed: Value = serde_json::from_str(&json_out).unwrap();
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
    let (exit, out, err) = lab.cli(&["verify", "latest"]).await;
    assert_eq!(exit, 0, "{out}{err}");
    assert!(out.contains("is intact: 3 objects"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_befalls_a_backup_in_a_directory_is_told_by_its_name() {
    fault_matrix(Lab::in_directory().await, "directory").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_befalls_a_backup_in_a_bucket_is_told_by_its_name() {
    fault_matrix(Lab::in_bucket().await, "bucket").await;
}

fn verifier(store: Arc<dyn Store>) -> Verifier {
    Verifier {
        store,
        clock: Clock::system(),
        who: "test".into(),
        concurrency: 2,
        attempts: 2,
        backoff: Duration::from_millis(1),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_flipped_bit_is_found() {
    let lab = Lab::in_directory().await;
    let verifier = verifier(lab.store.clone());
    let mut tried = 0;
    for collection in ["articles", "drafts"] {
        let key = lab.key(collection);
        let original = lab.original(&key);
        let ends = [0, 1, 511, 512, original.len() - 1, original.len() - 1024, original.len() - 1025];
        let spread = (0..40).map(|i| (i * 7_919_993) % original.len());
        for at in ends.into_iter().chain(spread) {
            let mut bytes = original.clone();
            bytes[at] ^= 1 << (at % 8);
            lab.put(&key, &bytes).await;
            let report = verifier.run(&lab.id).await.unwrap();
            let object = report.objects.iter().find(|o| o.key == key).unwrap();
            let has = |problem| object.findings.iter().any(|f| f.problem == problem);
            assert!(has(Problem::Sha256) && has(Problem::Crc32c), "byte {at} of {collection}: {object:?}");
            assert_eq!(report.verdict, Verdict::Damaged);
            tried += 1;
        }
        lab.put(&key, &original).await;
    }
    println!("{tried} flipped bits, each found by SHA-256 and by CRC32C");
    let report = verifier.run(&lab.id).await.unwrap();
    assert_eq!(report.verdict, Verdict::Intact);
    let warnings: Vec<_> = report.objects.iter().flat_map(|o| &o.warnings).collect();
    assert_eq!(warnings.len(), 2, "the same bytes, written again, are no damage but worth a word: {warnings:?}");
}

/// What befalls the reads of [`Odd`].
#[derive(Debug)]
enum Oddity {
    /// Reads of keys with this in them break off after so many bytes, so many times.
    Breaks { key: &'static str, after: usize, times: AtomicUsize, code: Code },
    /// The manifest is deleted when the first artifact is read.
    DeletesManifest,
    /// Nothing, but counts reads at once.
    Counts { now: Arc<AtomicUsize>, most: AtomicUsize },
}

/// A store that is not quite itself.
#[derive(Debug)]
struct Odd(Arc<dyn Store>, Oddity);

#[async_trait]
impl Store for Odd {
    fn url(&self) -> String {
        self.0.url()
    }

    async fn put(&self, key: &str, source: Box<dyn Source>, condition: Condition) -> Result<ObjectMeta> {
        self.0.put(key, source, condition).await
    }

    async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        version: Option<&Version>,
    ) -> Result<Option<BoxStream<'static, Result<Bytes>>>> {
        let Some(stream) = self.0.get(key, range, version).await? else {
            return Ok(None);
        };
        match &self.1 {
            Oddity::Breaks { key: part, after, times, code } if key.contains(part) => {
                let left = |n: usize| n.checked_sub(1);
                if times.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_err() {
                    return Ok(Some(stream));
                }
                let head = stream.take(1).map({
                    let after = *after;
                    move |chunk| chunk.map(|bytes: Bytes| bytes.slice(..after.min(bytes.len())))
                });
                let broken = Err(Error::new(*code, "the connection to the store broke"));
                Ok(Some(head.chain(stream::iter([broken])).boxed()))
            }
            Oddity::DeletesManifest if key.ends_with(".snapshot") => {
                let manifest = format!("{}/manifest.json", key.split('/').take(2).collect::<Vec<_>>().join("/"));
                if let Some(meta) = self.0.head(&manifest).await? {
                    self.0.delete(&manifest, &meta.version).await?;
                }
                Ok(None)
            }
            Oddity::Counts { now, most } if key.ends_with(".snapshot") => {
                let count = now.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(count, Ordering::SeqCst);
                let now = now.clone();
                let end = stream::once(async move {
                    now.fetch_sub(1, Ordering::SeqCst);
                    Ok(Bytes::new())
                });
                Ok(Some(stream.chain(end.filter(|b| std::future::ready(!b.as_ref().is_ok_and(Bytes::is_empty)))).boxed()))
            }
            _ => Ok(Some(stream)),
        }
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectMeta>> {
        self.0.head(key).await
    }

    async fn list(&self, prefix: &str) -> Result<BoxStream<'static, Result<ObjectMeta>>> {
        self.0.list(prefix).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        self.0.folders(prefix).await
    }

    async fn delete(&self, key: &str, version: &Version) -> Result<bool> {
        self.0.delete(key, version).await
    }

    async fn check(&self) -> Result<()> {
        self.0.check().await
    }
}

fn breaks(store: &Arc<dyn Store>, key: &'static str, times: usize, code: Code) -> Verifier {
    let oddity = Oddity::Breaks { key, after: 1000, times: AtomicUsize::new(times), code };
    verifier(Arc::new(Odd(store.clone(), oddity)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_breaks_off_in_the_middle_is_no_damage() {
    let lab = Lab::in_directory().await;
    let unreachable = [Code::StoreUnreachable, Code::Stalled, Code::LengthMismatch].map(|code| (code, Code::StoreUnreachable));
    for (code, told) in unreachable.into_iter().chain([(Code::StoreForbidden, Code::StoreForbidden), (Code::StoreFailed, Code::StoreFailed)]) {
        let report = breaks(&lab.store, "articles", 99, code).run(&lab.id).await.unwrap();
        assert_eq!(report.verdict, Verdict::NotChecked, "{code}");
        let error = report.error().unwrap();
        assert_eq!((error.code(), error.exit_code()), (told, 7), "{code}: 9 means damage");
        let text = error.to_string();
        assert!(text.contains("could not be checked") && !text.contains("damaged"), "{text}");
        assert!(report.objects.iter().all(|o| o.findings.is_empty()), "{report:?}");
        assert_eq!(report.objects.iter().filter(|o| o.verdict == Verdict::Intact).count(), 2, "the others were checked");
        assert!(read_record(&*lab.store, &lab.id).await.unwrap().is_none(), "nothing may be recorded");
    }
    // The manifest itself: nothing can be said at all.
    for code in [Code::StoreUnreachable, Code::Stalled] {
        let error = breaks(&lab.store, "manifest.json", 99, code).run(&lab.id).await.unwrap_err();
        assert_eq!(error.code(), Code::StoreUnreachable, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passing_failure_is_read_again() {
    let lab = Lab::in_directory().await;
    for code in [Code::StoreUnreachable, Code::ChecksumMismatch] {
        let report = breaks(&lab.store, "articles", 1, code).run(&lab.id).await.unwrap();
        assert_eq!(report.verdict, Verdict::Intact, "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checksum_that_the_store_itself_finds_wrong_is_damage() {
    let lab = Lab::in_directory().await;
    let report = breaks(&lab.store, "articles", 99, Code::ChecksumMismatch).run(&lab.id).await.unwrap();
    assert_eq!(report.verdict, Verdict::Damaged);
    assert_eq!(report.objects[0].findings[0].problem, Problem::StoreChecksum);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_was_found_is_told_and_recorded_although_another_object_could_not_be_read() {
    let lab = Lab::in_directory().await;
    lab.delete(&lab.key("products")).await;
    let report = breaks(&lab.store, "articles", 99, Code::StoreUnreachable).run(&lab.id).await.unwrap();
    assert_eq!(report.verdict, Verdict::Damaged);
    let verdicts: Vec<_> = report.objects.iter().map(|o| (o.collection.as_str(), o.verdict)).collect();
    assert_eq!(verdicts, [("articles", Verdict::NotChecked), ("drafts", Verdict::Intact), ("products", Verdict::Damaged)]);
    assert_eq!(read_record(&*lab.store, &lab.id).await.unwrap().unwrap().verdict, Verdict::Damaged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_deleted_meanwhile_is_not_called_damaged() {
    let lab = Lab::in_directory().await;
    let error = verifier(Arc::new(Odd(lab.store.clone(), Oddity::DeletesManifest))).run(&lab.id).await.unwrap_err();
    assert_eq!(error.code(), Code::BackupNotFound, "{error}");
    assert!(error.to_string().contains("was deleted while"), "{error}");
    assert!(keys(&*lab.store).await.iter().all(|key| !key.ends_with("verified.json")));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_objects_are_read_at_once_than_allowed() {
    let lab = Lab::in_directory().await;
    for concurrency in [1, 2] {
        let odd = Arc::new(Odd(lab.store.clone(), Oddity::Counts { now: Arc::default(), most: AtomicUsize::new(0) }));
        let report = Verifier { concurrency, ..verifier(odd.clone()) }.run(&lab.id).await.unwrap();
        assert_eq!(report.verdict, Verdict::Intact);
        let Oddity::Counts { most, .. } = &odd.1 else { unreachable!() };
        assert!((1..=concurrency).contains(&most.load(Ordering::SeqCst)), "{most:?} of {concurrency}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_read_says_that_nothing_is_known() {
    let lab = Lab::in_bucket().await;
    lab.emulator.as_ref().unwrap().deny("storage.objects.get");
    let service = service(&lab).await;
    let (status, answer) = service.post(&format!("/backups/{}/verify", lab.id), "").await;
    assert_eq!((status, answer["error"]["code"].as_str()), (502, Some("store_forbidden")), "{answer}");
    let (exit, out, err) = lab.cli(&["verify", &lab.id.to_string()]).await;
    assert_eq!(exit, 7, "{out}{err}");
    assert!(!format!("{out}{err}").to_lowercase().contains("damaged"), "{out}{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bits_that_flip_on_the_way_from_the_bucket_are_read_again() {
    let lab = Lab::in_bucket().await;
    let emulator = lab.emulator.as_ref().unwrap();
    emulator.fault("*/articles/*", 1, gcs_emulator::Fault::CorruptRead);
    let report = verifier(lab.store.clone()).run(&lab.id).await.unwrap();
    assert_eq!(report.verdict, Verdict::Intact, "{report:?}");
    emulator.fault("*/articles/*", 99, gcs_emulator::Fault::CorruptRead);
    let report = verifier(lab.store.clone()).run(&lab.id).await.unwrap();
    assert_eq!(report.verdict, Verdict::Damaged, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_is_that_of_the_youngest_check() {
    for lab in [Lab::in_directory().await, Lab::in_bucket().await] {
        let store = &*lab.store;
        assert!(read_record(store, &lab.id).await.unwrap().is_none());
        let first = verifier(lab.store.clone()).run(&lab.id).await.unwrap();
        let record = read_record(store, &lab.id).await.unwrap().unwrap();
        assert_eq!((record.format, record.id, record.verdict), (1, lab.id, Verdict::Intact));
        assert_eq!((record.by.as_str(), record.tool_version.as_str()), ("test", env!("CARGO_PKG_VERSION")));
        assert_eq!(record.at, first.at);
        assert_eq!(record.extra["objects"].as_array().unwrap().len(), 3);

        lab.delete(&lab.key("drafts")).await;
        verifier(lab.store.clone()).run(&lab.id).await.unwrap();
        assert_eq!(read_record(store, &lab.id).await.unwrap().unwrap().verdict, Verdict::Damaged);

        // One that began earlier and ended later does not replace it.
        let early = time::macros::datetime!(2026-01-01 00:00 UTC);
        let late = Verifier { clock: Clock::new(move || early), ..verifier(lab.store.clone()) };
        lab.put(&lab.key("drafts"), &lab.original(&lab.key("drafts"))).await;
        assert_eq!(late.run(&lab.id).await.unwrap().verdict, Verdict::Intact);
        assert_eq!(read_record(store, &lab.id).await.unwrap().unwrap().verdict, Verdict::Damaged);

        // What cannot be read as a record is replaced.
        lab.put(&lab.id.verified(), b"nonsense").await;
        assert!(read_record(store, &lab.id).await.unwrap().is_none());
        verifier(lab.store.clone()).run(&lab.id).await.unwrap();
        assert_eq!(read_record(store, &lab.id).await.unwrap().unwrap().verdict, Verdict::Intact);

        // Several at once end well, and one of them is recorded.
        let verifier = verifier(lab.store.clone());
        let (a, b, c) = tokio::join!(verifier.run(&lab.id), verifier.run(&lab.id), verifier.run(&lab.id));
        let youngest = [a, b, c].map(|r| r.unwrap().at).into_iter().max().unwrap();
        assert_eq!(read_record(store, &lab.id).await.unwrap().unwrap().at, youngest);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_backups_are_verified_and_damage_decides_the_exit_code() {
    let lab = Lab::in_directory().await;
    // A second backup whose manifest is newer than this version, a third that is damaged.
    let manifest = lab.original(&lab.id.manifest());
    let mut newer: Value = serde_json::from_slice(&manifest).unwrap();
    newer["format"] = json!(2);
    lab.put("backups/2030-01-01T00-00-00Z/manifest.json", &serde_json::to_vec(&newer).unwrap()).await;
    let (exit, out, err) = lab.cli(&["verify", "all"]).await;
    assert_eq!(exit, 6, "{out}{err}");
    assert!(out.contains("has format 2") && out.contains("is intact"), "{out}{err}");
    lab.put("backups/2029-01-01T00-00-00Z/manifest.json", &manifest).await;
    let (exit, out, err) = lab.cli(&["verify", "all", "--json"]).await;
    assert_eq!(exit, 9, "{out}{err}");
    let all: Value = serde_json::from_str(&out).unwrap();
    let all = all["backups"].as_array().unwrap();
    assert_eq!(all[0]["error"]["code"], "unsupported");
    assert_eq!(all[1]["verdict"], "damaged");
    assert_eq!(all[2]["verdict"], "intact");
    assert_eq!(all.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_backup_is_refused() {
    let lab = Lab::in_directory().await;
    let service = service(&lab).await;
    for (id, status, code) in [("nope", 400, "bad_request"), ("all", 400, "bad_request"), ("2020-01-01T00-00-00Z", 404, "backup_not_found")] {
        let (got, answer) = service.post(&format!("/backups/{id}/verify"), "").await;
        assert_eq!((got, answer["error"]["code"].as_str()), (status, Some(code)), "{answer}");
    }
    let (status, _) = service.get("/backups/latest/verify").await;
    assert_eq!(status, 405);
    let (status, report) = service.post("/backups/latest/verify", "").await;
    assert_eq!((status, report["id"].as_str()), (200, Some(lab.id.to_string().as_str())), "{report}");
    assert_eq!(lab.cli(&["verify", "nope"]).await.0, 2);
    assert_eq!(lab.cli(&["verify", "2020-01-01T00-00-00Z"]).await.0, 8);
    lab.delete(&lab.id.manifest()).await;
    assert_eq!(lab.cli(&["verify", "latest"]).await.0, 8);
    assert_eq!(lab.cli(&["verify", "all"]).await.0, 8);
}

/// What the engine said of a backup, by the library.
async fn drilled(lab: &Lab) -> qdrant_backup::verify::engine::Drilled {
    let scratch = tempfile::tempdir().unwrap();
    let drilled = verifier(lab.store.clone()).drill(&lab.id, scratch.path()).await.unwrap();
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "nothing may stay in the scratch directory");
    let recorded: Value = serde_json::from_slice(&lab.bytes(&lab.id.drilled()).await).unwrap();
    assert_eq!(recorded, serde_json::to_value(&drilled).unwrap());
    drilled
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_proves_a_backup_without_a_server() {
    for lab in [Lab::in_directory().await, Lab::in_bucket().await] {
        let drilled = drilled(&lab).await;
        assert!(drilled.error().is_none() && drilled.warnings.is_empty(), "{drilled:?}");
        let found: Vec<_> = drilled.collections.iter().map(|c| (c.name.as_str(), c.points.unwrap(), c.searches.unwrap())).collect();
        assert_eq!(found, [("articles", 200, 8), ("drafts", 0, 0), ("products", 100, 24)]);
        assert!(drilled.collections.iter().all(|c| c.points == Some(0) || c.sampled.unwrap() >= 10), "{drilled:?}");
        let scratch = tempfile::tempdir().unwrap();
        let (exit, out, err) = lab.cli(&["verify", "latest", "--engine", "--scratch", scratch.path().to_str().unwrap()]).await;
        assert_eq!(exit, 0, "{out}{err}");
        assert!(out.contains("is proven restorable") && out.contains("proven       articles: 200 points"), "{out}");
        assert_eq!(lab.cli(&["verify", "latest", "--engine"]).await.0, 2, "the engine needs a scratch directory");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_finds_what_checksums_cannot() {
    let lab = Lab::in_directory().await;
    let artifact = lab.original(&lab.key("articles"));
    let cases: [(&str, &str); 6] = [
        ("another count in the manifest", "it has 200 points, 201 were counted"),
        ("another vector size in the manifest", "its vectors are"),
        ("another index in the manifest", "its payload indexes are {}"),
        ("another collection's snapshot, saved as this one's", "were counted"),
        ("a segment whose state is no JSON", "the engine does not open it"),
        ("vectors overwritten", "search"),
    ];
    println!("{:52} what the engine finds", "fault");
    for (what, says) in cases {
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
            "another vector size in the manifest" => lab.edit(|m| of(m, "articles")["config"]["params"]["vectors"]["size"] = json!(65)).await,
            "another index in the manifest" => {
                lab.edit(|m| of(m, "articles")["payload_schema"] = json!({"year": {"data_type": "integer", "points": 1}})).await;
            }
            "another collection's snapshot, saved as this one's" => {
                let other = lab.original(&lab.key("products"));
                lab.record("articles", &other).await;
            }
            "a segment whose state is no JSON" => {
                let at = (0..artifact.len()).step_by(512).find(|at| artifact[*at..].starts_with(b"snapshot/files/segment.json")).unwrap();
                let mut bytes = artifact.clone();
                bytes[at + 512] = b'x';
                lab.record("articles", &bytes).await;
            }
            "vectors overwritten" => {
                let name = b"snapshot/files/vector_storage/vectors/chunk_0.mmap";
                let at = (0..artifact.len()).step_by(512).find(|at| artifact[*at..].starts_with(name)).unwrap();
                let mut bytes = artifact.clone();
                // All but the last vectors, so that some are as they were.
                bytes[at + 512..at + 512 + 150 * 256].fill(0x7f);
                lab.record("articles", &bytes).await;
            }
            other => panic!("{other}"),
        }
        if !what.contains("manifest") && !what.contains("another collection") {
            assert_eq!(verifier(lab.store.clone()).run(&lab.id).await.unwrap().verdict, Verdict::Intact, "{what}: the bytes are those recorded");
        }
        let drilled = drilled(&lab).await;
        let articles = &drilled.collections[0];
        let problem = articles.problem.clone().unwrap_or_default();
        println!("{what:52} {}", problem.chars().take(150).collect::<String>());
        assert!(problem.contains(says), "{what}: {problem}");
        assert_eq!(drilled.error().unwrap().exit_code(), 9);
        let text = drilled.error().unwrap().to_string();
        assert!(text.contains("is not proven restorable") && !text.contains("damaged"), "{text}");
        assert!(drilled.collections[1..].iter().all(|c| c.problem.is_none()), "{drilled:?}");
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
    let error = breaks(&lab.store, "articles", 99, Code::StoreUnreachable).drill(&lab.id, scratch.path()).await.unwrap_err();
    assert_eq!(error.code(), Code::StoreUnreachable, "{error}");
    lab.edit(|m| of(m, "articles")["config"]["params"]["shard_number"] = json!(2)).await;
    let error = verifier(lab.store.clone()).drill(&lab.id, scratch.path()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unsupported, "{error}");
    lab.edit(|m| m["format"] = json!(7)).await;
    let error = verifier(lab.store.clone()).drill(&lab.id, scratch.path()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unsupported, "{error}");
    assert!(keys(&*lab.store).await.iter().all(|key| !key.ends_with("drilled.json")));
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}
