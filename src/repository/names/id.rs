//! The id of a backup, and the keys of what lies in its folder.

use super::{ArtifactKind, BACKUPS, INTENTS, Name, artifact, folder, intent, unit};
use crate::base::error::{Code, Error, Result};
use crate::repository::unit::Unit;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, time::Duration};
use time::{OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description};

const ID: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]-[minute]-[second]Z");

/// By how much the clocks of those who back up and those who look may differ.
const SKEW: Duration = Duration::from_secs(600);

/// Whether a time has come, by a clock that may be [`SKEW`] behind the one that told it. What lies further ahead is of a wrong
/// clock, or was written by hand: it counts for nobody.
pub(crate) fn has_come(at: OffsetDateTime, now: OffsetDateTime) -> bool {
    at <= now + SKEW
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

    /// Whether its time has come, see [`has_come`]. Otherwise it is the latest backup to nobody, and counts as good to nobody.
    pub(crate) fn has_come(&self, now: OffsetDateTime) -> bool {
        has_come(self.0, now)
    }

    /// Prefix of everything that belongs to this backup.
    pub fn prefix(&self) -> String {
        format!("{BACKUPS}{self}/")
    }

    /// Key of the manifest.
    pub fn manifest(&self) -> String {
        format!("{BACKUPS}{self}/manifest.json")
    }

    /// Key of this backup's pin.
    pub fn pinned(&self) -> String {
        format!("{BACKUPS}{self}/pinned.json")
    }

    /// Key of the record of the last verification.
    pub fn verified(&self) -> String {
        format!("{BACKUPS}{self}/verified.json")
    }

    /// Key of the record of the last drill.
    pub fn drilled(&self) -> String {
        format!("{BACKUPS}{self}/drilled.json")
    }

    /// Key of an artifact; `attempt` counts from 1.
    pub fn artifact(&self, collection: &str, kind: &ArtifactKind, attempt: u32) -> String {
        artifact(self, &folder(collection), kind, attempt)
    }

    /// Whether `key` is one that [`BackupId::artifact`] makes of this, by whichever attempt.
    pub(crate) fn is_artifact(&self, key: &str, collection: &str, kind: &ArtifactKind) -> bool {
        match Name::parse(key) {
            Some(Name::Artifact {
                id, folder: f, kind: k, ..
            }) => (id, f.as_str(), k) == (*self, folder(collection).as_str(), *kind),
            _ => false,
        }
    }

    /// Prefix of the recorded intents of this run.
    pub(crate) fn intents(&self) -> String {
        format!("{INTENTS}{self}/")
    }

    /// Key of the recorded intent for one attempt at a unit.
    pub fn intent(&self, of: &Unit, attempt: u32) -> String {
        intent(self, &unit(&folder(&of.collection), of.kind()), attempt)
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
            Error::new(Code::BadRequest, format!("{text:?} is not a valid backup id"))
                .remedy("use an id like 2026-11-22T12-00-00Z; `qdrant-backup list` shows them")
                .over_http("use an id like 2026-11-22T12-00-00Z; GET /v1/backups lists them")
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

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn an_id_reads_back_and_nothing_else_is_an_id() {
        let id = BackupId::at(datetime!(2026-11-22 12:00:00.987 UTC));
        assert_eq!(id.to_string().parse::<BackupId>().unwrap(), id);
        for wrong in [
            "",
            "latest",
            "2026-11-22T12:00:00Z",
            "2026-13-22T12-00-00Z",
            "2026-11-22T12-00-00Z/..",
            "+2026-11-22T12-00-00Z",
        ] {
            assert_eq!(
                wrong.parse::<BackupId>().unwrap_err().code(),
                Code::BadRequest,
                "{wrong}"
            );
        }
    }
}
