//! Backups that failed as a whole: they left no manifest, and only their runs tell of them.

use crate::base::clock::Clock;
use crate::base::error::{Code, Result};
use crate::ops::events::Operation;
use crate::ops::journal::{is_interrupted, silence};
use crate::repository::lease;
use crate::repository::manifest::{Relation, Source};
use crate::repository::runs::{self, RunState, ToldRun};
use crate::repository::selection::{Filter, Selection};
use crate::wire::store::Store;
use futures_util::TryStreamExt;
use time::OffsetDateTime;

/// Runs that are looked at: more failures in a row than that are as bad.
const MOST: usize = 20;

/// A run that was to save what `selection` takes, and left nothing.
#[derive(Clone, Debug)]
pub(crate) struct FailedRun {
    began: OffsetDateTime,
    selection: Selection,
}

/// Those of `source` among the newest backups, and those that do not tell whose they are. One that somebody cancelled did not fail,
/// and a task of a job is tried again.
///
/// # Errors
/// Those of the store.
pub(crate) async fn failed(store: &dyn Store, clock: &Clock, source: &Source) -> Result<Vec<FailedRun>> {
    let now = clock.now();
    let lease = lease::holder(store, clock).await?.map(|lease| lease.holder);
    let mut told = runs::of(store, &Operation::Backup.to_string(), MOST, now).await?;
    let mut failed = Vec::new();
    while let Some(ToldRun { record, written_at }) = told.try_next().await? {
        let has_failed = match record.state {
            RunState::Failed => true,
            RunState::Running => is_interrupted(&record, silence(written_at, now), lease.as_deref()),
            RunState::Cancelled => !record.cancelled_on_request,
            RunState::Succeeded => false,
        };
        // That one has a manifest, by which it counts.
        let error = record.error.as_ref();
        let is_partial = error.is_some_and(|error| error.code == Code::BackupPartial.to_string());
        let began = record.id.began();
        let Some(saves) = record.saves.filter(|_| has_failed && !is_partial) else {
            continue;
        };
        let is_published = match record.backup {
            Some(backup) => store.head(&backup.manifest()).await?.is_some(),
            None => false,
        };
        if !is_published && source.relation_to(Some(&saves.source)) != Relation::Different {
            failed.push(FailedRun {
                began,
                selection: saves.selection,
            });
        }
    }
    Ok(failed)
}

/// How many of them began after that, and were to save the collection.
pub(super) fn since(failed: &[FailedRun], collection: &str, after: Option<OffsetDateTime>) -> usize {
    let newer = failed.iter().filter(|run| after.is_none_or(|after| run.began > after));
    let takes = |run: &&FailedRun| {
        let filter = Filter::new(&run.selection);
        filter.is_ok_and(|filter| filter.takes(&run.selection, collection))
    };
    newer.filter(takes).count()
}
