//! `drilled.json` beside the manifest: what the last drill came to.

use crate::base::error::{Code, Error, ErrorInfo, Result};
use crate::repository::names::BackupId;
use crate::wire::store::record;
use crate::wire::store::{Condition, Store};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// The format's version.
const FORMAT: u32 = 1;
/// The target of a drill that restored nothing: the engine has opened the snapshots, in the process itself.
pub(crate) const ENGINE: &str = "qdrant-edge, in this process";

/// What a drill found, on a server or by the engine in this process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DrillReport {
    /// Version of this format.
    pub format: u32,
    pub id: BackupId,
    /// When the drill ended.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Who ran it.
    pub by: String,
    pub tool_version: String,
    /// The Qdrant that it was restored into, or the engine that opened it.
    pub target: String,
    /// Its release.
    pub(crate) target_version: String,
    /// The overall result.
    pub verdict: DrillVerdict,
    /// The result for each collection.
    pub collections: Vec<CollectionDrill>,
    /// What the reader should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Why all this was not recorded beside the manifest: the next one who looks does not learn it.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub not_recorded: Option<ErrorInfo>,
}

impl record::Record for DrillReport {
    const WHAT: &'static str = "the result of a drill";
    const LARGEST: u64 = 16 << 20;
}

/// Whether what came back was equal to the backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrillVerdict {
    /// It was.
    Passed,
    /// It was not, or nothing came back.
    Failed,
}

/// The result for one collection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CollectionDrill {
    /// Its name in the backup.
    pub name: String,
    /// What came of it.
    pub verdict: DrillVerdict,
    /// Exact count of what came back.
    pub points: Option<u64>,
    /// Points that were read with their vectors.
    pub sampled: Option<usize>,
    /// Searches that were made; a server's answers have nothing to be compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub searches: Option<usize>,
    /// Bytes moved.
    pub bytes: u64,
    /// Seconds for moving and restoring them.
    pub seconds: Option<f64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl DrillReport {
    /// What came of a drill that ended at a time, held by somebody, on a target of some release. It passed if all collections
    /// did.
    pub(crate) fn new(
        id: BackupId,
        (at, by): (OffsetDateTime, &str),
        (target, target_version): (&str, &str),
        collections: Vec<CollectionDrill>,
        warnings: Vec<String>,
    ) -> Self {
        let passed = collections.iter().all(|c| c.verdict == DrillVerdict::Passed);
        Self {
            format: FORMAT,
            id,
            at,
            by: by.to_owned(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            target: target.to_owned(),
            target_version: target_version.to_owned(),
            verdict: if passed {
                DrillVerdict::Passed
            } else {
                DrillVerdict::Failed
            },
            collections,
            warnings,
            not_recorded: None,
        }
    }

    /// What is recorded of one that is too long.
    fn without_details(&self) -> Self {
        Self {
            collections: Vec::new(),
            warnings: vec![format!(
                "the results of {} collections and {} warnings are too long to be recorded",
                self.collections.len(),
                self.warnings.len()
            )],
            ..self.clone()
        }
    }

    /// Notes whether it was recorded. A failure does not hide the result.
    pub(crate) fn recorded(&mut self, result: Result<()>) {
        if let Err(error) = result {
            let (id, verdict) = (self.id, self.verdict);
            tracing::warn!(backup = %id, ?verdict, error = %error, "failed to record the drill of backup {id}");
            self.not_recorded = Some((&error).into());
        }
    }

    /// The error of a failed drill; of a passed one, that the result was not recorded.
    pub fn error(&self) -> Option<Error> {
        let problems: Vec<_> = self
            .collections
            .iter()
            .filter_map(|c| c.problem.as_ref().map(|p| format!("{:?}: {p}", c.name)))
            .collect();
        match self.verdict {
            DrillVerdict::Passed => {
                let doing = format!("backup {} passed its drill, but the result was not recorded", self.id);
                self.not_recorded.as_ref().map(|why| why.error(&doing))
            }
            DrillVerdict::Failed => Some(
                Error::new(
                    Code::RestoreFailed,
                    format!("backup {} failed its drill: {}", self.id, problems.join(" | ")),
                )
                .permanent(true)
                .remedy("make another backup, and drill that; do not rely on this one"),
            ),
        }
    }
}

/// What the last drill of a backup found; `None` without one, or when what is there cannot be read or is of another backup.
pub async fn read(store: &dyn Store, id: &BackupId) -> Result<Option<DrillReport>> {
    match record::read::<DrillReport>(store, &id.drilled()).await {
        Err(error) if error.code() == Code::BackupDamaged => Ok(None),
        read => Ok(read?.filter(|drilled| drilled.id == *id)),
    }
}

/// Records it beside the manifest, in the place of an older one.
pub(crate) async fn write(store: &dyn Store, drilled: &DrillReport) -> Result<()> {
    let key = drilled.id.drilled();
    let condition = match store.head(&key).await? {
        Some(meta) => Condition::Unchanged(meta.version),
        None => Condition::Absent,
    };
    let written = match record::write::<DrillReport>(store, &key, drilled, condition.clone()).await {
        // Its verdict must not be lost because there is too much to say.
        Err(error) if error.code() == Code::Unsupported => {
            record::write::<DrillReport>(store, &key, &drilled.without_details(), condition).await
        }
        written => written,
    };
    match written? {
        Some(_) => Ok(()),
        None => Err(Error::new(
            Code::StoreConflict,
            format!("{}/{key} was changed by another run", store.url()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::store::DirStore;
    use crate::wire::store::record::Record as _;
    use time::macros::datetime;

    #[tokio::test]
    async fn a_failed_drill_is_recorded_however_much_there_is_to_say_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirStore::open(dir.path()).await.unwrap();
        let at = datetime!(2026-11-22 12:00 UTC);
        let failed = CollectionDrill {
            name: "docs".into(),
            verdict: DrillVerdict::Failed,
            points: None,
            sampled: None,
            searches: None,
            bytes: 1,
            seconds: None,
            problem: Some("x".repeat(DrillReport::LARGEST as usize)),
        };
        let drilled = DrillReport::new(BackupId::at(at), (at, "x"), ("q", "1.18.3"), vec![failed], Vec::new());
        write(&store, &drilled).await.unwrap();
        let read = read(&store, &drilled.id).await.unwrap().unwrap();
        assert_eq!((read.verdict, read.collections.len()), (DrillVerdict::Failed, 0));
        assert!(read.warnings[0].contains("1 collections"), "{read:?}");
    }
}
