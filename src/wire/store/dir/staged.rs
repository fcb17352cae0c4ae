//! Files on their way into the store.

use super::beneath::Directory;
use super::{STAGING, failed, not_linked, unless_gone};
use crate::base::error::{Code, Error, Result};
use crate::base::hash::crc32c_append;
use crate::wire::store::{ByteStream, Source};
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    fs::{File, FileTimes},
    io::{self, Read, Seek as _, Write},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const SUFFIX: &str = ".staged";
/// Chunks on their way to the writing thread.
const QUEUE: usize = 4;
const READ_BACK: usize = 1 << 20;

/// Before a writer has locked its file, and for a clock that is set.
const JUST_MADE: Duration = Duration::from_secs(60);
/// File systems on which a lock is seen by everybody who sees the file: those of one machine.
const LOCAL: [u32; 8] = [
    0xef53,      // ext4
    0x5846_5342, // xfs
    0x9123_683e, // btrfs
    0x2fc1_2fc1, // zfs
    0xf2f5_2010, // f2fs
    0xca45_1a4e, // bcachefs
    0x0102_1994, // tmpfs
    0x794c_7630, // overlay
];

/// A file under [`STAGING`], removed when dropped, and locked as long as somebody writes it.
pub(super) struct Staged {
    staging: Directory,
    name: String,
    file: Arc<File>,
}

/// Length and CRC32C of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checksum {
    pub(super) len: u64,
    pub(super) crc32c: u32,
}

impl Staged {
    pub(super) fn create(root: &Directory) -> Result<Self> {
        let staging = directory(root)?;
        let name = new_name();
        let file = Arc::new(staging.create(&name)?);
        // Where there are no locks, its age tells.
        let _ = file.try_lock();
        Ok(Self { staging, name, file })
    }

    fn path(&self) -> PathBuf {
        self.staging.path(&self.name)
    }

    /// Makes the content durable and reads it back, unless nobody waits for it any more. What the disk has is compared with what
    /// was handed over.
    pub(super) fn verify(&self, key: &str, sent: Checksum, gone: &CancellationToken) -> Result<()> {
        let at = |e| failed("write", &self.path(), e);
        self.stamp().map_err(at)?;
        self.file.sync_all().map_err(at)?;
        let mut file = &*self.file;
        file.rewind().map_err(at)?;
        let mut stored = Checksum { len: 0, crc32c: 0 };
        let mut buffer = vec![0; READ_BACK];
        loop {
            unless_gone(gone, || format!("reading back {key}"))?;
            let n = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(failed("read back", &self.path(), e)),
            };
            stored.len += n as u64;
            stored.crc32c = crc32c_append(stored.crc32c, &buffer[..n]);
        }
        if stored == sent {
            return Ok(());
        }
        let text = format!("{key}: read back {stored:08x?}, wrote {sent:08x?}");
        Err(Error::new(Code::ChecksumMismatch, text).remedy("check the disk"))
    }

    /// Makes the time of the last change unique, for it is part of the version: the clock of a file system may tick so
    /// rarely that a file, its removal and its successor in the same inode share a tick. The last millisecond is random.
    fn stamp(&self) -> io::Result<()> {
        let written = self.file.metadata()?.modified()?;
        let since = written.duration_since(UNIX_EPOCH).unwrap_or_default();
        let random = u64::try_from(Uuid::new_v4().as_u128() % 1_000_000).unwrap_or_default();
        let whole = since - Duration::from_nanos(u64::from(since.subsec_nanos() % 1_000_000));
        let unique = UNIX_EPOCH + whole + Duration::from_nanos(random);
        self.file.set_times(FileTimes::new().set_modified(unique))
    }

    /// Gives the file a second name that nothing has.
    pub(super) fn link(&self, to: &Directory, name: &str) -> io::Result<()> {
        self.staging.link(&self.name, to, name)
    }

    /// Takes the place of whatever has this name.
    pub(super) fn rename(self, to: &Directory, name: &str) -> io::Result<()> {
        self.staging.rename(&self.name, to, name)
    }

    /// Whether the file system has the hard links by which files are published.
    pub(super) fn check_links(&self) -> Result<()> {
        let linked = format!("{}.linked", self.name);
        let at = self.staging.path(&linked);
        self.link(&self.staging, &linked).map_err(|e| not_linked(&at, e))?;
        self.staging.remove(&linked).map_err(|e| failed("delete", &at, e))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Gone already after a rename; anything else a later open removes.
        let _ = self.staging.remove(&self.name);
    }
}

/// The staging directory, made if it is missing; the root is never made.
pub(super) fn directory(root: &Directory) -> Result<Directory> {
    match root.make_folder(STAGING)? {
        Some(staging) => Ok(staging),
        // As it is when the root itself was removed.
        None => Err(Error::new(
            Code::StoreMissing,
            format!("{} was deleted", root.path(STAGING).display()),
        )),
    }
}

/// Writes a stream into a staged file, on a thread of its own, through a short queue.
pub(super) async fn fill(staged: &Staged, stream: &mut dyn ByteStream) -> Result<Checksum> {
    let (queue, chunks) = mpsc::channel::<Bytes>(QUEUE);
    let file = staged.file.clone();
    let summed = stream.crc32c().is_some();
    let writer = tokio::task::spawn_blocking(move || write_all(&file, chunks, !summed));
    let sent = send(stream, queue).await;
    let broke_off = |e| Error::new(Code::Internal, "internal error: the writer did not finish").because(e);
    let written = writer.await.map_err(broke_off)?;
    // A writer that failed is the reason why nothing more could be sent.
    let computed = written.map_err(|e| failed("write", &staged.path(), e))?;
    Ok(Checksum {
        len: sent?,
        crc32c: stream.crc32c().unwrap_or(computed),
    })
}

async fn send(stream: &mut dyn ByteStream, queue: mpsc::Sender<Bytes>) -> Result<u64> {
    let mut sent = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        sent += chunk.len() as u64;
        if queue.send(chunk).await.is_err() {
            break;
        }
    }
    Ok(sent)
}

/// A source as a stream that fails unless its bytes are as many as it said.
pub(super) struct Exactly {
    source: Box<dyn Source>,
    sent: u64,
}

impl Exactly {
    pub(super) fn of(source: Box<dyn Source>) -> Self {
        Self { source, sent: 0 }
    }
}

#[async_trait]
impl ByteStream for Exactly {
    async fn next(&mut self) -> Option<Result<Bytes>> {
        let (len, chunk) = (self.source.len(), self.source.next().await);
        self.sent += chunk
            .as_ref()
            .and_then(|c| c.as_ref().ok())
            .map_or(0, |c| c.len() as u64);
        let text = match chunk {
            None if self.sent < len => format!("the source ended after {} of {len} bytes", self.sent),
            Some(Ok(_)) if self.sent > len => format!("the source has more than {len} bytes"),
            chunk => return chunk,
        };
        Some(Err(Error::new(Code::LengthMismatch, text)))
    }

    fn crc32c(&self) -> Option<u32> {
        self.source.crc32c()
    }
}

fn write_all(mut file: &File, mut chunks: mpsc::Receiver<Bytes>, sum: bool) -> io::Result<u32> {
    let mut crc32c = 0;
    while let Some(chunk) = chunks.blocking_recv() {
        if sum {
            crc32c = crc32c_append(crc32c, &chunk);
        }
        file.write_all(&chunk)?;
    }
    Ok(crc32c)
}

/// Removes staged files that nobody writes: whose writer has died, where its lock tells that, and those that nobody has written to
/// for `age`, by the clock of the file system.
pub(super) fn remove_leftovers(root: &Directory, age: Duration, gone: &CancellationToken) -> Result<()> {
    let Some(staging) = root.folder(STAGING)? else {
        return Ok(());
    };
    let entries = staging.entries()?.into_iter().map(|(name, _)| name);
    let ours: Vec<_> = entries.filter(|name| is_ours(name)).collect();
    if ours.is_empty() {
        return Ok(());
    }
    let now = clock(root)?;
    let locks_tell = is_local(&staging);
    for name in ours {
        unless_gone(gone, || "removing leftovers".to_owned())?;
        // Of another kind than a file is none of ours.
        let Some((file, _)) = staging.open(&name)? else {
            continue;
        };
        let unchanged = now.duration_since(modified(&file)?).unwrap_or_default();
        let is_dead = || locks_tell && unchanged > JUST_MADE && file.try_lock().is_ok();
        if unchanged > age || is_dead() {
            let gone = staging.remove(&name);
            gone.map_err(|e| failed("delete", &staging.path(&name), e))?;
        }
    }
    Ok(())
}

/// Number and bytes of the staged files that there are.
pub(super) fn unfinished(root: &Directory, gone: &CancellationToken) -> Result<(usize, u64)> {
    let Some(staging) = root.folder(STAGING)? else {
        return Ok((0, 0));
    };
    let (mut files, mut bytes) = (0, 0_u64);
    for (name, _) in staging.entries()?.into_iter().filter(|(name, _)| is_ours(name)) {
        unless_gone(gone, || "counting unfinished files".to_owned())?;
        if let Some(stat) = staging.file(&name)? {
            files += 1;
            bytes = bytes.saturating_add(super::size(&stat));
        }
    }
    Ok((files, bytes))
}

fn is_local(staging: &Directory) -> bool {
    staging.file_system().is_some_and(|kind| LOCAL.contains(&kind))
}

fn new_name() -> String {
    format!("{}{SUFFIX}", Uuid::new_v4())
}

fn is_ours(name: &str) -> bool {
    name.strip_suffix(SUFFIX).is_some_and(|id| Uuid::try_parse(id).is_ok())
}

fn clock(root: &Directory) -> Result<SystemTime> {
    modified(&Staged::create(root)?.file)
}

fn modified(file: &File) -> Result<SystemTime> {
    let modified = file.metadata().and_then(|metadata| metadata.modified());
    modified.map_err(|e| Error::new(Code::StoreFailed, "look at a staged file").because(e))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn two_writes_in_one_tick_of_the_clock_are_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let staged = Staged::create(&Directory::root(root.path()).unwrap()).unwrap();
        let tick = UNIX_EPOCH + Duration::from_millis(1_800_000_000_123);
        let mut versions = std::collections::HashSet::new();
        for _ in 0..4 {
            let times = FileTimes::new().set_modified(tick);
            staged.file.set_times(times).unwrap();
            staged.stamp().unwrap();
            let moved = modified(&staged.file).unwrap().duration_since(tick).unwrap();
            assert!(moved < Duration::from_millis(1));
            let stat = rustix::fs::fstat(&staged.file).unwrap();
            assert!(versions.insert(super::super::version(&stat)));
        }
    }
}
