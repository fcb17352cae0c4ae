//! What backups there are, newest first: read from the manifests and from the records beside them.

mod latest;
mod memory;
mod records;
mod sources;
mod spelled;

pub use latest::{LatestQuery, latest, named};
pub(crate) use latest::{Resolved, named_at, resolve};
pub(crate) use memory::{Memory, newest_known};
pub(crate) use records::{proofs, unreadable};
pub(crate) use sources::{labels, require_source};
pub(crate) use spelled::{Spelled, spelled, suggesting};

use crate::base::error::{Code, Error, Result};
use crate::base::total::total;
use crate::repository::blobs;
use crate::repository::manifest::{self, Collection, Manifest, Outline, Status};
use crate::repository::names::{BACKUPS, BackupId, Name, has_come};
use crate::repository::selection::Selection;
use crate::repository::sharding::Described;
use crate::repository::verdicts::drilled::ENGINE;
use crate::repository::verdicts::verified::{self, DamageFound, Damages};
use crate::wire::store::record::Record;
use crate::wire::store::{ObjectMeta, Store};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use records::{Records, records};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;
use time::OffsetDateTime;

/// How the retention rules count a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Complete, and not known to be damaged.
    Good,
    /// Misses collections.
    Partial,
    /// Complete, and known to be damaged or not proven yet.
    Damaged,
    /// Unknown, or with a collection that only another version of this tool may restore.
    Unknown,
}

/// Default number of backups in a list.
pub(crate) const LISTED: u16 = 20;
/// Most collections that a backup saves at once.
const MOST_AT_ONCE: usize = 64;
/// Backups read at once.
pub(crate) const READ_AT_ONCE: usize = 8;

/// What is wrong with a backup of the future.
pub(crate) const FUTURE: &str = "its id or its date is in the future: a clock was wrong, or it was made by hand";

/// One backup in a list.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub id: BackupId,
    /// Whether it has all that was asked for; `None` when the manifest cannot be used, see `problem`.
    pub status: Option<Status>,
    /// What was asked for when it was made; nothing in it: everything.
    pub selection: Option<Selection>,
    /// Whether it was made with a key for certain collections, so that it may be missing others.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) scoped_key: bool,
    /// All that is known of its worth, in one look.
    pub marks: Vec<Mark>,
    /// When it was finished.
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
    /// Number of collections.
    pub collections: usize,
    /// Points in all collections.
    pub points: u64,
    /// Bytes of all artifacts.
    pub bytes: u64,
    /// Bytes of the largest collections, the largest first.
    #[serde(skip)]
    pub(crate) largest: Vec<u64>,
    /// Points in each collection.
    pub points_by_collection: BTreeMap<String, u64>,
    /// What the last verification found.
    pub verified: Option<Proof>,
    /// What the last drill found.
    pub drilled: Option<Proof>,
    /// Who asked to keep it.
    pub pinned: Option<Pin>,
    /// Why the manifest, or the record of a proof beside it, cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Collections of which a snapshot was made while an optimizer may have worked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unproven: Vec<String>,
    /// Collections that this version cannot bring back from it, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub not_restorable: BTreeMap<String, String>,
    /// Collections that are damaged as the manifest itself tells them, and how.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub damaged: BTreeMap<String, String>,
}

/// A word for what is known of a backup. The first one of a list is one of the first eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Has all that was asked for, and nothing speaks against it.
    Good,
    /// Misses collections.
    Partial,
    /// A verification found damage, or the manifest is invalid, lacks a shard, or belongs to another backup.
    Damaged,
    /// A drill failed. It may still be intact, so it is kept; it never counts as good.
    DrillFailed,
    /// Its manifest, or a record beside it, is of a kind that this version does not read.
    Unreadable,
    /// It has a collection that this version cannot restore. The others can be restored; it never counts as good.
    NotRestorable,
    /// A snapshot in it was made while Qdrant optimized the shard, so it may have points that had been deleted. Good once a drill
    /// has counted them.
    Unproven,
    /// Its id, or the time of its end, is in the future. It is never the latest.
    Future,
    /// A verification found it intact.
    Verified,
    /// A drill found it intact.
    Drilled,
    /// Somebody asked to keep it.
    Pinned,
    /// It was made with a key for certain collections, so that it may be missing others.
    Scoped,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::Partial => "PARTIAL",
            Self::Damaged => "DAMAGED",
            Self::DrillFailed => "DRILL-FAILED",
            Self::Unreadable => "UNREADABLE",
            Self::NotRestorable => "NOT-RESTORABLE",
            Self::Unproven => "UNPROVEN",
            Self::Future => "FUTURE",
            Self::Verified => "verified",
            Self::Drilled => "drilled",
            Self::Pinned => "pinned",
            Self::Scoped => "scoped",
        })
    }
}

/// What a verification or a drill found; the record itself says more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// What it came to.
    pub verdict: ProofVerdict,
    /// When.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub at: Option<OffsetDateTime>,
    /// Whether the engine has opened the snapshots, in place of a server that has restored them.
    #[serde(rename = "target", default, deserialize_with = "is_engine", skip_serializing)]
    pub(crate) by_engine: bool,
}

fn is_engine<'de, D: serde::Deserializer<'de>>(target: D) -> std::result::Result<bool, D::Error> {
    serde_json::Value::deserialize(target).map(|target| target == ENGINE)
}

/// What a proof came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProofVerdict {
    /// Nothing is wrong; a drill says `passed`.
    #[serde(alias = "passed")]
    Intact,
    /// Something is.
    Damaged,
    /// A drill did not pass. That may be the fault of the Qdrant that it used.
    Failed,
    /// Not understood.
    #[serde(other)]
    Unknown,
}

/// A pin: this backup is to be kept. The object's presence counts, whatever is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// When.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub at: Option<OffsetDateTime>,
    /// By whom.
    #[serde(default)]
    pub by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Record for Pin {
    const WHAT: &'static str = "a pin";
    const LARGEST: u64 = 1 << 20;
}

/// A backup with its manifest.
#[derive(Clone, Debug)]
pub struct Found {
    /// What a list shows of it.
    pub summary: Summary,
    /// What lies where its manifest belongs, also when it is another backup's; `None` when it cannot be read. The summary
    /// says what is wrong.
    pub manifest: Option<Outline>,
}

impl Proof {
    /// Whether it found nothing wrong, and its time has come.
    pub(crate) fn is_intact(&self, now: OffsetDateTime) -> bool {
        self.verdict == ProofVerdict::Intact && self.at.is_none_or(|at| has_come(at, now))
    }

    /// Whether it calls intact what was `finished` only after it.
    fn is_older_than(&self, finished: OffsetDateTime) -> bool {
        self.verdict == ProofVerdict::Intact && self.at.is_some_and(|at| !has_come(finished, at))
    }
}

impl Summary {
    /// Time since it was finished; `None` when that is not known, or is to come.
    pub fn age(&self, now: OffsetDateTime) -> Option<Duration> {
        self.finished_at
            .filter(|at| has_come(*at, now))
            .map(|at| Duration::try_from(now - at).unwrap_or_default())
    }

    /// What it is worth to the rules of retention, which look at its time themselves.
    pub fn state(&self, now: OffsetDateTime) -> State {
        match self.marks.first() {
            // What it holds is not known.
            _ if self.problem.is_some() => State::Unknown,
            Some(Mark::Good) => State::Good,
            Some(Mark::Partial) => State::Partial,
            Some(Mark::Damaged | Mark::Unproven) => State::Damaged,
            Some(Mark::Future) if self.id.has_come(now) => State::Unknown,
            Some(Mark::Future) if self.status == Some(Status::Complete) => State::Good,
            Some(Mark::Future) => State::Partial,
            _ => State::Unknown,
        }
    }

    /// What was asked for when it was made, unless that is everything.
    pub(crate) fn partly(&self) -> Option<&Selection> {
        self.selection.as_ref().filter(|selection| !selection.is_everything())
    }

    /// Whether it is one to rely on now.
    pub(crate) fn is_good(&self) -> bool {
        self.marks.first() == Some(&Mark::Good)
    }

    /// What is wrong with it, as far as that is known without looking at its objects.
    pub(crate) fn odd(&self) -> impl Iterator<Item = &String> {
        let of_collections = self.damaged.values().chain(self.not_restorable.values());
        self.problem.iter().chain(of_collections)
    }

    /// The marks as one text.
    pub fn marks_text(&self) -> String {
        self.marks.iter().map(Mark::to_string).collect::<Vec<_>>().join(" ")
    }

    fn new<D: Described>(
        id: BackupId,
        manifest: Result<&Manifest<D>, &Error>,
        records: Records,
        now: OffsetDateTime,
    ) -> Self {
        let (manifest, problem) = (manifest.ok(), manifest.err());
        let collections = manifest.map_or(&[][..], |m| &m.collections);
        let finished_at = manifest.map(|m| m.finished_at);
        let counts = |proof: &Proof| !finished_at.is_some_and(|at| proof.is_older_than(at));
        let mut summary = Self {
            id,
            status: manifest.map(|m| m.status),
            selection: manifest.map(|m| m.selection.clone()),
            scoped_key: manifest.is_some_and(|m| m.qdrant.scoped_key),
            marks: Vec::new(),
            finished_at,
            collections: collections.len(),
            points: total(collections.iter().map(|c| c.points_after)),
            bytes: manifest.map_or(0, Manifest::bytes),
            largest: largest(collections.iter().map(Collection::bytes)),
            points_by_collection: collections.iter().map(|c| (c.name.clone(), c.points_after)).collect(),
            verified: records.verified.filter(counts),
            drilled: records.drilled.filter(counts),
            pinned: records.pinned,
            problem: problem.map(Error::chain).or(records.problem),
            unproven: collections
                .iter()
                .filter(|c| c.is_unsettled())
                .map(|c| c.name.clone())
                .collect(),
            not_restorable: collections
                .iter()
                .filter_map(|c| Some((c.name.clone(), c.cannot_be_restored()?.chain())))
                .collect(),
            damaged: collections
                .iter()
                .filter_map(|c| Some((c.name.clone(), c.damage()?)))
                .collect(),
        };
        summary.marks = summary.marks(problem.map(Error::code), now);
        summary
    }

    fn marks(&self, problem: Option<Code>, now: OffsetDateTime) -> Vec<Mark> {
        let said = |proof: &Option<Proof>, verdict| proof.as_ref().is_some_and(|p| p.verdict == verdict);
        let is_intact = |proof: &Option<Proof>| proof.as_ref().is_some_and(|p| p.is_intact(now));
        let either = |verdict| said(&self.verified, verdict) || said(&self.drilled, verdict);
        let first = match self.status {
            _ if problem == Some(Code::BackupDamaged) => Mark::Damaged,
            _ if problem.is_some() || either(ProofVerdict::Unknown) => Mark::Unreadable,
            _ if either(ProofVerdict::Damaged) || !self.damaged.is_empty() => Mark::Damaged,
            _ if !self.not_restorable.is_empty() => Mark::NotRestorable,
            _ if either(ProofVerdict::Failed) => Mark::DrillFailed,
            _ if !self.unproven.is_empty() && !is_intact(&self.drilled) && self.status == Some(Status::Complete) => {
                Mark::Unproven
            }
            _ if !self.id.has_come(now) || self.finished_at.is_some_and(|at| !has_come(at, now)) => Mark::Future,
            Some(Status::Complete) => Mark::Good,
            Some(Status::Partial) => Mark::Partial,
            None => Mark::Unreadable,
        };
        // An earlier proof is none of what is damaged now.
        let counts = !matches!(first, Mark::Damaged | Mark::Unreadable);
        let more = [
            (counts && is_intact(&self.verified), Mark::Verified),
            (counts && is_intact(&self.drilled), Mark::Drilled),
            (self.pinned.is_some(), Mark::Pinned),
            (self.scoped_key, Mark::Scoped),
        ];
        let more = more.into_iter().filter_map(|(holds, mark)| holds.then_some(mark));
        [first].into_iter().chain(more).collect()
    }
}

/// The newest `limit` backups, newest first. Only what has a manifest is a backup. One that cannot be used is listed with its
/// problem, so that one damaged backup does not hide the others.
pub async fn list(store: &dyn Store, limit: usize, now: OffsetDateTime) -> Result<Vec<Summary>> {
    newest_first(store, READ_AT_ONCE.min(limit.max(1)), now, |found| found.summary)
        .await?
        .take(limit)
        .try_collect()
        .await
}

/// Which backups a list is to have.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListFilter {
    /// At most so many.
    pub limit: usize,
    /// With this collection.
    pub collection: Option<String>,
    /// Begun at this time or later.
    pub since: Option<OffsetDateTime>,
    /// Good ones alone.
    pub good: bool,
}

/// What a list has, newest first.
pub(crate) struct Listed {
    pub backups: Vec<Summary>,
    /// Whether there are more that it would have, were it longer.
    pub is_cut: bool,
    /// The names of all collections that were met in passing.
    pub collections: BTreeSet<String>,
}

/// As [`list`], of those that `filter` lets pass.
pub(crate) async fn filtered(store: &dyn Store, filter: &ListFilter, now: OffsetDateTime) -> Result<Listed> {
    let mut listed = Listed {
        backups: Vec::new(),
        is_cut: false,
        collections: BTreeSet::new(),
    };
    let at_once = READ_AT_ONCE.min(filter.limit.max(1));
    let mut found = std::pin::pin!(newest_first(store, at_once, now, |found| found.summary).await?);
    while let Some(summary) = found.try_next().await? {
        if filter.since.is_some_and(|since| summary.id.time() < since) {
            break;
        }
        let has = |name: &String| summary.points_by_collection.contains_key(name);
        let passes = filter.collection.as_ref().is_none_or(has) && (!filter.good || summary.is_good());
        if filter.collection.is_some() {
            listed.collections.extend(summary.points_by_collection.keys().cloned());
        }
        match passes {
            true if listed.backups.len() >= filter.limit => {
                listed.is_cut = true;
                break;
            }
            true => listed.backups.push(summary),
            false => {}
        }
    }
    Ok(listed)
}

/// What is to be kept of each backup, newest first, `at_once` of them read ahead.
pub(crate) async fn newest_first<T: Send + 'static>(
    store: &dyn Store,
    at_once: usize,
    now: OffsetDateTime,
    keep: impl Fn(Found) -> T + Copy + Send + 'static,
) -> Result<impl Stream<Item = Result<T>>> {
    let ids = ids(store).await?;
    Ok(stream::iter(ids)
        .map(move |id| inspect(store, id, now, keep))
        .buffered(at_once)
        .try_filter_map(async |kept| Ok(kept)))
}

/// Whether one of the newest backups has a collection.
pub(crate) async fn recently_saved(store: &dyn Store, name: &str, newest: usize, now: OffsetDateTime) -> Result<bool> {
    let names = |found: Found| {
        let collections = found.manifest.map(|manifest| manifest.collections);
        let names = collections.into_iter().flatten().map(|collection| collection.name);
        names.collect::<Vec<_>>()
    };
    let mut backups = std::pin::pin!(newest_first(store, 4, now, names).await?.take(newest));
    while let Some(names) = backups.try_next().await? {
        if names.iter().any(|saved| saved == name) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The newest backup whose time has come, whatever it is worth.
pub async fn newest(store: &dyn Store, now: OffsetDateTime) -> Result<Option<Summary>> {
    let mut backups = std::pin::pin!(newest_first(store, 1, now, |found| found.summary).await?);
    while let Some(summary) = backups.try_next().await? {
        if summary.id.has_come(now) {
            return Ok(Some(summary));
        }
    }
    Ok(None)
}

/// The ids of all backups, newest first: by their places and not by what their manifests say, which may be damaged.
///
/// # Errors
/// [`Code::BackupNotFound`] when there is none.
pub async fn all(store: &dyn Store) -> Result<Vec<BackupId>> {
    let mut found = Vec::new();
    for id in ids(store).await? {
        if store.head(&id.manifest()).await?.is_some() {
            found.push(id);
        }
    }
    match found.is_empty() {
        true => Err(no_backup(store)),
        false => Ok(found),
    }
}

fn no_backup(store: &dyn Store) -> Error {
    Error::new(Code::BackupNotFound, format!("{} has no backup yet", store.url()))
        .remedy("make one with `qdrant-backup backup` or `POST /v1/backups`")
}

/// A backup in a list, and its age.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ListedBackup {
    /// The backup.
    #[serde(flatten)]
    pub summary: Summary,
    /// Seconds since it was finished.
    pub age_seconds: Option<u64>,
}

impl ListedBackup {
    /// The age of a backup at `now`.
    pub(crate) fn new(summary: Summary, now: OffsetDateTime) -> Self {
        let age_seconds = summary.age(now).map(|age| age.as_secs());
        Self { summary, age_seconds }
    }
}

/// A backup in full: its manifest, and what is known of its worth.
#[derive(Clone, Debug, Serialize)]
pub struct Detail {
    #[serde(flatten)]
    pub manifest: Manifest,
    /// What a list shows of it.
    pub summary: Summary,
    /// Seconds since it was finished.
    pub age_seconds: Option<u64>,
    /// What the last verification found wrong, if it found it damaged: at most [`verified::TOLD`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damage_found: Vec<DamageFound>,
    /// How much more it found.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_damage_found: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// The backup `id` in full.
pub async fn show(store: &dyn Store, id: BackupId, now: OffsetDateTime) -> Result<Detail> {
    let manifest = manifest::read(store, &id).await?;
    let objects = store.folder(&id.prefix()).await?.objects;
    let usable = blobs::require_places(&manifest, &id);
    let usable = usable.as_ref().map(|()| &manifest);
    let summary = Summary::new(id, usable, records(store, id, &objects).await?, now);
    let is_damaged = summary
        .verified
        .as_ref()
        .is_some_and(|p| p.verdict == ProofVerdict::Damaged);
    let record = objects.iter().find(|object| object.key == id.verified());
    let damages = match record.filter(|_| is_damaged) {
        Some(record) => verified::damages(store, &id, record).await?,
        None => Damages::default(),
    };
    Ok(Detail {
        damage_found: damages.told,
        more_damage_found: damages.more,
        age_seconds: summary.age(now).map(|age| age.as_secs()),
        manifest,
        summary,
    })
}

/// What is to be kept of the backup `id`, in whose folder, not deeper, `objects` lie; `None` when it has no manifest, so is none.
pub(crate) async fn read<T: Send + 'static>(
    store: &dyn Store,
    id: BackupId,
    objects: &[ObjectMeta],
    now: OffsetDateTime,
    keep: impl Fn(Found) -> T + Copy + Send + 'static,
) -> Result<Option<T>> {
    let key = id.manifest();
    let Some(manifest) = objects.iter().find(|object| object.key == key) else {
        return Ok(None);
    };
    let records = records(store, id, objects).await?;
    let found = move |read| Ok(Found::new(id, read, records, now)?.map(keep));
    manifest::outline(store, &id, manifest.size, found).await?
}

impl Found {
    /// What was read as the manifest of the backup `id`; `None` when it was deleted meanwhile.
    fn new(id: BackupId, read: Result<Outline>, records: Records, now: OffsetDateTime) -> Result<Option<Self>> {
        match &read {
            Err(e) if e.code() == Code::BackupNotFound => return Ok(None),
            Err(e) if !matches!(e.code(), Code::BackupDamaged | Code::BackupUnsupported) => return read.map(|_| None),
            _ => {}
        }
        let misplaced = read.as_ref().ok().and_then(|m| blobs::require_places(m, &id).err());
        let usable = match &misplaced {
            Some(error) => Err(error),
            None => read.as_ref(),
        };
        Ok(Some(Self {
            summary: Summary::new(id, usable, records, now),
            manifest: read.ok(),
        }))
    }
}

async fn inspect<T: Send + 'static>(
    store: &dyn Store,
    id: BackupId,
    now: OffsetDateTime,
    keep: impl Fn(Found) -> T + Copy + Send + 'static,
) -> Result<Option<T>> {
    let objects = store.folder(&id.prefix()).await?.objects;
    read(store, id, &objects, now, keep).await
}

/// The largest of these, the largest first: as many as snapshots may be on Qdrant at once.
fn largest(sizes: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut sizes: Vec<_> = sizes.collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    sizes.truncate(MOST_AT_ONCE);
    sizes.shrink_to_fit();
    sizes
}

/// Ids of all backups that were begun, newest first.
async fn ids(store: &dyn Store) -> Result<Vec<BackupId>> {
    let mut ids: Vec<BackupId> = store
        .folder(BACKUPS)
        .await?
        .folders
        .iter()
        // Anything else in the folder is not ours.
        .filter_map(|name| name.parse().ok())
        .collect();
    ids.sort_unstable();
    ids.reverse();
    Ok(ids)
}

/// Bytes of everything below the folder of backups, also of what killed runs left there.
///
/// # Errors
/// Those of the store.
pub(crate) async fn stored_bytes(store: &dyn Store) -> Result<u64> {
    let objects = store.list(BACKUPS).await?;
    let sum = objects.try_fold(0_u64, async |sum, object| Ok(sum.saturating_add(object.size)));
    sum.await
}

/// The objects of each backup, finished or not.
pub(crate) type Folders = BTreeMap<BackupId, Vec<ObjectMeta>>;

/// Everything below the folder of backups: what belongs to each of them, and the keys that are not ours.
pub(crate) async fn folders(store: &dyn Store) -> Result<(Folders, Vec<String>)> {
    let mut backups = Folders::new();
    let mut foreign = Vec::new();
    let mut objects = store.list(BACKUPS).await?;
    while let Some(object) = objects.try_next().await? {
        match Name::parse(&object.key).and_then(|name| name.backup()) {
            Some(id) => backups.entry(id).or_default().push(object),
            None => foreign.push(object.key),
        }
    }
    Ok((backups, foreign))
}
