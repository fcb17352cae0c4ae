//! Bytes to store, and sources of them that misbehave.

use async_trait::async_trait;
use bytes::Bytes;
use qdrant_backup::base::error::{Code, Error, Result};
use qdrant_backup::wire::store::{ByteStream, Source};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::Semaphore;

/// Bytes without a pattern, the same for the same seed.
pub fn noise(len: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    // Written for a build without optimisation: there are megabytes of it.
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

/// A source over bytes that can misbehave.
pub struct Scripted {
    bytes: Bytes,
    at: usize,
    /// What [`Source::len`] says.
    promised: u64,
    /// Fails when it gets here, for ever.
    fails_at: Option<usize>,
    /// Waits here for ever.
    hangs_at: Option<usize>,
    /// A checksum that the source claims to have computed.
    claims: Option<u32>,
    pub seeks: Arc<AtomicU64>,
    pub hung: Arc<Semaphore>,
}

impl Scripted {
    pub fn new(bytes: &Bytes) -> Self {
        Self {
            bytes: bytes.clone(),
            at: 0,
            promised: bytes.len() as u64,
            fails_at: None,
            hangs_at: None,
            claims: None,
            seeks: Arc::default(),
            hung: Arc::new(Semaphore::new(0)),
        }
    }

    pub fn promising(mut self, len: u64) -> Self {
        self.promised = len;
        self
    }

    pub fn failing_at(mut self, at: usize) -> Self {
        self.fails_at = Some(at);
        self
    }

    pub fn hanging_at(mut self, at: usize) -> Self {
        self.hangs_at = Some(at);
        self
    }

    pub fn claiming(mut self, crc32c: u32) -> Self {
        self.claims = Some(crc32c);
        self
    }
}

#[async_trait]
impl Source for Scripted {
    fn len(&self) -> u64 {
        self.promised
    }

    async fn next(&mut self) -> Option<Result<Bytes>> {
        if self.fails_at.is_some_and(|at| self.at >= at) {
            return Some(Err(Error::new(Code::SnapshotChanged, "the snapshot changed")));
        }
        if self.hangs_at.is_some_and(|at| self.at >= at) {
            self.hung.add_permits(1);
            std::future::pending::<()>().await;
        }
        let end = (self.at + 100_000).min(self.bytes.len());
        let chunk = self.bytes.slice(self.at..end);
        self.at = end;
        (!chunk.is_empty()).then_some(Ok(chunk))
    }

    async fn seek(&mut self, offset: u64) -> Result<()> {
        self.seeks.fetch_add(1, Ordering::Relaxed);
        self.at = usize::try_from(offset).unwrap();
        Ok(())
    }

    fn crc32c(&self) -> Option<u32> {
        self.claims
    }
}

/// Read once, as a stream.
#[async_trait]
impl ByteStream for Scripted {
    async fn next(&mut self) -> Option<Result<Bytes>> {
        Source::next(self).await
    }

    fn crc32c(&self) -> Option<u32> {
        self.claims
    }
}
