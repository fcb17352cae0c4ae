//! The id of a run, and the key of what it tells of itself.

use super::{BackupId, RUNS, has_come};
use crate::base::error::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use time::OffsetDateTime;

/// Hex digits that tell two runs of one second apart.
const TAG: usize = 8;
/// Longest word for what is done.
const LONGEST: usize = 16;

/// Identifies a run: when it began, what it does, and eight hex digits, e.g. `2026-11-22T12-00-00Z-backup-1a2b3c4d`. Sorts by
/// time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId {
    began: BackupId,
    operation: String,
    tag: String,
}

impl RunId {
    /// A run that begins at `at`. `operation`: a word of lower-case letters.
    pub(crate) fn new(at: OffsetDateTime, operation: &str) -> Self {
        Self {
            began: BackupId::at(at),
            operation: operation.to_owned(),
            tag: uuid::Uuid::new_v4().simple().to_string()[..TAG].to_owned(),
        }
    }

    /// What it does.
    pub(crate) fn operation(&self) -> &str {
        &self.operation
    }

    /// When it began, to the second.
    pub(crate) fn began(&self) -> OffsetDateTime {
        self.began.time()
    }

    /// Whether its time has come, see [`has_come`].
    pub(crate) fn has_come(&self, now: OffsetDateTime) -> bool {
        has_come(self.began.time(), now)
    }

    /// Key of its record.
    pub fn record(&self) -> String {
        format!("{RUNS}{self}.json")
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.began, self.operation, self.tag)
    }
}

impl FromStr for RunId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.rsplit_once('-').and_then(|(rest, tag)| {
            let (began, operation) = rest.rsplit_once('-')?;
            Some((began, operation, tag))
        });
        let is_word = |word: &str| {
            (1..=LONGEST).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        };
        let is_tag =
            |tag: &str| tag.len() == TAG && tag.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let id = parts.filter(|(_, operation, tag)| is_word(operation) && is_tag(tag));
        let id = id.and_then(|(began, operation, tag)| {
            Some(Self {
                began: began.parse().ok()?,
                operation: operation.to_owned(),
                tag: tag.to_owned(),
            })
        });
        id.ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            Error::new(Code::BadRequest, format!("{shown:?} is not a valid id of a run"))
                .remedy("use an id like 2026-11-22T12-00-00Z-backup-1a2b3c4d; GET /v1/operations lists them")
        })
    }
}

impl Serialize for RunId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn an_id_reads_back_and_nothing_else_is_one() {
        let id = RunId::new(datetime!(2026-11-22 12:00:00.987 UTC), "backup");
        assert_eq!(id.to_string().parse::<RunId>().unwrap(), id);
        assert_eq!(id.record(), format!("runs/{id}.json"));
        for wrong in [
            "",
            "latest",
            "2026-11-22T12-00-00Z",
            "2026-11-22T12-00-00Z-backup",
            "2026-11-22T12-00-00Z-backup-1a2b3c4",
            "2026-11-22T12-00-00Z-backup-1A2B3C4D",
            "2026-11-22T12-00-00Z--1a2b3c4d",
            "2026-11-22T12-00-00Z-../-1a2b3c4d",
            "2026-13-22T12-00-00Z-backup-1a2b3c4d",
            "2026-11-22T12-00-00Z-backup-1a2b3c4d/..",
        ] {
            assert_eq!(wrong.parse::<RunId>().unwrap_err().code(), Code::BadRequest, "{wrong}");
        }
    }
}
