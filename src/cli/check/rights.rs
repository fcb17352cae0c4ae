//! Whether the key may do what a run does, and whether what stands between lets it pass: each kind of request is tried in a form that
//! changes nothing.

use super::{CheckTarget, Checks, State, ask_qdrant};
use crate::base::error::{Code, Error, Result};
use crate::cli::causes::{by_cause, listed};
use crate::ops::backup::BackupPlan;
use crate::wire::qdrant::Qdrant;
use futures_util::{StreamExt, stream};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Collections tried together.
const AT_ONCE: usize = 8;
/// So much of the patience is for all collections together.
const SHARE: u32 = 2;

/// Of nothing: a name that no snapshot and no collection has.
fn absent() -> String {
    format!("qdrant-backup-check-{}.snapshot", uuid::Uuid::new_v4())
}

/// A collection, and the node that a part of it is saved from.
pub(super) type Place = (String, Qdrant);

/// Those of a plan; the first part of each collection stands for it.
pub(super) fn places(plan: &BackupPlan) -> Vec<Place> {
    let units = plan.units.iter();
    let mut places: Vec<_> = units
        .map(|unit| (unit.collection.clone(), plan.nodes.of(unit.node).clone()))
        .collect();
    places.dedup_by(|(a, _), (b, _)| a == b);
    places
}

/// `places`: of the collections that a backup is to save.
pub(super) async fn check(checks: &mut Checks, qdrant: &Qdrant, places: &[Place], subject: &CheckTarget<'_>) {
    let absent = absent();
    let counted = ask_qdrant(qdrant, subject.patience, countable(places)).await;
    let counted = match counted {
        Ok(Some(counted)) => counted,
        Ok(None) => return checks.skip(&["rights", "restore"], "a collection to test with"),
        Err(error) => {
            checks.fail("rights", &error);
            return checks.skip(&["restore"], "rights");
        }
    };
    let tried = try_each(places, &absent, subject.patience / SHARE).await;
    tried.tell(checks, places.len(), counted, subject.deep.is_some());
    restore(checks, qdrant, &absent, subject.patience).await;
}

/// The first collection that can be counted: one may be broken. When none can, the error is that of the first one.
async fn countable(places: &[Place]) -> Result<Option<&str>> {
    let mut first = Ok(None);
    for (name, node) in places {
        match node.count(name).await {
            Ok(_) => return Ok(Some(name)),
            // This one alone is broken, or gone.
            Err(e) if matches!(e.code(), Code::QdrantFailed | Code::CollectionNotFound) => first = first.and(Err(e)),
            Err(e) => return Err(e),
        }
    }
    first
}

/// What the collections came to that there was time for.
#[derive(Default)]
struct Tried {
    allowed: usize,
    refused: Vec<(String, Error)>,
}

async fn try_each(places: &[Place], absent: &str, limit: Duration) -> Tried {
    let until = Instant::now() + limit;
    let mut looks = stream::iter(places)
        .map(|(name, node)| async move { (name, try_one(node, name, absent).await) })
        .buffered(AT_ONCE);
    let mut tried = Tried::default();
    while let Ok(Some((name, result))) = timeout_at(until, looks.next()).await {
        match result {
            Ok(()) => tried.allowed += 1,
            Err(error) => tried.refused.push((name.clone(), error)),
        }
    }
    tried
}

/// All that a backup does with the snapshots of one collection.
async fn try_one(qdrant: &Qdrant, name: &str, absent: &str) -> Result<()> {
    match qdrant.snapshots(name).await {
        // Deleted since it was listed.
        Err(e) if e.code() == Code::CollectionNotFound => return Ok(()),
        listed => listed.map(drop)?,
    }
    qdrant.may_create_snapshots(name).await?;
    qdrant.may_delete_snapshots(name, absent).await?;
    qdrant.may_download_snapshots(name, absent).await
}

impl Tried {
    fn tell(&self, checks: &mut Checks, of: usize, counted: &str, is_deep: bool) {
        let count = self.allowed + self.refused.len();
        if self.allowed > 0 {
            let which = match (self.allowed, of) {
                (1, 1) => format!("collection {counted:?}"),
                (allowed, of) if allowed == of => format!("each of the {of} collections"),
                (allowed, of) => format!("{allowed} of the {of} collections"),
            };
            let deep = match is_deep {
                true => "",
                false => ". Run `qdrant-backup check --deep` to create one",
            };
            checks.ok(
                "rights",
                format!(
                    "points of {counted:?} can be counted; snapshots of {which} can be listed, created, downloaded and deleted, \
                     according to requests that change nothing{deep}"
                ),
            );
        }
        let cause = |(_, error): &(String, Error)| (error.code(), error.remedy_text().map(str::to_owned));
        for same in by_cause(&self.refused, cause) {
            let Some(((_, first), others)) = same.split_first() else {
                continue;
            };
            let mut text = first.chain();
            if !others.is_empty() {
                let names = listed(others.iter().map(|(name, _)| format!("{name:?}")));
                text += &format!("; and {} more: {names}", others.len());
            }
            let error = Error::new(first.code(), text);
            checks.fail(
                "rights",
                &match first.remedy_text() {
                    Some(remedy) => error.remedy(remedy),
                    None => error,
                },
            );
        }
        if count < of {
            checks.add(
                "rights",
                State::Warn,
                format!(
                    "{} of the {of} collections were not tried, for lack of time",
                    of - count
                ),
                None,
            );
        }
    }
}

/// No backup depends on it, so nothing of it is a failure.
async fn restore(checks: &mut Checks, qdrant: &Qdrant, absent: &str, patience: Duration) {
    match ask_qdrant(qdrant, patience, qdrant.may_restore(absent)).await {
        Ok(()) => checks.ok(
            "restore",
            "the key may restore snapshots, according to a request that changes nothing. Not tried: whether a proxy limits the size of an upload",
        ),
        Err(error) => checks.add(
            "restore",
            State::Warn,
            format!("no restore is possible, which backups do not need: {}", error.chain()),
            error.remedy_text().map(str::to_owned),
        ),
    }
}
