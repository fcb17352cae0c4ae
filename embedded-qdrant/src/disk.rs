//! File operations that name the file when they fail.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

pub(crate) fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| Error::io(format_args!("create {path:?}"), &error))
}

/// Removes a directory with all that is in it; one that is not there is fine.
pub(crate) fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(format_args!("remove {path:?}"), &error)),
        _ => Ok(()),
    }
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|error| Error::io(format_args!("rename {from:?} to {to:?}"), &error))
}

/// Replaces a file as a whole: a reader sees the old or the new content.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<()> {
    let written = || -> io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        io::Write::write_all(&mut file, content)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    written().map_err(|error| Error::io(format_args!("write {path:?}"), &error))
}

pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    // By way of a Value, whose fields are sorted: equal content makes equal bytes.
    let value = serde_json::to_value(value).map_err(Error::internal)?;
    write(path, value.to_string().as_bytes())
}

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).map_err(|error| Error::io(format_args!("read {path:?}"), &error))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::internal(format_args!("{path:?} is not what it should be: {error}")))
}

/// The names of the entries of a directory, sorted; empty if there is no such directory.
pub(crate) fn names_in(path: &Path) -> Result<Vec<String>> {
    let read = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            let name = entry?.file_name();
            names.push(
                name.into_string()
                    .map_err(|name| io::Error::other(format!("the name {name:?} is not UTF-8")))?,
            );
        }
        names.sort();
        Ok(names)
    };
    match read() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(|error| Error::io(format_args!("list {path:?}"), &error)),
    }
}
