//! Tells people and watches how runs end: a sink of [`super::events`].
//!
//! It never fails a run, and never slows one: all is sent when the work is done and the lease released, within a bound. What cannot be
//! sent is logged once.

mod payload;
mod receiver;

pub use crate::wire::notify::Patience;
pub(crate) use receiver::MOST;
pub use receiver::{Kind, Receiver};

use super::events::{Finished, Operation};
use super::progress::Progress;
use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::repository::notified::{self, FailedRuns};
use crate::wire::notify::{self, Post};
use crate::wire::store::Store;
use futures_util::future::join_all;
use payload::{Notice, Ping};
use reqwest::Client;
use secrecy::SecretString;
use std::sync::Arc;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;
use uuid::Uuid;

/// Who is told what.
#[derive(Clone, Debug, Default)]
pub struct NotifyConfig {
    pub receivers: Vec<Receiver>,
    /// Whether also a run is told that ended well, and was preceded by none that did not.
    pub always: bool,
    /// The key of the webhooks' signatures.
    pub secret: Option<SecretString>,
    /// Whose backups these are, for people.
    pub about: String,
}

/// Tells the receivers. Cheap to clone; without receivers it does nothing.
#[derive(Clone, Debug, Default)]
pub struct Notifier(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    config: NotifyConfig,
    patience: Patience,
    client: Client,
}

/// A run whose end is told.
pub(crate) struct Follow {
    pub(crate) operation: Operation,
    notifier: Notifier,
    store: Arc<dyn Store>,
    clock: Clock,
    /// Which start belongs to which end; processes that work together have none in common.
    run: Option<Uuid>,
    /// Dropped, it tells nothing any more.
    start: Option<AbortOnDropHandle<()>>,
}

impl Notifier {
    /// # Errors
    /// [`crate::base::error::Code::Internal`] without a client.
    pub fn new(config: NotifyConfig, patience: Patience) -> Result<Self> {
        if config.receivers.is_empty() {
            return Ok(Self(None));
        }
        let client = notify::client()?;
        Ok(Self(Some(Arc::new(Inner {
            config,
            patience,
            client,
        }))))
    }

    /// Sends a test message to each receiver: its name, and why it did not take it, if it did not.
    pub(crate) async fn test(&self, clock: &Clock) -> Vec<(String, std::result::Result<(), String>)> {
        let Some(inner) = &self.0 else { return Vec::new() };
        let deadline = Instant::now() + inner.patience.total;
        let sent = inner.config.receivers.iter().map(|receiver| async move {
            let post = payload::test(receiver, &inner.config, clock.now());
            (
                receiver.to_string(),
                inner.send(receiver, Ping::Log, None, &post, deadline).await,
            )
        });
        join_all(sent).await
    }

    /// The receivers by name.
    pub(crate) fn receivers(&self) -> Vec<String> {
        let receivers = self.0.iter().flat_map(|inner| &inner.config.receivers);
        receivers.map(ToString::to_string).collect()
    }
}

impl Inner {
    async fn send(
        &self,
        receiver: &Receiver,
        ping: Ping,
        run: Option<Uuid>,
        post: &Post,
        deadline: Instant,
    ) -> std::result::Result<(), String> {
        let url = receiver.url(ping, run).ok_or("its URL cannot be used")?;
        notify::send(&self.client, &url, post, &self.patience, deadline).await
    }

    /// Those that want to know of an operation.
    fn receivers(&self, operation: Operation) -> impl Iterator<Item = &Receiver> {
        self.config.receivers.iter().filter(move |r| r.wants(operation))
    }

    async fn start(&self, operation: Operation, run: Option<Uuid>, now: OffsetDateTime) {
        let deadline = Instant::now() + self.patience.total;
        let pings = self.receivers(operation).filter(|r| r.kind() == Kind::Healthchecks);
        let sent = pings.map(|receiver| async move {
            let post = payload::start(operation, &self.config, now);
            log(receiver, self.send(receiver, Ping::Start, run, &post, deadline).await);
        });
        join_all(sent).await;
    }

    async fn end(&self, follow: &Follow, finished: &Finished) {
        let begun = Instant::now();
        let deadline = begun + self.patience.total;
        let operation = finished.operation;
        let now = follow.clock.now();
        let has_people = self.receivers(operation).any(|r| r.kind() != Kind::Healthchecks);
        let before = async {
            match has_people {
                true => {
                    follow
                        .before(finished.error.is_some(), now, begun + self.patience.total / 2)
                        .await
                }
                false => None,
            }
        };
        // A failure is told without knowing of others before it; only a recovery has to know of them.
        let before = match finished.error.is_some() {
            true => {
                let notice = Notice::new(finished, None, &self.config, now);
                tokio::join!(self.tell(follow, &notice, deadline), before);
                return;
            }
            false => before.await,
        };
        let notice = Notice::new(finished, before, &self.config, now);
        self.tell(follow, &notice, deadline).await;
    }

    async fn tell(&self, follow: &Follow, notice: &Notice<'_>, deadline: Instant) {
        let wanted =
            |receiver: &&Receiver| receiver.kind() == Kind::Healthchecks || self.config.always || notice.is_news();
        let sent = self
            .receivers(follow.operation)
            .filter(wanted)
            .map(|receiver| async move {
                let post = notice.post(receiver);
                log(
                    receiver,
                    self.send(receiver, notice.ping(), follow.run, &post, deadline).await,
                );
            });
        join_all(sent).await;
    }
}

fn log(receiver: &Receiver, sent: std::result::Result<(), String>) {
    if let Err(reason) = sent {
        tracing::warn!(receiver = %receiver, error = reason.as_str(), "failed to notify {receiver}: {reason}");
    }
}

impl Follow {
    /// Follows a run, whose start is told once it works.
    pub(crate) fn run(
        notifier: &Notifier,
        store: &Arc<dyn Store>,
        clock: &Clock,
        operation: Operation,
        progress: &Progress,
    ) -> Self {
        let run = Some(Uuid::new_v4());
        Self {
            start: started(notifier, clock, operation, progress, run),
            run,
            ..Self::quietly(notifier, store, clock, operation)
        }
    }

    /// Follows one process of several that make one run; `progress` is that of the one that tells the start.
    pub(crate) fn task(
        notifier: &Notifier,
        store: &Arc<dyn Store>,
        clock: &Clock,
        operation: Operation,
        progress: Option<&Progress>,
    ) -> Self {
        Self {
            start: progress.and_then(|progress| started(notifier, clock, operation, progress, None)),
            ..Self::quietly(notifier, store, clock, operation)
        }
    }

    fn quietly(notifier: &Notifier, store: &Arc<dyn Store>, clock: &Clock, operation: Operation) -> Self {
        Self {
            operation,
            notifier: notifier.clone(),
            store: store.clone(),
            clock: clock.clone(),
            run: None,
            start: None,
        }
    }

    /// Tells the end, within a bound.
    pub(crate) async fn end(mut self, finished: &Finished) {
        // A start that was not told yet would come behind.
        self.start = None;
        let Some(inner) = &self.notifier.0 else { return };
        inner.end(&self, finished).await;
    }

    /// What is known of the runs before, and is so from now on: those that failed since the last one that ended well.
    async fn before(&self, has_failed: bool, now: OffsetDateTime, deadline: Instant) -> Option<FailedRuns> {
        let operation = self.operation.to_string();
        let noted = async {
            match has_failed {
                true => notified::failed(&*self.store, &operation, now).await.map(|()| None),
                false => notified::ended_well(&*self.store, &operation).await,
            }
        };
        let problem = match timeout_at(deadline, noted).await {
            Ok(Ok(before)) => return before,
            Ok(Err(error)) => error,
            Err(_) => Error::new(crate::base::error::Code::Stalled, "no answer of the store in time"),
        };
        tracing::info!(error = %problem, "failed to note how the {} ended; its recovery may not be told", self.operation.noun());
        None
    }
}

/// Tells the start of a run once it has begun, and has not been refused at once.
fn started(
    notifier: &Notifier,
    clock: &Clock,
    operation: Operation,
    progress: &Progress,
    run: Option<Uuid>,
) -> Option<AbortOnDropHandle<()>> {
    let inner = notifier.0.clone()?;
    let (begun, clock) = (progress.begun(), clock.clone());
    let work = async move {
        begun.cancelled().await;
        let at = clock.now();
        sleep(inner.patience.start).await;
        inner.start(operation, run, at).await;
    };
    Some(AbortOnDropHandle::new(tokio::spawn(work.in_current_span())))
}
