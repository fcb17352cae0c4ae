//! Where settings come from: a flag goes before a variable, a variable before the file, and the file before the default.

use super::file::{ConfigFile, FileValue};
use super::settings::{flag_of, trimmed};
use std::collections::BTreeMap;

/// All of the environment: a test passes a function that knows some variables.
pub trait Environment {
    /// The value of a variable, if it is set; and of a flag by its name (`--store`), if it was given.
    fn get(&self, name: &str) -> Option<String>;

    /// What the configuration file says of a variable, where nothing that goes before the file speaks of the same thing.
    fn in_file(&self, _variable: &str) -> Option<FileValue> {
        None
    }

    /// What the file says, whatever goes before it.
    fn file(&self) -> Option<&ConfigFile> {
        None
    }
}

impl<F: Fn(&str) -> Option<String>> Environment for F {
    fn get(&self, name: &str) -> Option<String> {
        self(name)
    }
}

/// Variables that speak of the same thing as a key of the file, and go before it as the variable of its own name does.
const BEFORE: [(&str, &str); 6] = [
    ("QDRANT_HOST", "QDRANT_URL"),
    ("QDRANT_API_KEY", "QDRANT_API_KEY_FILE"),
    ("DRILL_QDRANT_API_KEY", "DRILL_QDRANT_API_KEY_FILE"),
    ("RESTORE_QDRANT_API_KEY", "RESTORE_QDRANT_API_KEY_FILE"),
    ("GCS_BUCKET_NAME", "BACKUP_STORE"),
    ("LOG_LEVEL", "RUST_LOG"),
];

/// Flags over variables over a file.
pub struct Layers<'a> {
    flags: &'a BTreeMap<&'static str, String>,
    variables: &'a dyn Fn(&str) -> Option<String>,
    file: Option<&'a ConfigFile>,
}

impl<'a> Layers<'a> {
    pub fn new(
        flags: &'a BTreeMap<&'static str, String>,
        variables: &'a dyn Fn(&str) -> Option<String>,
        file: Option<&'a ConfigFile>,
    ) -> Self {
        Self { flags, variables, file }
    }
}

impl Environment for Layers<'_> {
    fn get(&self, name: &str) -> Option<String> {
        match name.starts_with("--") {
            true => self.flags.get(name).cloned(),
            false => (self.variables)(name),
        }
    }

    fn in_file(&self, variable: &str) -> Option<FileValue> {
        let is_set = |name: &str| {
            let flag = flag_of(name).and_then(|flag| trimmed(self.get(flag)));
            flag.or_else(|| trimmed(self.get(name))).is_some()
        };
        let is_hidden = BEFORE.iter().any(|(before, key)| *key == variable && is_set(before));
        self.file?.get(variable).filter(|_| !is_hidden)
    }

    fn file(&self) -> Option<&ConfigFile> {
        self.file
    }
}

/// Another environment with one flag more.
pub(crate) struct WithFlag<'a> {
    pub(crate) env: super::Env<'a>,
    pub(crate) flag: &'static str,
    pub(crate) value: &'a str,
}

impl Environment for WithFlag<'_> {
    fn get(&self, name: &str) -> Option<String> {
        match name == self.flag {
            true => Some(self.value.to_owned()),
            false => self.env.get(name),
        }
    }

    fn in_file(&self, variable: &str) -> Option<FileValue> {
        self.env.in_file(variable)
    }

    fn file(&self) -> Option<&ConfigFile> {
        self.env.file()
    }
}
