//! A file that others read while it is replaced.

use crate::base::error::{Code, Error, Result};
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Puts `text` into the place of the file at `path`, so that a reader finds the old content or the new one, and never a part.
/// Every user may read it (as the umask allows): what it is written for runs as another one.
pub(super) fn replace(path: &Path, text: &str) -> Result<()> {
    let failed = |e: std::io::Error| {
        let error = Error::new(Code::OutputFailed, format!("writing {}", path.display())).because(e);
        error.remedy("name a file in a directory that exists and that this user may write")
    };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // Its name has not the ending that a collector looks for.
    let mut new = tempfile::Builder::new()
        .prefix(".qdrant-backup-")
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(failed)?;
    new.write_all(text.as_bytes()).map_err(failed)?;
    new.as_file().sync_all().map_err(failed)?;
    new.persist(path).map_err(|e| failed(e.error)).map(drop)
}
