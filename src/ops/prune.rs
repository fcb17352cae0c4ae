//! Deletes old backups by a policy: a plan that prints, then its execution under the lease.
//!
//! A backup's manifest goes first and everything else of it afterwards, so that a crash leaves objects that nothing refers
//! to and never a backup that is not whole. A later prune collects them, as it does what a crashed run left, once they are
//! old enough. Only what was there when the plan was made is deleted, in the version that it had then, and only keys that
//! [`crate::repository::names::Name::parse`] accepts; anything else is reported and left alone. Objects that the manifest of another
//! backup refers to stay as well.

mod execute;
mod leftovers;
mod one;

pub(crate) use execute::execute_as;
pub use execute::{Deleted, PruneReport, Skipped, execute};
pub use leftovers::Leftover;
pub(crate) use leftovers::leftovers;

use crate::base::error::{Code, Error, Result};
use crate::base::total::total;
use crate::ops::backup::{self, BackupOutcome};
use crate::ops::context::StoreContext;
use crate::ops::events::Operation;
use crate::ops::notify::Follow;
use crate::ops::retention::{self, Entry, Policy, Reason};
use crate::ops::run;
use crate::repository::catalog::{self, Folders, Found, Mark, State};
use crate::repository::jobs;
use crate::repository::manifest::{Outline, Source};
use crate::repository::names::{BackupId, Execution, JOBS, Name};
use crate::repository::selection::Selection;
use crate::wire::store::{ObjectMeta, Store};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

/// Records of executions may be read by a task or a request that is tried again: not after this time.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// What pruning works with.
#[derive(Clone, Debug)]
pub struct PruneContext {
    pub ctx: StoreContext,
    /// What to keep.
    pub policy: Policy,
    /// The only backup that is deleted, whatever the policy says; `None`: all that the policy does not keep.
    pub only: Option<BackupId>,
}

/// What is to be deleted, what stays, and why.
#[derive(Clone, Debug, Serialize)]
pub struct PrunePlan {
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) made_at: OffsetDateTime,
    pub policy: Policy,
    /// The backups, and what unfinished or half deleted ones left; newest first.
    pub items: Vec<Item>,
    /// Obsolete records of job executions; they are deleted, too.
    pub jobs: Vec<Records>,
    /// Keys among the backups that are not ours; nothing of it is touched.
    pub foreign: Vec<String>,
}

/// What is to become of one folder.
#[derive(Clone, Debug, Serialize)]
pub struct Item {
    /// The backup's id.
    pub id: BackupId,
    /// Whether it has a manifest. What has none is no backup: left by a run that crashed or a deletion that was cut short.
    pub is_backup: bool,
    /// Whether it stays.
    pub keep: bool,
    /// Why it stays.
    pub reasons: Vec<Reason>,
    /// What is known of it.
    pub marks: Vec<Mark>,
    /// What it is a backup of; each series is thinned out by itself.
    pub series: String,
    /// Number of objects.
    pub objects: usize,
    /// Bytes of all of them.
    pub bytes: u64,
    /// The objects to delete, or that stay: the manifest first.
    #[serde(skip)]
    pub(crate) content: Vec<ObjectMeta>,
}

/// Obsolete records of the tasks of one execution.
#[derive(Clone, Debug, Serialize)]
pub struct Records {
    pub execution: Execution,
    /// Number of objects.
    pub objects: usize,
    /// The objects; what tells the others' meaning is the last.
    #[serde(skip)]
    pub(crate) content: Vec<ObjectMeta>,
}

impl Item {
    /// `needed`: objects that stay, because other backups refer to them.
    fn new(
        id: BackupId,
        known: Option<Candidate>,
        reasons: Vec<Reason>,
        objects: Vec<ObjectMeta>,
        needed: &BTreeSet<String>,
    ) -> Self {
        let keep = !reasons.is_empty();
        let mut content: Vec<_> = objects
            .into_iter()
            .filter(|o| keep || !needed.contains(&o.key))
            .collect();
        // The sort is stable: only the manifest comes forward.
        content.sort_by_key(|object| object.key != id.manifest());
        Self {
            id,
            is_backup: known.is_some(),
            keep,
            reasons,
            series: known
                .as_ref()
                .map(|known| known.entry.series.clone())
                .unwrap_or_default(),
            marks: known.map(|known| known.marks).unwrap_or_default(),
            objects: content.len(),
            bytes: total(content.iter().map(|object| object.size)),
            content,
        }
    }
}

impl PrunePlan {
    /// Whether there is nothing to delete.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.deletions().next().is_none()
    }

    /// What is to be deleted, oldest first.
    pub fn deletions(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().rev().filter(|item| !item.keep)
    }
}

/// Plans; reads the store and changes nothing.
///
/// # Errors
/// [`crate::base::error::Code::ConfigInvalid`] for a policy without a rule.
pub async fn plan(job: &PruneContext) -> Result<PrunePlan> {
    if let Some(id) = job.only {
        return one::plan(job, id).await;
    }
    let store = &*job.ctx.store;
    let made_at = job.ctx.clock.now();
    let (folders, mut foreign) = catalog::folders(store).await?;
    let (jobs, planned) = executions(store, &job.policy, made_at, &mut foreign).await?;
    let (folders, mut known) = known(store, folders, made_at).await?;
    let entries: Vec<Entry> = known.values().map(|known| known.entry.clone()).collect();
    let decisions = retention::plan(&entries, &job.policy, made_at)?;
    let kept = decisions
        .iter()
        .filter(|decision| decision.keep)
        .filter_map(|decision| known.get(&decision.id));
    let needed: BTreeSet<String> = kept.flat_map(|known| known.elsewhere.iter().cloned()).collect();
    let mut reasons: BTreeMap<_, _> = decisions
        .into_iter()
        .map(|decision| (decision.id, decision.reasons))
        .collect();
    let mut items = Vec::new();
    for (id, objects) in folders.into_iter().rev() {
        let known = known.remove(&id);
        let reasons = match reasons.remove(&id) {
            Some(reasons) => reasons,
            None => {
                let mut leftover = Leftover::new(id);
                objects.iter().for_each(|object| leftover.add(object));
                leftover.reasons(&job.policy, made_at, &planned)
            }
        };
        items.push(Item::new(id, known, reasons, objects, &needed));
    }
    // Nothing is left to delete where all of it is needed by others.
    items.retain(|item| item.objects > 0);
    Ok(PrunePlan {
        made_at,
        policy: job.policy.clone(),
        items,
        jobs,
        foreign,
    })
}

/// Records of executions that have ended, one way or another: what is still at work keeps the lease, and adds to them. And the
/// backups of the others, whose tasks may be tried again and count on what was stored before.
async fn executions(
    store: &dyn Store,
    policy: &Policy,
    now: OffsetDateTime,
    foreign: &mut Vec<String>,
) -> Result<(Vec<Records>, BTreeSet<BackupId>)> {
    let mut executions: BTreeMap<Execution, Vec<ObjectMeta>> = BTreeMap::new();
    let mut objects = store.list(JOBS).await?;
    while let Some(object) = objects.try_next().await? {
        match Name::parse(&object.key).as_ref().and_then(Name::execution) {
            Some(execution) => executions.entry(execution.clone()).or_default().push(object),
            None => foreign.push(object.key),
        }
    }
    let age = policy.min_age.max(ABANDONED);
    let is_over = |objects: &[ObjectMeta]| objects.iter().all(|object| now - object.updated >= age);
    let (over, open): (BTreeMap<_, _>, BTreeMap<_, _>) =
        executions.into_iter().partition(|(_, objects)| is_over(objects));
    let mut planned = BTreeSet::new();
    let has_plan = |(execution, objects): &(&Execution, &Vec<ObjectMeta>)| {
        let key = execution.plan();
        objects.iter().any(|object| object.key == key)
    };
    for (execution, _) in open.iter().filter(has_plan) {
        match jobs::plan(store, execution).await {
            // What cannot be read, no task reads, either.
            Err(e) if e.code() == Code::BackupDamaged => {}
            plan => planned.extend(plan?.map(|plan| plan.id)),
        }
    }
    let records = over.into_iter().map(|(execution, mut content)| {
        content.sort_by_key(|object| object.key == execution.plan());
        Records {
            execution,
            objects: content.len(),
            content,
        }
    });
    Ok((records.collect(), planned))
}

/// Plans and executes in one go after a backup, also after a partial one: what fails for good makes one at every turn. Whatever
/// goes wrong is a warning in the report of the backup, which is as good as it was.
pub(crate) async fn after_backup(job: &PruneContext, backup: &mut backup::BackupReport, cancel: &CancellationToken) {
    // It left nothing that could take the place of another.
    if backup.status == BackupOutcome::Failed {
        return;
    }
    // Told to stop before anything was begun: nothing is wrong.
    let Some(plan) = cancel.run_until_cancelled(plan(job)).await else {
        return;
    };
    if let Err(error) = &plan {
        let StoreContext {
            notify, store, clock, ..
        } = &job.ctx;
        let follow = Follow::task(notify, store, clock, Operation::Prune, None);
        run::end::<PruneReport>(follow, None, time::Duration::ZERO, Err(error)).await;
    }
    let work = async {
        let mut report = execute(job, &plan?, cancel).await?;
        for deleted in &report.deleted {
            tracing::info!(backup = %deleted.id, objects = deleted.objects, bytes = deleted.bytes, "backup {} deleted by the retention policy", deleted.id);
        }
        report.take_error().map_or(Ok(()), Err)
    };
    let result: Result<()> = work.await;
    if let Err(error) = result {
        let warning = format!("the backup is saved, but pruning old ones failed: {error}");
        tracing::warn!(code = %error.code(), "{warning}");
        backup.warnings.push(warning);
    }
}

/// What has to be known of a backup; the manifests of hundreds of backups may be too much to keep.
struct Candidate {
    entry: Entry,
    marks: Vec<Mark>,
    source: Option<Source>,
    /// Objects that it needs in the folders of others.
    elsewhere: Vec<String>,
}

impl Candidate {
    fn new(found: Found, now: OffsetDateTime) -> Self {
        let id = found.summary.id;
        let artifacts = found
            .manifest
            .iter()
            .flat_map(|m| m.collections.iter().flat_map(|c| &c.artifacts));
        let keys = artifacts.map(|artifact| &artifact.key);
        let state = found.summary.state(now);
        let partial = found.manifest.iter().filter(|_| state == State::Partial);
        Self {
            elsewhere: keys.filter(|key| !key.starts_with(&id.prefix())).cloned().collect(),
            entry: Entry {
                id,
                series: series(found.manifest.as_ref()),
                state,
                pinned: found.summary.pinned.is_some(),
                collections: partial
                    .flat_map(|m| m.collections.iter().map(|c| c.name.clone()))
                    .collect(),
            },
            marks: found.summary.marks,
            source: found.manifest.and_then(|manifest| manifest.qdrant.source),
        }
    }
}

/// Reads what has a manifest; the folders come back as they were.
async fn known(
    store: &dyn Store,
    folders: Folders,
    now: OffsetDateTime,
) -> Result<(Folders, BTreeMap<BackupId, Candidate>)> {
    let mut reads = stream::iter(folders)
        .map(|(id, objects)| async move {
            let keep = move |found| Candidate::new(found, now);
            let known = catalog::read(store, id, &objects, now, keep).await?;
            Ok::<_, Error>((id, objects, known))
        })
        .buffered(catalog::READ_AT_ONCE);
    let (mut folders, mut backups) = (Folders::new(), BTreeMap::<_, Candidate>::new());
    while let Some((id, objects, known)) = reads.try_next().await? {
        folders.insert(id, objects);
        backups.extend(known.map(|known| (id, known)));
    }
    // Two Qdrants in one store never displace each other's backups.
    let sources: Vec<_> = backups.values().map(|known| known.source.clone()).collect();
    for (known, label) in backups.values_mut().zip(catalog::labels(&sources)) {
        if !label.is_empty() {
            known.entry.series += &format!(" {label}");
        }
    }
    Ok((folders, backups))
}

/// Names the selection, whatever the order of its lists. What a key for certain collections saw is one of its own: such a backup
/// takes the place of no other.
fn series(manifest: Option<&Outline>) -> String {
    let Some(manifest) = manifest else {
        return String::new();
    };
    if manifest.qdrant.scoped_key {
        let names: Vec<_> = manifest.collections.iter().map(|c| c.name.as_str()).collect();
        return format!("{} of the key for {}", selected(manifest), names.join(", "));
    }
    selected(manifest)
}

fn selected(manifest: &Outline) -> String {
    if manifest.selection == Selection::default() {
        return "everything".to_owned();
    }
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list.dedup();
        list
    };
    let selection = Selection {
        collections: sorted(&manifest.selection.collections),
        include: sorted(&manifest.selection.include),
        exclude: sorted(&manifest.selection.exclude),
    };
    // A map of lists of strings can always be written; the other text is as good a name.
    serde_json::to_string(&selection).unwrap_or_else(|_| format!("{selection:?}"))
}
