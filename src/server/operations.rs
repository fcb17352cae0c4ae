//! Operations as resources: those of this process from the registry, those of others from what they tell in the store.

use super::App;
use super::api::Operation;
use super::error::{HttpError, RequestCode};
use super::runs::OwnRun;
use crate::base::error::{Error, ErrorInfo};
use crate::ops::events;
use crate::ops::journal::{self, is_interrupted, silence};
use crate::repository::lease;
use crate::repository::names::RunId;
use crate::repository::runs::{self, ToldRun};
use std::time::Duration;
use time::OffsetDateTime;

/// How long a cancelled operation is waited for.
const STOPPING: Duration = Duration::from_secs(8);

impl App {
    /// The operation of that id.
    ///
    /// # Errors
    /// [`RequestCode::OperationNotFound`], and those of the store.
    pub(super) async fn operation(&self, id: &RunId) -> Result<Operation, HttpError> {
        let now = self.ctx.clock.now();
        if let Some(own) = self.runs.own(id) {
            return own_operation(own, now).ok_or_else(|| no_such_operation(&id.to_string()));
        }
        let kind = events::Operation::of(id).ok_or_else(|| no_such_operation(&id.to_string()))?;
        let look = journal::look(&*self.ctx.store, &self.ctx.clock, id, kind);
        let (told, why) = self
            .ask_store("an operation", look)
            .await?
            .ok_or_else(|| no_such_operation(&id.to_string()))?;
        Ok(others(told, kind, why, now))
    }

    /// The newest operations, newest first, without their units; and why those of others are not among them.
    pub(super) async fn operations(&self, most: usize) -> (Vec<Operation>, Option<Error>) {
        let now = self.ctx.clock.now();
        let own = self.runs.every().into_iter();
        let mut operations: Vec<_> = own.filter_map(|own| own_operation(own, now)).collect();
        let store = &*self.ctx.store;
        let looked = async {
            let lease = lease::holder(store, &self.ctx.clock).await?.map(|lease| lease.holder);
            Ok((runs::newest(store, most, now).await?, lease))
        };
        let error = match self.ask_store("operations", looked).await {
            Ok((told, lease)) => {
                let of_others = told.into_iter().filter(|told| self.runs.own(&told.record.id).is_none());
                let of_others = of_others.filter_map(|told| {
                    let (kind, silent) = (events::Operation::of(&told.record.id)?, silence(told.written_at, now));
                    let is_dead = is_interrupted(&told.record, silent, lease.as_deref());
                    let why = is_dead.then(|| journal::interrupted(kind, &told.record, None));
                    Some(others(told, kind, why, now))
                });
                operations.extend(of_others.collect::<Vec<_>>());
                None
            }
            Err(error) => Some(error),
        };
        operations.sort_by(|a, b| b.id().cmp(a.id()));
        operations.dedup_by(|a, b| a.id() == b.id());
        // One that runs is not cut off, however many have begun since.
        let (running, ended): (Vec<_>, Vec<_>) = operations.into_iter().partition(|operation| !operation.has_ended());
        let mut operations: Vec<_> = running.into_iter().chain(ended).take(most).collect();
        operations.sort_by(|a, b| b.id().cmp(a.id()));
        let operations = operations.into_iter().map(Operation::without_units).collect();
        (operations, error)
    }
}

impl App {
    /// Cancels one of this process, and waits for a while until it has ended. One that has ended is as it is.
    pub(super) async fn cancel(&self, id: &RunId) -> Result<Operation, HttpError> {
        let known = self.operation(id).await?;
        if let Some(run) = self.runs.running(known.id()) {
            run.stop(STOPPING).await;
        }
        let now = self.operation(id).await?;
        match now.has_ended() || self.runs.own(now.id()).is_some() {
            true => Ok(now),
            false => Err(HttpError::new(
                RequestCode::OperationElsewhere,
                format!("operation {id} is not run by this process, but by {}", now.who()),
                "stop it there: SIGTERM ends it cleanly",
            )),
        }
    }
}

/// The id of an operation, as it stands in a path.
pub(super) fn operation_id(text: &str) -> Result<RunId, HttpError> {
    text.parse().map_err(|_| no_such_operation(text))
}

fn no_such_operation(id: &str) -> HttpError {
    let shown: String = id.chars().take(80).collect();
    HttpError::new(
        RequestCode::OperationNotFound,
        format!("there is no operation {shown:?}"),
        "GET /v1/operations lists those that are known",
    )
}

fn own_operation(own: OwnRun, now: OffsetDateTime) -> Option<Operation> {
    let operation = events::Operation::of(&own.record.id)?;
    let shown = Operation::new(own.record, operation.into(), None);
    Some(shown.at_rate_of(now).with_report(own.report))
}

/// `why` it was interrupted, if it was.
fn others(told: ToldRun, kind: events::Operation, why: Option<ErrorInfo<String>>, now: OffsetDateTime) -> Operation {
    let ToldRun { record, written_at } = told;
    let silent = silence(written_at, now);
    let shown = Operation::new(record, kind.into(), Some(silent)).at_rate_of(written_at);
    match why {
        Some(why) => shown.interrupted(why),
        None => shown,
    }
}
