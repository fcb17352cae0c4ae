//! `verify`: reads backups back. It needs the store alone, no Qdrant.

use super::causes::{by_cause, listed};
use super::failure::{With, conclude_json};
use super::named;
use super::text::{plain, size};
use super::{Bars, VerifyArgs, print};
use crate::base::error::{Code, Error, ErrorInfo, Result};
use crate::base::zone::Zone;
use crate::ops::events::Operation;
use crate::ops::progress::Progress;
use crate::ops::verify::{Verifier, VerifyReport, VerifyVerdict};
use crate::repository::catalog;
use crate::repository::manifest::{Source, Status};
use crate::repository::names::BackupId;
use serde::Serialize;
use std::fmt::Write;
use tokio_util::sync::CancellationToken;

/// What became of one of several backups.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Checked {
        #[serde(flatten)]
        report: Box<VerifyReport>,
        #[cfg(feature = "engine")]
        #[serde(skip_serializing_if = "Option::is_none")]
        drilled: Option<Box<crate::ops::drill::DrillReport>>,
    },
    /// Nothing could be said of it, or its manifest is damaged.
    Not { id: BackupId, error: ErrorInfo },
}

/// What became of all.
#[derive(Serialize)]
struct All<'a> {
    backups: &'a [Outcome],
}

/// How the backups are named.
pub(crate) struct VerifyQuery<'a> {
    /// Whose `latest` is meant.
    pub(crate) source: Option<Source>,
    /// The zone of the dates.
    pub(crate) zone: &'a Zone,
}

/// Verifies the backups that `what` names, and prints what was found. An error when any of them is not intact; damage goes
/// before what could not be checked.
pub(crate) async fn verify(
    verifier: &Verifier,
    args: &VerifyArgs,
    ask: &VerifyQuery<'_>,
    bars: &Bars,
    stop: &CancellationToken,
) -> Result<()> {
    let (what, json) = (args.what.as_str(), args.json);
    let work = async {
        let ids = match what {
            "all" => catalog::all(&*verifier.store).await?,
            id => vec![
                named(
                    &*verifier.store,
                    id,
                    ask.source.as_ref(),
                    verifier.clock.now(),
                    ask.zone,
                )
                .await?,
            ],
        };
        let mut worst: Option<Error> = None;
        let mut outcomes = Vec::new();
        let mut printed = Ok(());
        for id in ids {
            let progress = Progress::new(verifier.clock.now());
            let work = check(verifier, &id, args, &progress);
            let (outcome, error) = match bars.during(Operation::Verify, &progress, work).await {
                Ok(checked) => checked,
                // Deleted since it was listed: none of the backups that there are.
                Err(error) if what == "all" && error.code() == Code::BackupNotFound => continue,
                // Its error says all there is to say.
                Err(error) if what != "all" => return Err(catalog::suggesting(&*verifier.store, what, error).await),
                Err(error) => (
                    Outcome::Not {
                        id,
                        error: (&error).into(),
                    },
                    Some(error),
                ),
            };
            if !json {
                printed = printed.and(print(&rendered(&outcome)));
            }
            outcomes.push(outcome);
            if let Some(error) = error
                && worst.as_ref().is_none_or(|worst| worst.code() != Code::BackupDamaged)
            {
                worst = Some(error);
            }
        }
        match (json, what, outcomes.as_slice()) {
            (true, "all", _) => {
                let all = All { backups: &outcomes };
                conclude_json(&all, With { report: &all }, worst)
            }
            (true, _, [one]) => conclude_json(one, With { report: one }, worst),
            _ => worst.map_or(printed, Err),
        }
    };
    let stopped = || {
        Err(Error::new(Code::Cancelled, "stopped while verifying")
            .remedy("the verification in progress was not recorded"))
    };
    stop.run_until_cancelled(work).await.unwrap_or_else(stopped)
}

/// Verifies one backup, and lets the engine open it when it is intact and this was asked for.
#[cfg_attr(
    not(feature = "engine"),
    expect(unused_variables, reason = "only the engine has arguments")
)]
async fn check(
    verifier: &Verifier,
    id: &BackupId,
    args: &VerifyArgs,
    progress: &Progress,
) -> Result<(Outcome, Option<Error>)> {
    let report = Box::new(verifier.run_watched(id, progress).await?);
    // Whoever may only read has learnt what there is to learn; the report has the warning.
    let error = report.error().filter(|_| !report.is_intact_and_read_only());
    #[cfg(feature = "engine")]
    if let (VerifyVerdict::Intact, true, Some(scratch)) = (report.verdict, args.engine, &args.scratch) {
        let drilled = verifier.drill(id, scratch).await?;
        let error = drilled.error().or(error);
        return Ok((
            Outcome::Checked {
                report,
                drilled: Some(Box::new(drilled)),
            },
            error,
        ));
    }
    let outcome = Outcome::Checked {
        report,
        #[cfg(feature = "engine")]
        drilled: None,
    };
    Ok((outcome, error))
}

fn rendered(outcome: &Outcome) -> String {
    let report = match outcome {
        Outcome::Checked { report, .. } => report,
        Outcome::Not { id, error } => {
            // The message names the backup and says which of the two it is.
            return format!("Backup {id}: {}\n", plain(&error.message));
        }
    };
    let mut text = String::new();
    for finding in &report.findings {
        let _ = writeln!(text, "DAMAGED      manifest: {}", plain(&finding.message));
    }
    for object in &report.objects {
        let name = plain(&object.collection);
        for finding in &object.findings {
            let _ = writeln!(text, "DAMAGED      {name}: {}", plain(&finding.message));
        }
        for warning in &object.warnings {
            let _ = writeln!(text, "warning      {name}: {}", plain(warning));
        }
    }
    let not_checked: Vec<_> = report
        .objects
        .iter()
        .filter_map(|object| Some((object, object.not_checked.as_ref()?)))
        .collect();
    for same in by_cause(&not_checked, |(_, why)| (why.code, why.remedy.clone())) {
        let ((object, why), others) = (same[0], &same[1..]);
        let _ = writeln!(
            text,
            "NOT CHECKED  {}: {}",
            plain(&object.collection),
            plain(&why.message)
        );
        if !others.is_empty() {
            let names = listed(others.iter().map(|(object, _)| plain(&object.collection)));
            let _ = writeln!(text, "             and {} more, likewise: {names}", others.len());
        }
    }
    let verdict = match report.verdict {
        VerifyVerdict::Intact => "is intact",
        VerifyVerdict::Damaged => "IS DAMAGED",
        VerifyVerdict::NotChecked => "COULD NOT BE CHECKED",
    };
    let partial = match report.status {
        Status::Complete => "",
        Status::Partial => "; it is partial: the missing collections cannot be checked",
    };
    let took = (report.finished_at - report.at).whole_seconds();
    let _ = write!(
        text,
        "Backup {} {verdict}: {} objects, {} read in {took} s{partial}",
        report.id,
        report.objects.len(),
        size(report.bytes)
    );
    let _ = match report.not_restorable.as_slice() {
        [] => writeln!(text),
        names => writeln!(text, "; NOT RESTORABLE by this version: {}", plain(&names.join(", "))),
    };
    if let Some(why) = &report.not_recorded {
        let _ = writeln!(text, "warning      not recorded: {}", plain(&why.message));
    }
    #[cfg(feature = "engine")]
    if let Outcome::Checked {
        drilled: Some(drilled), ..
    } = outcome
    {
        for collection in &drilled.collections {
            let name = plain(&collection.name);
            let _ = match &collection.problem {
                Some(problem) => writeln!(text, "FAILED       {name}: {}", plain(problem)),
                None => writeln!(
                    text,
                    "passed       {name}: {} points, {} read, {} searches",
                    collection.points.unwrap_or_default(),
                    collection.sampled.unwrap_or_default(),
                    collection.searches.unwrap_or_default()
                ),
            };
        }
        for warning in &drilled.warnings {
            let _ = writeln!(text, "warning      {}", plain(warning));
        }
        if let Some(why) = &drilled.not_recorded {
            let _ = writeln!(text, "warning      not recorded: {}", plain(&why.message));
        }
        let verdict = if drilled.verdict == crate::ops::drill::DrillVerdict::Passed {
            "passed"
        } else {
            "FAILED"
        };
        let _ = writeln!(
            text,
            "The drill of backup {} {verdict}, on {} {}",
            drilled.id, drilled.target, drilled.target_version
        );
    }
    text
}
