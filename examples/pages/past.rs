//! What was before: backups, their proofs, and runs, written past the tool.

use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use testkit::many;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;

/// The time that it is in all states.
pub(super) const NOW: OffsetDateTime = datetime!(2026-11-26 09:12 UTC);
/// Between two backups.
pub(super) const EVERY: Duration = Duration::from_secs(6 * 3600);
/// Backups of a long and good history.
const BACKUPS: u32 = 60;
/// The name of the Qdrant.
pub(super) const SOURCE: &str = "production";

/// Collections: their points, and bytes.
pub(super) const COLLECTIONS: [(&str, u64, u64); 6] = [
    ("articles", 1_204_511, 7_913_000_000),
    ("images", 5_630_218, 41_204_000_000),
    ("products", 348_122, 2_140_000_000),
    ("support-tickets", 88_417, 431_000_000),
    ("user-profiles", 2_310_006, 3_064_000_000),
    ("部落格文章", 12_480, 100_600_000),
];

pub(super) fn stamp(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap()
}

/// An id as backups and runs have it.
pub(super) fn id(at: OffsetDateTime) -> String {
    qdrant_backup::repository::names::BackupId::at(at).to_string()
}

/// Writes a file that is as old as it would be.
pub(super) fn plant(store: &Path, key: &str, content: &Value, at: OffsetDateTime) {
    let path = store.join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content.to_string()).unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(at.into()).unwrap();
}

/// Backups each six hours, the newest `age` old, growing, with what happens in two weeks: a collection that was added, one that
/// could not be saved once, one backup that was found damaged. They are read back each night and drilled each week.
pub(super) fn backups(store: &Path, age: Duration) {
    for back in 0..BACKUPS {
        let at = NOW - age - EVERY * back;
        let grown = |size: u64| size - size * u64::from(back) / 160 - size * u64::from(back * 7 % 5) / 900;
        let mut collections: Vec<_> = COLLECTIONS
            .map(|(name, points, bytes)| (name, grown(points), grown(bytes)))
            .into();
        if back > 22 {
            collections.retain(|(name, ..)| *name != "support-tickets");
        }
        match back {
            13 => partial(store, at, &mut collections, "images"),
            _ => good(store, at, &collections),
        }
        let proof =
            |verdict: &str| json!({"id": id(at), "verdict": verdict, "at": stamp(at + Duration::from_secs(3600))});
        let beside = |name: &str| format!("backups/{}/{name}.json", id(at));
        if back % 4 == 1 && back != 13 {
            let verdict = if back == 33 { "damaged" } else { "intact" };
            plant(store, &beside("verified"), &proof(verdict), at);
        }
        if back % 28 == 9 {
            let mut drill = proof("passed");
            drill["target"] = "http://drill:6333".into();
            plant(store, &beside("drilled"), &drill, at);
        }
    }
}

pub(super) fn good(store: &Path, at: OffsetDateTime, collections: &[(&str, u64, u64)]) {
    many::write_backup(at, store, collections, named);
}

fn named(manifest: &mut Value) {
    manifest["qdrant"]["source"]["name"] = SOURCE.into();
}

/// One that was asked to save one collection.
pub(super) fn only(store: &Path, at: OffsetDateTime, collection: &(&str, u64, u64)) {
    many::write_backup(at, store, &[*collection], |manifest| {
        named(manifest);
        manifest["selection"] = json!({"collections": [collection.0]});
    });
}

/// One that misses a collection.
pub(super) fn partial(store: &Path, at: OffsetDateTime, collections: &mut Vec<(&str, u64, u64)>, lost: &str) {
    collections.retain(|(name, ..)| *name != lost);
    many::write_backup(at, store, collections, |manifest| {
        named(manifest);
        manifest["status"] = "partial".into();
        let mut failure = no_space(lost);
        failure["collection"] = lost.into();
        manifest["failed"] = json!([failure]);
    });
}

/// One that was made while Qdrant optimized a collection.
pub(super) fn unproven(store: &Path, at: OffsetDateTime, collections: &[(&str, u64, u64)]) {
    many::write_backup(at, store, collections, |manifest| {
        named(manifest);
        manifest["collections"][1]["artifacts"][0]["optimizing"] = true.into();
    });
}

/// As Qdrant and this tool say it.
pub(super) fn no_space(collection: &str) -> Value {
    json!({
        "code": "snapshot_failed",
        "message": format!("collection {collection:?}: Qdrant answered POST /collections/{collection}/snapshots with 500 Internal \
            Server Error: No space left on device (os error 28)"),
        "remedy": "free space on Qdrant's disk, or set SNAPSHOT_MODE=stream, which needs none",
    })
}

/// What a run tells of itself. `change` says what it came to.
pub(super) fn run(
    store: &Path,
    kind: &str,
    at: OffsetDateTime,
    took: Duration,
    change: impl FnOnce(&mut Value),
) -> String {
    let run = format!("{}-{kind}-{:08x}", id(at), at.unix_timestamp() as u32);
    let units = COLLECTIONS.len();
    let bytes: u64 = COLLECTIONS.iter().map(|(_, _, bytes)| bytes).sum();
    let phase = match kind {
        "backup" => "saved",
        "verify" => "verified",
        _ => "restored",
    };
    let mut record = json!({
        "id": run, "who": "backup-vm/4242", "holder": null, "tool_version": "0.1.0", "started_at": stamp(at),
        "state": "succeeded", "ended_at": stamp(at + took),
        "totals": {"units": units, "done": units, "bytes_done": bytes, "bytes_total": bytes, "part": 1.0},
        "units": COLLECTIONS.map(|(name, _, bytes)| json!({"name": name, "phase": phase, "bytes_done": bytes, "bytes_total": bytes})),
    });
    change(&mut record);
    plant(store, &format!("runs/{run}.json"), &record, at + took);
    run
}

/// Runs that belong to [`backups`].
pub(super) fn runs(store: &Path, age: Duration) {
    for back in 0..5 {
        let at = NOW - age - EVERY * back;
        run(
            store,
            "backup",
            at,
            Duration::from_secs(391 + u64::from(back) * 7),
            |record| {
                record["backup"] = id(at).into();
            },
        );
        if back % 4 == 1 {
            run(
                store,
                "verify",
                at + Duration::from_secs(3000),
                Duration::from_secs(212),
                |record| {
                    record["backup"] = id(at).into();
                },
            );
        }
    }
}

/// How a run says that it failed.
pub(super) fn failed(record: &mut Value, lost: &str) {
    record["state"] = "failed".into();
    record["error"] = no_space(lost);
    record["totals"]["failed"] = 1.into();
    record["totals"]["done"] = (COLLECTIONS.len() - 1).into();
}
