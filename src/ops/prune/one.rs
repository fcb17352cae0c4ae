//! The plan that deletes one backup, which somebody has named: no rule of the policy keeps it, but what no deletion may take does.

use super::{Item, Leftover, PruneContext, PrunePlan, executions, known};
use crate::base::error::{Code, Error, Result};
use crate::ops::retention::{self, Entry, Reason};
use crate::repository::catalog::{self, Mark};
use crate::repository::names::BackupId;
use std::collections::BTreeSet;

/// Plans; reads the store and changes nothing.
///
/// # Errors
/// [`Code::BackupNotFound`] when there is nothing of it.
pub(super) async fn plan(job: &PruneContext, id: BackupId) -> Result<PrunePlan> {
    let store = &*job.ctx.store;
    let made_at = job.ctx.clock.now();
    let (folders, _) = catalog::folders(store).await?;
    let (_, planned) = executions(store, &job.policy, made_at, &mut Vec::new()).await?;
    let (mut folders, mut known) = known(store, folders, made_at).await?;
    let Some(objects) = folders.remove(&id) else {
        return Err(
            Error::new(Code::BackupNotFound, format!("{} has no backup {id}", store.url()))
                .remedy("run `qdrant-backup list` to see the backups"),
        );
    };
    let reasons = match known.contains_key(&id) {
        true => {
            let entries: Vec<Entry> = known.values().map(|known| known.entry.clone()).collect();
            let mut reasons = retention::keeps_always(&entries, id, made_at);
            // A newer version may know it for a good one.
            if known.get(&id).is_some_and(|own| own.marks.contains(&Mark::Unreadable)) {
                reasons.push(Reason::NotUnderstood);
            }
            reasons
        }
        false => {
            let mut leftover = Leftover::new(id);
            objects.iter().for_each(|object| leftover.add(object));
            leftover.reasons(&job.policy, made_at, &planned)
        }
    };
    let own = known.remove(&id);
    let needed: BTreeSet<String> = known.into_values().flat_map(|other| other.elsewhere).collect();
    Ok(PrunePlan {
        made_at,
        policy: job.policy.clone(),
        items: vec![Item::new(id, own, reasons, objects, &needed)],
        jobs: Vec::new(),
        foreign: Vec::new(),
    })
}
