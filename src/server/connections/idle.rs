//! The connections whose request is not being handled: any of them may be closed to make room, the oldest first.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// The queue. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Idle(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    entered: u64,
    /// By the number under which they entered.
    waiting: BTreeMap<u64, CancellationToken>,
}

/// A connection's place in the queue. Dropped, it leaves.
#[derive(Debug)]
pub(super) struct Entry {
    idle: Idle,
    number: AtomicU64,
    closed: CancellationToken,
    answered: CancellationToken,
}

impl Idle {
    /// Enters a connection that has just been accepted.
    pub(super) fn enter(&self) -> Entry {
        let closed = CancellationToken::new();
        Entry {
            number: self.push(closed.clone()).into(),
            idle: self.clone(),
            closed,
            answered: CancellationToken::new(),
        }
    }

    /// Closes the connection that entered first, if there is one.
    pub(super) fn close_oldest(&self) {
        if let Some((_, closed)) = self.lock().waiting.pop_first() {
            closed.cancel();
        }
    }

    fn push(&self, closed: CancellationToken) -> u64 {
        let mut queue = self.lock();
        queue.entered += 1;
        let number = queue.entered;
        queue.waiting.insert(number, closed);
        number
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Every change leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Leaves the queue, since a request has come. `false`: too late, the connection has been closed.
    pub(super) fn leave(&self) -> bool {
        let number = self.number.load(Ordering::Relaxed);
        self.idle.lock().waiting.remove(&number).is_some()
    }

    /// Enters again at the end of the queue, since the request has been answered.
    pub(super) fn enter_again(&self) {
        self.number
            .store(self.idle.push(self.closed.clone()), Ordering::Relaxed);
        self.answered.cancel();
    }

    /// Waits until it has to make room.
    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Waits until the request has been answered, as far as that is for the service to do.
    pub(super) async fn answered(&self) {
        self.answered.cancelled().await;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.leave();
    }
}
