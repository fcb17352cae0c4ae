//! What a restore came to.

use super::{Points, Via};
use crate::base::error::{Code, Error, ErrorInfo};
use crate::repository::names::BackupId;
use serde::Serialize;
use time::OffsetDateTime;

/// What a restore came to.
#[derive(Clone, Debug, Serialize)]
pub struct RestoreReport {
    pub id: BackupId,
    /// The Qdrant that was restored into.
    pub target: String,
    /// Whether everything asked for is there.
    pub status: RestoreOutcome,
    /// Start of the run.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// End of the run.
    #[serde(with = "time::serde::rfc3339")]
    pub finished_at: OffsetDateTime,
    /// What was restored and compared.
    pub collections: Vec<Restored>,
    /// What existed, was compared, and was left as it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unchanged: Vec<Unchanged>,
    /// What was not.
    pub failed: Vec<Failed>,
    /// What to run next for all that was not: one command for those that it is the same for.
    pub next: Vec<String>,
    /// Aliases that were set or moved.
    pub aliases: Vec<String>,
    /// Collections that a swap left without their aliases: still there, and now to be deleted by hand.
    pub replaced: Vec<String>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

/// Whether everything asked for is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RestoreOutcome {
    /// All of it, compared with the backup.
    Complete,
    /// Some of it.
    Partial,
    /// Nothing.
    Failed,
}

/// One collection that was restored and compared.
#[derive(Clone, Debug, Serialize)]
pub struct Restored {
    /// Its name in the backup.
    pub source: String,
    /// Its name on Qdrant.
    pub target: String,
    /// Count now.
    pub points: u64,
    /// Whether that, or the backup's, is Qdrant's estimate, because the collection refuses exact counts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub points_estimated: bool,
    /// What the backup says; a range only when it was written to while it was backed up.
    pub expected: Points,
    /// Points that were read with their vectors.
    pub sampled: usize,
    /// Bytes moved.
    pub bytes: u64,
    /// Seconds for moving and restoring them, without the checks before and after.
    pub seconds: f64,
    /// How they got there.
    pub via: Via,
    /// What the reader should know.
    pub notes: Vec<String>,
}

/// One collection that existed, and equals the backup's by all that a restore ends with.
#[derive(Clone, Debug, Serialize)]
pub struct Unchanged {
    /// Its name in the backup.
    pub source: String,
    /// Its name on Qdrant.
    pub target: String,
    pub points: u64,
    /// Whether that, or the backup's, is Qdrant's estimate.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub points_estimated: bool,
    /// Points that were read with their vectors.
    pub sampled: usize,
    /// What the reader should know.
    pub notes: Vec<String>,
}

/// One collection that was not restored.
#[derive(Clone, Debug, Serialize)]
pub struct Failed {
    /// Its name in the backup.
    pub source: String,
    /// The name that it was to have on Qdrant.
    pub target: String,
    /// What happened.
    #[serde(flatten)]
    pub error: ErrorInfo,
    /// What Qdrant has under the target's name now.
    pub state: String,
    /// What to run next.
    pub next: String,
    #[serde(skip)]
    pub(super) again: NextAttempt,
    /// Whether it was tried.
    #[serde(skip)]
    pub(super) is_started: bool,
}

/// How what failed is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextAttempt {
    /// As it was asked for.
    AsAsked,
    /// Over what this run itself made.
    OverOurs,
    /// Not before somebody has looked: there is a collection that this run neither made nor was told to replace.
    LookFirst,
    /// Only its aliases are missing.
    AliasesOnly,
    /// Under a new name: what is there differs from the backup, and was not to be touched.
    Beside,
}

/// Results in the order of their numbers, without these.
pub(super) fn in_order<T>(mut results: Vec<(usize, T)>) -> Vec<T> {
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

/// What failed, each cause once.
pub(crate) struct Told<'a> {
    /// Told with its cause.
    pub(crate) causes: Vec<&'a Failed>,
    /// Tried at the same time, and refused likewise.
    pub(crate) likewise: Vec<&'a Failed>,
    /// Not started for a cause that is told.
    pub(crate) not_started: Vec<&'a Failed>,
}

impl Failed {
    /// Whether `other` tells all that there is to tell of this one but its name.
    fn is_told_by(&self, other: &Self) -> bool {
        let is_same = self.state == other.state && self.again == other.again;
        // Each error names its own collection, and the key is that of all.
        let is_refused = self.error.code == other.error.code && self.error.code.refuses_key() && other.is_started;
        match self.is_started {
            true => is_same && is_refused,
            false => is_refused || self.error == other.error,
        }
    }
}

impl RestoreReport {
    /// What failed: one cause is told once.
    pub(crate) fn told(&self) -> Told<'_> {
        let mut told = Told {
            causes: Vec::new(),
            likewise: Vec::new(),
            not_started: Vec::new(),
        };
        for failed in &self.failed {
            match told.causes.iter().any(|other| failed.is_told_by(other)) {
                false => told.causes.push(failed),
                true if failed.is_started => told.likewise.push(failed),
                true => told.not_started.push(failed),
            }
        }
        told
    }

    /// The error of the run, if not everything was restored.
    pub fn error(&self) -> Option<Error> {
        if self.status == RestoreOutcome::Complete {
            return None;
        }
        let code = match self
            .failed
            .iter()
            .find(|f| matches!(f.error.code, Code::Cancelled | Code::LeaseLost))
        {
            Some(stopped) => stopped.error.code,
            None => Code::RestoreFailed,
        };
        let told = self.told();
        let mut list: Vec<_> = told
            .causes
            .iter()
            .map(|f| {
                format!(
                    "{:?}: {}; collection {:?} now: {}",
                    f.source, f.error.message, f.target, f.state
                )
            })
            .collect();
        for (what, alike) in [
            ("refused likewise", &told.likewise),
            ("not started for the same reason", &told.not_started),
        ] {
            if !alike.is_empty() {
                let names: Vec<_> = alike.iter().map(|f| format!("{:?}", f.source)).collect();
                list.push(format!("{what}: {}", names.join(", ")));
            }
        }
        let all = self.collections.len() + self.unchanged.len() + self.failed.len();
        let text = format!(
            "restore of backup {}: {} of {all} not restored: {}",
            self.id,
            self.failed.len(),
            list.join(" | ")
        );
        Some(Error::new(code, text).permanent(true).remedy(match code {
            Code::Cancelled => format!("run it again: {}", self.next.join("; ")),
            _ => format!("fix the cause, then: {}", self.next.join("; ")),
        }))
    }
}
