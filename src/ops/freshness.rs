//! Freshness: whether each collection that is to be backed up has a good backup that is young enough.
//!
//! Asked from outside, by a watch that also notices when nothing runs any more. So in doubt the answer is no: a backup that is
//! partial, damaged, not understood or that failed a drill does not count, and neither does one that is said to be of a time
//! that has not come yet.
//!
//! A collection that cannot have a backup yet is **new** until it could have been promised one: from the newest good backup that
//! would have it and does not, it appeared later; where no backup was to have it, the first start of a service over the store without a
//! backup tells, until a backup is made that is not good. Neither is put off by anything but a good backup.

use crate::base::error::Result;
use crate::repository::catalog::{self, Found, Mark, Memory, Summary};
use crate::repository::manifest::{Collection, Outline, Relation, Source};
use crate::repository::names::{BackupId, has_come};
use crate::repository::selection::Filter;
use crate::repository::selection::Selection;
use crate::repository::since;
use crate::wire::store::Store;
use futures_util::{Stream, TryStreamExt};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// Backups looked at that are older than wanted: they tell how old the last good one is.
const OLDER: usize = 10;

/// Backups read at once. Mostly the newest one is enough, but a new collection makes it read on.
const READ_AT_ONCE: usize = 4;

/// What is wanted of backups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreshnessPolicy {
    /// How old the state of a collection may be that the last good backup has.
    pub max_age: Duration,
    /// Whether only those count that were read back and found intact, by `verify`.
    pub verified: bool,
}

impl Default for FreshnessPolicy {
    /// A day, and two hours for a run that takes its time.
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(26 * 3600),
            verified: false,
        }
    }
}

/// A good backup.
#[derive(Clone, Debug)]
pub struct Good {
    pub id: BackupId,
    /// What it was asked to save.
    pub selection: Selection,
    /// Of which Qdrant, as far as it tells.
    pub source: Option<Source>,
    /// Whether it was read back and found intact.
    pub verified: bool,
    /// Whether a drill restored it and found the result equal, or the engine opened it.
    pub opened: bool,
    /// Whether a drill restored it into a server.
    pub drilled: bool,
    /// From the start of its run to its manifest.
    pub took: time::Duration,
    /// Of when the state is in which it has each collection: its snapshot was asked for then.
    pub collections: Arc<BTreeMap<String, OffsetDateTime>>,
    /// Bytes that it has of each collection.
    pub bytes: Arc<BTreeMap<String, u64>>,
    /// Whether a collection that is not in it was not there: a key for certain collections does not see the others.
    pub tells_all: bool,
}

/// A backup that counts as none: partial, damaged, unproven, not understood, or failed by a drill.
#[derive(Clone, Debug)]
pub struct Rejected {
    pub id: BackupId,
    /// What it was asked to save, and of which Qdrant, as far as its manifest can be read.
    pub selection: Option<Selection>,
    pub source: Option<Source>,
}

/// What the store tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    /// The good backups that matter, newest first.
    pub(crate) backups: Vec<Good>,
    /// The others of the same time, newest first.
    pub(crate) rejected: Vec<Rejected>,
    /// The first start of a service over the store, while that had no backup.
    pub(crate) since: Option<OffsetDateTime>,
}

/// How a collection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its last good backup is young enough.
    Fresh,
    /// It has none, and appeared a shorter time ago than a backup may be old.
    New,
    /// It is too old.
    Stale,
    /// None was found.
    Missing,
}

/// How one collection stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CollectionState {
    pub name: String,
    /// How it stands.
    pub state: State,
    /// The last good backup that has it.
    pub backup: Option<BackupId>,
    /// Seconds since the state that is in it.
    pub age_seconds: Option<u64>,
    /// Of a new one: from when on it is missing, or stale.
    #[serde(with = "time::serde::rfc3339::option")]
    pub due_at: Option<OffsetDateTime>,
}

/// Which collections are expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Those that Qdrant has and the selection takes.
    Live(Vec<String>),
    /// Those that the last good backup of this selection has, since Qdrant could not be asked.
    LastBackup(Vec<String>),
    /// Qdrant could not be asked, and no good backup of this selection was found.
    Unknown,
}

/// What is asked about the backups.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FreshnessInput<'a> {
    /// Which collections are to be backed up.
    pub selection: &'a Selection,
    /// The collections of Qdrant; `None`: it could not be asked.
    pub live: Option<&'a [String]>,
    /// Of which Qdrant the backups are to be.
    pub source: &'a Source,
    /// What is wanted of them.
    pub wanted: FreshnessPolicy,
    /// The time of the question.
    pub now: OffsetDateTime,
}

/// How all collections stand.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Which are expected.
    pub expected: Expected,
    /// How each of those stands.
    pub collections: Vec<CollectionState>,
    /// The backups that count, newest first.
    pub backups: Vec<Good>,
    /// Those that do not, newest first.
    pub rejected: Vec<Rejected>,
}

impl Answer {
    /// Whether there is a collection to back up, and every one of them is fresh, or new. Nothing to back up is no good news: a
    /// Qdrant that lost its data has nothing, either.
    pub(crate) fn is_fresh(&self) -> bool {
        !self.collections.is_empty() && self.collections.iter().all(CollectionState::is_in_time)
    }
}

impl CollectionState {
    /// Whether it is fresh, or new.
    pub(crate) fn is_in_time(&self) -> bool {
        matches!(self.state, State::Fresh | State::New)
    }
}

/// How every expected collection stands by what is stored.
///
/// # Errors
/// [`crate::base::error::Code::BadRequest`] for a malformed pattern.
pub(crate) fn assess(question: &FreshnessInput<'_>, stored: Stored) -> Result<Answer> {
    let Stored {
        mut backups,
        mut rejected,
        since,
    } = stored;
    // Those of another Qdrant in the same store say nothing of this one.
    let is_own = |source: &Option<Source>| question.source.relation_to(source.as_ref()) != Relation::Different;
    backups.retain(|backup| is_own(&backup.source));
    rejected.retain(|backup| is_own(&backup.source));
    let expected = expected(question.selection, question.live, &backups)?;
    let names = match &expected {
        Expected::Live(names) | Expected::LastBackup(names) => names.as_slice(),
        Expected::Unknown => &[],
    };
    let mut collections = collection_states(names, &backups, question.wanted, question.now);
    for collection in collections.iter_mut().filter(|c| c.state != State::Fresh) {
        // The start tells nothing of what had a backup.
        let since = since.filter(|_| collection.state == State::Missing);
        let at = absent_at(&collection.name, &backups, question.source).or(since);
        let due = at.and_then(|at| at.checked_add(question.wanted.max_age.try_into().ok()?));
        if let Some(due) = due.filter(|due| question.now < *due) {
            (collection.state, collection.due_at) = (State::New, Some(due));
        }
    }
    Ok(Answer {
        collections,
        expected,
        backups,
        rejected,
    })
}

/// What is expected of the backups: the collections of `live` (`None`: Qdrant could not be asked) that `selection` takes.
///
/// # Errors
/// [`crate::base::error::Code::BadRequest`] for a malformed pattern.
pub fn expected(selection: &Selection, live: Option<&[String]>, backups: &[Good]) -> Result<Expected> {
    let filter = Filter::new(selection)?;
    match live {
        Some(live) => {
            // A name that is asked for and not there is expected all the same.
            let named: BTreeSet<_> = live.iter().chain(&selection.collections).cloned().collect();
            let named: Vec<_> = named.into_iter().collect();
            Ok(Expected::Live(filter.pick(selection, &named).unwrap_or_default()))
        }
        // A backup of something else, however young, tells nothing of what there should be.
        None => Ok(match backups.iter().find(|b| is_same(&b.selection, selection)) {
            Some(last) => Expected::LastBackup(last.collections.keys().cloned().collect()),
            None => Expected::Unknown,
        }),
    }
}

/// How each of these collections stands. `backups`: newest first.
pub fn collection_states(
    names: &[String],
    backups: &[Good],
    wanted: FreshnessPolicy,
    now: OffsetDateTime,
) -> Vec<CollectionState> {
    let standing = |name: &String| {
        let taken = newest(name, backups.iter().filter(|b| b.verified || !wanted.verified), now);
        let age = taken.map(|(_, age)| age);
        CollectionState {
            name: name.clone(),
            state: match age {
                Some(age) if age < wanted.max_age => State::Fresh,
                Some(_) => State::Stale,
                None => State::Missing,
            },
            backup: taken.map(|(id, _)| id),
            age_seconds: age.map(|age| age.as_secs()),
            due_at: None,
        }
    };
    names.iter().map(standing).collect()
}

/// When the collection was not there, as far as the newest of these backups tells that would have it.
fn absent_at(collection: &str, backups: &[Good], source: &Source) -> Option<OffsetDateTime> {
    let names = [collection.to_owned()];
    let takes = |selection: &Selection| {
        // Who asks for names has not asked for others, and is refused where one is not there.
        let filter = Filter::new(selection).ok().filter(|_| selection.collections.is_empty());
        filter.is_some_and(|filter| filter.pick(selection, &names).is_ok_and(|picked| !picked.is_empty()))
    };
    // One that does not tell its Qdrant may be another's, which never had the collection.
    let own = |backup: &&Good| {
        backup.tells_all && source.relation_to(backup.source.as_ref()) == Relation::Same && takes(&backup.selection)
    };
    let without = backups
        .iter()
        .filter(own)
        .find(|b| !b.collections.contains_key(collection))?;
    Some(without.id.time())
}

impl Answer {
    /// How many of the backups that count as none are newer than the newest good one of each of these collections, and were to
    /// have it.
    pub(crate) fn rejected_since_success<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
        now: OffsetDateTime,
    ) -> Vec<usize> {
        let filter = |selection: &Selection| Filter::new(selection).ok();
        let rejected: Vec<_> = self
            .rejected
            .iter()
            .filter(|backup| backup.id.has_come(now))
            .map(|backup| (backup, backup.selection.as_ref().and_then(filter)))
            .collect();
        let since = |name: &str| {
            let newest = newest_good(name, &self.backups, now).map(|(good, _)| good.id);
            // What cannot be read may have been to have any.
            let takes = |(backup, filter): &(&Rejected, Option<Filter>)| match (&backup.selection, filter) {
                (Some(selection), Some(filter)) => filter.takes(selection, name),
                _ => true,
            };
            let newer = rejected
                .iter()
                .filter(|(backup, _)| newest.is_none_or(|id| backup.id > id));
            newer.filter(|backup| takes(backup)).count()
        };
        names.into_iter().map(since).collect()
    }
}

/// The newest of these backups, newest first, that has the collection, and the age of the state in it.
pub fn newest<'a>(
    collection: &str,
    backups: impl IntoIterator<Item = &'a Good>,
    now: OffsetDateTime,
) -> Option<(BackupId, Duration)> {
    let (backup, at) = newest_good(collection, backups, now)?;
    Some((backup.id, Duration::try_from(now - at).unwrap_or_default()))
}

/// The newest of these backups, newest first, that has the collection, and of when the state in it is.
pub(crate) fn newest_good<'a>(
    collection: &str,
    backups: impl IntoIterator<Item = &'a Good>,
    now: OffsetDateTime,
) -> Option<(&'a Good, OffsetDateTime)> {
    let mut taken = backups
        .into_iter()
        .filter_map(|backup| Some((backup, *backup.collections.get(collection)?)));
    taken.find(|(_, at)| has_come(*at, now))
}

/// What the store tells of how old backups are.
///
/// # Errors
/// Those of the store.
pub(crate) async fn stored(store: &dyn Store, wanted: FreshnessPolicy, now: OffsetDateTime) -> Result<Stored> {
    let look = |found| (Good::of(found), ());
    let backups = catalog::newest_first(store, READ_AT_ONCE, now, look).await?;
    let (stored, _) = newest_backups(backups, wanted, now, 0).await?;
    since_where_none_is_rejected(store, stored, now).await
}

/// What is kept of a backup beside what it is good for.
pub(crate) type Looked<T> = (std::result::Result<Good, Box<Rejected>>, T);

/// The same, and what `keep` keeps of each backup that was looked at, newest first: of `at_least` so many, where there are. What is
/// remembered is not read again.
///
/// # Errors
/// Those of the store.
pub(crate) async fn stored_with<T: Clone + Send + 'static>(
    store: &dyn Store,
    (wanted, at_least): (FreshnessPolicy, usize),
    now: OffsetDateTime,
    keep: impl Fn(&Found) -> T + Copy + Send + 'static,
    memory: &Memory<Looked<T>>,
) -> Result<(Stored, Vec<T>)> {
    let look = move |found: Found| {
        let kept = keep(&found);
        (Good::of(found), kept)
    };
    let backups = catalog::newest_known(store, now, look, memory).await?;
    let (stored, kept) = newest_backups(backups, wanted, now, at_least).await?;
    Ok((since_where_none_is_rejected(store, stored, now).await?, kept))
}

/// A first backup that is not good has shown that there is none in time.
async fn since_where_none_is_rejected(store: &dyn Store, mut stored: Stored, now: OffsetDateTime) -> Result<Stored> {
    if stored.rejected.is_empty() {
        stored.since = since::read(store, now).await?;
    }
    Ok(stored)
}

/// The backups that matter, newest first: all that began within the wanted age, and some before. And what is kept of each, of more
/// where more are wanted.
async fn newest_backups<T>(
    backups: impl Stream<Item = Result<Looked<T>>>,
    wanted: FreshnessPolicy,
    now: OffsetDateTime,
    at_least: usize,
) -> Result<(Stored, Vec<T>)> {
    let (mut stored, mut older, mut kept) = (Stored::default(), 0, Vec::new());
    let mut backups = std::pin::pin!(backups);
    while let Some((read, seen)) = backups.try_next().await? {
        kept.push(seen);
        if older <= OLDER {
            let id = match &read {
                Ok(good) => good.id,
                Err(rejected) => rejected.id,
            };
            match read {
                Ok(good) => stored.backups.push(good),
                Err(rejected) => stored.rejected.push(*rejected),
            }
            older += usize::from(now - id.time() >= wanted.max_age);
        }
        if older > OLDER && kept.len() >= at_least {
            break;
        }
    }
    Ok((stored, kept))
}

impl Good {
    /// Whether its bytes were read back and right: a drill does that, too.
    pub(crate) fn was_read_back(&self) -> bool {
        self.verified || self.opened
    }

    /// A backup, if it is a good one.
    fn of(found: Found) -> std::result::Result<Self, Box<Rejected>> {
        let Found { summary, manifest } = found;
        match manifest {
            Some(manifest) if summary.is_good() => Ok(Self::new(manifest, &summary)),
            manifest => Err(Box::new(Rejected {
                id: summary.id,
                selection: summary.selection,
                source: manifest.and_then(|manifest| manifest.qdrant.source),
            })),
        }
    }

    fn new(manifest: Outline, summary: &Summary) -> Self {
        let taken = |c: &Collection<_>| c.artifacts.iter().map(|a| a.requested_at).min();
        let opened = summary.marks.contains(&Mark::Drilled);
        Self {
            id: manifest.id,
            verified: summary.marks.contains(&Mark::Verified),
            opened,
            drilled: opened && summary.drilled.as_ref().is_some_and(|proof| !proof.by_engine),
            took: manifest.finished_at - manifest.started_at,
            bytes: Arc::new(
                manifest
                    .collections
                    .iter()
                    .map(|c| (c.name.clone(), c.bytes()))
                    .collect(),
            ),
            collections: Arc::new(
                manifest
                    .collections
                    .iter()
                    // What has no object is not saved.
                    .filter_map(|c| Some((c.name.clone(), taken(c)?)))
                    .collect(),
            ),
            tells_all: !manifest.qdrant.scoped_key && manifest.collections.iter().all(|c| !c.artifacts.is_empty()),
            selection: manifest.selection,
            source: manifest.qdrant.source,
        }
    }
}

/// Whether both take the same collections, in whatever order they name them.
fn is_same(a: &Selection, b: &Selection) -> bool {
    let lists = |s: &Selection| {
        [&s.collections, &s.include, &s.exclude].map(|list| list.iter().cloned().collect::<BTreeSet<_>>())
    };
    lists(a) == lists(b)
}
