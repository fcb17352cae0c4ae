//! What is said of a backup that was read back.

use crate::base::error::{Code, Error, ErrorInfo};
use crate::repository::manifest::{Artifact, Status};
use crate::repository::names::BackupId;
use crate::repository::verdicts::verified::VerifyVerdict;
use serde::Serialize;
use time::OffsetDateTime;

/// What is wrong, as a stable word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// The store has no such object.
    Missing,
    /// The object was written again since.
    Replaced,
    /// Its length is not the recorded one.
    Length,
    /// Its SHA-256 is not the recorded one.
    Sha256,
    /// Its CRC32C is not the recorded one.
    Crc32c,
    /// The store found its own checksum wrong while it sent the object.
    StoreChecksum,
    /// Its tar is not a whole snapshot.
    Structure,
    /// The manifest names a key or a collection twice.
    NamedTwice,
    /// The manifest names a key that is not one of the collection's in its backup.
    ForeignKey,
    /// A collection of the manifest has no object.
    NoArtifact,
    /// The manifest says something that cannot be.
    Manifest,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What is wrong, for programs.
    pub problem: Problem,
    /// What is wrong, for people.
    pub message: String,
    /// What was recorded, where there is one such thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What is there instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

/// What was found out about one object.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// The collection that it belongs to.
    pub collection: String,
    pub key: String,
    /// Bytes that were read.
    pub bytes: u64,
    /// Whether it is what was saved.
    pub verdict: VerifyVerdict,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// What is odd and yet no damage.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Why it could not be checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_checked: Option<ErrorInfo>,
}

/// What was found out about one backup.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyReport {
    pub id: BackupId,
    /// Damaged when anything is; else not checked when anything could not be.
    pub verdict: VerifyVerdict,
    /// Whether the backup has all that was asked for when it was made.
    pub status: Status,
    /// When checking began: what is said holds for then.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// When it had ended.
    #[serde(with = "time::serde::rfc3339")]
    pub finished_at: OffsetDateTime,
    /// Who checked.
    pub by: String,
    /// Version of the tool that checked.
    pub tool_version: String,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is wrong with the manifest itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Every object that the manifest names.
    pub objects: Vec<Checked>,
    /// Collections that this version cannot restore, however intact they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_restorable: Vec<String>,
    /// Why all this was not recorded beside the manifest, where it was to be: the next one who looks does not learn it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_recorded: Option<ErrorInfo>,
}

impl VerifyReport {
    /// Whether all is well but that a store that takes no writes keeps no record of it: then no other attempt does better.
    pub(crate) fn is_intact_and_read_only(&self) -> bool {
        let is_refused = self
            .not_recorded
            .as_ref()
            .is_some_and(|why| why.code == Code::StoreForbidden);
        self.verdict == VerifyVerdict::Intact && is_refused
    }

    /// The error for the verdict; of an intact one, that the result was not recorded.
    pub fn error(&self) -> Option<Error> {
        let all = self.objects.len();
        let with = |verdict| self.objects.iter().filter(move |object| object.verdict == verdict);
        let damaged = with(VerifyVerdict::Damaged).count();
        match self.verdict {
            VerifyVerdict::Intact => {
                let why = self.not_recorded.as_ref()?;
                let doing = format!("backup {} is intact, but the result was not recorded", self.id);
                let error = why.error(&doing);
                Some(match why.remedy {
                    Some(_) => error,
                    None => error.remedy("fix the cause, then verify again"),
                })
            }
            VerifyVerdict::Damaged if damaged == 0 => Some(Error::new(
                Code::BackupDamaged,
                format!("backup {} is damaged: its manifest is invalid", self.id),
            )),
            VerifyVerdict::Damaged => {
                let text = format!(
                    "backup {} is damaged: {damaged} of {all} objects differ from what was saved",
                    self.id
                );
                Some(Error::new(Code::BackupDamaged, text))
            }
            VerifyVerdict::NotChecked => {
                let causes: Vec<_> = with(VerifyVerdict::NotChecked)
                    .filter_map(|object| object.not_checked.as_ref())
                    .collect();
                let first = causes.first()?;
                let text = format!(
                    "backup {} was not fully checked (it may be intact): {} of {all} objects unchecked: {}",
                    self.id,
                    causes.len(),
                    first.message
                );
                let error = Error::new(first.code, text);
                Some(match &first.remedy {
                    Some(remedy) => error.remedy(remedy.clone()),
                    None => error.remedy("fix the cause, then verify again"),
                })
            }
        }
        .map(|error| match error.remedy_text() {
            Some(_) => error,
            None => error.remedy("make a new backup now; restore from another one, or what is intact of this one"),
        })
    }
}

impl Finding {
    pub(super) fn new(problem: Problem, message: impl Into<String>) -> Self {
        Self {
            problem,
            message: message.into(),
            expected: None,
            found: None,
        }
    }

    pub(super) fn differs(mut self, expected: impl ToString, found: impl ToString) -> Self {
        self.expected = Some(expected.to_string());
        self.found = Some(found.to_string());
        self
    }
}

impl Checked {
    /// Nothing known of it yet.
    pub(super) fn of(collection: &str, artifact: &Artifact) -> Self {
        Self {
            collection: collection.to_owned(),
            key: artifact.key.clone(),
            bytes: 0,
            verdict: VerifyVerdict::Intact,
            findings: Vec::new(),
            warnings: Vec::new(),
            not_checked: None,
        }
    }

    pub(super) fn found(mut self, findings: Vec<Finding>) -> Self {
        if !findings.is_empty() {
            self.verdict = VerifyVerdict::Damaged;
        }
        self.findings = findings;
        self
    }

    pub(super) fn not_checked(mut self, error: &Error) -> Self {
        self.verdict = VerifyVerdict::NotChecked;
        self.not_checked = Some(error.into());
        self
    }
}
