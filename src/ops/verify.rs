//! Verify: reads every object of a backup back and says whether it is what the manifest says.
//!
//! Two answers are never mixed. A backup *is damaged* when the bytes that the store holds are not those that were saved, or are
//! no whole snapshot. It *could not be checked* when they could not be read, or not be understood by this version: then nothing
//! is said of the backup and nothing is recorded, unless damage was found elsewhere in it.

#[cfg(feature = "engine")]
pub mod engine;
mod object;
#[cfg(feature = "engine")]
mod proof;
mod report;

pub use crate::base::snapshot::{Expected, Structure};
pub use crate::repository::verdicts::verified::{Record, VerifyVerdict, read as read_record};
pub use report::{Checked, Finding, Problem, VerifyReport};

use crate::base::clock::Clock;
use crate::base::error::{Code, Error, ErrorInfo, Result};
use crate::base::total::total;
use crate::ops::events::{Counts, Operation};
use crate::ops::journal::Journal;
use crate::ops::notify::{Follow, Notifier};
use crate::ops::progress::{Phase, Progress};
use crate::ops::run::{self, Conclusion};
use crate::repository::blobs;
use crate::repository::manifest::{self, Artifact, Collection, Manifest};
use crate::repository::names::BackupId;
use crate::repository::sharding::ShardKeys;
use crate::repository::verdicts::verified;
use crate::wire::store::Store;
use futures_util::{StreamExt, stream};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What verifying works with.
#[derive(Clone, Debug)]
pub struct Verifier {
    /// Where backups are kept.
    pub store: Arc<dyn Store>,
    /// The time of day.
    pub clock: Clock,
    /// Who runs this, e.g. `host/1234`.
    pub who: String,
    /// Objects at once.
    pub concurrency: usize,
    /// Attempts at reading one object, when the failure may pass.
    pub attempts: u32,
    /// Pause before the second attempt; doubles with each further one.
    pub backoff: Duration,
    /// Tells how each verification ends.
    pub notify: Notifier,
}

impl Verifier {
    /// Reads the backup `id` back and records beside its manifest whether it is intact.
    ///
    /// # Errors
    /// `Err` when nothing can be said at all: no such backup, no manifest that this version understands, store unreachable. A
    /// verdict other than intact is an `Ok` here, so that its findings can be shown, and an error by [`VerifyReport::error`]; so is
    /// one that could not be recorded.
    pub async fn run(&self, id: &BackupId) -> Result<VerifyReport> {
        self.run_watched(id, &Progress::new(self.clock.now())).await
    }

    /// The same, where somebody watches.
    ///
    /// # Errors
    /// As [`Verifier::run`].
    pub(crate) async fn run_watched(&self, id: &BackupId, progress: &Progress) -> Result<VerifyReport> {
        let work = self.read_back(id, progress);
        self.telling(Operation::Verify, id, progress, work).await
    }

    /// Does `work` on a backup, without the lease, and tells how far it is, and its end.
    async fn telling<T: Conclusion>(
        &self,
        operation: Operation,
        id: &BackupId,
        progress: &Progress,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let began = progress.now().started_at;
        progress.planned(*id, []);
        progress.begins(None);
        let follow = Follow::run(&self.notify, &self.store, &self.clock, operation, progress);
        let journal = Journal::start(&self.store, &self.clock, &self.who, operation, progress);
        let result = work.await;
        let told = run::end(follow, Some(*id), self.clock.now() - began, result.as_ref());
        journal.end(run::ended(&result)).await;
        told.await;
        result
    }

    async fn read_back(&self, id: &BackupId, progress: &Progress) -> Result<VerifyReport> {
        let at = self.clock.now();
        let store = &*self.store;
        let named = store.head(&id.manifest()).await?;
        let manifest = read_manifest(store, id).await?;
        let (findings, jobs) = plan(id, &manifest);
        let count = jobs.len();
        let to_read = jobs.iter().filter_map(|job| match job {
            Job::Read(subject) => Some((subject.unit(), Some(subject.artifact.bytes))),
            Job::Told(_) => None,
        });
        progress.planned_bytes(*id, to_read);
        let mut objects: Vec<(usize, Checked)> = stream::iter(jobs.into_iter().enumerate())
            .map(|(i, job)| async move {
                let checked = match job {
                    Job::Told(checked) => checked,
                    Job::Read(subject) => {
                        let checked = object::check(self, &subject, progress).await;
                        let is_intact = checked.verdict == VerifyVerdict::Intact;
                        let end = if is_intact { Phase::Verified } else { Phase::Failed };
                        progress.phase(&subject.unit(), end);
                        checked
                    }
                };
                log(id, count, &checked);
                (i, checked)
            })
            .buffer_unordered(self.concurrency.max(1))
            .collect()
            .await;
        objects.sort_by_key(|(i, _)| *i);
        let mut objects: Vec<_> = objects.into_iter().map(|(_, checked)| checked).collect();
        let mut not_restorable = Vec::new();
        for collection in &manifest.collections {
            let Some(why) = collection.cannot_be_restored() else {
                continue;
            };
            for object in objects.iter_mut().filter(|object| object.collection == collection.name) {
                object.warnings.push(why.chain());
            }
            not_restorable.push(collection.name.clone());
        }
        let has = |verdict| objects.iter().any(|object| object.verdict == verdict);
        let mut report = VerifyReport {
            id: *id,
            verdict: match (
                findings.is_empty() && !has(VerifyVerdict::Damaged),
                has(VerifyVerdict::NotChecked),
            ) {
                (false, _) => VerifyVerdict::Damaged,
                (true, true) => VerifyVerdict::NotChecked,
                (true, false) => VerifyVerdict::Intact,
            },
            status: manifest.status,
            at,
            finished_at: self.clock.now(),
            by: self.who.clone(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            bytes: total(objects.iter().map(|object| object.bytes)),
            findings,
            objects,
            not_restorable,
            not_recorded: None,
        };
        // A backup that is being deleted loses its objects one by one: that is no damage.
        let now = store.head(&id.manifest()).await?;
        if now.map(|meta| meta.version) != named.map(|meta| meta.version) {
            return Err(Error::new(
                Code::BackupNotFound,
                format!("backup {id} was deleted during the check"),
            )
            .remedy("run `qdrant-backup list` to see the backups"));
        }
        if report.verdict != VerifyVerdict::NotChecked
            && let Err(error) = verified::write(store, &self.clock, &verified_as(&report)).await
        {
            // What was found may be all that stands between somebody and a damaged backup: it is told all the same.
            tracing::warn!(backup = %id, verdict = ?report.verdict, error = %error, "failed to record the verification of backup {id}");
            report.not_recorded = Some((&error).into());
        }
        Ok(report)
    }
}

impl Conclusion for VerifyReport {
    fn failure(&self) -> Option<ErrorInfo> {
        self.error().map(|error| (&error).into())
    }

    fn counts(&self) -> Counts {
        Counts {
            bytes: self.bytes,
            ..Counts::default()
        }
    }

    // Nothing is held while it is read back.
    fn warn(&mut self, _: String) {}
}

fn verified_as(report: &VerifyReport) -> verified::New<'_, VerifyReport> {
    verified::New {
        id: report.id,
        verdict: report.verdict,
        at: report.at,
        by: &report.by,
        report,
    }
}

async fn read_manifest(store: &dyn Store, id: &BackupId) -> Result<Manifest> {
    let unread = |error| object::unreadable(&id.manifest(), error);
    manifest::read(store, id).await.map_err(unread)
}

/// What to do about one artifact of the manifest.
enum Job {
    Read(object::ObjectToVerify),
    /// It is known without reading.
    Told(Checked),
}

/// Looks through the manifest itself: what is wrong with it, and what to read.
fn plan(id: &BackupId, manifest: &Manifest) -> (Vec<Finding>, Vec<Job>) {
    let mut findings = Vec::new();
    let mut jobs = Vec::new();
    let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for collection in &manifest.collections {
        let name = collection.name.as_str();
        if !names.insert(name) {
            findings.push(Finding::new(
                Problem::NamedTwice,
                format!("collection {name:?} is in the manifest twice"),
            ));
        }
        if collection.artifacts.is_empty() {
            findings.push(Finding::new(
                Problem::NoArtifact,
                format!("collection {name:?} has no object"),
            ));
        }
        if let Some(damage) = collection.damage() {
            findings.push(Finding::new(Problem::NoArtifact, damage));
        }
        for artifact in &collection.artifacts {
            jobs.push(
                match manifest_finding(id, name, artifact, !keys.insert(artifact.key.as_str())) {
                    Some(finding) => Job::Told(Checked::of(name, artifact).found(vec![finding])),
                    None => match blobs::require_known(artifact) {
                        Ok(()) => Job::Read(object::ObjectToVerify {
                            collection: name.to_owned(),
                            artifact: artifact.clone(),
                            structure: expected(collection, artifact),
                        }),
                        Err(error) => Job::Told(Checked::of(name, artifact).not_checked(&error)),
                    },
                },
            );
        }
    }
    (findings, jobs)
}

fn manifest_finding(id: &BackupId, collection: &str, artifact: &Artifact, again: bool) -> Option<Finding> {
    let key = &artifact.key;
    if again {
        return Some(Finding::new(
            Problem::NamedTwice,
            format!("the manifest names {key:?} twice"),
        ));
    }
    let how = blobs::misplaced(artifact, id, collection)?;
    Some(Finding::new(Problem::ForeignKey, how))
}

/// What the manifest says about the structure of an artifact.
fn expected(collection: &Collection, artifact: &Artifact) -> Expected {
    let before = artifact.points_before.unwrap_or(collection.points_before);
    let after = artifact.points_after.unwrap_or(collection.points_after);
    Expected {
        kind: artifact.kind,
        shards: ShardKeys::of(&collection.shards.value()).ids().into_iter().collect(),
        holds_points: before > 0 && after > 0,
    }
}

fn log(id: &BackupId, of: usize, object: &Checked) {
    let (key, collection) = (&object.key, &object.collection);
    match object.verdict {
        VerifyVerdict::Intact => {
            tracing::info!(backup = %id, collection, key, bytes = object.bytes, of, "object {key:?} is intact")
        }
        VerifyVerdict::Damaged => {
            let problems: Vec<_> = object.findings.iter().map(|finding| finding.message.as_str()).collect();
            tracing::error!(backup = %id, collection, key, of, "object {key:?} is damaged: {}", problems.join("; "));
        }
        VerifyVerdict::NotChecked => {
            let why = object.not_checked.as_ref().map_or("", |why| why.message.as_str());
            tracing::warn!(backup = %id, collection, key, of, "object {key:?} was not checked: {why}");
        }
    }
}
