//! Reads variables one by one and gathers all that is wrong with them, so that a person mends them in one go.

use super::environment::Environment;
use super::settings::{Source, below_flags, flag_of, found, trimmed, value};
use crate::base::error::{Code, Error};
use crate::base::text::without_secrets;
use crate::base::when;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The variable, or its flag where the value came from that.
    pub variable: &'static str,
    /// Its value, without anything that may be secret; `None` when it is unset or a secret as a whole.
    pub value: Option<String>,
    /// Where the value stands, if it comes from the file: `/etc/qdrant-backup.toml:3`.
    pub place: Option<String>,
    /// What is wrong.
    pub wrong: String,
    /// What to do about it.
    pub remedy: String,
}

impl Problem {
    /// The problem without its remedy: `PORT="x" is not …`.
    pub fn what(&self) -> String {
        let name = match &self.place {
            Some(place) => format!("{place}: {}", self.variable.to_ascii_lowercase()),
            None => self.variable.to_owned(),
        };
        match &self.value {
            Some(value) => format!("{name}={value:?} {}", self.wrong),
            None => format!("{name} {}", self.wrong),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what(), self.remedy)
    }
}

/// All that is wrong with the configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub Vec<Problem>);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "; " };
            write!(f, "{comma}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        let doing = match invalid.0.len() {
            1 => "invalid configuration: 1 problem".to_owned(),
            n => format!("invalid configuration: {n} problems"),
        };
        Error::new(Code::ConfigInvalid, doing).because(invalid)
    }
}

/// The environment: variables, the flags above them, and the file below.
pub(crate) type Env<'a> = &'a dyn Environment;

/// Reads variables and keeps what is wrong with them.
pub(super) struct Reader<'a> {
    env: Env<'a>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(env: Env<'a>) -> Self {
        Self {
            env,
            problems: Vec::new(),
        }
    }

    /// `value`, unless anything was wrong. A group that cannot be made has left a problem behind.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Invalid> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(Invalid(self.problems)),
        }
    }

    /// The problems so far.
    pub(super) fn problems(self) -> Vec<Problem> {
        self.problems
    }

    /// The value without surrounding white space: of the flag, else of the variable, else of the file. Empty counts as unset.
    pub(super) fn text(&self, name: &'static str) -> Option<String> {
        value(self.env, name)
    }

    /// The value of the variable or of the file, whatever flag goes before it.
    pub(super) fn variable(&self, name: &'static str) -> Option<String> {
        below_flags(self.env, name).map(|(value, _)| value)
    }

    /// The value of the file, if that is the one that holds.
    pub(super) fn is_from_file(&self, name: &str) -> bool {
        matches!(found(self.env, name), Some((_, Source::File(_))))
    }

    /// What the file says, whatever goes before it.
    pub(super) fn file(&self, name: &str) -> Option<String> {
        let value = self.env.file()?.get(name)?;
        trimmed(Some(value.value))
    }

    /// What a message calls a setting, and where its value stands if that is the file.
    fn named(&self, variable: &'static str) -> (&'static str, Option<String>) {
        match found(self.env, variable) {
            Some((_, Source::Flag(flag))) => (flag, None),
            Some((_, Source::File(place))) => (variable, Some(place)),
            _ => (variable, None),
        }
    }

    /// The flag, where the value of the setting comes from that.
    pub(super) fn flag(&self, name: &str) -> Option<&'static str> {
        flag_of(name).filter(|flag| trimmed(self.env.get(flag)).is_some())
    }

    /// A number within `range`; `None` when the variable is unset, or wrong.
    pub(super) fn number<T>(&mut self, name: &'static str, range: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + fmt::Display,
    {
        let text = self.text(name)?;
        match text.parse() {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let (from, to) = range.into_inner();
                let wrong = format!("is not a whole number from {from} to {to}");
                self.problem(
                    name,
                    &text,
                    wrong,
                    "write such a number, or leave it out for the default",
                );
                None
            }
        }
    }

    /// A number within `range`, with a decimal point or without.
    pub(super) fn decimal(&mut self, name: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        let text = self.text(name)?;
        let number = text.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let (from, to) = range.into_inner();
            let wrong = format!("is not a number from {from} to {to}");
            self.problem(
                name,
                &text,
                wrong,
                "write such a number, e.g. 3, or leave it out for the default",
            );
        }
        number
    }

    /// A comma-separated list.
    pub(super) fn list(&self, name: &'static str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        text.split(',')
            .map(|item| item.trim().to_owned())
            .filter(|item| !item.is_empty())
            .collect()
    }

    /// Notes that a variable that must be set is not.
    pub(super) fn missing(&mut self, variable: &'static str, remedy: &str) {
        let flag = flag_of(variable).map_or_else(String::new, |flag| format!("; or give {flag}"));
        self.unset_problem(variable, "is not set", format!("{remedy}{flag}"));
    }

    /// Notes why a variable must be set that is not.
    pub(super) fn unset_problem(
        &mut self,
        variable: &'static str,
        wrong: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.problems.push(Problem {
            variable,
            value: None,
            place: None,
            wrong: wrong.into(),
            remedy: remedy.into(),
        });
    }

    /// A length of time: a whole number with its unit, `s`, `m`, `h` or `d`.
    pub(super) fn duration(&mut self, name: &'static str, range: RangeInclusive<Duration>) -> Option<Duration> {
        let text = self.text(name)?;
        match when::duration(&text) {
            Some(duration) if range.contains(&duration) => Some(duration),
            _ => {
                let (from, to) = (range.start().as_secs(), range.end().as_secs());
                let wrong = format!("is not a length of time from {from} s to {to} s");
                self.problem(name, &text, wrong, "write a whole number and s, m, h or d, e.g. 26h");
                None
            }
        }
    }

    /// Notes what is wrong with a value.
    pub(super) fn problem(
        &mut self,
        variable: &'static str,
        value: &str,
        wrong: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (variable, place) = self.named(variable);
        self.problems.push(Problem {
            variable,
            value: Some(without_secrets(value)),
            place,
            wrong: wrong.into(),
            remedy: remedy.into(),
        });
    }

    /// Notes what is wrong with a variable whose value is not to be shown.
    pub(super) fn secret_problem(
        &mut self,
        variable: &'static str,
        wrong: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (variable, place) = self.named(variable);
        self.problems.push(Problem {
            variable,
            value: None,
            place,
            wrong: wrong.into(),
            remedy: remedy.into(),
        });
    }
}
