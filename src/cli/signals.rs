//! SIGINT and SIGTERM: the first one stops cleanly, the second one at once. SIGTSTP and SIGCONT: a pause of the network.

use crate::base::error::{Code, Error, Result};
use crate::base::pause::Pause;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that the first signal cancels. Another signal ends the process without cleaning up.
pub(crate) fn stop_on_signals() -> Result<CancellationToken> {
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        let mut signal = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        signal().await;
        tracing::warn!("stopping; a second signal stops at once without cleanup");
        token.cancel();
        signal().await;
        std::process::exit(Error::new(Code::Cancelled, "").exit_code().into());
    });
    Ok(stop)
}

/// Keeps to `pause` between SIGTSTP and SIGCONT, by which Cloud Run tells a job that its network is moved. Elsewhere SIGTSTP is
/// left to stop the process: on a terminal that is what Ctrl-Z does.
pub(crate) fn pause_on_signals(pause: Pause) -> Result<()> {
    let (mut begin, mut end) = (
        listen(SignalKind::from_raw(libc::SIGTSTP))?,
        listen(SignalKind::from_raw(libc::SIGCONT))?,
    );
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = begin.recv() => {
                    tracing::info!("SIGTSTP: no new requests until SIGCONT; interrupted transfers resume then");
                    pause.begin();
                }
                _ = end.recv() => {
                    tracing::info!("SIGCONT: going on");
                    pause.end();
                }
            }
        }
    });
    Ok(())
}

fn listen(kind: SignalKind) -> Result<Signal> {
    signal(kind).map_err(|e| Error::new(Code::Internal, "listening for signals").because(e))
}
