//! What runs tell of themselves: a record of each, written again and again while it works, and once at its end. By it another
//! instance, and the one that comes after a restart, see how far a run is and what became of it.
//!
//! It is for showing, and a retry finds by it what its first request began (a backup by its own record, see
//! `repository::requests`). Nothing else is decided by one: whoever may write into the store can have written it. So what it
//! claims is bounded when it is read.

use crate::base::error::{Code, ErrorInfo, Result};
use crate::base::text::shortened;
use crate::repository::manifest::Source;
use crate::repository::names::{BackupId, Execution, Name, RUNS, RunId};
use crate::repository::selection::Selection;
use crate::wire::store::record::{self, Record};
use crate::wire::store::{Condition, ObjectMeta, Store, Version};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;
use time::OffsetDateTime;

/// Records that stay.
pub const KEPT: usize = 200;
/// Units that a record tells of one by one.
pub const UNITS: usize = 200;
/// Longest text of an error in a record, in characters.
pub const LONGEST: usize = 4000;
/// Longest name in a record, in characters.
const LONGEST_NAME: usize = 300;
/// Records that one run deletes: what piled up otherwise goes little by little.
const DELETED_AT_ONCE: usize = 50;
/// Records read at once.
const READ_AT_ONCE: usize = 8;
/// A record of a time that has not come is nobody's, once it was not written for so long.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// What a run tells of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    pub id: RunId,
    /// Who does it, e.g. `host/1234`.
    pub who: String,
    /// Under which lease it works; none: without.
    #[serde(default)]
    pub holder: Option<String>,
    pub tool_version: String,
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    pub state: RunState,
    /// Once it has ended.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
    /// The backup that it is about, once that is known.
    #[serde(default)]
    pub backup: Option<BackupId>,
    #[serde(default)]
    pub totals: UnitTotals,
    /// At most [`UNITS`]: what is at work and what failed goes first.
    #[serde(default)]
    pub units: Vec<UnitRecord>,
    /// Why it did not come to what was asked for.
    #[serde(default)]
    pub error: Option<ErrorInfo<String>>,
    /// The request that began it, where that had a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RunRequest>,
    /// Whether somebody cancelled it; else, if it is cancelled, its process was stopped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancelled_on_request: bool,
    /// Whether the backup is not good before a drill has proven it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unproven: bool,
    /// What a backup by one process was to save.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saves: Option<ToSave>,
}

/// What a backup is to save, and of which Qdrant, as far as that is known before it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToSave {
    pub selection: Selection,
    pub source: Source,
}

/// A request that may be sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest {
    /// What all requests with its key ask for.
    pub execution: Execution,
    /// SHA-256 of what was asked for.
    pub asked: String,
}

/// What becomes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

/// How many units a run has, by what became of them, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnitTotals {
    pub units: usize,
    pub waiting: usize,
    pub at_work: usize,
    pub done: usize,
    pub failed: usize,
    /// Bytes that have passed.
    pub bytes_done: u64,
    /// Bytes in all, once that is known of each unit.
    pub bytes_total: Option<u64>,
    /// From 0 to 1: of the bytes, or where their number is unknown of the units.
    pub part: f64,
}

impl UnitTotals {
    /// Units for which nothing more is done.
    pub fn ended(&self) -> usize {
        self.done.saturating_add(self.failed)
    }
}

/// How far a unit is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitRecord {
    pub name: String,
    /// One of the words of the API; a later version may have others.
    pub phase: String,
    #[serde(default)]
    pub bytes_done: u64,
    #[serde(default)]
    pub bytes_total: Option<u64>,
    /// Under which name a restore makes it, where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

impl RunRecord {
    /// The same, where whoever wrote it may have claimed anything.
    fn bounded(mut self) -> Self {
        let name = |text: &mut String| shorten(text, LONGEST_NAME);
        name(&mut self.who);
        name(&mut self.tool_version);
        self.units.truncate(UNITS);
        for unit in &mut self.units {
            name(&mut unit.name);
        }
        if let Some(error) = &mut self.error {
            name(&mut error.code);
            shorten(&mut error.message, LONGEST);
            error.remedy.iter_mut().for_each(|remedy| shorten(remedy, LONGEST));
        }
        // JSON has no number that is none.
        self.totals.part = self.totals.part.clamp(0.0, 1.0);
        self
    }
}

fn shorten(text: &mut String, longest: usize) {
    if text.len() > longest {
        *text = shortened(text, longest).into_owned();
    }
}

impl Record for RunRecord {
    const WHAT: &'static str = "what a run tells of itself";
    const LARGEST: u64 = 512 << 10;
}

/// A record, and when it was last written by the clock of the store.
#[derive(Clone, Debug)]
pub struct ToldRun {
    pub record: RunRecord,
    pub written_at: OffsetDateTime,
}

/// Writes a record; `None` when `condition` does not hold.
///
/// # Errors
/// Those of the store.
pub(crate) async fn write(store: &dyn Store, record: &RunRecord, condition: Condition) -> Result<Option<Version>> {
    record::write::<RunRecord>(store, &record.id.record(), record, condition).await
}

/// The record of a run; none when there is none, or no such record lies there, or its time has not come.
///
/// # Errors
/// Those of the store.
pub async fn read(store: &dyn Store, id: &RunId, now: OffsetDateTime) -> Result<Option<ToldRun>> {
    if !id.has_come(now) {
        return Ok(None);
    }
    match store.head(&id.record()).await? {
        Some(object) => told(store, &object).await,
        None => Ok(None),
    }
}

/// The newest records, newest first. Those of a time that has not come are left out.
///
/// # Errors
/// Those of the store.
pub async fn newest(store: &dyn Store, most: usize, now: OffsetDateTime) -> Result<Vec<ToldRun>> {
    let Listed { newest, .. } = list(store, most, now).await?;
    stream::iter(newest.into_iter().rev())
        .map(|object| async move { told(store, &object).await })
        .buffered(READ_AT_ONCE)
        .try_filter_map(async |told| Ok(told))
        .try_collect()
        .await
}

/// The newest run that such a request began, among those that do `operation` and began since `since`.
///
/// # Errors
/// Those of the store.
pub(crate) async fn requested(
    store: &dyn Store,
    execution: &Execution,
    operation: &str,
    (since, now): (OffsetDateTime, OffsetDateTime),
) -> Result<Option<ToldRun>> {
    let is_it = |told: &ToldRun| {
        let request = told.record.request.as_ref();
        request.is_some_and(|of| of.execution == *execution) && told.record.id.began() > since
    };
    let mut told = std::pin::pin!(of(store, operation, KEPT, now).await?);
    while let Some(told) = told.try_next().await? {
        if is_it(&told) {
            return Ok(Some(told));
        }
        if told.record.id.began() <= since {
            break;
        }
    }
    Ok(None)
}

/// The newest runs that do `operation`, newest first.
///
/// # Errors
/// Those of the store.
pub(crate) async fn of<'a>(
    store: &'a dyn Store,
    operation: &str,
    most: usize,
    now: OffsetDateTime,
) -> Result<BoxStream<'a, Result<ToldRun>>> {
    let Listed { newest, .. } = list(store, KEPT, now).await?;
    let does = |object: &ObjectMeta| match Name::parse(&object.key) {
        Some(Name::Run(id)) => id.operation() == operation,
        _ => false,
    };
    let those: Vec<_> = newest.into_iter().rev().filter(does).take(most).collect();
    Ok(stream::iter(those)
        .map(move |object| async move { told(store, &object).await })
        .buffered(READ_AT_ONCE)
        .try_filter_map(async |told| Ok(told))
        .boxed())
}

/// Deletes all but the newest [`KEPT`] records, up to a number.
///
/// # Errors
/// Those of the store.
pub(crate) async fn trim(store: &dyn Store, now: OffsetDateTime) -> Result<()> {
    for object in list(store, KEPT, now).await?.older {
        // One that was written meanwhile has another version, and stays.
        store.delete(&object.key, &object.version).await?;
    }
    Ok(())
}

struct Listed {
    /// Oldest first.
    newest: VecDeque<ObjectMeta>,
    /// Those before, and those that nobody wrote; not all of them.
    older: Vec<ObjectMeta>,
}

/// However many objects there are, few of them are kept in memory.
async fn list(store: &dyn Store, most: usize, now: OffsetDateTime) -> Result<Listed> {
    let mut listed = Listed {
        newest: VecDeque::new(),
        older: Vec::new(),
    };
    let mut objects = store.list(RUNS).await?;
    while let Some(object) = objects.try_next().await? {
        let Some(Name::Run(id)) = Name::parse(&object.key) else {
            continue;
        };
        let older = match id.has_come(now) {
            true => {
                listed.newest.push_back(object);
                match listed.newest.len() > most {
                    true => listed.newest.pop_front(),
                    false => None,
                }
            }
            false => Some(object).filter(|object| now - object.updated > ABANDONED),
        };
        if listed.older.len() < DELETED_AT_ONCE {
            listed.older.extend(older);
        }
    }
    Ok(listed)
}

async fn told(store: &dyn Store, object: &ObjectMeta) -> Result<Option<ToldRun>> {
    match record::read_listed::<RunRecord>(store, object).await {
        Ok(record) => Ok(record
            .filter(|record| record.id.record() == object.key)
            .map(|record| ToldRun {
                record: record.bounded(),
                written_at: object.updated,
            })),
        Err(e) if e.code() == Code::BackupDamaged => {
            tracing::debug!(error = %e, "a record of a run is ignored");
            Ok(None)
        }
        Err(e) => Err(e),
    }
}
