//! The way from the root to an object.

use super::beneath::Directory;
use crate::base::error::Result;
use std::path::{Path, PathBuf};

/// The way to an object: the directories from the root to the one that it is in.
pub(super) struct ObjectPath {
    above: Vec<Directory>,
    parent: Directory,
    names: Vec<String>,
}

impl ObjectPath {
    /// Opens the directories above `key`; `None` where one of them is missing.
    pub(super) fn find(root: &Path, key: &str) -> Result<Option<Self>> {
        Self::walk(root, key, Directory::folder)
    }

    /// As [`ObjectPath::find`], and makes those that are missing; `None` when one of them was removed meanwhile.
    pub(super) fn make(root: &Path, key: &str) -> Result<Option<Self>> {
        Self::walk(root, key, Directory::make_folder)
    }

    fn walk(root: &Path, key: &str, step: fn(&Directory, &str) -> Result<Option<Directory>>) -> Result<Option<Self>> {
        let (mut above, mut parent) = (Vec::new(), Directory::root(root)?);
        let names: Vec<_> = key.split('/').map(str::to_owned).collect();
        for name in &names[..names.len() - 1] {
            let Some(folder) = step(&parent, name)? else {
                return Ok(None);
            };
            above.push(std::mem::replace(&mut parent, folder));
        }
        Ok(Some(Self { above, parent, names }))
    }

    /// The directory in which the object is.
    pub(super) fn parent(&self) -> &Directory {
        &self.parent
    }

    /// As [`ObjectPath::parent`], without the rest.
    pub(super) fn into_parent(self) -> Directory {
        self.parent
    }

    /// The object's name there.
    pub(super) fn name(&self) -> &str {
        self.names.last().map_or("", String::as_str)
    }

    /// The object's path, for messages.
    pub(super) fn path(&self) -> PathBuf {
        self.parent.path(self.name())
    }

    /// Makes all names on the way durable: directories may be new as well.
    pub(super) fn sync(&self) -> Result<()> {
        self.parent.sync()?;
        self.above.iter().rev().try_for_each(Directory::sync)
    }

    /// Removes directories that a deletion left empty; one that is not empty stays.
    pub(super) fn remove_empty(&self) {
        for (directory, name) in self.above.iter().zip(&self.names).rev() {
            if directory.remove_folder(name).is_err() {
                break;
            }
        }
    }
}
