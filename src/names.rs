//! The one place that builds and parses object names.
//!
//! ```text
//! backups/{id}/manifest.json                          written last: this is the moment the backup exists
//! backups/{id}/{collection}/collection.snapshot       a plain Qdrant snapshot
//! backups/{id}/{collection}/shard-{n}.snapshot
//! backups/{id}/drilled.json                           what the last drill found
//! lock.json                                           the lease
//! intents/{id}/{collection}-{attempt}.json            what a run has open on Qdrant; gone when the run has ended
//! ```
//! Keys are relative to the store's prefix. A second attempt at an artifact gets a name of its own
//! (`collection-2.snapshot`), so that whatever a failed attempt left behind is never taken for it.

use crate::error::{Code, Error, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use time::{OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description};

/// The key of the lease.
pub const LOCK: &str = "lock.json";
/// Prefix of all backups.
pub const BACKUPS: &str = "backups/";
/// Prefix of all recorded intents.
pub const INTENTS: &str = "intents/";

/// All but ASCII letters, digits, `-` and `_`: a dot would allow `..` and `manifest.json` as a collection's folder.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');
/// Longest folder name: file systems end at 255 bytes, and Qdrant makes temporary names of the last segments of a URL.
const LONGEST: usize = 180;
const ID: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]-[minute]-[second]Z");

/// What an artifact is a snapshot of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactKind {
    /// A whole collection of a standalone node.
    Collection,
    /// The shard of this id.
    Shard(u32),
}

/// Identifies a backup: its start in UTC, to the second, e.g. `2026-11-22T12-00-00Z`. Sorts by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupId(OffsetDateTime);

impl BackupId {
    /// The id of a backup that starts at `at`.
    pub fn at(at: OffsetDateTime) -> Self {
        let at = at.to_offset(time::UtcOffset::UTC);
        Self(at.replace_nanosecond(0).unwrap_or(at))
    }

    /// The second that the id names.
    pub fn time(&self) -> OffsetDateTime {
        self.0
    }

    /// The id of the next second.
    #[must_use]
    pub fn next(&self) -> Self {
        Self(self.0 + time::Duration::SECOND)
    }

    /// Prefix of everything that belongs to this backup.
    pub fn prefix(&self) -> String {
        format!("{BACKUPS}{self}/")
    }

    /// Key of the manifest.
    pub fn manifest(&self) -> String {
        format!("{BACKUPS}{self}/manifest.json")
    }

    /// Key of what the last drill found.
    pub fn drilled(&self) -> String {
        format!("{BACKUPS}{self}/drilled.json")
    }

    /// Key of an artifact; `attempt` counts from 1.
    pub fn artifact(&self, collection: &str, kind: &ArtifactKind, attempt: u32) -> String {
        let stem = match kind {
            ArtifactKind::Collection => "collection".to_owned(),
            ArtifactKind::Shard(shard) => format!("shard-{shard}"),
        };
        let suffix = match attempt {
            0 | 1 => String::new(),
            n => format!("-{n}"),
        };
        format!("{}{}/{stem}{suffix}.snapshot", self.prefix(), folder(collection))
    }

    /// Key of the recorded intent for one attempt at a collection.
    pub fn intent(&self, collection: &str, attempt: u32) -> String {
        format!("{INTENTS}{self}/{}-{attempt}.json", folder(collection))
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.format(ID).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for BackupId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::new(Code::BadRequest, format!("{text:?} is not the id of a backup"))
                .remedy("an id looks like 2026-11-22T12-00-00Z; `qdrant-backup list` shows them")
        };
        let id = PrimitiveDateTime::parse(text, ID)
            .map(|t| Self(t.assume_utc()))
            .map_err(|_| wrong())?;
        // Only the form that we write ourselves: one backup, one name.
        (id.to_string() == text).then_some(id).ok_or_else(wrong)
    }
}

impl Serialize for BackupId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BackupId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The folder of a collection: its percent-encoded name. A name whose encoding is too long for a file system keeps its
/// head and gets a part of its SHA-256 instead of the tail; the manifest has the full name.
fn folder(collection: &str) -> String {
    let encoded = utf8_percent_encode(collection, ENCODED).to_string();
    if encoded.len() <= LONGEST {
        return encoded;
    }
    let hash = crate::hash::sha256_hex(collection.as_bytes());
    // `~` is never in an encoded name, so a short name cannot collide with a shortened one.
    format!("{}~{}", &encoded[..LONGEST - 33], &hash[..32])
}

#[cfg(test)]
mod tests {
    use super::*;
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
        assert_eq!(id.drilled(), "backups/2026-11-22T12-00-00Z/drilled.json");
        assert_eq!(id.intent("docs", 1), "intents/2026-11-22T12-00-00Z/docs-1.json");
    }

    #[test]
    fn an_id_reads_back_and_nothing_else_is_an_id() {
        assert_eq!(id().to_string().parse::<BackupId>().unwrap(), id());
        for wrong in ["", "latest", "2026-11-22T12:00:00Z", "2026-13-22T12-00-00Z", "2026-11-22T12-00-00Z/..", "+2026-11-22T12-00-00Z"] {
            assert_eq!(wrong.parse::<BackupId>().unwrap_err().code(), Code::BadRequest, "{wrong}");
        }
    }

    #[test]
    fn absurd_collection_names_stay_inside_their_folder() {
        let long = "é".repeat(127);
        let names = ["..", ".", "a/b", "a b", "100%", "manifest.json", "向量", "~", "a\\b", &long, &"é".repeat(126)];
        let mut seen = std::collections::HashSet::new();
        for name in names {
            let folder = folder(name);
            assert!(!folder.is_empty() && folder.len() <= LONGEST, "{name}: {folder}");
            assert!(folder.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_%~".contains(&b)), "{folder}");
            assert!(seen.insert(folder), "{name} shares a folder with another");
        }
    }
}
