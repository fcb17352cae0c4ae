//! Since when a service is to back up into a store: the one thing that no backup tells as long as there is none.
//!
//! Written by the first start over a store without a backup, and never changed: whichever instance asks, and however often it is
//! restarted, the time for the first backup runs out.

use crate::base::error::{Code, Result};
use crate::repository::names::{BACKUPS, SINCE, has_come};
use crate::wire::store::record::{self, Record};
use crate::wire::store::{Condition, Store};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

#[derive(Debug, Serialize, Deserialize)]
struct Since {
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
}

impl Record for Since {
    const WHAT: &'static str = "the record of the first start";
    const LARGEST: u64 = 64 << 10;
}

/// Records `now`, unless something was begun or recorded in the store before.
pub(crate) async fn note(store: &dyn Store, now: OffsetDateTime) -> Result<()> {
    let is_new = store.head(SINCE).await?.is_none() && store.folder(BACKUPS).await?.folders.is_empty();
    if is_new {
        // Another instance may have been faster.
        record::write::<Since>(store, SINCE, &Since { at: now }, Condition::Absent).await?;
    }
    Ok(())
}

/// The time that was recorded. What cannot be read, and a time that has not come, tell nothing.
pub(crate) async fn read(store: &dyn Store, now: OffsetDateTime) -> Result<Option<OffsetDateTime>> {
    match record::read::<Since>(store, SINCE).await {
        Ok(since) => Ok(since.map(|since| since.at).filter(|at| has_come(*at, now))),
        Err(e) if e.code() == Code::BackupDamaged => Ok(None),
        Err(e) => Err(e),
    }
}
