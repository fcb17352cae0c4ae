//! Making a collection or shard directory out of a snapshot file, without trusting the file.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path};

use qdrant_edge::EdgeShard;
use serde_json::Value;
use tar::{Archive, EntryType};

use super::log;
use crate::cluster::Mapping;
use crate::collection::{self, CONFIG, OpenCollection, PAYLOAD_INDEX, PayloadIndexes, SHARD_KEYS, VERSION, shards_in};
use crate::config::CollectionConfig;
use crate::disk;
use crate::error::{Error, Result};

/// Rebuilds the collection in `snapshot` as the content of the empty directory `into`, and
/// opens it once to see that the engine accepts it. Shards that the snapshot only names,
/// since they are on other nodes, are left out.
///
/// A cut, garbled or unsafe file is an error; what is then left in `into` is of no use.
pub(crate) fn unpack(snapshot: &Path, into: &Path) -> Result<()> {
    unpack_tar(snapshot, into, End::Marked)
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
    let keys = match into.join(SHARD_KEYS) {
        path if path.is_file() => read_foreign::<Mapping>(&path)?.keys(),
        _ => Default::default(),
    };
    let expected: Vec<u32> = match config.is_custom() {
        true => keys.keys().copied().collect(),
        false => (0..config.params.shard_number.get()).collect(),
    };
    for &id in &expected {
        let shard = into.join(id.to_string());
        if !shard.is_dir() {
            return Err(Error::internal(format_args!(
                "No shard found: {id} at {}",
                into.display()
            )));
        }
        match is_local(&shard)? {
            Some(false) => disk::remove_dir(&shard)?,
            _ => unpack_segments(&shard, id)?,
        }
    }
    for unknown in shards_in(into)?.into_iter().filter(|id| !expected.contains(id)) {
        disk::remove_dir(&into.join(unknown.to_string()))?;
    }
    collection::describe(into, &config, &indexes, &keys)?;

    let open = OpenCollection::load(into).map_err(|error| error.context("the engine does not open the snapshot"))?;
    let newest: Vec<_> = open
        .shards()
        .map(|(id, shard)| Ok((open.shard_dir(id), log::newest_version(shard)?)))
        .collect::<Result<_>>()?;
    drop(open);
    newest
        .into_iter()
        .try_for_each(|(shard, newest)| log::start_above(&shard.join("wal"), newest))
}

/// Rebuilds the shard in `snapshot` as the content of the empty directory `into`. `false`
/// if it then has no points, whatever else is in the file, since the file does not say that
/// the shard was on the node that made it: so a Qdrant server takes a file that was cut
/// between its log and its end.
pub(crate) fn unpack_shard(snapshot: &Path, into: &Path) -> Result<bool> {
    unpack_shard_until(snapshot, into, End::Anywhere)
}

/// The same, and a file that was cut is an error.
pub(crate) fn unpack_shard_strictly(snapshot: &Path, into: &Path) -> Result<bool> {
    unpack_shard_until(snapshot, into, End::Marked)
}

fn unpack_shard_until(snapshot: &Path, into: &Path, end: End) -> Result<bool> {
    let failed = |error: io::Error| Error::internal(format_args!("File IO error: {error}"));
    unpack_tar(snapshot, into, end).map_err(failed)?;
    let local = is_local(into)? == Some(true);
    if local {
        restore_segments(into).map_err(failed)?;
    }
    if !has_data(into) {
        return Err(Error::bad_request("Invalid snapshot"));
    }
    Ok(local)
}

fn read_foreign<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    disk::read_json(path).map_err(|error| Error::bad_input(format_args!("the snapshot's configuration: {error}")))
}

/// Where a tar may end.
#[derive(PartialEq)]
enum End {
    /// At its end marker.
    Marked,
    /// Between any two entries: a Qdrant server reads no further than it gets.
    Anywhere,
}

/// Unpacks directories, regular and sparse files with plain relative names, nothing else.
fn unpack_tar(snapshot: &Path, into: &Path, end: End) -> io::Result<()> {
    let mut file = File::open(snapshot)?;
    if end == End::Marked {
        expect_end_marker(&mut file)?;
    }
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

fn has_data(shard: &Path) -> bool {
    shard.join("wal").is_dir() && shard.join("segments").is_dir()
}

/// What `replica_state.json` says, if it is there.
fn is_local(shard: &Path) -> Result<Option<bool>> {
    let path = shard.join("replica_state.json");
    if !path.is_file() {
        return Ok(None);
    }
    let state: Value = read_foreign(&path)?;
    Ok(Some(state["is_local"] == true))
}

fn unpack_segments(shard: &Path, id: u32) -> Result<()> {
    if !has_data(shard) {
        return Err(Error::bad_input(format_args!(
            "the snapshot is incomplete: it has no segments or no write-ahead log of shard {id}"
        )));
    }
    restore_segments(shard)
        .map_err(|error| Error::bad_input(format_args!("the snapshot's segments cannot be unpacked: {error}")))
}

/// Lets the engine unpack the segments, nested tars included, in place.
fn restore_segments(shard: &Path) -> io::Result<()> {
    // The engine's only public way to do this starts with unpacking a tar into the shard
    // directory. The shard is there already, so the tar is one without entries.
    let mut nothing = tempfile::NamedTempFile::new_in(shard)?;
    nothing.write_all(&[0; 1024])?;
    EdgeShard::unpack_snapshot(nothing.path(), shard).map_err(io::Error::other)
}
