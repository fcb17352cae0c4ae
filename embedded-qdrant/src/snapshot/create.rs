//! Writing snapshots: the tars that a Qdrant server restores.
//!
//! A shard, in this order:
//! ```text
//! segments/{uuid}.tar        nested, each file as snapshot/files/...; in a stream instead
//! segments/{uuid}/files/...  each file
//! newest_clocks.json         if it was ever written to
//! wal, wal/closed-{n}        a log without operations
//! replica_state.json, shard_config.json
//! ```
//! A collection is its shards, each below `{id}/` and without segments if it is on other
//! nodes only, and `version.info`, `config.json`, `shard_key_mapping.json`,
//! `payload_index.json`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use qdrant_edge::EdgeShard;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};
use tempfile::{NamedTempFile, TempPath};

use super::log;
use crate::cluster::{Placed, Topology};
use crate::collection::{CONFIG, OpenCollection, PAYLOAD_INDEX, SHARD_KEYS, VERSION};
use crate::disk;
use crate::error::{Error, Result};

/// A finished tar that nobody can see yet.
pub(crate) struct Written {
    pub(crate) file: TempPath,
    /// SHA-256 of the file, in hex.
    pub(crate) checksum: String,
}

/// How the segments of a shard are in its tar.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Form {
    /// A tar for each: what is stored.
    Nested,
    /// As they are: what is streamed.
    Plain,
}

/// Writes snapshots of `collection`, as the node `peer_id` has it, into temporary files
/// below `scratch`.
///
/// The caller keeps writers away meanwhile, which makes a snapshot a point in time.
/// Memory does not depend on the size; the largest segment is on disk twice for a while.
pub(crate) struct Writer<'a> {
    pub(crate) collection: &'a OpenCollection,
    pub(crate) topology: &'a Topology,
    pub(crate) peer_id: u64,
    pub(crate) scratch: &'a Path,
}

impl Writer<'_> {
    /// All shards, and what is common to them.
    pub(crate) fn collection(&self) -> Result<Written> {
        self.write(|archive| {
            for (id, placed) in &self.topology.shards {
                self.append_shard(archive, &format!("{id}/"), (*id, placed), Form::Nested)?;
            }
            for name in [VERSION, CONFIG, SHARD_KEYS, PAYLOAD_INDEX] {
                archive.append_file(name, &mut File::open(self.collection.dir().join(name))?)?;
            }
            Ok(())
        })
    }

    /// One shard.
    pub(crate) fn shard(&self, id: u32, form: Form) -> Result<Written> {
        let placed = self.topology.shard(id)?;
        self.collection.shard(id)?;
        self.write(|archive| self.append_shard(archive, "", (id, placed), form))
    }

    fn write(&self, append: impl FnOnce(&mut Archive) -> io::Result<()>) -> Result<Written> {
        let written = || -> io::Result<Written> {
            let (file, path) = NamedTempFile::new_in(self.scratch)?.into_parts();
            let mut archive = Builder::new(Hashing::new(BufWriter::new(file)));
            append(&mut archive)?;
            let (file, checksum) = archive.into_inner()?.finish();
            file.into_inner()?.sync_all()?;
            Ok(Written { file: path, checksum })
        };
        written().map_err(|error| Error::io("write the snapshot", &error))
    }

    fn append_shard(
        &self,
        archive: &mut Archive,
        prefix: &str,
        (id, placed): (u32, &Placed),
        form: Form,
    ) -> io::Result<()> {
        let local = self.collection.shard(id).ok();
        if let Some(shard) = local {
            self.append_data(archive, prefix, shard, form)?;
        }
        let replicas = placed.replicas.iter();
        let peers: Value = replicas.map(|(id, state)| (id.to_string(), json!(state))).collect();
        let replica = json!({"is_local": local.is_some(), "this_peer_id": self.peer_id, "peers": peers});
        append_json(archive, &format!("{prefix}replica_state.json"), &replica)?;
        append_json(
            archive,
            &format!("{prefix}shard_config.json"),
            &json!({"type": "ReplicaSet"}),
        )
    }

    fn append_data(&self, archive: &mut Archive, prefix: &str, shard: &EdgeShard, form: Form) -> io::Result<()> {
        shard.flush();
        let segments = shard.path().join("segments");
        for segment in disk::names_in(&segments).map_err(io::Error::other)? {
            let dir = segments.join(&segment);
            if form == Form::Plain {
                append_files(archive, &dir, &format!("{prefix}segments/{segment}/files"))?;
                continue;
            }
            let mut nested = tempfile::tempfile_in(self.scratch)?;
            let mut inner = Builder::new(BufWriter::new(&mut nested));
            append_files(&mut inner, &dir, "snapshot/files")?;
            inner.into_inner()?.flush()?;
            io::Seek::rewind(&mut nested)?;
            archive.append_file(format!("{prefix}segments/{segment}.tar"), &mut nested)?;
        }

        let newest = log::newest_version(shard).map_err(io::Error::other)?;
        if newest > 0 || shard.info().points_count > 0 {
            let clock = json!({"peer_id": self.peer_id, "clock_id": 0, "current_tick": newest + 1, "token": 1});
            append_json(
                archive,
                &format!("{prefix}newest_clocks.json"),
                &json!({"clocks": [clock]}),
            )?;
        }
        let mut wal = header(EntryType::Directory, 0o755, 0);
        archive.append_data(&mut wal, format!("{prefix}wal"), io::empty())?;
        let mut file = tempfile::tempfile_in(self.scratch)?;
        let name = log::write_empty(&mut file, newest)?;
        io::Seek::rewind(&mut file)?;
        archive.append_file(format!("{prefix}wal/{name}"), &mut file)
    }
}

type Archive = Builder<Hashing<BufWriter<File>>>;

fn append_json(archive: &mut Builder<impl Write>, name: &str, value: &Value) -> io::Result<()> {
    let content = value.to_string();
    let mut header = header(EntryType::Regular, 0o644, content.len() as u64);
    archive.append_data(&mut header, name, content.as_bytes())
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header
}

/// All files of a segment; holes stay holes (GNU sparse entries). The two that say what it
/// is come last, as on a Qdrant server: a segment that is cut short lacks them.
fn append_files(archive: &mut Builder<impl Write>, segment: &Path, below: &str) -> io::Result<()> {
    let mut files = files_below(segment)?;
    let last = ["segment.json", "version.info"];
    files.sort_by_key(|file| {
        let inside = file.strip_prefix(segment).unwrap_or(file);
        last.iter().position(|name| inside == Path::new(name))
    });
    for file in files {
        let inside = file.strip_prefix(segment).map_err(io::Error::other)?;
        archive.append_file(Path::new(below).join(inside), &mut File::open(&file)?)?;
    }
    Ok(())
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
