//! The configuration file: TOML, whose keys are the names of the variables in lower case. It holds no secret, and nothing that is
//! said by a platform.

use super::reader::{Invalid, Problem};
use super::settings::{Setting, settings};
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The variable that names it.
pub(super) const VARIABLE: &str = "QDRANT_BACKUP_CONFIG";
/// Largest file.
const LARGEST: u64 = 1 << 20;
/// Variables that are lists, so that a key may be one: their items stand between commas elsewhere.
const LISTS: [&str; 9] = [
    "QDRANT_NODES",
    "DRILL_QDRANT_NODES",
    "RESTORE_QDRANT_NODES",
    "BACKUP_INCLUDE",
    "BACKUP_EXCLUDE",
    "AUTH_AUDIENCE",
    "AUTH_READERS",
    "AUTH_OPERATORS",
    "AUTH_ADMINS",
];

/// A value of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileValue {
    /// As a variable would hold it.
    pub value: String,
    /// Where it stands: `/etc/qdrant-backup.toml:3`.
    pub place: String,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    path: PathBuf,
    /// By variable, with the number of the line.
    values: BTreeMap<&'static str, (String, usize)>,
    /// Whether every user of the machine may change it.
    is_open: bool,
}

/// What is wrong with a file: in which line, what, and the remedy.
#[derive(Debug)]
struct Fault {
    line: Option<usize>,
    wrong: String,
    remedy: String,
}

impl ConfigFile {
    /// The file that a flag or the variable names, if any does.
    pub fn named(env: super::Env<'_>) -> Result<Option<Self>, Invalid> {
        let Some(path) = super::value(env, VARIABLE) else {
            return Ok(None);
        };
        let variable = match env.get("--config") {
            Some(_) => "--config",
            None => VARIABLE,
        };
        let problem = |fault: Fault| Problem {
            variable,
            value: Some(path.clone()),
            place: None,
            wrong: match fault.line {
                Some(line) => format!("line {line}: {}", fault.wrong),
                None => fault.wrong,
            },
            remedy: fault.remedy,
        };
        let read = Self::read(Path::new(&path));
        read.map(Some)
            .map_err(|faults| Invalid(faults.into_iter().map(problem).collect()))
    }

    fn read(path: &Path) -> Result<Self, Vec<Fault>> {
        let failed = |wrong: String| {
            let remedy = "name a TOML file that this process may read".to_owned();
            vec![Fault {
                line: None,
                wrong,
                remedy,
            }]
        };
        let cannot = |e: std::io::Error| failed(format!("cannot be read: {e}"));
        let file = std::fs::File::open(path).map_err(cannot)?;
        let meta = file.metadata().map_err(cannot)?;
        let mut bytes = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(cannot)?;
        let text = String::from_utf8(bytes)
            .ok()
            .filter(|text| text.len() as u64 <= LARGEST);
        let text = text.ok_or_else(|| failed("is no text, or larger than 1 MiB".to_owned()))?;
        Ok(Self {
            path: path.to_owned(),
            values: parse(&text)?,
            is_open: meta.permissions().mode() & 0o002 != 0,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is unwise about its rights.
    pub(super) fn warning(&self) -> Option<String> {
        let path = self.path.display();
        self.is_open
            .then(|| format!("every user of this machine may change {path}, and so where backups and Qdrant's key go"))
    }

    pub(super) fn get(&self, variable: &str) -> Option<FileValue> {
        let (value, line) = self.values.get(variable)?;
        Some(FileValue {
            value: value.clone(),
            place: format!("{}:{line}", self.path.display()),
        })
    }
}

fn parse(text: &str) -> Result<BTreeMap<&'static str, (String, usize)>, Vec<Fault>> {
    let line = |at: usize| text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
    let table = DeTable::parse(text).map_err(|e| {
        // Its text shows the line itself, which may hold what nobody is to see.
        vec![Fault {
            line: e.span().map(|span| line(span.start)),
            wrong: format!("is not TOML: {}", e.message()),
            remedy: "write lines such as: backup_store = \"gs://bucket/prefix\"".to_owned(),
        }]
    })?;
    let mut values = BTreeMap::new();
    let mut faults = Vec::new();
    for (key, value) in table.get_ref() {
        let at = line(key.span().start);
        match read(key, value) {
            Ok((variable, value)) => drop(values.insert(variable, (value, at))),
            Err((wrong, remedy)) => faults.push(Fault {
                line: Some(at),
                wrong,
                remedy,
            }),
        }
    }
    // The table is in the order of its keys.
    faults.sort_by_key(|fault| fault.line);
    match faults.is_empty() {
        true => Ok(values),
        false => Err(faults),
    }
}

fn read(
    key: &Spanned<std::borrow::Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
) -> Result<(&'static str, String), (String, String)> {
    let key = key.get_ref();
    let setting = settings().find(|setting| setting.key() == **key);
    let Some(setting) = setting.filter(|setting| setting.is_in_file()) else {
        return Err(refusal(key, value.get_ref(), setting));
    };
    let variable = setting.variable;
    let text = match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().replace('_', "")),
        DeValue::Float(number) => Some(number.as_str().replace('_', "")),
        DeValue::Boolean(is) => Some(is.to_string()),
        DeValue::Array(items) if LISTS.contains(&variable) => items
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::String(text) if !text.contains(',') => Some(text.to_string()),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()
            .map(|items| items.join(",")),
        _ => None,
    };
    let what = match LISTS.contains(&variable) {
        true => "write a text, or a list of texts without commas",
        false => "write a text in quotes, a number, true or false",
    };
    text.map(|text| (variable, text))
        .ok_or_else(|| (format!("{key} has a value of a wrong kind"), what.to_owned()))
}

/// Why a key is none of this file, and what to do about it.
fn refusal(key: &str, value: &DeValue<'_>, setting: Option<&Setting>) -> (String, String) {
    let shown = key.escape_debug();
    match setting {
        Some(setting) if setting.is_secret() => (
            format!("{shown} is a secret, and this file holds none"),
            format!(
                "name a file that holds it by {}_file, or set {}",
                setting.key(),
                setting.variable
            ),
        ),
        Some(setting) => (
            format!("{shown} is a variable of the environment alone"),
            match OLDER.iter().find(|(older, _)| *older == setting.variable) {
                Some((_, newer)) => format!("write {newer}"),
                None => "leave it out".to_owned(),
            },
        ),
        None if matches!(value, DeValue::Table(_)) => (
            format!("{shown} is a table"),
            "write each key with its full name, e.g. qdrant_url = \"http://10.0.0.5:6333\"".to_owned(),
        ),
        None => (
            format!("unknown key {shown}"),
            match nearest(key) {
                Some(near) => format!("write {near}, or leave it out"),
                None => "leave it out; docs/reference/configuration.md lists the keys".to_owned(),
            },
        ),
    }
}

/// Older forms, and the keys that take their place.
const OLDER: [(&str, &str); 5] = [
    ("QDRANT_HOST", "qdrant_url"),
    ("QDRANT_PORT", "qdrant_url"),
    ("GCS_BUCKET_NAME", "backup_store"),
    ("GCS_FOLDER_PREFIX", "backup_store"),
    ("AUTH_ALLOWED_EMAILS", "auth_admins"),
];

/// The key that may be meant.
fn nearest(key: &str) -> Option<String> {
    let key = key.to_ascii_lowercase().replace('-', "_");
    let keys = settings().filter(|setting| setting.is_in_file()).map(Setting::key);
    keys.map(|near| (strsim::osa_distance(&near, &key), near))
        .filter(|(distance, near)| *distance <= near.len() / 4)
        .min()
        .map(|(_, near)| near)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn told(text: &str) -> Vec<String> {
        let faults = parse(text).unwrap_err();
        faults
            .into_iter()
            .map(|f| format!("{}: {} ({})", f.line.unwrap(), f.wrong, f.remedy))
            .collect()
    }

    #[test]
    fn keys_are_the_variables_in_lower_case_and_values_what_toml_has() {
        let text = "# production\n\nqdrant_url = 'http://q:6333'\nbackup_include = [\"docs\", \"logs-*\"]\n\
                    retain_daily = 1_000\nprune_after_backup = true\nbackup_max_age = \"26h\"\nbackup_exclude = \"a,b\"\n\
                    backup_max_latency_factor = 2.5\n";
        let values = parse(text).unwrap();
        let value = |variable| values.get(variable).map(|(value, line)| (value.as_str(), *line));
        assert_eq!(value("QDRANT_URL"), Some(("http://q:6333", 3)));
        assert_eq!(value("BACKUP_INCLUDE"), Some(("docs,logs-*", 4)));
        assert_eq!(value("RETAIN_DAILY"), Some(("1000", 5)));
        assert_eq!(value("PRUNE_AFTER_BACKUP"), Some(("true", 6)));
        assert_eq!(value("BACKUP_EXCLUDE"), Some(("a,b", 8)));
        assert_eq!(value("BACKUP_MAX_LATENCY_FACTOR"), Some(("2.5", 9)));
        assert_eq!(values.len(), 7);
    }

    #[test]
    fn what_does_not_belong_into_the_file_is_told_by_line_with_what_is_meant() {
        let text = "qdrant_ulr = 1\nQDRANT_URL = 1\nqdrant_api_key = \"s3cr3t\"\nport = 8080\nk_service = \"x\"\n\
                    gcs_bucket_name = \"b\"\nretain-daily = 3\ncolour = 1\nbackup_concurrency = 2026-11-22\nqdrant_url = [\"a\"]\n\
                    backup_include = [\"a,b\"]\n\n[qdrant]\nurl = \"x\"\n";
        assert_eq!(
            told(text),
            [
                "1: unknown key qdrant_ulr (write qdrant_url, or leave it out)",
                "2: unknown key QDRANT_URL (write qdrant_url, or leave it out)",
                "3: qdrant_api_key is a secret, and this file holds none (name a file that holds it by qdrant_api_key_file, or set QDRANT_API_KEY)",
                "4: port is a variable of the environment alone (leave it out)",
                "5: k_service is a variable of the environment alone (leave it out)",
                "6: gcs_bucket_name is a variable of the environment alone (write backup_store)",
                "7: unknown key retain-daily (write retain_daily, or leave it out)",
                "8: unknown key colour (leave it out; docs/reference/configuration.md lists the keys)",
                "9: backup_concurrency has a value of a wrong kind (write a text in quotes, a number, true or false)",
                "10: qdrant_url has a value of a wrong kind (write a text in quotes, a number, true or false)",
                "11: backup_include has a value of a wrong kind (write a text, or a list of texts without commas)",
                "13: qdrant is a table (write each key with its full name, e.g. qdrant_url = \"http://10.0.0.5:6333\")",
            ]
        );
    }

    #[test]
    fn what_is_no_toml_is_told_by_line_and_not_repeated() {
        for text in [
            "retain_daily = 3\nqdrant_api_key = s3cr3t\n",
            "a = 1\na = \"s3cr3t\"\n",
            "x = 1\n\"s3cr3t\n",
        ] {
            let [told] = told(text).try_into().unwrap();
            assert!(
                told.starts_with("2: is not TOML: ") && !told.contains("s3cr3t"),
                "{told}"
            );
        }
    }

    #[test]
    fn lists_older_forms_and_secrets_are_settings() {
        for name in LISTS.into_iter().chain(OLDER.map(|(older, _)| older)) {
            assert!(settings().any(|setting| setting.variable == name), "{name}");
        }
        for (_, newer) in OLDER {
            assert!(
                settings().any(|setting| setting.key() == newer && setting.is_in_file()),
                "{newer}"
            );
        }
    }
}
