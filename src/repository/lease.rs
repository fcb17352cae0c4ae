//! The lease: one run at a time for each store, by compare-and-swap on one object.
//!
//! The holder renews it at a third of its life. A run whose lease is lost is cancelled at once, and proves that it still holds it
//! right before it commits. The lease of a holder that died is taken over when it has expired.
//!
//! The processes of one execution of a job hold it together ([`join`]): any of them renews it for all, and the one that ends
//! the execution gives it back. One that is killed is in nobody's way when it is tried again.

mod guard;
mod unlock;

pub use guard::Guard;
pub(crate) use unlock::{Heartbeat, Look, look, remove};

use crate::base::clock::{Clock, stamp};
use crate::base::error::{Code, Error, Result};
use crate::base::process::Process;
use crate::repository::names::LOCK;
use crate::wire::store::record;
use crate::wire::store::{Condition, Store, Version};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument;

/// Of attempts to write it: each lost turn means that somebody else wrote it, or that our own answer was lost, so that the next
/// look finds it fresh.
const TURNS: u32 = 10;

/// No run asks for a lease that lasts longer, so none counts for longer after its last change.
pub(crate) const LONGEST: Duration = Duration::from_secs(3600);

/// What the lease's object says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// Unique for each acquisition, or common to all processes that hold it together.
    pub holder: String,
    /// Who that is, for people.
    pub who: String,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// From then on any run may take it.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// The process, where others of its system can tell whether it has ended. Of several that hold it together, none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process: Option<Process>,
}

impl record::Record for LeaseRecord {
    const WHAT: &'static str = "a lease";
    const LARGEST: u64 = 64 << 10;
}

impl LeaseRecord {
    /// Whether it is that of the processes of `group`, see [`join`].
    pub(crate) fn is_of(&self, group: &str) -> bool {
        self.holder == shared_by(group)
    }

    /// Whether it holds at that time: it has not run out, and its process has not provably ended.
    fn is_held(&self, now: OffsetDateTime) -> bool {
        self.expires_at > now && !self.has_ended()
    }

    /// Whether its process has provably ended.
    fn has_ended(&self) -> bool {
        self.process.as_ref().is_some_and(Process::has_ended)
    }
}

/// A held lease. Dropped without [`Lease::release`] it is no longer renewed and expires.
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
    held: Mutex<Held>,
    /// Whether it may expire while the store refuses to renew it.
    may_lapse: bool,
    /// Why it expired.
    lapsed: OnceLock<String>,
}

#[derive(Debug)]
struct Held {
    record: LeaseRecord,
    version: Version,
}

/// The current holder of the lease, if any.
pub async fn holder(store: &dyn Store, clock: &Clock) -> Result<Option<LeaseRecord>> {
    let record = read(store, clock).await?.map(|found| found.record);
    Ok(record.filter(|record| record.is_held(clock.now())))
}

/// Fails with [`Code::RunInProgress`] naming the holder while another run holds the lease.
pub(crate) async fn require_free(store: &dyn Store, clock: &Clock) -> Result<()> {
    match holder(store, clock).await? {
        Some(other) => Err(in_progress(&other)),
        None => Ok(()),
    }
}

/// Takes the lease, or fails with [`Code::RunInProgress`] naming the holder.
pub async fn acquire(store: Arc<dyn Store>, clock: &Clock, who: &str, life: Duration) -> Result<Lease> {
    let inner = take(store, clock, own(who, clock), life).await?;
    Ok(Lease::kept(inner))
}

/// As [`acquire`], but a store that refuses to renew the lease, for lack of room or rights, does not stop the run: see
/// [`Lease::lapsed`].
async fn acquire_if_kept(store: Arc<dyn Store>, clock: &Clock, who: &str, life: Duration) -> Result<Lease> {
    let inner = take(store, clock, own(who, clock), life).await?;
    Ok(Lease::kept(Inner {
        may_lapse: true,
        ..inner
    }))
}

/// Whether the store refused for good to write the lease, or another record, because it is full or takes no writes.
pub(crate) fn is_refused(error: &Error) -> bool {
    let refuses = matches!(
        error.code(),
        Code::StoreFull | Code::StoreForbidden | Code::StoreRetained
    );
    refuses && error.is_permanent()
}

/// Takes the lease for `group`, or joins the other processes of `group` that hold it; fails with [`Code::RunInProgress`]
/// naming the holder while anybody else does. A member that ends before the whole group does drops the lease: the others
/// go on renewing it.
pub async fn join(store: Arc<dyn Store>, clock: &Clock, group: &str, life: Duration) -> Result<Lease> {
    let ours = LeaseRecord {
        holder: shared_by(group),
        process: None,
        ..own(group, clock)
    };
    let inner = take(store, clock, ours, life).await?;
    Ok(Lease::kept(inner))
}

/// The record of a lease that this process is about to take.
fn own(who: &str, clock: &Clock) -> LeaseRecord {
    LeaseRecord {
        holder: uuid::Uuid::new_v4().to_string(),
        who: who.to_owned(),
        since: clock.now(),
        expires_at: clock.now(),
        process: Process::this(),
    }
}

async fn take(store: Arc<dyn Store>, clock: &Clock, ours: LeaseRecord, life: Duration) -> Result<Inner> {
    let held = hold(&*store, clock, &ours, life, true).await?;
    Ok(Inner {
        store,
        clock: clock.clone(),
        life,
        held: Mutex::new(held),
        may_lapse: false,
        lapsed: OnceLock::new(),
    })
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

    /// The holder that its record names.
    pub(crate) async fn holder(&self) -> String {
        self.inner.held.lock().await.record.holder.clone()
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

    /// Why the lease expired, if the store refused to renew it and the run continues then.
    fn lapsed(&self) -> Option<&str> {
        self.inner.lapsed.get().map(String::as_str)
    }

    /// Fails if the lease was lost; no request to the store.
    pub fn confirm_not_lost(&self) -> Result<()> {
        if self.lost.is_cancelled() {
            return Err(lost("lost during the run"));
        }
        Ok(())
    }

    /// Proves that the lease is still held, and will be for half of its life at least. If it is not, it counts as lost from
    /// then on.
    pub async fn confirm(&self) -> Result<()> {
        self.confirm_not_lost()?;
        let confirmed = self.inner.renew(self.inner.life / 6).await;
        if confirmed.as_ref().is_err_and(|e| e.code() == Code::LeaseLost) {
            self.lost.cancel();
        }
        confirmed
    }

    /// Releases the lease, if it is still held; a shared one for the whole group. It is no longer renewed then.
    pub async fn release(&self) -> Result<()> {
        // While this is locked it is not renewed.
        let held = self.inner.held.lock().await;
        let released = self.delete(&held).await;
        self.ended.cancel();
        released
    }

    async fn delete(&self, held: &Held) -> Result<()> {
        let store = &*self.inner.store;
        if store.delete(LOCK, &held.version).await? {
            return Ok(());
        }
        for _ in 0..TURNS {
            match read(store, &self.inner.clock).await? {
                // Renewed since by another member of the group, or by us without an answer.
                Some(Found { record, version, .. }) if record.holder == held.record.holder => {
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
    /// Renews within `limit`: a store that does not answer must not keep anybody waiting until the lease has run out.
    async fn renew(&self, limit: Duration) -> Result<()> {
        let renewal = async {
            let mut held = self.held.lock().await;
            *held = hold(&*self.store, &self.clock, &held.record, self.life, false).await?;
            Ok(())
        };
        timeout(limit, renewal).await.unwrap_or_else(|_| {
            Err(Error::new(
                Code::StoreUnreachable,
                format!("{}/{LOCK}: no renewal within {limit:?}", self.store.url()),
            )
            .remedy("check the network to the store, then try again"))
        })
    }
}

/// Makes sure that the lease is that of `ours` for two thirds of its life or more, whoever of the group wrote it, and whether
/// or not we got the answer to our own last write. Only a newcomer `may_take` one that is nobody's.
async fn hold(store: &dyn Store, clock: &Clock, ours: &LeaseRecord, life: Duration, may_take: bool) -> Result<Held> {
    for _ in 0..TURNS {
        let now = clock.now();
        let found = read(store, clock).await?;
        if let (true, Some(odd)) = (may_take, found.as_ref().and_then(|found| found.odd.as_ref())) {
            tracing::warn!("{odd}");
        }
        let (since, condition) = match found {
            Some(Found { record, version, .. }) if record.holder == ours.holder => {
                // Many members would otherwise write the one object more often than a store allows.
                if record.expires_at - clock.now() > life * 2 / 3 {
                    return Ok(Held { record, version });
                }
                (record.since, Condition::Unchanged(version))
            }
            None if may_take => (now, Condition::Absent),
            None => return Err(lost("its object was deleted")),
            Some(Found { record: other, .. }) if !may_take => {
                return Err(lost(&format!("{} took it at {}", other.who, stamp(other.since))));
            }
            Some(Found { record: other, .. }) if other.is_held(now) => return Err(in_progress(&other)),
            Some(Found {
                record: other, version, ..
            }) => {
                let of = match other.expires_at > now {
                    true => "the lease of a process that has ended",
                    false => "an expired lease",
                };
                tracing::warn!(who = other.who, since = %other.since, "taking over {of}");
                (now, Condition::Unchanged(version))
            }
        };
        let record = LeaseRecord {
            since,
            expires_at: now + life,
            ..ours.clone()
        };
        match record::write::<LeaseRecord>(store, LOCK, &record, condition).await? {
            // Not if the write took so long that others may soon begin: then it is written again.
            Some(version) if record.expires_at - clock.now() > life * 2 / 3 => return Ok(Held { record, version }),
            // Or somebody else was faster, or the first answer was lost: the next look tells.
            _ => {}
        }
    }
    Err(Error::new(
        Code::StoreUnreachable,
        format!(
            "{}/{LOCK} was not written in {TURNS} attempts: other runs changed it, or the store was too slow",
            store.url()
        ),
    )
    .remedy("try again"))
}

/// Renews until dropped; cancels `lost` when the lease is another's, or could not be renewed before it runs out.
async fn keep(inner: Arc<Inner>, lost: CancellationToken) {
    let step = inner.life / 6;
    let mut pause = inner.life / 3;
    let mut expires_at = inner.held.lock().await.record.expires_at;
    // Why, in a row, if it may lapse: the last attempt before it runs out gets no time for an answer.
    let mut refused = None;
    loop {
        sleep(pause).await;
        // Stop while nobody else can have begun: a sixth of its life before it ends.
        let left = Duration::try_from(expires_at - inner.clock.now()).unwrap_or_default();
        let error = match inner.renew(left.saturating_sub(step).min(step)).await {
            Ok(()) => {
                expires_at = inner.held.lock().await.record.expires_at;
                pause = inner.life / 3;
                refused = None;
                continue;
            }
            Err(e) => e,
        };
        let left = Duration::try_from(expires_at - inner.clock.now()).unwrap_or_default();
        if inner.may_lapse && is_refused(&error) {
            refused = Some(error.chain());
        }
        if let (Some(why), true) = (&refused, left <= step && error.code() != Code::LeaseLost) {
            let why = format!("the lease expired, because the store refused to renew it ({why})");
            tracing::warn!("{why}; continuing without it");
            // It is set here only, and once.
            let _ = inner.lapsed.set(why);
            return;
        }
        if error.code() == Code::LeaseLost || left <= step {
            tracing::error!(error = %error, "lease lost");
            lost.cancel();
            return;
        }
        tracing::warn!(error = %error, "failed to renew the lease; trying again");
        pause = (step / 2).min(left - step);
    }
}

/// The lease as it counts.
struct Found {
    record: LeaseRecord,
    version: Version,
    /// When it was written last, by the store's clock.
    updated: OffsetDateTime,
    /// What is wrong with what it says, if anything is.
    odd: Option<String>,
}

/// Reads the lease. One that cannot be read, or that is to last longer than any run asks for, counts until [`LONGEST`] after its
/// last change: by then a run would have renewed it.
async fn read(store: &dyn Store, clock: &Clock) -> Result<Option<Found>> {
    // Version first: if the object changes between the two reads, a write on that version fails.
    let Some(meta) = store.head(LOCK).await? else {
        return Ok(None);
    };
    let until = meta.updated.checked_add(LONGEST.try_into().unwrap_or_default());
    let until = until.unwrap_or(meta.updated);
    let key = format!("{}/{LOCK}", store.url());
    let (record, odd) = match record::read::<LeaseRecord>(store, LOCK).await {
        Ok(None) => return Ok(None),
        Ok(Some(record)) if record.expires_at <= clock.now() + LONGEST => (record, None),
        Ok(Some(record)) => {
            let odd = format!(
                "{key} claims the lease until {}, longer than any run does; it counts until {}",
                stamp(record.expires_at),
                stamp(until)
            );
            let record = LeaseRecord {
                expires_at: until,
                ..record
            };
            (record, Some(odd))
        }
        Err(error) if error.code() == Code::BackupDamaged => {
            let record = LeaseRecord {
                holder: String::new(),
                who: format!("an unknown one, because {}", error.chain()),
                since: meta.updated,
                expires_at: until,
                process: None,
            };
            let odd = format!(
                "{}; it counts as a lease until {}: delete {key} before only if no run is at work",
                error.chain(),
                stamp(until)
            );
            (record, Some(odd))
        }
        Err(error) => return Err(error),
    };
    Ok(Some(Found {
        record,
        version: meta.version,
        updated: meta.updated,
        odd,
    }))
}

/// The holder's id of a shared lease. No other one has a slash.
fn shared_by(group: &str) -> String {
    format!("group/{group}")
}

fn in_progress(other: &LeaseRecord) -> Error {
    Error::new(
        Code::RunInProgress,
        format!("another run is in progress: {} since {}", other.who, stamp(other.since)),
    )
    .remedy(format!(
        "wait for it to end, as --wait on the command line does; if it died, its lease expires at {}, and `qdrant-backup unlock` shows \
         more",
        stamp(other.expires_at)
    ))
}

fn lost(why: &str) -> Error {
    Error::new(Code::LeaseLost, format!("this run no longer holds the lease: {why}"))
        .remedy("run it again; nothing was committed")
}
