//! `docs/reference/command-line.md`: every command.

use super::{cell, compare, head};
use clap::{Arg, Command};
use std::fmt::Write;

const TEXT: &str = "`qdrant-backup --help` and `qdrant-backup restore --help` say the same, for each command. [Configuration](configuration.md) explains the settings; the flag of a setting goes before
its variable and the file. The exit codes are under [errors](errors.md#exit-codes).

- Results go to standard output, progress and log lines to standard error: as bars on a terminal, else as lines.
- With `--json` standard output is one JSON document and nothing else. When the command fails, that is the error as the
  [HTTP API](http-api.md#errors) tells it: `error` with `code`, `message` and `remedy`, beside it `report`, `plan` or `backup` where there is one. `status` and
  `check` answer as ever where the answer is no. The exit code is the same with and without `--json`.
- Colours are for terminals only. `NO_COLOR` switches them off, `CLICOLOR_FORCE` on.
- After a failure `restore` prints one command that goes on. That has `--overwrite` only if the failed one had it, and `--overwrite-only`
  for a collection that this very run made.
- A backup is named by its id, its beginning, `latest`, a day or an age: [which backup?](../how-to/restore.md#which-backup)
";

#[test]
fn the_page_of_the_command_line_has_every_command_and_flag() {
    let mut command = qdrant_backup::cli::command();
    command.build();
    let mut page = head("Command line", TEXT);
    let commands = || command.get_subcommands().filter(|command| command.get_name() != "help");
    page.push_str("| Command | Does |\n|---|---|\n");
    for command in commands() {
        let (name, about) = (command.get_name(), command.get_about().unwrap().to_string());
        let _ = writeln!(page, "| [`{name}`](#{name}) | {} |", cell(&about));
    }
    output(&mut page, &command);
    for command in commands() {
        section(&mut page, command, command.get_name());
        for deeper in command.get_subcommands().filter(|deeper| deeper.get_name() != "help") {
            section(
                &mut page,
                deeper,
                &format!("{} {}", command.get_name(), deeper.get_name()),
            );
        }
    }
    compare("command-line.md", &page);
}

/// What every command takes.
fn output(page: &mut String, command: &Command) {
    page.push_str("\n## Progress and details\n\nEvery command takes these. [Events](events.md#progress) has the lines of `--progress json`.\n");
    let of_output = |arg: &&Arg| arg.get_help_heading() == Some("Output");
    table(
        page,
        "| Argument | Meaning |",
        command.get_arguments().filter(of_output),
    );
}

fn section(page: &mut String, command: &Command, name: &str) {
    let usage = command.clone().render_usage().to_string();
    let about = command.get_long_about().or(command.get_about()).unwrap().to_string();
    let _ = write!(
        page,
        "\n## {}\n\n```text\n{}\n```\n\n{}\n",
        name,
        usage.trim_start_matches("Usage: "),
        about.trim()
    );
    let args = || command.get_arguments().filter(|arg| arg.get_id() != "help");
    let of_settings = |arg: &&Arg| arg.get_help_heading() == Some("Settings");
    let own = |arg: &&Arg| arg.get_help_heading().is_none();
    table(page, "| Argument | Meaning |", args().filter(own));
    let settings = args().filter(of_settings).map(|arg| {
        let flag = written(arg);
        format!("`{flag}` (`{}`)", arg.get_id())
    });
    let settings: Vec<_> = settings.collect();
    let _ = writeln!(page, "\n[Settings](configuration.md): {}.", settings.join(", "));
}

fn table<'a>(page: &mut String, header: &str, args: impl Iterator<Item = &'a Arg>) {
    let rows: Vec<_> = args.map(row).collect();
    if !rows.is_empty() {
        let _ = write!(page, "\n{header}\n|---|---|\n{}", rows.concat());
    }
}

/// As it is written on the command line.
fn written(arg: &Arg) -> String {
    let values = arg.get_value_names().unwrap_or_default().join(" ");
    match arg.get_long() {
        Some(long) if arg.get_action().takes_values() => format!("--{long} {values}"),
        Some(long) => format!("--{long}"),
        None => values,
    }
}

fn row(arg: &Arg) -> String {
    let takes_value = arg.get_action().takes_values();
    let help = arg.get_long_help().or(arg.get_help()).unwrap().to_string();
    let allowed: Vec<_> = match takes_value {
        true => arg
            .get_possible_values()
            .iter()
            .map(|value| format!("`{}`", value.get_name()))
            .collect(),
        false => Vec::new(),
    };
    let default: Vec<_> = arg
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    let mut text = cell(&help);
    if !allowed.is_empty() {
        let _ = write!(text, ": {}", allowed.join(", "));
    }
    if takes_value && !default.is_empty() {
        let _ = write!(text, " [default: {}]", default.join(" "));
    }
    format!("| `{}` | {text} |\n", cell(&written(arg)))
}
