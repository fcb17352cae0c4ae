//! What monitoring is told, in Prometheus' text format.

use super::freshness::{Answer, Good, newest_good};
use std::fmt::Write;
use std::time::Duration;
use time::OffsetDateTime;

/// How the collections stand. What was never backed up, or never proven, is of time 0, so that its age is one that alerts.
pub(crate) fn text(answer: &Answer, max_age: Duration, now: OffsetDateTime) -> String {
    let names = || answer.collections.iter().map(|collection| collection.name.as_str());
    let newest = |name: &str, by: fn(&Good) -> bool| newest_good(name, answer.backups.iter().filter(|b| by(b)), now);
    let at = |name: &str, by| newest(name, by).map_or(0, |(_, at)| at.unix_timestamp().max(0));
    let mut text = Text::default();

    text.gauge("build_info", "Version of qdrant-backup that wrote this.");
    text.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.gauge("status_timestamp_seconds", "When Qdrant and the store were asked.");
    text.sample("status_timestamp_seconds", &[], now.unix_timestamp());
    text.gauge(
        "status_protected",
        "1 if there is a collection to back up and all are protected: the verdict of `status`.",
    );
    text.sample("status_protected", &[], i64::from(answer.is_fresh()));
    text.gauge(
        "max_age_seconds",
        "Age from which the newest good backup of a collection is too old.",
    );
    text.sample("max_age_seconds", &[], max_age.as_secs());

    text.gauge(
        "protected",
        "1 if the collection has a good backup younger than that, or is new.",
    );
    for collection in &answer.collections {
        text.of("protected", &collection.name, i64::from(collection.is_in_time()));
    }
    const SUCCESS: &str = "last_success_timestamp_seconds";
    text.gauge(
        SUCCESS,
        "Of when the state is that the newest good backup has of the collection; 0 if there is none.",
    );
    for name in names() {
        text.of(SUCCESS, name, at(name, |_| true));
    }
    const PROOF: &str = "last_proof_timestamp_seconds";
    text.gauge(
        PROOF,
        "The same of the newest good backup that `verify` has read back, or `drill` has restored.",
    );
    for name in names() {
        let verified = at(name, Good::was_read_back);
        let drilled = at(name, |b| b.drilled);
        for (level, at) in [("verified", verified), ("drilled", drilled)] {
            text.sample(PROOF, &[("collection", name), ("level", level)], at);
        }
    }
    text.gauge(
        "last_size_bytes",
        "Bytes that the newest good backup has of the collection.",
    );
    for name in names() {
        // Without a backup there is no size: 0 would be one.
        if let Some((good, _)) = newest(name, |_| true) {
            text.of(
                "last_size_bytes",
                name,
                good.bytes.get(name).copied().unwrap_or_default(),
            );
        }
    }
    text.0
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn gauge(&mut self, name: &str, help: &str) {
        let _ = write!(
            self.0,
            "# HELP qdrant_backup_{name} {help}\n# TYPE qdrant_backup_{name} gauge\n"
        );
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<_> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let labels = match labels.as_slice() {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(",")),
        };
        let _ = writeln!(self.0, "qdrant_backup_{name}{labels} {value}");
    }

    fn of(&mut self, name: &str, collection: &str, value: impl std::fmt::Display) {
        self.sample(name, &[("collection", collection)], value);
    }
}

/// A label's value as the format writes it.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::freshness::{FreshnessInput, FreshnessPolicy, Stored, assess};
    use crate::repository::manifest::Source;
    use crate::repository::names::BackupId;
    use crate::repository::selection::Selection;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

    fn good(hours: i64, collection: &str, bytes: u64, drilled: bool) -> Good {
        let at = NOW - time::Duration::hours(hours);
        Good {
            id: BackupId::at(at),
            selection: Selection::default(),
            source: None,
            verified: false,
            drilled,
            collections: [(collection.to_owned(), at)].into(),
            bytes: [(collection.to_owned(), bytes)].into(),
            tells_all: true,
        }
    }

    fn told(live: &[&str], backups: Vec<Good>) -> String {
        let live: Vec<_> = live.iter().map(|name| (*name).to_owned()).collect();
        let question = FreshnessInput {
            selection: &Selection::default(),
            live: Some(&live),
            source: &Source::default(),
            wanted: FreshnessPolicy::default(),
            now: NOW,
        };
        let answer = assess(&question, Stored { backups, since: None }).unwrap();
        text(&answer, question.wanted.max_age, NOW)
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
        let text = told(&["docs", "logs"], backups);
        let now = NOW.unix_timestamp();
        let expected = [
            concat!("build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1").to_owned(),
            format!("status_timestamp_seconds {now}"),
            "status_protected 0".to_owned(),
            "max_age_seconds 93600".to_owned(),
            "protected{collection=\"docs\"} 1".to_owned(),
            "protected{collection=\"logs\"} 0".to_owned(),
            format!("last_success_timestamp_seconds{{collection=\"docs\"}} {}", now - 3600),
            "last_success_timestamp_seconds{collection=\"logs\"} 0".to_owned(),
            format!(
                "last_proof_timestamp_seconds{{collection=\"docs\",level=\"verified\"}} {}",
                now - 30 * 3600
            ),
            format!(
                "last_proof_timestamp_seconds{{collection=\"docs\",level=\"drilled\"}} {}",
                now - 30 * 3600
            ),
            "last_proof_timestamp_seconds{collection=\"logs\",level=\"verified\"} 0".to_owned(),
            "last_proof_timestamp_seconds{collection=\"logs\",level=\"drilled\"} 0".to_owned(),
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
    fn a_qdrant_without_collections_is_not_protected() {
        let text = told(&[], vec![good(1, "docs", 700, false)]);
        assert!(samples(&text).contains(&"status_protected 0"), "{text}");
        assert!(!text.contains("collection="), "{text}");
    }

    #[test]
    fn a_name_cannot_write_a_line_of_its_own() {
        let text = told(&["a\"} 1\nb\\"], Vec::new());
        assert!(
            samples(&text).contains(&r#"protected{collection="a\"} 1\nb\\"} 0"#),
            "{text}"
        );
    }
}
