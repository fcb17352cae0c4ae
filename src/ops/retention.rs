//! Which backups to keep: a pure function of the backups, the policy and the time; nothing is read and nothing deleted here.
//!
//! Backups of one selection are a **series**: a backup of some collections never displaces one of everything, nor the other
//! way round. Within a series three lanes are looked at, each by itself:
//!
//! - the **good** backups, complete and not known to be damaged: by every rule of the policy;
//! - the **damaged** (and unproven) ones that are newer than the newest good one: by the same rules;
//! - the **partial** ones that are newer than the newest good one: by a rule of their own ([`Policy::partial`]). Each is nearly a
//!   full copy, and what fails for good makes one at every turn. But the newest one that has a collection stays.
//!
//! Damaged and partial ones may hold the newest data that there is; a good backup that follows makes them superfluous. They never take the place of a good one. A backup of which that cannot be told (its manifest or a record
//! beside it is not understood, e.g. one of a newer version, or this version cannot bring a collection of it back) is kept and counts for nothing, and so does one whose id lies in
//! the future. A rule counts the buckets (hours, days, …, UTC; weeks by ISO 8601) that have backups, not those of the calendar,
//! and keeps the newest of each: as long as no backup is added, the passing of time makes no rule keep less. Pins keep a
//! backup and change nothing for the others.

use crate::base::error::{Code, Error, Result};
use crate::repository::catalog::State;
use crate::repository::names::BackupId;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;
use time::OffsetDateTime;

/// How much to keep of each series. A count of 0 switches its rule off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// The newest so many.
    pub last: u32,
    /// The newest of each of so many hours.
    pub hourly: u32,
    /// The newest of each of so many days.
    pub daily: u32,
    /// The newest of each of so many ISO weeks.
    pub weekly: u32,
    /// The newest of each of so many months.
    pub monthly: u32,
    /// The newest of each of so many years.
    pub yearly: u32,
    /// The newest so many partial ones that are newer than the newest good one.
    pub partial: u32,
    /// Nothing younger is deleted, whatever the rules say.
    #[serde(rename = "min_age_seconds", serialize_with = "as_seconds")]
    pub min_age: Duration,
    /// What has no manifest goes so long after its last change: left by a run that was killed, or by a deletion that was cut
    /// short. A run that is at work has the lease, so nothing is deleted meanwhile.
    #[serde(rename = "leftover_age_seconds", serialize_with = "as_seconds")]
    pub leftover_age: Duration,
}

impl Default for Policy {
    /// No rule for good ones, the newest partial one, and a minimum age of a day; of six hours for leftovers.
    fn default() -> Self {
        Self {
            last: 0,
            hourly: 0,
            daily: 0,
            weekly: 0,
            monthly: 0,
            yearly: 0,
            partial: 1,
            min_age: Duration::from_secs(24 * 3600),
            leftover_age: Duration::from_secs(6 * 3600),
        }
    }
}

impl Policy {
    /// Whether no rule for good ones is on, so that nearly everything would go.
    pub fn is_empty(&self) -> bool {
        [
            self.last,
            self.hourly,
            self.daily,
            self.weekly,
            self.monthly,
            self.yearly,
        ] == [0; 6]
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = [
            ("last", self.last),
            ("hourly", self.hourly),
            ("daily", self.daily),
            ("weekly", self.weekly),
            ("monthly", self.monthly),
            ("yearly", self.yearly),
            ("partial", self.partial),
        ];
        for (name, count) in rules.into_iter().filter(|(_, count)| *count > 0) {
            write!(f, "{name} {count}, ")?;
        }
        write!(f, "and all younger than {} h", self.min_age.as_secs() / 3600)
    }
}

/// One backup.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its id, which tells its time. No two entries have the same.
    pub id: BackupId,
    /// What it is a backup of.
    pub series: String,
    /// What it is worth.
    pub state: State,
    /// Whether it is pinned.
    pub pinned: bool,
    /// Of a partial one: the collections that it has.
    pub collections: Vec<String>,
}

/// Why a backup is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It is pinned.
    Pinned,
    /// Younger than the minimum age.
    TooYoung,
    /// Its id is in the future: a clock is, or was, wrong.
    InFuture,
    /// Its manifest, a record beside it or a collection in it is of a kind that this version does not understand.
    NotUnderstood,
    /// The newest good one of its series.
    NewestGood,
    /// Its series has no good one, and this is the newest.
    NothingBetter,
    /// By [`Policy::last`].
    Last,
    /// By [`Policy::hourly`].
    Hourly,
    /// By [`Policy::daily`].
    Daily,
    /// By [`Policy::weekly`].
    Weekly,
    /// By [`Policy::monthly`].
    Monthly,
    /// By [`Policy::yearly`].
    Yearly,
    /// By [`Policy::partial`].
    Partial,
    /// A partial one that has a collection which no newer one of its series has.
    NewestCopy,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pinned => "pinned",
            Self::TooYoung => "too young",
            Self::InFuture => "in the future",
            Self::NotUnderstood => "not understood",
            Self::NewestGood => "newest good",
            Self::NothingBetter => "nothing better",
            Self::Last => "last",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
            Self::Partial => "partial",
            Self::NewestCopy => "newest copy of a collection",
        })
    }
}

/// What is to become of one backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub id: BackupId,
    /// Whether it stays.
    pub keep: bool,
    /// Why it stays; empty exactly when it does not.
    pub reasons: Vec<Reason>,
}

/// Decides on each backup; newest first.
///
/// # Errors
/// [`Code::ConfigInvalid`] for a policy without a rule.
pub fn plan(backups: &[Entry], policy: &Policy, now: OffsetDateTime) -> Result<Vec<Decision>> {
    if policy.is_empty() {
        return Err(Error::new(Code::ConfigInvalid, "no retention rule is set, so nearly every backup would be deleted").remedy(
            "set at least one of RETAIN_LAST, RETAIN_HOURLY, RETAIN_DAILY, RETAIN_WEEKLY, RETAIN_MONTHLY and RETAIN_YEARLY",
        ));
    }
    let mut newest_first: Vec<&Entry> = backups.iter().collect();
    newest_first.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.id));
    let mut reasons: BTreeMap<BackupId, BTreeSet<Reason>> = newest_first
        .iter()
        .map(|entry| (entry.id, guards(entry, policy, now)))
        .collect();
    let mut series: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in &newest_first {
        if entry.state != State::Unknown && entry.id.time() <= now {
            series.entry(&entry.series).or_default().push(entry);
        }
    }
    for members in series.values() {
        for (id, reason) in by_series(members, policy) {
            reasons.entry(id).or_default().insert(reason);
        }
    }
    let decisions = reasons.into_iter().rev().map(|(id, reasons)| Decision {
        id,
        keep: !reasons.is_empty(),
        reasons: reasons.into_iter().collect(),
    });
    Ok(decisions.collect())
}

/// Why the backup `id` is not deleted even when somebody names it: it is pinned, or it is the newest good one of its series, or the
/// newest of a series without a good one. Its age keeps nothing.
pub fn keeps_always(backups: &[Entry], id: BackupId, now: OffsetDateTime) -> Vec<Reason> {
    let Some(named) = backups.iter().find(|entry| entry.id == id) else {
        return Vec::new();
    };
    let mut reasons = BTreeSet::new();
    if named.pinned {
        reasons.insert(Reason::Pinned);
    }
    let mut members: Vec<&Entry> = backups
        .iter()
        .filter(|entry| entry.series == named.series && entry.id.time() <= now)
        .collect();
    members.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.id));
    let guarded = guarded(&members).filter(|(guarded, _)| *guarded == id);
    reasons.extend(guarded.map(|(_, reason)| reason));
    reasons.into_iter().collect()
}

/// Why an entry stays whatever others there are.
fn guards(entry: &Entry, policy: &Policy, now: OffsetDateTime) -> BTreeSet<Reason> {
    let age = now - entry.id.time();
    [
        (entry.pinned, Reason::Pinned),
        (!age.is_negative() && age < policy.min_age, Reason::TooYoung),
        (age.is_negative(), Reason::InFuture),
        (entry.state == State::Unknown, Reason::NotUnderstood),
    ]
    .into_iter()
    .filter_map(|(holds, reason)| holds.then_some(reason))
    .collect()
}

fn newest_good(members: &[&Entry]) -> Option<usize> {
    members.iter().position(|entry| entry.state == State::Good)
}

/// The member of a series that nothing may take; the newest member comes first.
fn guarded(members: &[&Entry]) -> Option<(BackupId, Reason)> {
    match newest_good(members) {
        Some(at) => members.get(at).map(|entry| (entry.id, Reason::NewestGood)),
        None => members.first().map(|entry| (entry.id, Reason::NothingBetter)),
    }
}

/// Why members of a series stay because of each other; the newest member comes first.
fn by_series(members: &[&Entry], policy: &Policy) -> Vec<(BackupId, Reason)> {
    let newest_good = newest_good(members);
    let newer = &members[..newest_good.unwrap_or(members.len())];
    let lane = |entries: &[&Entry], state| -> Vec<BackupId> {
        let of_lane = entries.iter().filter(|entry| entry.state == state);
        of_lane.map(|entry| entry.id).collect()
    };
    let mut kept: Vec<_> = guarded(members).into_iter().collect();
    kept.extend(by_rules(lane(newer, State::Damaged).into_iter(), policy));
    kept.extend(by_rules(lane(members, State::Good).into_iter(), policy));
    kept.extend(partial(newer, policy));
    kept
}

/// What is kept of the partial ones that are newer than every good one.
fn partial(newer: &[&Entry], policy: &Policy) -> Vec<(BackupId, Reason)> {
    let mut kept = Vec::new();
    let mut had: BTreeSet<&String> = BTreeSet::new();
    let lane = newer.iter().filter(|entry| entry.state == State::Partial);
    for (at, entry) in lane.enumerate() {
        if at < policy.partial as usize {
            kept.push((entry.id, Reason::Partial));
        }
        let before = had.len();
        had.extend(&entry.collections);
        if had.len() > before {
            kept.push((entry.id, Reason::NewestCopy));
        }
    }
    kept
}

/// What the rules keep of one lane.
fn by_rules(lane: impl Iterator<Item = BackupId> + Clone, policy: &Policy) -> Vec<(BackupId, Reason)> {
    type Bucket = fn(OffsetDateTime) -> (i32, u32);
    let rules: [(Reason, u32, Bucket); 6] = [
        // Every second is a bucket: no two ids share one.
        (Reason::Last, policy.last, |t| (t.year(), day(t) * 86_400 + seconds(t))),
        (Reason::Hourly, policy.hourly, |t| {
            (t.year(), day(t) * 24 + u32::from(t.hour()))
        }),
        (Reason::Daily, policy.daily, |t| (t.year(), day(t))),
        (Reason::Weekly, policy.weekly, |t| {
            let (year, week, _) = t.to_iso_week_date();
            (year, week.into())
        }),
        (Reason::Monthly, policy.monthly, |t| {
            (t.year(), u8::from(t.month()).into())
        }),
        (Reason::Yearly, policy.yearly, |t| (t.year(), 0)),
    ];
    let mut kept = Vec::new();
    for (reason, count, bucket) in rules {
        let mut buckets = BTreeSet::new();
        for id in lane.clone() {
            if buckets.len() < count as usize && buckets.insert(bucket(id.time())) {
                kept.push((id, reason));
            }
        }
    }
    kept
}

fn day(t: OffsetDateTime) -> u32 {
    t.ordinal().into()
}

fn seconds(t: OffsetDateTime) -> u32 {
    let (hour, minute, second) = t.to_hms();
    (u32::from(hour) * 60 + u32::from(minute)) * 60 + u32::from(second)
}

fn as_seconds<S: serde::Serializer>(duration: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_u64(duration.as_secs())
}
