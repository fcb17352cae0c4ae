//! `version`: needs no configuration.

use super::{print, print_json};
use crate::base::error::Result;
use crate::repository::manifest::FORMAT;
use serde::Serialize;

/// From which commit this was built, if the build was told.
const COMMIT: Option<&str> = option_env!("QDRANT_BACKUP_COMMIT");

#[derive(Serialize)]
struct Version {
    version: &'static str,
    /// Null: the build was not told.
    commit: Option<&'static str>,
    formats: Formats,
}

#[derive(Serialize)]
struct Formats {
    /// Of the manifests that are written; those up to it are read.
    manifest: u32,
}

pub(crate) fn version(json: bool) -> Result<()> {
    let commit = COMMIT.filter(|commit| !matches!(*commit, "" | "unknown"));
    let version = env!("CARGO_PKG_VERSION");
    match json {
        true => print_json(&Version {
            version,
            commit,
            formats: Formats { manifest: FORMAT },
        }),
        false => {
            let commit = commit.map(|commit| format!(" ({commit})")).unwrap_or_default();
            print(&format!("qdrant-backup {version}{commit}\n"))
        }
    }
}
