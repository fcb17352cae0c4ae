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

/// The value of a variable, or of the flag that goes before it, without surrounding white space. Empty counts as unset: compose
/// files and Terraform write such.
pub fn value(env: Env<'_>, variable: &str) -> Option<String> {
    let flag = flag_of(variable).and_then(|flag| trimmed(env(flag)));
    flag.or_else(|| trimmed(env(variable)))
}

pub(super) fn trimmed(value: Option<String>) -> Option<String> {
    let value = value?.trim().to_owned();
    (!value.is_empty()).then_some(value)
}
