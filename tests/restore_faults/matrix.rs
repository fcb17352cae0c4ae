//! One fault after the other, printed as a table.

use crate::support::peer::Upload;
use crate::{LONG, Lost, edit};
use qdrant_backup::error::{Code, Error};
use qdrant_backup::restore::{Outcome, Request};

/// One line of the matrix.
struct Line {
    fault: &'static str,
    error: Error,
    said: String,
    /// What the report says the collection is like; none when the restore was refused.
    state: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Changed {
    Nothing,
    Perhaps,
}

/// Restores `a`; it must fail with this code (of the collection, if it got so far) and these words.
async fn caught(
    fault: &'static str,
    lost: &Lost,
    request: &Request,
    code: Code,
    words: &[&str],
    changed: Changed,
) -> Line {
    let result = lost.run(request).await;
    let said;
    let (error, state, told) = match result {
        Err(error) => {
            said = format!("{}: {}", error.code(), error.chain());
            (error, None, String::new())
        }
        Ok(report) => {
            assert_ne!(report.status, Outcome::Complete, "{fault}: {report:?}");
            assert!(
                report.collections.iter().all(|c| c.source != "a"),
                "{fault}: called restored: {report:?}"
            );
            assert!(report.aliases.is_empty(), "{fault}: {report:?}");
            let failed = report.failed.iter().find(|f| f.source == "a").unwrap();
            assert_eq!(failed.code, code, "{fault}: {failed:?}");
            let command = format!("qdrant-backup restore {} a", lost.id);
            assert!(
                failed.next.starts_with(&command) || failed.next.contains("POST"),
                "{fault}: {failed:?}"
            );
            said = format!("{}: {}", failed.code, failed.message);
            (
                report.error().unwrap(),
                Some(failed.state.clone()),
                format!("{failed:?}"),
            )
        }
    };
    let text = format!("{error} {told}");
    for word in words {
        assert!(text.contains(word), "{fault}: no {word:?} in: {text}");
    }
    if state.is_none() {
        assert_eq!(error.code(), code, "{fault}: {error}");
    } else {
        assert_eq!(error.code(), Code::RestoreFailed, "{fault}: {error}");
    }
    if changed == Changed::Nothing {
        if state.is_none() {
            lost.untouched();
        }
        assert!(
            !lost.peer.lock().collections.contains_key("a"),
            "{fault}: there is something"
        );
    }
    assert!(
        lost.peer.snapshots("a").is_empty(),
        "{fault}: the uploaded file is still there"
    );
    assert!(
        !lost.bench.dir.path().join("lock.json").exists(),
        "{fault}: the lease is still held"
    );
    // The directory is another one each time.
    let said = said
        .replace(&lost.bench.ctx.store.url(), "file://…")
        .replace(&lost.id, "ID");
    Line {
        fault,
        error,
        said,
        state,
    }
}

#[tokio::test]
async fn every_fault_is_caught_and_told() {
    use Changed::{Nothing, Perhaps};
    let mut lines = Vec::new();

    // The store.
    let lost = Lost::new().await;
    std::fs::remove_file(lost.object("a")).unwrap();
    lines.push(
        caught(
            "missing object",
            &lost,
            &lost.request(),
            Code::BackupDamaged,
            &["a/collection.snapshot is not there"],
            Nothing,
        )
        .await,
    );

    let lost = Lost::new().await;
    edit(&lost.object("a"), |bytes| bytes.truncate(LONG - 1));
    lines.push(
        caught(
            "truncated object",
            &lost,
            &lost.request(),
            Code::BackupDamaged,
            &["has 3145727 bytes, the manifest says 3145728"],
            Nothing,
        )
        .await,
    );

    let lost = Lost::new().await;
    edit(&lost.object("a"), |bytes| bytes[LONG / 2] ^= 1);
    lines.push(
        caught(
            "flipped bit",
            &lost,
            &lost.request(),
            Code::BackupDamaged,
            &["CRC32C", "the manifest says"],
            Nothing,
        )
        .await,
    );

    let lost = Lost::new().await;
    let (a, b) = (
        std::fs::read(lost.object("a")).unwrap(),
        std::fs::read(lost.object("b")).unwrap(),
    );
    std::fs::write(lost.object("a"), b).unwrap();
    std::fs::write(lost.object("b"), a).unwrap();
    lines.push(
        caught(
            "swapped objects",
            &lost,
            &lost.request(),
            Code::BackupDamaged,
            &["CRC32C"],
            Nothing,
        )
        .await,
    );

    let lost = Lost::new().await;
    edit(&lost.manifest(), |bytes| {
        *bytes = String::from_utf8(bytes.clone())
            .unwrap()
            .replacen("\"format\": 1", "\"format\": 2", 1)
            .into()
    });
    lines.push(
        caught(
            "newer manifest",
            &lost,
            &lost.request(),
            Code::BackupDamaged,
            &["format 2", "newer one"],
            Nothing,
        )
        .await,
    );

    let lost = Lost::new().await;
    edit(&lost.manifest(), |bytes| {
        *bytes = String::from_utf8(bytes.clone())
            .unwrap()
            .replacen(&lost.id, "2020-01-01T00-00-00Z", 1)
            .into()
    });
    lines.push(
        caught(
            "another backup's manifest",
            &lost,
            &lost.request(),
            Code::BackupDamaged,
            &["is that of backup 2020-01-01"],
            Nothing,
        )
        .await,
    );

    let lost = Lost::new().await;
    let forged = format!("backups/{}/../../secret", lost.id);
    let key = format!("backups/{}/a/collection.snapshot", lost.id);
    edit(&lost.manifest(), |bytes| {
        *bytes = String::from_utf8(bytes.clone())
            .unwrap()
            .replacen(&key, &forged, 1)
            .into()
    });
    lines.push(
        caught(
            "forged key",
            &lost,
            &lost.request(),
            Code::BackupDamaged,
            &["no part of backup"],
            Nothing,
        )
        .await,
    );

    // The target, before anything is changed.
    let lost = Lost::new().await;
    lost.peer.lock().version = Some("1.18.2");
    lines.push(
        caught(
            "older Qdrant",
            &lost,
            &lost.request(),
            Code::RestoreRefused,
            &["1.18.3", "1.18.2", "older"],
            Nothing,
        )
        .await,
    );

    let lost = Lost::new().await;
    lost.peer.lock().may_not_manage = true;
    lines.push(
        caught(
            "key with too few rights",
            &lost,
            &lost.request(),
            Code::QdrantForbidden,
            &["manage"],
            Nothing,
        )
        .await,
    );

    // The way, and the target in mid-restore.
    let lost = Lost::new().await;
    lost.upload(Upload::Forbidden);
    lines.push(
        caught(
            "target forbids the upload",
            &lost,
            &lost.request(),
            Code::QdrantForbidden,
            &["manage", "does not exist"],
            Nothing,
        )
        .await,
    );

    let lost = Lost::new().await;
    lost.upload(Upload::Full);
    lines.push(
        caught(
            "target full",
            &lost,
            &lost.request(),
            Code::QdrantFailed,
            &["No space left on device", "does not exist"],
            Nothing,
        )
        .await,
    );

    let lost = Lost::new().await;
    lost.upload(Upload::CutAfter(1 << 20));
    lines.push(
        caught(
            "cut in mid-restore",
            &lost,
            &lost.request(),
            Code::QdrantUnreachable,
            &["does not exist"],
            Nothing,
        )
        .await,
    );

    let lost = Lost::new().await;
    lost.upload(Upload::AnswerLost);
    lines.push(
        caught(
            "answer lost",
            &lost,
            &lost.request(),
            Code::QdrantUnreachable,
            &["it exists with 100 points", "--overwrite"],
            Perhaps,
        )
        .await,
    );

    let lost = Lost::new().await;
    lost.upload(Upload::FlipBit);
    lines.push(
        caught(
            "wrong checksum",
            &lost,
            &lost.request(),
            Code::QdrantFailed,
            &["checksum mismatch", "does not exist"],
            Nothing,
        )
        .await,
    );

    // 200, and yet.
    let lost = Lost::new().await;
    lost.upload(Upload::Empty);
    lines.push(
        caught(
            "200 with zero points",
            &lost,
            &lost.request(),
            Code::RestoreUnequal,
            &["it has 0 points, the backup has 100 points"],
            Perhaps,
        )
        .await,
    );

    let lost = Lost::new().await;
    lost.upload(Upload::Dead);
    lines.push(
        caught(
            "200 with a dead shard",
            &lost,
            &lost.request(),
            Code::RestoreUnequal,
            &["shard 0 is Dead"],
            Perhaps,
        )
        .await,
    );

    let lost = Lost::new().await;
    lost.upload(Upload::OtherConfig);
    lines.push(
        caught(
            "200 with another config",
            &lost,
            &lost.request(),
            Code::RestoreUnequal,
            &["config.params.vectors.size is 4 in the backup and 8 on Qdrant"],
            Perhaps,
        )
        .await,
    );

    let lost = Lost::new().await;
    lost.upload(Upload::Unreadable);
    lines.push(
        caught(
            "200 with unreadable points",
            &lost,
            &lost.request(),
            Code::RestoreUnequal,
            &["0 points could be read of the first 100"],
            Perhaps,
        )
        .await,
    );

    let lost = Lost::new().await;
    lost.peer.lock().forgets_aliases = true;
    lines.push(
        caught(
            "lost alias",
            &lost,
            &lost.request(),
            Code::RestoreUnequal,
            &["alias \"live\" does not exist", "100 points", "POST"],
            Perhaps,
        )
        .await,
    );

    table(&lines);
}

#[allow(clippy::print_stdout)]
fn table(lines: &[Line]) {
    println!("| fault | exit | HTTP | what is said | the collection now |");
    println!("|---|---|---|---|---|");
    for Line {
        fault,
        error,
        said,
        state,
    } in lines
    {
        let (exit, status) = (error.exit_code(), error.http_status());
        let state = state.as_deref().unwrap_or("untouched: nothing was begun");
        println!("| {fault} | {exit} | {status} | {} | {state} |", said.replace('|', "/"));
    }
}
