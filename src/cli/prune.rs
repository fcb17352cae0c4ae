//! `prune`: shows what the retention policy would delete, or deletes it. It needs the store alone, no Qdrant.

use super::failure::{WithPlan, conclude_json};
use super::print;
use super::text::{Align, ago, plain, size, table};
use super::wait::{WaitArgs, waiting};
use crate::base::error::{Code, Error, Result};
use crate::base::shell::options;
use crate::base::total::total;
use crate::ops::prune::{self, Item, PruneContext, PrunePlan, PruneReport};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

#[derive(Args, Debug)]
pub(crate) struct PruneArgs {
    /// Delete; without it nothing is deleted
    #[arg(long)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) wait: WaitArgs,
    /// Print plan and report as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// The settings that were given as flags.
    #[arg(skip)]
    pub(super) settings: BTreeMap<&'static str, String>,
}

/// Prints the plan, and executes it if told to. An error when not all of it could be executed.
pub(crate) async fn prune(job: &PruneContext, args: &PruneArgs, stop: &CancellationToken) -> Result<()> {
    let PruneArgs {
        yes,
        wait,
        json,
        settings,
    } = args;
    #[derive(Serialize)]
    struct Outcome<'a> {
        dry_run: bool,
        plan: &'a PrunePlan,
        report: Option<&'a PruneReport>,
    }
    let plan = planned(job, stop).await?;
    let shown = match *json {
        true => Ok(()),
        false => print(&rendered(&plan, job.ctx.clock.now())),
    };
    let mut report = match *yes {
        true => Some(waiting(*wait, stop, || prune::execute(job, &plan, stop)).await?),
        false => None,
    };
    let error = report.as_mut().and_then(PruneReport::take_error);
    let report = report.as_ref();
    let plan = &plan;
    match *json {
        true => {
            let outcome = Outcome {
                dry_run: !*yes,
                plan,
                report,
            };
            conclude_json(&outcome, WithPlan { plan, report }, error)
        }
        false => {
            let printed = print(&outcome(plan, report, settings));
            error.map_or(shown.and(printed), Err)
        }
    }
}

/// The plan, unless it is stopped before.
pub(super) async fn planned(job: &PruneContext, stop: &CancellationToken) -> Result<PrunePlan> {
    let planned = stop.run_until_cancelled(prune::plan(job)).await;
    planned.unwrap_or_else(|| Err(Error::new(Code::Cancelled, "stopped before anything was deleted")))
}

fn rendered(plan: &PrunePlan, now: OffsetDateTime) -> String {
    let row = |item: &Item| {
        let reasons: Vec<_> = item.reasons.iter().map(ToString::to_string).collect();
        let marks: Vec<_> = item.marks.iter().map(ToString::to_string).collect();
        [
            item.id.to_string(),
            if item.is_backup {
                marks.join(" ")
            } else {
                "no backup".to_owned()
            },
            item.series.clone(),
            ago(std::time::Duration::try_from(now - item.id.time()).unwrap_or_default()),
            size(item.bytes),
            if item.keep { "keep" } else { "DELETE" }.to_owned(),
            reasons.join(", "),
        ]
    };
    let columns = [
        ("ID", Align::Left),
        ("STATUS", Align::Left),
        ("OF", Align::Left),
        ("BEGUN", Align::Right),
        ("SIZE", Align::Right),
        ("", Align::Left),
        ("BECAUSE", Align::Left),
    ];
    let mut text = match plan.items.is_empty() {
        true => "There is no backup.\n".to_owned(),
        false => table(columns, &plan.items.iter().map(row).collect::<Vec<_>>()),
    };
    if !plan.jobs.is_empty() {
        let objects: usize = plan.jobs.iter().map(|records| records.objects).sum();
        let _ = writeln!(
            text,
            "DELETE as well: records of {} old job executions ({objects} small objects)",
            plan.jobs.len()
        );
    }
    for key in plan.foreign.iter().take(20) {
        let _ = writeln!(text, "foreign object, not deleted: {}", plain(key));
    }
    if plan.foreign.len() > 20 {
        let _ = writeln!(text, "foreign object, not deleted: {} more", plan.foreign.len() - 20);
    }
    text
}

fn outcome(plan: &PrunePlan, report: Option<&PruneReport>, settings: &BTreeMap<&'static str, String>) -> String {
    let count = plan.deletions().count();
    let bytes = total(plan.deletions().map(|item| item.bytes));
    match report {
        None if plan.is_empty() => "Nothing to delete.\n".to_owned(),
        None => format!(
            "Nothing was deleted. `qdrant-backup prune --yes{}` deletes {count} ({}).\n",
            options(settings),
            size(bytes)
        ),
        Some(report) => {
            let mut text = String::new();
            for skipped in &report.skipped {
                let _ = writeln!(text, "{} was left alone: {}", skipped.id, skipped.why);
            }
            for warning in &report.warnings {
                let _ = writeln!(text, "warning  {}", plain(warning));
            }
            let _ = writeln!(
                text,
                "Deleted {} of {count} ({}).",
                report.deleted.len(),
                size(report.bytes())
            );
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::retention::{Policy, Reason};
    use crate::repository::catalog::Mark;
    use time::macros::datetime;

    #[test]
    fn the_plan_tells_what_goes_and_why_the_rest_stays() {
        let now = datetime!(2026-11-22 12:00 UTC);
        let item = |id: &str, is_backup, reasons: &[Reason], marks: &[Mark]| Item {
            id: id.parse().unwrap(),
            is_backup,
            keep: !reasons.is_empty(),
            reasons: reasons.to_vec(),
            marks: marks.to_vec(),
            series: if is_backup { "everything".into() } else { String::new() },
            objects: 2,
            bytes: 3 << 20,
            content: Vec::new(),
        };
        let plan = PrunePlan {
            made_at: now,
            policy: Policy {
                last: 1,
                ..Policy::default()
            },
            items: vec![
                item(
                    "2026-11-20T12-00-00Z",
                    true,
                    &[Reason::NewestGood, Reason::Last],
                    &[Mark::Good, Mark::Verified],
                ),
                item("2026-11-19T12-00-00Z", true, &[], &[Mark::Partial]),
                item("2026-11-18T12-00-00Z", false, &[], &[]),
            ],
            jobs: vec![prune::Records {
                execution: "nightly-x7k2p".parse().unwrap(),
                objects: 21,
                content: Vec::new(),
            }],
            foreign: vec!["backups/a\u{1b}".into()],
        };
        assert_eq!(
            rendered(&plan, now) + &outcome(&plan, None, &BTreeMap::from([("--store", "file:///a b".to_owned())])),
            "ID                    STATUS         OF            BEGUN      SIZE          BECAUSE\n\
             2026-11-20T12-00-00Z  good verified  everything  2 d ago  3.00 MiB  keep    newest good, last\n\
             2026-11-19T12-00-00Z  PARTIAL        everything  3 d ago  3.00 MiB  DELETE\n\
             2026-11-18T12-00-00Z  no backup                  4 d ago  3.00 MiB  DELETE\n\
             DELETE as well: records of 1 old job executions (21 small objects)\n\
             foreign object, not deleted: backups/a\\u{1b}\n\
             Nothing was deleted. `qdrant-backup prune --yes --store 'file:///a b'` deletes 2 (6.00 MiB).\n"
        );
    }
}
