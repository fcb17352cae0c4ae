//! The relay: the bytes of one snapshot pass once, from Qdrant into the store or back, through bounded memory.
//!
//! On the way they are counted, hashed (SHA-256, CRC32C), slowed down when a rate limit is set, and watched for stalls. The
//! last chunk is handed to the store only after length and SHA-256 have been found right, so a wrong or short body can never
//! be finalised there; what the store says it holds is compared afterwards.

mod checked;
mod hasher;
mod pace;
mod streamed;
#[cfg(test)]
mod tests;

use crate::base::error::{Code, Error, Result};
use crate::base::hash::hex;
use crate::wire::store::{Condition, ObjectMeta, Source, Store};
use checked::{Checked, Checks};
use hasher::Checksums;
use pace::{Pace, watch};
use std::{
    sync::{Arc, OnceLock, atomic::AtomicU64},
    time::Duration,
};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use pace::RateLimiter;
pub(crate) use streamed::drain_stream;
pub use streamed::{Sink, copy_stream};

/// What is known of the bytes before they are read.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 as Qdrant computed it; Qdrant gives none when it keeps its snapshots in S3.
    pub sha256: Option<[u8; 32]>,
    /// CRC32C as the manifest has it; unknown before a backup.
    pub crc32c: Option<u32>,
}

/// What the bytes turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256.
    pub sha256: [u8; 32],
    /// CRC32C (Castagnoli).
    pub crc32c: u32,
}

impl Digest {
    /// SHA-256 in lower-case hexadecimal, as Qdrant and `sha256sum` print it.
    pub fn sha256_hex(&self) -> String {
        hex(&self.sha256)
    }
}

/// When a transfer counts as stalled. There is no limit on its whole duration: snapshots may have any size.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest time without any byte, on either side. Longer than what the source takes to retry by itself.
    pub idle: Duration,
    /// Length of the windows in which [`Limits::min_bytes_per_window`] have to pass.
    pub(crate) window: Duration,
    /// Fewest bytes per window. Time in which the own rate limit held the bytes back does not count.
    pub(crate) min_bytes_per_window: u64,
    /// Longest time for the store to confirm the object after its last byte (a directory store reads the file again then).
    pub commit: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(120),
            window: Duration::from_secs(300),
            min_bytes_per_window: 30_000_000,
            commit: Duration::from_secs(1800),
        }
    }
}

/// The two ends of a transfer, and what to do about trouble, for messages.
#[derive(Clone, Debug)]
struct Route {
    key: String,
    source: String,
    sink: String,
    /// Who says what the bytes are: `Qdrant announced`.
    promise: &'static str,
    /// The remedy: `back up again, nothing was stored`.
    nothing: &'static str,
    again: &'static str,
}

impl Route {
    fn backup(key: &str, store: &str) -> Self {
        Self {
            key: key.to_owned(),
            source: "Qdrant".to_owned(),
            sink: store.to_owned(),
            promise: "Qdrant announced",
            nothing: "back up again, nothing was stored",
            again: "back up again",
        }
    }
}

/// Watches an [`outgoing`] body; when it is dropped, the body ends with an error.
pub(crate) struct StallWatch {
    pace: Arc<Pace>,
    limits: Limits,
    route: Route,
    _stop: DropGuard,
}

impl StallWatch {
    /// Ends with the error of a stall, if there is one before the last byte; never otherwise.
    pub(crate) async fn stalled(&self) -> Error {
        watch(&self.pace, &self.limits, &self.route).await
    }

    /// Whether the last byte was handed over, so that whoever gets it may have all of it.
    pub(crate) fn is_whole(&self) -> bool {
        self.pace.is_whole()
    }
}

/// The bytes of the object `key` in `store` on their way to Qdrant: counted and checked as those of a [`copy`] are, so that
/// Qdrant never gets the last chunk of a wrong body. Where the CRC32C is known it is what is compared, and the SHA-256 is left
/// to Qdrant, which has to be told it: both together would take half of the time. What happens after the last byte is for the caller to watch.
pub(crate) fn outgoing(
    source: Box<dyn Source>,
    expected: Expected,
    (store, key, sink): (&str, &str, &str),
    limits: &Limits,
    rate: Option<&RateLimiter>,
    on_bytes: Arc<AtomicU64>,
) -> (Box<dyn Source>, StallWatch) {
    /// As good as for ever, and still a time that can be added to one.
    const FOREVER: Duration = Duration::from_secs(366 * 86_400);
    let route = Route {
        key: key.to_owned(),
        source: store.to_owned(),
        sink: sink.to_owned(),
        promise: "the manifest says",
        nothing: "restore again, Qdrant received only a part and restored nothing",
        again: "restore again",
    };
    let pace = Arc::new(Pace::new());
    let stop = CancellationToken::new();
    let checks = Checks {
        route: route.clone(),
        sha256: expected.crc32c.is_none(),
        expected,
        rate: rate.cloned(),
        on_bytes,
        pace: Arc::clone(&pace),
        digest: Arc::default(),
        stop: stop.clone(),
    };
    let watch = StallWatch {
        pace,
        limits: Limits {
            commit: FOREVER,
            ..limits.clone()
        },
        route,
        _stop: stop.drop_guard(),
    };
    (Box::new(Checked::new(source, checks)), watch)
}

/// To be called once when a program starts that relays: lets glibc keep up to 32 MiB of freed memory. By default it hands the
/// large buffers of a transfer back to the system as soon as they are free, only to ask for the same pages again and have
/// them cleared: an eighth of the relay's processor time.
///
/// That the thresholds follow the largest block ever freed, up to 32 MiB, is documented in mallopt(3), `M_MMAP_THRESHOLD`.
/// Other allocators see one short-lived allocation that is never touched.
pub fn keep_freed_buffers() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(16 << 20)));
}

/// Moves the bytes of `source` into `store` under `key`, which must not exist, and returns what the bytes were and what the
/// store says it holds: the same. `on_bytes` grows by every byte that passes for the first time.
///
/// Nothing is stored when this fails, and nothing goes on when the future is dropped.
///
/// # Errors
/// [`Code::LengthMismatch`] and [`Code::ChecksumMismatch`] when the source or the store has other bytes than expected,
/// [`Code::Stalled`] when `limits` are not met; otherwise the error of the source or the store.
pub async fn copy(
    source: Box<dyn Source>,
    expected: &Expected,
    store: &dyn Store,
    key: &str,
    limits: &Limits,
    rate: Option<&RateLimiter>,
    on_bytes: Arc<AtomicU64>,
) -> Result<(Digest, ObjectMeta)> {
    if source.len() != expected.bytes {
        return Err(Error::new(
            Code::LengthMismatch,
            format!(
                "{key}: the source has {} bytes, {} were announced",
                source.len(),
                expected.bytes
            ),
        )
        .remedy("back up again; the snapshot changed, nothing was stored"));
    }
    let pace = Arc::new(Pace::new());
    let digest = Arc::new(OnceLock::new());
    // A store may have handed the body to a connection task that outlives the call: this ends the body in any case.
    let stop = CancellationToken::new();
    let _stop_on_return = stop.clone().drop_guard();
    let route = Route::backup(key, &store.url());
    let checks = Checks {
        route: route.clone(),
        expected: expected.clone(),
        sha256: true,
        rate: rate.cloned(),
        on_bytes,
        pace: Arc::clone(&pace),
        digest: Arc::clone(&digest),
        stop,
    };
    let body = Checked::new(source, checks);
    let stored = tokio::select! {
        biased;
        stored = store.put(key, Box::new(body), Condition::Absent) => stored?,
        stalled = watch(&pace, limits, &route) => return Err(stalled),
    };
    match compare(key, digest.get(), &stored) {
        Ok(digest) => Ok((digest, stored)),
        Err(differs) => Err(retract(store, &stored, differs).await),
    }
}

/// Whether the store holds the bytes that passed.
fn compare(key: &str, sums: Option<&Checksums>, stored: &ObjectMeta) -> Result<Digest> {
    let Some((sums, sha256)) = sums.and_then(|sums| Some((sums, sums.sha256?))) else {
        return Err(Error::new(
            Code::Internal,
            format!("{key}: the store reported an object as complete before it read all of it"),
        ));
    };
    let digest = Digest {
        bytes: sums.bytes,
        sha256,
        crc32c: sums.crc32c,
    };
    if stored.size != digest.bytes {
        return Err(Error::new(
            Code::LengthMismatch,
            format!(
                "{key}: the store holds {} bytes, {} were sent",
                stored.size, digest.bytes
            ),
        ));
    }
    match stored.crc32c {
        Some(crc32c) if crc32c == digest.crc32c => Ok(digest),
        Some(crc32c) => Err(Error::new(
            Code::ChecksumMismatch,
            format!(
                "{key}: CRC32C is {crc32c:08x} in the store, {:08x} of the bytes sent",
                digest.crc32c
            ),
        )),
        None => Err(Error::new(
            Code::ChecksumMismatch,
            format!("{key}: the store has no CRC32C to compare with {:08x}", digest.crc32c),
        )),
    }
}

/// Deletes a wrong object from the store, and adds the outcome to the error.
async fn retract(store: &dyn Store, stored: &ObjectMeta, differs: Error) -> Error {
    match store.delete(&stored.key, &stored.version).await {
        Ok(_) => differs.remedy("back up again; the object was deleted from the store"),
        Err(e) => differs
            .remedy(format!(
                "delete the damaged object {} from the store, then back up again",
                stored.key
            ))
            .because(e),
    }
}
