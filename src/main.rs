//! The program: parses, sets up logging, dispatches.

use qdrant_backup::app::{self, Startup};
use qdrant_backup::base::clock::Clock;
use qdrant_backup::cli::{Bars, Cli, ProgressForm, run_to_end};
use qdrant_backup::config::{ConfigFile, LogConfig, LogFormat, colours, obsolete, unknown, value};
use qdrant_backup::telemetry;
use qdrant_backup::wire::transfer;
use std::io::{IsTerminal, stderr};
use std::process::ExitCode;

fn main() -> ExitCode {
    transfer::keep_freed_buffers();
    let (cli, flags) = Cli::read(std::env::args_os());
    let variables = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let (file, broken_file) = match ConfigFile::named(&flags.over(&variables, None)) {
        Ok(file) => (file, None),
        Err(invalid) => (None, Some(invalid)),
    };
    let env = flags.over(&variables, file.as_ref());
    let (mut log, problems) = LogConfig::from_env(&env);
    log.filter = cli.filter().or(log.filter);
    // Then each line on standard error is an object, unless something else is wanted.
    if cli.progress() == ProgressForm::Json && value(&env, "LOG_FORMAT").is_none() {
        log.format = LogFormat::Json;
    }
    let bars = Bars::new(cli.progress(), Clock::system());
    telemetry::init(
        &log,
        &cli.default_filter(&bars),
        bars.clone(),
        colours(&env, stderr().is_terminal()),
    );
    for problem in problems {
        tracing::warn!("{problem}; the default holds");
    }
    for warning in obsolete(&env) {
        tracing::warn!("{warning}");
    }
    let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    let unknown = unknown(&env, names);
    for variable in &unknown {
        tracing::warn!("{variable}");
    }
    let startup = Startup {
        env: &env,
        broken_file,
        unknown,
        log: log.format,
    };
    run_to_end(app::run(cli, startup, &bars))
}
