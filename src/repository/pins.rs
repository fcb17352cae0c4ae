//! Pins: a record beside the manifest that keeps a backup whatever the policy says.

use crate::base::clock::Clock;
use crate::base::error::{Code, Error, Result};
use crate::repository::catalog::Pin;
use crate::repository::lease;
use crate::repository::names::BackupId;
use crate::wire::store::record;
use crate::wire::store::{Condition, Store};

/// What came of [`pin`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pinned {
    /// It is pinned now.
    Now {
        /// Who holds the lease. If that is a prune which had already looked for pins, the backup may go all the same.
        beside: Option<String>,
    },
    /// It was pinned before; its pin is unchanged.
    Already(Pin),
}

/// Pins the backup `id`.
///
/// # Errors
/// [`Code::BackupNotFound`] when there is none, also when it was deleted meanwhile.
pub async fn pin(store: &dyn Store, clock: &Clock, id: BackupId, who: &str, note: Option<String>) -> Result<Pinned> {
    require(store, id).await?;
    let pin = Pin {
        at: Some(clock.now()),
        by: Some(who.to_owned()),
        note,
    };
    if record::write::<Pin>(store, &id.pinned(), &pin, Condition::Absent)
        .await?
        .is_none()
    {
        let there = record::read(store, &id.pinned()).await;
        return match there {
            Err(e) if e.code() == Code::BackupDamaged => Ok(Pinned::Already(Pin::default())),
            there => Ok(Pinned::Already(there?.unwrap_or_default())),
        };
    }
    // A prune that starts from here on sees the pin; one that is under way may have looked before.
    let beside = lease::holder(store, clock).await?.map(|record| record.who);
    if let Err(gone) = require(store, id).await {
        unpin(store, id).await?;
        return Err(gone);
    }
    Ok(Pinned::Now { beside })
}

/// Removes the pin of `id`; `false` when there is none.
///
/// # Errors
/// [`Code::BackupNotFound`] when there is neither a pin nor a backup.
pub async fn unpin(store: &dyn Store, id: BackupId) -> Result<bool> {
    match store.head(&id.pinned()).await? {
        Some(pin) => store.delete(&pin.key, &pin.version).await,
        None => require(store, id).await.map(|()| false),
    }
}

/// There is a backup of that id. Whether its manifest can be read does not matter.
async fn require(store: &dyn Store, id: BackupId) -> Result<()> {
    match store.head(&id.manifest()).await? {
        Some(_) => Ok(()),
        None => Err(
            Error::new(Code::BackupNotFound, format!("{} has no backup {id}", store.url()))
                .remedy("run `qdrant-backup list` to see the backups"),
        ),
    }
}
