//! Making a collection directory out of a snapshot file, without trusting the file.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path};

use qdrant_edge::EdgeShard;
use serde_json::Value;
use tar::{Archive, EntryType};

use crate::collection::{self, CONFIG, OpenCollection, PAYLOAD_INDEX, PayloadIndexes, SHARD, VERSION};
use crate::config::CollectionConfig;
use crate::disk;
use crate::error::{Error, Result};

/// Rebuilds the collection in `snapshot` as the content of the empty directory `into`, and
/// opens it once to see that the engine accepts it.
///
/// A cut, garbled or unsafe file is an error; what is then left in `into` is of no use.
pub(crate) fn unpack(snapshot: &Path, into: &Path) -> Result<()> {
    unpack_tar(snapshot, into)
        .map_err(|error| Error::bad_input(format_args!("the snapshot cannot be unpacked: {error}")))?;
    // A tar that was cut between two entries looks whole but for what is last in it.
    for name in [VERSION, CONFIG] {
        if !into.join(name).is_file() {
            return Err(Error::bad_input(format_args!(
                "the snapshot is incomplete or no collection snapshot: it has no {name}"
            )));
        }
    }
    let config: CollectionConfig = read_foreign(&into.join(CONFIG))?;
    config.check()?;
    // Absent in snapshots of old releases.
    let indexes: PayloadIndexes = match into.join(PAYLOAD_INDEX) {
        path if path.is_file() => read_foreign(&path)?,
        _ => PayloadIndexes::default(),
    };
    unpack_shard(&into.join(SHARD))?;
    collection::describe(into, &config, &indexes)?;

    let open = OpenCollection::load(into).map_err(|error| error.context("the engine does not open the snapshot"))?;
    let newest = newest_version(&open.shard)?;
    drop(open);
    start_log_above(&into.join(SHARD).join("wal"), newest)
}

fn read_foreign<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    disk::read_json(path).map_err(|error| Error::bad_input(format_args!("the snapshot's configuration: {error}")))
}

/// Unpacks directories, regular and sparse files with plain relative names, nothing else.
fn unpack_tar(snapshot: &Path, into: &Path) -> io::Result<()> {
    let mut file = File::open(snapshot)?;
    expect_end_marker(&mut file)?;
    let mut archive = Archive::new(BufReader::new(file));
    archive.set_overwrite(false);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let kind = entry.header().entry_type();
        if !matches!(kind, EntryType::Directory | EntryType::Regular | EntryType::GNUSparse) {
            return Err(io::Error::other(format!(
                "{path:?} is a {kind:?}; only directories and files are allowed"
            )));
        }
        let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !path.components().all(plain) {
            return Err(io::Error::other(format!("{path:?} leaves the directory")));
        }
        entry.unpack_in(into)?;
    }
    Ok(())
}

/// Every complete tar ends with two blocks of zeros.
fn expect_end_marker(file: &mut File) -> io::Result<()> {
    let mut end = [1; 1024];
    let whole = file.seek(SeekFrom::End(-1024)).is_ok()
        && file.read_exact(&mut end).is_ok()
        && end.iter().all(|byte| *byte == 0);
    file.rewind()?;
    if !whole {
        return Err(io::Error::other("it is no complete tar archive"));
    }
    Ok(())
}

/// Lets the engine unpack the segments, nested tars included, in place.
fn unpack_shard(shard: &Path) -> Result<()> {
    if !shard.join("wal").is_dir() || !shard.join("segments").is_dir() {
        return Err(Error::bad_input(format_args!(
            "the snapshot is incomplete: it has no segments or no write-ahead log of shard {SHARD}"
        )));
    }
    // The engine's only public way to do this starts with unpacking a tar into the shard
    // directory. The shard is there already, so the tar is one without entries.
    let unpack = || -> io::Result<()> {
        let mut nothing = tempfile::NamedTempFile::new_in(shard)?;
        nothing.write_all(&[0; 1024])?;
        EdgeShard::unpack_snapshot(nothing.path(), shard).map_err(io::Error::other)
    };
    unpack().map_err(|error| Error::bad_input(format_args!("the snapshot's segments cannot be unpacked: {error}")))
}

/// The newest operation that is in the segments of a shard.
fn newest_version(shard: &EdgeShard) -> Result<u64> {
    let manifest = serde_json::to_value(shard.snapshot_manifest()?).map_err(Error::internal)?;
    let segments = manifest.as_object().into_iter().flatten();
    let versions = segments.filter_map(|(_, segment)| segment.get("segment_version"));
    Ok(versions.filter_map(Value::as_u64).max().unwrap_or(0))
}

/// Replaces the write-ahead log by an empty one that begins above `newest`.
///
/// The engine numbers operations by their place in the log and drops an operation that is
/// older than the point it changes. With a log that begins at 0 the first updates of
/// restored points would vanish without an error. Nothing is lost with the old log: the
/// engine never replays it. The file is what Qdrant's own
/// `Wal::generate_empty_wal_starting_at_index` writes: a segment header (`wal`, format
/// version 0, a CRC seed) and zeros up to the capacity.
fn start_log_above(wal: &Path, newest: u64) -> Result<()> {
    const CAPACITY: u64 = 32 * 1024 * 1024;
    let replace = || -> io::Result<()> {
        fs::remove_dir_all(wal)?;
        fs::create_dir(wal)?;
        let mut file = File::create(wal.join(format!("closed-{}", newest + 1)))?;
        file.write_all(b"wal\0seed")?;
        file.set_len(CAPACITY)?;
        file.sync_all()
    };
    replace().map_err(|error| Error::io(format_args!("prepare the log {wal:?}"), &error))
}
