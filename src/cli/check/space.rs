//! Whether there is room for one more backup, as far as that can be known.

use super::super::text::size;
use super::{CheckTarget, Checks, ask_store};
use crate::base::error::{Code, Error};
use crate::base::total::total;
use crate::repository::catalog::{self, Summary};
use crate::repository::unit::SnapshotMode;
use crate::wire::store::Store;

/// The newest good backup of the same selection is looked for among so many.
const LOOKED_AT: usize = 20;

pub(super) async fn check(checks: &mut Checks, store: &dyn Store, subject: &CheckTarget<'_>) {
    let url = store.url();
    let known = ask_store(&url, subject.patience, async {
        Ok((
            store.free_bytes().await?,
            catalog::list(store, LOOKED_AT, subject.clock.now()).await?,
        ))
    });
    let (free, backups) = match known.await {
        Ok(known) => known,
        Err(error) => return checks.warn("space", &error),
    };
    let last = backups
        .iter()
        .find(|b| b.is_good() && b.selection.as_ref() == Some(&subject.selection));
    let on_qdrant = on_qdrant(last, subject);
    let text = match (free, last) {
        (Some(free), Some(last)) if free < last.bytes => {
            let error = Error::new(
                Code::StoreFull,
                format!(
                    "{url} has {} left, and backup {} took {}",
                    size(free),
                    last.id,
                    size(last.bytes)
                ),
            );
            return checks.fail(
                "space",
                &error.remedy(
                    "make room: `qdrant-backup prune` shows what the RETAIN_… rules would delete, `qdrant-backup prune --yes` deletes it",
                ),
            );
        }
        (Some(free), Some(last)) => format!(
            "{url} has {} left; backup {} took {}",
            size(free),
            last.id,
            size(last.bytes)
        ),
        (Some(free), None) if !backups.is_empty() => format!(
            "{url} has {} left; the size of a backup is unknown: no good backup of this selection among the newest {LOOKED_AT}",
            size(free)
        ),
        (Some(free), None) => format!(
            "{url} has {} left; the size of a backup is unknown: there is none yet",
            size(free)
        ),
        (None, _) => format!("{url} tells no limit"),
    };
    checks.ok("space", format!("{text}. {on_qdrant}"));
}

/// Qdrant's API has the size of its disk, but not what is free.
fn on_qdrant(last: Option<&Summary>, subject: &CheckTarget<'_>) -> String {
    if subject.mode == SnapshotMode::Stream {
        return "A backup writes no snapshot to Qdrant's disk (SNAPSHOT_MODE=stream)".to_owned();
    }
    let unknown = "Qdrant's API does not report the free space of its disk";
    if subject.mode == SnapshotMode::Auto {
        return format!("{unknown}; a snapshot for which there is none is streamed (SNAPSHOT_MODE=auto)");
    }
    match last {
        Some(last) => {
            let most = total(last.largest.iter().take(subject.concurrency).copied());
            format!("{unknown}; a backup needs up to {} there for a while", size(most))
        }
        None => unknown.to_owned(),
    }
}
