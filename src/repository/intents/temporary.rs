//! The intents of drills: that a temporary collection is open on Qdrant, written before Qdrant is asked for anything of it.
//!
//! A client that goes away does not stop Qdrant from restoring, and it makes the collection only once it has all of the snapshot. So a
//! drill that was killed, or did not wait that long, may leave its collection behind long after it ended; the next run deletes it.
//! What that is follows from the key alone, so whatever is in such a record, nothing but a temporary collection is deleted.

use super::{GIVEN_UP, READ_AT_ONCE, Warnings, newest};
use crate::base::error::{Code, Error, Result};
use crate::repository::names::{DRILLS, Name, TemporaryName};
use crate::wire::qdrant::Qdrant;
use crate::wire::store::record;
use crate::wire::store::{Condition, Store, Version};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::timeout;

/// What one left collection may cost the run that finds it: while Qdrant restores into it, Qdrant does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is recorded of a temporary collection.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct TemporaryCollection {
    /// Base URL of the Qdrant, so that another Qdrant is never touched.
    qdrant: String,
    /// From when on Qdrant was asked for it.
    #[serde(with = "time::serde::rfc3339")]
    requested_at: OffsetDateTime,
}

impl record::Record for TemporaryCollection {
    const WHAT: &'static str = "an intent of a drill";
    const LARGEST: u64 = 64 << 10;
}

/// One that is in the store.
#[derive(Debug)]
pub(crate) struct RecordedTemporary {
    name: TemporaryName,
    version: Version,
}

/// Records that the collection is about to be made.
pub(crate) async fn record(
    store: &dyn Store,
    qdrant: &Qdrant,
    name: TemporaryName,
    now: OffsetDateTime,
) -> Result<RecordedTemporary> {
    let temporary = TemporaryCollection {
        qdrant: qdrant.url(),
        requested_at: now,
    };
    match record::write::<TemporaryCollection>(store, &name.intent(), &temporary, Condition::Absent).await? {
        Some(version) => Ok(RecordedTemporary { name, version }),
        None => Err(Error::new(
            Code::StoreConflict,
            format!("{}/{} already exists", store.url(), name.intent()),
        )),
    }
}

/// Removes the intent of a collection that is gone for good. A failure costs the next run one look, so it is only logged.
pub(crate) async fn clear(store: &dyn Store, recorded: &RecordedTemporary) {
    let key = recorded.name.intent();
    if let Err(error) = store.delete(&key, &recorded.version).await {
        tracing::warn!(error = %error, key, "failed to delete an intent of a drill; the next run tries again");
    }
}

/// Deletes a temporary collection and what was uploaded into it. `false`: it was not there.
pub(crate) async fn remove(qdrant: &Qdrant, name: &TemporaryName) -> Result<bool> {
    let name = name.to_string();
    // First: Qdrant keeps the snapshots of a collection that is deleted, where its API does not reach them. For the same reason nothing is
    // deleted that appears only after this look.
    match qdrant.snapshots(name.as_str()).await {
        Ok((files, _)) => {
            for file in files {
                if let Err(error) = qdrant.delete_snapshot(name.as_str(), &file.name).await {
                    tracing::warn!(collection = name, file = file.name, error = %error, "failed to delete an uploaded file of a drill");
                }
            }
        }
        Err(error) if error.code() == Code::CollectionNotFound => return Ok(false),
        // One that Qdrant cannot read can be deleted all the same.
        Err(error) if error.code() == Code::QdrantFailed => {}
        Err(error) => return Err(error),
    }
    qdrant.delete_collection(&name).await
}

/// Deletes the temporary collections that earlier drills left on this Qdrant. Call it with the lease held. Returns what the operator
/// should know; trouble with one never stops a run.
pub(crate) async fn recover(store: &dyn Store, qdrant: &Qdrant, now: OffsetDateTime) -> Vec<String> {
    let (found, more) = match newest(store, DRILLS).await {
        Ok(found) => found,
        Err(error) => {
            return vec![format!(
                "failed to look for intents of drills; the next run tries again: {}",
                error.chain()
            )];
        }
    };
    let mut warnings = Warnings {
        more,
        ..Warnings::default()
    };
    let mut reads = stream::iter(found)
        .map(|meta| async move { (read(store, &meta.key).await, meta.version) })
        .buffered(READ_AT_ONCE);
    let here = qdrant.url();
    while let Some((read, version)) = reads.next().await {
        let (name, temporary) = match read {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            Err(error) => {
                warnings.push(error.to_string());
                continue;
            }
        };
        // Another Qdrant's is for the runs on that one; until they had their time.
        let is_old = now - temporary.requested_at >= GIVEN_UP;
        let removed = match temporary.qdrant == here {
            true => timeout(PATIENCE, remove(qdrant, &name)).await,
            false => Ok(Ok(false)),
        };
        let recorded = RecordedTemporary { name, version };
        let (why, is_silent) = match removed {
            Ok(Ok(true)) => {
                tracing::info!(collection = %name, "deleted a temporary collection that an earlier drill left on Qdrant");
                clear(store, &recorded).await;
                continue;
            }
            Ok(Ok(false)) if is_old => {
                clear(store, &recorded).await;
                continue;
            }
            // Qdrant may still make it.
            Ok(Ok(false)) => continue,
            Ok(Err(error)) => (error.chain(), error.code() == Code::QdrantUnreachable),
            Err(_) => ("Qdrant did not respond in time".to_owned(), true),
        };
        warnings.push(format!(
            "failed to delete the temporary collection \"{name}\" that an earlier drill may have left on Qdrant; the next run tries \
             again: {why}"
        ));
        // Nor would it answer for the others.
        if is_silent {
            break;
        }
    }
    warnings.told(store, DRILLS)
}

/// What is at `key`; `None` when it is gone.
async fn read(store: &dyn Store, key: &str) -> Result<Option<(TemporaryName, TemporaryCollection)>> {
    let at = || format!("{}/{key}", store.url());
    let Some(Name::Temporary(name)) = Name::parse(key) else {
        let text = format!("{} was ignored: its name is not that of an intent of a drill", at());
        return Err(Error::new(Code::BackupDamaged, text).remedy(format!(
            "find out who wrote it; no run did, so delete {} if nobody needs it",
            at()
        )));
    };
    match record::read::<TemporaryCollection>(store, key).await {
        Ok(found) => Ok(found.map(|temporary| (name, temporary))),
        Err(cause) => {
            let remedy = match cause.is_permanent() {
                true => format!(
                    "delete the collection \"{name}\" on Qdrant if it is there, then {}",
                    at()
                ),
                false => "check the store if this recurs; the next run tries again".to_owned(),
            };
            let text = format!(
                "{} is unreadable, so a temporary collection that a drill left on Qdrant stays there",
                at()
            );
            Err(Error::new(cause.code(), text).because(cause).remedy(remedy))
        }
    }
}

/// Those that cannot be read, as far as a run would look at them.
pub(super) async fn unreadable(store: &dyn Store) -> Result<Vec<Error>> {
    let (found, _) = newest(store, DRILLS).await?;
    let looks = stream::iter(found).map(|meta| async move { read(store, &meta.key).await.err() });
    Ok(looks
        .buffered(READ_AT_ONCE)
        .filter_map(async |error| error)
        .collect()
        .await)
}
