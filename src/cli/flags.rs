//! The flags of settings: made from the table of the configuration, and laid over the environment.

use super::Cli;
use crate::config::{ConfigFile, Flag, Layers, Setting, settings};
use clap::builder::TypedValueParser;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches, ValueHint};
use std::collections::BTreeMap;
use std::ffi::OsString;

const HEADING: &str = "Settings";
/// The heading of what every command takes beside the settings.
pub(super) const OUTPUT: &str = "Output";

/// The settings that were given as flags, by the flag's name.
#[derive(Clone, Debug, Default)]
pub struct Flags(BTreeMap<&'static str, String>);

impl Flags {
    /// Variables and a file with the flags above them: they are found by their names.
    pub fn over<'a>(
        &'a self,
        variables: &'a dyn Fn(&str) -> Option<String>,
        file: Option<&'a ConfigFile>,
    ) -> Layers<'a> {
        Layers::new(&self.0, variables, file)
    }

    fn of(matches: &ArgMatches) -> Self {
        let matches = deepest(matches);
        let given = with_flags().filter_map(|(setting, flag)| {
            // Not every command has every flag.
            let value = matches.try_get_one::<String>(setting.variable).ok().flatten()?;
            Some((flag.name, value.clone()))
        });
        Self(given.collect())
    }
}

/// Those of the command that was given.
fn deepest(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, deeper)| deepest(deeper))
}

impl Cli {
    /// Reads the command line; ends the process where it is wrong, or asks for help.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> (Self, Flags) {
        Self::try_read(args).unwrap_or_else(|error| error.exit())
    }

    /// The same, without an end.
    pub(super) fn try_read<T>(args: impl IntoIterator<Item = T>) -> Result<(Self, Flags), clap::Error>
    where
        T: Into<OsString> + Clone,
    {
        let matches = command().try_get_matches_from(args)?;
        let mut cli = Self::from_arg_matches(&matches)?;
        let flags = Flags::of(&matches);
        let json = deepest(&matches).try_get_one::<bool>("json");
        cli.json = json.ok().flatten().is_some_and(|json| *json);
        // What they print to be pasted has to do the same.
        match &mut cli.command {
            super::Command::Restore(args) => args.settings = flags.0.clone(),
            super::Command::Prune(args) => args.settings = flags.0.clone(),
            super::Command::Delete(args) => args.how.settings = flags.0.clone(),
            _ => {}
        }
        Ok((cli, flags))
    }
}

/// The whole command line, with a flag on each command for each setting that has one there.
pub fn command() -> Command {
    let command = Cli::command();
    let names: Vec<_> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    // Each is taken out and put back at the end, so once, in their order.
    let command = names.into_iter().fold(command, |command, name| {
        let own = with_flags().filter(|(_, flag)| flag.on.contains(&name.as_str()));
        let own: Vec<_> = own.map(|(setting, flag)| arg(setting, flag)).collect();
        command.mut_subcommand(name, |sub| sub.args(own))
    });
    // To see what would hold.
    let command = command.mut_subcommand("config", |config| {
        config.mut_subcommand("show", |show| {
            let all = with_flags().filter(|(_, flag)| !flag.on.is_empty() && flag.requires.is_none());
            show.args(all.map(|(setting, flag)| arg(setting, flag)))
        })
    });
    let of_all = with_flags().filter(|(_, flag)| flag.on.is_empty());
    command.args(of_all.map(|(setting, flag)| arg(setting, flag).global(true)))
}

fn with_flags() -> impl Iterator<Item = (&'static Setting, Flag)> {
    settings().filter_map(|setting| Some((setting, setting.flag?)))
}

fn arg(setting: &Setting, flag: Flag) -> Arg {
    let default = match setting.default {
        "" => String::new(),
        default => format!(" [default: {}]", default.replace('`', "")),
    };
    let help = format!(
        "{}{default} [env: {}]",
        capital(&setting.meaning.replace('`', "")),
        setting.variable
    );
    let arg = Arg::new(setting.variable)
        .long(flag.name.trim_start_matches('-'))
        .value_name(flag.value)
        .help(help)
        .help_heading(HEADING)
        .value_hint(match flag.value {
            "FILE" => ValueHint::FilePath,
            "URL" => ValueHint::Url,
            _ => ValueHint::Other,
        })
        .value_parser(clap::builder::StringValueParser::new().try_map(not_blank));
    match flag.requires {
        Some(argument) => arg.requires(argument),
        None => arg,
    }
}

/// A flag without a value is a slip, as of an unset variable in a script. The environment is not to take its place.
fn not_blank(value: String) -> Result<String, &'static str> {
    match value.trim().is_empty() {
        true => Err("the value is empty"),
        false => Ok(value),
    }
}

fn capital(text: &str) -> String {
    let mut rest = text.chars();
    rest.next()
        .map(|first| first.to_uppercase().chain(rest).collect())
        .unwrap_or_default()
}
