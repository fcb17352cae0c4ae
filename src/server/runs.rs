//! The registry of running work: every backup, restore, drill, prune and verification of this process, from its beginning to its
//! end. It belongs to the service: whoever shows what runs, refuses what may not run beside it, or waits for its end, asks here.

use super::api::LeaseHolder;
use super::error::{HttpError, LONGEST_MESSAGE};
use crate::base::clock::Clock;
use crate::base::error::{Code, Error, Result};
use crate::base::text::shortened;
use crate::ops::events::Operation;
use crate::ops::progress::Progress;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Instrument;

/// Whether one keeps the other from running in the same process: of those that work under the lease there is one at a time, and
/// one verification beside it, since memory and the store are shared with backups.
fn excludes(one: Operation, other: Operation) -> bool {
    let needs_lease = |operation| operation != Operation::Verify;
    one == other || (needs_lease(one) && needs_lease(other))
}

/// One operation that runs.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) operation: Operation,
    pub(super) since: OffsetDateTime,
    pub(super) progress: Progress,
}

/// The registry. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(super) struct Runs {
    who: String,
    clock: Clock,
    stop: CancellationToken,
    tasks: TaskTracker,
    running: Arc<Mutex<Vec<Running>>>,
}

impl Runs {
    /// `stop` is cancelled when the service stops: then all that runs is stopped, and nothing begins any more.
    pub(super) fn new(who: String, clock: Clock, stop: CancellationToken) -> Self {
        Self {
            who,
            clock,
            stop,
            tasks: TaskTracker::new(),
            running: Arc::default(),
        }
    }

    /// Enters an operation; it is at work until the answer is dropped. Refused, with who and since when, while another one
    /// excludes it.
    pub(super) fn begin(&self, operation: Operation) -> Result<Run, HttpError> {
        let mut running = lock(&self.running);
        if self.stop.is_cancelled() {
            return Err(stopping().into());
        }
        if let Some(other) = running.iter().find(|other| excludes(other.operation, operation)) {
            let error = Error::new(
                Code::RunInProgress,
                format!("a {} is running in this service already", other.operation.noun()),
            )
            .remedy("wait for it to end; GET /status shows how far it is");
            let holder = LeaseHolder {
                who: self.who.clone(),
                since: other.since,
            };
            return Err(HttpError::from(error).with_holder(Some(holder)));
        }
        let since = self.clock.now();
        let progress = Progress::new(since);
        running.push(Running {
            operation,
            since,
            progress: progress.clone(),
        });
        Ok(Run {
            operation,
            progress,
            stop: self.stop.clone(),
            running: self.running.clone(),
            _waited_for: self.tasks.token(),
        })
    }

    /// Everything that runs, in the order in which it began.
    pub(super) fn all(&self) -> Vec<Running> {
        lock(&self.running).clone()
    }

    /// What works under the lease, if anything here does.
    pub(super) fn under_lease(&self) -> Option<Running> {
        self.all().into_iter().find(|run| run.operation != Operation::Verify)
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
    operation: Operation,
    pub(super) progress: Progress,
    stop: CancellationToken,
    running: Arc<Mutex<Vec<Running>>>,
    _waited_for: TaskTrackerToken,
}

/// How a run came to its end: its report, and the error that it amounts to unless all went well.
pub(super) struct RunEnd<T> {
    pub(super) report: T,
    pub(super) error: Option<Error>,
}

impl Run {
    /// Does the work in a task of the service: a client that goes away drops the future of this function, and the work goes on.
    /// What comes of it is logged there, since the client may not learn it.
    pub(super) async fn detached<T, F>(self, work: impl FnOnce(Progress, CancellationToken) -> F) -> Result<RunEnd<T>>
    where
        T: Send + 'static,
        F: Future<Output = Result<RunEnd<T>>> + Send + 'static,
    {
        let operation = self.operation;
        let work = work(self.progress.clone(), self.stop.clone());
        let task = async move {
            let _run = self;
            let end = work.await;
            log(operation, &end);
            end
        };
        // The request's span: all lines of the run belong to the trace of the request.
        tokio::spawn(task.in_current_span()).await.unwrap_or_else(|e| {
            let doing = format!("internal error: the {} was aborted", operation.noun());
            Err(Error::new(Code::Internal, doing).because(e))
        })
    }

    /// Does the work within the request: it ends with that, and with the service.
    pub(super) async fn attached<T>(self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let end = self.stop.run_until_cancelled(work).await;
        end.unwrap_or_else(|| Err(stopping()))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        lock(&self.running).retain(|run| run.operation != self.operation);
    }
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

fn lock(running: &Mutex<Vec<Running>>) -> MutexGuard<'_, Vec<Running>> {
    // Every change leaves the list whole.
    running.lock().unwrap_or_else(PoisonError::into_inner)
}
