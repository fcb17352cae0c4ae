//! When a call is made again, and after which pause.

use super::{Retry, answer::Kind};
use crate::base::error::{Code, Error, Result};
use crate::wire::store::token::Tokens;
use google_cloud_gax::{
    exponential_backoff::ExponentialBackoff, retry_policy::RetryPolicy, retry_result::RetryResult,
    retry_state::RetryState, retry_throttler::RetryThrottler,
};
use google_cloud_storage::Error as GcsError;
use std::sync::{Arc, Mutex, PoisonError};

/// Attempts with tokens that are refused, each with a fresh one: a refusal can pass, a revoked account does not come back.
const TOKENS: u32 = 3;

/// Failures of a call, without any progress in between.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Failures {
    pub(super) all: u32,
    tokens: u32,
}

impl Failures {
    /// Notes one more. Whether the call is made again, which has `attempts` in all.
    pub(super) fn again(&mut self, kind: Kind, attempts: u32) -> bool {
        self.all += 1;
        self.tokens += u32::from(kind == Kind::Token);
        kind.is_passing() && self.all < attempts && self.tokens < TOKENS
    }
}

/// The rule of one call: so many attempts, and a fresh token after one that was refused.
#[derive(Debug)]
pub(super) struct Attempts {
    limit: u32,
    tokens: Option<Arc<Tokens>>,
    failures: Mutex<Failures>,
}

impl Attempts {
    pub(super) fn new(limit: u32, tokens: Option<Arc<Tokens>>) -> Self {
        Self {
            limit,
            tokens,
            failures: Mutex::default(),
        }
    }
}

impl RetryPolicy for Attempts {
    fn on_error(&self, state: &RetryState, error: GcsError) -> RetryResult {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        // The next page of a list, or the rest of an object.
        if state.attempt_count <= 1 {
            *failures = Failures::default();
        }
        decide(&mut failures, self.limit, self.tokens.as_deref(), error)
    }
}

/// The rule itself.
pub(super) fn decide(failures: &mut Failures, limit: u32, tokens: Option<&Tokens>, error: GcsError) -> RetryResult {
    let kind = Kind::of(&error);
    note_refused(kind, tokens);
    match failures.again(kind, limit) {
        true => RetryResult::Continue(error),
        false => RetryResult::Permanent(error),
    }
}

/// The next request has a fresh token, if this one was refused.
pub(super) fn note_refused(kind: Kind, tokens: Option<&Tokens>) {
    if kind == Kind::Token
        && let Some(tokens) = tokens
    {
        tokens.refuse();
    }
}

/// Never throttles: the few uploads of a backup have their own pauses, and one upload's bad luck is not to slow the others.
#[derive(Debug)]
pub(super) struct Unthrottled;

impl RetryThrottler for Unthrottled {
    fn throttle_retry_attempt(&self) -> bool {
        false
    }
    fn on_retry_failure(&mut self, _: &RetryResult) {}
    fn on_success(&mut self) {}
}

pub(super) fn delays(retry: &Retry) -> Result<ExponentialBackoff> {
    google_cloud_gax::exponential_backoff::ExponentialBackoffBuilder::new()
        .with_initial_delay(retry.first_delay)
        .with_maximum_delay(retry.longest_delay)
        .build()
        .map_err(|e| Error::new(Code::Internal, "bad delays between attempts").because(e))
}
