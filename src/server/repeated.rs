//! A request that is sent again with its key, and begins anything but a backup: the operation of the first one is found by what that
//! tells of itself. A backup has records of its own for that, see [`crate::ops::backup`].

use super::App;
use super::api::Operation;
use super::error::HttpError;
use super::idempotency::{POLL, reused};
use crate::base::error::Result;
use crate::ops::backup::{KeyedRequest, REMEMBERED};
use crate::ops::events;
use crate::repository::runs::{self, RunRecord, RunState};

impl App {
    /// The operation that an earlier request with this key began. None where it died, was stopped with its process, or failed
    /// before it had anything to work on: then it is to be begun again. `wait`: once it has ended.
    ///
    /// # Errors
    /// [`super::error::RequestCode::KeyReused`], and those of the store.
    pub(super) async fn earlier(
        &self,
        kind: events::Operation,
        keyed: &KeyedRequest,
        wait: bool,
    ) -> Result<Option<Operation>, HttpError> {
        loop {
            let Some(record) = self.requested(kind, keyed).await? else {
                return Ok(None);
            };
            if record.request.as_ref().is_some_and(|of| of.asked != keyed.asked) {
                return Err(reused(keyed));
            }
            let look = async || self.operation_or(&record.id, || record.clone()).await;
            let operation = look().await?;
            if operation.is_interrupted() || has_no_result(&record) {
                return Ok(None);
            }
            if operation.has_ended() || !wait {
                tracing::info!(run = %record.id, "{} was begun for this request already", record.id);
                return Ok(Some(operation));
            }
            // Then its record is read again: it tells why it was cancelled.
            while !look().await?.has_ended() {
                self.runs.pause(POLL).await?;
            }
        }
    }

    /// What the newest run of such a request tells of itself: here, or in the store.
    async fn requested(&self, kind: events::Operation, keyed: &KeyedRequest) -> Result<Option<RunRecord>> {
        let (now, kind) = (self.ctx.clock.now(), kind.to_string());
        let since = now - REMEMBERED;
        let is_its = |record: &RunRecord| {
            let request = record.request.as_ref();
            request.is_some_and(|request| request.execution == keyed.execution)
                && record.id.operation() == kind
                && record.id.began() > since
        };
        let own = self.runs.every().into_iter().map(|own| own.record);
        if let Some(own) = own.filter(is_its).max_by(|a, b| a.id.cmp(&b.id)) {
            return Ok(Some(own));
        }
        let store = &*self.ctx.store;
        let told = runs::requested(store, &keyed.execution, &kind, (since, now));
        let told = self.ask_store("operations", told).await?;
        Ok(told.map(|told| told.record))
    }
}

/// Whether a run has ended and nothing came of it that a retry could be answered with.
fn has_no_result(record: &RunRecord) -> bool {
    match record.state {
        RunState::Running | RunState::Succeeded => false,
        RunState::Failed => record.totals.units == 0,
        // Its process was told to stop.
        RunState::Cancelled => !record.cancelled_on_request,
    }
}
