//! One object: read once from its first to its last byte.

use super::{Checked, Finding, Problem, Verifier};
use crate::base::error::{Code, Error, Result};
use crate::base::hash::{crc32c_append, hex, parse_sha256};
use crate::base::snapshot::{ArtifactKind, Expected, Structure};
use crate::ops::progress::Progress;
use crate::repository::blobs;
use crate::repository::manifest::Artifact;
use crate::repository::unit::Unit;
use crate::wire::store::{Store, Version};
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use futures_util::TryStreamExt;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Chunks that wait for being hashed.
const AHEAD: usize = 4;
/// Bytes that are read of an object beyond what was recorded of it: it is damaged, however long it is.
const BEYOND: u64 = 1 << 20;

/// What to check.
pub(super) struct ObjectToVerify {
    pub(super) collection: String,
    pub(super) artifact: Artifact,
    pub(super) structure: Expected,
}

impl ObjectToVerify {
    /// As progress names it.
    pub(super) fn unit(&self) -> Unit {
        Unit {
            shard: match self.artifact.kind {
                ArtifactKind::Collection => None,
                ArtifactKind::Shard(shard) => Some(shard),
            },
            ..Unit::whole(&self.collection)
        }
    }
}

/// What the bytes of an object turned out to be.
struct Content {
    /// That were read.
    bytes: u64,
    /// Of the object, of which not all need have been read.
    length: u64,
    sha256: String,
    crc32c: String,
    structure: Vec<String>,
}

/// What reading came to.
enum ReadOutcome {
    Content(Version, Content),
    Missing,
}

/// Reads and checks one object; what may pass is tried again.
pub(super) async fn check(verifier: &Verifier, subject: &ObjectToVerify, progress: &Progress) -> Checked {
    let artifact = &subject.artifact;
    let checked = Checked::of(&subject.collection, artifact);
    let mut pause = verifier.backoff;
    let mut attempt = 1;
    let error = loop {
        match read(&*verifier.store, subject, progress).await {
            Ok(ReadOutcome::Missing) => {
                let finding = Finding::new(Problem::Missing, format!("{} is missing", artifact.key));
                return checked.found(vec![finding]);
            }
            Ok(ReadOutcome::Content(version, content)) => return compare(checked, artifact, &version, content),
            Err(error) if error.is_permanent() || attempt >= verifier.attempts => break error,
            Err(error) => {
                tracing::warn!(key = artifact.key, attempt, error = %error, "failed to read object {:?}; trying again", artifact.key);
                attempt += 1;
                sleep(pause).await;
                pause = pause.saturating_mul(2);
            }
        }
    };
    match error.code() {
        // The store compared what it sent with what it had taken in, and this again and again.
        Code::ChecksumMismatch => checked.found(vec![Finding::new(Problem::StoreChecksum, error.chain())]),
        _ => checked.not_checked(&unreadable(&artifact.key, error)),
    }
}

/// The error of a read that failed. What the store did not send is no damage, so it must not have the exit code of damage.
pub(super) fn unreadable(key: &str, error: Error) -> Error {
    match error.code() {
        Code::Stalled | Code::LengthMismatch | Code::ChecksumMismatch => {
            Error::new(Code::StoreUnreachable, format!("failed to read all of {key}"))
                .because(error)
                .remedy("verify again; if it recurs, check the network to the store")
        }
        _ => error,
    }
}

async fn read(store: &dyn Store, subject: &ObjectToVerify, progress: &Progress) -> Result<ReadOutcome> {
    let key = subject.artifact.key.as_str();
    // By its version, so that what is read is one object from beginning to end.
    let Some((object, mut stream)) = blobs::open(store, &subject.artifact).await? else {
        return Ok(ReadOutcome::Missing);
    };
    let done = progress.reading(&subject.unit(), subject.artifact.bytes);
    let (queue, mut chunks) = mpsc::channel::<Bytes>(AHEAD);
    let structure = Structure::new(subject.structure.clone());
    // Hashing takes as long as reading, so it has a thread of its own, which ends with the queue; and at once when nobody
    // waits for it any more.
    let gone = CancellationToken::new();
    let _here = gone.clone().drop_guard();
    let hashing = spawn_blocking(move || {
        let mut sums = Checksums::new(structure);
        while let Some(chunk) = chunks.blocking_recv().filter(|_| !gone.is_cancelled()) {
            sums.add(&chunk);
        }
        sums.finish()
    });
    let (mut read, most) = (0, subject.artifact.bytes.saturating_add(BEYOND));
    while read <= most
        && let Some(chunk) = stream.try_next().await?
    {
        read += chunk.len() as u64;
        done.store(read, Ordering::Relaxed);
        if queue.send(chunk).await.is_err() {
            break; // it panicked, which the join tells
        }
    }
    drop(queue);
    let mut content = hashing
        .await
        .map_err(|e| Error::new(Code::Internal, format!("internal error: checking {key} did not finish")).because(e))?;
    if read > most {
        content.length = object.size;
    }
    Ok(ReadOutcome::Content(object.version, content))
}

fn compare(mut checked: Checked, artifact: &Artifact, version: &Version, content: Content) -> Checked {
    let mut findings = Vec::new();
    let key = &artifact.key;
    if content.length != artifact.bytes {
        let message = format!("{key} has {} bytes, expected {}", content.length, artifact.bytes);
        findings.push(Finding::new(Problem::Length, message).differs(artifact.bytes, content.length));
    }
    for (problem, name, valid, expected, found) in [
        (
            Problem::Sha256,
            "SHA-256",
            parse_sha256(&artifact.sha256).is_some(),
            &artifact.sha256,
            content.sha256,
        ),
        (
            Problem::Crc32c,
            "CRC32C",
            u32::from_str_radix(&artifact.crc32c, 16).is_ok(),
            &artifact.crc32c,
            content.crc32c,
        ),
    ] {
        if !valid {
            let message = format!("the manifest's {name} of {key} is invalid: {expected:?}");
            findings.push(Finding::new(Problem::Manifest, message).differs(expected, found));
        } else if !expected.eq_ignore_ascii_case(&found) {
            let message = format!("{name} of {key} is {found}, expected {expected}");
            findings.push(Finding::new(problem, message).differs(expected, found));
        }
    }
    if version.0 != artifact.version {
        let message = format!(
            "{key} was rewritten since the backup: it has version {:?}, expected {:?}",
            version.0, artifact.version
        );
        // The same bytes again are no damage: a bucket or directory that was copied looks like this.
        match findings.is_empty() {
            true => checked.warnings.push(format!("{message}; its bytes are unchanged")),
            false => findings.push(Finding::new(Problem::Replaced, message).differs(&artifact.version, &version.0)),
        }
    }
    findings.extend(
        content
            .structure
            .into_iter()
            .map(|problem| Finding::new(Problem::Structure, format!("{key}: {problem}"))),
    );
    checked.bytes = content.bytes;
    checked.found(findings)
}

/// Everything that is computed in the one pass.
struct Checksums {
    bytes: u64,
    sha256: Context,
    crc32c: u32,
    structure: Structure,
}

impl Checksums {
    fn new(structure: Structure) -> Self {
        Self {
            bytes: 0,
            sha256: Context::new(&SHA256),
            crc32c: 0,
            structure,
        }
    }

    fn add(&mut self, chunk: &[u8]) {
        // All over a piece that is still in the processor's nearest cache.
        for piece in chunk.chunks(16 << 10) {
            self.sha256.update(piece);
            self.crc32c = crc32c_append(self.crc32c, piece);
            self.structure.feed(piece);
        }
        self.bytes += chunk.len() as u64;
    }

    fn finish(self) -> Content {
        Content {
            bytes: self.bytes,
            length: self.bytes,
            sha256: hex(self.sha256.finish().as_ref()),
            crc32c: format!("{:08x}", self.crc32c),
            structure: self.structure.finish(),
        }
    }
}
