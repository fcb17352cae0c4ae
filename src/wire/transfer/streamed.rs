//! A shard as Qdrant streams it, on its way into the store. Neither its length nor a checksum is known before: whether it is whole
//! shows in its structure, which is read as it passes. The store publishes nothing before that is proven.

use super::{
    Digest, Limits, RateLimiter, Route,
    checked::AnswerTimer,
    compare,
    hasher::{Checksums, Hasher},
    pace::{Pace, Side, watch},
    retract,
};
use crate::base::error::{Code, Error, Result};
use crate::base::snapshot::{Expected, Structure};
use crate::wire::store::{ByteStream, ObjectMeta, Store};
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Qdrant ends a stream that is not read for 300 s. Whoever waits that long for the store gives up before, and says so.
const LONGEST_UNREAD: Duration = Duration::from_secs(240);

/// Where a stream goes, and how.
pub struct Sink<'a> {
    pub store: &'a dyn Store,
    /// Must not exist.
    pub key: &'a str,
    pub limits: &'a Limits,
    pub rate: Option<&'a RateLimiter>,
    /// Grows by every byte that passes.
    pub on_bytes: Arc<AtomicU64>,
}

/// Moves a stream into a store, and returns what the bytes were and what the store says it holds: the same. Nothing is stored
/// when this fails, and nothing goes on when the future is dropped; another try begins with another stream.
///
/// # Errors
/// [`Code::LengthMismatch`] when the stream is not a complete snapshot of what is `expected`, [`Code::ChecksumMismatch`] when the
/// store has other bytes, [`Code::Stalled`] when the limits are not met; otherwise the error of the stream or the store.
pub async fn copy_stream(
    stream: Box<dyn ByteStream>,
    expected: Expected,
    sink: Sink<'_>,
) -> Result<(Digest, ObjectMeta)> {
    let Sink { store, key, .. } = sink;
    let limits = read_in_time(sink.limits);
    // As in `copy`.
    let stop = CancellationToken::new();
    let _stop_on_return = stop.clone().drop_guard();
    let route = Route::backup(key, &store.url());
    let mut body = Proven::new(stream, expected, key, stop);
    (body.rate, body.on_bytes) = (sink.rate.cloned(), sink.on_bytes);
    let (pace, digest) = (Arc::clone(&body.pace), Arc::clone(&body.digest));
    let stored = tokio::select! {
        biased;
        stored = store.put_stream(key, Box::new(body)) => stored?,
        stalled = watch(&pace, &limits, &route) => return Err(stalled),
    };
    match compare(key, digest.get(), &stored) {
        Ok(digest) => Ok((digest, stored)),
        Err(differs) => Err(retract(store, &stored, differs).await),
    }
}

/// Reads a stream to its end and keeps nothing of it; the answer is its length, if it is a complete snapshot of what is `expected`.
///
/// # Errors
/// Those of [`copy_stream`].
pub(crate) async fn drain_stream(
    stream: Box<dyn ByteStream>,
    expected: Expected,
    name: &str,
    limits: &Limits,
) -> Result<u64> {
    let limits = read_in_time(limits);
    let route = Route::backup(name, "this program");
    let mut body = Proven::new(stream, expected, name, CancellationToken::new());
    let pace = Arc::clone(&body.pace);
    let read = async {
        while let Some(chunk) = body.next().await {
            drop(chunk?);
        }
        Ok(body.passed)
    };
    tokio::select! {
        biased;
        read = read => read,
        stalled = watch(&pace, &limits, &route) => Err(stalled),
    }
}

/// The limits of who reads on before Qdrant ends the stream.
fn read_in_time(limits: &Limits) -> Limits {
    Limits {
        idle: limits.idle.min(LONGEST_UNREAD),
        ..limits.clone()
    }
}

/// A stream that ends only when it is proven.
struct Proven {
    stream: Box<dyn ByteStream>,
    hasher: Hasher,
    rate: Option<RateLimiter>,
    on_bytes: Arc<AtomicU64>,
    pace: Arc<Pace>,
    /// Set when all bytes have passed and are a whole snapshot.
    digest: Arc<OnceLock<Checksums>>,
    passed: u64,
    key: String,
    /// Ends the body from outside.
    stop: CancellationToken,
}

impl Proven {
    fn new(stream: Box<dyn ByteStream>, expected: Expected, key: &str, stop: CancellationToken) -> Self {
        Self {
            stream,
            hasher: Hasher::proving(Structure::new(expected)),
            rate: None,
            on_bytes: Arc::default(),
            pace: Arc::new(Pace::new()),
            digest: Arc::default(),
            passed: 0,
            key: key.to_owned(),
            stop,
        }
    }

    async fn step(&mut self) -> Result<Option<Bytes>> {
        let pace = Arc::clone(&self.pace);
        let _turn = AnswerTimer::begin(&pace);
        if self.digest.get().is_some() {
            return Ok(None);
        }
        let Some(chunk) = self.stream.next().await else {
            pace.wait_for(Side::Own);
            self.prove().await?;
            pace.passed(self.passed, true);
            return Ok(None);
        };
        let chunk = chunk?;
        let len = chunk.len();
        pace.wait_for(Side::Own);
        if let Some(rate) = &self.rate {
            rate.pass(len).await;
        }
        self.hasher.room(len).await;
        // From here on nothing waits, so that a cancelled call has all of a chunk or nothing.
        self.hasher.push(chunk.clone());
        self.passed += len as u64;
        self.on_bytes.fetch_add(len as u64, Ordering::Relaxed);
        pace.passed(self.passed, false);
        Ok(Some(chunk))
    }

    async fn prove(&self) -> Result<()> {
        let (key, bytes) = (&self.key, self.passed);
        match self.hasher.problems().await {
            Some(problems) if problems.is_empty() => {
                let _ = self.digest.set(self.hasher.sums().await);
                Ok(())
            }
            Some(problems) => Err(Error::new(
                Code::LengthMismatch,
                format!(
                    "{key}: Qdrant's stream ended after {bytes} bytes and is not a complete snapshot: {}",
                    problems.join("; ")
                ),
            )
            .remedy("back up again, nothing was stored; if it recurs, read Qdrant's log")),
            None => Err(Error::new(
                Code::Internal,
                format!("{key}: the stream was read again after its end"),
            )),
        }
    }
}

#[async_trait]
impl ByteStream for Proven {
    async fn next(&mut self) -> Option<Result<Bytes>> {
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => Some(Err(Error::new(Code::Cancelled, "the transfer was cancelled"))),
            step = self.step() => step.transpose(),
        }
    }

    fn crc32c(&self) -> Option<u32> {
        Some(self.digest.get().map_or(0, |sums| sums.crc32c))
    }
}
