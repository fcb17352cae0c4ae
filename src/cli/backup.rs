//! `backup`: one run in the foreground.

use super::text::{Align, count, plain, size, table};
use super::{BackupArgs, Bars, drill, print, print_json, signals};
use crate::app;
use crate::backup::{self, Outcome, Report};
use crate::config::{Config, Env};
use crate::error::{Code, Error, Result};
use crate::manifest::Selection;
use crate::progress::Progress;
use std::fmt::Write;

/// Makes a backup, shows how far it is, and prints what it came to. An error when not everything was saved.
pub(super) async fn backup(args: BackupArgs, env: Env<'_>, bars: &Bars) -> Result<()> {
    let config = Config::from_env(env)?;
    let stop = signals::stop()?;
    let ctx = match stop.run_until_cancelled(app::context(&config, app::who(env))).await {
        Some(ctx) => ctx?,
        None => return Err(Error::new(Code::Cancelled, "stopped before the backup began")),
    };
    let (json, drill) = (args.json, args.drill.then_some(args.same_qdrant));
    if let Some(same_qdrant) = drill {
        // Before the backup, not hours later.
        drill::target(same_qdrant, env)?;
    }
    let selection = args.selection().unwrap_or(config.backup.selection);
    let progress = Progress::new(ctx.clock.now());
    let result = tokio::select! {
        result = backup::run(&ctx, &selection, &progress, &stop) => result,
        never = bars.watch(&progress) => match never {},
    };
    bars.end(&progress.now());
    let report = result?;
    if json {
        print_json(&report)?;
    } else {
        print(&told(&report))?;
    }
    if let Some(error) = report.error() {
        return Err(error);
    }
    match drill {
        Some(same_qdrant) => drill::after_backup(&report.id, same_qdrant, env, bars, &stop, json).await,
        None => Ok(()),
    }
}

impl BackupArgs {
    /// What the arguments select; `None` when they select nothing in particular.
    fn selection(self) -> Option<Selection> {
        let selection = Selection {
            collections: self.collections,
            include: self.include,
            exclude: self.exclude,
        };
        (selection != Selection::default()).then_some(selection)
    }
}

/// The report for people.
fn told(report: &Report) -> String {
    let rows: Vec<_> = report
        .collections
        .iter()
        .map(|c| [c.name.clone(), count(c.points), size(c.bytes)])
        .collect();
    let columns = [("COLLECTION", Align::Left), ("POINTS", Align::Right), ("SIZE", Align::Right)];
    let mut text = match rows.is_empty() {
        true => String::new(),
        false => table(columns, &rows) + "\n",
    };
    for failure in &report.failed {
        let _ = writeln!(text, "FAILED  {}: {}", plain(&failure.collection), plain(&failure.message));
        if let Some(remedy) = &failure.remedy {
            let _ = writeln!(text, "        {}", plain(remedy));
        }
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "warning  {}", plain(warning));
    }
    let outcome = match report.status {
        Outcome::Complete => "is complete",
        Outcome::Partial => "is PARTIAL",
        Outcome::Failed => "FAILED: nothing was saved",
    };
    let bytes = report.collections.iter().map(|c| c.bytes).sum();
    let took = (report.finished_at - report.started_at).whole_seconds();
    let _ = write!(text, "Backup {} {outcome}: {} in {took} s", report.id, size(bytes));
    if let Some(manifest) = &report.manifest {
        let _ = write!(text, "\n{manifest}");
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::Saved;
    use crate::manifest::Failure;
    use crate::names::BackupId;
    use time::macros::datetime;

    #[test]
    fn the_report_tells_what_is_missing_and_that_it_is_partial() {
        let start = datetime!(2026-11-22 12:00 UTC);
        let report = Report {
            id: BackupId::at(start),
            status: Outcome::Partial,
            started_at: start,
            finished_at: start + time::Duration::seconds(7),
            manifest: Some("gs://b/backups/2026-11-22T12-00-00Z/manifest.json".into()),
            collections: vec![Saved { name: "docs".into(), points: 1200, bytes: 3 << 20 }],
            failed: vec![Failure {
                collection: "logs".into(),
                code: "stalled".into(),
                message: "no byte".into(),
                remedy: Some("look at it".into()),
            }],
            warnings: vec!["odd".into()],
        };
        assert_eq!(
            told(&report),
            "COLLECTION  POINTS      SIZE\n\
             docs         1,200  3.00 MiB\n\
             \n\
             FAILED  logs: no byte\n        look at it\n\
             warning  odd\n\
             Backup 2026-11-22T12-00-00Z is PARTIAL: 3.00 MiB in 7 s\n\
             gs://b/backups/2026-11-22T12-00-00Z/manifest.json\n"
        );
    }
}
