//! The body that the store reads: the source's bytes, checked on their way.

use super::{
    Expected, Route,
    hasher::{Checksums, Hasher},
    hex,
    pace::{Pace, RateLimiter, Side},
};
use crate::base::error::{Code, Error, Result};
use crate::wire::store::Source;
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};
use tokio_util::sync::CancellationToken;

/// What every transfer needs besides its bytes.
pub(super) struct Checks {
    pub(super) route: Route,
    pub(super) expected: Expected,
    /// Whether the SHA-256 is computed, too: not where the other side does, and compares it.
    pub(super) sha256: bool,
    pub(super) rate: Option<RateLimiter>,
    pub(super) on_bytes: Arc<AtomicU64>,
    pub(super) pace: Arc<Pace>,
    /// Set when all bytes have been found right.
    pub(super) digest: Arc<OnceLock<Checksums>>,
    /// Ends the body from outside.
    pub(super) stop: CancellationToken,
}

/// A source whose last chunk comes only when all bytes have been found right.
pub(super) struct Checked {
    source: Box<dyn Source>,
    checks: Checks,
    hasher: Hasher,
    /// Offset of the next byte.
    at: u64,
    /// Bytes below this have been hashed; a resumed upload reads some of them again.
    mark: u64,
}

impl Checked {
    pub(super) fn new(source: Box<dyn Source>, checks: Checks) -> Self {
        Self {
            source,
            hasher: Hasher::new(checks.sha256),
            checks,
            at: 0,
            mark: 0,
        }
    }

    /// The next chunk. When it is cancelled, nothing of the chunk has been accounted for: the writer has to seek.
    async fn step(&mut self) -> Result<Option<Bytes>> {
        let pace = Arc::clone(&self.checks.pace);
        let _turn = AnswerTimer::begin(&pace);
        let total = self.checks.expected.bytes;
        if self.at == total {
            self.check_whole().await?;
            pace.passed(self.mark, true);
            return Ok(None);
        }
        let Some(chunk) = self.source.next().await else {
            return Err(self.wrong_length(&format!("ended after {} bytes", self.at)));
        };
        let chunk = chunk?;
        let len = chunk.len();
        let end = self.at + len as u64;
        if end > total {
            return Err(self.wrong_length("sent more"));
        }
        pace.wait_for(Side::Own);
        if let Some(rate) = &self.checks.rate {
            rate.pass(len).await;
        }
        if end > self.mark {
            let seen = self.mark.saturating_sub(self.at) as usize;
            self.hasher.room(len - seen).await;
            // From here to the end of the block nothing waits, so that a cancelled call hashes all of a chunk or nothing.
            self.hasher.push(chunk.slice(seen..));
            self.checks.on_bytes.fetch_add(end - self.mark, Ordering::Relaxed);
            self.mark = end;
        }
        self.at = end;
        if end == total {
            pace.wait_for(Side::Source);
            self.check_whole().await?;
        }
        pace.passed(self.mark, end == total);
        Ok(Some(chunk))
    }

    /// Whether the source ends here and its bytes have the expected sums.
    async fn check_whole(&mut self) -> Result<()> {
        if self.checks.digest.get().is_some() {
            return Ok(());
        }
        match self.source.next().await {
            None => {}
            Some(Ok(_)) => return Err(self.wrong_length("sent more")),
            Some(Err(e)) => return Err(e),
        }
        self.checks.pace.wait_for(Side::Own);
        let sums = self.hasher.sums().await;
        if let (Some(expected), Some(found)) = (&self.checks.expected.sha256, &sums.sha256)
            && expected != found
        {
            return Err(self.wrong_bytes("SHA-256", &hex(found), &hex(expected)));
        }
        if let Some(expected) = self.checks.expected.crc32c
            && expected != sums.crc32c
        {
            let [found, expected] = [sums.crc32c, expected].map(|sum| format!("{sum:08x}"));
            return Err(self.wrong_bytes("CRC32C", &found, &expected));
        }
        let _ = self.checks.digest.set(sums);
        Ok(())
    }

    fn wrong_bytes(&self, sum: &str, found: &str, expected: &str) -> Error {
        let Route { key, promise, .. } = &self.checks.route;
        Error::new(
            Code::ChecksumMismatch,
            format!("{key}: {sum} of the bytes read is {found}, {promise} {expected}"),
        )
        .remedy(format!(
            "{}; if it recurs, check the disk of {}",
            self.checks.route.nothing, self.checks.route.source
        ))
    }

    fn wrong_length(&self, what: &str) -> Error {
        Error::new(
            Code::LengthMismatch,
            format!(
                "{}: {} bytes were announced, but {} {what}",
                self.checks.route.key, self.checks.expected.bytes, self.checks.route.source
            ),
        )
        .remedy(format!(
            "{}; if it recurs, check for a proxy that truncates long responses",
            self.checks.route.nothing
        ))
    }
}

#[async_trait]
impl Source for Checked {
    fn len(&self) -> u64 {
        self.checks.expected.bytes
    }

    fn crc32c(&self) -> Option<u32> {
        Some(self.checks.digest.get().map_or(0, |sums| sums.crc32c))
    }

    async fn next(&mut self) -> Option<Result<Bytes>> {
        let stop = self.checks.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => Some(Err(Error::new(
                Code::Cancelled,
                "the transfer was cancelled",
            ))),
            step = self.step() => step.transpose(),
        }
    }

    async fn seek(&mut self, offset: u64) -> Result<()> {
        if offset > self.mark {
            return Err(Error::new(
                Code::Internal,
                format!(
                    "{}: byte {offset} was requested again, only {} were sent",
                    self.checks.route.key, self.mark
                ),
            ));
        }
        let pace = Arc::clone(&self.checks.pace);
        let _turn = AnswerTimer::begin(&pace);
        self.source.seek(offset).await?;
        self.at = offset;
        pace.passed(self.mark, false);
        Ok(())
    }
}

/// The time between the store's question and the answer to it, even when the store stops waiting for it.
pub(super) struct AnswerTimer<'a>(&'a Pace);

impl<'a> AnswerTimer<'a> {
    pub(super) fn begin(pace: &'a Pace) -> Self {
        pace.wait_for(Side::Source);
        Self(pace)
    }
}

impl Drop for AnswerTimer<'_> {
    fn drop(&mut self) {
        self.0.wait_for(Side::Store);
    }
}
