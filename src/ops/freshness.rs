//! Freshness: whether each collection that is to be backed up has a good backup that is young enough.
//!
//! Asked from outside, by a watch that also notices when nothing runs any more. So in doubt the answer is no: a backup that is
//! partial, damaged, not understood or that failed a drill does not count, and neither does one that is said to be of a time
//! that has not come yet.

use crate::base::error::Result;
use crate::repository::catalog::{self, Mark};
use crate::repository::manifest::{Manifest, Source};
use crate::repository::names::{BackupId, SKEW};
use crate::repository::selection::Filter;
use crate::repository::selection::Selection;
use crate::wire::store::Store;
use futures_util::TryStreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use time::OffsetDateTime;

/// Backups looked at that are older than wanted: they tell how old the last good one is.
const OLDER: usize = 10;

/// Backups read at once. Mostly the newest one is enough, but a new collection makes it read on.
const READ_AT_ONCE: usize = 4;

/// What is wanted of backups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How old the state of a collection may be that the last good backup has.
    pub max_age: Duration,
    /// Whether only those count that were read back and found intact, by `verify`.
    pub verified: bool,
}

impl Default for Wanted {
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
    /// Of when the state is in which it has each collection: its snapshot was asked for then.
    pub collections: BTreeMap<String, OffsetDateTime>,
}

/// How a collection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its last good backup is young enough.
    Fresh,
    /// It is too old.
    Stale,
    /// None was found.
    Missing,
}

/// How one collection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub name: String,
    /// How it stands.
    pub state: State,
    /// The last good backup that has it.
    pub backup: Option<BackupId>,
    /// Seconds since the state that is in it.
    pub age_seconds: Option<u64>,
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
pub fn standings(names: &[String], backups: &[Good], wanted: Wanted, now: OffsetDateTime) -> Vec<Standing> {
    let standing = |name: &String| {
        let taken = backups
            .iter()
            .filter(|b| b.verified || !wanted.verified)
            .filter_map(|b| Some((b.id, *b.collections.get(name)?)))
            .find(|(_, at)| *at <= now + SKEW);
        let age = taken.map(|(_, at)| Duration::try_from(now - at).unwrap_or_default());
        Standing {
            name: name.clone(),
            state: match age {
                Some(age) if age < wanted.max_age => State::Fresh,
                Some(_) => State::Stale,
                None => State::Missing,
            },
            backup: taken.map(|(id, _)| id),
            age_seconds: age.map(|age| age.as_secs()),
        }
    };
    names.iter().map(standing).collect()
}

/// The good backups that matter, newest first: all that began within the wanted age, and some before.
///
/// # Errors
/// Those of the store.
pub async fn good_backups(store: &dyn Store, wanted: Wanted, now: OffsetDateTime) -> Result<Vec<Good>> {
    let (mut good, mut older) = (Vec::new(), 0);
    let mut backups = std::pin::pin!(catalog::newest_first(store, READ_AT_ONCE, now).await?);
    while let Some(found) = backups.try_next().await? {
        let id = found.summary.id;
        let verified = found.summary.marks.contains(&Mark::Verified);
        let is_good = found.summary.is_good();
        good.extend(
            found
                .manifest
                .filter(|_| is_good)
                .map(|manifest| Good::new(manifest, verified)),
        );
        older += usize::from(now - id.time() >= wanted.max_age);
        if older > OLDER {
            break;
        }
    }
    Ok(good)
}

impl Good {
    fn new(manifest: Manifest, verified: bool) -> Self {
        let taken = |c: &crate::repository::manifest::Collection| c.artifacts.iter().map(|a| a.requested_at).min();
        Self {
            id: manifest.id,
            verified,
            collections: manifest
                .collections
                .iter()
                // What has no object is not saved.
                .filter_map(|c| Some((c.name.clone(), taken(c)?)))
                .collect(),
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
