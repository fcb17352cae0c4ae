//! What has no manifest: left by a run that was killed, or by a deletion that was cut short.

use super::executions;
use crate::base::clock::Clock;
use crate::base::error::Result;
use crate::ops::retention::{Policy, Reason};
use crate::repository::lease;
use crate::repository::names::{BACKUPS, BackupId, Name};
use crate::wire::store::{ObjectMeta, Store};
use futures_util::TryStreamExt;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// A folder without a manifest.
#[derive(Clone, Debug, Serialize)]
pub struct Leftover {
    /// That of the backup that it would have become, or was.
    pub id: BackupId,
    /// Number of objects.
    pub objects: usize,
    /// Bytes of all of them.
    pub bytes: u64,
    /// When the last of them was written, but not before the run began.
    #[serde(with = "time::serde::rfc3339")]
    pub changed_at: OffsetDateTime,
    /// Why it stays for now; nothing: `prune` deletes it.
    pub reasons: Vec<Reason>,
    /// From when on `prune` deletes it, unless it is pinned.
    #[serde(with = "time::serde::rfc3339::option")]
    pub prunable_at: Option<OffsetDateTime>,
    /// Whether the run that holds the lease is writing it: no leftover, unless that run fails.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub under_way: bool,
    #[serde(skip)]
    has_manifest: bool,
    #[serde(skip)]
    is_pinned: bool,
}

impl Leftover {
    pub(super) fn new(id: BackupId) -> Self {
        Self {
            id,
            objects: 0,
            bytes: 0,
            changed_at: id.time(),
            reasons: Vec::new(),
            prunable_at: None,
            under_way: false,
            has_manifest: false,
            is_pinned: false,
        }
    }

    pub(super) fn add(&mut self, object: &ObjectMeta) {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(object.size);
        self.changed_at = self.changed_at.max(object.updated);
        self.has_manifest |= object.key == self.id.manifest();
        self.is_pinned |= object.key == self.id.pinned();
    }

    /// Why it stays for now. `planned`: backups of executions whose tasks may be tried again.
    pub(super) fn reasons(&self, policy: &Policy, now: OffsetDateTime, planned: &BTreeSet<BackupId>) -> Vec<Reason> {
        let young = now - self.changed_at < policy.leftover_age || planned.contains(&self.id);
        [(young, Reason::TooYoung), (self.is_pinned, Reason::Pinned)]
            .into_iter()
            .filter_map(|(holds, reason)| holds.then_some(reason))
            .collect()
    }
}

/// All of them, newest first.
///
/// # Errors
/// Those of the store.
pub(crate) async fn leftovers(store: &dyn Store, policy: &Policy, now: OffsetDateTime) -> Result<Vec<Leftover>> {
    let holder = lease::holder(store, &Clock::new(move || now)).await?;
    // An id has whole seconds.
    let since = holder.map(|holder| holder.since.unix_timestamp());
    let mut folders: BTreeMap<BackupId, Leftover> = BTreeMap::new();
    let mut objects = store.list(BACKUPS).await?;
    while let Some(object) = objects.try_next().await? {
        if let Some(id) = Name::parse(&object.key).and_then(|name| name.backup()) {
            folders.entry(id).or_insert_with(|| Leftover::new(id)).add(&object);
        }
    }
    let (_, planned) = executions(store, policy, now, &mut Vec::new()).await?;
    let age = policy.leftover_age.try_into().unwrap_or(time::Duration::MAX);
    let told = |leftover: Leftover| Leftover {
        reasons: leftover.reasons(policy, now, &planned),
        under_way: since.is_some_and(|since| leftover.id.time().unix_timestamp() >= since),
        prunable_at: leftover.changed_at.checked_add(age).filter(|_| !leftover.is_pinned),
        ..leftover
    };
    let without = folders.into_values().rev().filter(|folder| !folder.has_manifest);
    Ok(without.map(told).collect())
}
