//! The fault matrix: one fault after the other, printed as a table.

use crate::screens::holds;
use qdrant_backup::base::error::{Code, Error};
use qdrant_backup::ops::restore::RestoreOutcome;
use serde_json::{Value, json};
use testkit::lost::LONG;
use testkit::lost::Lost;
use testkit::lost::edit;
use testkit::peer::{Inner, Upload};

/// One fault, and what must be said of it.
struct Case {
    fault: &'static str,
    /// Of the refusal, or of the collection if the restore got so far.
    code: Code,
    exit: u8,
    http: u16,
    /// Names, numbers and ways out that must be in what is told. How it is told is in the snapshot of the table.
    words: &'static [&'static str],
    after: After,
}

/// What is true afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// Refused: Qdrant was not asked to change anything, and the error says so by its code.
    Untouched,
    /// Begun and failed; the report tells that there is no such collection.
    Absent,
    /// Begun and failed; the report tells that there is a collection, and in which state.
    There,
}

const fn refused(fault: &'static str, code: Code, exit: u8, http: u16, words: &'static [&'static str]) -> Case {
    Case {
        fault,
        code,
        exit,
        http,
        words,
        after: After::Untouched,
    }
}

/// Whatever it is, a restore that was begun and failed has one exit code and one status.
const fn failed(fault: &'static str, code: Code, after: After, words: &'static [&'static str]) -> Case {
    Case {
        fault,
        code,
        exit: 12,
        http: 502,
        words,
        after,
    }
}

const CASES: &[Case] = {
    use After::{Absent, There};
    &[
        // The store.
        refused(
            "missing object",
            Code::BackupDamaged,
            9,
            500,
            &["a/collection.snapshot"],
        ),
        refused("truncated object", Code::BackupDamaged, 9, 500, &["3145727", "3145728"]),
        refused(
            "flipped byte",
            Code::BackupDamaged,
            9,
            500,
            &["a/collection.snapshot", "CRC32C"],
        ),
        refused(
            "swapped objects",
            Code::BackupDamaged,
            9,
            500,
            &["a/collection.snapshot", "CRC32C"],
        ),
        refused(
            "manifest of a newer version",
            Code::BackupUnsupported,
            13,
            501,
            &["format 2"],
        ),
        refused(
            "another backup's manifest",
            Code::BackupDamaged,
            9,
            500,
            &["2020-01-01T00-00-00Z"],
        ),
        refused("manifest is no JSON", Code::BackupDamaged, 9, 500, &["manifest.json"]),
        refused(
            "forged key",
            Code::BackupDamaged,
            9,
            500,
            &["/../../secret", "/a/collection.snapshot"],
        ),
        refused(
            "another collection's object in the manifest",
            Code::BackupDamaged,
            9,
            500,
            &["/b/collection.snapshot", "/a/collection.snapshot"],
        ),
        refused("unknown storage", Code::BackupUnsupported, 13, 501, &["\"chunks\""]),
        // The target, before anything is changed.
        refused("older Qdrant", Code::RestoreRefused, 11, 409, &["1.18.3", "1.18.2"]),
        refused("cluster", Code::Unsupported, 6, 502, &["2 nodes"]),
        refused(
            "key with too few rights",
            Code::QdrantForbidden,
            6,
            502,
            &["Global manage access"],
        ),
        refused("no key", Code::QdrantUnauthorized, 6, 502, &["QDRANT_API_KEY"]),
        // The way, and the target in mid-restore.
        failed(
            "target forbids the upload",
            Code::QdrantForbidden,
            Absent,
            &["Global manage access"],
        ),
        failed(
            "target full",
            Code::DiskFull,
            Absent,
            &["No space left on device (os error 28)"],
        ),
        failed("cut in mid-restore", Code::QdrantUnreachable, Absent, &[]),
        failed(
            "answer lost",
            Code::QdrantUnreachable,
            There,
            &["100 points", "--overwrite"],
        ),
        failed("wrong checksum", Code::QdrantFailed, Absent, &["checksum mismatch"]),
        // 200, and yet.
        failed(
            "200 with zero points",
            Code::RestoreUnequal,
            There,
            &["0 points", "100 points"],
        ),
        failed("200 with a dead shard", Code::RestoreUnequal, There, &["Dead"]),
        failed(
            "200 with another config",
            Code::RestoreUnequal,
            There,
            &["config.params.vectors.size"],
        ),
        failed(
            "200 with unreadable points",
            Code::RestoreUnequal,
            There,
            &["100 points"],
        ),
        failed(
            "lost alias",
            Code::RestoreUnequal,
            There,
            &["\"live\"", "--skip-existing"],
        ),
    ]
};

/// Does what the case names to the backup or to Qdrant.
fn befall(lost: &Lost, fault: &str) {
    let peer = |change: fn(&mut Inner)| change(&mut lost.peer.lock());
    let manifest = |from: &str, to: &str| {
        edit(&lost.manifest(), |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            assert!(text.contains(from), "{text}");
            *bytes = text.replacen(from, to, 1).into();
        });
    };
    match fault {
        "missing object" => std::fs::remove_file(lost.object("a")).unwrap(),
        "truncated object" => edit(&lost.object("a"), |bytes| bytes.truncate(LONG - 1)),
        "flipped byte" => edit(&lost.object("a"), |bytes| bytes[LONG / 2] ^= 0xff),
        "swapped objects" => {
            let (a, b) = (lost.object("a"), lost.object("b"));
            let between = a.with_extension("between");
            std::fs::rename(&a, &between).unwrap();
            std::fs::rename(&b, &a).unwrap();
            std::fs::rename(&between, &b).unwrap();
        }
        "manifest of a newer version" => manifest("\"format\": 1", "\"format\": 2"),
        "another backup's manifest" => manifest(&lost.id, "2020-01-01T00-00-00Z"),
        "manifest is no JSON" => edit(&lost.manifest(), |bytes| bytes.truncate(bytes.len() / 2)),
        "forged key" => manifest(
            &format!("backups/{}/a/collection.snapshot", lost.id),
            &format!("backups/{}/../../secret", lost.id),
        ),
        "another collection's object in the manifest" => edit(&lost.manifest(), |bytes| {
            let mut manifest: Value = serde_json::from_slice(bytes).unwrap();
            let list = manifest["collections"].as_array_mut().unwrap();
            list[0]["artifacts"] = list[1]["artifacts"].clone();
            *bytes = manifest.to_string().into_bytes();
        }),
        "unknown storage" => manifest("\"storage\": \"object\"", "\"storage\": \"chunks\""),
        "older Qdrant" => peer(|p| p.version = Some("1.18.2")),
        "cluster" => peer(|p| {
            let peers = json!({"1": {"uri": "http://one:6335/"}, "2": {"uri": "http://two:6335/"}});
            p.cluster = Some(json!({"status": "enabled", "peer_id": 1, "peers": peers}));
        }),
        "key with too few rights" => peer(|p| p.may_not_manage = true),
        "no key" => peer(|p| p.api_key = Some("k".into())),
        "target forbids the upload" => lost.upload(Upload::Forbidden),
        "target full" => lost.upload(Upload::Full),
        "cut in mid-restore" => lost.upload(Upload::CutAfter(1 << 20)),
        "answer lost" => lost.upload(Upload::AnswerLost),
        "wrong checksum" => lost.upload(Upload::FlipBit),
        "200 with zero points" => lost.upload(Upload::Empty),
        "200 with a dead shard" => lost.upload(Upload::Dead),
        "200 with another config" => lost.upload(Upload::OtherConfig),
        "200 with unreadable points" => lost.upload(Upload::Unreadable),
        "lost alias" => peer(|p| p.forgets_aliases = true),
        other => panic!("{other}"),
    }
}

/// Restores `a`; a line of the table.
async fn caught(case: &Case) -> String {
    let Case { fault, after, .. } = case;
    let lost = Lost::new().await;
    befall(&lost, fault);
    let (error, said, state) = match lost.run(&lost.request()).await {
        Err(error) => {
            assert_eq!(
                (error.code(), *after),
                (case.code, After::Untouched),
                "{fault}: {error}"
            );
            lost.untouched();
            (error, None, None)
        }
        Ok(report) => {
            assert_eq!(report.status, RestoreOutcome::Failed, "{fault}: {report:?}");
            assert!(report.collections.is_empty(), "{fault}: called restored: {report:?}");
            assert!(report.aliases.is_empty(), "{fault}: {report:?}");
            let [failed] = report.failed.as_slice() else {
                panic!("{fault}: {report:?}")
            };
            assert_eq!(
                (failed.error.code, failed.source.as_str()),
                (case.code, "a"),
                "{fault}: {failed:?}"
            );
            let command = format!("qdrant-backup restore {} a", lost.id);
            assert!(failed.next.starts_with(&command), "{fault}: {failed:?}");
            let said = format!("{}: {}", failed.error.code, failed.error.message);
            (report.error().unwrap(), Some(said), Some(failed.state.clone()))
        }
    };
    assert_eq!(
        (error.exit_code(), qdrant_backup::server::http_status(&error).as_u16()),
        (case.exit, case.http),
        "{fault}: {error}"
    );
    for word in case.words {
        assert!(error.to_string().contains(word), "{fault}: no {word:?} in: {error}");
    }
    // What is there is what is told.
    lost.peer.lock().api_key = None;
    let there = lost.peer.lock().collections.contains_key("a");
    assert_eq!(there, *after == After::There, "{fault}");
    if let Some(state) = &state {
        let told = if there { "it exists with" } else { "it does not exist" };
        assert!(state.starts_with(told), "{fault}: {state}");
    }
    assert!(
        lost.peer.lock().aliases.is_empty(),
        "{fault}: an alias of what is not restored"
    );
    assert!(
        lost.peer.snapshots("a").is_empty(),
        "{fault}: the uploaded file is still there"
    );
    assert!(
        !lost.bench.dir.path().join("lock.json").exists(),
        "{fault}: the lease is still held"
    );
    line(&lost, case, &error, said, state)
}

fn line(lost: &Lost, case: &Case, error: &Error, said: Option<String>, state: Option<String>) -> String {
    let said = said.unwrap_or_else(|| format!("{}: {}", error.code(), error.chain()));
    // Directory, port and id are others each time, and what the system says of a broken connection.
    let plain = |text: &str| {
        let text = text
            .replace(&lost.bench.ctx.store.url(), "file://…")
            .replace(&lost.peer.url, "http://…")
            .replace(&lost.id, "ID")
            .replace('|', "/");
        let foreign = ["error sending request", "EOF while parsing"];
        let end = foreign.iter().filter_map(|cause| text.find(cause)).min();
        end.map_or(text.clone(), |end| format!("{}…", &text[..end]))
    };
    let said = plain(&said);
    let state = plain(state.as_deref().unwrap_or("untouched: nothing was begun"));
    format!("| {} | {} | {} | {said} | {state} |", case.fault, case.exit, case.http)
}

#[tokio::test]
async fn every_fault_is_caught_and_told() {
    let mut table = "| fault | exit | HTTP | what is said | the collection now |\n|---|---|---|---|---|\n".to_owned();
    for case in CASES {
        table += &caught(case).await;
        table += "\n";
    }
    holds("faults_of_a_restore", &table);
}
