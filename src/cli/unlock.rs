//! `unlock`: who holds the lease, and the end of one whose holder is gone.

use super::text::{ago, plain};
use super::{print, print_json};
use crate::base::clock::{Clock, stamp};
use crate::base::error::{Code, Error, Result};
use crate::base::zone::Zone;
use crate::repository::lease::{self, Heartbeat, Look};
use crate::wire::store::Store;
use serde::Serialize;
use std::time::Duration;
use time::OffsetDateTime;

/// What was done.
#[derive(Serialize)]
struct Unlocked {
    removed: bool,
    /// None: there was no lease.
    lease: Option<RemovedLease>,
}

#[derive(Serialize)]
struct RemovedLease {
    who: String,
    #[serde(with = "time::serde::rfc3339")]
    since: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    renewed_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
}

/// Shows the lease, and removes it if its holder is gone, or by `force`.
pub(crate) async fn unlock(store: &dyn Store, clock: &Clock, zone: &Zone, force: bool, json: bool) -> Result<()> {
    let Some(look) = lease::look(store, clock).await? else {
        if json {
            return print_json(&Unlocked {
                removed: false,
                lease: None,
            });
        }
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
        true if json => print_json(&Unlocked {
            removed: true,
            lease: Some(RemovedLease {
                who: look.record.who,
                since: look.record.since,
                renewed_at: look.renewed,
                expires_at: look.record.expires_at,
            }),
        }),
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
