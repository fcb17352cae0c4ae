//! [`Store`] on a local directory.
//!
//! An object is written under `.staging/`, synced, read back, and only then gets its name: by a hard link when nothing may
//! be there, so that two writers cannot both win, or by a rename under a lock for compare-and-swap. A crash leaves nothing
//! but a staged file, which a later [`DirStore::open`] removes.
//!
//! What is made is for its owner alone: files have the mode 0600, directories 0700. Beneath the root no symbolic link is
//! followed, see [`beneath`].

mod beneath;
mod object_path;
mod read;
mod staged;

use super::{BACKUPS, INTENTS, JOBS, RUNS};
use super::{ByteStream, Condition, Folder, ObjectMeta, Source, Store, Version, valid_key, valid_list_prefix};
use crate::base::error::{Code, Error, Result};
use async_trait::async_trait;
use beneath::Directory;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use object_path::ObjectPath;
use rustix::fs::{FileType, Stat};
use staged::{Exactly, Staged};
use std::{
    fs::{File, TryLockError},
    io,
    ops::Range,
    path::Path,
    sync::Arc,
    time::Duration,
};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

/// Below the root; holds what is being written, and the lock.
const STAGING: &str = ".staging";
/// In [`STAGING`].
const LOCK: &str = "cas.lock";
/// After a day without a write nobody is writing any more, whatever the lock of a file says.
const LEFTOVER_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// Between two looks at whether the lock is free.
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// How often directories are made again that a deletion removed while they were empty.
const TRIES: usize = 10;

/// A directory as a store.
#[derive(Clone, Debug)]
pub struct DirStore {
    root: Arc<Path>,
}

impl DirStore {
    /// Opens a directory that exists, and removes what a crash left there: at once where a lock tells that nobody writes it any more,
    /// else a day later.
    ///
    /// # Errors
    /// [`Code::StoreMissing`] if there is no such directory, [`Code::StoreFailed`] if a folder of the store is a symbolic link.
    pub async fn open(path: &Path) -> Result<Self> {
        let store = Self { root: path.into() };
        store
            .run(|root, gone| {
                let root = Directory::root(root)?;
                for folder in [BACKUPS, INTENTS, JOBS, RUNS, STAGING] {
                    root.refuse_link(folder.trim_end_matches('/'))?;
                }
                // A directory that may only be read is still good for restoring.
                let _ = staged::remove_leftovers(&root, LEFTOVER_AGE, gone);
                Ok(())
            })
            .await?;
        Ok(store)
    }

    /// Runs blocking work on the directory, which is told when nobody waits for it any more.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path, &CancellationToken) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (root, gone) = (self.root.clone(), CancellationToken::new());
        let _here = gone.clone().drop_guard();
        let done = tokio::task::spawn_blocking(move || work(&root, &gone)).await;
        done.map_err(|e| Error::new(Code::Internal, "internal error: a file operation did not finish").because(e))?
    }

    /// Writes an object, read back before it gets its name.
    async fn write(&self, key: &str, stream: &mut dyn ByteStream, condition: Condition) -> Result<ObjectMeta> {
        own_key(key)?;
        let staged = self.run(|root, _| Staged::create(&Directory::root(root)?)).await?;
        let sum = staged::fill(&staged, stream).await?;
        let staged = self
            .run_on(key, move |_, key, gone| staged.verify(key, sum, gone).map(|()| staged))
            .await?;
        // A step of its own: whoever gives up during the long one before publishes nothing.
        self.run_on(key, move |root, key, gone| {
            let stat = match condition {
                Condition::Absent => publish_new(root, staged, key)?,
                Condition::Unchanged(version) => swap(root, staged, key, &version, gone)?,
            };
            let mut meta = meta(key, &stat);
            meta.crc32c = Some(sum.crc32c);
            Ok(meta)
        })
        .await
    }

    /// As [`DirStore::run`] on the object of a key.
    async fn run_on<T: Send + 'static>(
        &self,
        key: &str,
        work: impl FnOnce(&Path, &str, &CancellationToken) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let key = own_key(key)?.to_owned();
        self.run(move |root, gone| work(root, &key, gone)).await
    }
}

/// The key, if it may be that of an object.
fn own_key(key: &str) -> Result<&str> {
    valid_key(key)?;
    if key.split('/').next() == Some(STAGING) {
        let text = format!("{key:?} is not a valid object key: {STAGING} is reserved");
        return Err(Error::new(Code::BadRequest, text));
    }
    Ok(key)
}

#[async_trait]
impl Store for DirStore {
    fn url(&self) -> String {
        use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
        const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'?').add(b'#');
        let path = self.root.as_os_str().as_encoded_bytes();
        format!("file://{}", percent_encode(path, ESCAPED))
    }

    async fn put(&self, key: &str, source: Box<dyn Source>, condition: Condition) -> Result<ObjectMeta> {
        self.write(key, &mut Exactly::of(source), condition).await
    }

    async fn put_stream(&self, key: &str, mut stream: Box<dyn ByteStream>) -> Result<ObjectMeta> {
        self.write(key, &mut *stream, Condition::Absent).await
    }

    async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        version: Option<&Version>,
    ) -> Result<Option<BoxStream<'static, Result<Bytes>>>> {
        let version = version.cloned();
        let opened = self
            .run_on(key, move |root, key, _| read::open(root, key, range, version))
            .await?;
        Ok(opened.map(read::stream))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectMeta>> {
        self.run_on(key, |root, key, _| match ObjectPath::find(root, key)? {
            Some(way) => Ok(way.parent().file(way.name())?.map(|stat| meta(key, &stat))),
            None => Ok(None),
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<BoxStream<'static, Result<ObjectMeta>>> {
        valid_list_prefix(prefix)?;
        let prefix = prefix.to_string();
        let found = self.run(move |root, gone| read::list(root, &prefix, gone)).await?;
        Ok(stream::iter(found.into_iter().map(Ok)).boxed())
    }

    async fn folder(&self, prefix: &str) -> Result<Folder> {
        valid_list_prefix(prefix)?;
        let prefix = prefix.to_string();
        self.run(move |root, _| read::folder(root, &prefix)).await
    }

    async fn unfinished(&self) -> Result<(usize, u64)> {
        self.run(|root, gone| staged::unfinished(&Directory::root(root)?, gone))
            .await
    }

    async fn free_bytes(&self) -> Result<Option<u64>> {
        self.run(|root, _| {
            let space = rustix::fs::statvfs(root).ok();
            Ok(space.map(|space| space.f_bavail.saturating_mul(space.f_frsize)))
        })
        .await
    }

    async fn delete(&self, key: &str, version: &Version) -> Result<bool> {
        let version = version.clone();
        self.run_on(key, move |root, key, gone| {
            let _lock = lock(root, gone)?;
            let Some(way) = at_version(root, key, &version)? else {
                return Ok(false);
            };
            let done = way.parent().remove(way.name());
            done.map_err(|e| failed("delete", &way.path(), e))?;
            way.parent().sync()?;
            way.remove_empty();
            Ok(true)
        })
        .await
    }

    async fn check(&self) -> Result<()> {
        self.run(|root, _| {
            let root = Directory::root(root)?;
            root.entries()?;
            Staged::create(&root)?.check_links()
        })
        .await
    }

    /// Who may write in a directory may delete there.
    async fn may_delete(&self) -> Result<Option<bool>> {
        Ok(Some(true))
    }
}

/// Gives a staged file its name, if nothing has it.
fn publish_new(root: &Path, staged: Staged, key: &str) -> Result<Stat> {
    // A deletion may remove a directory again while it is empty.
    for _ in 0..TRIES {
        let Some(way) = ObjectPath::make(root, key)? else {
            continue;
        };
        match staged.link(way.parent(), way.name()) {
            Ok(()) => {
                drop(staged);
                way.sync()?;
                return published(&way);
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                if way.parent().file(way.name())?.is_some() {
                    let text = format!("{} already exists", way.path().display());
                    return Err(Error::new(Code::StoreConflict, text));
                }
                // What is no object must not be taken for one that somebody else wrote. Or it is gone again.
                if let Some(error) = way.parent().obstacle(way.name(), FileType::RegularFile)? {
                    return Err(error);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(not_linked(&way.path(), e)),
        }
    }
    let text = format!("{}: its directory was deleted repeatedly", root.join(key).display());
    Err(Error::new(Code::StoreFailed, text))
}

/// Replaces a file that still has this version by a staged one.
fn swap(root: &Path, staged: Staged, key: &str, version: &Version, gone: &CancellationToken) -> Result<Stat> {
    let _lock = lock(root, gone)?;
    let Some(way) = at_version(root, key, version)? else {
        let text = format!("{} was replaced or deleted", root.join(key).display());
        return Err(Error::new(Code::StoreConflict, text));
    };
    let done = staged.rename(way.parent(), way.name());
    done.map_err(|e| failed("publish", &way.path(), e))?;
    way.parent().sync()?;
    published(&way)
}

/// The way to a file that has this version; `None` when there is none.
fn at_version(root: &Path, key: &str, version: &Version) -> Result<Option<ObjectPath>> {
    let Some(way) = ObjectPath::find(root, key)? else {
        return Ok(None);
    };
    let stat = way.parent().file(way.name())?;
    Ok(stat.is_some_and(|stat| self::version(&stat) == *version).then_some(way))
}

/// What has just got its name.
fn published(way: &ObjectPath) -> Result<Stat> {
    way.parent().file(way.name())?.ok_or_else(|| {
        let text = format!(
            "{} was replaced immediately after it was published",
            way.path().display()
        );
        Error::new(Code::StoreConflict, text)
    })
}

/// Excludes other processes as well as other tasks until dropped: by the root itself, since on a full disk no file can be made,
/// and by the file that earlier versions lock, where there is one or room for it.
fn lock(root: &Path, gone: &CancellationToken) -> Result<(File, Option<File>)> {
    let directory = File::open(root).map_err(|e| failed("open", root, e))?;
    let directory = locked(directory, root, gone)?;
    let file = staged::directory(&Directory::root(root)?).and_then(|staging| staging.open_or_create(LOCK));
    let file = match file {
        Ok(file) => Some(locked(file, &root.join(STAGING).join(LOCK), gone)?),
        Err(e) if e.code() == Code::StoreFull => None,
        Err(e) => return Err(e),
    };
    Ok((directory, file))
}

/// An error when nobody waits for it any more: what was given up is not done later. `doing` says what that is.
fn unless_gone(gone: &CancellationToken, doing: impl FnOnce() -> String) -> Result<()> {
    match gone.is_cancelled() {
        true => Err(Error::new(Code::Cancelled, format!("cancelled while {}", doing()))),
        false => Ok(()),
    }
}

fn locked(file: File, path: &Path, gone: &CancellationToken) -> Result<File> {
    loop {
        unless_gone(gone, || "waiting for the store's lock".to_owned())?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(e)) => return Err(failed("lock", path, e)),
        }
    }
}

fn meta(key: &str, stat: &Stat) -> ObjectMeta {
    const NANOS: i128 = 1_000_000_000;
    let updated = i128::from(stat.st_mtime) * NANOS + i128::from(stat.st_mtime_nsec);
    ObjectMeta {
        key: key.to_owned(),
        size: size(stat),
        version: version(stat),
        crc32c: None,
        updated: OffsetDateTime::from_unix_timestamp_nanos(updated).unwrap_or(OffsetDateTime::UNIX_EPOCH),
    }
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or_default()
}

/// Differs between any two writes: [`Staged`] makes the time of each one unique.
fn version(stat: &Stat) -> Version {
    Version(format!(
        "{:x}-{:x}.{:x}-{:x}",
        stat.st_ino, stat.st_mtime, stat.st_mtime_nsec, stat.st_size
    ))
}

/// The error of a hard link that could not be made.
fn not_linked(path: &Path, error: io::Error) -> Error {
    const EPERM: i32 = 1;
    if error.raw_os_error() == Some(EPERM) || error.kind() == io::ErrorKind::Unsupported {
        let text = format!("make a hard link to publish {}", path.display());
        return Error::new(Code::StoreFailed, text)
            .because(error)
            .remedy("choose a directory on a file system that supports hard links");
    }
    failed("publish", path, error)
}

/// The crate's error for a failed file operation.
fn failed(action: &str, path: &Path, error: impl Into<io::Error>) -> Error {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let (doing, error) = (format!("{action} {}", path.display()), error.into());
    let (code, remedy) = match error.kind() {
        StorageFull | QuotaExceeded => (
            Code::StoreFull,
            "free some space (`qdrant-backup prune` shows which backups can go), or use a larger disk",
        ),
        PermissionDenied | ReadOnlyFilesystem => (Code::StoreForbidden, "let the user that runs this write there"),
        _ => return Error::new(Code::StoreFailed, doing).because(error),
    };
    Error::new(code, doing).because(error).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_refusal_are_told_apart() {
        for (errno, code) in [
            (28, Code::StoreFull),      // ENOSPC
            (122, Code::StoreFull),     // EDQUOT
            (13, Code::StoreForbidden), // EACCES
            (30, Code::StoreForbidden), // EROFS
            (5, Code::StoreFailed),     // EIO
        ] {
            let error = failed("write", Path::new("/x"), io::Error::from_raw_os_error(errno));
            assert_eq!(error.code(), code, "errno {errno}");
        }
    }

    #[test]
    fn a_file_system_without_hard_links_is_named() {
        for errno in [1, 95] {
            let error = not_linked(Path::new("/x"), io::Error::from_raw_os_error(errno));
            assert_eq!(error.code(), Code::StoreFailed);
            assert!(error.to_string().contains("hard links"), "{error}");
        }
        let full = not_linked(Path::new("/x"), io::Error::from_raw_os_error(28));
        assert_eq!(full.code(), Code::StoreFull);
    }
}
