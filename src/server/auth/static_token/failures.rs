//! How often callers from one address may fail. It bounds what failures write into the log and tells who makes them; it never
//! looks at a token that is right, and so keeps nobody out. What keeps guesses from coming true is the length of a token.

use crate::base::clock::Clock;
use crate::server::error::{HttpError, RequestCode};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use time::{Duration, OffsetDateTime};

/// Failures of one address within [`WINDOW`] that are answered and logged one by one.
const ALLOWED: u32 = 10;
const WINDOW: Duration = Duration::MINUTE;
/// Addresses that are known at a time.
const ADDRESSES: usize = 256;

/// The failures of the last minute, by address.
#[derive(Debug)]
pub(super) struct Failures {
    clock: Clock,
    by_address: Mutex<HashMap<IpAddr, Count>>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    since: OffsetDateTime,
    failures: u32,
}

impl Failures {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            by_address: Mutex::default(),
        }
    }

    /// Counts a failure: `refusal`, or where there were too many an answer that says so, which the log does not repeat.
    pub(super) fn answer(&self, peer: Option<IpAddr>, refusal: HttpError) -> HttpError {
        let (now, address) = (self.clock.now(), network(peer));
        let mut known = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(&address) && known.len() >= ADDRESSES {
            let oldest = known
                .iter()
                .min_by_key(|(_, count)| count.since)
                .map(|(address, _)| *address);
            oldest.map(|address| known.remove(&address));
        }
        let fresh = Count {
            since: now,
            failures: 0,
        };
        let count = known.entry(address).or_insert(fresh);
        // A clock that is set back begins a new window, too.
        if !(Duration::ZERO..WINDOW).contains(&(now - count.since)) {
            *count = fresh;
        }
        count.failures = count.failures.saturating_add(1);
        if count.failures <= ALLOWED {
            return refusal;
        }
        let left = (WINDOW - (now - count.since)).whole_seconds() + 1;
        if count.failures == ALLOWED + 1 {
            tracing::warn!(
                peer = %address,
                "{address} sent more than {ALLOWED} requests without a right token within a minute; more of them are refused with \
                 429 and not logged for {left} s"
            );
        }
        HttpError::new(
            RequestCode::TooManyFailures,
            format!("more than {ALLOWED} requests from this address had no right token within a minute"),
            &format!("wait {left} s; a right token is taken at any time"),
        )
        .retry_after(left)
    }
}

/// Whoever has an IPv6 address has 2^64 of them.
fn network(peer: Option<IpAddr>) -> IpAddr {
    match peer.map(|peer| peer.to_canonical()) {
        Some(IpAddr::V6(ip)) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        Some(ip) => ip,
        None => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    /// A clock that is set by hand, in seconds.
    fn failures() -> (Failures, Arc<AtomicI64>) {
        let seconds = Arc::new(AtomicI64::new(1_000_000));
        let hand = seconds.clone();
        let clock = Clock::new(move || OffsetDateTime::from_unix_timestamp(hand.load(Ordering::Relaxed)).unwrap());
        (Failures::new(clock), seconds)
    }

    fn fails(failures: &Failures, address: &str) -> String {
        let refusal = HttpError::new(RequestCode::TokenNotTrusted, "", "");
        let answer = failures.answer(Some(address.parse().unwrap()), refusal);
        answer.code().to_owned()
    }

    #[test]
    fn each_address_has_its_own_failures_and_a_minute_forgets_them() {
        let (failures, seconds) = failures();
        for n in 0..ALLOWED {
            assert_eq!(fails(&failures, "10.0.0.1"), "token_not_trusted", "{n}");
        }
        assert_eq!(fails(&failures, "10.0.0.1"), "too_many_failures");
        assert_eq!(fails(&failures, "::ffff:10.0.0.1"), "too_many_failures");
        assert_eq!(fails(&failures, "10.0.0.2"), "token_not_trusted");
        seconds.fetch_add(59, Ordering::Relaxed);
        assert_eq!(fails(&failures, "10.0.0.1"), "too_many_failures");
        seconds.fetch_add(1, Ordering::Relaxed);
        assert_eq!(fails(&failures, "10.0.0.1"), "token_not_trusted");
    }

    #[test]
    fn a_network_of_addresses_is_one_and_many_take_no_memory() {
        let (failures, _) = failures();
        for n in 0..u128::from(ALLOWED) {
            fails(
                &failures,
                &Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) + n).to_string(),
            );
        }
        assert_eq!(fails(&failures, "2001:db8::ffff"), "too_many_failures");
        for n in 0..5_000_u32 {
            fails(&failures, &IpAddr::from(n.to_be_bytes()).to_string());
        }
        assert!(failures.by_address.lock().unwrap().len() <= ADDRESSES);
    }
}
