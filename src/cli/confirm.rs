//! A question to whoever sits at the terminal.

use crate::base::error::{Code, Error, Result};
use std::io::{BufRead, IsTerminal, Write, stderr, stdin};
use tokio_util::sync::CancellationToken;

/// Asks, and waits for `y` or `yes`; anything else is a no. `None`: there is no terminal to ask on.
pub(super) async fn confirmed(question: &str, stop: &CancellationToken) -> Result<Option<bool>> {
    if !(stdin().is_terminal() && stderr().is_terminal()) {
        return Ok(None);
    }
    let unasked = |e| Error::new(Code::OutputFailed, "asking on the terminal").because(e);
    write!(stderr(), "{question} [y/N] ").map_err(unasked)?;
    stderr().flush().map_err(unasked)?;
    // A thread that nobody waits for when the process is told to stop.
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        stdin().lock().read_line(&mut line).map(|_| line)
    });
    let stopped = || Error::new(Code::Cancelled, "stopped before the answer; nothing was changed");
    let line = stop.run_until_cancelled(read).await.ok_or_else(stopped)?;
    let line = line.map_err(|e| Error::new(Code::Internal, "reading the answer").because(e))?;
    // One that cannot be read is none.
    let answer = line.unwrap_or_default().trim().to_lowercase();
    Ok(Some(matches!(answer.as_str(), "y" | "yes")))
}
