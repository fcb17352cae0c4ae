//! What is read of an operation: by the pages, and where a request is sent again.

use super::{Operation, OperationCounts, OperationState, OperationUnit};
use crate::base::error::ErrorInfo;
use crate::repository::names::BackupId;
use crate::server::api::{OperationKind, OperationPhase, ReportOfError};
use std::time::Duration;
use time::OffsetDateTime;

impl Operation {
    pub(crate) fn kind(&self) -> OperationKind {
        self.kind
    }

    pub(crate) fn state(&self) -> OperationState {
        self.state
    }

    pub(crate) fn is_here(&self) -> bool {
        self.here
    }

    pub(crate) fn started_at(&self) -> OffsetDateTime {
        self.started_at
    }

    /// How long it took, once it has ended.
    pub(crate) fn took(&self) -> Option<Duration> {
        let took = self.ended_at? - self.started_at;
        Duration::try_from(took).ok()
    }

    pub(crate) fn ended_at(&self) -> Option<OffsetDateTime> {
        self.ended_at
    }

    /// What it came to, where this process did it and the report is kept.
    pub(crate) fn report(&self) -> Option<&ReportOfError> {
        self.report.as_ref()
    }

    pub(crate) fn phase(&self) -> Option<OperationPhase> {
        self.phase
    }

    /// Since its process last told of it.
    pub(crate) fn silent(&self) -> Option<Duration> {
        self.heartbeat_age_seconds.map(Duration::from_secs)
    }

    pub(crate) fn backup(&self) -> Option<BackupId> {
        self.backup_id
    }

    pub(crate) fn progress(&self) -> &OperationCounts {
        &self.progress
    }

    pub(crate) fn units(&self) -> &[OperationUnit] {
        self.units.as_deref().unwrap_or_default()
    }

    pub(crate) fn error(&self) -> Option<&ErrorInfo<String>> {
        self.error.as_ref()
    }
}

impl OperationState {
    /// For tests and machines.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }
}
