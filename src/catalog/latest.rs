//! `latest`: the one rule that says which backup that is.
//!
//! It is the newest good backup that has what is asked for. *Good*: complete and restorable in full, neither found damaged nor failed by a
//! drill, and its time has come. *What is asked for*: the collections that are named; where none is, a backup whose selection names no
//! single collections, and any good one only where there is none of those.

use super::{Found, Mark, newest_first, no_backup};
use crate::error::{Code, Error, Result};
use crate::manifest::{self, Manifest, Relation, Selection, Source};
use crate::names::BackupId;
use crate::plan::Filter;
use crate::store::Store;
use futures_util::TryStreamExt;
use time::OffsetDateTime;

/// Backups looked at for a wider selection, once there is a good one that has only named collections.
const LOOKED_AT: usize = 100;
const AT_ONCE: usize = 4;

/// A backup that was named by its id or as `latest`.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Its id.
    pub id: BackupId,
    /// What the reader should know of newer ones that `latest` is not.
    pub warnings: Vec<String>,
}

/// What `latest` is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The collections.
    pub selection: &'a Selection,
    /// Of which Qdrant. Backups that do not tell are taken for its; those of others only where there is none of its.
    pub source: Option<&'a Source>,
}

/// The backup that `id` names: itself, or for `latest` the newest good one that has what is asked for.
///
/// # Errors
/// [`Code::BackupNotFound`] when no backup is the latest, saying why the newest is not and which one has what is asked for;
/// [`Code::CollectionNotFound`] when a collection is in no backup; [`Code::BadRequest`] for what is no id.
pub async fn resolve(store: &dyn Store, id: &str, asked: Asked<'_>, now: OffsetDateTime) -> Result<Resolved> {
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
/// As [`resolve`].
pub async fn named(store: &dyn Store, id: &str, now: OffsetDateTime) -> Result<BackupId> {
    let selection = &Selection::default();
    let resolved = resolve(
        store,
        id,
        Asked {
            selection,
            source: None,
        },
        now,
    )
    .await?;
    for warning in &resolved.warnings {
        tracing::warn!(backup = %resolved.id, "latest is {}: {warning}", resolved.id);
    }
    Ok(resolved.id)
}

/// The manifest of the latest backup.
///
/// # Errors
/// As [`resolve`].
pub async fn latest(store: &dyn Store, asked: Asked<'_>, now: OffsetDateTime) -> Result<Manifest> {
    find(store, asked, now).await.map(|(latest, _)| latest)
}

/// The latest backup, and what the reader should know of newer ones.
async fn find(store: &dyn Store, asked: Asked<'_>, now: OffsetDateTime) -> Result<(Manifest, Vec<String>)> {
    let mut search = search_for(store, asked, now).await?;
    let mut warnings = Vec::new();
    // A new machine, or one from which somebody else's backup is restored.
    if let (None, Some(source), false, Some(_)) = (&search.latest, asked.source, search.seen_source, &search.foreign) {
        warnings.push(format!("{} has no backup of this Qdrant, {source}", store.url()));
        search = search_for(store, Asked { source: None, ..asked }, now).await?;
    }
    warnings.append(&mut search.newer);
    match search.latest.take() {
        Some(latest) => Ok((latest, warnings)),
        None => Err(search.none(store, asked.selection)),
    }
}

/// What was met on the way.
#[derive(Default)]
struct Search {
    latest: Option<Manifest>,
    /// Whether any is of the source that is asked for.
    seen_source: bool,
    /// The newest good one of another source that has what is asked for, and what it is.
    foreign: Option<(BackupId, String)>,
    /// Why newer ones are not the latest.
    newer: Vec<String>,
    /// The newest of all, with what speaks against it.
    newest: Option<(BackupId, String)>,
    /// The newest one that has what is asked for, likewise.
    having: Option<(BackupId, String)>,
}

async fn search_for(store: &dyn Store, asked: Asked<'_>, now: OffsetDateTime) -> Result<Search> {
    let wanted = asked.selection;
    let filter = Filter::new(wanted)?;
    let mut search = Search::default();
    let (mut flawed, mut narrow) = (None, None);
    let mut fallback = None;
    let mut backups = std::pin::pin!(newest_first(store, AT_ONCE, now).await?);
    let mut seen = 0;
    while let Some(found) = backups.try_next().await? {
        seen += 1;
        let id = found.summary.id;
        match (asked.source, found.manifest.as_ref().map(|m| &m.qdrant.source)) {
            (Some(ours), Some(Some(theirs))) => match ours.relation(theirs) {
                Relation::Same => search.seen_source = true,
                Relation::Unknown => {}
                Relation::Different => {
                    if found.summary.is_good() && has(&found, &filter, wanted) {
                        search
                            .foreign
                            .get_or_insert_with(|| (id, format!("it is of another Qdrant, {theirs}")));
                    }
                    continue;
                }
            },
            _ => {}
        }
        let has = has(&found, &filter, wanted);
        match found {
            Found {
                manifest: Some(manifest),
                summary,
            } if summary.is_good() && has => {
                if !wanted.collections.is_empty() || manifest.selection.collections.is_empty() {
                    search.latest = Some(manifest);
                    break;
                }
                if fallback.is_none() {
                    narrow = Some(format!("backup {id} is newer and has {}", manifest.selection));
                    fallback = Some(manifest);
                }
            }
            found => {
                let flaw = flaw(&found, wanted);
                if has {
                    search.having.get_or_insert_with(|| (id, flaw.clone()));
                }
                if !found.summary.is_good() {
                    flawed.get_or_insert_with(|| format!("backup {id} is newer and not the latest: {flaw}"));
                }
                search.newest.get_or_insert((id, flaw));
            }
        }
        if fallback.is_some() && seen >= LOOKED_AT {
            break;
        }
    }
    if search.latest.is_none() && fallback.is_some() {
        search.latest = fallback;
        narrow = None;
    }
    let foreign = search.foreign.as_ref();
    let foreign = foreign.map(|(id, why)| format!("backup {id} is newer and not the latest: {why}"));
    search.newer = flawed.into_iter().chain(narrow).chain(foreign).collect();
    Ok(search)
}

/// Whether a backup has what is asked for, whatever it is worth.
fn has(found: &Found, filter: &Filter, wanted: &Selection) -> bool {
    let names: Vec<_> = found.summary.points_by_collection.keys().cloned().collect();
    filter.pick(wanted, &names).is_ok_and(|picked| !picked.is_empty())
}

/// What speaks against a backup.
fn flaw(found: &Found, wanted: &Selection) -> String {
    let summary = &found.summary;
    let lacks = |manifest: &Manifest| {
        let names: Vec<_> = manifest.failed.iter().map(missing).collect();
        format!("it lacks {}", names.join(", "))
    };
    match (summary.marks.first(), &found.manifest) {
        (Some(Mark::Good), _) => match summary.partly() {
            Some(selection) => format!("it has {selection}"),
            None => format!("it does not have {}", wanted.collections.join(", ")),
        },
        (Some(Mark::Partial), Some(manifest)) => format!("it is PARTIAL: {}", lacks(manifest)),
        (Some(Mark::Future), _) => "its time has not come yet: a clock was wrong, or it was made by hand".to_owned(),
        (Some(mark), _) => match summary.problem.as_ref().or(summary.not_restorable.values().next()) {
            Some(problem) => format!("it is {mark}: {problem}"),
            None => format!("it is {mark}"),
        },
        (None, _) => "nothing is known of it".to_owned(),
    }
}

fn missing(failure: &manifest::Failure) -> String {
    format!("{:?} ({})", failure.collection, failure.code)
}

impl Search {
    /// Why no backup is the latest.
    fn none(self, store: &dyn Store, wanted: &Selection) -> Error {
        let url = store.url();
        let Some((newest, flaw)) = self.newest.or_else(|| self.foreign.clone()) else {
            return no_backup(store);
        };
        let what = match wanted.is_everything() {
            true => String::new(),
            false => format!(" that has {wanted}"),
        };
        let why = format!("{url} has no good backup{what}; the newest is {newest}: {flaw}");
        match self.having.or(self.foreign) {
            Some((id, _)) if id == newest => Error::new(Code::BackupNotFound, why).remedy(format!(
                "look at it with `qdrant-backup show {id}`; its id restores what it has"
            )),
            Some((id, flaw)) => Error::new(
                Code::BackupNotFound,
                format!("{why}; the newest that has it is {id}: {flaw}"),
            )
            .remedy(format!(
                "look at it with `qdrant-backup show {id}`; its id restores what it has"
            )),
            None if wanted.collections.is_empty() => Error::new(Code::BackupNotFound, why).remedy(format!(
                "look at it with `qdrant-backup show {newest}`, and make a backup now"
            )),
            None => Error::new(Code::CollectionNotFound, why)
                .remedy("check the name; `qdrant-backup list` shows the backups, `qdrant-backup show ID` what one has"),
        }
    }
}
