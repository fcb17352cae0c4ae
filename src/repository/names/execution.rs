//! Names of executions of jobs, and of what their tasks record.

use super::{BackupId, HASHED, JOBS, folder, unit};
use crate::base::error::{Code, Error, Result};
use crate::base::hash::sha256_hex;
use crate::repository::unit::Unit;
use std::fmt;
use std::str::FromStr;

/// Longest name that Cloud Run gives: that of a resource.
const LONGEST: usize = 63;

/// One execution of a job, as its orchestrator calls it: lower-case letters, digits and hyphens, at most 63 of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Execution(String);

impl Execution {
    /// What all requests with the same idempotency key ask for; `key`: everything by which two are told apart.
    pub(crate) fn of_key(key: &str) -> Self {
        Self(format!("key-{}", &sha256_hex(key.as_bytes())[..HASHED]))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Prefix of everything that its tasks record.
    pub fn prefix(&self) -> String {
        format!("{JOBS}{}/", self.0)
    }

    /// Key of what its tasks have agreed on.
    pub fn plan(&self) -> String {
        format!("{}plan.json", self.prefix())
    }

    /// Prefix of [`Execution::part`].
    pub fn parts(&self) -> String {
        format!("{}parts/", self.prefix())
    }

    /// Key of what became of a unit.
    pub fn part(&self, of: &Unit) -> String {
        self.part_of(&unit(&folder(&of.collection), of.kind()))
    }

    /// Prefix of [`Execution::run`].
    pub(crate) fn runs(&self) -> String {
        format!("{}runs/", self.prefix())
    }

    /// Key of the record of a run that such a request began.
    pub(crate) fn run(&self, id: &BackupId) -> String {
        format!("{}{id}.json", self.runs())
    }

    /// Key of the record that somebody cancelled that run.
    pub(crate) fn cancelled(&self, id: &BackupId) -> String {
        format!("{}cancelled/{id}.json", self.prefix())
    }

    pub(super) fn part_of(&self, unit: &str) -> String {
        format!("{}{unit}.json", self.parts())
    }
}

impl fmt::Display for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Execution {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let framed = !text.starts_with('-') && !text.ends_with('-');
        if text.is_empty() || text.len() > LONGEST || !framed || !text.bytes().all(plain) {
            let shown: String = text.chars().take(LONGEST).collect();
            return Err(Error::new(
                Code::BadRequest,
                format!("{shown:?} is not a valid name of an execution"),
            )
            .remedy("use lower-case letters, digits and hyphens, as Cloud Run does"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl serde::Serialize for Execution {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Execution {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cloud_run_would_call_an_execution_is_one() {
        for fine in ["qdrant-backup-x7k2p", "a", "0", &"a".repeat(63)] {
            assert_eq!(fine.parse::<Execution>().unwrap().as_str(), fine);
        }
        for wrong in ["", "-a", "a-", "A", "a/b", "..", "a b", "é", &"a".repeat(64)] {
            assert_eq!(
                wrong.parse::<Execution>().unwrap_err().code(),
                Code::BadRequest,
                "{wrong}"
            );
        }
    }

    #[test]
    fn its_records_lie_in_its_own_folder() {
        let execution: Execution = "nightly-x7k2p".parse().unwrap();
        assert_eq!(execution.plan(), "jobs/nightly-x7k2p/plan.json");
        // Even a collection of that name is not taken for the plan.
        assert_eq!(
            execution.part(&Unit::whole("plan")),
            "jobs/nightly-x7k2p/parts/plan.json"
        );
        assert_eq!(
            execution.part(&Unit::whole("..")),
            "jobs/nightly-x7k2p/parts/%2E%2E.json"
        );
    }
}
