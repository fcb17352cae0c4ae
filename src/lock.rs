//! The lease: one run at a time for each store, by compare-and-swap on one object.
//!
//! The holder renews it at a third of its life. A run whose lease is lost is told at once, and proves that it still holds it
//! right before it commits. A holder that died is succeeded when its lease has run out.
//!
//! The processes of one execution of a job hold it together ([`join`]): any of them renews it for all, and the one that ends
//! the execution gives it back. One that is killed is in nobody's way when it is tried again.

use crate::clock::Clock;
use crate::error::{Code, Error, Result};
use crate::manifest::read_small;
use crate::names::LOCK;
use crate::store::{BytesSource, Condition, Store, Version};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument;

const LARGEST: u64 = 64 << 10;
/// Of a shared lease: each lost turn means that another process wrote it, so that the next look finds it fresh.
const TURNS: u32 = 10;

/// What the lease's object says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Unique for each acquisition, or common to all processes that hold it together.
    pub holder: String,
    /// Who that is, for people.
    pub who: String,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// From then on anybody may take it.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}

impl Record {
    /// Whether it is that of the processes of `group`, see [`join`].
    pub fn is_of(&self, group: &str) -> bool {
        self.holder == shared_by(group)
    }
}

/// A held lease. Dropped without [`Lease::release`] it is no longer renewed and runs out by itself.
#[derive(Debug)]
pub struct Lease {
    inner: Arc<Inner>,
    lost: CancellationToken,
    ended: CancellationToken,
    _renewal: DropGuard,
}

#[derive(Debug)]
struct Inner {
    store: Arc<dyn Store>,
    clock: Clock,
    life: Duration,
    shared: bool,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    record: Record,
    version: Version,
}

/// Who holds the lease now, if anybody does.
pub async fn holder(store: &dyn Store, clock: &Clock) -> Result<Option<Record>> {
    let record = read(store).await?.map(|(record, _)| record);
    Ok(record.filter(|r| r.expires_at > clock.now()))
}

/// Takes the lease, or fails with [`Code::RunInProgress`] naming the holder.
pub async fn acquire(store: Arc<dyn Store>, clock: &Clock, who: &str, life: Duration) -> Result<Lease> {
    let now = clock.now();
    let record = Record {
        holder: uuid::Uuid::new_v4().to_string(),
        who: who.to_owned(),
        since: now,
        expires_at: now + life,
    };
    let condition = match read(&*store).await? {
        None => Condition::Absent,
        Some((other, _)) if other.expires_at > now => return Err(in_progress(&other)),
        Some((other, version)) => {
            tracing::warn!(who = other.who, since = %other.since, "taking over a lease that ran out");
            Condition::Unchanged(version)
        }
    };
    let version = match write(&*store, &record, condition).await {
        Ok(version) => version,
        Err(e) if e.code() == Code::StoreConflict => match read(&*store).await? {
            // The write was done although the first answer to it was lost.
            Some((r, version)) if r.holder == record.holder => version,
            Some((other, _)) => return Err(in_progress(&other)),
            None => return Err(e),
        },
        Err(e) => return Err(e),
    };
    Ok(Lease::kept(Inner {
        store,
        clock: clock.clone(),
        life,
        shared: false,
        held: Mutex::new(Held { record, version }),
    }))
}

/// Takes the lease for `group`, or joins the other processes of `group` that hold it; fails with [`Code::RunInProgress`]
/// naming the holder while anybody else does. A member that ends before the whole group does drops the lease: the others
/// go on renewing it.
pub async fn join(store: Arc<dyn Store>, clock: &Clock, group: &str, life: Duration) -> Result<Lease> {
    let ours = Record {
        holder: shared_by(group),
        who: group.to_owned(),
        since: clock.now(),
        expires_at: clock.now(),
    };
    let held = share(&*store, clock, &ours, life, true).await?;
    Ok(Lease::kept(Inner {
        store,
        clock: clock.clone(),
        life,
        shared: true,
        held: Mutex::new(held),
    }))
}

impl Lease {
    fn kept(inner: Inner) -> Self {
        let inner = Arc::new(inner);
        let lost = CancellationToken::new();
        let stop = CancellationToken::new();
        let renewal = stop
            .clone()
            .run_until_cancelled_owned(keep(inner.clone(), lost.clone()));
        tokio::spawn(renewal.in_current_span());
        Self {
            inner,
            lost,
            ended: stop.clone(),
            _renewal: stop.drop_guard(),
        }
    }

    /// Cancelled when the lease was lost.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// A token for the work under this lease: cancelled when the caller's is, or when the lease was lost.
    pub fn token(&self, caller: &CancellationToken) -> CancellationToken {
        let token = caller.child_token();
        let (lost, ended, cancel) = (self.lost.clone(), self.ended.clone(), token.clone());
        tokio::spawn(async move {
            if ended.run_until_cancelled(lost.cancelled()).await.is_some() {
                cancel.cancel();
            }
        });
        token
    }

    /// Fails if the lease was lost; asks nobody.
    pub fn confirm_not_lost(&self) -> Result<()> {
        if self.lost.is_cancelled() {
            return Err(lost("it was lost in mid-run"));
        }
        Ok(())
    }

    /// Proves, by renewing it, that the lease is still held.
    pub async fn confirm(&self) -> Result<()> {
        self.confirm_not_lost()?;
        self.inner.renew().await
    }

    /// Gives the lease back, if it is still held; a shared one for the whole group.
    pub async fn release(self) -> Result<()> {
        let store = &*self.inner.store;
        let held = self.inner.held.lock().await;
        if store.delete(LOCK, &held.version).await? || !self.inner.shared {
            return Ok(());
        }
        for _ in 0..TURNS {
            match read(store).await? {
                // Another member has renewed it since.
                Some((record, version)) if record.holder == held.record.holder => {
                    if store.delete(LOCK, &version).await? {
                        break;
                    }
                }
                _ => break,
            }
        }
        Ok(())
    }
}

impl Inner {
    async fn renew(&self) -> Result<()> {
        let mut held = self.held.lock().await;
        if self.shared {
            *held = share(&*self.store, &self.clock, &held.record, self.life, false).await?;
            return Ok(());
        }
        let record = Record {
            expires_at: self.clock.now() + self.life,
            ..held.record.clone()
        };
        let condition = Condition::Unchanged(held.version.clone());
        let version = match write(&*self.store, &record, condition).await {
            Ok(version) => version,
            Err(e) if e.code() == Code::StoreConflict => match read(&*self.store).await? {
                Some((r, version)) if r == record => version,
                Some((other, _)) => return Err(lost(&format!("{} took it at {}", other.who, other.since))),
                None => return Err(lost("its object was deleted")),
            },
            Err(e) => return Err(e),
        };
        *held = Held { record, version };
        Ok(())
    }
}

/// Makes sure that the lease is that of `ours` for two thirds of its life or more, whoever of the group wrote it. Only a
/// newcomer `may_take` one that is nobody's.
async fn share(store: &dyn Store, clock: &Clock, ours: &Record, life: Duration, may_take: bool) -> Result<Held> {
    for _ in 0..TURNS {
        let now = clock.now();
        let (since, condition) = match read(store).await? {
            Some((record, version)) if record.holder == ours.holder => {
                // Many members would otherwise write the one object more often than a store allows.
                if record.expires_at - now > life * 2 / 3 {
                    return Ok(Held { record, version });
                }
                (record.since, Condition::Unchanged(version))
            }
            None if may_take => (now, Condition::Absent),
            None => return Err(lost("its object was deleted")),
            Some((other, _)) if !may_take => return Err(lost(&format!("{} took it at {}", other.who, other.since))),
            Some((other, _)) if other.expires_at > now => return Err(in_progress(&other)),
            Some((other, version)) => {
                tracing::warn!(who = other.who, since = %other.since, "taking over a lease that ran out");
                (now, Condition::Unchanged(version))
            }
        };
        let record = Record {
            since,
            expires_at: now + life,
            ..ours.clone()
        };
        match write(store, &record, condition).await {
            Ok(version) => return Ok(Held { record, version }),
            // Somebody else was faster, or the first answer was lost: the next look tells.
            Err(e) if e.code() == Code::StoreConflict => {}
            Err(e) => return Err(e),
        }
    }
    Err(Error::new(
        Code::StoreUnreachable,
        format!("{}/{LOCK} was changed by others {TURNS} times in a row", store.url()),
    )
    .remedy("try again"))
}

/// Renews until dropped; cancels `lost` when the lease is another's, or could not be renewed before it runs out.
async fn keep(inner: Arc<Inner>, lost: CancellationToken) {
    let mut pause = inner.life / 3;
    loop {
        sleep(pause).await;
        let error = match inner.renew().await {
            Ok(()) => {
                pause = inner.life / 3;
                continue;
            }
            Err(e) => e,
        };
        let left = inner.held.lock().await.record.expires_at - inner.clock.now();
        // Stop while nobody else can have begun: a sixth of its life before it ends.
        if error.code() == Code::LeaseLost || left < inner.life / 6 {
            tracing::error!(error = %error, "the lease is lost");
            lost.cancel();
            return;
        }
        tracing::warn!(error = %error, "the lease could not be renewed; trying again");
        pause = inner.life / 12;
    }
}

async fn read(store: &dyn Store) -> Result<Option<(Record, Version)>> {
    // Version first: if the object changes between the two reads, a write on that version fails.
    let Some(meta) = store.head(LOCK).await? else {
        return Ok(None);
    };
    let Some(bytes) = read_small(store, LOCK, LARGEST).await? else {
        return Ok(None);
    };
    let record = serde_json::from_slice(&bytes).map_err(|e| {
        Error::new(Code::BackupDamaged, format!("{}/{LOCK} is not a lease", store.url()))
            .because(e)
            .remedy("delete that object if no backup is running")
    })?;
    Ok(Some((record, meta.version)))
}

async fn write(store: &dyn Store, record: &Record, condition: Condition) -> Result<Version> {
    let json =
        serde_json::to_vec(record).map_err(|e| Error::new(Code::Internal, "writing the lease as JSON").because(e))?;
    let meta = store.put(LOCK, Box::new(BytesSource::new(json)), condition).await?;
    Ok(meta.version)
}

/// The holder's id of a shared lease. No other one has a slash.
fn shared_by(group: &str) -> String {
    format!("group/{group}")
}

fn in_progress(other: &Record) -> Error {
    Error::new(
        Code::RunInProgress,
        format!("a run is in progress: {} since {}", other.who, other.since),
    )
    .remedy(format!(
        "wait for it to end; if it died, its lease runs out at {}",
        other.expires_at
    ))
}

fn lost(why: &str) -> Error {
    Error::new(
        Code::LeaseLost,
        format!("this run does not hold the lease any more: {why}"),
    )
    .remedy("nothing was committed; run it again")
}
