//! SHA-256 and CRC32C beside the transfer: hashing takes as much processor time as moving the bytes, so it runs on
//! blocking threads while the next chunks are already on their way.

use super::Digest;
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Bytes that may wait for being hashed. Counted in bytes, since chunks are of any size.
pub(super) const QUEUE_BYTES: usize = 4 << 20;

/// Bytes for which a blocking thread is woken, and below which the transfer is woken when it waits for a full queue. Every
/// wake costs two changes of threads, which are dear where processors are few; so both sides work in strides.
const STRIDE_BYTES: usize = 1 << 20;

/// Hashes the chunks pushed into it, in their order.
pub(super) struct Hasher {
    shared: Arc<Shared>,
}

struct Shared {
    work: Mutex<Work>,
    hashed: Notify,
}

struct Work {
    queue: VecDeque<Bytes>,
    /// Pushed and not yet hashed.
    pending: usize,
    /// What `pending` has to come down to before somebody who waits is woken.
    wake_at: usize,
    bytes: u64,
    /// `None`: nobody will compare it.
    crc32c: Option<u32>,
    /// Away while a thread hashes.
    sha256: Option<Context>,
}

impl Hasher {
    /// Without `crc32c` that checksum is not computed, and 0 in the digest.
    pub(super) fn new(crc32c: bool) -> Self {
        let work = Work {
            queue: VecDeque::new(),
            pending: 0,
            wake_at: 0,
            bytes: 0,
            crc32c: crc32c.then_some(0),
            sha256: Some(Context::new(&SHA256)),
        };
        Self {
            shared: Arc::new(Shared {
                work: Mutex::new(work),
                hashed: Notify::new(),
            }),
        }
    }

    /// Waits until `len` more bytes may be pushed (or, for a chunk larger than the queue, until it is empty).
    pub(super) async fn room(&self, len: usize) {
        let most = QUEUE_BYTES.saturating_sub(len);
        if self.shared.lock().pending > most {
            self.pending_at_most(most.min(STRIDE_BYTES)).await;
        }
    }

    /// Queues a chunk, after [`Hasher::room`] for it.
    pub(super) fn push(&self, chunk: Bytes) {
        let mut work = self.shared.lock();
        work.pending += chunk.len();
        work.queue.push_back(chunk);
        drop(work);
        self.start(STRIDE_BYTES);
    }

    /// The digest of everything pushed so far; may be asked again.
    pub(super) async fn digest(&self) -> Digest {
        self.pending_at_most(0).await;
        let work = self.shared.lock();
        let mut sha256 = [0; 32];
        if let Some(context) = &work.sha256 {
            sha256.copy_from_slice(context.clone().finish().as_ref());
        }
        Digest {
            bytes: work.bytes,
            sha256,
            crc32c: work.crc32c.unwrap_or_default(),
        }
    }

    async fn pending_at_most(&self, most: usize) {
        loop {
            {
                let mut work = self.shared.lock();
                if work.pending <= most {
                    return;
                }
                work.wake_at = most;
            }
            self.start(1);
            self.shared.hashed.notified().await;
        }
    }

    /// Gives the queue to a thread if at least `enough` bytes wait and none works on it yet.
    fn start(&self, enough: usize) {
        let mut work = self.shared.lock();
        if work.pending >= enough
            && let Some(sha256) = work.sha256.take()
        {
            drop(work);
            let shared = Arc::clone(&self.shared);
            tokio::task::spawn_blocking(move || shared.drain(sha256));
        }
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        // A thread that is at work ends after its present chunk.
        self.shared.lock().queue.clear();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hashes until the queue is empty.
    fn drain(&self, mut sha256: Context) {
        let mut work = self.lock();
        while let Some(chunk) = work.queue.pop_front() {
            let mut crc32c = work.crc32c;
            drop(work);
            // Both over a piece that is still in the processor's nearest cache.
            for piece in chunk.chunks(16 << 10) {
                sha256.update(piece);
                crc32c = crc32c.map(|sum| crc32c::crc32c_append(sum, piece));
            }
            let len = chunk.len();
            drop(chunk);
            work = self.lock();
            work.crc32c = crc32c;
            work.bytes += len as u64;
            work.pending -= len;
            // Still under the lock: who is woken by this finds the context in its place if this was the last chunk.
            if work.pending <= work.wake_at {
                self.hashed.notify_one();
            }
        }
        work.sha256 = Some(sha256);
    }
}
