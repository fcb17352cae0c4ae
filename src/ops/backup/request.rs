//! A backup that is asked for again: by the request's key, a retry finds the run that was begun before.
//!
//! A scheduler sends a request again when its answer was an error, came too late or was lost. Then no second copy is to be
//! made: the retry waits for the run that is under way, and gets the result of the one that has ended, also from another
//! instance. What counts is what the store has: the record of a run ([`requests`]), the lease under which it works, and the manifest
//! that it left. So a run that died, or that saved nothing, has no result, and a retry makes the backup.

use super::BackupReport;
use crate::base::error::Result;
use crate::ops::context::StoreContext;
use crate::repository::catalog::{self, Found, Mark};
use crate::repository::lease;
use crate::repository::names::{BackupId, Execution, RunId, has_come};
use crate::repository::requests::{self, RequestedRun};
use crate::wire::store::Store;
use serde_json::{Value, json};
use std::time::Duration;

/// The manifest's field that tells which request's run wrote it.
const FIELD: &str = "request";

/// How long a key is remembered after the start of a run: longer than any scheduler retries, and not so long that a key which is
/// used again and again by mistake keeps backups from being made for good.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

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
    }
    Ok(EarlierRun::None)
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
