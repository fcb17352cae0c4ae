//! Writing a collection snapshot: the tar that a Qdrant server restores.
//!
//! The layout, in this order (it was restored by a Qdrant 1.18.3 server, which answered
//! with every point):
//! ```text
//! 0/segments/{uuid}.tar      nested, each file as snapshot/files/...
//! 0/wal                      an empty directory
//! 0/shard_config.json
//! 0/replica_state.json
//! version.info, config.json, shard_key_mapping.json, payload_index.json
//! ```

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use serde_json::json;
use tar::{Builder, EntryType, Header};
use tempfile::{NamedTempFile, TempPath};

use crate::collection::{CONFIG, OpenCollection, PAYLOAD_INDEX, SHARD, SHARD_KEYS, VERSION};
use crate::disk;
use crate::error::{Error, Result};

/// A finished tar that nobody can see yet.
pub(crate) struct Written {
    pub(crate) file: TempPath,
    /// SHA-256 of the file, in hex.
    pub(crate) checksum: String,
}

/// Writes the snapshot of `collection` into a temporary file below `scratch`.
///
/// The caller keeps writers away meanwhile, which makes the snapshot a point in time.
/// Memory does not depend on the size; the largest segment is on disk twice for a while.
pub(crate) fn write(collection: &OpenCollection, peer_id: u64, scratch: &Path) -> Result<Written> {
    collection.shard.flush();
    let written = || -> io::Result<Written> {
        let (file, path) = NamedTempFile::new_in(scratch)?.into_parts();
        let mut archive = Builder::new(Hashing::new(BufWriter::new(file)));
        append_collection(&mut archive, collection, peer_id, scratch)?;
        let (file, checksum) = archive.into_inner()?.finish();
        file.into_inner()?.sync_all()?;
        Ok(Written { file: path, checksum })
    };
    written().map_err(|error| Error::io("write the snapshot", &error))
}

fn append_collection(
    archive: &mut Builder<impl Write>,
    collection: &OpenCollection,
    peer_id: u64,
    scratch: &Path,
) -> io::Result<()> {
    let dir = collection.dir();
    let segments = dir.join(SHARD).join("segments");
    for segment in disk::names_in(&segments).map_err(io::Error::other)? {
        let mut nested = tempfile::tempfile_in(scratch)?;
        append_segment(&mut nested, &segments.join(&segment))?;
        io::Seek::rewind(&mut nested)?;
        archive.append_file(format!("{SHARD}/segments/{segment}.tar"), &mut nested)?;
    }

    let mut wal = header(EntryType::Directory, 0o755, 0);
    archive.append_data(&mut wal, format!("{SHARD}/wal"), io::empty())?;
    let replica = json!({
        "is_local": true,
        "this_peer_id": peer_id,
        "peers": {peer_id.to_string(): "Active"},
    });
    append_json(archive, "shard_config.json", &json!({"type": "ReplicaSet"}))?;
    append_json(archive, "replica_state.json", &replica)?;

    for name in [VERSION, CONFIG, SHARD_KEYS, PAYLOAD_INDEX] {
        archive.append_file(name, &mut File::open(dir.join(name))?)?;
    }
    Ok(())
}

fn append_json(archive: &mut Builder<impl Write>, name: &str, value: &serde_json::Value) -> io::Result<()> {
    let content = value.to_string();
    let mut header = header(EntryType::Regular, 0o644, content.len() as u64);
    archive.append_data(&mut header, format!("{SHARD}/{name}"), content.as_bytes())
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header
}

/// All files of a segment in sorted order; holes stay holes (GNU sparse entries).
fn append_segment(nested: &mut File, segment: &Path) -> io::Result<()> {
    let mut archive = Builder::new(BufWriter::new(nested));
    for file in files_below(segment)? {
        let inside = file.strip_prefix(segment).map_err(io::Error::other)?;
        let name = Path::new("snapshot/files").join(inside);
        archive.append_file(name, &mut File::open(&file)?)?;
    }
    archive.into_inner()?.flush()
}

fn files_below(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                directories.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// A writer that computes the SHA-256 of what passes.
pub(crate) struct Hashing<W> {
    inner: W,
    context: digest::Context,
}

impl<W> Hashing<W> {
    pub(crate) fn new(inner: W) -> Self {
        let context = digest::Context::new(&digest::SHA256);
        Self { inner, context }
    }

    /// The writer, and the digest in hex.
    pub(crate) fn finish(self) -> (W, String) {
        let digest = self.context.finish();
        let hex = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
        (self.inner, hex.collect())
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.inner.write(bytes)?;
        self.context.update(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
