//! The command line: every role of the program is a subcommand.

mod backup;
mod causes;
mod check;
mod completions;
mod config;
mod confirm;
mod delete;
mod drill;
mod exit;
mod failure;
mod flags;
mod job;
mod list;
mod named;
mod pin;
mod progress;
mod prune;
mod restore;
mod signals;
mod status;
mod text;
mod unlock;
mod verify;
mod version;
mod wait;
mod watch;
mod whole_file;

pub(crate) use backup::backup;
pub(crate) use check::{CheckExtent, CheckTarget, PATIENCE, check};
pub(crate) use completions::{completions, man};
pub(crate) use config::{ConfigCommand, show_config};
pub(crate) use delete::{DeleteArgs, delete};
pub(crate) use drill::{DrillArgs, drill};
pub(crate) use exit::STOP_WITHIN;
pub use exit::{EXITS, run_to_end};
pub use flags::{Flags, command};
pub(crate) use job::{FollowUp, backup_task};
pub(crate) use list::{ListArgs, list, show};
pub(crate) use named::named;
pub(crate) use pin::{pin, unpin};
pub use progress::{Bars, ProgressForm};
pub(crate) use prune::{PruneArgs, prune};
pub(crate) use restore::{RestoreArgs, restore};
pub(crate) use signals::{pause_on_signals, stop_on_signals};
pub(crate) use status::{StatusArgs, StatusQuery, status};
pub(crate) use unlock::unlock;
pub(crate) use verify::{VerifyQuery, verify};
pub(crate) use version::version;
pub(crate) use watch::watch;

use crate::base::error::{Code, Error, Result};
use crate::base::json;
use crate::config::{Invalid, LogFormat, log_filter};
use clap::{ArgAction, Args, Parser, Subcommand};
use std::io::{Write, stderr, stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use wait::WaitArgs;

/// Backs up every collection of a Qdrant into a bucket or a directory: streamed, and checked byte by byte.
///
/// Flags, environment variables and a file (--config) configure it, in this order. QDRANT_URL or --qdrant-url (and QDRANT_API_KEY)
/// says what to back up, BACKUP_STORE or --store (gs://bucket/prefix or file:///directory) where to. `qdrant-backup check` tests
/// the configuration and explains how to fix it.
#[derive(Debug, Parser)]
#[command(version, after_help = exit::table())]
pub struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    output: OutputArgs,
    /// Whether the result is to be JSON.
    #[arg(skip)]
    pub(crate) json: bool,
}

/// What is told beside the result.
#[derive(Args, Debug)]
#[command(next_help_heading = flags::OUTPUT)]
struct OutputArgs {
    /// Tell no progress, and nothing but warnings and errors
    #[arg(long, short, global = true, conflicts_with_all = ["verbose", "LOG_LEVEL"])]
    quiet: bool,
    /// Log details; -vv: everything
    #[arg(long, short, global = true, action = ArgAction::Count, conflicts_with = "LOG_LEVEL")]
    verbose: u8,
    /// How progress is told on standard error
    #[arg(long, global = true, value_enum, value_name = "FORM", default_value_t = ProgressForm::Auto, hide_possible_values = true)]
    progress: ProgressForm,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve over HTTP: POST /backup, /restore, /prune, GET /status, /collections, /backups, /health, and more
    ///
    /// SIGTERM or SIGINT stops a running backup or restore cleanly and ends the service: exit code 0 when the
    /// cleanup takes less than 9 s, else 10. A snapshot that Qdrant is still making is deleted by the next run.
    Serve,
    /// Make a backup now
    ///
    /// As a task of a Cloud Run job (CLOUD_RUN_EXECUTION, CLOUD_RUN_TASK_INDEX and CLOUD_RUN_TASK_COUNT are set) it backs up its
    /// share of the collections; the task that ends last commits the backup of all. BACKUP_JOB_MAX_RETRIES must be the job's.
    Backup(BackupArgs),
    /// Show whether every collection has a recent good backup, and how it was proven
    ///
    /// Exits with 0 if every collection that BACKUP_INCLUDE and BACKUP_EXCLUDE select on Qdrant has a good backup younger than
    /// BACKUP_MAX_AGE, with 1 if one has not or there is none; with another code if Qdrant or the store cannot tell. It looks at
    /// the backups of that time and at ten older ones.
    Status(StatusArgs),
    /// List the backups, newest first
    List(ListArgs),
    /// Show the content of a backup
    Show {
        /// Its id, as `list` shows it, or the beginning of it; `latest`; an age like 2h; yesterday
        id: String,
        /// Print the manifest as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what the retention policy would delete; with --yes, delete it
    ///
    /// RETAIN_LAST, RETAIN_HOURLY, RETAIN_DAILY, RETAIN_WEEKLY, RETAIN_MONTHLY and RETAIN_YEARLY say how many good backups to
    /// keep of each selection, RETAIN_MIN_AGE_HOURS (24) below which age none is deleted. The newest good backup always stays.
    /// What a killed run left without a manifest goes after RETAIN_LEFTOVER_HOURS (6); `list --all` shows it.
    /// Exits with 5 while a backup is running, with 7 when the store refuses to delete.
    Prune(PruneArgs),
    /// Show what deleting one backup would delete; with --yes, delete it
    ///
    /// A pinned backup, the newest good one of its selection, and one that this version does not understand are never deleted. The
    /// age and the rules of the retention policy keep nothing here. Exits with 5 while a backup is running, with 11 when the backup stays.
    Delete(DeleteArgs),
    /// Exempt a backup from the retention policy
    Pin {
        /// Its id, as `list` shows it, or the beginning of it; `latest`; an age like 2h; yesterday
        id: String,
        /// Reason, shown by `show`
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// Make a pinned backup subject to the retention policy again
    Unpin {
        /// Its id, as `list` shows it, or the beginning of it; `latest`; an age like 2h; yesterday
        id: String,
    },
    /// Read backups back and check every object: length, checksums and structure
    Verify(VerifyArgs),
    /// Restore a backup or some of its collections, and compare the result with the backup
    Restore(RestoreArgs),
    /// Restore a backup into temporary collections, compare, delete them, and record the result
    Drill(DrillArgs),
    /// Show who holds the lease, and remove it if its holder is gone
    ///
    /// A lease that was renewed in time stays: its holder is alive. Exits with 5 then.
    Unlock {
        /// Remove it all the same; a run that still works notices before it commits, and stops
        #[arg(long)]
        force: bool,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Follow a run of another process, and exit as it does
    ///
    /// By what each run tells of itself in the store: a backup by a job or the service, a restore on another machine. Ctrl-C ends the
    /// watching, not the run.
    Watch {
        /// The run's id, as the service lists it; without one, the newest run that is at work
        id: Option<String>,
        /// Print what became of it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Check configuration, Qdrant, rights and store, and explain how to fix each failure
    ///
    /// Changes nothing; only --deep tries whether Qdrant can make a snapshot, or stream a shard.
    Check {
        /// Have Qdrant make a snapshot of the smallest collection and delete it again, or stream its smallest shard, as a backup does
        #[arg(long)]
        deep: bool,
        /// Send a test message to each receiver of NOTIFY_URLS
        #[arg(long)]
        notify: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Show the version
    Version {
        /// Print JSON: also the commit, if the build was told, and the format of the manifests
        #[arg(long)]
        json: bool,
    },
    /// Print the completions for a shell
    ///
    /// For bash, in ~/.bashrc: source <(qdrant-backup completions bash)
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, one for each command
    ///
    /// Into ~/.local/share/man/man1 they are found by: man qdrant-backup-restore
    Man {
        /// An existing directory
        directory: std::path::PathBuf,
    },
}

/// What to back up. Without any of these, BACKUP_INCLUDE and BACKUP_EXCLUDE decide, and without them it is everything.
#[derive(Args, Debug)]
pub(crate) struct BackupArgs {
    /// Collections to back up; each must exist
    #[arg(value_name = "COLLECTION")]
    collections: Vec<String>,
    /// Back up the collections that match this pattern, e.g. 'logs-*'; may be given several times
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Leave out the collections that match this pattern; may be given several times
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Allow the first backup of this Qdrant into a store that has backups of others
    #[arg(long)]
    pub(crate) new_source: bool,
    /// Then drill the backup, as `drill` does; its result goes to standard error when the report is JSON
    #[arg(long)]
    pub(crate) drill: bool,
    /// With --drill and without DRILL_QDRANT_URL: drill on the Qdrant that is backed up
    #[arg(long, requires = "drill")]
    pub(crate) same_qdrant: bool,
    /// Show what would be saved, and from which nodes, and change nothing
    #[arg(long, conflicts_with = "drill")]
    dry_run: bool,
    #[command(flatten)]
    wait: WaitArgs,
    /// Print the report as JSON, and nothing else, to standard output
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// A backup's id or the beginning of it; `latest`; an age like 2h; yesterday; or `all`
    #[arg(value_name = "ID|latest|all")]
    pub(crate) what: String,
    /// Print the report as JSON, and nothing else, to standard output
    #[arg(long)]
    json: bool,
    /// Then let Qdrant's own engine open every snapshot and compare counts, configuration, vectors and searches. Only in builds
    /// with `--features engine`
    #[cfg(feature = "engine")]
    #[arg(long, requires = "scratch")]
    engine: bool,
    /// Where the engine works: a directory with room for three times the largest snapshot. Only in builds with
    /// `--features engine`
    #[cfg(feature = "engine")]
    #[arg(long, value_name = "DIR", requires = "engine")]
    scratch: Option<std::path::PathBuf>,
}

impl Cli {
    /// Whether the command works without a valid configuration.
    pub(crate) fn needs_no_configuration(&self) -> bool {
        matches!(
            self.command,
            Command::Check { .. } | Command::Completions { .. } | Command::Man { .. } | Command::Version { .. }
        )
    }

    /// The log filter where the environment names none: progress is told by log lines, unless bars tell it or there is none.
    pub fn default_filter(&self, bars: &Bars) -> String {
        let tells_progress = matches!(
            self.command,
            Command::Backup(_) | Command::Restore(_) | Command::Drill(_) | Command::Verify(_) | Command::Watch { .. }
        );
        match self.command {
            Command::Serve => log_filter("info"),
            _ if tells_progress && bars.leave_it_to_the_log() => log_filter("info"),
            _ => log_filter("warn"),
        }
    }

    /// The log filter of `-q` and `-v`, which goes before the environment's.
    pub fn filter(&self) -> Option<String> {
        match (self.output.quiet, self.output.verbose) {
            (true, _) => Some(log_filter("warn")),
            (false, 0) => None,
            (false, 1) => Some(log_filter("debug")),
            (false, _) => Some(log_filter("trace")),
        }
    }

    /// How progress is to be told.
    pub fn progress(&self) -> ProgressForm {
        match self.output.quiet {
            true => ProgressForm::None,
            false => self.output.progress,
        }
    }
}

/// Whether anything was printed: standard output is one document.
static PRINTED: AtomicBool = AtomicBool::new(false);

/// Prints why the command failed, for people or as a line for Cloud Logging. `json`: also to standard output, as the API tells it,
/// unless the command has printed its own document there.
pub(crate) fn print_error(error: &Error, log: LogFormat, json: bool) {
    if json && !PRINTED.load(Ordering::Relaxed) {
        failure::print_failure(error);
    }
    match log {
        LogFormat::Json if error.is_refusal() => tracing::warn!(code = %error.code(), "{error}"),
        LogFormat::Json => tracing::error!(code = %error.code(), "{error}"),
        // Nobody is left to be told when this fails.
        LogFormat::Text => drop(stderr().write_all(rendered(error).as_bytes())),
    }
}

/// An error as a person reads it: what is wrong, and below it what to do; each problem of the configuration on its own.
fn rendered(error: &Error) -> String {
    let source = std::error::Error::source(error);
    if let Some(Invalid(problems)) = source.and_then(|source| source.downcast_ref()) {
        let list = problems.iter().map(|problem| format!("  {problem}\n"));
        return format!("error: invalid configuration\n{}", list.collect::<String>());
    }
    let remedy = error.remedy_text().map(|remedy| format!("  {remedy}\n"));
    format!("error: {}\n{}", text::plain(&error.chain()), remedy.unwrap_or_default())
}

/// Writes to standard output. Whoever reads it may have gone, which is no failure of the command. What went wrong with the work
/// itself goes before an error of this: `done.and(printed)`.
fn print(text: &str) -> Result<()> {
    PRINTED.store(true, Ordering::Relaxed);
    match stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            let error = Error::new(Code::OutputFailed, "writing the result to standard output").because(e);
            Err(error.remedy(
                "send the output to a place with room; the work itself was done, `qdrant-backup list` shows it",
            ))
        }
        _ => Ok(()),
    }
}

/// Prints `value` as JSON.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let json = json::to_vec(value).map_err(|e| Error::new(Code::Internal, "writing JSON").because(e))?;
    print(&String::from_utf8_lossy(&json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }
}
