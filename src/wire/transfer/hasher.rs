//! SHA-256, CRC32C and the structure beside the transfer: hashing takes as much processor time as moving the bytes, so it runs on
//! blocking threads while the next chunks are already on their way.

use crate::base::hash::crc32c_append;
use crate::base::snapshot::Structure;
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
    work: Mutex<HashQueue>,
    hashed: Notify,
}

struct HashQueue {
    queue: VecDeque<Bytes>,
    /// Pushed and not yet hashed.
    pending: usize,
    /// What `pending` has to come down to before somebody who waits is woken.
    wake_at: usize,
    bytes: u64,
    /// Away while a thread hashes.
    hashes: Option<Hashes>,
}

struct Hashes {
    crc32c: u32,
    /// `None`: somebody else computes it.
    sha256: Option<Context>,
    /// `None`: somebody else says what is wrong with the snapshot, or it was said.
    structure: Option<Structure>,
}

/// What the chunks came to.
#[derive(Clone, Debug)]
pub(super) struct Checksums {
    pub(super) bytes: u64,
    pub(super) crc32c: u32,
    /// `None`: it was not wanted.
    pub(super) sha256: Option<[u8; 32]>,
}

impl Hasher {
    /// The CRC32C, and the SHA-256 if wanted, which takes nine tenths of the time.
    pub(super) fn new(sha256: bool) -> Self {
        Self::of(sha256, None)
    }

    /// All sums, and what is wrong with the structure.
    pub(super) fn proving(structure: Structure) -> Self {
        Self::of(true, Some(structure))
    }

    fn of(sha256: bool, structure: Option<Structure>) -> Self {
        let work = HashQueue {
            queue: VecDeque::new(),
            pending: 0,
            wake_at: 0,
            bytes: 0,
            hashes: Some(Hashes {
                crc32c: 0,
                sha256: sha256.then(|| Context::new(&SHA256)),
                structure,
            }),
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

    /// The sums of everything pushed so far; may be asked again.
    pub(super) async fn sums(&self) -> Checksums {
        self.pending_at_most(0).await;
        let work = self.shared.lock();
        let (mut crc32c, mut sha256) = (0, None);
        // In its place whenever nothing is pending.
        if let Some(hashes) = &work.hashes {
            crc32c = hashes.crc32c;
            sha256 = hashes.sha256.clone().map(|context| {
                let mut sha256 = [0; 32];
                sha256.copy_from_slice(context.finish().as_ref());
                sha256
            });
        }
        Checksums {
            bytes: work.bytes,
            crc32c,
            sha256,
        }
    }

    /// What is wrong with the structure of everything pushed so far. `None`: nobody looked at it, or this was told already.
    pub(super) async fn problems(&self) -> Option<Vec<String>> {
        self.pending_at_most(0).await;
        let structure = self.shared.lock().hashes.as_mut()?.structure.take()?;
        Some(structure.finish())
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
            && let Some(hashes) = work.hashes.take()
        {
            drop(work);
            let shared = Arc::clone(&self.shared);
            tokio::task::spawn_blocking(move || shared.drain(hashes));
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
    fn lock(&self) -> MutexGuard<'_, HashQueue> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hashes until the queue is empty.
    fn drain(&self, mut hashes: Hashes) {
        let mut work = self.lock();
        while let Some(chunk) = work.queue.pop_front() {
            drop(work);
            // Both over a piece that is still in the processor's nearest cache.
            for piece in chunk.chunks(16 << 10) {
                if let Some(sha256) = &mut hashes.sha256 {
                    sha256.update(piece);
                }
                hashes.crc32c = crc32c_append(hashes.crc32c, piece);
                if let Some(structure) = &mut hashes.structure {
                    structure.feed(piece);
                }
            }
            let len = chunk.len();
            drop(chunk);
            work = self.lock();
            work.bytes += len as u64;
            work.pending -= len;
            // Still under the lock: who is woken by this finds the hashes in their place if this was the last chunk.
            if work.pending <= work.wake_at {
                self.hashed.notify_one();
            }
        }
        work.hashes = Some(hashes);
    }
}
