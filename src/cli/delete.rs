//! `delete`: shows what deleting one backup would delete, or deletes it. It needs the store alone, no Qdrant.

use super::failure::conclude_json;
use super::print;
use super::prune::{PruneArgs, planned};
use super::text::{ago, plain, size};
use super::wait::waiting;
use crate::base::error::{Code, Error, Result};
use crate::base::shell::{option_of, options};
use crate::ops::prune::{self, Item, PruneContext, PruneReport};
use crate::ops::retention::Reason;
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[derive(Args, Debug)]
pub(crate) struct DeleteArgs {
    /// The backup: its id, as `list` shows it, or the beginning of it; an age like 2h; yesterday
    pub(crate) id: String,
    #[command(flatten)]
    pub(super) how: PruneArgs,
}

/// Prints what would go, and deletes it if told to. `job` is about that backup only. An error when it stays although it was to go.
pub(crate) async fn delete(job: &PruneContext, args: &DeleteArgs, stop: &CancellationToken) -> Result<()> {
    let PruneArgs {
        yes,
        wait,
        json,
        settings,
    } = &args.how;
    let plan = planned(job, stop).await?;
    let dry_run = !*yes;
    let outcome = |report| Outcome {
        dry_run,
        backup: plan.items.first(),
        report,
    };
    let Some(item) = plan.items.first() else {
        return match *json {
            true => conclude_json(&outcome(None), outcome(None), None),
            false => print("Nothing to delete: other backups need all of its objects.\n"),
        };
    };
    if item.keep {
        let error = refused(item, settings);
        return match *json {
            true => conclude_json(&outcome(None), outcome(None), Some(error)),
            false => Err(error),
        };
    }
    let shown = match *json {
        true => Ok(()),
        false => print(&rendered(item, job)),
    };
    let mut report = match *yes {
        true => Some(waiting(*wait, stop, || prune::execute(job, &plan, stop)).await?),
        false => None,
    };
    let error = report.as_mut().and_then(|report| {
        let skipped = report.skipped.first().map(|skipped| {
            let text = format!("backup {} was not deleted: {}", skipped.id, skipped.why);
            Error::new(Code::DeleteRefused, text).remedy("run the command again to see why it stays")
        });
        report.take_error().or(skipped)
    });
    if *json {
        let outcome = outcome(report.as_ref());
        return conclude_json(&outcome, &outcome, error);
    }
    let printed = print(&match &report {
        None => format!(
            "Nothing was deleted. To delete it: qdrant-backup delete {} --yes{}\n",
            item.id,
            options(settings)
        ),
        Some(report) => deleted(report),
    });
    error.map_or(shown.and(printed), Err)
}

/// What is printed as JSON, beside the error if there is one.
#[derive(Serialize)]
struct Outcome<'a> {
    dry_run: bool,
    /// `None`: other backups need all of its objects.
    backup: Option<&'a Item>,
    report: Option<&'a PruneReport>,
}

fn refused(item: &Item, settings: &BTreeMap<&'static str, String>) -> Error {
    let reasons: Vec<_> = item.reasons.iter().map(Reason::to_string).collect();
    let what = if item.is_backup {
        "backup"
    } else {
        "what is left of backup"
    };
    let text = format!(
        "{what} {} is not deleted: {}; nothing was changed",
        item.id,
        reasons.join(", ")
    );
    let has = |reason| item.reasons.contains(&reason);
    let remedy = if has(Reason::Pinned) {
        // It has no other flags of these.
        let store = option_of(settings, "--store");
        format!("unpin it first: qdrant-backup unpin {}{store}", item.id)
    } else if has(Reason::NewestGood) || has(Reason::NothingBetter) {
        format!("make a newer good backup of {} first", plain(&item.series))
    } else if has(Reason::NotUnderstood) {
        "delete it with the version of qdrant-backup that made it, or a newer one".to_owned()
    } else {
        "wait: a run may still be writing it; `qdrant-backup list --all` shows until when".to_owned()
    };
    Error::new(Code::DeleteRefused, text).permanent(true).remedy(remedy)
}

fn rendered(item: &Item, job: &PruneContext) -> String {
    let age = Duration::try_from(job.ctx.clock.now() - item.id.time()).unwrap_or_default();
    let marks: Vec<_> = item.marks.iter().map(ToString::to_string).collect();
    let what = match item.is_backup {
        true => format!("Backup {} ({}, of {})", item.id, marks.join(" "), plain(&item.series)),
        false => format!("What is left of backup {}, which has no manifest", item.id),
    };
    format!(
        "{what}, begun {}: {} objects, {}\n",
        ago(age),
        item.objects,
        size(item.bytes)
    )
}

fn deleted(report: &PruneReport) -> String {
    let lines = report.deleted.iter();
    let lines = lines.map(|gone| {
        format!(
            "Deleted backup {}: {} objects, {}.\n",
            gone.id,
            gone.objects,
            size(gone.bytes)
        )
    });
    let warnings = report
        .warnings
        .iter()
        .map(|warning| format!("warning  {}\n", plain(warning)));
    warnings.chain(lines).collect()
}
