//! Recorded intents: what a run has open on Qdrant, written to the store before the snapshot is asked for.
//!
//! A client that goes away does not stop Qdrant from making a snapshot, so a run that was killed may leave one behind, even
//! long after it died. The next run finds the intent and removes that snapshot, and only that: it must not have existed
//! before, must carry the second of the request in its name, and must be the only one that does.

pub(crate) mod temporary;

use crate::base::error::{Code, Error, Result};
use crate::base::text::in_the_middle;
use crate::repository::manifest::LONGEST_NAME;
use crate::repository::names::{BackupId, DRILLS, INTENTS, Name};
use crate::repository::unit::Unit;
use crate::wire::qdrant::{Nodes, Qdrant, Snapshot, SnapshotName};
use crate::wire::store::record;
use crate::wire::store::{Condition, ObjectMeta, Store, Version};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use time::{Duration, OffsetDateTime};

/// How far the second in the snapshot's name may lie from the second of the intent: rounding, and the way to the node.
const EARLY: Duration = Duration::seconds(1);
/// The same for a snapshot that was asked for at the last moment: Qdrant's `Date` was seen to lag by 2 s on a busy machine.
const LATE: Duration = Duration::seconds(5);
/// Within this time after Qdrant's snapshots were listed the new one has to be asked for, if the store is not too slow for that.
pub(crate) const WITHIN: std::time::Duration = std::time::Duration::from_secs(5);
/// With a store that is too slow for that, the longest time that a run allows itself, and that an intent is believed.
pub(crate) const LONGEST_WITHIN: std::time::Duration = std::time::Duration::from_secs(600);
/// Longer than Qdrant takes for any snapshot; then the intent is given up.
const GIVEN_UP: Duration = Duration::hours(48);
/// Intents that one run looks at: many more than runs have open at once.
const LOOKED_AT: usize = 1000;
/// Warnings that are told in full.
const TOLD: usize = 10;
const READ_AT_ONCE: usize = 8;

/// What a run is about to do on Qdrant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Intent {
    pub run: BackupId,
    /// Of what a snapshot is about to be made.
    #[serde(flatten)]
    pub unit: Unit,
    /// Base URL of the Qdrant, so that another Qdrant is never touched.
    pub qdrant: String,
    /// Names of the snapshots that were there before, and so are somebody else's, as far as they could be taken for ours:
    /// Qdrant may have any number of others.
    pub existing: Vec<String>,
    /// From when on the snapshot was asked for, by Qdrant's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub requested_at: OffsetDateTime,
    /// How many seconds later the request was sent at the latest.
    #[serde(default = "within_seconds")]
    pub(crate) within_seconds: u64,
}

impl record::Record for Intent {
    const WHAT: &'static str = "an intent";
    const LARGEST: u64 = 16 << 20;
}

fn within_seconds() -> u64 {
    WITHIN.as_secs()
}

/// An intent that is in the store.
#[derive(Debug)]
pub struct Recorded {
    key: String,
    version: Version,
    intent: Intent,
}

/// Records an intent. Nothing may be asked of Qdrant before.
pub async fn record(store: &dyn Store, intent: Intent, attempt: u32) -> Result<Recorded> {
    let key = intent.run.intent(&intent.unit, attempt);
    match record::write::<Intent>(store, &key, &intent, Condition::Absent).await? {
        Some(version) => Ok(Recorded { key, version, intent }),
        None => Err(Error::new(
            Code::StoreConflict,
            format!("{}/{key} already exists", store.url()),
        )),
    }
}

/// Removes an intent that has nothing behind it any more. A failure costs the next run one look, so it is only logged.
pub async fn clear(store: &dyn Store, recorded: &Recorded) {
    if let Err(error) = store.delete(&recorded.key, &recorded.version).await {
        tracing::warn!(backup = %recorded.intent.run, error = %error, key = recorded.key, "failed to delete an intent; the next run tries again");
    }
}

/// Removes what crashed runs left on Qdrant: `run` alone, or any. Call it with the lease held, and for intents of which nobody is
/// at work any more: with a lease that is not shared that is each one in the store. Of any, the temporary collections of drills, too.
/// Returns what the operator should know; trouble with an orphan never stops a backup.
pub async fn recover(
    store: &dyn Store,
    qdrant: &Qdrant,
    now: OffsetDateTime,
    run: Option<BackupId>,
    is_dead: impl Fn(&Intent) -> bool,
) -> Result<Vec<String>> {
    let below = run.map_or_else(|| INTENTS.to_owned(), |run| run.intents());
    let (newest, older) = newest(store, &below).await?;
    let mut warnings = Warnings {
        more: older,
        ..Warnings::default()
    };
    // Attempts at a collection that follow each other in seconds may have made snapshots that could be either's. The last
    // one's can be told, since the others' were there or are too early; without it, so can theirs.
    let mut reads = stream::iter(newest.into_iter().rev())
        .map(|meta| async move {
            let read = read(store, &meta.key).await;
            (meta, read)
        })
        .buffered(READ_AT_ONCE);
    let mut nodes = None;
    while let Some((meta, read)) = reads.next().await {
        let intent = match read {
            Ok(Some(intent)) => intent,
            Ok(None) => continue,
            Err(e) => {
                warnings.push(e.to_string());
                continue;
            }
        };
        if !is_dead(&intent) {
            continue;
        }
        let recorded = Recorded {
            key: meta.key,
            version: meta.version,
            intent,
        };
        let settled = async {
            match node_of(&recorded.intent, qdrant, &mut nodes).await? {
                Some(node) => settle(store, &node, &recorded, now).await,
                // Another Qdrant's.
                None => Ok(None),
            }
        };
        match settled.await {
            Ok(warning) => warning.into_iter().for_each(|warning| warnings.push(warning)),
            Err(e) => warnings.push(format!(
                "failed to look for snapshots of collection {1} that run {0} left on Qdrant: {e}",
                recorded.intent.run,
                shown(&recorded.intent.unit.collection)
            )),
        }
    }
    let mut told = warnings.told(store, INTENTS);
    if run.is_none() {
        told.extend(temporary::recover(store, qdrant, now).await);
    }
    Ok(told)
}

/// The node on which the snapshot of an intent was to be made; `None`: it is of another Qdrant.
async fn node_of(intent: &Intent, qdrant: &Qdrant, nodes: &mut Option<Nodes>) -> Result<Option<Qdrant>> {
    let Some(peer) = intent.unit.node else {
        return Ok((intent.qdrant == qdrant.url()).then(|| qdrant.clone()));
    };
    let nodes = match nodes {
        Some(nodes) => nodes,
        None => nodes.insert(qdrant.nodes().await?),
    };
    Ok(nodes.by_peer().get(&peer).cloned())
}

/// The last so many intents below that prefix in the order of their names, and how many there are before them.
async fn newest(store: &dyn Store, below: &str) -> Result<(VecDeque<ObjectMeta>, usize)> {
    let mut objects = store.list(below).await?;
    let (mut newest, mut older) = (VecDeque::new(), 0);
    while let Some(object) = objects.try_next().await? {
        // Those of drills are looked at by themselves.
        if object.key.starts_with(DRILLS) && below != DRILLS {
            continue;
        }
        if newest.len() == LOOKED_AT {
            newest.pop_front();
            older += 1;
        }
        newest.push_back(object);
    }
    Ok((newest, older))
}

/// What is told of any number of intents.
#[derive(Default)]
struct Warnings {
    first: Vec<String>,
    more: usize,
}

impl Warnings {
    fn push(&mut self, warning: String) {
        match self.first.len() < TOLD {
            true => self.first.push(warning),
            false => self.more += 1,
        }
    }

    fn told(mut self, store: &dyn Store, below: &str) -> Vec<String> {
        if self.more > 0 {
            let text = "more intents need a look; delete those that no run has written";
            self.first
                .push(format!("{} {text}: {}/{below}", self.more, store.url()));
        }
        self.first
    }
}

/// A name from a record, which may be of any length.
fn shown(name: &str) -> String {
    format!("{:?}", in_the_middle(name, LONGEST_NAME))
}

/// The intent at `key`; `None` when it is gone. What is not named as an intent is none, whatever it says; and what says that it is
/// of another run, or of something else, than its name does is nobody's.
async fn read(store: &dyn Store, key: &str) -> Result<Option<Intent>> {
    let odd = |how: String| {
        Error::new(Code::BackupDamaged, format!("{}/{key} was ignored: {how}", store.url())).remedy(format!(
            "find out who wrote it; no run did, so delete {}/{key} if nobody needs it",
            store.url()
        ))
    };
    let Some(Name::Intent { attempt, .. }) = Name::parse(key) else {
        return Err(odd("its name is not that of an intent".to_owned()));
    };
    let unread = |cause: Error| {
        let remedy = match cause.is_permanent() {
            true => format!(
                "check whether Qdrant still has a snapshot of that run (GET /collections/NAME/snapshots), then delete \
                 {}/{key}",
                store.url()
            ),
            false => "check the store if this recurs; the next run tries again".to_owned(),
        };
        let text = format!(
            "{}/{key} is unreadable, so a snapshot that a run left on Qdrant cannot be found",
            store.url()
        );
        Error::new(cause.code(), text).because(cause).remedy(remedy)
    };
    match record::read(store, key).await {
        Err(e) => Err(unread(e)),
        Ok(Some(Intent { run, unit, .. })) if run.intent(&unit, attempt) != key => Err(odd(format!(
            "it says that it is of run {run} and collection {}, which its name does not",
            shown(&unit.collection)
        ))),
        read => read,
    }
}

/// Those that cannot be read, and what to do about each, as far as a run would look at them.
pub async fn unreadable(store: &dyn Store) -> Result<Vec<Error>> {
    let (newest, _) = newest(store, INTENTS).await?;
    let looks = stream::iter(newest).map(|meta| async move { read(store, &meta.key).await.err() });
    let mut unreadable: Vec<_> = looks
        .buffered(READ_AT_ONCE)
        .filter_map(async |error| error)
        .collect()
        .await;
    unreadable.extend(temporary::unreadable(store).await?);
    Ok(unreadable)
}

/// Removes the snapshot that this intent led to on the node `qdrant`, if it can be told; the intent stays as long as it may still appear.
pub(crate) async fn settle(
    store: &dyn Store,
    qdrant: &Qdrant,
    recorded: &Recorded,
    now: OffsetDateTime,
) -> Result<Option<String>> {
    let intent = &recorded.intent;
    let there = match qdrant.snapshots(intent.unit.snapshot()).await {
        Ok((there, _)) => there,
        // The collection is gone, and its snapshots can be reached only if there is one of that name again.
        Err(e) if e.code() == Code::CollectionNotFound => Vec::new(),
        Err(e) => return Err(e),
    };
    match intent.candidates(&there).as_slice() {
        [one] => {
            qdrant.delete_snapshot(intent.unit.snapshot(), &one.name).await?;
            tracing::info!(
                backup = %intent.run,
                collection = intent.unit.collection,
                snapshot = one.name,
                "deleted a snapshot that an earlier run left on Qdrant"
            );
            clear(store, recorded).await;
            Ok(None)
        }
        [] if now - intent.requested_at < GIVEN_UP => Ok(None),
        [] => {
            clear(store, recorded).await;
            Ok(None)
        }
        several => {
            let names: Vec<_> = several.iter().take(TOLD).map(|s| s.name.as_str()).collect();
            let more = if several.len() > TOLD { ", …" } else { "" };
            Ok(Some(format!(
                "run {} may have left one of these snapshots of collection {} on Qdrant, unknown which; delete it \
                 by hand: {}{more}",
                intent.run,
                shown(&intent.unit.collection),
                names.join(", ")
            )))
        }
    }
}

impl Intent {
    /// With those of `there` as [`Intent::existing`] that could be taken for ours.
    #[must_use]
    pub(crate) fn with_existing(mut self, there: &[String]) -> Self {
        self.existing = there.iter().filter(|name| self.may_be_ours(name)).cloned().collect();
        self
    }

    /// The snapshots that this intent may have led to.
    fn candidates<'a>(&self, there: &'a [Snapshot]) -> Vec<&'a Snapshot> {
        there
            .iter()
            .filter(|s| !self.existing.contains(&s.name) && self.may_be_ours(&s.name))
            .collect()
    }

    /// Whether it is of the collection, and of the seconds in which ours was asked for.
    fn may_be_ours(&self, snapshot: &str) -> bool {
        let within = std::time::Duration::from_secs(self.within_seconds).min(LONGEST_WITHIN);
        let latest = self
            .requested_at
            .checked_add(LATE)
            .and_then(|t| t.checked_add(within.try_into().ok()?));
        SnapshotName::parse(snapshot, self.unit.kind()).is_some_and(|name| {
            name.collection == self.unit.collection
                && name.requested_at >= self.requested_at - EARLY
                && latest.is_some_and(|latest| name.requested_at <= latest)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn candidates(names: &[&str]) -> usize {
        let at = datetime!(2026-11-22 12:00:00 UTC);
        let intent = Intent {
            run: BackupId::at(at),
            unit: Unit::whole("docs"),
            qdrant: "http://h:6333".into(),
            existing: Vec::new(),
            requested_at: at,
            within_seconds: 5,
        };
        let older = (0..1000).map(|i| format!("docs-7-2025-11-22-12-{:02}-{:02}.snapshot", i / 60, i % 60));
        let intent = intent.with_existing(
            &older
                .chain(["docs-7-2026-11-22-12-00-00.snapshot".into()])
                .collect::<Vec<_>>(),
        );
        assert_eq!(intent.existing.len(), 1, "the others cannot be taken for ours");
        let there: Vec<_> = names
            .iter()
            .map(|name| Snapshot {
                name: (*name).into(),
                size: 1,
                checksum: None,
            })
            .collect();
        intent.candidates(&there).len()
    }

    #[test]
    fn only_a_new_snapshot_of_the_same_second_can_be_ours() {
        assert_eq!(candidates(&["docs-7-2026-11-22-12-00-01.snapshot"]), 1);
        for other in [
            "docs-7-2026-11-22-12-00-00.snapshot", // was there before
            "docs-7-2026-11-22-12-00-19.snapshot", // later
            "docs-7-2026-11-22-11-59-50.snapshot", // earlier
            "docs2-7-2026-11-22-12-00-01.snapshot",
            "uploaded.snapshot",
        ] {
            assert_eq!(candidates(&[other]), 0, "{other}");
        }
    }

    #[test]
    fn an_intent_of_an_earlier_version_is_that_of_a_whole_collection() {
        let old = serde_json::json!({
            "run": "2026-11-22T12-00-00Z", "collection": "docs", "qdrant": "http://q:6333", "existing": [],
            "requested_at": "2026-11-22T12:00:00Z", "within_seconds": 5
        });
        let intent: Intent = serde_json::from_value(old.clone()).unwrap();
        assert_eq!(intent.unit, Unit::whole("docs"));
        assert_eq!(serde_json::to_value(&intent).unwrap(), old, "and it is written as ever");
    }
}
