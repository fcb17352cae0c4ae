//! `delete`: shows what deleting one backup would delete, or deletes it. It needs the store alone, no Qdrant.

use super::text::{ago, plain, size};
use super::wait::{WaitArgs, waiting};
use super::{print, print_json};
use crate::base::error::{Code, Error, Result};
use crate::base::shell::option;
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
    /// Delete; without it nothing is deleted
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    wait: WaitArgs,
    /// Print plan and report as JSON
    #[arg(long)]
    json: bool,
    /// The settings that were given as flags.
    #[arg(skip)]
    pub(super) settings: BTreeMap<&'static str, String>,
}

/// Prints what would go, and deletes it if told to. `job` is about that backup only. An error when it stays although it was to go.
pub(crate) async fn delete(job: &PruneContext, args: &DeleteArgs, stop: &CancellationToken) -> Result<()> {
    #[derive(Serialize)]
    struct Outcome<'a> {
        dry_run: bool,
        backup: &'a Item,
        report: Option<&'a PruneReport>,
    }
    let planned = stop.run_until_cancelled(prune::plan(job)).await;
    let plan = planned.unwrap_or_else(|| Err(Error::new(Code::Cancelled, "stopped before anything was deleted")))?;
    let Some(item) = plan.items.first() else {
        return print("Nothing to delete: other backups need all of its objects.\n");
    };
    if item.keep {
        return Err(refused(item, &args.settings));
    }
    let shown = match args.json {
        true => Ok(()),
        false => print(&rendered(item, job)),
    };
    let mut report = match args.yes {
        true => Some(waiting(args.wait, stop, || prune::execute(job, &plan, stop)).await?),
        false => None,
    };
    let printed = match (args.json, &report) {
        (true, report) => print_json(&Outcome {
            dry_run: !args.yes,
            backup: item,
            report: report.as_ref(),
        }),
        (false, None) => print(&format!(
            "Nothing was deleted. To delete it: qdrant-backup delete {} --yes{}\n",
            item.id,
            flags(&args.settings)
        )),
        (false, Some(report)) => print(&deleted(report)),
    };
    let failed = report.as_mut().and_then(|report| {
        let skipped = report.skipped.first().map(|skipped| {
            let text = format!("backup {} was not deleted: {}", skipped.id, skipped.why);
            Error::new(Code::DeleteRefused, text).remedy("run the command again to see why it stays")
        });
        report.take_error().or(skipped)
    });
    failed.map_or(shown.and(printed), Err)
}

fn flags(settings: &BTreeMap<&'static str, String>) -> String {
    let flags = settings.iter().map(|(name, value)| format!(" {}", option(name, value)));
    flags.collect()
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
        format!("unpin it first: qdrant-backup unpin {}{}", item.id, store(settings))
    } else if has(Reason::NewestGood) || has(Reason::NothingBetter) {
        format!("make a newer good backup of {} first", plain(&item.series))
    } else if has(Reason::NotUnderstood) {
        "delete it with the version of qdrant-backup that made it, or a newer one".to_owned()
    } else {
        "wait: a run may still be writing it; `qdrant-backup list --all` shows until when".to_owned()
    };
    Error::new(Code::DeleteRefused, text).permanent(true).remedy(remedy)
}

/// `unpin` has no other flags of these.
fn store(settings: &BTreeMap<&'static str, String>) -> String {
    let store = settings
        .get("--store")
        .map(|store| format!(" {}", option("--store", store)));
    store.unwrap_or_default()
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
