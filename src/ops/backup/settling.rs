//! What the shards of a collection have in common while they are saved one by one: until when they are waited for, and that they are
//! those of one collection.

use super::report::remade;
use crate::base::error::Result;
use crate::wire::qdrant::Optimizations;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Segments that are recorded of one look. Ids are random, so the lowest are as good as any, and the same for all who look.
const MOST_SEGMENTS: usize = 100;

#[derive(Default)]
pub(super) struct Settling(Mutex<BTreeMap<String, Shared>>);

#[derive(Default)]
struct Shared {
    /// Until when they are waited for while Qdrant optimizes them: all of them together, since each may be optimized without end.
    until: Option<Instant>,
    /// The segments that were seen first, and last.
    first: BTreeSet<String>,
    segments: BTreeSet<String>,
    /// How many snapshots are under way, and how many have begun.
    held: usize,
    begun: u64,
}

/// A snapshot or a stream of one of the shards, as long as it lives. Under it Qdrant tells of a temporary segment in place of those of
/// the shard (seen on 1.18.3).
pub(super) struct Hold<'a> {
    settling: &'a Settling,
    collection: String,
}

/// A moment at which nothing was held, by the number of holds before.
#[derive(Clone, Copy)]
pub(super) struct Moment(Option<u64>);

impl Settling {
    pub(super) fn until(&self, collection: &str, patience: Duration) -> Instant {
        self.with(collection, |shared| {
            *shared.until.get_or_insert_with(|| Instant::now() + patience)
        })
    }

    pub(super) fn hold(&self, collection: &str) -> Hold<'_> {
        self.with(collection, |shared| {
            shared.held += 1;
            shared.begun += 1;
        });
        Hold {
            settling: self,
            collection: collection.to_owned(),
        }
    }

    /// To be asked for before a look.
    pub(super) fn moment(&self, collection: &str) -> Moment {
        Moment(self.with(collection, |shared| (shared.held == 0).then_some(shared.begun)))
    }

    /// That it is still the collection of the last look: of one that was deleted and made again all segments are others. A look while
    /// something was held says nothing of that.
    pub(super) fn require_same(&self, collection: &str, moment: Moment, look: &Optimizations) -> Result<()> {
        let now = look.segments();
        let is_other = self.with(collection, |shared| {
            if now.is_empty() || moment.0 != Some(shared.begun) {
                return false;
            }
            let is_other = !shared.segments.is_empty() && shared.segments.is_disjoint(&now);
            // What holds of others hide now is seen by a later look.
            if !is_other {
                if shared.first.is_empty() {
                    shared.first.clone_from(&now);
                }
                shared.segments = now;
            }
            is_other
        });
        match is_other {
            false => Ok(()),
            true => Err(remade(collection)),
        }
    }

    /// Some of the segments that were seen of the collection, in the order of their ids: by them others tell whether they saw the same.
    pub(super) fn seen(&self, collection: &str) -> BTreeSet<String> {
        self.with(collection, |shared| {
            let some = [&shared.first, &shared.segments].map(|seen| seen.iter().take(MOST_SEGMENTS).cloned());
            some.into_iter().flatten().collect()
        })
    }

    /// These are saved anew, whatever they are now.
    pub(super) fn forget(&self, collections: &[String]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        collections.iter().for_each(|collection| drop(all.remove(collection)));
    }

    fn with<T>(&self, collection: &str, change: impl FnOnce(&mut Shared) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(all.entry(collection.to_owned()).or_default())
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.settling.with(&self.collection, |shared| {
            shared.held = shared.held.saturating_sub(1);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Code;
    use serde_json::{from_value, json};

    fn look(settling: &Settling, moment: Moment, segments: &[&str]) -> Result<()> {
        let idle: Vec<_> = segments.iter().map(|uuid| json!({ "uuid": uuid })).collect();
        let look = from_value(json!({"running": [], "idle_segments": idle})).unwrap();
        settling.require_same("c", moment, &look)
    }

    #[test]
    fn another_collection_is_told_and_what_a_hold_hides_is_none() {
        let settling = Settling::default();
        let now = |segments: &[&str]| look(&settling, settling.moment("c"), segments);
        now(&["a", "b"]).unwrap();
        now(&["b", "c"]).unwrap();
        let before = settling.moment("c");
        let hold = settling.hold("c");
        let under = settling.moment("c");
        look(&settling, before, &["temporary"]).unwrap();
        look(&settling, under, &["temporary"]).unwrap();
        drop(hold);
        look(&settling, under, &["temporary"]).unwrap();
        // As often as it is looked at, and until it is the same again.
        for _ in 0..2 {
            assert_eq!(now(&["x"]).unwrap_err().code(), Code::SnapshotChanged);
        }
        now(&["c"]).unwrap();
        settling.forget(&["c".to_owned()]);
        now(&["x"]).unwrap();
    }
}
