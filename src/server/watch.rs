//! What was last seen of Qdrant and the store, for those who ask often: several Prometheus servers may scrape every few seconds, and
//! each look lists some dozens of backups.

use super::App;
use crate::base::error::Result;
use crate::ops::freshness::Answer;
use crate::ops::metrics::{self, FailedRun};
use crate::repository::catalog;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::timeout;
use tracing::Instrument;

/// How long a look is good for.
const LOOK: Duration = Duration::from_secs(60);
/// How long a count of the bytes in the store is good for: where there are many objects it takes long, and costs.
const COUNT: Duration = Duration::from_secs(3600);
/// What a request waits for a count; it goes on without.
const PATIENCE: Duration = Duration::from_secs(2);

/// A look at Qdrant and the store.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) answer: Answer,
    /// Backups that left no manifest.
    pub(super) failed: Vec<FailedRun>,
    pub(super) at: OffsetDateTime,
}

/// The last looks. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    look: Arc<tokio::sync::Mutex<Option<Arc<Look>>>>,
    count: Arc<Mutex<Count>>,
}

/// The last count of the bytes in the store.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// `None`: it failed.
    bytes: Option<u64>,
    /// When it was begun.
    at: Option<OffsetDateTime>,
}

impl Watch {
    /// How every collection stands, as it was a minute ago at most. Those who ask meanwhile wait for the same look.
    pub(super) async fn look(&self, app: &App) -> Result<Arc<Look>> {
        let mut last = self.look.lock().await;
        let now = app.ctx.clock.now();
        if let Some(look) = last.as_ref().filter(|look| is_young(look.at, now, LOOK)) {
            return Ok(look.clone());
        }
        let (answer, _) = app.assess(app.wanted, now).await?;
        let (ctx, source) = (&app.ctx, app.source());
        let failed = metrics::failed(&*ctx.store, &ctx.clock, &source);
        let failed = app.ask_store("the newest runs", failed).await?;
        let look = Look {
            answer,
            failed,
            at: now,
        };
        Ok(last.insert(Arc::new(look)).clone())
    }

    /// The bytes of all backups, as they were an hour ago at most; none while they are not known.
    pub(super) async fn stored_bytes(&self, app: &App) -> Option<u64> {
        let now = app.ctx.clock.now();
        let is_due = {
            let mut count = lock(&self.count);
            let is_due = count.at.is_none_or(|at| !is_young(at, now, COUNT));
            if is_due {
                count.at = Some(now);
            }
            is_due
        };
        if is_due {
            let (store, count) = (app.ctx.store.clone(), self.count.clone());
            let work = async move {
                let counted = catalog::stored_bytes(&*store).await;
                if let Err(error) = &counted {
                    tracing::debug!(error = %error, "failed to count the bytes in the store");
                }
                lock(&count).bytes = counted.ok();
            };
            // It goes on when nobody waits any more.
            let _ = timeout(PATIENCE, tokio::spawn(work.in_current_span())).await;
        }
        lock(&self.count).bytes
    }
}

/// A clock that was set back makes nothing young.
fn is_young(at: OffsetDateTime, now: OffsetDateTime, limit: Duration) -> bool {
    (time::Duration::ZERO..limit.try_into().unwrap_or(time::Duration::MAX)).contains(&(now - at))
}

fn lock(count: &Mutex<Count>) -> MutexGuard<'_, Count> {
    // Every change leaves it whole.
    count.lock().unwrap_or_else(PoisonError::into_inner)
}
