//! The program: parses, sets up logging, dispatches.

use qdrant_backup::app;
use qdrant_backup::cli::{Bars, Cli, run_to_end};
use qdrant_backup::config::{LogConfig, colours, obsolete, unknown};
use qdrant_backup::telemetry;
use qdrant_backup::wire::transfer;
use std::io::{IsTerminal, stderr};
use std::process::ExitCode;

fn main() -> ExitCode {
    transfer::keep_freed_buffers();
    let (cli, flags) = Cli::read(std::env::args_os());
    let env = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let env = flags.over(&env);
    let (log, problems) = LogConfig::from_env(&env);
    let bars = Bars::new();
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
    run_to_end(app::run(cli, &env, unknown, &bars, log.format))
}
