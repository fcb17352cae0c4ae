//! The command line: every role of the program is a subcommand.

mod backup;
mod bars;
mod check;
mod drill;
mod exit;
mod list;
mod restore;
mod serve;
mod signals;
mod text;

pub use bars::Bars;

use crate::config::{Env, Invalid, LogFormat, own_lines};
use crate::error::{Code, Error, Result};
use clap::{Args, Parser, Subcommand};
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

/// Backs up every collection of a Qdrant into a bucket or a directory: streamed, and checked byte by byte.
///
/// Everything is configured by environment variables: QDRANT_URL (and QDRANT_API_KEY) says what to back up, BACKUP_STORE
/// (gs://bucket/prefix or file:///directory) where to. `qdrant-backup check` tells whether that works.
#[derive(Debug, Parser)]
#[command(version, after_help = exit::table())]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve over HTTP: POST /backup, /restore, GET /status, /collections, /backups, /health
    Serve,
    /// Make a backup now
    Backup(BackupArgs),
    /// List the backups, newest first
    List {
        /// Show at most this many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
        limit: u16,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a backup holds
    Show {
        /// Its id, as `list` shows it, or `latest`
        id: String,
        /// Print the manifest as JSON
        #[arg(long)]
        json: bool,
    },
    /// Restore a backup, or some of it, and compare the result with it
    Restore(restore::RestoreArgs),
    /// Prove that a backup can be restored, in throw-away collections, and record it
    Drill(drill::DrillArgs),
    /// Check configuration, Qdrant, rights and store, and say how to mend what is wrong
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// What to back up. Without any of these, BACKUP_INCLUDE and BACKUP_EXCLUDE decide, and without them it is everything.
#[derive(Args, Debug)]
struct BackupArgs {
    /// Collections to back up; each must exist
    #[arg(value_name = "COLLECTION")]
    collections: Vec<String>,
    /// Back up the collections that match this pattern, e.g. 'logs-*'; may be given several times
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Leave out the collections that match this pattern; may be given several times
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Then drill the backup, as `drill` does; its result goes to standard error when the report is JSON
    #[arg(long)]
    drill: bool,
    /// With --drill and without DRILL_QDRANT_URL: drill on the Qdrant that is backed up
    #[arg(long, requires = "drill")]
    same_qdrant: bool,
    /// Print the report as JSON, and nothing else, to standard output
    #[arg(long)]
    json: bool,
}

impl Cli {
    /// The log filter where the environment names none: progress is told by log lines, unless bars tell it or there is none.
    pub fn default_filter(&self, bars: &Bars) -> String {
        match self.command {
            Command::Serve => own_lines("info"),
            Command::Backup(_) | Command::Restore(_) | Command::Drill(_) if !bars.are_visible() => own_lines("info"),
            _ => own_lines("warn"),
        }
    }
}

/// Runs the command; the exit codes are those of [`Error::exit_code`], or 0.
pub async fn run(cli: Cli, env: Env<'_>, bars: &Bars, log: LogFormat) -> ExitCode {
    let result = match cli.command {
        Command::Serve => serve::serve(env).await,
        Command::Backup(args) => backup::backup(args, env, bars).await,
        Command::Restore(args) => restore::restore(args, env, bars).await,
        Command::Drill(args) => drill::drill(args, env, bars).await,
        Command::List { limit, json } => list::list(env, limit.into(), json).await,
        Command::Show { id, json } => list::show(env, &id, json).await,
        Command::Check { json } => match check::check(env, json).await {
            Ok(exit) => return ExitCode::from(exit),
            Err(error) => Err(error),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match log {
                LogFormat::Json => tracing::error!(code = %error.code(), "{error}"),
                // Nobody is left to be told when this fails.
                LogFormat::Text => drop(stderr().write_all(told(&error).as_bytes())),
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// An error as a person reads it: what is wrong, and below it what to do; each problem of the configuration on its own.
fn told(error: &Error) -> String {
    let source = std::error::Error::source(error);
    if let Some(Invalid(problems)) = source.and_then(|source| source.downcast_ref()) {
        let list = problems.iter().map(|problem| format!("  {problem}\n"));
        return format!("error: the configuration does not work\n{}", list.collect::<String>());
    }
    let remedy = error.remedy_text().map(|remedy| format!("  {remedy}\n"));
    format!("error: {}\n{}", text::plain(&error.chain()), remedy.unwrap_or_default())
}

/// Writes to standard output. Whoever reads it may have gone, which is no failure of the command.
fn print(text: &str) -> Result<()> {
    match stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(Code::Internal, "writing to standard output").because(e))
        }
        _ => Ok(()),
    }
}

/// Prints `value` as JSON.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let json = serde_json::to_string_pretty(value)
        .map_err(|e| Error::new(Code::Internal, "writing JSON").because(e))?;
    print(&(json + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
