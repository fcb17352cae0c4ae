//! The snapshot files of a collection: listed, described, deleted.
//!
//! A file `x.snapshot` made here has its SHA-256 beside it in `x.snapshot.checksum`, as
//! on a Qdrant server; an uploaded one has none.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;
use time::OffsetDateTime;
use time::macros::format_description;

use super::create::Written;
use crate::disk;
use crate::error::{Error, Result};
use crate::names::{self, CollectionName};

/// What the API says about one snapshot file.
#[derive(Debug, Serialize)]
pub(crate) struct Description {
    name: String,
    /// UTC without a zone, to the second.
    creation_time: Option<String>,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
}

/// `{collection}-{peer_id}-{Y-m-d-H-M-S}.snapshot`. Two requests in one second mean the
/// same file; the second one replaces it, as on a Qdrant server.
pub(crate) fn name(collection: &CollectionName, peer_id: u64, now: OffsetDateTime) -> Result<String> {
    Ok(format!("{collection}-{peer_id}-{}.snapshot", second(now)?))
}

/// `{collection}-shard-{id}-{Y-m-d-H-M-S}.snapshot`.
pub(crate) fn shard_name(collection: &CollectionName, shard: u32, now: OffsetDateTime) -> Result<String> {
    Ok(format!("{collection}-shard-{shard}-{}.snapshot", second(now)?))
}

fn second(now: OffsetDateTime) -> Result<String> {
    let format = format_description!("[year]-[month]-[day]-[hour]-[minute]-[second]");
    now.to_offset(time::UtcOffset::UTC)
        .format(&format)
        .map_err(Error::internal)
}

/// Puts a finished snapshot where clients see it, its checksum first.
pub(crate) fn publish(written: Written, directory: &Path, name: &str) -> Result<Description> {
    disk::create_dir(directory)?;
    let path = directory.join(name);
    disk::write(&checksum_path(&path), written.checksum.as_bytes())?;
    written
        .file
        .persist(&path)
        .map_err(|error| Error::io(format_args!("publish {path:?}"), &error.error))?;
    describe(&path, name.to_owned())
}

/// All snapshots in the directory, sorted by name.
pub(crate) fn list(directory: &Path) -> Result<Vec<Description>> {
    disk::names_in(directory)?
        .into_iter()
        .filter(|name| name.ends_with(".snapshot"))
        .map(|name| describe(&directory.join(&name), name))
        .collect()
}

/// Removes a snapshot and its checksum.
pub(crate) fn delete(directory: &Path, name: &str) -> Result<()> {
    let path = find(directory, name)?;
    fs::remove_file(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => missing(name),
        _ => Error::io(format_args!("delete {path:?}"), &error),
    })?;
    match fs::remove_file(checksum_path(&path)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::io(format_args!("delete the checksum of {path:?}"), &error))
        }
        _ => Ok(()),
    }
}

/// The path of an existing snapshot; 404 for anything else, names with slashes included.
pub(crate) fn find(directory: &Path, name: &str) -> Result<PathBuf> {
    names::file_below(directory, name)
        .filter(|path| path.is_file())
        .ok_or_else(|| missing(name))
}

pub(crate) fn missing(name: &str) -> Error {
    Error::not_found(format_args!("Snapshot {name}"))
}

/// Where the checksum of a snapshot file stands.
pub(crate) fn checksum_path(snapshot: &Path) -> PathBuf {
    let mut path = snapshot.to_owned().into_os_string();
    path.push(".checksum");
    path.into()
}

fn describe(path: &Path, name: String) -> Result<Description> {
    let metadata = fs::metadata(path).map_err(|error| Error::io(format_args!("read the size of {path:?}"), &error))?;
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
    let creation_time = metadata
        .created()
        .ok()
        .and_then(|created| OffsetDateTime::from(created).format(&format).ok());
    Ok(Description {
        name,
        creation_time,
        size: metadata.len(),
        checksum: fs::read_to_string(checksum_path(path)).ok(),
    })
}
