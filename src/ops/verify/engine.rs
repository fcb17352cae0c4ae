//! The drill without a server: Qdrant's own engine opens each snapshot of a backup from a scratch directory.
//!
//! Unlike everything else here it needs disk, about three times the largest snapshot, so it is a command for an operator's
//! machine and no part of the service. Built with the feature `engine` only.

use super::proof::{self, Comparison};
use super::{Verifier, object, read_manifest};
use crate::base::error::{Code, Error, Result};
use crate::base::hash::hex;
use crate::base::total::total;
use crate::ops::drill::{self, CollectionDrill, DrillReport, DrillVerdict};
use crate::ops::events::Operation;
use crate::ops::progress::{Phase, Progress};
use crate::repository::blobs;
use crate::repository::manifest::{Artifact, Collection};
use crate::repository::names::{ArtifactKind, BackupId};
use crate::repository::unit::Unit;
use crate::repository::verdicts::drilled::ENGINE;
use crate::wire::store::Store;
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use futures_util::TryStreamExt;
use std::io::Write;
use std::path::Path;
use std::time::Instant;
use tempfile::NamedTempFile;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

const ENGINE_VERSION: &str = "0.7.2";
/// Disk that opening takes beside the data itself.
const SPARE: u64 = 128 << 20;

impl Verifier {
    /// Opens every snapshot of the backup `id` with the engine, below `scratch`, compares it with the manifest, and records the
    /// result beside it. One at a time; nothing stays in `scratch`.
    ///
    /// # Errors
    /// `Err`: no verdict, because the drill itself could not be held: store unreachable, no disk, or a kind of snapshot that the
    /// engine does not open. A backup that does not pass is an `Ok` here and an error by [`DrillReport::error`].
    pub async fn drill(&self, id: &BackupId, scratch: &Path) -> Result<DrillReport> {
        let progress = Progress::new(self.clock.now());
        let work = self.prove(id, scratch, &progress);
        self.telling(Operation::Drill, id, &progress, work).await
    }

    async fn prove(&self, id: &BackupId, scratch: &Path, progress: &Progress) -> Result<DrillReport> {
        let manifest = read_manifest(&*self.store, id).await?;
        manifest.collections.iter().try_for_each(require_openable)?;
        let units = manifest
            .collections
            .iter()
            .map(|collection| Unit::whole(&collection.name));
        progress.planned(*id, units);
        // It goes with this future: a thread of the engine that is given up cannot be ended, and would leave its files.
        let own = tempfile::tempdir_in(scratch).map_err(|e| unusable(scratch, e))?;
        let mut collections = Vec::new();
        let mut warnings = Vec::new();
        for collection in &manifest.collections {
            let unit = Unit::whole(&collection.name);
            progress.phase(&unit, Phase::Check);
            let drill = self.prove_collection(id, collection, own.path(), &mut warnings).await?;
            progress.phase(
                &unit,
                match drill.verdict {
                    DrillVerdict::Passed => Phase::Restored,
                    DrillVerdict::Failed => Phase::Failed,
                },
            );
            tracing::info!(backup = %id, collection = collection.name, verdict = ?drill.verdict, points = drill.points, "collection {:?} drilled by the engine", collection.name);
            collections.push(drill);
        }
        let mut drilled = DrillReport::new(
            *id,
            (self.clock.now(), &self.who),
            (ENGINE, ENGINE_VERSION),
            collections,
            warnings,
        );
        let recorded = drill::record(&*self.store, &drilled).await;
        drilled.recorded(recorded);
        Ok(drilled)
    }

    /// All snapshots of a collection, one after the other.
    async fn prove_collection(
        &self,
        id: &BackupId,
        collection: &Collection,
        scratch: &Path,
        warnings: &mut Vec<String>,
    ) -> Result<CollectionDrill> {
        let began = Instant::now();
        let mut problems: Vec<String> = collection.damage().into_iter().collect();
        let (mut all, mut read, mut opened) = (Comparison::default(), 0, 0);
        for artifact in &collection.artifacts {
            let (bytes, outcome) = match blobs::misplaced(artifact, id, &collection.name) {
                Some(how) => (0, Err(how)),
                None => self.open(collection, artifact, scratch).await?,
            };
            read = total([read, bytes]);
            let told = |text: String| match artifact.kind {
                ArtifactKind::Collection => text,
                ArtifactKind::Shard(shard) => format!("shard {shard}: {text}"),
            };
            match outcome {
                Err(problem) => problems.push(told(problem)),
                Ok(proved) => {
                    opened += 1;
                    let odd = proved.warnings.into_iter().map(told);
                    warnings.extend(odd.map(|warning| format!("{:?}: {warning}", collection.name)));
                    problems.extend(proved.problems.into_iter().map(told));
                    all.points = total([all.points, proved.points]);
                    all.sampled += proved.sampled;
                    all.searches += proved.searches;
                }
            }
        }
        let is_opened = opened == collection.artifacts.len();
        Ok(CollectionDrill {
            name: collection.name.clone(),
            verdict: match problems.is_empty() {
                true => DrillVerdict::Passed,
                false => DrillVerdict::Failed,
            },
            points: is_opened.then_some(all.points),
            sampled: is_opened.then_some(all.sampled),
            searches: is_opened.then_some(all.searches),
            bytes: read,
            seconds: Some(began.elapsed().as_secs_f64()),
            problem: (!problems.is_empty()).then(|| problems.join("; ")),
        })
    }

    /// Fetches one snapshot and lets the engine prove it; bytes read, and what came of it.
    async fn open(
        &self,
        collection: &Collection,
        artifact: &Artifact,
        scratch: &Path,
    ) -> Result<(u64, std::result::Result<Comparison, String>)> {
        needs(scratch, artifact.bytes.saturating_mul(3).saturating_add(SPARE))?;
        let Some((file, bytes, sha256)) = fetch(&*self.store, artifact, scratch).await? else {
            return Ok((0, Err(format!("{} is missing", artifact.key))));
        };
        if bytes != artifact.bytes || sha256 != artifact.sha256.to_ascii_lowercase() {
            let problem = format!(
                "{} has {bytes} bytes with SHA-256 {sha256}, expected {} with {}",
                artifact.key, artifact.bytes, artifact.sha256
            );
            return Ok((bytes, Err(problem)));
        }
        let (into, subject, artifact) = (scratch.to_owned(), collection.clone(), artifact.clone());
        let work = move || {
            let opened = match artifact.kind {
                ArtifactKind::Collection => embedded_qdrant::open_snapshot(file.path(), &into)?,
                ArtifactKind::Shard(shard) => {
                    embedded_qdrant::open_shard(file.path(), &into, shard, &subject.config.value())?
                }
            };
            proof::prove(&opened, &subject, &artifact)
        };
        let proved = spawn_blocking(work)
            .await
            .map_err(|e| Error::new(Code::Internal, "internal error: the engine did not finish").because(e))?;
        match proved {
            Ok(proved) => Ok((bytes, Ok(proved))),
            Err(error) => {
                // A disk that filled up says nothing about the backup.
                needs(scratch, SPARE / 2)?;
                Ok((bytes, Err(format!("the engine failed to open it: {error}"))))
            }
        }
    }
}

/// That its objects are of kinds that the engine opens: one of all of it, or those of its shards.
fn require_openable(collection: &Collection) -> Result<()> {
    let is_whole = |artifact: &Artifact| artifact.kind == ArtifactKind::Collection;
    let fits = match collection.artifacts.as_slice() {
        [only] if is_whole(only) => true,
        _ => collection.is_by_shards(),
    };
    if fits
        && collection
            .artifacts
            .iter()
            .all(|artifact| blobs::require_known(artifact).is_ok())
    {
        return Ok(());
    }
    Err(Error::new(
        Code::BackupUnsupported,
        format!(
            "collection {:?} cannot be drilled by the engine: its objects are of a kind that it does not open",
            collection.name
        ),
    )
    .remedy("drill this backup on a Qdrant server"))
}

/// Fails if so many bytes are not free below `scratch`.
fn needs(scratch: &Path, bytes: u64) -> Result<()> {
    let stat = rustix::fs::statvfs(scratch).map_err(|e| unusable(scratch, e))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free >= bytes {
        Ok(())
    } else {
        Err(unusable(scratch, format!("{free} bytes are free, {bytes} are needed")))
    }
}

fn unusable(scratch: &Path, cause: impl std::fmt::Display) -> Error {
    Error::new(
        Code::ConfigInvalid,
        format!("scratch directory {}: {cause}", scratch.display()),
    )
    .remedy("set --scratch DIR to a directory with room for three times the largest snapshot")
}

/// The object as a file in `scratch`, its length and SHA-256; `None` when there is none.
async fn fetch(store: &dyn Store, artifact: &Artifact, scratch: &Path) -> Result<Option<(NamedTempFile, u64, String)>> {
    let key = artifact.key.as_str();
    let unreadable = |error| object::unreadable(key, error);
    let Some((_, mut stream)) = blobs::open(store, artifact).await.map_err(unreadable)? else {
        return Ok(None);
    };
    let failed = {
        let scratch = scratch.display().to_string();
        move |e: std::io::Error| {
            Error::new(Code::ConfigInvalid, format!("writing to scratch directory {scratch}")).because(e)
        }
    };
    let mut file = NamedTempFile::new_in(scratch).map_err(failed.clone())?;
    let (queue, mut chunks) = mpsc::channel::<Bytes>(4);
    let writing = spawn_blocking(move || {
        let (mut sha256, mut bytes) = (Context::new(&SHA256), 0);
        while let Some(chunk) = chunks.blocking_recv() {
            sha256.update(&chunk);
            bytes += chunk.len() as u64;
            file.write_all(&chunk)?;
        }
        Ok((file, bytes, hex(sha256.finish().as_ref())))
    });
    while let Some(chunk) = stream.try_next().await.map_err(unreadable)? {
        if queue.send(chunk).await.is_err() {
            break; // writing failed, which the join tells
        }
    }
    drop(queue);
    let written = writing
        .await
        .map_err(|e| Error::new(Code::Internal, format!("internal error: writing {key} did not finish")).because(e))?;
    written.map(Some).map_err(failed)
}
