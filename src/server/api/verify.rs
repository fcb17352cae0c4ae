//! `POST /backups/{id}/verify`.

use super::values::BackupStatus;
use super::{all, words};
use crate::base::error::ErrorInfo;
use crate::ops::verify;
use crate::repository::names::BackupId;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// What was found out about one backup.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct VerifyReport {
    id: BackupId,
    verdict: VerifyVerdict,
    /// Whether it has all that was asked for when it was made.
    status: BackupStatus,
    /// When checking began: what is said holds for then.
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    finished_at: OffsetDateTime,
    by: String,
    tool_version: String,
    /// Bytes that were read.
    pub(crate) bytes: u64,
    /// What is wrong with the manifest itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) findings: Vec<VerifyFinding>,
    pub(crate) objects: Vec<VerifiedObject>,
    /// Collections that this version cannot restore, however intact they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_restorable: Vec<String>,
    /// Why this was not recorded beside the manifest: the next one who looks does not learn it.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_recorded: Option<ErrorInfo>,
}

words! {
    /// Damaged when anything is; else not checked when anything could not be.
    VerifyVerdict, from verify::VerifyVerdict: Intact, Damaged, NotChecked
}

words! {
    /// What is wrong, see [`verify::Problem`].
    VerifyProblem, from verify::Problem:
        Missing, Replaced, Length, Sha256, Crc32c, StoreChecksum, Structure, NamedTwice, ForeignKey, NoArtifact, Manifest
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct VerifyFinding {
    problem: VerifyProblem,
    pub(crate) message: String,
    /// What was recorded, where there is one such thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    /// What is there instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<String>,
}

/// What was found out about one object.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct VerifiedObject {
    pub(crate) collection: String,
    key: String,
    /// Bytes that were read.
    pub(crate) bytes: u64,
    pub(crate) verdict: VerifyVerdict,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) findings: Vec<VerifyFinding>,
    /// What is odd and yet no damage.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    /// Why it could not be checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_checked: Option<ErrorInfo>,
}

impl From<verify::VerifyReport> for VerifyReport {
    fn from(report: verify::VerifyReport) -> Self {
        Self {
            id: report.id,
            verdict: report.verdict.into(),
            status: report.status.into(),
            at: report.at,
            finished_at: report.finished_at,
            by: report.by,
            tool_version: report.tool_version,
            bytes: report.bytes,
            findings: all(report.findings),
            objects: all(report.objects),
            not_restorable: report.not_restorable,
            not_recorded: report.not_recorded,
        }
    }
}

impl From<verify::Finding> for VerifyFinding {
    fn from(finding: verify::Finding) -> Self {
        Self {
            problem: finding.problem.into(),
            message: finding.message,
            expected: finding.expected,
            found: finding.found,
        }
    }
}

impl From<verify::Checked> for VerifiedObject {
    fn from(object: verify::Checked) -> Self {
        Self {
            collection: object.collection,
            key: object.key,
            bytes: object.bytes,
            verdict: object.verdict.into(),
            findings: all(object.findings),
            warnings: object.warnings,
            not_checked: object.not_checked,
        }
    }
}
