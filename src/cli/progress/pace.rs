//! How fast a run is, and how long it may take.

use crate::repository::runs::UnitTotals;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// The rate is that of so long a time.
const WINDOW: Duration = Duration::from_secs(15);
/// Below that part of the whole, what is left cannot be told from what was.
const TELLING: f64 = 0.02;
/// Nor before so long a time.
const TELLING_AFTER: Duration = Duration::from_secs(3);

/// The bytes of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Pace(VecDeque<(Instant, u64)>);

/// What can be told of the rest.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Estimate {
    pub(super) bytes_per_second: Option<u64>,
    pub(super) left: Option<Duration>,
}

impl Pace {
    /// So many bytes in all have passed by now.
    pub(super) fn add(&mut self, now: Instant, bytes: u64) {
        // A second attempt at a unit begins anew.
        while self.0.back().is_some_and(|(_, before)| *before > bytes) {
            self.0.pop_back();
        }
        self.0.push_back((now, bytes));
        while self.0.len() > 2 && self.0.get(1).is_some_and(|(at, _)| now - *at >= WINDOW) {
            self.0.pop_front();
        }
    }

    fn bytes_per_second(&self) -> Option<u64> {
        let ((from, first), (to, last)) = (self.0.front()?, self.0.back()?);
        let seconds = (*to - *from).as_secs_f64();
        (seconds >= 0.5).then_some(((last - first) as f64 / seconds) as u64)
    }

    /// By the rate where all lengths are known, else by the part that is done.
    pub(super) fn estimate(&self, totals: &UnitTotals, elapsed: Duration) -> Estimate {
        let rate = self.bytes_per_second();
        let by_rate = || {
            // How long Qdrant works on after the last byte cannot be told.
            let left = totals
                .bytes_total?
                .checked_sub(totals.bytes_done)
                .filter(|left| *left > 0)?;
            Some(left as f64 / rate.filter(|rate| *rate > 0)? as f64)
        };
        let by_part = || {
            let part = totals.part;
            (part > TELLING && elapsed >= TELLING_AFTER).then(|| elapsed.as_secs_f64() * (1.0 - part) / part)
        };
        let left = match totals.bytes_total {
            Some(_) => by_rate(),
            None => by_part(),
        };
        Estimate {
            bytes_per_second: rate,
            // Beyond a hundred days nobody knows.
            left: left.filter(|s| *s < 8.64e6).map(Duration::from_secs_f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(done: u64, total: Option<u64>, part: f64) -> UnitTotals {
        UnitTotals {
            bytes_done: done,
            bytes_total: total,
            part,
            ..UnitTotals::default()
        }
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds_and_tells_what_is_left() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert!(pace.estimate(&totals(0, Some(100), 0.0), Duration::ZERO).left.is_none());
        for s in 0..60 {
            // Slow at first.
            let bytes = if s < 40 { s } else { 40 + (s - 40) * 100 };
            pace.add(start + Duration::from_secs(s), bytes);
        }
        let estimate = pace.estimate(&totals(1940, Some(2940), 0.7), Duration::from_secs(60));
        assert_eq!(
            (estimate.bytes_per_second, estimate.left),
            (Some(100), Some(Duration::from_secs(10)))
        );
        let all = totals(2940, Some(2940), 1.0);
        assert_eq!(
            pace.estimate(&all, Duration::from_secs(60)).left,
            None,
            "Qdrant still works"
        );
    }

    #[test]
    fn where_lengths_are_unknown_the_part_that_is_done_tells() {
        let pace = Pace::default();
        let left = |part, seconds| {
            let elapsed = Duration::from_secs(seconds);
            pace.estimate(&totals(7, None, part), elapsed).left
        };
        assert_eq!(left(0.25, 60), Some(Duration::from_secs(180)));
        assert_eq!((left(0.0, 60), left(0.01, 60), left(0.25, 2)), (None, None, None));
    }

    #[test]
    fn an_attempt_that_begins_anew_and_no_number_disturb_it() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        for (s, bytes) in [(0, 0), (1, u64::MAX), (2, 5), (3, 10)] {
            pace.add(start + Duration::from_secs(s), bytes);
        }
        assert_eq!(
            pace.estimate(&totals(10, Some(u64::MAX), 0.0), Duration::MAX)
                .bytes_per_second,
            Some(3)
        );
    }
}
