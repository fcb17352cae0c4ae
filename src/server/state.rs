//! What the handlers work with.

use super::auth::Auth;
use super::page::Seen;
use super::runs::Runs;
use super::watch::Watch;
use crate::ops::context::Context;
use crate::ops::freshness::FreshnessPolicy;
use crate::ops::retention::Policy;
use crate::ops::verify::Verifier;
use crate::repository::selection::Selection;
use crate::wire::qdrant::Qdrant;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Longest time for an answer of Qdrant or the store when one only looks.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the handlers work with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    pub(super) ctx: Context,
    /// Gives Qdrant up soon, for those who only look.
    pub(super) probe: Qdrant,
    /// That of a request which names none.
    pub(super) selection: Selection,
    pub(super) retention: Policy,
    pub(super) prunes_after_backup: bool,
    pub(super) drills_on: Option<Qdrant>,
    pub(super) runs: Runs,
    pub(super) verifier: Verifier,
    pub(super) auth: Auth,
    pub(super) wanted: FreshnessPolicy,
    pub(super) patience: Duration,
    /// What the overview has read before.
    pub(super) seen: Seen,
    /// For `GET /metrics`.
    pub(super) watch: Watch,
}

impl App {
    /// A service that makes backups with `ctx` and looks at Qdrant through `probe`. `selection` is that of a request which
    /// names none. When `stop` is cancelled, what runs is stopped cleanly and nothing new begins.
    pub fn new(ctx: Context, probe: Qdrant, selection: Selection, stop: CancellationToken) -> Self {
        Self {
            verifier: Verifier {
                store: ctx.store.clone(),
                clock: ctx.clock.clone(),
                who: ctx.who.clone(),
                concurrency: ctx.settings.concurrency,
                attempts: ctx.settings.attempts,
                backoff: ctx.settings.backoff,
                notify: ctx.notify.clone(),
            },
            runs: Runs::new(ctx.who.clone(), ctx.clock.clone(), stop),
            ctx,
            probe,
            selection,
            retention: Policy::default(),
            prunes_after_backup: false,
            auth: Auth::none(),
            wanted: FreshnessPolicy::default(),
            patience: PATIENCE,
            seen: Seen::default(),
            watch: Watch::default(),
            drills_on: None,
        }
    }

    /// Names the Qdrant for drills. Without one they need a request that allows the Qdrant that is backed up.
    #[must_use]
    pub(crate) fn with_drills_on(mut self, qdrant: Option<Qdrant>) -> Self {
        self.drills_on = qdrant;
        self
    }

    /// Sets who may call; without it everybody may, and [`super::serve`] refuses any address but loopback.
    #[must_use]
    pub(crate) fn with_auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }

    /// Sets how long a request that only looks waits for Qdrant or the store.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets how old the last good backup of a collection may be for `GET /health/freshness`.
    #[must_use]
    pub(crate) fn with_max_age(mut self, max_age: Duration) -> Self {
        self.wanted.max_age = max_age;
        self
    }

    /// Sets which backups are kept by `POST /prune` and, if `after_backup`, after each backup that saved something.
    #[must_use]
    pub(crate) fn with_retention(mut self, policy: Policy, after_backup: bool) -> Self {
        self.retention = policy;
        self.prunes_after_backup = after_backup;
        self
    }
}
