//! Which runs were begun for requests that may be sent again: a record of each, found by the request's key alone.
//!
//! A record is written once, under the lease, before anything else of the run. It tells no result: that is the manifest of the
//! backup that it names, and a run that left none has none. That somebody cancelled it is a record of its own: then no retry
//! begins another one.

use crate::base::error::{Code, Result};
use crate::repository::names::{BackupId, Execution, Name, RunId};
use crate::wire::store::record::{self, Record};
use crate::wire::store::{Condition, Store};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};

/// Runs of one key that are looked at, from the newest on: each before the last one has come to nothing.
const MOST: usize = 20;

/// A run that was begun for a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RequestedRun {
    /// The backup that it makes.
    pub(crate) id: BackupId,
    /// Under which lease it works.
    pub(crate) holder: String,
    /// SHA-256 of what was asked for.
    pub(crate) asked: String,
    /// The key, for people.
    #[serde(default)]
    pub(crate) key: String,
    /// Under which it tells of itself; none: it is one of an earlier version.
    #[serde(default)]
    pub(crate) run: Option<RunId>,
}

impl Record for RequestedRun {
    const WHAT: &'static str = "the record of a run that was requested with a key";
    const LARGEST: u64 = 64 << 10;
}

/// Records a run that begins; `false` when one of that id was recorded before. Call it with the lease held.
pub(crate) async fn create(store: &dyn Store, execution: &Execution, run: &RequestedRun) -> Result<bool> {
    let key = execution.run(&run.id);
    let written = record::write::<RequestedRun>(store, &key, run, Condition::Absent).await?;
    Ok(written.is_some())
}

/// Records that somebody cancels that run, so that no retry begins another one. Nothing where it did not record itself.
pub(crate) async fn cancel(store: &dyn Store, execution: &Execution, run: &RunId) -> Result<()> {
    let begun = begun(store, execution).await?.into_iter();
    for of_it in begun.filter(|begun| begun.run.as_ref() == Some(run)) {
        let key = execution.cancelled(&of_it.id);
        record::write::<RequestedRun>(store, &key, &of_it, Condition::Absent).await?;
    }
    Ok(())
}

/// Whether somebody cancelled it.
pub(crate) async fn is_cancelled(store: &dyn Store, execution: &Execution, run: &RequestedRun) -> Result<bool> {
    Ok(store.head(&execution.cancelled(&run.id)).await?.is_some())
}

/// The runs that were begun for a key, newest first. What is no record of one proves nothing, and is left out.
pub(crate) async fn begun(store: &dyn Store, execution: &Execution) -> Result<Vec<RequestedRun>> {
    let mut ids = Vec::new();
    let mut objects = store.list(&execution.runs()).await?;
    while let Some(object) = objects.try_next().await? {
        if let Some(Name::RequestedRun { id, .. }) = Name::parse(&object.key) {
            ids.push(id);
        }
    }
    ids.sort_unstable();
    let mut runs = Vec::new();
    for id in ids.into_iter().rev().take(MOST) {
        match record::read::<RequestedRun>(store, &execution.run(&id)).await {
            Ok(run) => runs.extend(run.filter(|run| run.id == id)),
            Err(e) if e.code() == Code::BackupDamaged => tracing::warn!(error = %e, "a record of a run is ignored"),
            Err(e) => return Err(e),
        }
    }
    Ok(runs)
}
