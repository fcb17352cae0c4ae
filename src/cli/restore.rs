//! `restore`: shows the plan, does it, and tells what is true afterwards.

use super::text::{Align, count, plain, size, table};
use super::{Bars, print, print_json, signals};
use crate::app;
use crate::config::{Config, Env};
use crate::error::{Code, Error, Result};
use crate::manifest::Selection;
use crate::progress::Progress;
use crate::restore::{self, Outcome, Patience, Report, Request, Via};
use clap::{Args, ValueEnum};
use std::fmt::Write;

/// What to restore, and to where. Existing collections that have points are never overwritten without --overwrite.
#[derive(Args, Debug)]
pub(super) struct RestoreArgs {
    /// The backup: its id, as `list` shows it, or `latest`
    id: String,
    /// Collections to restore; each must be in the backup. Without any: all of them
    #[arg(value_name = "COLLECTION")]
    collections: Vec<String>,
    /// Restore the collections that match this pattern; may be given several times
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Leave out the collections that match this pattern; may be given several times
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Restore under another name; {} in it stands for the old one, e.g. '{}-copy'
    #[arg(long, value_name = "NAME")]
    into: Option<String>,
    /// Restore into the Qdrant at this URL; its key is taken from RESTORE_QDRANT_API_KEY or RESTORE_QDRANT_API_KEY_FILE
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Replace the points of collections that exist
    #[arg(long)]
    overwrite: bool,
    /// Restore beside the live collection, compare, and then move its aliases in one operation
    #[arg(long, conflicts_with_all = ["overwrite", "into"])]
    swap: bool,
    /// Move aliases that point to other collections by now
    #[arg(long)]
    move_aliases: bool,
    /// How the bytes get to Qdrant
    #[arg(long, value_enum, default_value_t = Way::Auto)]
    via: Way,
    /// Show the plan and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the report, or with --dry-run the plan, as JSON and nothing else to standard output
    #[arg(long)]
    json: bool,
}

/// How the bytes get to Qdrant.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Way {
    /// By signed URL where the store has them, else by upload
    Auto,
    /// Qdrant fetches the objects from signed URLs
    Url,
    /// This process pushes the objects
    Upload,
}

/// Runs the command. An error when the plan has refusals, or not everything was restored.
pub(super) async fn restore(args: RestoreArgs, env: Env<'_>, bars: &Bars) -> Result<()> {
    let elsewhere = args.to.clone();
    let result = match &elsewhere {
        Some(url) => run(args, &other(env, url, "RESTORE_QDRANT"), bars).await,
        None => run(args, env, bars).await,
    };
    result.map_err(|e| match e.code() {
        Code::QdrantUnauthorized if elsewhere.is_some() => e.remedy(
            "set RESTORE_QDRANT_API_KEY or RESTORE_QDRANT_API_KEY_FILE to a key that the Qdrant of --to accepts",
        ),
        _ => e,
    })
}

/// The environment with another Qdrant in the place of the one that is backed up; its key comes from `{prefix}_API_KEY`. The
/// key of the first one never goes to the other.
pub(super) fn other<'a>(env: Env<'a>, url: &str, prefix: &'static str) -> impl Fn(&str) -> Option<String> + use<'a> {
    let url = url.to_owned();
    move |name| match name {
        "QDRANT_URL" => Some(url.clone()),
        "QDRANT_API_KEY" => env(&format!("{prefix}_API_KEY")),
        "QDRANT_API_KEY_FILE" => env(&format!("{prefix}_API_KEY_FILE")),
        "QDRANT_HOST" | "QDRANT_PORT" => None,
        _ => env(name),
    }
}

async fn run(args: RestoreArgs, env: Env<'_>, bars: &Bars) -> Result<()> {
    let config = Config::from_env(env)?;
    let stop = signals::stop()?;
    let before = || Error::new(Code::Cancelled, "stopped before the restore began");
    let ctx = stop
        .run_until_cancelled(app::context(&config, app::who(env)))
        .await
        .ok_or_else(before)??;
    let (json, dry_run) = (args.json, args.dry_run);
    let request = args.request();
    if dry_run || !json {
        let plan = stop
            .run_until_cancelled(restore::plan(&ctx, &request))
            .await
            .ok_or_else(before)??;
        match json {
            true => print_json(&plan)?,
            false => print(&plan.to_string())?,
        }
        if let Some(error) = plan.error() {
            return Err(error);
        }
    }
    if dry_run {
        return Ok(());
    }
    let progress = Progress::new(ctx.clock.now());
    let result = tokio::select! {
        result = restore::run(&ctx, &request, &progress, &stop) => result,
        never = bars.watch(&progress) => match never {},
    };
    bars.end(&progress.now());
    let report = result?;
    match json {
        true => print_json(&report)?,
        false => print(&told(&report))?,
    }
    report.error().map_or(Ok(()), Err)
}

impl RestoreArgs {
    fn request(self) -> Request {
        Request {
            id: self.id,
            selection: Selection {
                collections: self.collections,
                include: self.include,
                exclude: self.exclude,
            },
            into: self.into,
            overwrite: self.overwrite,
            move_aliases: self.move_aliases,
            swap: self.swap,
            via: match self.via {
                Way::Auto => Via::Auto,
                Way::Url => Via::Url,
                Way::Upload => Via::Upload,
            },
            patience: Patience::default(),
        }
    }
}

/// The report for people.
fn told(report: &Report) -> String {
    let rows: Vec<_> = report
        .collections
        .iter()
        .map(|c| {
            [
                c.source.clone(),
                c.target.clone(),
                count(c.points),
                size(c.bytes),
                rate(c.bytes, c.seconds),
            ]
        })
        .collect();
    let columns = [
        ("COLLECTION", Align::Left),
        ("RESTORED AS", Align::Left),
        ("POINTS", Align::Right),
        ("SIZE", Align::Right),
        ("RATE", Align::Right),
    ];
    let mut text = match rows.is_empty() {
        true => String::new(),
        false => format!("\n{}", table(columns, &rows)),
    };
    for c in &report.collections {
        for note in &c.notes {
            let _ = writeln!(text, "note     {}: {}", plain(&c.target), plain(note));
        }
    }
    for alias in &report.aliases {
        let _ = writeln!(text, "alias    {} points to what was restored", plain(alias));
    }
    for old in &report.replaced {
        let _ = writeln!(
            text,
            "replaced {} is still there; once nobody needs it: curl -X DELETE {}/collections/{}",
            plain(old),
            report.target,
            percent_encoding::utf8_percent_encode(old, percent_encoding::NON_ALPHANUMERIC)
        );
    }
    for failure in &report.failed {
        let _ = writeln!(text, "FAILED   {}: {}", plain(&failure.source), plain(&failure.message));
        let _ = writeln!(
            text,
            "         now: {}: {}",
            plain(&failure.target),
            plain(&failure.state)
        );
        if let Some(remedy) = &failure.remedy {
            let _ = writeln!(text, "         {}", plain(remedy));
        }
        let _ = writeln!(text, "         next: {}", plain(&failure.next));
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "warning  {}", plain(warning));
    }
    let outcome = match report.status {
        Outcome::Complete => "is complete: counts, configuration and samples are those of the backup",
        Outcome::Partial => "is PARTIAL",
        Outcome::Failed => "FAILED",
    };
    let took = (report.finished_at - report.started_at).whole_seconds();
    let _ = writeln!(
        text,
        "Restore of backup {} into {} {outcome}, in {took} s",
        report.id, report.target
    );
    text
}

fn rate(bytes: u64, seconds: f64) -> String {
    match seconds > 0.0 {
        true => format!("{}/s", size((bytes as f64 / seconds) as u64)),
        false => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_one_qdrant_never_goes_to_another() {
        let env = |name: &str| Some(format!("{name}'s value"));
        let other = other(&env, "http://other:6333", "RESTORE_QDRANT");
        assert_eq!(other("QDRANT_URL").as_deref(), Some("http://other:6333"));
        assert_eq!(
            other("QDRANT_API_KEY").as_deref(),
            Some("RESTORE_QDRANT_API_KEY's value")
        );
        assert_eq!(other("QDRANT_HOST"), None);
        assert_eq!(other("BACKUP_STORE").as_deref(), Some("BACKUP_STORE's value"));
    }
}
