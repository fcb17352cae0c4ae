//! Which backups are kept, and when the others are deleted.

use super::reader::Reader;
use super::{BackupConfig, StoreConfig, notify};
use crate::ops::notify::NotifyConfig;
use crate::ops::retention::Policy;
use std::time::Duration;

/// Which backups are kept, and when the others are deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionConfig {
    /// `RETAIN_LAST`, `RETAIN_HOURLY`, `RETAIN_DAILY`, `RETAIN_WEEKLY`, `RETAIN_MONTHLY`, `RETAIN_YEARLY`: how many to keep by
    /// each rule, 0 to 100000; unset or 0: the rule is off. `RETAIN_PARTIAL`: how many partial ones, default 1. `RETAIN_MIN_AGE_HOURS`: no younger backup is deleted, default 24.
    /// `RETAIN_LEFTOVER_HOURS`: when what has no manifest is deleted, default 6; or `RETAIN_MIN_AGE_HOURS` above 24.
    pub policy: Policy,
    /// `PRUNE_AFTER_BACKUP`: `true` deletes by the policy after each backup that saved something; default `false`.
    pub(crate) after_backup: bool,
}

impl RetentionConfig {
    /// Reads which backups are kept, and nothing else.
    ///
    /// # Errors
    /// What is wrong with these variables.
    pub(crate) fn policy_from_env(env: super::Env<'_>) -> Result<Policy, super::Invalid> {
        let mut reader = Reader::new(env);
        let policy = Self::policy(&mut reader);
        reader.finish(Some(policy))
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let policy = Self::policy(reader);
        let after_backup = after_backup(reader, &policy);
        Self { policy, after_backup }
    }

    fn policy(reader: &mut Reader<'_>) -> Policy {
        let mut rule = |name| reader.number(name, 0..=100_000).unwrap_or(0);
        let mut policy = Policy {
            last: rule("RETAIN_LAST"),
            hourly: rule("RETAIN_HOURLY"),
            daily: rule("RETAIN_DAILY"),
            weekly: rule("RETAIN_WEEKLY"),
            monthly: rule("RETAIN_MONTHLY"),
            yearly: rule("RETAIN_YEARLY"),
            ..Policy::default()
        };
        if let Some(partial) = reader.number("RETAIN_PARTIAL", 1..=100_000) {
            policy.partial = partial;
        }
        if let Some(hours) = reader.number("RETAIN_MIN_AGE_HOURS", 0..=876_000_u64) {
            policy.min_age = Duration::from_secs(hours * 3600);
        }
        match reader.number("RETAIN_LEFTOVER_HOURS", 1..=876_000_u64) {
            Some(hours) => policy.leftover_age = Duration::from_secs(hours * 3600),
            // Longer than the default: the bucket may refuse to delete what is younger.
            None if policy.min_age > Policy::default().min_age => policy.leftover_age = policy.min_age,
            None => {}
        }
        policy
    }
}

/// All that pruning needs; no Qdrant.
#[derive(Clone, Debug)]
pub struct PruneConfig {
    /// Where backups are kept.
    pub store: StoreConfig,
    /// Which of them are kept.
    pub retention: RetentionConfig,
    /// `BACKUP_LEASE_SECS`, see [`BackupConfig::lease`].
    pub lease: Duration,
    /// Who is told how a prune ends.
    pub notify: NotifyConfig,
}

impl PruneConfig {
    /// Reads what pruning needs.
    pub fn from_env(env: super::Env<'_>) -> Result<Self, super::Invalid> {
        let mut reader = Reader::new(env);
        let store = StoreConfig::read(&mut reader);
        let retention = RetentionConfig::read(&mut reader);
        let lease = BackupConfig::read(&mut reader).lease;
        let notify = notify::read(&mut reader);
        reader.finish(store.map(|store| Self {
            store,
            retention,
            lease,
            notify,
        }))
    }
}

fn after_backup(reader: &mut Reader<'_>, policy: &Policy) -> bool {
    const NAME: &str = "PRUNE_AFTER_BACKUP";
    let Some(text) = reader.text(NAME) else {
        return false;
    };
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" if policy.is_empty() => {
            reader.problem(
                NAME,
                &text,
                "is set, but no retention rule is",
                "set e.g. RETAIN_DAILY=30, or leave it out",
            );
            false
        }
        "true" | "1" => true,
        "false" | "0" => false,
        _ => {
            reader.problem(NAME, &text, "is neither true nor false", "write true or false");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn read(env: &[(&str, &str)]) -> Result<RetentionConfig, Vec<&'static str>> {
        let env: HashMap<String, String> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let env = |name: &str| env.get(name).cloned();
        let mut reader = Reader::new(&env);
        let config = RetentionConfig::read(&mut reader);
        reader
            .finish(Some(config))
            .map_err(|invalid| invalid.0.iter().map(|p| p.variable).collect())
    }

    #[test]
    fn rules_are_off_unless_they_are_set() {
        let config = read(&[("RETAIN_LAST", ""), ("RETAIN_DAILY", "0")]).unwrap();
        assert_eq!(config, RetentionConfig::default());
        assert!(config.policy.is_empty());
        assert_eq!(config.policy.min_age, Duration::from_secs(86_400));
        let all = ["LAST", "HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"].map(|rule| format!("RETAIN_{rule}"));
        let all: Vec<_> = all
            .iter()
            .zip(["1", "2", "3", "4", "5", "6"])
            .map(|(k, v)| (k.as_str(), v))
            .collect();
        let set = read(
            &[
                &all[..],
                &[
                    ("RETAIN_PARTIAL", "7"),
                    ("RETAIN_MIN_AGE_HOURS", "1"),
                    ("RETAIN_LEFTOVER_HOURS", "2"),
                    ("PRUNE_AFTER_BACKUP", "True"),
                ],
            ]
            .concat(),
        )
        .unwrap();
        let min_age = Duration::from_secs(3600);
        let policy = Policy {
            last: 1,
            hourly: 2,
            daily: 3,
            weekly: 4,
            monthly: 5,
            yearly: 6,
            partial: 7,
            min_age,
            leftover_age: min_age * 2,
        };
        assert_eq!(
            set,
            RetentionConfig {
                policy,
                after_backup: true
            }
        );
    }

    #[test]
    fn what_is_unclear_is_refused() {
        for (name, value) in [
            ("RETAIN_LAST", "all"),
            ("RETAIN_DAILY", "-1"),
            ("RETAIN_PARTIAL", "0"), // the newest one may be all that there is of a collection
            ("RETAIN_MIN_AGE_HOURS", "1d"),
            ("RETAIN_LEFTOVER_HOURS", "0"), // what a run has just written
            ("PRUNE_AFTER_BACKUP", "yes"),
            ("PRUNE_AFTER_BACKUP", "true"), // by no rule
        ] {
            assert_eq!(read(&[(name, value)]), Err(vec![name]), "{value}");
        }
    }
}
