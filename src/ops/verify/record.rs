//! `verified.json` beside the manifest: what the last check came to.

use super::{Report, Verdict};
use crate::base::clock::Clock;
use crate::base::error::{Code, Error, Result};
use crate::repository::names::BackupId;
use crate::wire::store::{BytesSource, Condition, Store, read_small, readable};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// The format's version.
const FORMAT: u32 = 1;
/// No record is larger: some findings for each of many objects.
const LARGEST: u64 = 64 << 20;
/// Others that write at the same moment are few.
const ATTEMPTS: usize = 5;

/// What is recorded of a check. The findings are among `extra`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Version of this format.
    pub format: u32,
    /// The backup.
    pub id: BackupId,
    /// Intact or damaged; what could not be checked is not recorded.
    pub verdict: Verdict,
    /// When checking began.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Who checked.
    pub by: String,
    /// Version of the tool that checked.
    pub tool_version: String,
    /// Everything else that was found.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// The record of the last check; `None`: it was never checked, or the record cannot be read.
///
/// # Errors
/// Those of the store.
pub async fn read(store: &dyn Store, id: &BackupId) -> Result<Option<Record>> {
    let bytes = match read_small(store, &id.verified(), LARGEST).await {
        Err(error) if error.code() == Code::BackupDamaged => return Ok(None),
        other => other?,
    };
    Ok(bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .filter(|record: &Record| record.id == *id))
}

/// Whether a record stays instead of `report`. One that began later does, but not if it says intact where damage was found
/// meanwhile: what is damaged may have been mended since, and is worth another look, while damage that nobody knows of is not
/// looked for. A record of the future is of a clock that was wrong.
fn outweighs(other: &Record, report: &Report, now: OffsetDateTime) -> bool {
    let no_loss = other.verdict == Verdict::Damaged || report.verdict == Verdict::Intact;
    other.at > report.at && other.at <= now && no_loss
}

/// Records a report, unless a younger one is there that must not be lost. Replaces by compare-and-swap.
pub(super) async fn write(store: &dyn Store, clock: &Clock, report: &Report) -> Result<()> {
    #[derive(Serialize)]
    struct Written<'a> {
        format: u32,
        #[serde(flatten)]
        report: &'a Report,
    }
    let key = report.id.verified();
    let doing = || format!("recording what was found about backup {}", report.id);
    let written = Written { format: FORMAT, report };
    let json = readable::<Record>("the result of a check", &written, LARGEST)?;
    let mut last = None;
    for _ in 0..ATTEMPTS {
        // Version first: if the object changes between the two reads, the write on that version fails.
        let condition = match store.head(&key).await? {
            None => Condition::Absent,
            Some(meta) => match read(store, &report.id).await? {
                Some(other) if outweighs(&other, report, clock.now()) => return Ok(()),
                _ => Condition::Unchanged(meta.version),
            },
        };
        match store
            .put(&key, Box::new(BytesSource::new(json.clone())), condition)
            .await
        {
            Ok(_) => return Ok(()),
            Err(error) if error.code() == Code::StoreConflict => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    let error = Error::new(
        Code::StoreConflict,
        format!("{}: somebody else keeps changing {key}", doing()),
    );
    Err(match last {
        Some(cause) => error.because(cause),
        None => error,
    })
}
