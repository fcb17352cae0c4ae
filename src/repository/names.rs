//! The one place that builds and parses object names.
//!
//! ```text
//! backups/{id}/manifest.json                          written last: this is the moment the backup exists
//! backups/{id}/{collection}/collection.snapshot       a plain Qdrant snapshot
//! backups/{id}/{collection}/shard-{n}.snapshot
//! backups/{id}/pinned.json                            the pin: this backup is to be kept
//! backups/{id}/verified.json                          what the last verification found
//! backups/{id}/drilled.json                           what the last drill found
//! lock.json                                           the lease
//! intents/{id}/{collection}-{attempt}.json            what a run has open on Qdrant; gone when the run has ended
//! intents/drills/{drill}-{number}.json                that a drill has a temporary collection open on Qdrant; gone with it
//! jobs/{execution}/plan.json                          what the tasks of one execution of a job have agreed on
//! jobs/{execution}/parts/{collection}.json            what one of them has come to with a collection
//! jobs/key-{hash}/runs/{id}.json                      which run a request with that idempotency key has begun
//! runs/{id}.json                                      what a run tells of itself while it works, and how it ended
//! since.json                                          since when a service is to back up into this store
//! notified.json                                       which operations failed, as people were told
//! ```
//! Keys are relative to the store's prefix. A second attempt at an artifact gets a name of its own
//! (`collection-2.snapshot`), so that whatever a failed attempt left behind is never taken for it.
//!
//! [`Name::parse`] is also what keeps deletions in bounds: only keys that it accepts are ever deleted. Objects that backups
//! of a later format share must therefore get keys that it refuses.

mod execution;
mod id;
mod run;
mod temporary;

pub use execution::Execution;
pub use id::BackupId;
pub(crate) use id::has_come;
pub use run::RunId;
pub(crate) use temporary::DrillTag;
pub use temporary::{PREFIX, TemporaryName};

pub use crate::base::snapshot::ArtifactKind;
pub(crate) use crate::wire::store::{BACKUPS, INTENTS, JOBS, RUNS};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The key of the lease.
pub const LOCK: &str = "lock.json";
/// Prefix of the intents of drills, below [`INTENTS`].
pub(crate) const DRILLS: &str = "intents/drills/";
/// The key of the record of the first start.
pub(crate) const SINCE: &str = "since.json";
/// The key of the record of what people were told.
pub(crate) const NOTIFIED: &str = "notified.json";

/// All but ASCII letters, digits, `-` and `_`: a dot would allow `..` and `manifest.json` as a collection's folder.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');
/// Longest folder name: file systems end at 255 bytes, and Qdrant makes temporary names of the last segments of a URL.
const LONGEST: usize = 180;
/// Hex digits of the hash that takes the place of a long name's tail.
const HASHED: usize = 32;

/// What a key is the key of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// The lease.
    Lock,
    /// The record of the first start.
    Since,
    /// The record of what people were told.
    Notified,
    Manifest(BackupId),
    /// The pin of a backup.
    Pinned(BackupId),
    /// The record of the last verification.
    Verified(BackupId),
    /// The record of the last drill.
    Drilled(BackupId),
    /// The data of a backup.
    Artifact {
        id: BackupId,
        /// The collection's folder: its encoded name.
        folder: String,
        /// What it is a snapshot of.
        kind: ArtifactKind,
        /// Which attempt wrote it, counted from 1.
        attempt: u32,
    },
    /// What a run has open on Qdrant.
    Intent {
        /// The run.
        id: BackupId,
        /// The collection's folder: its encoded name.
        folder: String,
        /// Of what the snapshot is.
        kind: ArtifactKind,
        /// Which attempt, counted from 1.
        attempt: u32,
    },
    /// That a drill has a temporary collection open on Qdrant.
    Temporary(TemporaryName),
    /// What the tasks of an execution have agreed on.
    JobPlan(Execution),
    /// What a task has come to with a unit.
    JobPart {
        execution: Execution,
        /// The collection's folder: its encoded name.
        folder: String,
        /// What of the collection.
        kind: ArtifactKind,
    },
    /// A run that a request began which may be sent again.
    RequestedRun {
        execution: Execution,
        id: BackupId,
    },
    /// What a run tells of itself.
    Run(RunId),
}

impl Name {
    /// Reads a key; `None` for every key that this module would not have built, to the letter.
    pub fn parse(key: &str) -> Option<Self> {
        let segments: Vec<&str> = key.split('/').collect();
        let name = match segments.as_slice() {
            [LOCK] => Self::Lock,
            [SINCE] => Self::Since,
            [NOTIFIED] => Self::Notified,
            ["backups", id, "manifest.json"] => Self::Manifest(id.parse().ok()?),
            ["backups", id, "pinned.json"] => Self::Pinned(id.parse().ok()?),
            ["backups", id, "verified.json"] => Self::Verified(id.parse().ok()?),
            ["backups", id, "drilled.json"] => Self::Drilled(id.parse().ok()?),
            ["backups", id, folder, file] if is_folder(folder) => {
                let stem = file.strip_suffix(".snapshot")?;
                let (kind, attempt) = match stem.strip_prefix("shard-") {
                    Some(rest) => {
                        let (shard, attempt) = attempt_of(rest);
                        (ArtifactKind::Shard(shard.parse().ok()?), attempt)
                    }
                    None => (ArtifactKind::Collection, attempt_of(stem).1),
                };
                Self::Artifact {
                    id: id.parse().ok()?,
                    folder: (*folder).to_owned(),
                    kind,
                    attempt: attempt?,
                }
            }
            ["intents", "drills", file] => Self::Temporary(TemporaryName::of_intent(file)?),
            ["intents", id, file] => {
                let (unit, attempt) = file.strip_suffix(".json")?.rsplit_once('-')?;
                let (folder, kind) = unit_of(unit)?;
                Self::Intent {
                    id: id.parse().ok()?,
                    folder: folder.to_owned(),
                    kind,
                    attempt: attempt.parse().ok()?,
                }
            }
            ["jobs", execution, "plan.json"] => Self::JobPlan(execution.parse().ok()?),
            ["jobs", execution, "parts", file] => {
                let (folder, kind) = unit_of(file.strip_suffix(".json")?)?;
                Self::JobPart {
                    execution: execution.parse().ok()?,
                    folder: folder.to_owned(),
                    kind,
                }
            }
            ["jobs", execution, "runs", file] => Self::RequestedRun {
                execution: execution.parse().ok()?,
                id: file.strip_suffix(".json")?.parse().ok()?,
            },
            ["runs", file] => Self::Run(file.strip_suffix(".json")?.parse().ok()?),
            _ => return None,
        };
        // Only the form that we write ourselves: no leading zeros, no other spelling.
        (name.key() == key).then_some(name)
    }

    /// The key itself.
    pub fn key(&self) -> String {
        match self {
            Self::Lock => LOCK.to_owned(),
            Self::Since => SINCE.to_owned(),
            Self::Notified => NOTIFIED.to_owned(),
            Self::Manifest(id) => id.manifest(),
            Self::Pinned(id) => id.pinned(),
            Self::Verified(id) => id.verified(),
            Self::Drilled(id) => id.drilled(),
            Self::Artifact {
                id,
                folder,
                kind,
                attempt,
            } => artifact(id, folder, kind, *attempt),
            Self::Intent {
                id,
                folder,
                kind,
                attempt,
            } => intent(id, &unit(folder, *kind), *attempt),
            Self::Temporary(name) => name.intent(),
            Self::JobPlan(execution) => execution.plan(),
            Self::JobPart {
                execution,
                folder,
                kind,
            } => execution.part_of(&unit(folder, *kind)),
            Self::RequestedRun { execution, id } => execution.run(id),
            Self::Run(id) => id.record(),
        }
    }

    /// The backup in whose folder it lies; `None` for what lies in no backup's folder.
    pub fn backup(&self) -> Option<BackupId> {
        match self {
            Self::Manifest(id)
            | Self::Pinned(id)
            | Self::Verified(id)
            | Self::Drilled(id)
            | Self::Artifact { id, .. } => Some(*id),
            Self::Lock
            | Self::Since
            | Self::Notified
            | Self::Intent { .. }
            | Self::Temporary(_)
            | Self::JobPlan(_)
            | Self::JobPart { .. }
            | Self::RequestedRun { .. }
            | Self::Run(_) => None,
        }
    }

    /// The execution whose record it is; `None` for everything else.
    pub fn execution(&self) -> Option<&Execution> {
        match self {
            Self::JobPlan(execution) | Self::JobPart { execution, .. } | Self::RequestedRun { execution, .. } => {
                Some(execution)
            }
            _ => None,
        }
    }
}

fn artifact(id: &BackupId, folder: &str, kind: &ArtifactKind, attempt: u32) -> String {
    let stem = match kind {
        ArtifactKind::Collection => "collection".to_owned(),
        ArtifactKind::Shard(shard) => format!("shard-{shard}"),
    };
    let suffix = match attempt {
        0 | 1 => String::new(),
        n => format!("-{n}"),
    };
    format!("{}{folder}/{stem}{suffix}.snapshot", id.prefix())
}

fn intent(id: &BackupId, unit: &str, attempt: u32) -> String {
    format!("{INTENTS}{id}/{unit}-{attempt}.json")
}

/// The name of a record on a unit, without its ending. A folder never has a dot.
fn unit(folder: &str, kind: ArtifactKind) -> String {
    match kind {
        ArtifactKind::Collection => folder.to_owned(),
        ArtifactKind::Shard(shard) => format!("{folder}.shard-{shard}"),
    }
}

/// The folder and the kind that [`unit`] makes that name of.
fn unit_of(name: &str) -> Option<(&str, ArtifactKind)> {
    let (folder, kind) = match name.split_once(".shard-") {
        Some((folder, shard)) => (folder, ArtifactKind::Shard(shard.parse().ok()?)),
        None => (name, ArtifactKind::Collection),
    };
    is_folder(folder).then_some((folder, kind))
}

/// What stands before the number of the attempt, and that number; `None` when it is none.
fn attempt_of(stem: &str) -> (&str, Option<u32>) {
    match stem.split_once('-') {
        Some((stem, attempt)) => (stem, attempt.parse().ok()),
        None => (stem, Some(1)),
    }
}

/// The folder of a collection: its percent-encoded name. A name whose encoding is too long for a file system keeps its
/// head and gets a part of its SHA-256 instead of the tail; the manifest has the full name.
fn folder(collection: &str) -> String {
    let encoded = utf8_percent_encode(collection, ENCODED).to_string();
    if encoded.len() <= LONGEST {
        return encoded;
    }
    let hash = crate::base::hash::sha256_hex(collection.as_bytes());
    // `~` is never in an encoded name, so a short name cannot collide with a shortened one.
    format!("{}~{}", &encoded[..LONGEST - HASHED - 1], &hash[..HASHED])
}

/// Whether [`folder`] can have built it.
fn is_folder(text: &str) -> bool {
    if let Some((head, hash)) = text.split_once('~') {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        return text.len() == LONGEST
            && hash.len() == HASHED
            && hash.bytes().all(hex)
            && head.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_%".contains(&b));
    }
    let name = percent_decode_str(text).decode_utf8();
    !text.is_empty() && name.is_ok_and(|name| folder(&name) == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::unit::Unit;
    use time::macros::datetime;

    fn id() -> BackupId {
        BackupId::at(datetime!(2026-11-22 12:00:00.987 UTC))
    }

    #[test]
    fn keys_are_those_of_the_documented_layout() {
        let id = id();
        assert_eq!(id.manifest(), "backups/2026-11-22T12-00-00Z/manifest.json");
        assert_eq!(
            id.artifact("docs", &ArtifactKind::Collection, 1),
            "backups/2026-11-22T12-00-00Z/docs/collection.snapshot"
        );
        assert_eq!(
            id.artifact("docs", &ArtifactKind::Shard(3), 2),
            "backups/2026-11-22T12-00-00Z/docs/shard-3-2.snapshot"
        );
        assert_eq!(id.verified(), "backups/2026-11-22T12-00-00Z/verified.json");
        assert_eq!(id.drilled(), "backups/2026-11-22T12-00-00Z/drilled.json");
        assert_eq!(
            id.intent(&Unit::whole("docs"), 1),
            "intents/2026-11-22T12-00-00Z/docs-1.json"
        );
    }

    #[test]
    fn absurd_collection_names_stay_inside_their_folder() {
        let long = "é".repeat(127);
        let names = [
            "..",
            ".",
            "a/b",
            "a b",
            "100%",
            "manifest.json",
            "向量",
            "~",
            "a\\b",
            &long,
            &"é".repeat(126),
        ];
        let mut seen = std::collections::HashSet::new();
        for name in names {
            let folder = folder(name);
            assert!(!folder.is_empty() && folder.len() <= LONGEST, "{name}: {folder}");
            assert!(
                folder
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_%~".contains(&b)),
                "{folder}"
            );
            assert!(seen.insert(folder), "{name} shares a folder with another");
        }
    }

    #[test]
    fn every_key_of_ours_reads_back_as_what_it_is() {
        let id = id();
        for name in [
            "docs",
            "..",
            "a/b",
            "a b",
            "100%",
            "shard-1",
            "a-2",
            "向量",
            "lock.json",
            &"é".repeat(127),
        ] {
            for (kind, attempt) in [
                (ArtifactKind::Collection, 1),
                (ArtifactKind::Collection, 3),
                (ArtifactKind::Shard(0), 1),
                (ArtifactKind::Shard(7), 2),
            ] {
                let key = id.artifact(name, &kind, attempt);
                let parsed = Name::parse(&key).unwrap_or_else(|| panic!("{key}"));
                assert_eq!(
                    parsed,
                    Name::Artifact {
                        id,
                        folder: folder(name),
                        kind,
                        attempt
                    }
                );
                assert_eq!((parsed.key(), parsed.backup()), (key, Some(id)));
            }
            let execution: Execution = "nightly-x7k2p".parse().unwrap();
            for shard in [None, Some(0), Some(7)] {
                let unit = Unit {
                    shard,
                    ..Unit::whole(name)
                };
                for key in [id.intent(&unit, 2), execution.part(&unit)] {
                    let parsed = Name::parse(&key).unwrap_or_else(|| panic!("{key}"));
                    let (Name::Intent { kind, .. } | Name::JobPart { kind, .. }) = &parsed else {
                        panic!("{key}");
                    };
                    assert_eq!(*kind, unit.kind(), "{key}");
                    assert_eq!((parsed.key(), parsed.backup()), (key, None));
                }
            }
        }
        for name in [
            Name::Lock,
            Name::Manifest(id),
            Name::Pinned(id),
            Name::Verified(id),
            Name::Drilled(id),
            Name::JobPlan("nightly-x7k2p".parse().unwrap()),
            Name::Since,
            Name::Notified,
            Name::Run("2026-11-22T12-00-00Z-backup-1a2b3c4d".parse().unwrap()),
            Name::RequestedRun {
                execution: Execution::of_key("abc"),
                id,
            },
        ] {
            assert_eq!(Name::parse(&name.key()), Some(name));
        }
    }

    #[test]
    fn an_artifact_belongs_to_one_collection_of_one_backup() {
        let (id, long) = (id(), "é".repeat(127));
        let names = [
            "docs",
            "..",
            "a/b",
            "collection",
            "shard-1",
            "a-2",
            "向量",
            "",
            "a\0b",
            &long,
        ];
        let kinds = [ArtifactKind::Collection, ArtifactKind::Shard(0), ArtifactKind::Shard(7)];
        let all: Vec<_> = names.iter().flat_map(|name| kinds.map(|kind| (*name, kind))).collect();
        for (name, kind) in all.iter().filter(|(name, _)| !name.is_empty()) {
            for attempt in [1, 2, 17] {
                let key = id.artifact(name, kind, attempt);
                for (other, of) in &all {
                    assert_eq!(
                        id.is_artifact(&key, other, of),
                        (name, kind) == (other, of),
                        "{key} of {other}"
                    );
                }
                assert!(!id.next().is_artifact(&key, name, kind), "{key} in another backup");
                for (a, b) in [
                    ("collection", "collection/."),
                    ("docs", "docs/"),
                    ("docs", "docs\0"),
                    (".snapshot", ""),
                ] {
                    let odd = key.replace(a, b);
                    assert!(odd == key || !id.is_artifact(&odd, name, kind), "{odd:?}");
                }
                for odd in [
                    format!("{key}\0"),
                    format!("/{key}"),
                    format!("{}../{key}", id.prefix()),
                ] {
                    assert!(!id.is_artifact(&odd, name, kind), "{odd:?}");
                }
            }
        }
    }

    #[test]
    fn no_other_key_is_taken_for_ours() {
        for key in [
            "",
            "backups",
            "backups/",
            "backups/readme.txt",
            "Lock.json",
            "x/lock.json",
            "lock.json/",
            "/lock.json",
            "backups/2026-11-22/manifest.json",
            "backups/2026-11-22T12-00-00Z",
            "backups/2026-11-22T12-00-00Z/",
            "backups/2026-11-22T12-00-00Z/manifest.json.bak",
            "backups/2026-11-22T12-00-00Z/notes.json",
            "backups/2026-11-22T12-00-00Z/docs/notes.txt",
            "backups/2026-11-22T12-00-00Z/docs/manifest.json",
            "backups/2026-11-22T12-00-00Z/docs/collection-1.snapshot",
            "backups/2026-11-22T12-00-00Z/docs/collection-02.snapshot",
            "backups/2026-11-22T12-00-00Z/docs/collection-+2.snapshot",
            "backups/2026-11-22T12-00-00Z/docs/shard-.snapshot",
            "backups/2026-11-22T12-00-00Z/docs/shard-01.snapshot",
            "backups/2026-11-22T12-00-00Z/docs/other.snapshot",
            "backups/2026-11-22T12-00-00Z/docs/docs/collection.snapshot",
            "backups/2026-11-22T12-00-00Z//collection.snapshot",
            "backups/2026-11-22T12-00-00Z/../collection.snapshot",
            "backups/2026-11-22T12-00-00Z/a b/collection.snapshot",
            "backups/2026-11-22T12-00-00Z/%64ocs/collection.snapshot",
            "backups/2026-11-22T12-00-00Z/%2f/collection.snapshot",
            "backups/2026-11-22T12-00-00Z/%FF/collection.snapshot",
            "backups/2026-11-22T12-00-00Z/a~b/collection.snapshot",
            "intents/2026-11-22T12-00-00Z/docs.json",
            "intents/2026-11-22T12-00-00Z/docs-01.json",
            "jobs/x/plan.json.bak",
            "jobs/X/plan.json",
            "jobs/../plan.json",
            "jobs/x/parts/.json",
            "jobs/x/parts/a b.json",
            "jobs/x/parts/docs/plan.json",
            "jobs/x/runs/.json",
            "jobs/x/runs/docs.json",
            "since.json/",
            "lock.json2",
            "backups\\x",
        ] {
            assert_eq!(Name::parse(key), None, "{key}");
        }
    }
}
