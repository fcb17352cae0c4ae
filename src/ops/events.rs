//! The log lines that alerts and dashboards count: one at the end of each operation. Their fields are part of the API.
//!
//! | `event` | `outcome` | and |
//! |---|---|---|
//! | `backup_finished` | `good`, `partial`, `failed` | `collections`: how many were saved; `bytes` |
//! | `verify_finished` | `good`, `damaged`; `failed`: could not be checked, or is intact and that could not be recorded | `bytes` |
//! | `restore_finished` | `good`, `failed` | `collections`, `bytes` |
//! | `drill_finished` | `passed`, `failed` | `collections`, `bytes` |
//! | `prune_finished` | `good`, `failed` | `deleted`: how many backups; `bytes` |
//!
//! All have `seconds` (whole), and `code` unless all is well; all but the last have `backup`, once there is one. A run that is
//! refused because another one works, because the request makes no sense (`bad_request`), a backup because it names a collection that
//! neither Qdrant nor a recent backup has, or a restore because of its plan,
//! ends nothing and gets no line. In JSON they pass whatever the log level. Of a backup that the tasks of a job make, the task
//! that ends it writes the line; a task that has to give up in its last attempt writes one, too, since the backup may then
//! never end.

use crate::base::error::{Code, ErrorInfo};
use crate::repository::names::{BackupId, RunId};
use std::fmt;
use time::Duration;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Backup,
    Verify,
    Restore,
    Drill,
    Prune,
}

/// How much of it was done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub collections: Option<usize>,
    /// Backups that are gone.
    pub deleted: Option<usize>,
    pub bytes: u64,
    /// Whether a drill has to prove first that a backup is good.
    pub is_unproven: bool,
}

/// An operation that has ended, as every sink gets it.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    pub operation: Operation,
    /// Once it had one.
    pub backup: Option<BackupId>,
    /// What went wrong.
    pub error: Option<ErrorInfo>,
    pub took: Duration,
    pub counts: Counts,
}

impl Operation {
    pub(crate) const ALL: [Self; 5] = [Self::Backup, Self::Verify, Self::Restore, Self::Drill, Self::Prune];

    /// What a run of that id does; `None`: this version has no word for it.
    pub(crate) fn of(id: &RunId) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.to_string() == id.operation())
    }

    /// Whether the operation was refused rather than that it ended. `by_itself`: its error says so.
    pub(crate) fn is_refused(self, code: Code, by_itself: bool) -> bool {
        by_itself || (self == Self::Restore && code == Code::RestoreRefused)
    }

    /// As people call it.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Verify => "verification",
            Self::Restore => "restore",
            Self::Drill => "drill",
            Self::Prune => "prune",
        }
    }

    /// What the line has of an operation of which nothing came.
    pub(crate) fn nothing(self) -> Counts {
        let zero = Some(0);
        match self {
            Self::Backup | Self::Restore | Self::Drill => Counts {
                collections: zero,
                ..Counts::default()
            },
            Self::Prune => Counts {
                deleted: zero,
                ..Counts::default()
            },
            Self::Verify => Counts::default(),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Backup => "backup",
            Self::Verify => "verify",
            Self::Restore => "restore",
            Self::Drill => "drill",
            Self::Prune => "prune",
        })
    }
}

impl Finished {
    fn code(&self) -> Option<Code> {
        self.error.as_ref().map(|error| error.code)
    }

    /// Whole seconds, rounded: the JSON for Cloud Logging has fractions as texts, which a metric cannot take. A clock that was set
    /// back makes no negative time.
    pub(crate) fn seconds(&self) -> u64 {
        u64::try_from((self.took + Duration::milliseconds(500)).whole_seconds()).unwrap_or_default()
    }

    pub(crate) fn outcome(&self) -> &'static str {
        match (self.operation, self.code()) {
            (Operation::Drill, None) => "passed",
            (Operation::Backup, None) if self.counts.is_unproven => "unproven",
            (_, None) => "good",
            (Operation::Backup, Some(Code::BackupPartial)) => "partial",
            (Operation::Verify, Some(Code::BackupDamaged)) => "damaged",
            _ => "failed",
        }
    }
}

/// Writes the line. Who is to be notified is told the same, by whoever calls this.
pub(crate) fn log(finished: &Finished) {
    let Finished {
        operation,
        backup,
        counts,
        ..
    } = finished;
    let (event, outcome) = (format!("{operation}_finished"), finished.outcome());
    tracing::info!(
        event = event.as_str(),
        outcome,
        backup = backup.map(display),
        code = finished.code().map(display),
        collections = counts.collections,
        deleted = counts.deleted,
        bytes = counts.bytes,
        seconds = finished.seconds(),
        "{} finished: {outcome}",
        operation.noun()
    );
}
