//! The registry of work: every backup, restore, drill, prune and verification of this process, from its beginning to its end, and
//! for a while after it. It belongs to the service: whoever shows what runs, refuses what may not run beside it, cancels it or
//! waits for its end, asks here.

mod ended;

use super::api::{LeaseHolder, ReportOfError};
use super::error::{HttpError, LONGEST_MESSAGE};
use crate::base::clock::Clock;
use crate::base::error::{Code, Error, Result};
use crate::base::text::shortened;
use crate::ops::backup::KeyedRequest;
use crate::ops::events::Operation;
use crate::ops::journal;
use crate::ops::progress::Progress;
use crate::repository::names::RunId;
use crate::repository::runs::RunRecord;
use ended::{EndedRuns, Outcome};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Instrument;

/// Between two looks whether a run holds its lease.
const LOOK: Duration = Duration::from_millis(10);

/// Whether one keeps the other from running in the same process: of those that work under the lease there is one at a time, and
/// one verification beside it, since memory and the store are shared with backups.
fn excludes(one: Operation, other: Operation) -> bool {
    let needs_lease = |operation| operation != Operation::Verify;
    one == other || (needs_lease(one) && needs_lease(other))
}

/// One operation that runs.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) id: RunId,
    pub(super) operation: Operation,
    pub(super) since: OffsetDateTime,
    pub(super) progress: Progress,
    cancel: CancellationToken,
    /// Cancelled when the run is out of the registry.
    gone: CancellationToken,
}

impl Running {
    /// Has it stop because somebody asked for that, and waits until it has, but no longer than so long.
    pub(super) async fn stop(&self, within: Duration) {
        self.progress.cancel_on_request();
        self.cancel.cancel();
        let _ = tokio::time::timeout(within, self.gone.cancelled()).await;
    }
}

/// One operation of this process, as it is now or was at its end.
pub(super) struct OwnRun {
    pub(super) record: RunRecord,
    /// Of one that has ended, unless it is too large to be kept.
    pub(super) report: Option<ReportOfError>,
}

/// The registry. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(super) struct Runs {
    who: String,
    clock: Clock,
    stop: CancellationToken,
    tasks: TaskTracker,
    registry: Arc<Mutex<Registry>>,
}

#[derive(Debug, Default)]
struct Registry {
    running: Vec<Running>,
    ended: EndedRuns,
}

impl Runs {
    /// `stop` is cancelled when the service stops: then all that runs is stopped, and nothing begins any more.
    pub(super) fn new(who: String, clock: Clock, stop: CancellationToken) -> Self {
        Self {
            who,
            clock,
            stop,
            tasks: TaskTracker::new(),
            registry: Arc::default(),
        }
    }

    /// Enters an operation, of a request that may be sent again if it has a key; it is at work until the answer is dropped. Refused,
    /// with who and since when, while another one excludes it.
    pub(super) fn begin(&self, operation: Operation, request: Option<&KeyedRequest>) -> Result<Run, HttpError> {
        let running = &mut lock(&self.registry).running;
        if self.stop.is_cancelled() {
            return Err(stopping().into());
        }
        if let Some(other) = running.iter().find(|other| excludes(other.operation, operation)) {
            let error = Error::new(
                Code::RunInProgress,
                format!("a {} is running in this service already", other.operation.noun()),
            )
            .remedy("wait for it to end; GET /v1/status shows how far it is");
            let holder = LeaseHolder {
                who: self.who.clone(),
                since: other.since,
            };
            return Err(HttpError::from(error).with_holder(Some(holder)));
        }
        let since = self.clock.now();
        let progress = Progress::new(since);
        if let Some(request) = request {
            progress.begun_by(request.noted());
        }
        let entry = Running {
            id: progress.run(operation),
            operation,
            since,
            progress,
            cancel: self.stop.child_token(),
            gone: CancellationToken::new(),
        };
        running.push(entry.clone());
        Ok(Run {
            progress: entry.progress.clone(),
            entry,
            runs: self.clone(),
            outcome: Outcome::of_error(&aborted(operation)),
            _waited_for: self.tasks.token(),
        })
    }

    /// Everything that runs, in the order in which it began.
    pub(super) fn all(&self) -> Vec<Running> {
        lock(&self.registry).running.clone()
    }

    /// What works under the lease, if anything here does.
    pub(super) fn under_lease(&self) -> Option<Running> {
        self.all().into_iter().find(|run| run.operation != Operation::Verify)
    }

    /// That which runs under this id.
    pub(super) fn running(&self, id: &RunId) -> Option<Running> {
        self.all().into_iter().find(|run| run.id == *id)
    }

    /// That of this id, whether it runs or has ended.
    pub(super) fn own(&self, id: &RunId) -> Option<OwnRun> {
        let registry = lock(&self.registry);
        let running = registry.running.iter().find(|run| run.id == *id);
        running.map(|run| self.now(run)).or_else(|| registry.ended.find(id))
    }

    /// All that run, and those that have ended and are still known.
    pub(super) fn every(&self) -> Vec<OwnRun> {
        let registry = lock(&self.registry);
        let running = registry.running.iter().map(|run| self.now(run));
        running.chain(registry.ended.all()).collect()
    }

    fn now(&self, run: &Running) -> OwnRun {
        OwnRun {
            record: journal::record(&run.id, &self.who, &run.progress, None),
            report: None,
        }
    }

    /// Whether there is work that the service has to wait for.
    pub(super) fn under_way(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// Waits for so long, unless the service stops.
    pub(super) async fn pause(&self, time: Duration) -> Result<()> {
        let waited = self.stop.run_until_cancelled(tokio::time::sleep(time)).await;
        waited.ok_or_else(stopping)
    }

    /// Waits until nothing runs. To be called after the stop.
    pub(super) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The entry of an operation in the registry. Dropped, also by a panic, it makes way for the next one.
pub(super) struct Run {
    pub(super) progress: Progress,
    entry: Running,
    runs: Runs,
    /// What is told of it from its end on.
    outcome: Outcome,
    _waited_for: TaskTrackerToken,
}

/// How a run came to its end: its report, and the error that it amounts to unless all went well.
pub(super) struct RunEnd<T> {
    pub(super) report: T,
    pub(super) error: Option<Error>,
}

impl Run {
    pub(super) fn id(&self) -> &RunId {
        &self.entry.id
    }

    /// Does the work in a task of the service: a client that goes away drops what is returned, and the work goes on. What comes
    /// of it is logged there, since the client may not learn it.
    pub(super) fn spawn<T, F>(self, work: impl FnOnce(Progress, CancellationToken) -> F) -> Begun<T>
    where
        T: Clone + Into<ReportOfError> + Send + 'static,
        F: Future<Output = Result<RunEnd<T>>> + Send + 'static,
    {
        let entry = self.entry.clone();
        let work = work(self.progress.clone(), self.entry.cancel.clone());
        let task = async move {
            let end = work.await;
            log(self.entry.operation, &end);
            self.came_to(Outcome::of(&end));
            end
        };
        // The request's span: all lines of the run belong to the trace of the request.
        let task = tokio::spawn(task.in_current_span());
        Begun { entry, task, end: None }
    }

    /// Does the work within the request: it ends with that, and with the service.
    pub(super) async fn attached<T: Clone + Into<ReportOfError>>(
        mut self,
        work: impl Future<Output = Result<RunEnd<T>>>,
    ) -> Result<RunEnd<T>> {
        self.outcome = Outcome::of_error(&Error::new(
            Code::Cancelled,
            format!(
                "the client of this {} went away before its end",
                self.entry.operation.noun()
            ),
        ));
        let end = self.entry.cancel.run_until_cancelled(work).await;
        let end = end.unwrap_or_else(|| match self.runs.stop.is_cancelled() {
            true => Err(stopping()),
            false => Err(Error::new(Code::Cancelled, "the run was cancelled")),
        });
        self.came_to(Outcome::of(&end));
        end
    }

    /// Its end, of which is told what this says.
    fn came_to(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let outcome = Outcome::of_error(&aborted(self.entry.operation));
        let outcome = std::mem::replace(&mut self.outcome, outcome);
        let end = (self.runs.clock.now(), outcome.end);
        let record = journal::record(&self.entry.id, &self.runs.who, &self.progress, Some(end));
        let registry = &mut *lock(&self.runs.registry);
        registry.running.retain(|run| run.id != self.entry.id);
        // What was refused before it had its lease is no operation: it was answered with its error.
        if self.progress.holder().is_some() || !outcome.is_refusal {
            registry.ended.push(record, outcome.report);
        }
        self.entry.gone.cancel();
    }
}

/// An operation that works in a task of the service.
pub(super) struct Begun<T> {
    entry: Running,
    task: JoinHandle<Result<RunEnd<T>>>,
    /// Of one that had ended when it settled.
    end: Option<RunEnd<T>>,
}

impl<T> Begun<T> {
    pub(super) fn id(&self) -> &RunId {
        &self.entry.id
    }

    /// Waits for its end.
    pub(super) async fn ended(mut self) -> Result<RunEnd<T>> {
        match self.end.take() {
            Some(end) => Ok(end),
            None => self.joined().await,
        }
    }

    /// Waits until it holds its lease, or has ended without having needed it.
    ///
    /// # Errors
    /// Why nothing was begun.
    pub(super) async fn settled(&mut self) -> Result<()> {
        let has_begun = || self.entry.progress.holder().is_some();
        while !has_begun() && !self.task.is_finished() {
            tokio::time::sleep(LOOK).await;
        }
        if !has_begun() && self.end.is_none() {
            self.end = Some(self.joined().await?);
        }
        Ok(())
    }

    /// Whether it had ended when it settled.
    pub(super) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    async fn joined(&mut self) -> Result<RunEnd<T>> {
        let joined = (&mut self.task).await;
        joined.unwrap_or_else(|e| Err(aborted(self.entry.operation).because(e)))
    }
}

fn aborted(operation: Operation) -> Error {
    Error::new(
        Code::Internal,
        format!("internal error: the {} was aborted", operation.noun()),
    )
}

fn stopping() -> Error {
    Error::new(Code::Cancelled, "the service is stopping").remedy("try again in a minute")
}

fn log<T>(operation: Operation, end: &Result<RunEnd<T>>) {
    let error = match end {
        Ok(RunEnd { error, .. }) => error.as_ref(),
        Err(error) => Some(error),
    };
    let Some(error) = error else { return };
    let operation = operation.noun();
    // They may repeat what the client sent.
    let (chain, code) = (error.chain(), error.code());
    let (chain, whole) = (shortened(&chain, LONGEST_MESSAGE), error.to_string());
    let whole = shortened(&whole, LONGEST_MESSAGE);
    match error.is_refusal() {
        true => tracing::warn!(%code, error = &*whole, "{operation} was refused: {chain}"),
        false => tracing::error!(%code, error = &*whole, "{operation} failed: {chain}"),
    }
}

fn lock(registry: &Mutex<Registry>) -> MutexGuard<'_, Registry> {
    // Every change leaves it whole.
    registry.lock().unwrap_or_else(PoisonError::into_inner)
}
