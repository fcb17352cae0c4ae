//! The body of one upload as the storage client wants it, and how long the client may keep trying.
//!
//! The client knows how to ask the service what it has kept and to send the rest again. Three things it does not do: it
//! hides the error of a source behind one of its own, it counts attempts over a whole upload however much progress there
//! was in between, and it waits for ever on a connection that stands still. [`UploadState`] is what the parts here share to do so.

use super::again::{Failures, decide};
use crate::base::error::{Code, Error, Result};
use crate::base::hash::crc32c_append;
use crate::wire::store::{Source, token::Tokens};
use bytes::Bytes;
use google_cloud_gax::{
    backoff_policy::BackoffPolicy, exponential_backoff::ExponentialBackoff, retry_policy::RetryPolicy,
    retry_result::RetryResult, retry_state::RetryState,
};
use google_cloud_storage::{
    Error as GcsError,
    streaming_source::{Seek, SizeHint, StreamingSource},
};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What is known of an upload under way.
#[derive(Debug, Default)]
pub(super) struct UploadState(Mutex<UploadProgress>);

#[derive(Debug, Default)]
struct UploadProgress {
    /// Bytes handed to the client for the first time, and their CRC32C.
    handed: u64,
    crc32c: u32,
    /// How much the service said it had kept, at the last start or restart.
    kept: Option<u64>,
    /// Attempts that ended, and attempts that began, since `kept` grew.
    failures: Failures,
    restarts: u32,
    /// Changes whenever anything happens.
    moves: u64,
    /// The client waits for the source now: that is not for us to judge.
    in_source: bool,
    /// Why the source, or this side, ended the upload.
    error: Option<Error>,
}

impl UploadState {
    fn known(&self) -> MutexGuard<'_, UploadProgress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Length and CRC32C of what the client was given.
    pub(super) fn digest(&self) -> (u64, u32) {
        let known = self.known();
        (known.handed, known.crc32c)
    }

    /// Whether the service kept a part of the upload at some time.
    pub(super) fn began(&self) -> bool {
        self.known().kept.is_some()
    }

    /// The error that ended the upload on this side.
    pub(super) fn take_error(&self) -> Option<Error> {
        self.known().error.take()
    }

    /// Waits until nothing has moved for `limit` (and at most twice as long) although the source had bytes to give.
    pub(super) async fn stalled(&self, limit: Duration) {
        let mut seen = None;
        loop {
            let now = {
                let known = self.known();
                (!known.in_source).then_some(known.moves)
            };
            if now.is_some() && now == seen {
                return;
            }
            seen = now;
            tokio::time::sleep(limit).await;
        }
    }
}

/// A [`Source`] that outlives the sessions that read it, and which of them has it now. What is left of an earlier one, in a
/// connection that is not closed yet, takes nothing from it.
pub(super) struct SharedSource {
    source: Box<dyn Source>,
    session: u32,
}

impl SharedSource {
    pub(super) fn new(source: Box<dyn Source>) -> Arc<tokio::sync::Mutex<Self>> {
        Arc::new(tokio::sync::Mutex::new(Self { source, session: 0 }))
    }
}

/// A [`Source`] as the client reads it in one session.
pub(super) struct Body {
    shared: Arc<tokio::sync::Mutex<SharedSource>>,
    session: u32,
    len: u64,
    at: u64,
    /// The source sums its bytes itself.
    summed: bool,
    attempts: u32,
    flight: Arc<UploadState>,
}

impl Body {
    /// The whole source for a session of this number, the first or one after all before.
    pub(super) async fn new(
        shared: &Arc<tokio::sync::Mutex<SharedSource>>,
        session: u32,
        attempts: u32,
        flight: Arc<UploadState>,
    ) -> Self {
        let mut source = shared.lock().await;
        source.session = session;
        Self {
            shared: shared.clone(),
            session,
            len: source.source.len(),
            at: 0,
            summed: source.source.crc32c().is_some(),
            attempts,
            flight,
        }
    }

    async fn chunk(&mut self) -> Option<Result<Bytes>> {
        let mut shared = self.shared.lock().await;
        if shared.session != self.session {
            return Some(Err(Error::new(Code::Internal, "the upload has begun anew")));
        }
        let chunk = match shared.source.next().await {
            Some(Ok(chunk)) => chunk,
            Some(Err(e)) => return Some(Err(e)),
            None if self.at == self.len => return None,
            None => return Some(Err(self.wrong_length("ended after", self.at))),
        };
        let end = self.at + chunk.len() as u64;
        if end > self.len {
            return Some(Err(self.wrong_length("did not end after", self.len)));
        }
        let mut known = self.flight.known();
        // Bytes that are sent again must be the same: summed once, the service's sum shows it.
        if self.summed {
            known.crc32c = shared.source.crc32c().unwrap_or_default();
        } else if let Some(new) = known.handed.checked_sub(self.at)
            && end > known.handed
        {
            let new = &chunk[usize::try_from(new).unwrap_or(usize::MAX)..];
            known.crc32c = crc32c_append(known.crc32c, new);
        }
        known.handed = known.handed.max(end);
        self.at = end;
        Some(Ok(chunk))
    }

    fn wrong_length(&self, how: &str, at: u64) -> Error {
        let text = format!("the source {how} {at} of {} bytes", self.len);
        Error::new(Code::LengthMismatch, text)
    }

    /// Keeps the error for the caller of `put`; the client gets a stand-in.
    fn ended(&self, error: Error) -> KeptError {
        self.flight.known().error = Some(error);
        KeptError
    }

    /// Notes what the service has kept; an error when it keeps nothing more however often it is sent.
    fn record_offset(&self, offset: u64) -> Result<()> {
        let mut known = self.flight.known();
        known.moves += 1;
        if known.kept.is_none_or(|kept| offset > kept) {
            known.kept = Some(offset);
            known.failures = Failures::default();
            known.restarts = 0;
            return Ok(());
        }
        // The client goes on for ever after a 308, without asking the retry policy.
        known.restarts += 1;
        if known.restarts >= self.attempts {
            let text = format!("the store accepts no more than {offset} bytes of the upload");
            return Err(Error::new(Code::StoreUnreachable, text));
        }
        Ok(())
    }
}

impl StreamingSource for Body {
    type Error = KeptError;

    async fn next(&mut self) -> Option<Result<Bytes, KeptError>> {
        self.flight.known().in_source = true;
        let chunk = self.chunk().await;
        {
            let mut known = self.flight.known();
            known.in_source = false;
            known.moves += 1;
        }
        chunk.map(|c| c.map_err(|e| self.ended(e)))
    }

    async fn size_hint(&self) -> Result<SizeHint, KeptError> {
        Ok(SizeHint::with_exact(self.len))
    }
}

impl Seek for Body {
    type Error = KeptError;

    async fn seek(&mut self, offset: u64) -> Result<(), KeptError> {
        self.record_offset(offset).map_err(|e| self.ended(e))?;
        self.flight.known().in_source = true;
        let sought = self.shared.lock().await.source.seek(offset).await;
        self.flight.known().in_source = false;
        self.at = offset;
        sought.map_err(|e| self.ended(e))
    }
}

/// Stands for the error that [`UploadState`] keeps.
#[derive(Debug)]
pub(super) struct KeptError;

impl fmt::Display for KeptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the source ended the upload")
    }
}

impl std::error::Error for KeptError {}

/// Gives up after so many failures without any progress in between, and at once when the source failed. A time limit would
/// be wrong: an upload of hours meets more than one reset.
#[derive(Debug)]
pub(super) struct RetryLimit {
    pub(super) attempts: u32,
    pub(super) tokens: Option<Arc<Tokens>>,
    pub(super) flight: Arc<UploadState>,
}

impl RetryPolicy for RetryLimit {
    fn on_error(&self, _: &RetryState, error: GcsError) -> RetryResult {
        let mut known = self.flight.known();
        known.moves += 1;
        if known.error.is_some() {
            return RetryResult::Permanent(error);
        }
        decide(&mut known.failures, self.attempts, self.tokens.as_deref(), error)
    }
}

/// Exponential delays that begin anew after progress.
#[derive(Debug)]
pub(super) struct Pauses {
    pub(super) delays: ExponentialBackoff,
    pub(super) flight: Arc<UploadState>,
}

impl BackoffPolicy for Pauses {
    fn on_failure(&self, state: &RetryState) -> Duration {
        let known = self.flight.known();
        let failures = known.failures.all.max(known.restarts).max(1);
        let state = state.clone().set_attempt_count(failures);
        self.delays.on_failure(&state)
    }
}
