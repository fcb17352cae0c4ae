//! `delete`: shows what deleting one backup would delete, or deletes it. It needs the store alone, no Qdrant.

use super::failure::conclude_json;
use super::print;
use super::prune::{PruneArgs, planned};
use super::text::{ago, plain, size};
use super::wait::waiting;
use crate::base::error::Result;
use crate::base::shell::{option_of, options};
use crate::ops::prune::{self, Item, PruneContext, PruneReport};
use clap::Args;
use serde::Serialize;
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
        // `unpin` has no other flags of these.
        let error = item.refused(&option_of(settings, "--store"));
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
        let skipped = report.not_deleted();
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
