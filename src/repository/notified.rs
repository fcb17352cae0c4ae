//! What people were told last: which operations failed, so that their recovery is told once, by whichever process it comes.

use crate::base::error::{Code, Error, Result};
use crate::repository::names::NOTIFIED;
use crate::wire::store::record::{self, Record};
use crate::wire::store::{Condition, Store};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// Others that write at the same moment are few.
const ATTEMPTS: usize = 5;

/// Runs of one operation that failed in a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailedRuns {
    /// When the first one ended.
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) since: OffsetDateTime,
    pub(crate) runs: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Notified {
    /// By the operation's word.
    #[serde(default)]
    failed: BTreeMap<String, FailedRuns>,
}

impl Record for Notified {
    const WHAT: &'static str = "the record of what people were told";
    const LARGEST: u64 = 64 << 10;
}

/// Notes that a run failed.
///
/// # Errors
/// Those of the store.
pub(crate) async fn failed(store: &dyn Store, operation: &str, now: OffsetDateTime) -> Result<()> {
    change(store, |failed| {
        let first = FailedRuns { since: now, runs: 0 };
        let runs = failed.entry(operation.to_owned()).or_insert(first);
        runs.runs = runs.runs.saturating_add(1);
        Some(())
    })
    .await
    .map(|_| ())
}

/// Notes that a run ended well. The answer: those before it that did not.
///
/// # Errors
/// Those of the store.
pub(crate) async fn ended_well(store: &dyn Store, operation: &str) -> Result<Option<FailedRuns>> {
    change(store, |failed| failed.remove(operation)).await
}

/// Changes the record by compare-and-swap; nothing is written where `what` answers `None`.
async fn change<T>(
    store: &dyn Store,
    what: impl Fn(&mut BTreeMap<String, FailedRuns>) -> Option<T>,
) -> Result<Option<T>> {
    for _ in 0..ATTEMPTS {
        // Version first: if the object changes between the two reads, the write on that version fails.
        let condition = match store.head(NOTIFIED).await? {
            Some(meta) => Condition::Unchanged(meta.version),
            None => Condition::Absent,
        };
        let mut notified = match record::read::<Notified>(store, NOTIFIED).await {
            // It is replaced.
            Err(error) if error.code() == Code::BackupDamaged => Notified::default(),
            read => read?.unwrap_or_default(),
        };
        let Some(result) = what(&mut notified.failed) else {
            return Ok(None);
        };
        if record::write::<Notified>(store, NOTIFIED, &notified, condition)
            .await?
            .is_some()
        {
            return Ok(Some(result));
        }
    }
    Err(Error::new(
        Code::StoreConflict,
        format!("{}/{NOTIFIED}: another run keeps changing it", store.url()),
    ))
}
