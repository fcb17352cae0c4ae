//! Names that come from clients and end up as names of files: parsed once,
//! here, so that nothing else has to wonder what is in them.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Qdrant's own list (`lib/common/common/src/validation.rs`): characters that no
/// collection name and no vector name may hold, because both become path components.
const FORBIDDEN: [char; 11] = ['<', '>', ':', '"', '/', '\\', '|', '?', '*', '\0', '\u{1F}'];

/// The longest name in bytes: Qdrant's limit of 255 characters, and a file system's of 255 bytes.
const MAX_BYTES: usize = 255;

/// The name of a collection that is safe as one path component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CollectionName(String);

impl CollectionName {
    /// Checks a name as Qdrant does for new collections, and `.` and `..` on top, which
    /// Qdrant never sees because its router resolves them.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        let refuse = |why: &dyn fmt::Display| {
            Err(Error::validation(format_args!(
                "Validation error in path parameters: [collection_name: {why}]"
            )))
        };
        if name.is_empty() || name.len() > MAX_BYTES {
            return refuse(&format_args!(
                "length must be from 1 to {MAX_BYTES} bytes, this has {}",
                name.len()
            ));
        }
        if let Some(found) = name.chars().find(|c| FORBIDDEN.contains(c)) {
            return refuse(&format_args!(
                "collection name cannot contain \"{}\" char",
                found.escape_debug()
            ));
        }
        if name == "." || name == ".." {
            return refuse(&"collection name cannot be a directory reference");
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as the client wrote it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The place of this collection below a directory that holds one entry per collection.
    pub(crate) fn below(&self, parent: &Path) -> PathBuf {
        parent.join(&self.0)
    }
}

/// Checks the name of a vector, which the engine uses as a part of directory names
/// (Qdrant's rule: at most 200 bytes and none of the characters above).
pub(crate) fn check_vector_name(name: &str) -> Result<()> {
    if name.len() > 200 || name.contains(FORBIDDEN) {
        return Err(Error::validation(format_args!(
            "Validation error in JSON body: vector name {name:?} must be at most 200 bytes \
             long and hold none of {FORBIDDEN:?}"
        )));
    }
    Ok(())
}

impl fmt::Display for CollectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The path of a file named by a client below `directory`, or `None` if the name is
/// anything but one plain path component.
pub(crate) fn file_below(directory: &Path, name: &str) -> Option<PathBuf> {
    let plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0']);
    plain.then(|| directory.join(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn unusual_but_legal_names_are_accepted() {
        for name in ["a", "späße 🦀", "100% sure", "a..b", "...", "%2e%2e", &"x".repeat(255)] {
            assert_eq!(CollectionName::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_could_leave_the_directory_are_refused() {
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "../x",
            "a\\b",
            "a\0b",
            "a:b",
            "a?b",
            "a*b",
            &"x".repeat(256),
        ] {
            assert!(CollectionName::parse(name).is_err(), "{name:?}");
        }
        for name in ["", ".", "..", "../x", "a/b", "a\\b"] {
            assert!(file_below(Path::new("/d"), name).is_none(), "{name:?}");
        }
    }
}
