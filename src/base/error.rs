//! The one error of the crate: a stable [`Code`], what was being done to which thing, the remedy, and the cause.
//!
//! Exit codes are decided here and nowhere else, HTTP statuses by the server. Retry loops ask [`Error::is_permanent`], never a
//! text.

mod info;

pub use info::ErrorInfo;

use std::fmt;

/// Result with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A boxed cause.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong, as a stable word for scripts and alerts. The words are part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A variable or option is missing or malformed.
    ConfigInvalid,
    /// The request is malformed: bad JSON, unknown field, bad pattern.
    BadRequest,
    /// Qdrant has no collection of that name.
    CollectionNotFound,
    /// The store has no backup of that id.
    BackupNotFound,
    /// The store has backups of another Qdrant and none of this one.
    SourceMismatch,
    /// Nothing to back up; an empty backup never counts as a success.
    NothingToBackUp,
    /// Another run holds the lease.
    RunInProgress,
    /// The lease was lost during the run; the run stopped before it committed.
    LeaseLost,
    /// The run was cancelled.
    Cancelled,
    /// Qdrant does not respond: no connection, or 5xx after all retries.
    QdrantUnreachable,
    /// Qdrant requires a key, or rejects this one (401).
    QdrantUnauthorized,
    /// The key has no permission for this (403).
    QdrantForbidden,
    /// Qdrant failed the request and gave a reason (4xx, 5xx).
    QdrantFailed,
    /// Qdrant's disk is full.
    DiskFull,
    /// Qdrant's response does not match its API.
    QdrantUnexpected,
    /// This version cannot back up this Qdrant, or restore into it, correctly.
    Unsupported,
    /// A snapshot was deleted or changed during its download.
    SnapshotChanged,
    /// The received bytes do not have the expected checksum.
    ChecksumMismatch,
    /// Fewer or more bytes were received than announced.
    LengthMismatch,
    /// No, or too little, progress within the deadline.
    Stalled,
    /// The store does not respond.
    StoreUnreachable,
    /// The store refuses the credentials or the action (401, 403, EACCES).
    StoreForbidden,
    /// The bucket or directory does not exist.
    StoreMissing,
    /// The store is full.
    StoreFull,
    /// An object exists that must not exist, or changed unexpectedly.
    StoreConflict,
    /// Any other refusal or failure of the store.
    StoreFailed,
    /// The stored bytes differ from what was saved.
    BackupDamaged,
    /// The backup, or a part of it, is of a kind that this version of the tool does not read: usually a newer one's. That
    /// says nothing about its worth.
    BackupUnsupported,
    /// Some collections were saved, some were not.
    BackupPartial,
    /// No collection was saved.
    BackupFailed,
    /// The plan of a restore has refusals; nothing was changed.
    RestoreRefused,
    /// Some collections were not restored; the report states what exists where.
    RestoreFailed,
    /// Qdrant reported the restore as done, but the result differs from the backup.
    RestoreUnequal,
    /// The result was not written to standard output; the operation itself is finished.
    OutputFailed,
    /// Internal error: report it as a bug.
    Internal,
}

impl Code {
    /// Whether nothing was begun, because the request itself was at fault or another run was in the way: then nothing failed
    /// that an alert should count. A collection that is not there is no such case: whoever backs it up by a schedule has to
    /// be told when it is gone.
    pub fn is_refusal(self) -> bool {
        matches!(self, Self::BadRequest | Self::RunInProgress)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The word in the API, as serde writes it.
        serde::Serialize::serialize(self, f)
    }
}

/// An error that can be shown to a person: `doing: cause (remedy)`.
#[derive(Debug)]
pub struct Error {
    code: Code,
    doing: String,
    remedy: Option<String>,
    permanent: bool,
    source: Option<BoxError>,
}

impl Error {
    /// An error of the given code; `doing` says what was being done to which thing, or what is wrong with it.
    pub fn new(code: Code, doing: impl Into<String>) -> Self {
        let permanent = !matches!(
            code,
            Code::QdrantUnreachable
                | Code::QdrantFailed
                // Snapshots that are deleted meanwhile make room.
                | Code::DiskFull
                | Code::SnapshotChanged
                | Code::ChecksumMismatch
                | Code::LengthMismatch
                | Code::Stalled
                | Code::StoreUnreachable
        );
        Self {
            code,
            doing: doing.into(),
            remedy: None,
            permanent,
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds what the reader can do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Overrides whether trying again is useless.
    #[must_use]
    pub fn permanent(mut self, permanent: bool) -> Self {
        self.permanent = permanent;
        self
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What the reader can do about it, if it is known.
    pub fn remedy_text(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// Whether trying the same again is useless.
    pub fn is_permanent(&self) -> bool {
        self.permanent
    }

    /// The chain of causes on one line, without the remedy.
    pub fn chain(&self) -> String {
        with_causes(self.doing.clone(), self).replace('\n', " ")
    }

    /// Process exit code for this error; documented in the help text and the README.
    pub fn exit_code(&self) -> u8 {
        match self.code {
            Code::ConfigInvalid | Code::BadRequest | Code::SourceMismatch => 2,
            Code::BackupPartial => 3,
            Code::BackupFailed | Code::NothingToBackUp => 4,
            Code::RunInProgress => 5,
            Code::QdrantUnreachable
            | Code::QdrantUnauthorized
            | Code::QdrantForbidden
            | Code::QdrantFailed
            | Code::DiskFull
            | Code::QdrantUnexpected
            | Code::Unsupported => 6,
            Code::StoreUnreachable
            | Code::StoreForbidden
            | Code::StoreMissing
            | Code::StoreFull
            | Code::StoreConflict
            | Code::StoreFailed => 7,
            Code::CollectionNotFound | Code::BackupNotFound => 8,
            Code::SnapshotChanged
            | Code::ChecksumMismatch
            | Code::LengthMismatch
            | Code::Stalled
            | Code::BackupDamaged => 9,
            Code::Cancelled | Code::LeaseLost => 10,
            Code::RestoreRefused => 11,
            Code::RestoreFailed | Code::RestoreUnequal => 12,
            Code::BackupUnsupported => 13,
            Code::OutputFailed => 14,
            Code::Internal => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain())?;
        if let Some(remedy) = &self.remedy {
            write!(f, " ({remedy})")?;
        }
        Ok(())
    }
}

/// `text`, which is what `error` says itself, with what its causes say.
pub(crate) fn with_causes(mut text: String, error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error.source();
    while let Some(c) = cause {
        let said = c.to_string();
        // Many libraries repeat their source in their own text.
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = c.source();
    }
    text
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|s| &**s as _)
    }
}
