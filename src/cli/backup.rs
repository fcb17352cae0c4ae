//! `backup`: one run in the foreground.

use super::causes::{by_cause, listed};
use super::failure::conclude;
use super::text::{Align, plain, points, size, table};
use super::wait::waiting;
use super::{BackupArgs, Bars, drill, print, print_json};
use crate::base::error::Result;
use crate::base::total::total;
use crate::ops::backup::{self, BackupOutcome, BackupReport, HeldBack, NodeState};
use crate::ops::context::Context;
use crate::ops::drill::DrillTarget;
use crate::ops::events::Operation;
use crate::ops::progress::Progress;
use crate::ops::prune::{self, PruneContext};
use crate::ops::retention::Policy;
use crate::ops::run;
use crate::repository::manifest::Failure;
use crate::repository::selection::Selection;
use crate::repository::unit::Unit;
use serde::Serialize;
use std::fmt::Write;
use tokio_util::sync::CancellationToken;

/// Makes a backup, shows how far it is, and prints what it came to. An error when not everything was saved. Without a
/// selection among the arguments, `default` holds. `prune_after`: the policy by which old ones go after it.
/// `drill`: where a complete backup is then drilled.
pub(crate) async fn backup(
    args: BackupArgs,
    ctx: &Context,
    default: Selection,
    prune_after: Option<Policy>,
    drill: Option<&DrillTarget>,
    bars: &Bars,
    stop: &CancellationToken,
) -> Result<()> {
    let json = args.json;
    let (dry_run, wait) = (args.dry_run, args.wait);
    let selection = args.selection().unwrap_or(default);
    if dry_run {
        return show_plan(ctx, &selection, json, stop).await;
    }
    let progress = Progress::new(ctx.clock.now());
    let work = waiting(wait, stop, || backup::run(ctx, &selection, &progress, stop));
    let result = bars.during(Operation::Backup, &progress, work).await;
    let mut report = result?;
    if let Some(policy) = prune_after {
        prune::after_backup(
            &PruneContext {
                ctx: ctx.on_store(),
                policy,
                only: None,
            },
            &mut report,
            stop,
        )
        .await;
    }
    let is_good = report.error().is_none();
    let printed = conclude(json, &report, report.error(), rendered);
    match drill {
        Some(place) if is_good => drill::after_backup(&report.id, place, bars, stop, json)
            .await
            .and(printed),
        _ => printed,
    }
}

/// Shows what a backup would save and from which nodes, and changes nothing.
async fn show_plan(ctx: &Context, selection: &Selection, json: bool, stop: &CancellationToken) -> Result<()> {
    #[derive(Serialize)]
    struct Plan<'a> {
        qdrant: &'a str,
        nodes: &'a [NodeState],
        units: &'a [Unit],
        warnings: &'a [String],
    }
    let plan = run::unless_cancelled(stop, backup::plan(&ctx.qdrant, selection, ctx.settings.mode)).await?;
    match json {
        true => print_json(&Plan {
            qdrant: &plan.qdrant.version,
            nodes: &plan.map,
            units: &plan.units,
            warnings: &plan.warnings,
        }),
        false => print(&plan.to_string()),
    }
}

impl BackupArgs {
    /// What the arguments select; `None` when they select nothing in particular.
    pub(super) fn selection(self) -> Option<Selection> {
        let selection = Selection {
            collections: self.collections,
            include: self.include,
            exclude: self.exclude,
        };
        (selection != Selection::default()).then_some(selection)
    }
}

/// The report for people.
pub(super) fn rendered(report: &BackupReport) -> String {
    let rows: Vec<_> = report
        .collections
        .iter()
        .map(|c| [c.name.clone(), points(c.points, c.points_estimated), size(c.bytes)])
        .collect();
    let columns = [
        ("COLLECTION", Align::Left),
        ("POINTS", Align::Right),
        ("SIZE", Align::Right),
    ];
    let mut text = match rows.is_empty() {
        true => String::new(),
        false => table(columns, &rows) + "\n",
    };
    text += &failures(&report.failed);
    for warning in &report.warnings {
        let _ = writeln!(text, "warning  {}", plain(warning));
    }
    text += &held_back(report.held_back.as_ref());
    let outcome = match report.status {
        BackupOutcome::Complete if !report.unproven.is_empty() => "is UNPROVEN",
        BackupOutcome::Complete => "is complete",
        BackupOutcome::Partial => "is PARTIAL",
        BackupOutcome::Failed => "FAILED: nothing was saved",
    };
    let bytes = total(report.collections.iter().map(|c| c.bytes));
    let took = (report.finished_at - report.started_at).as_seconds_f64();
    let _ = write!(text, "Backup {} {outcome}: {} in {took:.1} s", report.id, size(bytes));
    if !report.unproven.is_empty() {
        let names = listed(report.unproven.iter().map(|name| plain(name).to_string()));
        let _ = write!(
            text,
            "\nQdrant optimized while these were saved, so the backup counts as good only after a drill: {names}\n\
             prove it: qdrant-backup drill {}",
            report.id
        );
    }
    if let Some(manifest) = &report.manifest {
        let _ = write!(text, "\n{manifest}");
    }
    text.push('\n');
    text
}

/// One line, if the run waited.
pub(super) fn held_back(held: Option<&HeldBack>) -> String {
    let line = |held: &HeldBack| {
        let reasons = held.reasons.join("; ");
        format!("waited {} s while Qdrant was busy: {}\n", held.seconds, plain(&reasons))
    };
    held.map(line).unwrap_or_default()
}

/// One entry for each cause, which tells the names of all collections that it keeps from being saved.
fn failures(failed: &[Failure]) -> String {
    let mut text = String::new();
    for same in by_cause(failed, |f| (f.error.code.clone(), f.error.remedy.clone())) {
        let (first, others) = (same[0], &same[1..]);
        let (name, message) = (plain(&first.collection), plain(&first.error.message));
        let _ = writeln!(text, "FAILED  {name}: {message}");
        if !others.is_empty() {
            let names = listed(others.iter().map(|other| plain(&other.collection).to_string()));
            let _ = writeln!(text, "        and {} more, likewise: {names}", others.len());
        }
        if let Some(remedy) = &first.error.remedy {
            let _ = writeln!(text, "        {}", plain(remedy));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::ErrorInfo;
    use crate::ops::backup::Saved;
    use crate::repository::names::BackupId;
    use time::macros::datetime;

    #[test]
    fn one_cause_is_told_once() {
        let failure = |name: &str, code: &str, message: &str| Failure {
            collection: name.into(),
            error: ErrorInfo {
                code: code.into(),
                message: message.into(),
                remedy: Some("fix it".into()),
            },
        };
        let mut failed = vec![failure("x", "stalled", "no byte")];
        failed.extend((0..40).map(|n| failure(&format!("c{n}"), "qdrant_forbidden", &format!("c{n}: 403"))));
        assert_eq!(
            failures(&failed),
            "FAILED  x: no byte\n        fix it\n\
             FAILED  c0: c0: 403\n        and 39 more, likewise: c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, …\n        fix it\n"
        );
    }

    #[test]
    fn the_report_tells_what_is_missing_and_that_it_is_partial() {
        let start = datetime!(2026-11-22 12:00 UTC);
        let report = BackupReport {
            id: BackupId::at(start),
            status: BackupOutcome::Partial,
            started_at: start,
            finished_at: start + time::Duration::seconds(7),
            manifest: Some("gs://b/backups/2026-11-22T12-00-00Z/manifest.json".into()),
            collections: vec![Saved {
                name: "docs".into(),
                points: 1200,
                points_estimated: false,
                bytes: 3 << 20,
                streamed: 0,
            }],
            failed: vec![Failure {
                collection: "logs".into(),
                error: ErrorInfo {
                    code: "stalled".into(),
                    message: "no byte".into(),
                    remedy: Some("look at it".into()),
                },
            }],
            warnings: vec!["odd".into()],
            unproven: Vec::new(),
            held_back: Some(HeldBack {
                seconds: 95,
                reasons: vec!["one".into(), "another".into()],
            }),
        };
        assert_eq!(
            rendered(&report),
            "COLLECTION  POINTS      SIZE\n\
             docs         1,200  3.00 MiB\n\
             \n\
             FAILED  logs: no byte\n        look at it\n\
             warning  odd\n\
             waited 95 s while Qdrant was busy: one; another\n\
             Backup 2026-11-22T12-00-00Z is PARTIAL: 3.00 MiB in 7.0 s\n\
             gs://b/backups/2026-11-22T12-00-00Z/manifest.json\n"
        );
        let unproven = BackupReport {
            status: BackupOutcome::Complete,
            failed: Vec::new(),
            warnings: Vec::new(),
            unproven: vec!["docs".into()],
            held_back: None,
            ..report
        };
        let text = rendered(&unproven);
        assert!(text.contains("is UNPROVEN") && !text.contains("complete"), "{text}");
        assert!(text.contains("qdrant-backup drill 2026-11-22T12-00-00Z"), "{text}");
    }
}
