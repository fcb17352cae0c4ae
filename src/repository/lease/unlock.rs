//! The lease as somebody looks at it who wants it gone.

use super::{LeaseRecord, read};
use crate::base::clock::Clock;
use crate::base::error::Result;
use crate::repository::names::LOCK;
use crate::wire::store::{Store, Version};
use time::OffsetDateTime;

/// The lease, held or not.
#[derive(Debug)]
pub(crate) struct Look {
    pub record: LeaseRecord,
    /// When it was renewed last, by the store's clock.
    pub renewed: OffsetDateTime,
    pub heartbeat: Heartbeat,
    version: Version,
}

/// Whether its holder gives a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heartbeat {
    /// It was renewed in time.
    Alive,
    /// It should have been renewed twice since, and was not.
    Missing,
    /// Its process has provably ended.
    Ended,
    /// It has run out: any run may take it.
    Expired,
}

/// Looks at the lease.
pub(crate) async fn look(store: &dyn Store, clock: &Clock) -> Result<Option<Look>> {
    let now = clock.now();
    let found = read(store, clock).await?;
    Ok(found.map(|found| Look {
        heartbeat: heartbeat(&found.record, found.updated, now),
        record: found.record,
        renewed: found.updated,
        version: found.version,
    }))
}

/// It lasts from its last renewal to its end, and is renewed at a third of that.
fn heartbeat(record: &LeaseRecord, renewed: OffsetDateTime, now: OffsetDateTime) -> Heartbeat {
    let life = record.expires_at - renewed;
    match now - renewed {
        _ if record.expires_at <= now => Heartbeat::Expired,
        _ if record.has_ended() => Heartbeat::Ended,
        silence if silence > life * 2 / 3 => Heartbeat::Missing,
        _ => Heartbeat::Alive,
    }
}

/// Removes it, unless it was renewed or taken since it was looked at. A run that works under it notices before it commits, and
/// stops.
pub(crate) async fn remove(store: &dyn Store, look: &Look) -> Result<bool> {
    store.delete(LOCK, &look.version).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::process::Process;
    use time::Duration;
    use time::macros::datetime;

    #[test]
    fn a_holder_lives_as_long_as_it_renews_its_lease_in_time() {
        let renewed = datetime!(2026-11-26 03:00 UTC);
        let record = LeaseRecord {
            holder: "x".into(),
            who: "host/1".into(),
            since: renewed,
            expires_at: renewed + Duration::minutes(6),
            process: None,
        };
        let at = |minutes| heartbeat(&record, renewed, renewed + Duration::minutes(minutes));
        assert_eq!([at(0), at(4)], [Heartbeat::Alive; 2]);
        assert_eq!([at(5), at(6)], [Heartbeat::Missing, Heartbeat::Expired]);
        let ours = LeaseRecord {
            process: Process::this(),
            ..record
        };
        assert_eq!(heartbeat(&ours, renewed, renewed), Heartbeat::Alive);
    }
}
