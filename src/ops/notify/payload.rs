//! What each kind of receiver gets.

use super::{Kind, NotifyConfig, Receiver};
use crate::base::text::{shortened, size};
use crate::ops::events::{Finished, Operation};
use crate::repository::notified::FailedRuns;
use crate::wire::notify::Post;
use aws_lc_rs::hmac;
use http::{HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::fmt::Write;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// Of an error's text; all of it is in the log.
const LONGEST: usize = 800;
/// Of its lines.
const LINES: usize = 12;
/// The header that GitHub has made usual.
const SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature-256");

/// What a watch is told, by the protocol of Healthchecks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ping {
    Start,
    Success,
    Fail,
    /// Noted, and changes nothing.
    Log,
}

impl Ping {
    /// What stands behind the URL.
    pub(super) fn path(self) -> Option<&'static str> {
        match self {
            Self::Start => Some("start"),
            Self::Success => None,
            Self::Fail => Some("fail"),
            Self::Log => Some("log"),
        }
    }
}

/// What is told of the end of a run.
pub(super) struct Notice<'a> {
    finished: &'a Finished,
    /// The runs before it that failed.
    before: Option<FailedRuns>,
    config: &'a NotifyConfig,
    now: OffsetDateTime,
    /// One event has one id, however often it is sent.
    id: Uuid,
}

impl<'a> Notice<'a> {
    pub(super) fn new(
        finished: &'a Finished,
        before: Option<FailedRuns>,
        config: &'a NotifyConfig,
        now: OffsetDateTime,
    ) -> Self {
        Self {
            finished,
            before,
            config,
            now,
            id: Uuid::new_v4(),
        }
    }

    /// Whether it is told to those who did not ask for everything.
    pub(super) fn is_news(&self) -> bool {
        self.finished.error.is_some() || self.before.is_some()
    }

    pub(super) fn ping(&self) -> Ping {
        match self.finished.error {
            None => Ping::Success,
            Some(_) => Ping::Fail,
        }
    }

    pub(super) fn post(&self, receiver: &Receiver) -> Post {
        match receiver.kind() {
            Kind::Webhook => {
                let outcome = self.finished.outcome();
                let kind = format!("qdrant-backup.{}.{outcome}", self.finished.operation);
                event(
                    self.config,
                    self.id,
                    &kind,
                    self.finished.backup.map(|id| id.to_string()),
                    self.now,
                    self.data(),
                )
            }
            kind => for_people(kind, &self.text()),
        }
    }

    fn data(&self) -> Value {
        let Finished {
            operation,
            backup,
            error,
            counts,
            ..
        } = self.finished;
        json!({
            "operation": operation.to_string(),
            "outcome": self.finished.outcome(),
            "about": self.config.about,
            "backup": backup,
            "code": error.as_ref().map(|error| error.code),
            "message": error.as_ref().map(|error| shortened(&error.message, LONGEST)),
            "remedy": error.as_ref().and_then(|error| error.remedy.as_deref()).map(|remedy| shortened(remedy, LONGEST)),
            "collections": counts.collections,
            "deleted": counts.deleted,
            "bytes": counts.bytes,
            "seconds": self.finished.seconds(),
            "recovered": self.before.is_some(),
            "failed_since": self.before.as_ref().and_then(|before| before.since.format(&Rfc3339).ok()),
            "failed_runs": self.before.as_ref().map(|before| before.runs),
            "tool_version": env!("CARGO_PKG_VERSION"),
        })
    }

    /// For people, the first line by itself.
    fn text(&self) -> String {
        let Finished {
            operation,
            backup,
            error,
            counts,
            ..
        } = self.finished;
        let noun = operation.noun();
        let of = match (operation, backup) {
            (Operation::Backup | Operation::Prune, Some(id)) => format!("{noun} {id}"),
            (_, Some(id)) => format!("{noun} of backup {id}"),
            // It ended before its backup was known.
            (_, None) => noun.to_owned(),
        };
        let seconds = self.finished.seconds();
        let mut text = format!("{}: {of} ", self.config.about);
        match error {
            Some(error) => {
                let _ = write!(
                    text,
                    "{} after {seconds} s ({})\n{}",
                    self.finished.outcome().to_uppercase(),
                    error.code,
                    first_lines(&error.message)
                );
                if let Some(remedy) = &error.remedy {
                    let _ = write!(text, "\n-> {}", first_lines(remedy));
                }
            }
            None => {
                let how = match operation {
                    Operation::Backup if counts.is_unproven => "is made, but UNPROVEN",
                    Operation::Drill => "has passed",
                    _ => "is good",
                };
                let _ = write!(text, "{how} after {seconds} s: ");
                let _ = match (counts.collections, counts.deleted) {
                    (Some(n), _) => write!(text, "{}, {}", several(n as u64, "collection"), size(counts.bytes)),
                    (None, Some(n)) => write!(text, "{} deleted, {}", several(n as u64, "backup"), size(counts.bytes)),
                    (None, None) => write!(text, "{}", size(counts.bytes)),
                };
                if let Some(FailedRuns { since, runs }) = &self.before {
                    let runs = several(*runs, "time");
                    let _ = write!(text, "\nIt had failed {runs} since {}.", to_the_second(*since));
                }
            }
        }
        text
    }
}

/// The start of a run, for a watch.
pub(super) fn start(operation: Operation, config: &NotifyConfig, at: OffsetDateTime) -> Post {
    for_people(
        Kind::Healthchecks,
        &format!("{}: {} began at {}", config.about, operation.noun(), to_the_second(at)),
    )
}

/// A message that says nothing but that it arrives.
pub(super) fn test(receiver: &Receiver, config: &NotifyConfig, now: OffsetDateTime) -> Post {
    let text = format!("{}: test message of `qdrant-backup check --notify`", config.about);
    match receiver.kind() {
        Kind::Webhook => {
            let data = json!({"about": config.about, "message": text, "tool_version": env!("CARGO_PKG_VERSION")});
            event(config, Uuid::new_v4(), "qdrant-backup.test", None, now, data)
        }
        kind => for_people(kind, &text),
    }
}

fn for_people(kind: Kind, text: &str) -> Post {
    let escaped = match kind {
        // What Slack asks for. Nobody can be called by a name of a collection.
        Kind::Slack => text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
        // Chat has no escapes; `<users/all>` would call everybody.
        Kind::Chat => text.replace('<', "\u{2039}"),
        Kind::Healthchecks | Kind::Webhook => {
            return Post {
                content_type: "text/plain; charset=utf-8",
                body: text.to_owned(),
                header: None,
            };
        }
    };
    Post {
        content_type: "application/json; charset=utf-8",
        body: json!({ "text": escaped }).to_string(),
        header: None,
    }
}

/// A CloudEvent, in structured mode.
fn event(
    config: &NotifyConfig,
    id: Uuid,
    kind: &str,
    subject: Option<String>,
    now: OffsetDateTime,
    data: Value,
) -> Post {
    let mut event = json!({
        "specversion": "1.0",
        "id": id.to_string(),
        "source": format!("/qdrant-backup/{}", utf8_percent_encode(&config.about, NON_ALPHANUMERIC)),
        "type": kind,
        "time": now.format(&Rfc3339).unwrap_or_default(),
        "datacontenttype": "application/json",
        "data": data,
    });
    if let Some(subject) = subject {
        event["subject"] = subject.into();
    }
    let body = event.to_string();
    let sign = |secret: &secrecy::SecretString| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
        let tag = crate::base::hash::hex(hmac::sign(&key, body.as_bytes()).as_ref());
        HeaderValue::from_str(&format!("sha256={tag}")).ok()
    };
    let header = config.secret.as_ref().and_then(sign).map(|value| (SIGNATURE, value));
    Post {
        content_type: "application/cloudevents+json; charset=utf-8",
        body,
        header,
    }
}

/// For people.
fn to_the_second(at: OffsetDateTime) -> String {
    let at = at.replace_nanosecond(0).unwrap_or(at);
    at.format(&Rfc3339).unwrap_or_default()
}

/// `1 time`, `2 times`.
fn several(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn first_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().take(LINES).collect();
    shortened(&lines.join("\n"), LONGEST).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::base::error::{Code, Error, ErrorInfo};
    use crate::ops::events::Counts;
    use crate::repository::names::BackupId;
    use time::macros::datetime;

    const AT: OffsetDateTime = datetime!(2026-11-26 15:20:33.675995679 UTC);

    fn finished(operation: Operation, backup: Option<BackupId>, counts: Counts) -> Finished {
        Finished {
            operation,
            backup,
            error: None,
            took: time::Duration::seconds(3),
            counts,
        }
    }

    fn text(finished: &Finished, failed: Option<u64>) -> String {
        let config = NotifyConfig {
            about: "shop".to_owned(),
            ..NotifyConfig::default()
        };
        let before = failed.map(|runs| FailedRuns { since: AT, runs });
        Notice::new(finished, before, &config, AT).text()
    }

    #[test]
    fn people_read_of_one_run_and_of_several_and_of_a_time_to_the_second() {
        let id = BackupId::at(AT);
        let of = |collections, deleted, is_unproven| Counts {
            collections,
            deleted,
            bytes: 1024,
            is_unproven,
        };
        let good = finished(Operation::Backup, Some(id), of(Some(1), None, false));
        assert_eq!(
            text(&good, Some(1)),
            format!(
                "shop: backup {id} is good after 3 s: 1 collection, 1.00 KiB\n\
                 It had failed 1 time since 2026-11-26T15:20:33Z."
            )
        );
        assert!(text(&good, Some(2)).contains("failed 2 times since 2026-11-26T15:20:33Z."));
        let unproven = text(&finished(Operation::Backup, Some(id), of(Some(2), None, true)), None);
        assert!(
            unproven.contains("UNPROVEN") && !unproven.contains("good"),
            "{unproven}"
        );
        assert!(unproven.contains("2 collections"), "{unproven}");
        let prune = text(&finished(Operation::Prune, None, of(None, Some(1), false)), None);
        assert_eq!(prune, "shop: prune is good after 3 s: 1 backup deleted, 1.00 KiB");
        let drill = text(&finished(Operation::Drill, Some(id), of(Some(1), None, false)), None);
        assert!(
            drill.starts_with(&format!("shop: drill of backup {id} has passed")),
            "{drill}"
        );
    }

    #[test]
    fn a_run_whose_backup_is_not_known_names_none() {
        let mut failed = finished(Operation::Drill, None, Counts::default());
        failed.error = Some(ErrorInfo::from(&Error::new(Code::QdrantUnreachable, "no answer")));
        let text = text(&failed, None);
        assert!(text.starts_with("shop: drill FAILED after 3 s"), "{text}");
    }

    #[test]
    fn the_start_is_told_to_the_second() {
        let post = start(Operation::Backup, &NotifyConfig::default(), AT);
        assert!(
            post.body.ends_with("backup began at 2026-11-26T15:20:33Z"),
            "{}",
            post.body
        );
    }
}
