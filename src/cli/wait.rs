//! `--wait`: while another run holds the lease, the command waits instead of giving up.

use crate::base::error::{Code, Error, Result};
use crate::base::when;
use clap::Args;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Without a limit.
const FOR_EVER: &str = "for-ever";
/// Between two attempts: the first come soon, since most runs are short.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct WaitArgs {
    /// Wait while another run is in progress, at most so long, e.g. 30m; without a value until it ends
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, default_missing_value = FOR_EVER, value_parser = limit)]
    wait: Option<Limit>,
}

/// How long is waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Never,
    After(Duration),
}

fn limit(text: &str) -> std::result::Result<Limit, &'static str> {
    match text {
        FOR_EVER => Ok(Limit::Never),
        text => when::duration(text)
            .map(Limit::After)
            .ok_or("write a whole number and s, m, h or d, e.g. 30m"),
    }
}

/// Does `work`, and does it again while another run is in its way, as long as is to be waited. A run that is refused so has begun
/// nothing.
pub(crate) async fn waiting<T, W>(args: WaitArgs, stop: &CancellationToken, mut work: impl FnMut() -> W) -> Result<T>
where
    W: Future<Output = Result<T>>,
{
    let began = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut is_told = false;
    loop {
        let error = match work().await {
            Err(error) if error.code() == Code::RunInProgress => error,
            done => return done,
        };
        let left = match args.wait {
            None => return Err(error),
            Some(Limit::Never) => pause,
            Some(Limit::After(limit)) => limit.saturating_sub(began.elapsed()),
        };
        if left.is_zero() {
            return Err(error);
        }
        if !std::mem::replace(&mut is_told, true) {
            tracing::warn!("waiting: {}", error.chain());
        }
        if stop.run_until_cancelled(sleep(pause.min(left))).await.is_none() {
            return Err(Error::new(
                Code::Cancelled,
                "stopped while waiting for another run; nothing was changed",
            ));
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Result<()> {
        Err(Error::new(Code::RunInProgress, "another run"))
    }

    async fn attempts(wait: Option<Limit>, ends_after: usize) -> (usize, Option<Code>, Duration) {
        let (began, mut count) = (Instant::now(), 0);
        let stop = CancellationToken::new();
        let done = waiting(WaitArgs { wait }, &stop, || {
            count += 1;
            let is_free = count > ends_after;
            async move { if is_free { Ok(()) } else { refused() } }
        });
        let code = done.await.err().map(|error| error.code());
        (count, code, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_in_the_way_is_waited_for_as_long_as_is_asked_for() {
        let after = |seconds| Some(Limit::After(Duration::from_secs(seconds)));
        assert_eq!(attempts(None, 1).await, (1, Some(Code::RunInProgress), Duration::ZERO));
        assert_eq!(attempts(after(60), 2).await, (3, None, Duration::from_secs(3)));
        let (_, code, took) = attempts(after(60), usize::MAX).await;
        assert_eq!((code, took), (Some(Code::RunInProgress), Duration::from_secs(60)));
        assert_eq!(attempts(Some(Limit::Never), 100).await.1, None);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_can_be_told_to_stop() {
        let stop = CancellationToken::new();
        let wait = WaitArgs {
            wait: Some(Limit::Never),
        };
        let work = waiting(wait, &stop, || async { refused() });
        let (done, ()) = tokio::join!(work, async { stop.cancel() });
        assert_eq!(done.unwrap_err().code(), Code::Cancelled);
    }
}
