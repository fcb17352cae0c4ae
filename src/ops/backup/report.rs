//! What a run comes to: the report for its caller, and the manifest if there is something to restore.

use crate::base::error::{Code, Error, Result};
use crate::repository::manifest::{self, Failure, Manifest, QdrantInfo, Sealed, Status};
use crate::repository::names::BackupId;
use crate::repository::selection::Selection;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The backup's id.
    pub id: BackupId,
    /// Whether everything asked for was saved.
    pub status: Outcome,
    /// Start of the run.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// End of the run.
    #[serde(with = "time::serde::rfc3339")]
    pub finished_at: OffsetDateTime,
    /// Where the manifest is; none when nothing was saved.
    pub manifest: Option<String>,
    /// What was saved.
    pub collections: Vec<Saved>,
    /// What was not.
    pub failed: Vec<Failure>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

/// Whether everything asked for was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All of it.
    Complete,
    /// Some of it.
    Partial,
    /// Nothing.
    Failed,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The word in the API, as serde writes it.
        self.serialize(f)
    }
}

/// One saved collection.
#[derive(Clone, Debug, Serialize)]
pub struct Saved {
    /// Its name.
    pub name: String,
    /// Exact count after the snapshot was made.
    pub points: u64,
    /// Bytes stored.
    pub bytes: u64,
}

impl Report {
    /// What the run came to that wrote this manifest into the store at `url`.
    pub(super) fn of(manifest: &Manifest, url: &str) -> Self {
        Self {
            id: manifest.id,
            status: match manifest.status {
                Status::Complete => Outcome::Complete,
                Status::Partial => Outcome::Partial,
            },
            started_at: manifest.started_at,
            finished_at: manifest.finished_at,
            manifest: Some(format!("{url}/{}", manifest.id.manifest())),
            collections: manifest.collections.iter().map(Saved::of).collect(),
            failed: manifest.failed.clone(),
            warnings: manifest.warnings.clone(),
        }
    }

    /// Bytes of everything that was saved.
    pub fn bytes(&self) -> u64 {
        self.collections.iter().map(|c| c.bytes).sum()
    }

    /// The error that the run amounts to, if not everything was saved.
    pub fn error(&self) -> Option<Error> {
        let all = self.collections.len() + self.failed.len();
        let names: Vec<_> = self.failed.iter().map(|f| f.collection.as_str()).collect();
        let names = names.join(", ");
        match self.status {
            Outcome::Complete => None,
            Outcome::Partial => Some(
                Error::new(
                    Code::BackupPartial,
                    format!(
                        "backup {}: {} of {all} collections could not be saved: {names}",
                        self.id,
                        self.failed.len()
                    ),
                )
                .remedy("the others are saved and can be restored; mend the causes and run it again"),
            ),
            Outcome::Failed => Some(
                Error::new(
                    Code::BackupFailed,
                    format!("backup {}: nothing could be saved of: {names}", self.id),
                )
                .remedy("mend the causes and run it again; `qdrant-backup check` helps to find them"),
            ),
        }
    }
}

impl Saved {
    pub(super) fn of(collection: &manifest::Collection) -> Self {
        Self {
            name: collection.name.clone(),
            points: collection.points_after,
            bytes: collection.bytes(),
        }
    }
}

/// What became of the collections of a run, or of some of them.
#[derive(Default)]
pub(super) struct Results {
    pub(super) collections: Vec<manifest::Collection>,
    pub(super) failed: Vec<Failure>,
    /// Deleted on Qdrant in mid-run.
    pub(super) gone: Vec<String>,
    /// Not saved, because the run was told to stop.
    pub(super) stopped: Vec<String>,
}

/// What is known of a run beside its results.
pub(super) struct Run {
    pub(super) id: BackupId,
    pub(super) started_at: OffsetDateTime,
    pub(super) finished_at: OffsetDateTime,
    pub(super) qdrant: QdrantInfo,
    pub(super) selection: Selection,
    pub(super) warnings: Vec<String>,
    pub(super) extra: BTreeMap<String, Value>,
}

impl Run {
    /// The report and the manifest that `results` amount to; no manifest when nothing was saved.
    pub(super) fn conclude(mut self, mut results: Results) -> Result<(Report, Option<Sealed>)> {
        let id = self.id;
        results.collections.sort_by(|a, b| a.name.cmp(&b.name));
        for name in results.gone {
            let text = format!("collection {name:?} was deleted on Qdrant in mid-run; it is not in this backup");
            // Of a pattern there is one less; who asked for it by its name does not have what was asked for.
            if self.selection.collections.contains(&name) {
                let error =
                    Error::new(Code::CollectionNotFound, text).remedy("leave it out, or find out what deletes it");
                results.failed.push(Failure::of(&name, &error));
            } else {
                self.warnings.push(text);
            }
        }
        let rest = (
            &self.qdrant,
            &self.selection,
            &self.warnings,
            &self.extra,
            &results.failed,
        );
        for (name, error) in manifest::spoilers(&results.collections, &rest)? {
            results.collections.retain(|c| c.name != name);
            results.failed.push(Failure::of(&name, &error));
        }
        results.failed.sort_by(|a, b| a.collection.cmp(&b.collection));
        for warning in &self.warnings {
            tracing::warn!(backup = %id, "{warning}");
        }
        let status = match (results.collections.is_empty(), results.failed.is_empty()) {
            (false, true) => Outcome::Complete,
            (false, false) => Outcome::Partial,
            (true, false) => Outcome::Failed,
            (true, true) => {
                return Err(Error::new(
                    Code::NothingToBackUp,
                    "every collection to be backed up was deleted in mid-run",
                )
                .remedy("nothing was saved; check what deletes collections"));
            }
        };
        let report = Report {
            id,
            status,
            started_at: self.started_at,
            finished_at: self.finished_at,
            manifest: None,
            collections: results.collections.iter().map(Saved::of).collect(),
            failed: results.failed.clone(),
            warnings: self.warnings.clone(),
        };
        let status = match status {
            Outcome::Complete => Status::Complete,
            Outcome::Partial => Status::Partial,
            Outcome::Failed => return Ok((report, None)),
        };
        let manifest = Manifest {
            format: manifest::FORMAT,
            id,
            status,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            finished_at: self.finished_at,
            qdrant: self.qdrant,
            selection: self.selection,
            collections: results.collections,
            failed: results.failed,
            warnings: self.warnings,
            extra: self.extra,
        };
        Ok((report, Some(Sealed::new(&manifest)?)))
    }
}
