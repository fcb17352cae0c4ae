//! The one backup, restore or drill that this process may be at. It belongs to the service, not to the request that started
//! it: a client that goes away does not end it.

use crate::base::error::{Code, Error, Result};
use crate::ops::backup::{self, BackupReport};
use crate::ops::context::Context;
use crate::ops::drill::{self, DrillReport, DrillTarget};
use crate::ops::progress::Progress;
use crate::ops::prune::{self, PruneContext};
use crate::ops::restore;
use crate::ops::retention::Policy;
use crate::repository::selection::Selection;
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

    /// Starts a backup; the answer ends when it has ended, and may be dropped before.
    pub(super) fn backup(&self, selection: Selection, new_source: bool) -> Result<JoinHandle<Result<BackupReport>>> {
        let prune_after = self.prune_after.clone();
        let work = move |ctx: Context, progress: Progress, stop: CancellationToken| async move {
            let mut result = backup::run(&ctx, &selection, &progress, &stop).await;
            if let (Ok(report), Some(policy)) = (&mut result, prune_after) {
                prune::after_backup(&PruneContext::new(&ctx, policy), report, &stop).await;
            }
            log("backup", &result, result.as_ref().ok().and_then(BackupReport::error));
            result
        };
        let mut ctx = self.ctx.clone();
        ctx.settings.source.accept_new = new_source;
        self.start(ctx, work)
    }

    /// Starts a restore, likewise.
    pub(super) fn restore(
        &self,
        request: restore::RestoreRequest,
    ) -> Result<JoinHandle<Result<restore::RestoreReport>>> {
        let work = move |ctx: Context, progress: Progress, stop: CancellationToken| async move {
            let result = restore::run(&ctx, &request, &progress, &stop).await;
            log(
                "restore",
                &result,
                result.as_ref().ok().and_then(restore::RestoreReport::error),
            );
            result
        };
        self.start(self.ctx.clone(), work)
    }

    /// Starts a drill at `place`, likewise.
    pub(super) fn drill(
        &self,
        place: DrillTarget,
        request: drill::DrillRequest,
    ) -> Result<JoinHandle<Result<DrillReport>>> {
        let elsewhere = place.elsewhere;
        let work = move |ctx: Context, progress: Progress, stop: CancellationToken| async move {
            let place = DrillTarget { ctx, elsewhere };
            let result = drill::run(&place, &request, &progress, &stop).await;
            log("drill", &result, result.as_ref().ok().and_then(DrillReport::error));
            result
        };
        self.start(place.ctx, work)
    }

    fn start<T, F>(
        &self,
        ctx: Context,
        work: impl FnOnce(Context, Progress, CancellationToken) -> F,
    ) -> Result<JoinHandle<Result<T>>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let mut current = lock(&self.current);
        if self.stop.is_cancelled() {
            return Err(Error::new(Code::Cancelled, "the service is stopping").remedy("try again in a minute"));
        }
        if current.is_some() {
            return Err(Error::new(
                Code::RunInProgress,
                "this service is at a backup, a restore or a drill already",
            )
            .remedy("wait for it; GET /status shows how far it is"));
        }
        let progress = Progress::new(self.ctx.clock.now());
        *current = Some(progress.clone());
        let slot = Slot(self.current.clone());
        let work = work(ctx, progress, self.stop.clone());
        let run = async move {
            let _slot = slot;
            work.await
        };
        // The request's span: all lines of the run belong to the trace of the request.
        Ok(self.spawn(run))
    }

    /// Whether there is work that the service has to wait for.
    pub(super) fn under_way(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// Waits until no run is under way. To be called after the stop.
    pub(super) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn log<T>(what: &str, result: &Result<T>, incomplete: Option<Error>) {
    if let Some(error) = incomplete.as_ref().or(result.as_ref().err()) {
        match error.code().is_refusal() {
            true => tracing::warn!(code = %error.code(), error = %error, "{what} was refused: {}", error.chain()),
            false => tracing::error!(code = %error.code(), error = %error, "{what} did not succeed: {}", error.chain()),
        }
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
