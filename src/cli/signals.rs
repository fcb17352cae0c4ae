//! SIGINT and SIGTERM: the first one stops cleanly, the second one at once.

use crate::error::{Code, Error, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that the first signal cancels. Another signal ends the process without cleaning up.
pub(crate) fn stop_on_signals() -> Result<CancellationToken> {
    let listen = |kind| signal(kind).map_err(|e| Error::new(Code::Internal, "listening for signals").because(e));
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
        tracing::warn!("stopping; a second signal stops at once and cleans nothing up");
        token.cancel();
        signal().await;
        std::process::exit(Error::new(Code::Cancelled, "").exit_code().into());
    });
    Ok(stop)
}
