//! A backup that is asked for again: by the request's key, a retry finds the run that was begun before.
//!
//! A scheduler sends a request again when its answer was an error, came too late or was lost. Then no second copy is to be
//! made: the retry waits for the run that is under way, and gets the result of the one that has ended, also from another
//! instance. What counts is what the store has: the record of a run ([`requests`]), the lease under which it works, and the manifest
//! that it left. So a run that died, or that saved nothing, has no result, and a retry makes the backup; unless somebody cancelled
//! the run: then none is to be made.

use super::BackupReport;
use crate::base::error::{ErrorInfo, Result};
use crate::ops::context::StoreContext;
use crate::ops::progress::Phase;
use crate::repository::catalog::{self, Found, Mark};
use crate::repository::lease;
use crate::repository::names::{BackupId, Execution, RunId, has_come};
use crate::repository::requests::{self, RequestedRun};
use crate::repository::runs::{RunRecord, RunRequest, RunState, UNITS, UnitRecord, UnitTotals};
use crate::wire::store::Store;
use serde_json::{Value, json};
use std::time::Duration;

/// The manifest's field that tells which request's run wrote it.
const FIELD: &str = "request";

/// How long a key is remembered after the start of a run: longer than any scheduler retries, and not so long that a key which is
/// used again and again by mistake keeps backups from being made for good.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// Of a run of which only the store's other records tell.
const UNKNOWN: &str = "unknown";

/// A request that may be sent again.
#[derive(Clone, Debug)]
pub(crate) struct KeyedRequest {
    /// What all requests with this key ask for.
    pub(crate) execution: Execution,
    /// The key, for people.
    pub(crate) key: String,
    /// SHA-256 of what is asked for.
    pub(crate) asked: String,
}

/// What a request with the same key came to.
#[derive(Debug)]
pub(crate) enum EarlierRun {
    /// Nothing: there was none, or its run died or saved nothing.
    None,
    /// Its run is at work.
    UnderWay(RequestedRun),
    /// This.
    Ended {
        report: Box<BackupReport>,
        /// None: it is one of an earlier version.
        run: Option<RunId>,
    },
    /// Nothing, because somebody cancelled its run.
    Cancelled(RequestedRun),
    /// It asked for something else.
    OfAnother,
}

/// A request on behalf of whose run an id is taken.
pub(super) struct Claim {
    request: KeyedRequest,
    holder: String,
    run: RunId,
}

impl KeyedRequest {
    /// As the record of its run has it.
    pub(crate) fn noted(&self) -> RunRequest {
        RunRequest {
            execution: self.execution.clone(),
            asked: self.asked.clone(),
        }
    }

    pub(super) fn claim(&self, holder: String, run: RunId) -> Claim {
        Claim {
            request: self.clone(),
            holder,
            run,
        }
    }

    /// The field of the manifest: another run's may have the id of one that came to nothing.
    pub(super) fn origin(&self) -> (String, Value) {
        (FIELD.to_owned(), json!({ "key": self.execution }))
    }
}

impl Claim {
    /// Records the run that makes the backup `id`; `false` when the id is taken.
    pub(super) async fn record(&self, store: &dyn Store, id: BackupId) -> Result<bool> {
        let run = RequestedRun {
            id,
            holder: self.holder.clone(),
            asked: self.request.asked.clone(),
            key: self.request.key.clone(),
            run: Some(self.run.clone()),
        };
        requests::create(store, &self.request.execution, &run).await
    }
}

/// What an earlier request with the same key came to.
///
/// # Errors
/// Those of the store.
pub(crate) async fn earlier(ctx: &StoreContext, request: &KeyedRequest) -> Result<EarlierRun> {
    let (store, now) = (&*ctx.store, ctx.clock.now());
    let mut runs = requests::begun(store, &request.execution).await?;
    runs.retain(|run| now - run.id.time() < REMEMBERED && has_come(run.id.time(), now));
    if runs.iter().any(|run| run.asked != request.asked) {
        return Ok(EarlierRun::OfAnother);
    }
    for run in runs {
        if is_under_way(ctx, &run).await? {
            return Ok(EarlierRun::UnderWay(run));
        }
        if let Some(report) = result(ctx, request, &run).await? {
            return Ok(EarlierRun::Ended {
                report: Box::new(report),
                run: run.run,
            });
        }
        if requests::is_cancelled(store, &request.execution, &run).await? {
            return Ok(EarlierRun::Cancelled(run));
        }
    }
    Ok(EarlierRun::None)
}

/// What the run `id` would tell of itself that ended so: its own record may be gone, or never have been.
pub(crate) fn told_by_report(id: RunId, report: &BackupReport) -> RunRecord {
    let (saved, failed) = (report.collections.len(), report.failed.len());
    let error = report.error();
    let unit = |name: &str, phase: Phase, bytes| UnitRecord {
        name: name.to_owned(),
        phase: phase.to_string(),
        bytes_done: bytes,
        bytes_total: Some(bytes),
        target: None,
    };
    let failures = report.failed.iter();
    let units = failures.map(|failure| unit(&failure.collection, Phase::Failed, 0));
    let collections = report.collections.iter();
    let units = units.chain(collections.map(|saved| unit(&saved.name, Phase::Saved, saved.bytes)));
    RunRecord {
        state: match &error {
            None => RunState::Succeeded,
            Some(_) => RunState::Failed,
        },
        started_at: report.started_at,
        ended_at: Some(report.finished_at),
        totals: UnitTotals {
            units: saved + failed,
            done: saved,
            failed,
            bytes_done: report.bytes(),
            bytes_total: Some(report.bytes()),
            part: 1.0,
            ..UnitTotals::default()
        },
        units: units.take(UNITS).collect(),
        error: error.as_ref().map(ErrorInfo::over_http),
        unproven: !report.unproven.is_empty(),
        ..told(id, report.id, RunState::Succeeded)
    }
}

/// What a run would tell of itself of which nothing else is known.
pub(crate) fn told(id: RunId, backup: BackupId, state: RunState) -> RunRecord {
    RunRecord {
        started_at: id.began(),
        id,
        who: UNKNOWN.to_owned(),
        holder: None,
        tool_version: UNKNOWN.to_owned(),
        state,
        ended_at: None,
        backup: Some(backup),
        totals: UnitTotals::default(),
        units: Vec::new(),
        error: None,
        request: None,
        cancelled_on_request: state == RunState::Cancelled,
        unproven: false,
        saves: None,
    }
}

/// Whether a run is at work and has no result yet. A few small reads.
///
/// # Errors
/// Those of the store.
pub(crate) async fn is_under_way(ctx: &StoreContext, run: &RequestedRun) -> Result<bool> {
    let lease = lease::holder(&*ctx.store, &ctx.clock).await?;
    if lease.is_none_or(|lease| lease.holder != run.holder) {
        return Ok(false);
    }
    Ok(ctx.store.head(&run.id.manifest()).await?.is_none())
}

/// What a run came to; `None` where it left no backup, or one that is known to be damaged: nobody is told of that one that all is
/// well.
async fn result(ctx: &StoreContext, request: &KeyedRequest, run: &RequestedRun) -> Result<Option<BackupReport>> {
    let store = &*ctx.store;
    let objects = store.folder(&run.id.prefix()).await?.objects;
    let found = catalog::read(store, run.id, &objects, ctx.clock.now(), |found| found).await?;
    let Some(Found {
        summary,
        manifest: Some(manifest),
    }) = found
    else {
        return Ok(None);
    };
    let is_its_own = manifest.extra.get(FIELD) == Some(&request.origin().1);
    let is_damaged = matches!(summary.marks.first(), Some(Mark::Damaged | Mark::Unreadable));
    Ok((is_its_own && !is_damaged).then(|| BackupReport::of(&manifest, &store.url())))
}
