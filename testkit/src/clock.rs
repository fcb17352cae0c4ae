//! Time as a test wants it.

use qdrant_backup::base::clock::Clock;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use time::OffsetDateTime;

/// A clock that is moved by hand: it stands, or is the system's put forward.
#[derive(Clone, Debug, Default)]
pub struct Hands {
    stands_at: Option<OffsetDateTime>,
    ahead: Arc<Mutex<Duration>>,
}

impl Hands {
    /// A clock that stands until it is moved.
    pub fn standing_at(time: OffsetDateTime) -> Self {
        Self {
            stands_at: Some(time),
            ahead: Arc::default(),
        }
    }

    /// The system's time, as long as it is not put forward.
    pub fn running() -> Self {
        Self::default()
    }

    pub fn now(&self) -> OffsetDateTime {
        self.stands_at.unwrap_or_else(OffsetDateTime::now_utc) + *self.ahead.lock().unwrap()
    }

    pub fn pass(&self, time: Duration) {
        *self.ahead.lock().unwrap() += time;
    }

    pub fn clock(&self) -> Clock {
        let hands = self.clone();
        Clock::new(move || hands.now())
    }
}
