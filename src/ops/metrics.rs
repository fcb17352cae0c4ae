//! What monitoring is told, in Prometheus' text format: by `GET /metrics`, and by `status --metrics-file`.
//!
//! It is read from the store, not counted: a restart forgets nothing, and each process tells the same.

mod failed;
mod text;

pub(crate) use failed::{FailedRun, failed};

use super::events::Operation;
use super::freshness::{Answer, CollectionState, Expected, Good, State, newest_good};
use std::time::Duration;
use text::Text;
use time::OffsetDateTime;

/// Collections that have series of their own. Of more those that stand worst have, so that whoever alerts on a series misses none
/// before these are too many.
const MOST: usize = 1000;

/// Whether a backup is proven to a level.
type IsProven = fn(&Good) -> bool;

/// What was seen, and when.
pub(crate) struct MetricsInput<'a> {
    pub(crate) answer: &'a Answer,
    /// Backups that left no manifest.
    pub(crate) failed: &'a [FailedRun],
    pub(crate) max_age: Duration,
    /// When Qdrant and the store were asked for it.
    pub(crate) at: OffsetDateTime,
    /// In all objects of backups, where that is known.
    pub(crate) stored_bytes: Option<u64>,
    /// Whether somebody holds the lease.
    pub(crate) is_lease_held: bool,
    /// What this process is at; `None`: it does nothing but look.
    pub(crate) running: Option<&'a [Operation]>,
}

/// How everything stands. What was never backed up, or never proven, is of time 0, so that its age is one that alerts.
pub(crate) fn text(input: &MetricsInput<'_>) -> String {
    let mut text = Text::default();
    of_all(&mut text, input);
    of_each(&mut text, input);
    text.end()
}

fn of_all(text: &mut Text, input: &MetricsInput<'_>) {
    let MetricsInput { answer, .. } = input;
    text.gauge("build_info", "Version of qdrant-backup that wrote this.");
    text.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.single(
        "status_timestamp_seconds",
        "When Qdrant and the store were asked.",
        input.at.unix_timestamp(),
    );
    text.single(
        "status_protected",
        "1 if there is a collection to back up and all are protected: the verdict of `status`.",
        i64::from(answer.is_fresh()),
    );
    text.single(
        "qdrant_up",
        "1 if Qdrant told its collections; else they are those of the newest good backup.",
        i64::from(matches!(answer.expected, Expected::Live(_))),
    );
    text.single(
        "max_age_seconds",
        "Age from which the newest good backup of a collection is too old.",
        input.max_age.as_secs(),
    );
    text.single(
        "collections",
        "Collections that are to be backed up.",
        answer.collections.len(),
    );
    text.single(
        "collections_without_series",
        "How many of those are left out below, because there are too many; none of them stands worse.",
        answer.collections.len().saturating_sub(MOST),
    );
    if let Some(newest) = answer.backups.first() {
        text.single(
            "last_duration_seconds",
            "How long the newest good backup took.",
            newest.took.whole_seconds().max(0),
        );
    }
    if let Some(bytes) = input.stored_bytes {
        text.single(
            "stored_bytes",
            "Bytes of all backups in the store, and of what killed runs left there.",
            bytes,
        );
    }
    text.single(
        "lease_held",
        "1 while a backup, restore, drill or prune works on the store, whichever process it is.",
        i64::from(input.is_lease_held),
    );
    if let Some(running) = input.running {
        text.gauge("operation_in_progress", "1 while this process is at it.");
        for operation in Operation::ALL {
            let is_running = i64::from(running.contains(&operation));
            text.sample("operation_in_progress", &[("kind", &operation.to_string())], is_running);
        }
    }
}

fn of_each(text: &mut Text, input: &MetricsInput<'_>) {
    let MetricsInput { answer, at: now, .. } = input;
    let shown = shown(&answer.collections);
    let names = || shown.iter().map(|collection| collection.name.as_str());
    let newest = |name: &str, by: fn(&Good) -> bool| newest_good(name, answer.backups.iter().filter(|b| by(b)), *now);
    let at = |name: &str, by| newest(name, by).map_or(0, |(_, at)| at.unix_timestamp().max(0));

    text.by_collection(
        "protected",
        "1 if the collection has a good backup younger than max_age_seconds, or is new.",
        shown.iter().map(|c| (c.name.as_str(), i64::from(c.is_in_time()))),
    );
    text.by_collection(
        "last_success_timestamp_seconds",
        "Of when the state is that the newest good backup has of the collection; 0 if there is none.",
        names().map(|name| (name, at(name, |_| true))),
    );
    const PROOF: &str = "last_proof_timestamp_seconds";
    text.gauge(
        PROOF,
        "The same of the newest good backup that is stored, verified, opened by the engine, or drilled on a server.",
    );
    let levels: [(&str, IsProven); 4] = [
        ("stored", |_| true),
        ("verified", Good::was_read_back),
        ("opened", |b| b.opened),
        ("drilled", |b| b.drilled),
    ];
    for name in names() {
        for (level, by) in levels {
            text.sample(PROOF, &[("collection", name), ("level", level)], at(name, by));
        }
    }
    text.by_collection(
        "failures_since_success",
        "Newer backups that were to have the collection and count as none: failed, partial, damaged, or not proven.",
        names()
            .zip(answer.rejected_since_success(names(), *now))
            .map(|(name, rejected)| {
                let success = newest(name, |_| true).map(|(good, _)| good.id.time());
                (name, rejected + failed::since(input.failed, name, success))
            }),
    );
    // Without a backup there is no size: 0 would be one.
    let size = |name| newest(name, |_| true).map(|(good, _)| good.bytes.get(name).copied().unwrap_or_default());
    text.by_collection(
        "last_size_bytes",
        "Bytes that the newest good backup has of the collection.",
        names().filter_map(|name| Some((name, size(name)?))),
    );
}

/// Those that have series, in the order of their names.
fn shown(all: &[CollectionState]) -> Vec<&CollectionState> {
    let mut shown: Vec<_> = all.iter().collect();
    shown.sort_by_key(|collection| match collection.state {
        State::Missing => 0,
        State::Stale => 1,
        State::New => 2,
        State::Fresh => 3,
    });
    shown.truncate(MOST);
    shown.sort_by(|a, b| a.name.cmp(&b.name));
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::freshness::{FreshnessInput, FreshnessPolicy, Rejected, Stored, assess};
    use crate::repository::manifest::Source;
    use crate::repository::names::BackupId;
    use crate::repository::selection::Selection;
    use std::sync::Arc;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

    fn good(hours: i64, collection: &str, bytes: u64, drilled: bool) -> Good {
        let at = NOW - time::Duration::hours(hours);
        Good {
            id: BackupId::at(at),
            selection: Selection::default(),
            source: None,
            verified: false,
            opened: drilled,
            drilled,
            took: time::Duration::milliseconds(61_900),
            collections: Arc::new([(collection.to_owned(), at)].into()),
            bytes: Arc::new([(collection.to_owned(), bytes)].into()),
            tells_all: true,
        }
    }

    fn rejected(hours: i64, selection: Option<Selection>) -> Rejected {
        Rejected {
            id: BackupId::at(NOW - time::Duration::hours(hours)),
            selection,
            source: None,
        }
    }

    fn answer(live: &[&str], stored: Stored) -> Answer {
        let live: Vec<_> = live.iter().map(|name| (*name).to_owned()).collect();
        let question = FreshnessInput {
            selection: &Selection::default(),
            live: Some(&live),
            source: &Source::default(),
            wanted: FreshnessPolicy::default(),
            now: NOW,
        };
        assess(&question, stored).unwrap()
    }

    fn told(live: &[&str], stored: Stored) -> String {
        text(&MetricsInput {
            answer: &answer(live, stored),
            failed: &[],
            max_age: FreshnessPolicy::default().max_age,
            at: NOW,
            stored_bytes: Some(1300),
            is_lease_held: true,
            running: Some(&[Operation::Verify]),
        })
    }

    fn of(backups: Vec<Good>) -> Stored {
        Stored {
            backups,
            ..Stored::default()
        }
    }

    fn samples(text: &str) -> Vec<&str> {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples
            .map(|line| line.strip_prefix("qdrant_backup_").unwrap())
            .collect()
    }

    #[test]
    fn each_collection_has_its_times_and_what_never_was_is_of_time_0() {
        let backups = vec![good(1, "docs", 700, false), good(30, "docs", 600, true)];
        let text = told(&["docs", "logs"], of(backups));
        let now = NOW.unix_timestamp();
        let (hour, older) = (now - 3600, now - 30 * 3600);
        let expected = [
            concat!("build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1").to_owned(),
            format!("status_timestamp_seconds {now}"),
            "status_protected 0".to_owned(),
            "qdrant_up 1".to_owned(),
            "max_age_seconds 93600".to_owned(),
            "collections 2".to_owned(),
            "collections_without_series 0".to_owned(),
            "last_duration_seconds 61".to_owned(),
            "stored_bytes 1300".to_owned(),
            "lease_held 1".to_owned(),
            "operation_in_progress{kind=\"backup\"} 0".to_owned(),
            "operation_in_progress{kind=\"verify\"} 1".to_owned(),
            "operation_in_progress{kind=\"restore\"} 0".to_owned(),
            "operation_in_progress{kind=\"drill\"} 0".to_owned(),
            "operation_in_progress{kind=\"prune\"} 0".to_owned(),
            "protected{collection=\"docs\"} 1".to_owned(),
            "protected{collection=\"logs\"} 0".to_owned(),
            format!("last_success_timestamp_seconds{{collection=\"docs\"}} {hour}"),
            "last_success_timestamp_seconds{collection=\"logs\"} 0".to_owned(),
            format!("last_proof_timestamp_seconds{{collection=\"docs\",level=\"stored\"}} {hour}"),
            format!("last_proof_timestamp_seconds{{collection=\"docs\",level=\"verified\"}} {older}"),
            format!("last_proof_timestamp_seconds{{collection=\"docs\",level=\"opened\"}} {older}"),
            format!("last_proof_timestamp_seconds{{collection=\"docs\",level=\"drilled\"}} {older}"),
            "last_proof_timestamp_seconds{collection=\"logs\",level=\"stored\"} 0".to_owned(),
            "last_proof_timestamp_seconds{collection=\"logs\",level=\"verified\"} 0".to_owned(),
            "last_proof_timestamp_seconds{collection=\"logs\",level=\"opened\"} 0".to_owned(),
            "last_proof_timestamp_seconds{collection=\"logs\",level=\"drilled\"} 0".to_owned(),
            "failures_since_success{collection=\"docs\"} 0".to_owned(),
            "failures_since_success{collection=\"logs\"} 0".to_owned(),
            "last_size_bytes{collection=\"docs\"} 700".to_owned(),
        ];
        assert_eq!(samples(&text), expected);
        let described = |name: &str| text.contains(&format!("# TYPE qdrant_backup_{name} gauge\n"));
        assert!(
            samples(&text)
                .iter()
                .all(|sample| described(sample.split(['{', ' ']).next().unwrap())),
            "{text}"
        );
    }

    #[test]
    fn what_the_engine_has_opened_is_not_drilled() {
        let opened = Good {
            drilled: false,
            ..good(1, "docs", 700, true)
        };
        let text = told(&["docs"], of(vec![opened]));
        let hour = NOW.unix_timestamp() - 3600;
        for (level, at) in [("verified", hour), ("opened", hour), ("drilled", 0)] {
            let sample = format!("last_proof_timestamp_seconds{{collection=\"docs\",level=\"{level}\"}} {at}");
            assert!(samples(&text).contains(&sample.as_str()), "{sample}: {text}");
        }
    }

    #[test]
    fn a_backup_that_counts_as_none_is_a_failure_of_what_it_was_to_have() {
        let only = |name: &str| Selection {
            collections: vec![name.to_owned()],
            ..Selection::default()
        };
        let stored = Stored {
            backups: vec![good(3, "docs", 700, false)],
            rejected: vec![
                // Of a clock that was wrong.
                rejected(-5, Some(Selection::default())),
                rejected(1, Some(Selection::default())),
                rejected(2, Some(only("logs"))),
                // Nobody knows what that was to have.
                rejected(2, None),
                rejected(4, Some(only("docs"))),
            ],
            since: None,
        };
        let answer = answer(&["docs", "logs"], stored);
        assert_eq!(answer.rejected_since_success(["docs", "logs", "docs"], NOW), [2, 3, 2]);
    }

    #[test]
    fn of_too_many_collections_those_that_stand_worst_have_series() {
        let names: Vec<String> = (0..MOST + 2).map(|i| format!("c{i:04}")).collect();
        let live: Vec<_> = names.iter().map(String::as_str).collect();
        // Each but the last has a backup.
        let backups = live[..MOST + 1].iter().map(|name| good(1, name, 1, false)).collect();
        let text = told(&live, of(backups));
        let samples = samples(&text);
        assert!(samples.contains(&"collections 1002") && samples.contains(&"collections_without_series 2"));
        let protected: Vec<_> = samples.iter().filter(|s| s.starts_with("protected{")).collect();
        assert_eq!(protected.len(), MOST);
        assert_eq!(*protected[MOST - 1], r#"protected{collection="c1001"} 0"#);
        assert_eq!(*protected[MOST - 2], r#"protected{collection="c0998"} 1"#);
    }

    #[test]
    fn a_qdrant_without_collections_is_not_protected() {
        let text = told(&[], of(vec![good(1, "docs", 700, false)]));
        assert!(samples(&text).contains(&"status_protected 0"), "{text}");
        assert!(!text.contains("collection="), "{text}");
    }

    #[test]
    fn a_name_cannot_write_a_line_of_its_own() {
        let text = told(&["a\"} 1\nb\\"], Stored::default());
        assert!(
            samples(&text).contains(&r#"protected{collection="a\"} 1\nb\\"} 0"#),
            "{text}"
        );
    }
}
