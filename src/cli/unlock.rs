//! `unlock`: who holds the lease, and the end of one whose holder is gone.

use super::print;
use super::text::{ago, plain};
use crate::base::clock::{Clock, stamp};
use crate::base::error::{Code, Error, Result};
use crate::base::zone::Zone;
use crate::repository::lease::{self, Heartbeat, Look};
use crate::wire::store::Store;
use std::time::Duration;

/// Shows the lease, and removes it if its holder is gone, or by `force`.
pub(crate) async fn unlock(store: &dyn Store, clock: &Clock, zone: &Zone, force: bool) -> Result<()> {
    let Some(look) = lease::look(store, clock).await? else {
        return print(&format!("{} has no lease: no run is in progress\n", store.url()));
    };
    let since = zone.minute(look.record.since);
    let told = format!(
        "the lease is held by {} since {since} ({})",
        plain(&look.record.who),
        zone.name(look.record.since)
    );
    let silence = Duration::try_from(clock.now() - look.renewed).unwrap_or_default();
    let renewed = format!("renewed {}", ago(silence));
    let why = match look.heartbeat {
        Heartbeat::Alive if !force => return Err(alive(&look, &told, &renewed)),
        Heartbeat::Alive => {
            format!("{renewed}; removed because of --force: a run that still works stops before it commits")
        }
        Heartbeat::Missing => format!("{renewed}, which is too long ago for a run that works"),
        Heartbeat::Ended => "its process has ended".to_owned(),
        Heartbeat::Expired => format!("it expired at {}", zone.minute(look.record.expires_at)),
    };
    match lease::remove(store, &look).await? {
        true => print(&format!("{told}; {why}\nThe lease is removed.\n")),
        false => Err(Error::new(
            Code::RunInProgress,
            format!("{told}; it was renewed or taken just now, and stays"),
        )
        .remedy("run `qdrant-backup unlock` again to see who holds it")),
    }
}

fn alive(look: &Look, told: &str, renewed: &str) -> Error {
    Error::new(Code::RunInProgress, format!("{told}, {renewed}: its holder is alive")).remedy(format!(
        "wait for it to end, or stop that process; its lease expires at {} if it died, and `qdrant-backup unlock --force` \
         removes it before",
        stamp(look.record.expires_at)
    ))
}
