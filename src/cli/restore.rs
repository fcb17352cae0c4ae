//! `restore`: shows the plan, does it, and tells what is true afterwards.

use super::confirm::confirmed;
use super::failure::{WithPlan, conclude, conclude_json};
use super::named::said;
use super::text::{Align, plain, points, size, table};
use super::wait::{WaitArgs, waiting};
use super::{Bars, print};
use crate::base::error::{Code, Error, Result};
use crate::base::shell::word;
use crate::base::when::{self, When};
use crate::base::zone::Zone;
use crate::ops::context::Context;
use crate::ops::events::Operation;
use crate::ops::progress::Progress;
use crate::ops::restore::{self, Interface, RestoreOutcome, RestorePlan, RestoreReport, RestoreRequest, Timeouts, Via};
use crate::ops::run;
use crate::repository::catalog::{self, Spelled};
use crate::repository::selection::Selection;
use clap::{Args, ValueEnum};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use std::collections::BTreeMap;
use std::fmt::Write;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

/// What a URL's path has as it is stays readable.
const IN_A_URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// No cluster has more nodes.
const MOST_REPLICAS: i64 = 1000;

/// What to restore, and to where. Existing collections that have points are never overwritten without --overwrite.
#[derive(Args, Debug)]
pub(crate) struct RestoreArgs {
    /// The backup: its id, as `list` shows it, or the beginning of it; `latest`; an age like 2h. Not with --at
    #[arg(required_unless_present = "at")]
    id: Option<String>,
    /// Collections to restore, in this order; each must be in the backup. Without any: all of them
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
    /// Restore into the Qdrant at this URL; its key is taken from RESTORE_QDRANT_API_KEY, RESTORE_QDRANT_API_KEY_FILE or
    /// --to-api-key-file
    #[arg(long, value_name = "URL", conflicts_with_all = ["QDRANT_URL", "QDRANT_API_KEY_FILE", "QDRANT_CA_FILE", "QDRANT_CLIENT_CERT_FILE", "QDRANT_CLIENT_KEY_FILE"])]
    pub(crate) to: Option<String>,
    /// Restore from the newest good backup of this time or before, e.g. '2026-11-25 03:00', yesterday or 2h
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Leave out collections that exist with the count, configuration and indexes of the backup; one that differs stays, and counts
    /// as a failure
    #[arg(long, conflicts_with_all = ["overwrite", "swap"])]
    skip_existing: bool,
    /// Replace the points of collections that exist; asks before it does
    #[arg(long, group = "replacing")]
    overwrite: bool,
    /// Replace the points of this collection only; may be given several times
    #[arg(long, value_name = "COLLECTION", group = "replacing", conflicts_with = "overwrite")]
    overwrite_only: Vec<String>,
    /// With --overwrite: also if the backup is from another Qdrant than the target
    #[arg(long, requires = "replacing")]
    other_source: bool,
    /// Do not ask before points are replaced; without a terminal nothing is replaced otherwise
    #[arg(long)]
    yes: bool,
    /// Restore under a new name, compare, then move the aliases in one operation
    #[arg(long, conflicts_with_all = ["overwrite", "overwrite_only", "into"])]
    swap: bool,
    /// Move aliases even if they point to other collections now
    #[arg(long)]
    move_aliases: bool,
    /// Replicas of each shard of a new collection, in place of the backup's number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MOST_REPLICAS))]
    replication_factor: Option<u32>,
    /// Transfer to Qdrant
    #[arg(long, value_enum, default_value_t = ViaArg::Auto)]
    via: ViaArg,
    /// Run without the lease: beside other runs, or with a read-only store
    #[arg(long)]
    no_lock: bool,
    #[command(flatten)]
    wait: WaitArgs,
    /// Show the plan and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the report, or with --dry-run the plan, as JSON and nothing else to standard output
    #[arg(long)]
    json: bool,
    /// The settings that were given as flags.
    #[arg(skip)]
    pub(super) settings: BTreeMap<&'static str, String>,
}

/// Transfer to Qdrant.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ViaArg {
    /// By signed URL where the store has them, else by upload
    Auto,
    /// Qdrant fetches the objects from signed URLs
    Url,
    /// This process pushes the objects
    Upload,
}

/// Restores into the Qdrant of `ctx`. An error when the plan has refusals, or not everything was restored.
pub(crate) async fn restore(
    args: RestoreArgs,
    ctx: &Context,
    zone: &Zone,
    bars: &Bars,
    stop: &CancellationToken,
) -> Result<()> {
    let elsewhere = args.to.is_some();
    let id = args.id.clone().unwrap_or_default();
    match planned_and_done(args, ctx, zone, bars, stop).await {
        Err(e) if e.code() == Code::QdrantUnauthorized && elsewhere => Err(e.remedy(
            "set RESTORE_QDRANT_API_KEY or RESTORE_QDRANT_API_KEY_FILE to a key that the Qdrant of --to accepts",
        )),
        Err(e) => Err(catalog::suggesting(&*ctx.store, &id, e).await),
        done => done,
    }
}

async fn planned_and_done(
    args: RestoreArgs,
    ctx: &Context,
    zone: &Zone,
    bars: &Bars,
    stop: &CancellationToken,
) -> Result<()> {
    let (json, dry_run, wait) = (args.json, args.dry_run, args.wait);
    let mut request = args.request(ctx.clock.now(), zone)?;
    let spelled =
        run::unless_cancelled(stop, catalog::spelled(&*ctx.store, &request.id, ctx.clock.now(), zone)).await?;
    match spelled {
        Spelled::Literally(_) => {}
        Spelled::Short(id) => {
            said(&request.id, id);
            request.id = id.to_string();
        }
        Spelled::NotAfter(at) => {
            request.id = "latest".to_owned();
            request.not_after = Some(at);
        }
    }
    let before = || {
        let again = restore::command(&request, dry_run);
        Error::new(Code::Cancelled, "stopped before the restore began")
            .remedy(format!("nothing was changed; run it again: {again}"))
    };
    // An output that cannot be written keeps nothing from being done, and hides no error of what is done.
    let mut printed = Ok(());
    let may_replace = request.overwrite || !request.overwrite_only.is_empty();
    if dry_run || !json || (may_replace && !request.yes) {
        let plan = stop
            .run_until_cancelled(restore::plan(ctx, &request))
            .await
            .ok_or_else(before)??;
        printed = match (json, plan.error()) {
            (true, None) if !dry_run => Ok(()),
            (true, error) => conclude_json(
                &plan,
                WithPlan {
                    plan: &plan,
                    report: None::<()>,
                },
                error,
            ),
            (false, error) => {
                let printed = print(&plan.to_string());
                error.map_or(printed, Err)
            }
        };
        if plan.error().is_some() {
            return printed;
        }
        // What was shown is what is restored, whatever `latest` is by now.
        request.id = plan.id.to_string();
        request.not_after = None;
        if !dry_run && !request.yes {
            agree(&plan, &request, json, stop).await?;
            let targets = plan.replaced().into_iter().map(|(target, _)| target.to_owned());
            request.agreed = Some(targets.collect());
        }
    }
    if dry_run {
        return printed;
    }
    let progress = Progress::new(ctx.clock.now());
    let work = waiting(wait, stop, || restore::run(ctx, &request, &progress, stop));
    let result = bars.during(Operation::Restore, &progress, work).await;
    let report = result?;
    conclude(json, &report, report.error(), rendered).and(printed)
}

/// Nothing is replaced before somebody has agreed to it, or has said so beforehand.
async fn agree(plan: &RestorePlan, request: &RestoreRequest, is_json: bool, stop: &CancellationToken) -> Result<()> {
    let Some(replaced) = plan.replacing() else {
        return Ok(());
    };
    let shown = if is_json { plan.to_string() } else { String::new() };
    let question = format!("{shown}Replace {}?", plain(&replaced));
    match confirmed(&question, stop).await? {
        Some(true) => Ok(()),
        Some(false) => Err(Error::new(Code::Cancelled, "not confirmed; nothing was changed")),
        None => {
            let with_yes = RestoreRequest {
                yes: true,
                ..request.clone()
            };
            let text = format!(
                "the restore would replace {replaced}, and there is no terminal to ask on; nothing was changed"
            );
            Err(Error::new(Code::RestoreRefused, text).remedy(format!(
                "confirm it: {}; or keep both: {}",
                restore::command(&with_yes, false),
                restore::command(&request.under_new_names(plan.id), false)
            )))
        }
    }
}

impl RestoreArgs {
    fn request(self, now: OffsetDateTime, zone: &Zone) -> Result<RestoreRequest> {
        let not_after = match &self.at {
            None => None,
            Some(at) => Some(match when::required("--at", at, now, zone)? {
                When::At(at) => at,
                // All of that day.
                When::Day(_, end) => end - time::Duration::NANOSECOND,
            }),
        };
        // What is no id then is a collection's name.
        let (id, first) = match not_after {
            Some(_) => (None, self.id.filter(|id| id != "latest")),
            None => (self.id, None),
        };
        Ok(RestoreRequest {
            id: id.unwrap_or_else(|| "latest".to_owned()),
            not_after,
            selection: Selection {
                collections: first.into_iter().chain(self.collections).collect(),
                include: self.include,
                exclude: self.exclude,
            },
            into: self.into,
            overwrite: self.overwrite,
            overwrite_only: self.overwrite_only,
            other_source: self.other_source,
            yes: self.yes,
            agreed: None,
            skip_existing: self.skip_existing,
            move_aliases: self.move_aliases,
            swap: self.swap,
            replication_factor: self.replication_factor,
            via: match self.via {
                ViaArg::Auto => Via::Auto,
                ViaArg::Url => Via::Url,
                ViaArg::Upload => Via::Upload,
            },
            no_lock: self.no_lock,
            patience: Timeouts::default(),
            form: Interface::CommandLine {
                to: self.to,
                settings: self.settings,
            },
        })
    }
}

/// The report for people.
fn rendered(report: &RestoreReport) -> String {
    let rows: Vec<_> = report
        .collections
        .iter()
        .map(|c| {
            [
                c.source.clone(),
                c.target.clone(),
                points(c.points, c.points_estimated),
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
    for same in &report.unchanged {
        let _ = writeln!(
            text,
            "as it is {}: exists with {} points; count and configuration match the backup",
            plain(&same.target),
            points(same.points, same.points_estimated)
        );
    }
    for c in &report.collections {
        for note in &c.notes {
            let _ = writeln!(text, "note     {}: {}", plain(&c.target), plain(note));
        }
    }
    for alias in &report.aliases {
        let _ = writeln!(text, "alias    {} points to the restored collection", plain(alias));
    }
    for old in &report.replaced {
        let name = percent_encoding::utf8_percent_encode(old, IN_A_URL);
        let url = format!("{}/collections/{name}", report.target);
        let _ = writeln!(
            text,
            "the replaced collection {} still exists; to delete it: curl -X DELETE {}",
            plain(old),
            word(&url)
        );
    }
    let told = report.told();
    for failure in &told.causes {
        let _ = writeln!(
            text,
            "FAILED   {}: {}",
            plain(&failure.source),
            plain(&failure.error.message)
        );
        let _ = writeln!(
            text,
            "         now: {}: {}",
            plain(&failure.target),
            plain(&failure.state)
        );
        if let Some(remedy) = &failure.error.remedy {
            let _ = writeln!(text, "         {}", plain(remedy));
        }
        let _ = writeln!(text, "         next: {}", plain(&failure.next));
    }
    for (what, alike) in [
        ("refused likewise", &told.likewise),
        ("not started for the same reason", &told.not_started),
    ] {
        if !alike.is_empty() {
            let names: Vec<_> = alike.iter().map(|failure| plain(&failure.source).to_string()).collect();
            let _ = writeln!(text, "FAILED   {what}: {}", names.join(", "));
        }
    }
    if told.causes.len() < report.failed.len() {
        for next in &report.next {
            let _ = writeln!(text, "         next, for all: {}", plain(next));
        }
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "warning  {}", plain(warning));
    }
    let outcome = match report.status {
        RestoreOutcome::Complete => format!("is complete: {}", proven(report)),
        RestoreOutcome::Partial => "is PARTIAL".to_owned(),
        RestoreOutcome::Failed => "FAILED".to_owned(),
    };
    let took = (report.finished_at - report.started_at).whole_seconds();
    let _ = writeln!(
        text,
        "Restore of backup {} into {} {outcome}, in {took} s",
        report.id, report.target
    );
    text
}

/// What of a complete restore is known to be as in the backup, and of how many collections it is not.
fn proven(report: &RestoreReport) -> String {
    let all = report.collections.len() + report.unchanged.len();
    let restored = report
        .collections
        .iter()
        .map(|c| (c.points, c.points_estimated, c.sampled));
    let unchanged = report
        .unchanged
        .iter()
        .map(|c| (c.points, c.points_estimated, c.sampled));
    let found: Vec<_> = restored.chain(unchanged).collect();
    let number = |is: fn(&(u64, bool, usize)) -> bool| found.iter().filter(|found| is(found)).count();
    let counts = match number(|(_, estimated, _)| *estimated) {
        0 => "counts and configuration match the backup".to_owned(),
        n => format!(
            "configuration matches the backup, and so do exact counts (only estimates: {n} of {all} collections)"
        ),
    };
    match number(|(points, _, sampled)| *points > 0 && *sampled == 0) {
        0 => format!("{counts}, and its points can be read"),
        n => format!("{counts}; a sample of points can be read (not read: {n} of {all} collections)"),
    }
}

fn rate(bytes: u64, seconds: f64) -> String {
    match seconds > 0.0 {
        true => format!("{}/s", size((bytes as f64 / seconds) as u64)),
        false => String::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::ops::restore::samples;

    /// The words of each command, split by a shell.
    fn split(commands: &[String]) -> Vec<Vec<String>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines = commands.iter().map(|command| format!("words {command}\n"));
        let script = "words() { printf '%s\\0' \"$#\" \"$@\"; }\n".to_owned() + &lines.collect::<String>();
        std::fs::write(file.path(), script).unwrap();
        let out = std::process::Command::new("bash").arg(file.path()).output().unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
        let out = String::from_utf8(out.stdout).unwrap();
        let mut texts = out.split('\0');
        let mut next = || texts.next().unwrap().to_owned();
        let count = |text: String| text.parse::<usize>().unwrap();
        commands
            .iter()
            .map(|_| (0..count(next())).map(|_| next()).collect())
            .collect()
    }

    #[test]
    fn a_printed_command_is_the_request_to_the_last_option() {
        // They exclude each other.
        let qdrant = |to: &Option<String>| match to {
            None => ("--qdrant-url", "http://it's $HOME"),
            Some(_) => ("--to-api-key-file", "-- a file"),
        };
        let requests = samples::requests(1000, |to| Interface::CommandLine {
            settings: [qdrant(&to), ("--store", "file:///a b"), ("--log-level", "-x")]
                .map(|(name, value)| (name, value.to_owned()))
                .into(),
            to,
        });
        let commands: Vec<_> = requests
            .iter()
            .map(|(request, dry_run)| restore::command(request, *dry_run))
            .collect();
        for ((words, command), (request, dry_run)) in split(&commands).into_iter().zip(&commands).zip(requests) {
            assert!(!command.contains(crate::base::text::is_control), "{command:?}");
            let (cli, _) = Cli::try_read(words).unwrap_or_else(|e| panic!("{command}: {e}"));
            let Command::Restore(args) = cli.command else {
                panic!("{command}")
            };
            let (printed, parsed) = (args.dry_run, args.request(OffsetDateTime::UNIX_EPOCH, &Zone::utc()));
            assert_eq!((printed, parsed.unwrap()), (dry_run, request), "{command}");
        }
    }
}
