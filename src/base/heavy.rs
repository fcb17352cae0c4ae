//! Work that takes the processor for long, on threads of its own and only some of it at once: whoever else is served, `/health` before
//! all, must not wait for it.

use super::error::{Code, Error, Result};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tracing::Span;

/// What has fewer bytes is done at once: to hand it over would take longer.
const SHORT: usize = 64 << 10;

/// One works while another one waits for memory; more of them only take each other's time, and their results pile up.
static TURNS: Semaphore = Semaphore::const_new(2);

/// Does `work`, which looks at so many bytes.
///
/// # Errors
/// [`Code::Internal`] when the work panics.
pub async fn run<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    if bytes < SHORT {
        return Ok(work());
    }
    // Nobody closes it. It goes along: work that nobody waits for any more takes its turn all the same.
    let turn = TURNS.acquire().await;
    // What it logs belongs to the same request or run.
    let span = Span::current();
    let done = spawn_blocking(move || {
        let result = span.in_scope(work);
        drop(turn);
        result
    });
    done.await
        .map_err(|e| Error::new(Code::Internal, "internal error: a computation did not finish").because(e))
}
