//! Every variable that is read, with its flag, its default, what it means and which commands use it: one table, from which the
//! flags of the command line and `docs/reference/configuration.md` are made.

mod table;

pub use table::GROUPS;

use super::Env;

/// One variable.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The variable's name.
    pub variable: &'static str,
    /// Its flag, if it has one. A secret never has: what is on a command line, every user of the machine can read.
    pub flag: Option<Flag>,
    /// What holds where neither is set; empty: nothing.
    pub default: &'static str,
    /// The commands that use it; [`EVERY`]: all of them.
    pub used_by: &'static [&'static str],
    /// What it means, in Markdown.
    pub meaning: &'static str,
    /// Whether it is the environment's alone, and no key of the configuration file: what a platform sets, older forms, conventions.
    only_variable: bool,
}

/// The flag of a variable. It goes before the variable.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// `--store`.
    pub name: &'static str,
    /// What stands for its value in the help.
    pub value: &'static str,
    /// The commands that take it; [`EVERY`]: all of them.
    pub on: &'static [&'static str],
    /// The argument without which it means nothing.
    pub(crate) requires: Option<&'static str>,
}

/// Variables that belong together.
#[derive(Debug)]
pub struct Group {
    /// A heading.
    pub title: &'static str,
    /// The variables, in the order in which one reads about them.
    pub settings: &'static [Setting],
}

const fn setting(
    variable: &'static str,
    default: &'static str,
    used_by: &'static [&'static str],
    meaning: &'static str,
) -> Setting {
    Setting {
        variable,
        flag: None,
        default,
        used_by,
        meaning,
        only_variable: false,
    }
}

impl Setting {
    /// With a flag on every command that uses it.
    const fn flag(mut self, name: &'static str, value: &'static str) -> Self {
        self.flag = Some(Flag {
            name,
            value,
            on: self.used_by,
            requires: None,
        });
        self
    }

    /// Not in the file.
    const fn only_variable(mut self) -> Self {
        self.only_variable = true;
        self
    }

    /// Whether its value is not to be shown: it has no flag and is not in the file, and a file of its own holds it instead.
    pub fn is_secret(&self) -> bool {
        self.variable.ends_with("_API_KEY") || matches!(self.variable, "NOTIFY_URLS" | "NOTIFY_WEBHOOK_SECRET")
    }

    /// Whether the configuration file may have it.
    pub fn is_in_file(&self) -> bool {
        !self.only_variable && !self.is_secret()
    }

    /// Its name in the file.
    pub fn key(&self) -> String {
        self.variable.to_ascii_lowercase()
    }

    /// With its flag on these commands only.
    const fn on(mut self, commands: &'static [&'static str]) -> Self {
        if let Some(mut flag) = self.flag {
            flag.on = commands;
            self.flag = Some(flag);
        }
        self
    }

    /// With a flag that means nothing without another argument.
    const fn requires(mut self, argument: &'static str) -> Self {
        if let Some(mut flag) = self.flag {
            flag.requires = Some(argument);
            self.flag = Some(flag);
        }
        self
    }
}

/// All commands.
pub const EVERY: &[&str] = &[];

/// All of them.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    GROUPS.iter().flat_map(|group| group.settings)
}

/// The flag that goes before a variable.
pub(super) fn flag_of(variable: &str) -> Option<&'static str> {
    let setting = settings().find(|setting| setting.variable == variable)?;
    setting.flag.map(|flag| flag.name)
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Flag(&'static str),
    Variable,
    /// File and line.
    File(String),
}

/// The value of a setting: of its flag, else of its variable, else of the file; without surrounding white space. Empty counts as
/// unset: compose files and Terraform write such.
pub fn value(env: Env<'_>, variable: &str) -> Option<String> {
    found(env, variable).map(|(value, _)| value)
}

/// The value, and where it comes from.
pub(crate) fn found(env: Env<'_>, variable: &str) -> Option<(String, Source)> {
    let flag = || flag_of(variable).and_then(|flag| Some((trimmed(env.get(flag))?, Source::Flag(flag))));
    flag().or_else(|| below_flags(env, variable))
}

/// The value that holds where no flag was given, and where it comes from.
pub(super) fn below_flags(env: Env<'_>, variable: &str) -> Option<(String, Source)> {
    let set = trimmed(env.get(variable)).map(|value| (value, Source::Variable));
    set.or_else(|| in_file(env, variable))
}

/// The value of the file.
pub(super) fn in_file(env: Env<'_>, variable: &str) -> Option<(String, Source)> {
    let super::FileValue { value, place } = env.in_file(variable)?;
    Some((trimmed(Some(value))?, Source::File(place)))
}

pub(super) fn trimmed(value: Option<String>) -> Option<String> {
    let value = value?.trim().to_owned();
    (!value.is_empty()).then_some(value)
}
