//! Whose turn it is: so many transfers at once of all collections together, not too many of shards on one node, begun in the order of
//! the plan.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Shards that a node restores at once.
const AT_ONCE_ON_A_NODE: usize = 2;

/// A place in the order of the plan: of which collection, and of which of its shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) collection: usize,
    pub(super) shard: Option<u32>,
}

/// The turns of one restore.
#[derive(Debug)]
pub(crate) struct Turns {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// Shards that are restored now, by the URL of the node.
    on_nodes: BTreeMap<String, usize>,
    /// With the node, of a shard.
    waiting: BTreeMap<Place, Option<String>>,
}

impl State {
    fn has_room(&self, node: Option<&String>) -> bool {
        let under_way = node.and_then(|node| self.on_nodes.get(node));
        under_way.is_none_or(|n| *n < AT_ONCE_ON_A_NODE)
    }

    /// Whether it is the first one that can be begun.
    fn is_next(&self, place: Place) -> bool {
        let first = self.waiting.iter().find(|(_, node)| self.has_room(node.as_ref()));
        self.free > 0 && first.is_some_and(|(first, _)| *first == place)
    }
}

/// A turn, as long as it is kept.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    node: Option<String>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        state.free += 1;
        if let Some(n) = self.node.as_ref().and_then(|node| state.on_nodes.get_mut(node)) {
            *n = n.saturating_sub(1);
        }
        drop(state);
        self.turns.changed.notify_waiters();
    }
}

/// One that waits: who is given up leaves the queue.
struct Waiting<'a> {
    turns: &'a Turns,
    place: Place,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.turns.lock().waiting.remove(&self.place);
        self.turns.changed.notify_waiters();
    }
}

impl Turns {
    pub(crate) fn new(at_once: usize) -> Self {
        Self {
            state: Mutex::new(State {
                free: at_once.max(1),
                on_nodes: BTreeMap::new(),
                waiting: BTreeMap::new(),
            }),
            changed: Notify::new(),
        }
    }

    /// Waits for the turn of this place, on that node for a shard. No two may wait at one place.
    pub(super) async fn take(&self, place: Place, node: Option<String>) -> Turn<'_> {
        self.lock().waiting.insert(place, node.clone());
        let waiting = Waiting { turns: self, place };
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.begin(place, node.as_ref()) {
                drop(waiting);
                return Turn { turns: self, node };
            }
            changed.await;
        }
    }

    fn begin(&self, place: Place, node: Option<&String>) -> bool {
        let mut state = self.lock();
        let is_next = state.is_next(place);
        if is_next {
            state.free -= 1;
            state.waiting.remove(&place);
            if let Some(node) = node {
                *state.on_nodes.entry(node.clone()).or_default() += 1;
            }
        }
        is_next
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::pin::Pin;

    fn place(collection: usize, shard: u32) -> Place {
        Place {
            collection,
            shard: Some(shard),
        }
    }

    type Taking<'a> = Pin<Box<dyn Future<Output = Turn<'a>> + 'a>>;

    fn taking<'a>(turns: &'a Turns, collection: usize, shard: u32, node: &str) -> Taking<'a> {
        Box::pin(turns.take(place(collection, shard), Some(node.to_owned())))
    }

    /// Which of these get their turn now.
    fn begun<'a>(all: &mut [Taking<'a>]) -> Vec<(usize, Turn<'a>)> {
        let mut begun = Vec::new();
        // As often as one may make room for another.
        for _ in 0..all.len() {
            for (at, one) in all.iter_mut().enumerate() {
                if begun.iter().all(|(known, _)| *known != at)
                    && let Some(turn) = one.now_or_never()
                {
                    begun.push((at, turn));
                }
            }
        }
        begun
    }

    #[test]
    fn so_many_at_once_and_two_on_a_node_in_the_order_of_the_plan() {
        let turns = Turns::new(3);
        let mut all = vec![
            taking(&turns, 1, 0, "b"),
            taking(&turns, 0, 3, "b"),
            taking(&turns, 0, 2, "a"),
            taking(&turns, 0, 1, "a"),
            taking(&turns, 0, 0, "a"),
        ];
        // Each is in the queue before the first has its turn.
        let held: Vec<_> = all.iter_mut().rev().map(|one| one.now_or_never()).collect();
        let of_a = held.iter().flatten().count();
        assert_eq!(of_a, 3, "shards 0 and 1 on one node, 3 on the other");
        assert!(held[2].is_none() && held[4].is_none());
        all.truncate(3);
        let mut rest = vec![all.remove(2), all.remove(0)];
        assert!(begun(&mut rest).is_empty(), "three are under way");
        drop(held);
        let begun: Vec<_> = begun(&mut rest).into_iter().map(|(at, _)| at).collect();
        assert_eq!(begun, [0, 1]);
    }

    #[test]
    fn who_comes_first_in_the_plan_goes_first_whoever_came_first() {
        let turns = Turns::new(1);
        let first = taking(&turns, 5, 0, "a").now_or_never().unwrap();
        let mut later = taking(&turns, 9, 0, "b");
        let mut given_up = taking(&turns, 2, 0, "b");
        let mut earlier = taking(&turns, 7, 0, "b");
        for one in [&mut later, &mut given_up, &mut earlier] {
            assert!(one.now_or_never().is_none());
        }
        drop(first);
        assert!(later.as_mut().now_or_never().is_none() && earlier.as_mut().now_or_never().is_none());
        drop(given_up);
        assert!(later.as_mut().now_or_never().is_none());
        let turn = earlier.as_mut().now_or_never().unwrap();
        assert!(later.as_mut().now_or_never().is_none());
        drop(turn);
        assert!(later.now_or_never().is_some());
    }
}
