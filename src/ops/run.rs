//! What every operation shares: the lease and its loss, the cleanup on Qdrant, and the one final event.

use super::context::StoreContext;
use super::events::{self, Counts, Finished, Operation};
use super::journal::{Journal, RunEnd};
use super::notify::Follow;
use super::progress::Progress;
use crate::base::error::{Code, Error, ErrorInfo, Result};
use crate::repository::intents::{self, Intent};
use crate::repository::lease::{self, Guard, Lease};
use crate::repository::names::BackupId;
use crate::wire::qdrant::Qdrant;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// How long a cancelled run cleans up on Qdrant, all of it together, whatever does not answer: the lease is free within five seconds,
/// and the rest fits into the ten that Cloud Run grants.
const CLEAN_UP: Duration = Duration::from_millis(4500);

/// How long a run that was not cancelled looks for what it may have left.
const SWEEP: Duration = Duration::from_secs(5);

/// How a run wants the lease.
#[derive(Debug)]
pub(crate) enum LeaseMode<'a> {
    /// Nothing is done without it.
    Exclusive,
    /// The run only reads the store: it goes on where the store refuses the lease, and without trying with `no_lock`.
    Preferred { no_lock: bool },
    /// Together with other processes of that group, until the report says that nothing is open.
    Shared(&'a str),
    /// It was taken already.
    Held(Lease),
}

/// A run at work.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) progress: Progress,
    /// Cancelled by the caller, and when the lease is lost.
    pub(crate) cancel: CancellationToken,
    lease: Arc<Guard>,
    /// When it was cancelled.
    cancelled_at: Arc<OnceLock<Instant>>,
}

/// What an operation came to, as far as its end is concerned.
pub(crate) trait Conclusion {
    /// Its error, if any.
    fn failure(&self) -> Option<ErrorInfo>;

    fn counts(&self) -> Counts;

    /// Takes the warning that nothing kept other runs away all the time.
    fn warn(&mut self, warning: String);

    /// Whether other processes go on with it, under the lease that they share.
    fn is_open(&self) -> bool {
        false
    }
}

impl Run {
    /// As [`unless_cancelled`], with the token of this run.
    pub(crate) async fn unless_cancelled<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        unless_cancelled(&self.cancel, work).await
    }

    /// Does `work`, which cleans up, but for no longer than `longest`; and of a cancelled run no longer than all of its cleaning
    /// up may take. `None`: it has not ended.
    pub(crate) async fn clean_up<T>(&self, longest: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.is_late() => None,
            () = sleep(longest) => None,
        }
    }

    /// Does `work` to its end, unless the run is cancelled and it does not end as soon as cleaning up has to.
    pub(crate) async fn within_cleanup<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.clean_up(Duration::MAX, work)
            .await
            .unwrap_or_else(|| Err(stopped()))
    }

    /// The same, where it has to end so long after the cancel, if that is sooner.
    pub(crate) async fn within_grace<T>(&self, grace: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            result = work => result,
            () = self.cancelled_for(grace.min(CLEAN_UP)) => Err(stopped()),
        }
    }

    /// Ends when a cancelled run may clean up no longer; never before it is cancelled.
    async fn is_late(&self) {
        self.cancelled_for(CLEAN_UP).await;
    }

    async fn cancelled_for(&self, time: Duration) {
        self.cancel.cancelled().await;
        let at = *self.cancelled_at.get_or_init(Instant::now);
        sleep_until(at + time).await;
    }

    /// Does `work`, and notes when the run is cancelled, whatever it is at then.
    async fn noting_cancel<T>(&self, work: impl Future<Output = T>) -> T {
        let noted = async {
            self.cancel.cancelled().await;
            self.cancelled_at.get_or_init(Instant::now);
            std::future::pending().await
        };
        tokio::select! {
            done = work => done,
            never = noted => never,
        }
    }

    /// Proves that the lease is still held, right before a commit. There is nothing to prove without one.
    pub(crate) async fn confirm(&self) -> Result<()> {
        self.lease.confirm().await
    }

    /// Under which lease it works; `None` without one.
    pub(crate) async fn holder(&self) -> Option<String> {
        self.lease.holder().await
    }

    /// Fails if the lease was lost; no request to the store.
    pub(crate) fn confirm_not_lost(&self) -> Result<()> {
        self.lease.confirm_not_lost()
    }
}

/// Does `work` under the lease as `wanted`, and tells its end.
///
/// # Errors
/// [`Code::RunInProgress`] while another run holds the lease, [`Code::LeaseLost`] if it was lost during the run, else those of
/// `work`.
pub(crate) async fn run<T, W>(
    ctx: &StoreContext,
    operation: Operation,
    wanted: LeaseMode<'_>,
    progress: &Progress,
    cancel: &CancellationToken,
    work: impl FnOnce(Run) -> W,
) -> Result<T>
where
    T: Conclusion,
    W: Future<Output = Result<T>>,
{
    ending(
        ctx,
        operation,
        progress,
        under_lease(ctx, wanted, progress, cancel, None, work),
    )
    .await
}

/// Does `work` and tells how far it is, and its end.
pub(crate) async fn ending<T: Conclusion>(
    ctx: &StoreContext,
    operation: Operation,
    progress: &Progress,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let began = ctx.clock.now();
    let follow = ctx.follow(operation, progress);
    let journal = Journal::start(&ctx.store, &ctx.clock, &ctx.who, operation, progress);
    let result = work.await;
    let told = end(follow, progress.now().id, ctx.clock.now() - began, result.as_ref());
    journal.end(ended(&result)).await;
    told.await;
    result
}

/// How a run ended that came to `result`.
pub(crate) fn ended<T: Conclusion>(result: &Result<T>) -> RunEnd {
    match result {
        Ok(report) => RunEnd::of(report.failure().map(Into::into)),
        Err(error) => error.into(),
    }
}

/// Logs the end of an operation at once, and then tells it, unless it was refused. What is awaited holds nothing of the result.
pub(crate) fn end<T: Conclusion>(
    follow: Follow,
    backup: Option<BackupId>,
    took: time::Duration,
    result: Result<&T, &Error>,
) -> impl Future<Output = ()> + use<T> {
    let operation = follow.operation;
    let (error, counts, is_refusal) = match result {
        Ok(report) => (report.failure(), report.counts(), false),
        Err(error) => (Some(ErrorInfo::from(error)), operation.nothing(), error.is_refusal()),
    };
    let is_refused = error
        .as_ref()
        .is_some_and(|error| operation.is_refused(error.code, is_refusal));
    let finished = (!is_refused).then_some(Finished {
        operation,
        backup,
        error,
        took,
        counts,
    });
    if let Some(finished) = &finished {
        events::log(finished);
    }
    async move {
        if let Some(finished) = finished {
            follow.end(&finished).await;
        }
    }
}

/// Does `work` under the lease as `wanted`. What the run may have left on `swept` is removed before the lease is released.
///
/// # Errors
/// As [`run`].
pub(crate) async fn under_lease<T, W>(
    ctx: &StoreContext,
    wanted: LeaseMode<'_>,
    progress: &Progress,
    cancel: &CancellationToken,
    swept: Option<&Qdrant>,
    work: impl FnOnce(Run) -> W,
) -> Result<T>
where
    T: Conclusion,
    W: Future<Output = Result<T>>,
{
    let is_shared = matches!(wanted, LeaseMode::Shared(_));
    let guard = Arc::new(take(ctx, wanted, cancel).await?);
    progress.begins(guard.holder().await);
    let run = Run {
        progress: progress.clone(),
        cancel: guard.token(cancel),
        lease: guard.clone(),
        cancelled_at: Arc::default(),
    };
    let result = match run.noting_cancel(Box::pin(work(run.clone()))).await {
        Err(e) if e.code() == Code::Cancelled => guard.confirm_not_lost().and(Err(e)),
        result => result,
    };
    // Of a group others still work under it, or this process when it is tried again.
    if is_shared && result.as_ref().map_or(true, T::is_open) {
        return result;
    }
    // Only its own: should somebody else have begun all the same, what they have open is none of our business.
    if let (Some(qdrant), Some(id), Ok(())) = (swept, progress.now().id, guard.confirm_not_lost()) {
        sweep(ctx, &run, qdrant, id, |_| true).await;
    }
    let unprotected = guard.end().await;
    result.map(|mut report| {
        unprotected.into_iter().for_each(|warning| report.warn(warning));
        report
    })
}

async fn take(ctx: &StoreContext, wanted: LeaseMode<'_>, cancel: &CancellationToken) -> Result<Guard> {
    let store = ctx.store.clone();
    match wanted {
        LeaseMode::Exclusive => Ok(lease::acquire(store, &ctx.clock, &ctx.who, ctx.lease).await?.into()),
        LeaseMode::Preferred { no_lock } => Guard::take(store, &ctx.clock, &ctx.who, ctx.lease, no_lock).await,
        // Others may hold it up: many tasks begin at once.
        LeaseMode::Shared(group) => {
            let joined = lease::join(store, &ctx.clock, group, ctx.lease);
            Ok(unless_cancelled(cancel, joined).await?.into())
        }
        LeaseMode::Held(lease) => Ok(lease.into()),
    }
}

/// Removes what the run `id` could not remove from Qdrant at once, such as a snapshot that was made although the answer was lost.
pub(crate) async fn sweep(
    ctx: &StoreContext,
    run: &Run,
    qdrant: &Qdrant,
    id: BackupId,
    is_dead: impl Fn(&Intent) -> bool,
) {
    let work = intents::recover(&*ctx.store, qdrant, ctx.clock.now(), Some(id), is_dead);
    match run.clean_up(SWEEP, work).await {
        Some(Ok(warnings)) => warnings.iter().for_each(|warning| tracing::warn!("{warning}")),
        Some(Err(error)) => {
            tracing::warn!(error = %error, "failed to look for snapshots left on Qdrant; the next run does it");
        }
        None => tracing::warn!("timeout while looking for snapshots left on Qdrant; the next run does it"),
    }
}

/// Does `work` unless the run is cancelled.
pub(crate) async fn unless_cancelled<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    match cancel.is_cancelled() {
        true => Err(stopped()),
        false => cancel.run_until_cancelled(work).await.unwrap_or_else(|| Err(stopped())),
    }
}

pub(crate) fn stopped() -> Error {
    Error::new(Code::Cancelled, "the run was cancelled")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Clock;
    use crate::ops::notify::Notifier;
    use crate::repository::names::LOCK;
    use crate::wire::store::DirStore;
    use tempfile::TempDir;
    use time::OffsetDateTime;
    use tokio::time::timeout;

    const LIFE: Duration = Duration::from_secs(60);

    struct FakeConclusion {
        open: bool,
    }

    impl Conclusion for FakeConclusion {
        fn failure(&self) -> Option<ErrorInfo> {
            None
        }

        fn counts(&self) -> Counts {
            Counts::default()
        }

        fn warn(&mut self, warning: String) {
            panic!("{warning}");
        }

        fn is_open(&self) -> bool {
            self.open
        }
    }

    async fn place() -> (TempDir, StoreContext) {
        let dir = tempfile::tempdir().unwrap();
        let begun = Instant::now();
        let ctx = StoreContext {
            store: Arc::new(DirStore::open(dir.path()).await.unwrap()),
            clock: Clock::new(move || OffsetDateTime::UNIX_EPOCH + begun.elapsed()),
            who: "test".into(),
            lease: LIFE,
            notify: Notifier::default(),
        };
        (dir, ctx)
    }

    async fn held<W>(ctx: &StoreContext, wanted: LeaseMode<'_>, work: impl FnOnce(Run) -> W) -> Result<FakeConclusion>
    where
        W: Future<Output = Result<FakeConclusion>>,
    {
        let progress = Progress::new(OffsetDateTime::UNIX_EPOCH);
        under_lease(ctx, wanted, &progress, &CancellationToken::new(), None, work).await
    }

    #[tokio::test]
    async fn a_run_holds_the_lease_and_gives_it_back_whatever_it_comes_to() {
        let (dir, ctx) = place().await;
        let lock = dir.path().join(LOCK);
        for code in [None, Some(Code::StoreFailed), Some(Code::Cancelled)] {
            let result = held(&ctx, LeaseMode::Exclusive, |_| async {
                assert!(lock.exists());
                code.map_or(Ok(FakeConclusion { open: false }), |code| Err(Error::new(code, "x")))
            });
            assert_eq!(result.await.err().map(|e| e.code()), code);
            assert!(!lock.exists(), "{code:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_the_loss_of_its_lease_stopped_says_so() {
        let (dir, ctx) = place().await;
        let result = held(&ctx, LeaseMode::Exclusive, |run| async move {
            std::fs::remove_file(dir.path().join(LOCK)).unwrap();
            timeout(LIFE, run.cancel.cancelled()).await.unwrap();
            Err(stopped())
        });
        assert_eq!(result.await.err().map(|e| e.code()), Some(Code::LeaseLost));
    }

    #[tokio::test]
    async fn processes_of_a_group_keep_the_lease_until_nothing_is_open() {
        let (dir, ctx) = place().await;
        let lock = dir.path().join(LOCK);
        for came in [
            Ok(FakeConclusion { open: true }),
            Err(stopped()),
            Ok(FakeConclusion { open: false }),
        ] {
            let ended = came.as_ref().is_ok_and(|came| !came.open);
            let _ = held(&ctx, LeaseMode::Shared("group"), |_| async { came }).await;
            assert_eq!(lock.exists(), !ended);
        }
    }
}
