//! What the overview looks at: Qdrant, the newest backups, what runs and what ran. Nobody waits for it too long, and what does not
//! answer is told beside what does.

use crate::base::error::ErrorInfo;
use crate::ops::freshness::{self, Answer, FreshnessInput, FreshnessPolicy, Stored};
use crate::repository::catalog::{Found, Mark, Memory, Summary};
use crate::repository::manifest::{Relation, Source};
use crate::server::App;
use crate::server::api::Operation;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// Backups that the strips and the chart show.
pub(super) const RUNS: usize = 48;

/// Operations that are looked at: one that runs long is among them, however many have ended since.
const OPERATIONS: usize = 24;

/// What was seen.
pub(super) struct Look {
    pub(super) now: OffsetDateTime,
    pub(super) wanted: FreshnessPolicy,
    /// URL of the Qdrant that is backed up, and of the store.
    pub(super) qdrant: String,
    pub(super) store: String,
    /// The name of that Qdrant.
    pub(super) source: Option<String>,
    pub(super) qdrant_error: Option<ErrorInfo<String>>,
    pub(super) store_error: Option<ErrorInfo<String>>,
    /// `None`: the store could not be read.
    pub(super) answer: Option<Answer>,
    /// The backups of this Qdrant, newest first.
    pub(super) backups: Vec<Arc<SeenBackup>>,
    /// How many of the newest are of another Qdrant.
    pub(super) of_others: usize,
    /// How many of its own are of the future.
    pub(super) future: usize,
    pub(super) operations: Vec<Operation>,
    pub(super) operations_error: Option<ErrorInfo<String>>,
}

/// What was seen before.
pub(in crate::server) type Seen = Memory<freshness::Looked<Arc<SeenBackup>>>;

/// What is kept of a backup.
pub(in crate::server) struct SeenBackup {
    pub(super) summary: Summary,
    /// Bytes of each collection.
    pub(super) bytes: BTreeMap<String, u64>,
    /// What is missing and why, the first of each.
    pub(super) failed: Vec<(String, ErrorInfo<String>)>,
    /// Whether nothing of its manifest is known.
    pub(super) is_unreadable: bool,
    source: Option<Source>,
}

impl SeenBackup {
    fn of(found: &Found) -> Self {
        let manifest = found.manifest.as_ref();
        Self {
            bytes: manifest
                .iter()
                .flat_map(|manifest| &manifest.collections)
                .map(|collection| (collection.name.clone(), collection.bytes()))
                .collect(),
            failed: manifest
                .iter()
                .flat_map(|manifest| &manifest.failed)
                .map(|failure| (failure.collection.clone(), failure.error.clone()))
                .collect(),
            is_unreadable: manifest.is_none(),
            source: manifest.and_then(|manifest| manifest.qdrant.source.clone()),
            summary: found.summary.clone(),
        }
    }
}

impl Look {
    /// Age of the newest good backup.
    pub(super) fn newest_good(&self) -> Option<Duration> {
        let good = self.backups.iter().find(|backup| backup.summary.is_good());
        good.and_then(|backup| backup.summary.age(self.now))
    }

    /// Whether a run that is shown tells what went wrong.
    pub(super) fn has_failed(&self) -> bool {
        self.operations.iter().any(|operation| operation.error().is_some())
    }
}

pub(super) async fn take(app: &App) -> Look {
    let (now, wanted) = (app.ctx.clock.now(), app.wanted);
    let keep = |found: &Found| Arc::new(SeenBackup::of(found));
    let stored = freshness::stored_with(&*app.ctx.store, (wanted, RUNS), now, keep, &app.seen);
    let (live, stored, (operations, operations_error)) = tokio::join!(
        app.live(),
        app.ask_store("the last backups", stored),
        app.operations(OPERATIONS)
    );
    let source = live
        .as_ref()
        .map_or_else(|_| app.source(), |(_, source)| source.clone());
    let qdrant_error = live.as_ref().err().map(Into::into);
    let store_error: Option<ErrorInfo<String>> = stored.as_ref().err().map(Into::into);
    let (stored, mut backups) = stored.unwrap_or_default();
    let all = backups.len();
    backups.retain(|seen| source.relation_to(seen.source.as_ref()) != Relation::Different);
    let answer = match &store_error {
        None => assess(app, live.ok().map(|(names, _)| names), &source, stored, now),
        Some(_) => None,
    };
    let is_future = |seen: &&Arc<SeenBackup>| seen.summary.marks.first() == Some(&Mark::Future);
    let future = backups.iter().filter(is_future).count();
    let of_others = all - backups.len();
    backups.truncate(RUNS);
    Look {
        now,
        wanted,
        qdrant: app.probe.url(),
        store: app.ctx.store.url(),
        source: source.name,
        qdrant_error,
        answer,
        of_others,
        future,
        backups,
        operations,
        // What keeps backups from being read keeps runs from it, too.
        operations_error: operations_error
            .filter(|_| store_error.is_none())
            .as_ref()
            .map(Into::into),
        store_error,
    }
}

/// `None`: the patterns of the configuration are malformed, which the start of the service refuses.
fn assess(
    app: &App,
    live: Option<Vec<String>>,
    source: &Source,
    stored: Stored,
    now: OffsetDateTime,
) -> Option<Answer> {
    let question = FreshnessInput {
        selection: &app.selection,
        live: live.as_deref(),
        source,
        wanted: app.wanted,
        now,
    };
    freshness::assess(&question, stored).ok()
}
