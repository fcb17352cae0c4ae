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
    /// Why newer ones are not the latest: the newest of each kind.
    newer: Vec<String>,
    /// The newest of all, with what speaks against it.
    newest: Option<(BackupId, String)>,
    /// The newest one that has what is asked for, likewise.
    having: Option<(BackupId, String)>,
}

/// What a backup is to the search; a text says what speaks against it.
enum Standing {
    Latest,
    /// Good, but of named collections only where everything is asked for.
    Narrow(String),
    /// Good, and without what is asked for.
    Lacking(String),
    /// Not good.
    Flawed(String),
    /// Of another source.
    Foreign(String),
}

async fn search_for(store: &dyn Store, asked: Asked<'_>, now: OffsetDateTime) -> Result<Search> {
    let filter = Filter::new(asked.selection)?;
    let mut search = Search::default();
    // The first narrow one, and how much is known of newer ones than it.
    let mut narrow: Option<(Option<Manifest>, usize)> = None;
    let (mut flawed, mut foreign) = (false, false);
    let mut backups = std::pin::pin!(newest_first(store, AT_ONCE, now).await?);
    let mut seen = 0;
    while let Some(found) = backups.try_next().await? {
        seen += 1;
        let (id, has) = (found.summary.id, has(&found, &filter, asked.selection));
        search.seen_source |= relation(&found, asked) == Relation::Same;
        match standing(&found, has, asked) {
            Standing::Latest => {
                search.latest = found.manifest;
                return Ok(search);
            }
            Standing::Narrow(why) if narrow.is_none() => {
                narrow = Some((found.manifest, search.newer.len()));
                search.newer.push(format!("backup {id} is newer and {why}"));
            }
            Standing::Narrow(_) => {}
            Standing::Lacking(why) => search.pass(id, why, has),
            Standing::Flawed(why) => {
                if !std::mem::replace(&mut flawed, true) {
                    search
                        .newer
                        .push(format!("backup {id} is newer and not the latest: {why}"));
                }
                search.pass(id, why, has);
            }
            Standing::Foreign(why) => {
                if found.summary.is_good() && has && !std::mem::replace(&mut foreign, true) {
                    search
                        .newer
                        .push(format!("backup {id} is newer and not the latest: {why}"));
                    search.foreign = Some((id, why));
                }
            }
        }
        if narrow.is_some() && seen >= LOOKED_AT {
            break;
        }
    }
    if let Some((manifest, newer)) = narrow {
        search.newer.truncate(newer);
        search.latest = manifest;
    }
    Ok(search)
}

fn relation(found: &Found, asked: Asked<'_>) -> Relation {
    let source = found
        .manifest
        .as_ref()
        .and_then(|manifest| manifest.qdrant.source.as_ref());
    asked.source.map_or(Relation::Unknown, |ours| ours.relation_to(source))
}

fn standing(found: &Found, has: bool, asked: Asked<'_>) -> Standing {
    let Some(manifest) = &found.manifest else {
        return Standing::Flawed(flaw(found));
    };
    match (relation(found, asked), &manifest.qdrant.source) {
        (Relation::Different, Some(theirs)) => Standing::Foreign(format!("it is of another Qdrant, {theirs}")),
        _ if !found.summary.is_good() => Standing::Flawed(flaw(found)),
        _ if !has && manifest.selection.is_everything() => {
            Standing::Lacking(format!("it does not have {}", asked.selection.collections.join(", ")))
        }
        _ if !has => Standing::Lacking(format!("it has {}", manifest.selection)),
        _ if asked.selection.collections.is_empty() && !manifest.selection.collections.is_empty() => {
            Standing::Narrow(format!("has {}", manifest.selection))
        }
        _ => Standing::Latest,
    }
}

/// Whether a backup has what is asked for, whatever it is worth.
fn has(found: &Found, filter: &Filter, wanted: &Selection) -> bool {
    let names: Vec<_> = found.summary.points_by_collection.keys().cloned().collect();
    filter.pick(wanted, &names).is_ok_and(|picked| !picked.is_empty())
}

/// What speaks against a backup that is not good.
fn flaw(found: &Found) -> String {
    let summary = &found.summary;
    match (summary.marks.first(), &found.manifest) {
        (Some(Mark::Partial), Some(manifest)) => {
            let names: Vec<_> = manifest.failed.iter().map(missing).collect();
            format!("it is PARTIAL: it lacks {}", names.join(", "))
        }
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
    /// A backup that is not the latest.
    fn pass(&mut self, id: BackupId, why: String, has: bool) {
        if has {
            self.having.get_or_insert_with(|| (id, why.clone()));
        }
        self.newest.get_or_insert((id, why));
    }

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
