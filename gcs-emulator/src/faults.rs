//! What can go wrong, for which objects, and how often.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::Semaphore;

/// A misbehaviour. Byte counts are of the body of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Cuts the connection after so many bytes of a PUT; whole blocks of 256 KiB stay persisted.
    ResetPut {
        /// Bytes read before the cut.
        after: u64,
    },
    /// Persists so many bytes of a PUT (whole blocks of 256 KiB), reads the rest, answers 503.
    Unavailable {
        /// Bytes persisted.
        after: u64,
    },
    /// Reads a whole PUT, persists so many bytes of it (whole blocks of 256 KiB), answers 308.
    PersistLess {
        /// Bytes persisted.
        keep: u64,
    },
    /// Loses all that it has, once that is so much, and answers the next PUT by 308.
    Forget {
        /// Bytes that are persisted then.
        from: u64,
    },
    /// Stops reading a PUT after so many bytes until [`Armed::release`].
    Stall {
        /// Bytes read before the stop.
        after: u64,
    },
    /// Waits for [`Armed::release`] between the last byte of an upload and its commit.
    SlowCommit,
    /// Commits an upload with one bit flipped: the CRC32C in the answer is not that of the bytes sent.
    Corrupt,
    /// Flips a bit of what a PUT brought: the CRC32C of the whole is not that of the bytes sent.
    CorruptPut,
    /// Commits an upload, then cuts the connection instead of answering.
    LoseAnswer,
    /// Commits an upload, then waits for [`Armed::release`] before it answers.
    WithholdAnswer,
    /// Deletes an object, then answers 503.
    LoseDeletion,
    /// Sends one bit flipped in a download.
    CorruptRead,
    /// Cuts a download after so many bytes.
    ResetRead {
        /// Bytes sent before the cut.
        after: u64,
    },
    /// Answers with this HTTP status (its gRPC equivalent over gRPC) instead of doing anything.
    Status {
        /// Requests of which kind.
        on: On,
        /// The status, e.g. 401, 403, 404, 412, 429, 503, 507.
        code: u16,
    },
}

/// Kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// Every request.
    Any,
    /// The start of an upload.
    Start,
    /// Bytes of an upload.
    Put,
    /// The question how much of an upload has been persisted.
    Query,
    /// A download.
    Read,
    /// Metadata of an object.
    Get,
    /// A list of objects; matches the pattern `*` only.
    List,
    /// A deletion.
    Delete,
    /// Buckets and permissions; matches the pattern `*` only.
    Bucket,
}

/// A fault that was set; tells when it happens and releases what it holds.
#[derive(Clone, Debug)]
pub struct Armed {
    fault: Fault,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pattern: String,
    left: AtomicUsize,
    hits: Semaphore,
    released: Semaphore,
}

impl Armed {
    /// Waits until the fault has happened once more than this was called before.
    pub async fn hit(&self) {
        if let Ok(permit) = self.shared.hits.acquire().await {
            permit.forget();
        }
    }

    /// Lets every request go on that the fault holds or will hold.
    pub fn release(&self) {
        self.shared.released.close();
    }

    /// How often the fault will still happen.
    pub fn left(&self) -> usize {
        self.shared.left.load(Ordering::Acquire)
    }

    pub(crate) fn fault(&self) -> Fault {
        self.fault
    }

    /// Tells the test that the fault happens now.
    pub(crate) fn happens(&self) {
        self.shared.hits.add_permits(1);
    }

    pub(crate) async fn released(&self) {
        // Closing the semaphore is the release.
        let _ = self.shared.released.acquire().await;
    }
}

#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<Armed>>);

impl Faults {
    pub(crate) fn arm(&self, pattern: &str, times: usize, fault: Fault) -> Armed {
        let shared = Arc::new(Shared {
            pattern: pattern.to_string(),
            left: AtomicUsize::new(times),
            hits: Semaphore::new(0),
            released: Semaphore::new(0),
        });
        let armed = Armed { fault, shared };
        self.list().push(armed.clone());
        armed
    }

    /// The first armed fault for this object that is `wanted`, counted as used.
    pub(crate) fn take(&self, name: &str, wanted: impl Fn(Fault) -> bool) -> Option<Armed> {
        let list = self.list();
        let found = list
            .iter()
            .find(|a| a.left() > 0 && wanted(a.fault) && matches(&a.shared.pattern, name))?;
        found.shared.left.fetch_sub(1, Ordering::AcqRel);
        Some(found.clone())
    }

    /// The status that a request of this kind shall be refused with.
    pub(crate) fn status(&self, kind: On, name: &str) -> Option<u16> {
        let wanted = |f| matches!(f, Fault::Status { on, .. } if on == kind || on == On::Any);
        let armed = self.take(name, wanted)?;
        armed.happens();
        match armed.fault {
            Fault::Status { code, .. } => Some(code),
            _ => None,
        }
    }

    fn list(&self) -> std::sync::MutexGuard<'_, Vec<Armed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(rest) = name.strip_prefix(head) else {
        return false;
    };
    (0..=rest.len()).any(|i| rest.is_char_boundary(i) && matches(tail, &rest[i..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("a/*.json", "a/b/c.json", true),
            ("a/*.json", "a/b/c.jsonx", false),
            ("*é*", "ééé", true),
            ("a", "ab", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_fault_happens_as_often_as_it_was_armed() {
        let faults = Faults::default();
        faults.arm("a*", 2, Fault::SlowCommit);
        assert!(faults.take("b", |_| true).is_none());
        assert!(faults.take("ab", |_| true).is_some());
        assert!(faults.take("ac", |f| f == Fault::Corrupt).is_none());
        assert!(faults.take("ac", |_| true).is_some());
        assert!(faults.take("ac", |_| true).is_none());
    }
}
