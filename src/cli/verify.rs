//! `verify`: reads backups back. It needs the store alone, no Qdrant.

use super::text::{plain, size};
use super::{print, print_json, signals};
use crate::app;
use crate::config::{Env, StoreConfig};
use crate::error::{Code, Error, Result};
use crate::manifest::Status;
use crate::verify::{self, NotChecked, Report, Verdict};
use serde::Serialize;
use std::fmt::Write;

/// What became of one of several backups.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Checked(Report),
    /// Nothing could be said of it, or its manifest is damaged.
    Not { id: crate::names::BackupId, error: NotChecked },
}

/// Verifies the backups that `what` names, and prints what was found. An error when any of them is not intact; damage goes
/// before what could not be checked.
pub(super) async fn verify(env: Env<'_>, what: &str, json: bool) -> Result<()> {
    let config = StoreConfig::from_env(env)?;
    let stop = signals::stop()?;
    let work = async {
        let verifier = app::verifier(app::store(&config).await?, app::who(env));
        let ids = verify::select(&*verifier.store, what).await?;
        let mut worst: Option<Error> = None;
        let mut outcomes = Vec::new();
        for id in ids {
            let (outcome, error) = match verifier.run(&id).await {
                Ok(report) => {
                    let error = report.error();
                    (Outcome::Checked(report), error)
                }
                // Deleted since it was listed: none of the backups that there are.
                Err(error) if what == "all" && error.code() == Code::BackupNotFound => continue,
                // Its error says all there is to say.
                Err(error) if what != "all" => return Err(error),
                Err(error) => (Outcome::Not { id, error: NotChecked::of(&error) }, Some(error)),
            };
            if !json {
                print(&told(&outcome))?;
            }
            outcomes.push(outcome);
            if let Some(error) = error
                && worst.as_ref().is_none_or(|worst| worst.code() != Code::BackupDamaged)
            {
                worst = Some(error);
            }
        }
        if json {
            match (what, outcomes.as_slice()) {
                ("all", _) => print_json(&serde_json::json!({ "backups": outcomes }))?,
                (_, [one]) => print_json(one)?,
                _ => {}
            }
        }
        worst.map_or(Ok(()), Err)
    };
    let stopped = || Err(Error::new(Code::Cancelled, "stopped while verifying").remedy("nothing was recorded of what was under way"));
    stop.run_until_cancelled(work).await.unwrap_or_else(stopped)
}

fn told(outcome: &Outcome) -> String {
    let report = match outcome {
        Outcome::Checked(report) => report,
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
        if let Some(why) = &object.not_checked {
            let _ = writeln!(text, "NOT CHECKED  {name}: {}", plain(&why.message));
        }
    }
    let verdict = match report.verdict {
        Verdict::Intact => "is intact",
        Verdict::Damaged => "IS DAMAGED",
        Verdict::NotChecked => "COULD NOT BE CHECKED",
    };
    let partial = match report.status {
        Status::Complete => "",
        Status::Partial => "; it is partial, and what is missing in it cannot be checked",
    };
    let took = (report.finished_at - report.checked_at).whole_seconds();
    let _ = writeln!(
        text,
        "Backup {} {verdict}: {} objects, {} read in {took} s{partial}",
        report.id,
        report.objects.len(),
        size(report.bytes)
    );
    text
}
