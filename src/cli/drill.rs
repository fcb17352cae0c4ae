//! `drill`: proves that a backup can be restored.

use super::restore::other;
use super::text::{Align, count, plain, size, table};
use super::{Bars, print, print_json, signals};
use crate::app;
use crate::config::{Config, Env, QdrantConfig};
use crate::drill::{self, Drilled, Verdict};
use crate::error::{Code, Error, Result};
use crate::names::BackupId;
use crate::progress::Progress;
use crate::restore::Patience;
use clap::Args;
use std::fmt::Write;
use tokio_util::sync::CancellationToken;

/// The Qdrant for drills; its key is in `DRILL_QDRANT_API_KEY` or `DRILL_QDRANT_API_KEY_FILE`.
const URL: &str = "DRILL_QDRANT_URL";

/// What to drill. The Qdrant for it is named by DRILL_QDRANT_URL (and DRILL_QDRANT_API_KEY or DRILL_QDRANT_API_KEY_FILE).
#[derive(Args, Debug)]
pub(super) struct DrillArgs {
    /// The backup: its id, as `list` shows it, or `latest`
    id: String,
    /// Without DRILL_QDRANT_URL: use the Qdrant that is backed up, under names that begin with qdrant-backup-drill-
    #[arg(long)]
    same_qdrant: bool,
    /// Print the result as JSON, and nothing else, to standard output
    #[arg(long)]
    json: bool,
}

/// Runs the command. An error when the backup does not pass.
pub(super) async fn drill(args: DrillArgs, env: Env<'_>, bars: &Bars) -> Result<()> {
    let stop = signals::stop()?;
    let drilled = run(&args.id, args.same_qdrant, env, bars, &stop).await?;
    match args.json {
        true => print_json(&drilled)?,
        false => print(&told(&drilled))?,
    }
    drilled.error().map_or(Ok(()), Err)
}

/// Drills the backup that was just made.
pub(super) async fn after_backup(
    id: &BackupId,
    same_qdrant: bool,
    env: Env<'_>,
    bars: &Bars,
    stop: &CancellationToken,
    json: bool,
) -> Result<()> {
    let drilled = run(&id.to_string(), same_qdrant, env, bars, stop).await?;
    match json {
        // Standard output is the report of the backup.
        true => tracing::info!(verdict = ?drilled.verdict, "drill of backup {id}: {}", told(&drilled)),
        false => print(&told(&drilled))?,
    }
    drilled.error().map_or(Ok(()), Err)
}

/// The Qdrant to drill on; refuses the one that is backed up, unless that is allowed.
pub(super) fn target(same_qdrant: bool, env: Env<'_>) -> Result<Config> {
    let url = env(URL).map(|url| url.trim().to_owned()).filter(|url| !url.is_empty());
    let config = match &url {
        Some(url) => Config::from_env(&other(env, url, "DRILL_QDRANT"))?,
        None => Config::from_env(env)?,
    };
    // However it is spelled: `Config` has parsed it.
    let live = QdrantConfig::from_env(env).is_ok_and(|live| live.url == config.qdrant.url);
    if (live || url.is_none()) && !same_qdrant {
        return Err(Error::new(
            Code::RestoreRefused,
            "a drill on the Qdrant that is backed up needs room and time there",
        )
        .remedy(format!(
            "set {URL} to a Qdrant for drills, or allow it with --same-qdrant"
        )));
    }
    Ok(config)
}

/// Holds the drill where the environment says.
async fn run(id: &str, same_qdrant: bool, env: Env<'_>, bars: &Bars, stop: &CancellationToken) -> Result<Drilled> {
    let config = target(same_qdrant, env)?;
    let ctx = stop
        .run_until_cancelled(app::context(&config, app::who(env)))
        .await
        .ok_or_else(|| Error::new(Code::Cancelled, "stopped before the drill began"))??;
    let (progress, patience) = (Progress::new(ctx.clock.now()), Patience::default());
    let result = tokio::select! {
        result = drill::run(&ctx, id, &patience, &progress, stop) => result,
        never = bars.watch(&progress) => match never {},
    };
    bars.end(&progress.now());
    result
}

/// The result for people.
fn told(drilled: &Drilled) -> String {
    let row = |c: &drill::CollectionDrill| {
        [
            c.name.clone(),
            if c.verdict == Verdict::Passed {
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
    let verdict = if drilled.verdict == Verdict::Passed {
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
