//! `GET /health/freshness`.

use super::words;
use crate::base::error::ErrorInfo;
use crate::ops::freshness;
use crate::repository::names::BackupId;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FreshnessQuery {
    /// Whether only backups count that `verify` has read back and found intact.
    #[serde(default)]
    pub(crate) verified: bool,
}

/// The same shape whatever the answer.
#[derive(Debug, Serialize)]
pub(crate) struct FreshnessResponse {
    /// Whether there is a collection to back up, and every one of them is fresh or new.
    pub(crate) fresh: bool,
    /// `BACKUP_MAX_AGE`.
    pub(crate) max_age_seconds: u64,
    /// Whether only verified backups count.
    pub(crate) verified: bool,
    /// Where the list of expected collections is from: `qdrant`, `last_backup`, or nobody.
    pub(crate) expected_by: Option<&'static str>,
    pub(crate) collections: Vec<CollectionFreshness>,
    /// Why Qdrant could not be asked.
    pub(crate) qdrant_error: Option<ErrorInfo<String>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct CollectionFreshness {
    name: String,
    state: FreshnessState,
    /// The last good backup that has it.
    backup: Option<BackupId>,
    /// Seconds since the state that is in it.
    age_seconds: Option<u64>,
    /// Of a new one: from when on it is missing, or stale.
    #[serde(with = "time::serde::rfc3339::option")]
    due_at: Option<OffsetDateTime>,
}

words! {
    /// `new`: it has none and appeared recently; `stale`: its last good backup is too old; `missing`: it has none.
    FreshnessState, from freshness::State: Fresh, New, Stale, Missing
}

impl From<freshness::CollectionState> for CollectionFreshness {
    fn from(standing: freshness::CollectionState) -> Self {
        Self {
            name: standing.name,
            state: standing.state.into(),
            backup: standing.backup,
            age_seconds: standing.age_seconds,
            due_at: standing.due_at,
        }
    }
}
