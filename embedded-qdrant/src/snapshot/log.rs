//! The write-ahead log of a shard as snapshots carry it: without operations.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use qdrant_edge::EdgeShard;
use serde_json::Value;

use crate::error::{Error, Result};

/// The newest operation that is in the segments of a shard.
pub(crate) fn newest_version(shard: &EdgeShard) -> Result<u64> {
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
/// engine never replays it.
pub(crate) fn start_above(wal: &Path, newest: u64) -> Result<()> {
    let replace = || -> io::Result<()> {
        fs::remove_dir_all(wal)?;
        fs::create_dir(wal)?;
        let staged = wal.join("new");
        let mut file = File::create(&staged)?;
        let name = write_empty(&mut file, newest)?;
        file.sync_all()?;
        fs::rename(staged, wal.join(name))
    };
    replace().map_err(|error| Error::io(format_args!("prepare the log {wal:?}"), &error))
}

/// Writes the only file of an empty log that begins above `newest`, and says its name.
///
/// It is what Qdrant's own `Wal::generate_empty_wal_starting_at_index` writes: a segment
/// header (`wal`, format version 0, a CRC seed) and zeros up to the capacity.
pub(crate) fn write_empty(file: &mut File, newest: u64) -> io::Result<String> {
    const CAPACITY: u64 = 32 * 1024 * 1024;
    file.write_all(b"wal\0seed")?;
    file.set_len(CAPACITY)?;
    Ok(format!("closed-{}", newest + 1))
}
