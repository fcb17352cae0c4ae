//! SIGINT and SIGTERM: the first one stops cleanly, and not for ever; the second one at once. SIGTSTP and SIGCONT: a pause of the network.

use crate::base::error::{Code, Error, Result};
use crate::base::pause::Pause;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// A signal that comes so soon after the first one asks for nothing else.
const SAME_SIGNAL: Duration = Duration::from_secs(1);
/// For the last line of the log, if anybody reads it.
const LAST_WORD: Duration = Duration::from_millis(100);

/// A token that the first signal cancels. Another signal, a second or more later, ends the process without cleaning up, and
/// so does the end of `patience`.
///
/// A thread of its own sees to that: all others, and the end of the program with them, may wait for ever to write where nobody
/// reads, into the log or the output.
pub(crate) fn stop_on_signals(patience: Duration) -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    let token = stop.clone();
    let (told, begun) = mpsc::channel();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        match runtime.map_err(|e| Error::new(Code::Internal, "listening for signals").because(e)) {
            Ok(runtime) => runtime.block_on(watch(&told, token, patience)),
            Err(e) => drop(told.send(Err(e))),
        }
    });
    let begun = begun.recv();
    begun.unwrap_or_else(|e| Err(Error::new(Code::Internal, "listening for signals").because(e)))?;
    Ok(stop)
}

/// Says that it listens, and ends with the process.
async fn watch(told: &mpsc::Sender<Result<()>>, stop: CancellationToken, patience: Duration) {
    let listening = listen(SignalKind::interrupt()).and_then(|i| Ok((i, listen(SignalKind::terminate())?)));
    let (mut interrupt, mut terminate) = match listening {
        Ok(listening) => listening,
        Err(e) => return drop(told.send(Err(e))),
    };
    // Whoever asked waits for it.
    let _ = told.send(Ok(()));
    let mut signal = async || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    signal().await;
    stop.cancel();
    // It may never be written.
    thread::spawn(|| tracing::warn!("stopping; a second signal stops at once without cleanup"));
    // One that follows at once is the same: the terminal and whoever started this both pass it on, or a key was pressed twice.
    let began = Instant::now();
    let another = async {
        loop {
            signal().await;
            if began.elapsed() >= SAME_SIGNAL {
                break;
            }
        }
    };
    if timeout(patience, another).await.is_err() {
        thread::spawn(move || {
            tracing::error!("cleanup did not end within {patience:?} of the signal: the process ends now")
        });
        sleep(LAST_WORD).await;
    }
    std::process::exit(Error::new(Code::Cancelled, "").exit_code().into());
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
