//! `pin` and `unpin`: keeps a backup whatever the retention policy says.

use super::print;
use super::text::plain;
use crate::base::clock::{Clock, stamp};
use crate::base::error::Result;
use crate::repository::names::BackupId;
use crate::repository::pins::{self, Pinned};
use crate::wire::store::Store;

/// Pins a backup.
pub(crate) async fn pin(store: &dyn Store, clock: &Clock, who: &str, id: BackupId, note: Option<String>) -> Result<()> {
    let text = match pins::pin(store, clock, id, who, note).await? {
        Pinned::Now { beside: None } => format!("{id} is pinned: prune keeps it until `unpin {id}`\n"),
        Pinned::Now { beside: Some(who) } => format!(
            "{id} is pinned. {} was running meanwhile; if it is a prune, run `show {id}` to check that the backup still exists\n",
            plain(&who)
        ),
        Pinned::Already(pin) => {
            let by = pin.by.map(|by| format!(" by {}", plain(&by))).unwrap_or_default();
            let at = pin.at.map(|at| format!(" since {}", stamp(at))).unwrap_or_default();
            format!("{id} is pinned already{by}{at}; its pin is unchanged\n")
        }
    };
    print(&text)
}

/// Removes a pin.
pub(crate) async fn unpin(store: &dyn Store, id: BackupId) -> Result<()> {
    match pins::unpin(store, id).await? {
        true => print(&format!("{id} is no longer pinned\n")),
        false => print(&format!("{id} is not pinned\n")),
    }
}
