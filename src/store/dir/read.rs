//! Reading and listing a directory.

use super::{STAGING, failed, find, meta, version};
use crate::{
    error::{Code, Error, Result},
    store::{ObjectMeta, Version},
};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use std::{
    fs::{self, File},
    io::{self, Read, Seek as _, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
};
use tokio::sync::mpsc;

/// Each chunk costs a change of threads between reading and sending; this many bytes at once make that rare.
const CHUNK: u64 = 512 * 1024;
/// Chunks that are read ahead.
const AHEAD: usize = 2;

/// A file to read so many bytes from.
pub(super) struct Reading {
    file: File,
    path: PathBuf,
    left: u64,
}

/// Opens a file at the start of a range; `None` when it is not there, or has another version.
pub(super) fn open(path: &Path, range: Option<Range<u64>>, wanted: Option<Version>) -> Result<Option<Reading>> {
    if find(path)?.is_none() {
        return Ok(None);
    }
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed("read", path, e)),
    };
    let metadata = file.metadata().map_err(|e| failed("read", path, e))?;
    if wanted.is_some_and(|w| w != version(&metadata)) {
        return Ok(None);
    }
    let range = range.unwrap_or(0..metadata.len());
    if range.end > metadata.len() {
        return Err(too_short(path));
    }
    let at = file.seek(SeekFrom::Start(range.start));
    at.map_err(|e| failed("read", path, e))?;
    Ok(Some(Reading {
        file,
        path: path.to_path_buf(),
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
    let text = format!("{} has fewer bytes than asked for", path.display());
    Error::new(Code::LengthMismatch, text)
}

/// All plain files whose key starts with `prefix`, in the order of their keys.
pub(super) fn list(root: &Path, prefix: &str) -> Result<Vec<ObjectMeta>> {
    super::require_directory(root)?;
    let mut found = Vec::new();
    if prefix.split('/').next() == Some(STAGING) {
        return Ok(found);
    }
    // The part of the prefix up to its last slash is a directory: no need to look elsewhere.
    let start = prefix.rfind('/').map_or("", |slash| &prefix[..slash]);
    let mut open = vec![start.to_string()];
    while let Some(directory) = open.pop() {
        let path = root.join(&directory);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                continue;
            }
            Err(e) => return Err(failed("list", &path, e)),
        };
        for entry in entries {
            let entry = entry.map_err(|e| failed("list", &path, e))?;
            // What is no UTF-8 was not written by this store.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let key = match directory.as_str() {
                "" if name == STAGING => continue,
                "" => name,
                directory => format!("{directory}/{name}"),
            };
            let kind = entry.file_type().map_err(|e| failed("list", &path, e))?;
            if kind.is_dir() && (key.starts_with(prefix) || prefix.starts_with(&format!("{key}/"))) {
                open.push(key);
            } else if key.starts_with(prefix)
                && let Some(metadata) = find(&entry.path())?
            {
                found.push(meta(key, &metadata));
            }
        }
    }
    found.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

/// Names of the directories directly below `prefix`, in their order.
pub(super) fn folders(root: &Path, prefix: &str) -> Result<Vec<String>> {
    super::require_directory(root)?;
    let path = root.join(prefix);
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(e) => return Err(failed("list", &path, e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| failed("list", &path, e))?;
        let kind = entry.file_type().map_err(|e| failed("list", &path, e))?;
        // What is no UTF-8 was not written by this store.
        if let (true, Ok(name)) = (kind.is_dir(), entry.file_name().into_string())
            && !(prefix.is_empty() && name == STAGING)
        {
            found.push(name);
        }
    }
    found.sort_unstable();
    Ok(found)
}
