//! The plan that deletes one backup, which somebody has named: no rule of the policy keeps it, but what no deletion may take does.

use super::{Item, Leftover, PruneContext, PrunePlan, PruneReport, executions, known};
use crate::base::error::{Code, Error, Result};
use crate::base::text::plain;
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
                .remedy("run `qdrant-backup list` to see the backups")
                .over_http("send GET /v1/backups to see the backups"),
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

impl Item {
    /// Why that one backup stays, although somebody has asked for its end. `store`: the option that names it on a command line.
    pub(crate) fn refused(&self, store: &str) -> Error {
        let (id, series) = (self.id, plain(&self.series));
        let reasons: Vec<_> = self.reasons.iter().map(Reason::to_string).collect();
        let what = match self.is_backup {
            true => "backup",
            false => "what is left of backup",
        };
        let text = format!(
            "{what} {id} is not deleted: {}; nothing was changed",
            reasons.join(", ")
        );
        let error = Error::new(Code::DeleteRefused, text).permanent(true);
        let has = |reason| self.reasons.contains(&reason);
        if has(Reason::Pinned) {
            error
                .remedy(format!("unpin it first: qdrant-backup unpin {id}{store}"))
                .over_http(format!("unpin it first: DELETE /v1/backups/{id}/pin"))
        } else if has(Reason::NewestGood) || has(Reason::NothingBetter) {
            error.remedy(format!("make a newer good backup of {series} first"))
        } else if has(Reason::NotUnderstood) {
            error.remedy("delete it with the version of qdrant-backup that made it, or a newer one")
        } else {
            error
                .remedy("wait: a run may still be writing it; `qdrant-backup list --all` shows until when")
                .over_http("wait: a run may still be writing it; GET /v1/backups?all=true shows until when")
        }
    }
}

impl PruneReport {
    /// The error where the one backup that was to go stays, because something changed since the plan.
    pub(crate) fn not_deleted(&self) -> Option<Error> {
        self.skipped.first().map(|skipped| {
            let text = format!("backup {} was not deleted: {}", skipped.id, skipped.why);
            Error::new(Code::DeleteRefused, text)
                .remedy("run the command again to see why it stays")
                .over_http("send the request again to see why it stays")
        })
    }
}
