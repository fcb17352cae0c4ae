//! What backups there are: read from the manifests, newest first.

use crate::error::{Code, Error, Result};
use crate::manifest::{self, Manifest, Status};
use crate::names::{BACKUPS, BackupId};
use crate::store::Store;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use std::time::Duration;
use time::OffsetDateTime;

/// Manifests read at once.
const READ_AT_ONCE: usize = 8;

/// One backup in a list.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Its id.
    pub id: BackupId,
    /// Whether it has all that was asked for; `None` when the manifest cannot be read, see `problem`.
    pub status: Option<Status>,
    /// When it was finished.
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
    /// Number of collections.
    pub collections: usize,
    /// Points in all collections.
    pub points: u64,
    /// Bytes of all artifacts.
    pub bytes: u64,
    /// Why the manifest cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Summary {
    /// Time since it was finished.
    pub fn age(&self, now: OffsetDateTime) -> Option<Duration> {
        self.finished_at
            .map(|at| Duration::try_from(now - at).unwrap_or_default())
    }

    fn of(manifest: &Manifest) -> Self {
        Self {
            id: manifest.id,
            status: Some(manifest.status),
            finished_at: Some(manifest.finished_at),
            collections: manifest.collections.len(),
            points: manifest.collections.iter().map(|c| c.points_after).sum(),
            bytes: manifest.bytes(),
            problem: None,
        }
    }
}

/// The newest `limit` backups, newest first. Only what has a manifest is a backup. A manifest that cannot be read is listed
/// with its problem, so that one damaged backup does not hide the others.
pub async fn list(store: &dyn Store, limit: usize) -> Result<Vec<Summary>> {
    let ids = ids(store).await?;
    stream::iter(ids)
        .map(|id| async move {
            match manifest::read(store, &id).await {
                Ok(manifest) => Ok(Some(Summary::of(&manifest))),
                // Began and never ended, or was deleted meanwhile.
                Err(e) if e.code() == Code::BackupNotFound => Ok(None),
                Err(e) if e.code() == Code::BackupDamaged => Ok(Some(Summary {
                    id,
                    status: None,
                    finished_at: None,
                    collections: 0,
                    points: 0,
                    bytes: 0,
                    problem: Some(e.chain()),
                })),
                Err(e) => Err(e),
            }
        })
        .buffered(READ_AT_ONCE.min(limit.max(1)))
        .try_filter_map(async |summary| Ok(summary))
        .take(limit)
        .try_collect()
        .await
}

/// The newest backup that has a manifest.
pub async fn latest(store: &dyn Store) -> Result<Option<Summary>> {
    Ok(list(store, 1).await?.pop())
}

/// The manifest of `id`, or of the newest backup for `latest`.
pub async fn find(store: &dyn Store, id: &str) -> Result<Manifest> {
    if id != "latest" {
        return manifest::read(store, &id.parse()?).await;
    }
    match latest(store).await? {
        Some(summary) => manifest::read(store, &summary.id).await,
        None => Err(
            Error::new(Code::BackupNotFound, format!("{} has no backup yet", store.url()))
                .remedy("make one with `qdrant-backup backup` or `POST /backup`"),
        ),
    }
}

/// Ids of all backups that were begun, newest first.
async fn ids(store: &dyn Store) -> Result<Vec<BackupId>> {
    let mut ids: Vec<BackupId> = store
        .folders(BACKUPS)
        .await?
        .iter()
        // Anything else in the folder is not ours.
        .filter_map(|name| name.parse().ok())
        .collect();
    ids.sort_unstable();
    ids.reverse();
    Ok(ids)
}
