//! What was kept of backups, for whoever looks at the same ones again and again: read anew only where an object of one has changed.

use super::{Found, Mark, READ_AT_ONCE, Summary, ids, read};
use crate::base::error::Result;
use crate::repository::names::{BackupId, has_come};
use crate::wire::store::{ObjectMeta, Store, Version};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use time::OffsetDateTime;

/// Backups that are remembered: the newest.
const REMEMBERED: usize = 200;

/// The objects of a folder, by which it is known whether anything in it has changed.
type Stamp = Vec<(String, Version)>;

/// What was kept. Cheap to clone; all clones are one.
pub(crate) struct Memory<T>(Arc<Mutex<BTreeMap<BackupId, (Stamp, T)>>>);

impl<T> Clone for Memory<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> fmt::Debug for Memory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory of {} backups", self.lock().len())
    }
}

impl<T> Memory<T> {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<BackupId, (Stamp, T)>> {
        // Every change leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets those that are gone, and those that are too many.
    fn trim(&self, newest_first: &[BackupId]) {
        let kept = newest_first
            .iter()
            .take(REMEMBERED)
            .collect::<std::collections::BTreeSet<_>>();
        self.lock().retain(|id, _| kept.contains(id));
    }
}

impl Summary {
    /// Whether it is the same at any later time, as long as its objects are.
    fn is_settled(&self, now: OffsetDateTime) -> bool {
        let proofs = [&self.verified, &self.drilled];
        let mut times = proofs.into_iter().flatten().filter_map(|proof| proof.at);
        !self.marks.contains(&Mark::Future) && times.all(|at| has_come(at, now))
    }
}

/// As [`super::newest_first`], with what is remembered.
pub(crate) async fn newest_known<T: Clone + Send + 'static>(
    store: &dyn Store,
    now: OffsetDateTime,
    keep: impl Fn(Found) -> T + Copy + Send + 'static,
    memory: &Memory<T>,
) -> Result<impl Stream<Item = Result<T>>> {
    let ids = ids(store).await?;
    memory.trim(&ids);
    Ok(stream::iter(ids)
        .map(move |id| known(store, id, now, keep, memory))
        .buffered(READ_AT_ONCE)
        .try_filter_map(async |kept| Ok(kept)))
}

async fn known<T: Clone + Send + 'static>(
    store: &dyn Store,
    id: BackupId,
    now: OffsetDateTime,
    keep: impl Fn(Found) -> T + Copy + Send + 'static,
    memory: &Memory<T>,
) -> Result<Option<T>> {
    let objects = store.folder(&id.prefix()).await?.objects;
    let stamp: Stamp = objects.iter().map(stamped).collect();
    if let Some((_, known)) = memory.lock().get(&id).filter(|(known, _)| *known == stamp) {
        return Ok(Some(known.clone()));
    }
    let look = move |found: Found| (found.summary.is_settled(now), keep(found));
    let Some((is_settled, kept)) = read(store, id, &objects, now, look).await? else {
        return Ok(None);
    };
    if is_settled {
        memory.lock().insert(id, (stamp, kept.clone()));
    }
    Ok(Some(kept))
}

fn stamped(object: &ObjectMeta) -> (String, Version) {
    (object.key.clone(), object.version.clone())
}
