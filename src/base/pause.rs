//! A pause in which nothing new is asked of the network, because it is about to be moved.
//!
//! Cloud Run sends SIGTSTP ten seconds before it moves the network of a long job, and SIGCONT afterwards. What is under way
//! then may be cut, and what is begun in between fails; requests that wait for the end of the pause do neither.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// After this time the network is tried anyway: the end of the pause may never be signalled. Shorter than a stall.
const LONGEST: Duration = Duration::from_secs(60);

/// Shared by who is told of pauses and who keeps to them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pause(Arc<watch::Sender<bool>>);

impl Default for Pause {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Pause {
    /// From now on [`Pause::over`] waits.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Releases all waiting requests.
    pub fn end(&self) {
        self.0.send_replace(false);
    }

    /// Waits until there is no pause, at most a minute.
    pub async fn over(&self) {
        let mut paused = self.0.subscribe();
        if *paused.borrow_and_update() {
            tracing::info!("network paused; the request waits until the pause ends");
            // The sender lives as long as this; and at the deadline the network is tried.
            let _ = timeout(LONGEST, paused.wait_for(|paused| !paused)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_goes_on_at_the_end_or_after_a_minute() {
        let pause = Pause::default();
        let begun = Instant::now();
        pause.over().await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "there was none");
        pause.begin();
        let other = pause.clone();
        let waiting = tokio::spawn(async move { other.over().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        pause.end();
        waiting.await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
        pause.begin();
        pause.over().await;
        assert_eq!(begun.elapsed(), LONGEST, "its end was never told");
    }
}
