//! `latest`: the one rule that says which backup that is.
//!
//! It is the newest good backup that has what is asked for. *Good*: complete and restorable in full, neither found damaged nor failed by a
//! drill, and its time has come. *What is asked for*: the collections that are named; where none is, a backup whose selection names no
//! single collections, and any good one only where there is none of those.

use super::{FUTURE, Found, Mark, newest_first, no_backup};
use crate::base::clock::stamp;
use crate::base::error::{Code, Error, Result};
use crate::repository::manifest::{self, Outline, Relation, Source};
use crate::repository::names::BackupId;
use crate::repository::selection::Filter;
use crate::repository::selection::Selection;
use crate::wire::store::Store;
use futures_util::TryStreamExt;
use time::OffsetDateTime;

/// Backups looked at before it is believed that a store has those of one Qdrant alone, where it is not known whose are meant.
const LOOKED_AT: usize = 100;
/// Mostly the first one is it.
const AT_ONCE: usize = 4;

/// A backup that was named by its id or as `latest`.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub id: BackupId,
    /// What the reader should know of newer ones that `latest` is not.
    pub warnings: Vec<String>,
}

/// What `latest` is asked for.
#[derive(Clone, Copy, Debug)]
pub struct LatestQuery<'a> {
    /// The collections.
    pub selection: &'a Selection,
    /// Of which Qdrant, as far as it is known. Backups that do not tell are taken for its; those of another one only where the
    /// store has backups of that one alone.
    pub source: Option<&'a Source>,
    /// Those that were finished later are passed over.
    pub not_after: Option<OffsetDateTime>,
}

/// The backup that `id` names: itself, or for `latest` the newest good one that has what is asked for.
///
/// # Errors
/// [`Code::BackupNotFound`] when no backup is the latest, saying why the newest is not and which one has what is asked for;
/// [`Code::CollectionNotFound`] when a collection is in no backup; [`Code::SourceMismatch`] when the store has backups of several
/// Qdrants and it is not known which is meant; [`Code::BadRequest`] for what is no id.
pub(crate) async fn resolve(
    store: &dyn Store,
    id: &str,
    asked: LatestQuery<'_>,
    now: OffsetDateTime,
) -> Result<Resolved> {
    if id != "latest" {
        let (id, warnings) = (id.parse()?, Vec::new());
        return Ok(Resolved { id, warnings });
    }
    let (latest, warnings) = find(store, asked, now).await?;
    Ok(Resolved {
        id: latest.id,
        warnings,
    })
}

/// The same where no collections are asked for; what the reader should know of newer ones goes to the log.
///
/// # Errors
/// [`Code::BackupNotFound`] when there is none, else those of the store.
pub async fn named(store: &dyn Store, id: &str, source: Option<&Source>, now: OffsetDateTime) -> Result<BackupId> {
    named_at(store, id, None, source, now).await
}

/// The same as it was at a time.
pub(crate) async fn named_at(
    store: &dyn Store,
    id: &str,
    not_after: Option<OffsetDateTime>,
    source: Option<&Source>,
    now: OffsetDateTime,
) -> Result<BackupId> {
    let asked = LatestQuery {
        selection: &Selection::default(),
        source,
        not_after,
    };
    let resolved = resolve(store, id, asked, now).await?;
    for warning in &resolved.warnings {
        tracing::warn!(backup = %resolved.id, "latest is backup {}: {warning}", resolved.id);
    }
    Ok(resolved.id)
}

/// The manifest of the latest backup.
///
/// # Errors
/// [`Code::BackupNotFound`] when there is none, else those of the store.
pub async fn latest(store: &dyn Store, asked: LatestQuery<'_>, now: OffsetDateTime) -> Result<Outline> {
    find(store, asked, now).await.map(|(latest, _)| latest)
}

/// The latest backup, and what the reader should know of newer ones.
async fn find(store: &dyn Store, asked: LatestQuery<'_>, now: OffsetDateTime) -> Result<(Outline, Vec<String>)> {
    let filter = Filter::new(asked.selection)?;
    let is_known = asked.source.is_some_and(Source::is_known);
    // Among those of the Qdrant that is asked for, and among all.
    let (mut ours, mut all) = (Search::default(), Search::default());
    let mut others: Vec<(Source, BackupId)> = Vec::new();
    let (mut seen, mut seen_same) = (0, false);
    let mut later = None;
    let mut backups = std::pin::pin!(newest_first(store, AT_ONCE, now, |found| found).await?);
    while let Some(found) = backups.try_next().await? {
        // One of which no end is known began at its id's time at the earliest.
        let end = found.summary.finished_at.unwrap_or(found.summary.id.time());
        if asked.not_after.is_some_and(|latest| end > latest) {
            later = Some(found.summary.id);
            continue;
        }
        seen += 1;
        let has = has(&found, &filter, asked.selection);
        all.consider(&found, has, asked.selection);
        match found
            .manifest
            .as_ref()
            .and_then(|manifest| manifest.qdrant.source.as_ref())
        {
            Some(theirs) if asked.source.is_none_or(|ours| ours.relation(theirs) != Relation::Same) => {
                ours.consider_foreign(&found, has, theirs);
                if !others.iter().any(|(other, _)| other.is_same_series(theirs)) {
                    others.push((theirs.clone(), found.summary.id));
                }
            }
            source => {
                seen_same |= source.is_some();
                ours.consider(&found, has, asked.selection);
            }
        }
        let enough = match is_known {
            true => ours.latest.is_some(),
            false => all.latest.is_some() && seen >= LOOKED_AT,
        };
        if enough {
            break;
        }
    }
    if is_known && (seen_same || ours.found().is_some()) {
        return ours.end(store, asked.selection);
    }
    if others.len() > 1 {
        return Err(several(store, &others));
    }
    if let (0, Some(oldest), Some(latest)) = (seen, later, asked.not_after) {
        return Err(Error::new(
            Code::BackupNotFound,
            format!(
                "{} has no backup of {} or before; the oldest is {oldest}",
                store.url(),
                stamp(latest)
            ),
        )
        .remedy("give a later time, or the id of a backup; `qdrant-backup list` shows them"));
    }
    let (latest, mut warnings) = all.end(store, asked.selection)?;
    // Of one of which nothing is known, an empty one say, nothing is said.
    if let (Some(source), Some((other, _))) = (asked.source.filter(|_| is_known), others.first()) {
        warnings.push(format!(
            "no backup of this Qdrant, {source}, is known; this backup is of {other}"
        ));
    }
    Ok((latest, warnings))
}

fn several(store: &dyn Store, others: &[(Source, BackupId)]) -> Error {
    let list: Vec<_> = others
        .iter()
        .map(|(source, newest)| format!("{source}, the newest {newest}"))
        .collect();
    Error::new(
        Code::SourceMismatch,
        format!(
            "{} has backups of {} Qdrant instances, the requested one is unknown: {}",
            store.url(),
            others.len(),
            list.join("; ")
        ),
    )
    .remedy("give the id of the backup, or set BACKUP_SOURCE_NAME to the name of the Qdrant instance")
}

/// What is met on the way from the newest backup to the oldest.
#[derive(Default)]
struct Search {
    latest: Option<Outline>,
    /// The newest good one of named collections only where everything is asked for, and how much was known of newer ones then.
    narrow: Option<(Outline, usize)>,
    /// Why newer ones are not the latest: the newest of each kind.
    newer: Vec<String>,
    has_flawed: bool,
    has_foreign: bool,
    /// The newest of all, with what speaks against it.
    newest: Option<(BackupId, String)>,
    /// The newest one that has what is asked for, likewise.
    having: Option<(BackupId, String)>,
}

/// Whether a backup has what is asked for, whatever it is worth.
fn has(found: &Found, filter: &Filter, wanted: &Selection) -> bool {
    let names: Vec<_> = found.summary.points_by_collection.keys().cloned().collect();
    filter.pick(wanted, &names).is_ok_and(|picked| !picked.is_empty())
}

/// What speaks against a backup that is not good.
fn why_not_good(found: &Found) -> String {
    let summary = &found.summary;
    match (summary.marks.first(), &found.manifest) {
        (Some(Mark::Partial), Some(manifest)) => {
            let names: Vec<_> = manifest.failed.iter().map(missing).collect();
            match names.is_empty() {
                true => "it is PARTIAL".to_owned(),
                false => format!("it is PARTIAL: it is missing {}", names.join(", ")),
            }
        }
        (Some(Mark::Future), _) => FUTURE.to_owned(),
        (Some(mark), _) => match summary.odd().next() {
            Some(problem) => format!("it is {mark}: {problem}"),
            None => format!("it is {mark}"),
        },
        (None, _) => "its state is unknown".to_owned(),
    }
}

fn missing(failure: &manifest::Failure) -> String {
    format!("{:?} ({})", failure.collection, failure.error.code)
}

impl Search {
    /// One more backup, older than those before.
    fn consider(&mut self, found: &Found, has: bool, wanted: &Selection) {
        if self.latest.is_some() {
            return;
        }
        let id = found.summary.id;
        let Some(manifest) = found.manifest.as_ref().filter(|_| found.summary.is_good()) else {
            let why = why_not_good(found);
            if !std::mem::replace(&mut self.has_flawed, true) {
                self.newer
                    .push(format!("backup {id} is newer and not the latest: {why}"));
            }
            return self.pass(id, why, has);
        };
        match has {
            false if manifest.selection.is_everything() => {
                self.pass(
                    id,
                    format!("it has no collection {}", wanted.collections.join(", ")),
                    has,
                );
            }
            false => self.pass(id, format!("it has {}", manifest.selection), has),
            true if wanted.collections.is_empty()
                && (manifest.qdrant.scoped_key || !manifest.selection.collections.is_empty()) =>
            {
                if self.narrow.is_none() {
                    self.narrow = Some((manifest.clone(), self.newer.len()));
                    self.newer.push(match manifest.qdrant.scoped_key {
                        true => format!("backup {id} is newer and was made with a key for certain collections"),
                        false => format!("backup {id} is newer and has {}", manifest.selection),
                    });
                }
            }
            true => self.latest = Some(manifest.clone()),
        }
    }

    /// One more, of another Qdrant.
    fn consider_foreign(&mut self, found: &Found, has: bool, source: &Source) {
        if self.latest.is_some() || !has || !found.summary.is_good() || self.has_foreign {
            return;
        }
        self.has_foreign = true;
        let (id, why) = (found.summary.id, format!("it is a backup of another Qdrant, {source}"));
        self.newer
            .push(format!("backup {id} is newer and not the latest: {why}"));
        self.having.get_or_insert((id, why));
    }

    /// A backup that is not the latest.
    fn pass(&mut self, id: BackupId, why: String, has: bool) {
        if has {
            self.having.get_or_insert_with(|| (id, why.clone()));
        }
        self.newest.get_or_insert((id, why));
    }

    fn found(&self) -> Option<&Outline> {
        self.latest
            .as_ref()
            .or(self.narrow.as_ref().map(|(manifest, _)| manifest))
    }

    /// What the search came to.
    fn end(mut self, store: &dyn Store, wanted: &Selection) -> Result<(Outline, Vec<String>)> {
        if let Some(latest) = self.latest {
            return Ok((latest, self.newer));
        }
        match self.narrow.take() {
            Some((narrow, newer)) => {
                self.newer.truncate(newer);
                Ok((narrow, self.newer))
            }
            None => Err(self.none(store, wanted)),
        }
    }

    /// Why no backup is the latest.
    fn none(self, store: &dyn Store, wanted: &Selection) -> Error {
        let url = store.url();
        let Some((newest, flaw)) = self.newest.or_else(|| self.having.clone()) else {
            return no_backup(store);
        };
        let what = match (wanted.is_everything(), wanted.collections.is_empty()) {
            (true, _) => String::new(),
            (false, true) => " of the selection".to_owned(),
            (false, false) => format!(" with {}", wanted.collections.join(", ")),
        };
        let why = format!("{url} has no good backup{what}; the newest is {newest}: {flaw}");
        let look = |id: BackupId| format!("run `qdrant-backup show {id}`; restoring by id restores what it has");
        match self.having {
            Some((id, _)) if id == newest => Error::new(Code::BackupNotFound, why).remedy(look(id)),
            Some((id, flaw)) => {
                let text = format!("{why}; the newest with it is {id}: {flaw}");
                Error::new(Code::BackupNotFound, text).remedy(look(id))
            }
            None if wanted.collections.is_empty() => Error::new(Code::BackupNotFound, why)
                .remedy(format!("run `qdrant-backup show {newest}`, and make a backup now")),
            None => Error::new(Code::CollectionNotFound, why).remedy(
                "check the names, or request one at a time; `qdrant-backup list` shows the backups, `qdrant-backup \
                 show ID` the contents",
            ),
        }
    }
}
