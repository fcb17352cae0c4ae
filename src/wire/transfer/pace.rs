//! How fast the bytes pass: the shared rate limit, and the watch for stalls with the side that is to blame.

use super::{Limits, Route};
use crate::base::error::{Code, Error};
use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// What an idle time earns at most, so that late wake-ups do not make the rate lower than asked.
const CREDIT: Duration = Duration::from_millis(100);

/// One rate limit for all relays that hold a clone of it.
#[derive(Clone, Debug)]
pub struct RateLimiter {
    bytes_per_second: f64,
    /// When all bytes let through so far are paid for.
    paid: Arc<Mutex<Instant>>,
}

impl RateLimiter {
    /// A limit in megabytes (10^6 bytes) per second.
    pub(crate) fn megabytes_per_second(megabytes: NonZeroU32) -> Self {
        Self {
            bytes_per_second: f64::from(megabytes.get()) * 1e6,
            paid: Arc::new(Mutex::new(Instant::now())),
        }
    }

    /// Waits for the turn of `bytes` more bytes. Turns are given in the order of the calls.
    pub(super) async fn pass(&self, bytes: usize) {
        let turn = {
            let mut paid = lock(&self.paid);
            let now = Instant::now();
            let turn = now.checked_sub(CREDIT).map_or(*paid, |earliest| earliest.max(*paid));
            *paid = turn + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
            turn
        };
        sleep_until(turn).await;
    }
}

/// What the transfer is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Bytes from Qdrant.
    Source,
    /// The store to ask for more, or to confirm the object.
    Store,
    /// The rate limit or the hashing.
    Own,
}

/// Where the transfer stands, as seen by the watch.
#[derive(Debug)]
pub(super) struct Pace {
    now: Mutex<Waiting>,
}

#[derive(Clone, Debug)]
struct Waiting {
    side: Side,
    since: Instant,
    source: Duration,
    store: Duration,
    passed: u64,
    whole: bool,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            now: Mutex::new(Waiting {
                side: Side::Store,
                since: Instant::now(),
                source: Duration::ZERO,
                store: Duration::ZERO,
                passed: 0,
                whole: false,
            }),
        }
    }

    /// From now on `side` is waited for. Each call is a sign of life.
    pub(super) fn wait_for(&self, side: Side) {
        let mut standing = lock(&self.now);
        *standing = standing.at(Instant::now());
        standing.side = side;
    }

    /// That `passed` bytes have passed in all, and whether these are all bytes there are.
    pub(super) fn passed(&self, passed: u64, whole: bool) {
        let mut standing = lock(&self.now);
        standing.passed = passed;
        standing.whole = whole;
    }

    pub(super) fn is_whole(&self) -> bool {
        lock(&self.now).whole
    }
}

impl Waiting {
    /// The same with the wait up to `now` accounted to its side.
    fn at(&self, now: Instant) -> Self {
        let mut standing = self.clone();
        let waited = now.saturating_duration_since(self.since);
        match self.side {
            Side::Source => standing.source += waited,
            Side::Store => standing.store += waited,
            Side::Own => {}
        }
        standing.since = now;
        standing
    }
}

/// Ends with an error as soon as the transfer no longer keeps to `limits`.
pub(super) async fn watch(pace: &Pace, limits: &Limits, route: &Route) -> Error {
    let mut window_ends = Instant::now() + limits.window;
    let mut before = lock(&pace.now).clone();
    loop {
        let standing = lock(&pace.now).clone();
        let now = Instant::now();
        let patience = match (standing.side, standing.whole) {
            (Side::Own, _) => None,
            (_, true) => Some(limits.commit),
            (_, false) => Some(limits.idle),
        };
        if patience.is_some_and(|patience| now >= standing.since + patience) {
            return silent(&standing, now - standing.since, route);
        }
        if now >= window_ends {
            let current = standing.at(now);
            if !standing.whole
                && let Some(slow) = too_slow(&before, &current, limits, route)
            {
                return slow;
            }
            before = current;
            window_ends = now + limits.window;
        }
        let next = patience.map_or(window_ends, |p| window_ends.min(standing.since + p));
        sleep_until(next).await;
    }
}

fn silent(standing: &Waiting, silence: Duration, route: &Route) -> Error {
    let Route {
        key,
        source,
        sink,
        again,
        ..
    } = route;
    let seconds = silence.as_secs();
    let bytes = standing.passed;
    match (standing.whole, standing.side) {
        (true, _) => Error::new(
            Code::Stalled,
            format!("{key}: {sink} did not confirm the object within {seconds} s after its last byte ({bytes})"),
        )
        .remedy(format!("check the store's status; nothing counts as saved: {again}")),
        (false, Side::Source) => Error::new(
            Code::Stalled,
            format!("{key}: {source} sent nothing for {seconds} s after {bytes} bytes"),
        )
        .remedy(format!("check its load, its log and the network to it, then {again}")),
        (false, _) => Error::new(
            Code::Stalled,
            format!("{key}: {sink} accepted nothing for {seconds} s after {bytes} bytes"),
        )
        .remedy(format!("check its status and the network to it, then {again}")),
    }
}

fn too_slow(before: &Waiting, now: &Waiting, limits: &Limits, route: &Route) -> Option<Error> {
    let Route {
        key,
        source: from,
        sink: to,
        again,
        ..
    } = route;
    let bytes = now.passed - before.passed;
    let source = now.source - before.source;
    let sink = now.store - before.store;
    let due = limits.min_bytes_per_window as f64 * (source + sink).as_secs_f64() / limits.window.as_secs_f64();
    if bytes as f64 >= due {
        return None;
    }
    let to_blame = if source >= sink { from } else { to };
    let seconds = limits.window.as_secs();
    Some(
        Error::new(
            Code::Stalled,
            format!(
                "{key}: only {bytes} bytes transferred in {seconds} s, the minimum is {}; most of the time was spent \
                 waiting for {to_blame}",
                due.ceil()
            ),
        )
        .remedy(format!(
            "check the load of the slower side and the network to it, then {again}"
        )),
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
