//! Reading and listing a directory.

use super::beneath::Directory;
use super::object_path::ObjectPath;
use super::{STAGING, failed, meta, size, unless_gone, version};
use crate::base::error::{Code, Error, Result};
use crate::wire::store::{Folder, ObjectMeta, Version};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use std::{
    fs::File,
    io::{Read, Seek as _, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Each chunk costs a change of threads between reading and sending; this many bytes at once make that rare.
const CHUNK: u64 = 512 * 1024;
/// Chunks that are read ahead.
const AHEAD: usize = 2;
/// Folders in each other that are looked into, each of which is open meanwhile. The deepest of ours is the third.
const DEEPEST: usize = 16;

/// A file to read so many bytes from.
pub(super) struct Reading {
    file: File,
    path: PathBuf,
    left: u64,
}

/// Opens a file at the start of a range; `None` when it is not there, or has another version.
pub(super) fn open(
    root: &Path,
    key: &str,
    range: Option<Range<u64>>,
    wanted: Option<Version>,
) -> Result<Option<Reading>> {
    let Some(way) = ObjectPath::find(root, key)? else {
        return Ok(None);
    };
    let Some((mut file, stat)) = way.parent().open(way.name())? else {
        return Ok(None);
    };
    if wanted.is_some_and(|wanted| wanted != version(&stat)) {
        return Ok(None);
    }
    let path = way.path();
    let range = range.unwrap_or(0..size(&stat));
    if range.end > size(&stat) {
        return Err(too_short(&path));
    }
    let at = file.seek(SeekFrom::Start(range.start));
    at.map_err(|e| failed("read", &path, e))?;
    Ok(Some(Reading {
        file,
        path,
        left: range.end.saturating_sub(range.start),
    }))
}

/// Reads ahead on a thread of its own until the stream is dropped.
pub(super) fn stream(mut reading: Reading) -> BoxStream<'static, Result<Bytes>> {
    let (queue, chunks) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        while reading.left > 0 {
            let chunk = reading.chunk();
            let last = chunk.is_err();
            if queue.blocking_send(chunk).is_err() || last {
                break;
            }
        }
    });
    stream::unfold(chunks, |mut chunks| async {
        chunks.recv().await.map(|chunk| (chunk, chunks))
    })
    .boxed()
}

impl Reading {
    fn chunk(&mut self) -> Result<Bytes> {
        let want = self.left.min(CHUNK);
        // Not cleared first: all of it is read over.
        let mut buffer = Vec::with_capacity(usize::try_from(want).unwrap_or_default());
        let read = (&self.file).take(want).read_to_end(&mut buffer);
        if read.map_err(|e| failed("read", &self.path, e))? as u64 != want {
            return Err(too_short(&self.path));
        }
        self.left -= want;
        Ok(buffer.into())
    }
}

fn too_short(path: &Path) -> Error {
    let text = format!("{} has fewer bytes than requested", path.display());
    Error::new(Code::LengthMismatch, text)
}

/// All plain files whose key starts with `prefix`, in the order of their keys; an error when nobody waits for them any more.
pub(super) fn list(root: &Path, prefix: &str, gone: &CancellationToken) -> Result<Vec<ObjectMeta>> {
    let mut found = Vec::new();
    // The part of the prefix up to its last slash is a directory: no need to look elsewhere.
    let start = prefix.rfind('/').map_or("", |slash| &prefix[..=slash]);
    // A folder is opened when it has its turn, so that no more are open at once than lie in each other.
    let mut levels = Vec::new();
    if let Some(directory) = directory(root, start)? {
        levels.push(Level::of(directory, start, prefix, gone, &mut found)?);
    }
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.folders.pop() else {
            levels.pop();
            continue;
        };
        let at = format!("{}{name}/", level.at);
        if let Some(folder) = level.directory.folder(&name)? {
            if levels.len() == DEEPEST {
                tracing::warn!(
                    key = at,
                    "{at:?} is not looked into: nothing of the store lies that deep"
                );
                continue;
            }
            levels.push(Level::of(folder, &at, prefix, gone, &mut found)?);
        }
    }
    found.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

/// A directory, and those in it that have not been looked into.
struct Level {
    directory: Directory,
    /// Prefix of the keys in it.
    at: String,
    folders: Vec<String>,
}

impl Level {
    /// Adds the files in it to `found`.
    fn of(
        directory: Directory,
        at: &str,
        prefix: &str,
        gone: &CancellationToken,
        found: &mut Vec<ObjectMeta>,
    ) -> Result<Self> {
        let mut folders = Vec::new();
        for (name, kind) in directory.entries()? {
            unless_gone(gone, || format!("listing {prefix:?}"))?;
            let key = format!("{at}{name}");
            if key == STAGING || !key.starts_with(prefix) {
                continue;
            }
            if kind.is_dir() {
                folders.push(name);
            } else if let Some(stat) = directory.file(&name)? {
                found.push(meta(&key, &stat));
            }
        }
        Ok(Self {
            directory,
            at: at.to_owned(),
            folders,
        })
    }
}

/// What lies directly below `prefix`.
pub(super) fn folder(root: &Path, prefix: &str) -> Result<Folder> {
    let mut found = Folder::default();
    let Some(directory) = directory(root, prefix)? else {
        return Ok(found);
    };
    for (name, kind) in directory.entries()? {
        if prefix.is_empty() && name == STAGING {
            continue;
        }
        if kind.is_dir() {
            found.folders.push(name);
        } else if let Some(stat) = directory.file(&name)? {
            found.objects.push(meta(&format!("{prefix}{name}"), &stat));
        }
    }
    found.folders.sort_unstable();
    found.objects.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

/// The directory that a prefix names, which ends in `/` or is empty; none where there is none, nor for what is the store's own.
fn directory(root: &Path, prefix: &str) -> Result<Option<Directory>> {
    if prefix.is_empty() {
        return Directory::root(root).map(Some);
    }
    if prefix.split('/').next() == Some(STAGING) {
        return Ok(None);
    }
    // The object would have no name.
    Ok(ObjectPath::find(root, prefix)?.map(ObjectPath::into_parent))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_list_that_nobody_waits_for_is_not_made() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("file"), "x").unwrap();
        let gone = CancellationToken::new();
        assert_eq!(list(root.path(), "", &gone).unwrap().len(), 1);
        gone.cancel();
        assert_eq!(list(root.path(), "", &gone).unwrap_err().code(), Code::Cancelled);
    }
}
