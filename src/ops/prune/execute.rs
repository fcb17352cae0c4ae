//! The execution of a plan: what changed since it was made stays.

use super::{Item, PruneContext, PrunePlan, plan};
use crate::base::error::{Code, Error, ErrorInfo, Result};
use crate::base::total::total;
use crate::ops::events::{Counts, Operation};
use crate::ops::progress::Progress;
use crate::ops::run::{self, Conclusion, LeaseMode, Run, unless_cancelled};
use crate::repository::lease::{self, Lease};
use crate::repository::names::BackupId;
use crate::wire::store::ObjectMeta;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

/// Objects deleted at once.
const AT_ONCE: usize = 8;

/// What an execution came to.
#[derive(Debug, Default, Serialize)]
pub struct PruneReport {
    /// How many backups and leftovers were to be deleted.
    pub planned: usize,
    /// What was deleted, oldest first.
    pub deleted: Vec<Deleted>,
    /// What was left alone, and why.
    pub skipped: Vec<Skipped>,
    /// Number of executions of jobs whose records were deleted.
    pub jobs: usize,
    /// What the reader should know.
    pub warnings: Vec<String>,
    /// What ended it before its time.
    #[serde(skip)]
    stopped: Option<Error>,
}

/// One backup, or what was left of one, that is gone.
#[derive(Clone, Debug, Serialize)]
pub struct Deleted {
    /// The backup's id.
    pub id: BackupId,
    /// Number of objects that were deleted.
    pub objects: usize,
    /// Bytes of those.
    pub bytes: u64,
    /// Number of its objects that were not deleted. Nothing refers to them; a later prune collects what is still there.
    pub left: usize,
}

/// One backup that was left alone.
#[derive(Clone, Debug, Serialize)]
pub struct Skipped {
    /// The backup's id.
    pub id: BackupId,
    pub why: String,
}

impl PruneReport {
    /// Bytes of everything that was deleted.
    pub fn bytes(&self) -> u64 {
        total(self.deleted.iter().map(|deleted| deleted.bytes))
    }

    /// Whether nothing was deleted.
    fn is_empty(&self) -> bool {
        self.deleted.is_empty() && self.jobs == 0
    }

    /// Whether that backup's turn has come.
    fn has(&self, id: BackupId) -> bool {
        let deleted = self.deleted.iter().map(|deleted| deleted.id);
        deleted
            .chain(self.skipped.iter().map(|skipped| skipped.id))
            .any(|other| other == id)
    }

    /// The error that ended it before its time, told once for all that was still to be done.
    pub fn take_error(&mut self) -> Option<Error> {
        let cause = self.stopped.take()?;
        let doing = format!(
            "pruning stopped after {} of {} deletions",
            self.deleted.len(),
            self.planned
        );
        let remedy = match cause.code() {
            Code::StoreRetained => format!(
                "{}; set RETAIN_MIN_AGE_HOURS, and RETAIN_LEFTOVER_HOURS if it is set, to at least the time for which the \
                 bucket keeps its objects",
                cause
                    .remedy_text()
                    .unwrap_or("wait until the store releases the object")
            ),
            Code::StoreForbidden => format!(
                "{}; if a retention policy or a hold on the bucket refuses deletions, set RETAIN_MIN_AGE_HOURS, and \
                 RETAIN_LEFTOVER_HOURS if it is set, to at least that time",
                cause
                    .remedy_text()
                    .unwrap_or("let the account that runs this delete objects")
            ),
            Code::StoreUnauthorized => format!(
                "{}; then run it again: it continues where it stopped",
                cause.remedy_text().unwrap_or("check the credentials")
            ),
            _ => "run it again: it continues where it stopped; every listed backup still has all its \
                 objects"
                .to_owned(),
        };
        Some(Error::new(cause.code(), doing).because(cause).remedy(remedy))
    }
}

/// Executes a plan under the lease; on a store that is too full for the lease, its first part without, until there is room.
/// `Err`: nothing was begun. `Ok`: see [`PruneReport::take_error`].
///
/// # Errors
/// [`Code::RunInProgress`] while a backup or another prune is under way.
pub async fn execute(job: &PruneContext, plan: &PrunePlan, cancel: &CancellationToken) -> Result<PruneReport> {
    execute_as(job, plan, &Progress::new(job.ctx.clock.now()), cancel).await
}

/// The same for those who watch `progress`.
///
/// # Errors
/// As [`execute`].
pub(crate) async fn execute_as(
    job: &PruneContext,
    plan: &PrunePlan,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<PruneReport> {
    let work = prune(job, plan, progress, cancel);
    run::ending(&job.ctx, Operation::Prune, progress, work).await
}

async fn prune(
    job: &PruneContext,
    plan: &PrunePlan,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<PruneReport> {
    let mut report = PruneReport {
        planned: plan.deletions().count(),
        ..PruneReport::default()
    };
    if plan.is_empty() {
        return Ok(report);
    }
    let wanted = match acquire(job).await {
        Err(full) if full.code() == Code::StoreFull => {
            match unless_cancelled(cancel, make_room(job, plan, &full, &mut report)).await {
                Ok(Some(lease)) => LeaseMode::Held(lease),
                Ok(None) => return Ok(report),
                Err(error) if report.is_empty() => return Err(error),
                Err(error) => {
                    report.stopped = Some(error);
                    return Ok(report);
                }
            }
        }
        acquired => LeaseMode::Held(acquired?),
    };
    run::under_lease(&job.ctx, wanted, progress, cancel, None, |run| async move {
        // What is dropped here in mid-deletion is at worst gone without being counted.
        let result = run.unless_cancelled(under_lease(job, plan, &run, &mut report)).await;
        report.stopped = match result {
            Err(error) if error.code() == Code::Cancelled => Some(run.confirm_not_lost().err().unwrap_or(error)),
            result => result.err(),
        };
        Ok(report)
    })
    .await
}

impl Conclusion for PruneReport {
    fn failure(&self) -> Option<ErrorInfo> {
        self.stopped.as_ref().map(Into::into)
    }

    fn counts(&self) -> Counts {
        Counts {
            deleted: Some(self.deleted.len()),
            bytes: self.bytes(),
            ..Counts::default()
        }
    }

    fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }
}

async fn acquire(job: &PruneContext) -> Result<Lease> {
    let who = format!("{} (prune)", job.ctx.who);
    lease::acquire(job.ctx.store.clone(), &job.ctx.clock, &who, job.ctx.lease).await
}

/// Deletes on a store that has no room for the lease, until it has: what is no backup first, then backups one by one, the
/// oldest first. `None`: the whole plan had its turn before there was room.
///
/// This is done without a lease, but never while somebody holds one, and no new run can take one as long as there is no room.
/// Each step makes a plan of its own, and deletes nothing but the very objects that both plans mean, so that two prunes at
/// once, and a run that finds the room before the lease is taken here, see no more than a prune that worked just before them:
/// the newest good backup is in no plan, and neither is anything young.
async fn make_room(
    job: &PruneContext,
    planned: &PrunePlan,
    full: &Error,
    report: &mut PruneReport,
) -> Result<Option<Lease>> {
    let warning = format!(
        "{} is too full for the lease: the first deletions run without it ({})",
        job.ctx.store.url(),
        full.chain()
    );
    tracing::warn!("{warning}");
    lease::require_free(&*job.ctx.store, &job.ctx.clock).await?;
    report.warnings.push(warning);
    clear_jobs(job, planned, &plan(job).await?, report).await?;
    let (backups, leftovers): (Vec<_>, Vec<_>) = planned.deletions().partition(|item| item.is_backup);
    for item in leftovers.into_iter().chain(backups) {
        match acquire(job).await {
            Ok(lease) => return Ok(Some(lease)),
            Err(full) if full.code() == Code::StoreFull => {}
            Err(error) => return Err(error),
        }
        lease::require_free(&*job.ctx.store, &job.ctx.clock).await?;
        clear(job, item, &plan(job).await?, report).await?;
    }
    Ok(None)
}

async fn under_lease(job: &PruneContext, planned: &PrunePlan, run: &Run, report: &mut PruneReport) -> Result<()> {
    // Pins, verdicts, other prunes: what came since may have changed what is to be kept.
    let fresh = plan(job).await?;
    run.confirm().await?;
    for item in planned.deletions() {
        clear(job, item, &fresh, report).await?;
    }
    clear_jobs(job, planned, &fresh, report).await
}

/// Deletes what is to be deleted of `item`, or says why it stays; once.
async fn clear(job: &PruneContext, item: &Item, fresh: &PrunePlan, report: &mut PruneReport) -> Result<()> {
    if report.has(item.id) {
        return Ok(());
    }
    match still_to_delete(job, item, fresh).await? {
        Ok(objects) => delete(job, item, objects, report).await?,
        Err(why) => report.skipped.push(Skipped { id: item.id, why }),
    }
    Ok(())
}

async fn clear_jobs(
    job: &PruneContext,
    planned: &PrunePlan,
    fresh: &PrunePlan,
    report: &mut PruneReport,
) -> Result<()> {
    for records in &planned.jobs {
        // What has been added to since is somebody's.
        if fresh.jobs.iter().any(|other| other.execution == records.execution) {
            for object in &records.content {
                delete_one(job, object).await?;
            }
            report.jobs += 1;
        }
    }
    Ok(())
}

/// The objects of `item` that are still those of the plan; or why it is left alone.
async fn still_to_delete(
    job: &PruneContext,
    item: &Item,
    fresh: &PrunePlan,
) -> Result<Result<Vec<ObjectMeta>, String>> {
    let Some(now) = fresh.items.iter().find(|other| other.id == item.id) else {
        return Ok(Err("it is already deleted".to_owned()));
    };
    if now.keep {
        let reasons: Vec<_> = now.reasons.iter().map(ToString::to_string).collect();
        return Ok(Err(format!(
            "it changed since the plan and is kept now: {}",
            reasons.join(", ")
        )));
    }
    let same = |object: &&ObjectMeta| {
        now.content
            .iter()
            .any(|o| o.key == object.key && o.version == object.version)
    };
    let objects: Vec<_> = item.content.iter().filter(same).cloned().collect();
    let manifest = item.id.manifest();
    if now.is_backup != item.is_backup || (item.is_backup && objects.first().is_none_or(|o| o.key != manifest)) {
        return Ok(Err("it was replaced since the plan".to_owned()));
    }
    // The fresh plan may be minutes old by now.
    if job.ctx.store.head(&item.id.pinned()).await?.is_some() {
        return Ok(Err("it was pinned since the plan".to_owned()));
    }
    Ok(Ok(objects))
}

/// Deletes the objects of one backup: the manifest before anything else is touched.
async fn delete(job: &PruneContext, item: &Item, mut objects: Vec<ObjectMeta>, report: &mut PruneReport) -> Result<()> {
    let mut deleted = Deleted {
        id: item.id,
        objects: 0,
        bytes: 0,
        left: objects.len(),
    };
    if item.is_backup {
        let manifest = objects.remove(0);
        // One that is absent may well have been deleted here, and the answer been lost: either way it is no backup any more, and
        // what it named is nobody's.
        if delete_one(job, &manifest).await? == Deletion::Replaced {
            let why = "its manifest was replaced since the plan".to_owned();
            report.skipped.push(Skipped { id: item.id, why });
            return Ok(());
        }
        deleted.count(&manifest);
    }
    report.deleted.push(deleted);
    let failed = &AtomicBool::new(false);
    let mut results = stream::iter(objects)
        .map(|object| async move {
            // After a failure no further one is begun; those under way end and are counted.
            let done = match failed.load(Ordering::Relaxed) {
                true => None,
                false => Some(
                    delete_one(job, &object)
                        .await
                        .inspect_err(|_| failed.store(true, Ordering::Relaxed))?,
                ),
            };
            Ok((object, done == Some(Deletion::Done)))
        })
        .buffer_unordered(AT_ONCE);
    let mut first = Ok(());
    while let Some(result) = results.next().await {
        match (result, report.deleted.last_mut()) {
            (Ok((object, true)), Some(deleted)) => deleted.count(&object),
            // Gone or replaced: not what the plan meant.
            (Ok(_), _) => {}
            (Err(e), _) => first = first.and(Err(e)),
        }
    }
    first
}

impl Deleted {
    fn count(&mut self, object: &ObjectMeta) {
        self.objects += 1;
        self.bytes += object.size;
        self.left -= 1;
    }
}

/// What became of an object that was to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deletion {
    /// It was deleted here.
    Done,
    /// It is not there: deleted by somebody else, or here by a request whose answer was lost.
    Absent,
    /// Another version is there, and stays.
    Replaced,
}

/// Deletes an object. One that is still there unchanged was refused, whatever the answer said.
async fn delete_one(job: &PruneContext, object: &ObjectMeta) -> Result<Deletion> {
    if job.ctx.store.delete(&object.key, &object.version).await? {
        return Ok(Deletion::Done);
    }
    match job.ctx.store.head(&object.key).await? {
        Some(now) if now.version == object.version => Err(Error::new(
            Code::StoreForbidden,
            format!(
                "{}/{} was not deleted, although it is unchanged",
                job.ctx.store.url(),
                object.key
            ),
        )),
        Some(_) => Ok(Deletion::Replaced),
        None => Ok(Deletion::Absent),
    }
}
