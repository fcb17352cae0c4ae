//! `drill`: proves that a backup can be restored.

use super::failure::conclude;
use super::text::{Align, count, plain, size, table};
use super::wait::{WaitArgs, waiting};
use super::{Bars, print};
use crate::base::error::Result;
use crate::ops::drill::{self, DrillReport, DrillRequest, DrillTarget, DrillVerdict};
use crate::ops::events::Operation;
use crate::ops::progress::Progress;
use crate::repository::names::BackupId;
use clap::Args;
use std::fmt::Write;
use tokio_util::sync::CancellationToken;

/// What to drill. The Qdrant for it is named by DRILL_QDRANT_URL (and DRILL_QDRANT_API_KEY or DRILL_QDRANT_API_KEY_FILE).
#[derive(Args, Debug)]
pub(crate) struct DrillArgs {
    /// The backup: its id, as `list` shows it, or the beginning of it; `latest`; an age like 2h; yesterday
    pub(crate) id: String,
    /// Without DRILL_QDRANT_URL: use the Qdrant that is backed up, under names that begin with qdrant-backup-drill-
    #[arg(long)]
    pub(crate) same_qdrant: bool,
    /// Run without the lease: beside other runs, or with a read-only store
    #[arg(long)]
    no_lock: bool,
    #[command(flatten)]
    wait: WaitArgs,
    /// Print the result as JSON, and nothing else, to standard output
    #[arg(long)]
    json: bool,
}

/// Drills at `place`. An error when the backup does not pass.
pub(crate) async fn drill(args: DrillArgs, place: &DrillTarget, bars: &Bars, stop: &CancellationToken) -> Result<()> {
    let request = DrillRequest {
        id: args.id,
        no_lock: args.no_lock,
        ..DrillRequest::default()
    };
    let drilled = waiting(args.wait, stop, || run(&request, place, bars, stop)).await?;
    conclude(args.json, &drilled, drilled.error(), rendered)
}

/// Drills the backup that was just made.
pub(super) async fn after_backup(
    id: &BackupId,
    place: &DrillTarget,
    bars: &Bars,
    stop: &CancellationToken,
    json: bool,
) -> Result<()> {
    let request = DrillRequest {
        id: id.to_string(),
        ..DrillRequest::default()
    };
    let drilled = run(&request, place, bars, stop).await?;
    let printed = match json {
        // Standard output is the report of the backup.
        true => {
            tracing::info!(verdict = ?drilled.verdict, "drill of backup {id}: {}", rendered(&drilled));
            Ok(())
        }
        false => print(&rendered(&drilled)),
    };
    drilled.error().map_or(printed, Err)
}

async fn run(
    request: &DrillRequest,
    place: &DrillTarget,
    bars: &Bars,
    stop: &CancellationToken,
) -> Result<DrillReport> {
    let progress = Progress::new(place.ctx.clock.now());
    bars.during(Operation::Drill, &progress, drill::run(place, request, &progress, stop))
        .await
}

/// The result for people.
fn rendered(drilled: &DrillReport) -> String {
    let row = |c: &drill::CollectionDrill| {
        [
            c.name.clone(),
            if c.verdict == DrillVerdict::Passed {
                "passed"
            } else {
                "FAILED"
            }
            .to_owned(),
            c.points.map(count).unwrap_or_default(),
            size(c.bytes),
        ]
    };
    let columns = [
        ("COLLECTION", Align::Left),
        ("VERDICT", Align::Left),
        ("POINTS", Align::Right),
        ("SIZE", Align::Right),
    ];
    let mut text = table(columns, &drilled.collections.iter().map(row).collect::<Vec<_>>());
    for c in &drilled.collections {
        if let Some(problem) = &c.problem {
            let _ = writeln!(text, "FAILED   {}: {}", plain(&c.name), plain(problem));
        }
    }
    for warning in &drilled.warnings {
        let _ = writeln!(text, "warning  {}", plain(warning));
    }
    if let Some(why) = &drilled.not_recorded {
        let _ = writeln!(text, "warning  not recorded: {}", plain(&why.message));
    }
    let verdict = if drilled.verdict == DrillVerdict::Passed {
        "passed"
    } else {
        "FAILED"
    };
    let _ = writeln!(
        text,
        "The drill of backup {} {verdict}, on {} (Qdrant {})",
        drilled.id,
        drilled.target,
        plain(&drilled.target_version)
    );
    text
}
