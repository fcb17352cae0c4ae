//! The one backup that this process may be making. It belongs to the service, not to the request that started it: a client
//! that goes away does not end it.

use crate::backup::{self, Context, Report};
use crate::error::{Code, Error, Result};
use crate::manifest::Selection;
use crate::progress::Progress;
use crate::prune::{self, Job};
use crate::retention::Policy;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Starts runs, one at a time. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Runs {
    ctx: Context,
    stop: CancellationToken,
    tasks: TaskTracker,
    current: Arc<Mutex<Option<Progress>>>,
    prune_after: Option<Policy>,
}

impl Runs {
    pub(super) fn new(ctx: Context, stop: CancellationToken) -> Self {
        Self {
            ctx,
            stop,
            tasks: TaskTracker::new(),
            current: Arc::default(),
            prune_after: None,
        }
    }

    /// From now on, prunes by this policy after each complete backup.
    pub(super) fn prune_after(&mut self, policy: Option<Policy>) {
        self.prune_after = policy;
    }

    /// Cancelled when the service stops.
    pub(super) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Runs work that belongs to the service; it waits for its end when it stops.
    pub(super) fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.tasks.spawn(work.in_current_span())
    }

    /// The progress of the run in this process.
    pub(super) fn current(&self) -> Option<Progress> {
        lock(&self.current).clone()
    }

    /// Starts a run; the answer ends when it has ended, and may be dropped before.
    pub(super) fn start(&self, selection: Selection) -> Result<JoinHandle<Result<Report>>> {
        let mut current = lock(&self.current);
        if self.stop.is_cancelled() {
            return Err(Error::new(Code::Cancelled, "the service is stopping").remedy("try again in a minute"));
        }
        if current.is_some() {
            return Err(
                Error::new(Code::RunInProgress, "this service is making a backup already")
                    .remedy("wait for it; GET /status shows how far it is"),
            );
        }
        let progress = Progress::new(self.ctx.clock.now());
        *current = Some(progress.clone());
        let (ctx, stop, prune_after) = (self.ctx.clone(), self.stop.clone(), self.prune_after.clone());
        let slot = Slot(self.current.clone());
        let run = async move {
            let _slot = slot;
            let mut result = backup::run(&ctx, &selection, &progress, &stop).await;
            if let (Ok(report), Some(policy)) = (&mut result, prune_after) {
                prune::after_backup(&Job::new(&ctx, policy), report, &stop).await;
            }
            let error = match &result {
                Ok(report) => report.error(),
                Err(_) => None,
            };
            if let Some(error) = error.as_ref().or(result.as_ref().err()) {
                tracing::error!(code = %error.code(), error = %error, "backup did not succeed: {}", error.chain());
            }
            result
        };
        // The request's span: all lines of the run belong to the trace of the request.
        Ok(self.spawn(run))
    }

    /// Waits until no run is under way. To be called after the stop.
    pub(super) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Makes way for the next run when this one has ended, also by a panic.
struct Slot(Arc<Mutex<Option<Progress>>>);

impl Drop for Slot {
    fn drop(&mut self) {
        *lock(&self.0) = None;
    }
}

fn lock(current: &Mutex<Option<Progress>>) -> MutexGuard<'_, Option<Progress>> {
    // It holds one value, which is whole at all times.
    current.lock().unwrap_or_else(PoisonError::into_inner)
}
