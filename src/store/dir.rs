//! [`Store`] on a local directory.
//!
//! An object is written under `.staging/`, synced, read back, and only then gets its name: by a hard link when nothing may
//! be there, so that two writers cannot both win, or by a rename under a lock for compare-and-swap. A crash leaves nothing
//! but a staged file, which a later [`DirStore::open`] removes.

mod read;
mod staged;

use super::{Condition, ObjectMeta, Source, Store, Version, valid_key, valid_list_prefix};
use crate::error::{Code, Error, Result};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use staged::Staged;
use std::{
    fs::{self, File, Metadata},
    io,
    ops::Range,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use time::OffsetDateTime;

/// Below the root; holds what is being written, and the lock.
const STAGING: &str = ".staging";
/// After a day without a write nobody is writing any more.
const LEFTOVER_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A directory as a store.
#[derive(Clone, Debug)]
pub struct DirStore {
    root: Arc<Path>,
}

impl DirStore {
    /// Opens a directory that exists, and removes what a crash left there more than a day ago.
    ///
    /// # Errors
    /// [`Code::StoreMissing`] if there is no such directory.
    pub async fn open(path: &Path) -> Result<Self> {
        let store = Self { root: path.into() };
        store
            .run(|root| {
                require_directory(root)?;
                // A directory that may only be read is still good for restoring.
                let _ = staged::remove_leftovers(&root.join(STAGING), LEFTOVER_AGE);
                Ok(())
            })
            .await?;
        Ok(store)
    }

    /// Runs blocking work on the directory.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Path) -> Result<T> + Send + 'static) -> Result<T> {
        let root = self.root.clone();
        let done = tokio::task::spawn_blocking(move || work(&root)).await;
        done.map_err(|e| Error::new(Code::Internal, "a file operation broke off").because(e))?
    }

    fn path(&self, key: &str) -> Result<PathBuf> {
        valid_key(key)?;
        if key.split('/').next() == Some(STAGING) {
            let text = format!("{key:?} is no valid object key: {STAGING} is the store's own");
            return Err(Error::new(Code::BadRequest, text));
        }
        Ok(self.root.join(key))
    }
}

#[async_trait]
impl Store for DirStore {
    fn url(&self) -> String {
        use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
        const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'?').add(b'#');
        let path = self.root.as_os_str().as_encoded_bytes();
        format!("file://{}", percent_encode(path, ESCAPED))
    }

    async fn put(&self, key: &str, mut source: Box<dyn Source>, condition: Condition) -> Result<ObjectMeta> {
        let path = self.path(key)?;
        let staged = self.run(Staged::create).await?;
        let sum = staged::fill(&staged, &mut *source).await?;
        let key = key.to_string();
        let (key, staged) = self
            .run(move |_| staged.verify(&key, sum).map(|()| (key, staged)))
            .await?;
        // A step of its own: whoever gives up during the long one before publishes nothing.
        self.run(move |root| {
            let metadata = match condition {
                Condition::Absent => publish_new(root, staged, &path)?,
                Condition::Unchanged(version) => swap(root, staged, &path, &version)?,
            };
            let mut meta = meta(key, &metadata);
            meta.crc32c = Some(sum.crc32c);
            Ok(meta)
        })
        .await
    }

    async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        version: Option<&Version>,
    ) -> Result<Option<BoxStream<'static, Result<Bytes>>>> {
        let path = self.path(key)?;
        let version = version.cloned();
        let opened = self.run(move |_| read::open(&path, range, version)).await?;
        Ok(opened.map(read::stream))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectMeta>> {
        let path = self.path(key)?;
        let found = self.run(move |_| find(&path)).await?;
        Ok(found.map(|metadata| meta(key.to_string(), &metadata)))
    }

    async fn list(&self, prefix: &str) -> Result<BoxStream<'static, Result<ObjectMeta>>> {
        valid_list_prefix(prefix)?;
        let prefix = prefix.to_string();
        let found = self.run(move |root| read::list(root, &prefix)).await?;
        Ok(stream::iter(found.into_iter().map(Ok)).boxed())
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        valid_list_prefix(prefix)?;
        let prefix = prefix.to_string();
        self.run(move |root| read::folders(root, &prefix)).await
    }

    async fn free_bytes(&self) -> Result<Option<u64>> {
        self.run(|root| {
            let space = rustix::fs::statvfs(root).ok();
            Ok(space.map(|space| space.f_bavail.saturating_mul(space.f_frsize)))
        })
        .await
    }

    async fn delete(&self, key: &str, version: &Version) -> Result<bool> {
        let (path, version) = (self.path(key)?, version.clone());
        self.run(move |root| {
            let _lock = lock(root)?;
            if find(&path)?.is_none_or(|m| self::version(&m) != version) {
                return Ok(false);
            }
            fs::remove_file(&path).map_err(|e| failed("delete", &path, e))?;
            let parent = path.parent().unwrap_or(root);
            sync_directory(parent)?;
            remove_empty(root, parent);
            Ok(true)
        })
        .await
    }

    async fn check(&self) -> Result<()> {
        self.run(|root| {
            require_directory(root)?;
            fs::read_dir(root).map_err(|e| failed("list", root, e))?;
            let probe = Staged::create(root)?;
            let linked = probe.path().with_extension("linked");
            let done = fs::hard_link(probe.path(), &linked);
            done.map_err(|e| not_linked(root, e))?;
            fs::remove_file(&linked).map_err(|e| failed("delete", &linked, e))
        })
        .await
    }

    /// Who may write in a directory may delete there.
    async fn may_delete(&self) -> Result<Option<bool>> {
        Ok(Some(true))
    }
}

/// Gives a staged file its name, if nothing has it.
fn publish_new(root: &Path, staged: Staged, path: &Path) -> Result<Metadata> {
    let parent = path.parent().unwrap_or(root);
    // A deletion may remove the parent again while it is empty.
    let mut tries = 0;
    loop {
        fs::create_dir_all(parent).map_err(|e| failed("create", parent, e))?;
        match fs::hard_link(staged.path(), path) {
            Ok(()) => break,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let text = format!("{} exists already", path.display());
                return Err(Error::new(Code::StoreConflict, text));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound && tries < 10 => tries += 1,
            Err(e) => return Err(not_linked(path, e)),
        }
    }
    drop(staged);
    sync_up_to(root, parent)?;
    found(path)
}

/// Replaces a file that still has this version by a staged one.
fn swap(root: &Path, staged: Staged, path: &Path, version: &Version) -> Result<Metadata> {
    let _lock = lock(root)?;
    if find(path)?.is_none_or(|m| self::version(&m) != *version) {
        let text = format!("{} has another version, or is gone", path.display());
        return Err(Error::new(Code::StoreConflict, text));
    }
    staged.rename(path)?;
    sync_directory(path.parent().unwrap_or(root))?;
    found(path)
}

/// Excludes other processes as well as other tasks until dropped.
fn lock(root: &Path) -> Result<File> {
    let path = staged::directory(root)?.join("cas.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| failed("open", &path, e))?;
    file.lock().map_err(|e| failed("lock", &path, e))?;
    Ok(file)
}

fn require_directory(root: &Path) -> Result<()> {
    let missing = || {
        let text = format!("the directory {} does not exist", root.display());
        Error::new(Code::StoreMissing, text).remedy(format!("create it: mkdir -p {}", root.display()))
    };
    match fs::metadata(root) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(
            Error::new(Code::StoreMissing, format!("{} is not a directory", root.display())).remedy("name a directory"),
        ),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(missing()),
        Err(e) => Err(failed("open", root, e)),
    }
}

/// The metadata of a plain file. Symbolic links are not followed: they could lead out of the store.
fn find(path: &Path) -> Result<Option<Metadata>> {
    use io::ErrorKind::{NotADirectory, NotFound};
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(metadata.is_file().then_some(metadata)),
        Err(e) if matches!(e.kind(), NotFound | NotADirectory) => Ok(None),
        Err(e) => Err(failed("look up", path, e)),
    }
}

fn found(path: &Path) -> Result<Metadata> {
    fs::symlink_metadata(path).map_err(|e| failed("look up", path, e))
}

fn meta(key: String, metadata: &Metadata) -> ObjectMeta {
    let updated = metadata.modified().map(OffsetDateTime::from);
    ObjectMeta {
        key,
        size: metadata.len(),
        version: version(metadata),
        crc32c: None,
        updated: updated.unwrap_or(OffsetDateTime::UNIX_EPOCH),
    }
}

/// Differs between any two writes: [`Staged`] makes the time of each one unique.
fn version(metadata: &Metadata) -> Version {
    Version(format!(
        "{:x}-{:x}.{:x}-{:x}",
        metadata.ino(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.len()
    ))
}

/// Makes names durable, from `directory` up to the root: parents may be new as well.
fn sync_up_to(root: &Path, directory: &Path) -> Result<()> {
    for directory in directory.ancestors() {
        sync_directory(directory)?;
        if directory == root {
            break;
        }
    }
    Ok(())
}

fn sync_directory(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|d| d.sync_all());
    synced.map_err(|e| failed("sync", path, e))
}

/// Removes directories that a deletion left empty; one that is not empty stays.
fn remove_empty(root: &Path, directory: &Path) {
    for directory in directory.ancestors().take_while(|d| *d != root) {
        if fs::remove_dir(directory).is_err() {
            break;
        }
    }
}

/// The error of a hard link that could not be made.
fn not_linked(path: &Path, error: io::Error) -> Error {
    const EPERM: i32 = 1;
    if error.raw_os_error() == Some(EPERM) || error.kind() == io::ErrorKind::Unsupported {
        let text = format!("make a hard link to publish {}", path.display());
        return Error::new(Code::StoreFailed, text)
            .because(error)
            .remedy("choose a directory on a file system with hard links");
    }
    failed("publish", path, error)
}

/// The crate's error for a failed file operation.
fn failed(action: &str, path: &Path, error: io::Error) -> Error {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let doing = format!("{action} {}", path.display());
    let (code, remedy) = match error.kind() {
        StorageFull | QuotaExceeded => (
            Code::StoreFull,
            "free some space, delete old backups, or choose a larger disk",
        ),
        PermissionDenied | ReadOnlyFilesystem => (Code::StoreForbidden, "let the user that this runs as write there"),
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
