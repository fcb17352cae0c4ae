//! Keys by which a request is known when it is sent again: that of Cloud Scheduler, or the client's own.
//!
//! <https://docs.cloud.google.com/scheduler/docs/configuring/deduplicate-job-requests>: the schedule's time is the same in all
//! attempts at one scheduled execution. A job that is started by hand may carry the time of the next one, which is therefore no
//! key before it has come.
//!
//! `Idempotency-Key` is that of draft-ietf-httpapi-idempotency-key-header: a structured string, `"…"`; most clients leave the quotes out.

use super::App;
use super::auth::Caller;
use super::error::{HttpError, RequestCode};
use crate::ops::backup::KeyedRequest;
use crate::repository::names::Execution;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use std::time::Duration;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const SCHEDULE_TIME: HeaderName = HeaderName::from_static("x-cloudscheduler-scheduletime");
const JOB_NAME: HeaderName = HeaderName::from_static("x-cloudscheduler-jobname");

/// How often one looks whether a run has ended that another request began.
pub(super) const POLL: Duration = Duration::from_secs(1);
/// A run that has begun so recently may not have recorded yet for which request.
pub(super) const SETTLING: Duration = Duration::from_secs(10);

/// Bytes of a key, or of the name of a job.
const LONGEST: usize = 255;

/// By how much the scheduler's clock may be ahead.
const SKEW: Duration = Duration::from_secs(60);

/// The key of a request, if it has one, and whose it is.
pub(super) struct RequestKey(Option<Key>);

struct Key {
    /// What it is, for people.
    text: String,
    /// All by which it is told from others.
    identity: String,
}

impl RequestKey {
    /// The request with its key. `asked`: the fingerprint of its body.
    pub(super) fn with(self, asked: String) -> Option<KeyedRequest> {
        self.0.map(|key| KeyedRequest {
            execution: Execution::of_key(&key.identity),
            key: key.text,
            asked,
        })
    }
}

/// The error of a request whose key is that of another one.
pub(super) fn reused(keyed: &KeyedRequest) -> HttpError {
    HttpError::new(
        RequestCode::KeyReused,
        format!(
            "the idempotency key of this request ({}) was used for another body",
            keyed.key
        ),
        "send another Idempotency-Key; a retry has the key and the body of the request that it repeats",
    )
}

impl FromRequestParts<App> for RequestKey {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, HttpError> {
        let headers = &parts.headers;
        let text = match scheduled(headers, app.ctx.clock.now()) {
            Some(text) => Some(text),
            None => sent(headers)?.map(|key| format!("key {key}")),
        };
        // A key is its caller's, and is for one Qdrant.
        let caller = parts.extensions.get::<Caller>().and_then(|caller| caller.0.as_deref());
        let source = app.source();
        let key = text.map(|text| Key {
            identity: serde_json::json!([text, caller, source.name, source.url]).to_string(),
            text,
        });
        Ok(Self(key))
    }
}

/// The scheduled execution that a request of Cloud Scheduler belongs to. What does not look like one is none: a header that is
/// written otherwise one day must not keep backups from being made.
fn scheduled(headers: &HeaderMap, now: OffsetDateTime) -> Option<String> {
    let text = |name: &HeaderName| {
        let mut values = headers.get_all(name).iter();
        let (value, None) = (values.next()?, values.next()) else {
            return None;
        };
        value.to_str().ok().map(str::trim).filter(|text| is_fit(text))
    };
    let time = OffsetDateTime::parse(text(&SCHEDULE_TIME)?, &Rfc3339).ok()?;
    if time > now + SKEW {
        return None;
    }
    let time = time.checked_to_offset(UtcOffset::UTC)?.format(&Rfc3339).ok()?;
    Some(format!("schedule {} of {time}", text(&JOB_NAME).unwrap_or_default()))
}

/// The client's own key.
fn sent(headers: &HeaderMap) -> Result<Option<String>, HttpError> {
    let mut values = headers.get_all(&KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let key = value.to_str().ok().map(str::trim).and_then(unquoted);
    match key.filter(|key| is_fit(key) && values.next().is_none()) {
        Some(key) => Ok(Some(key)),
        None => Err(HttpError::bad_request(
            "Idempotency-Key is no key",
            "send one Idempotency-Key of 1 to 255 printable ASCII characters, e.g. a UUID; the same one with each retry",
        )),
    }
}

fn is_fit(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(|b| (b' '..=b'~').contains(&b))
}

/// The content of a structured string (RFC 9651), or the text as it is.
fn unquoted(text: &str) -> Option<String> {
    let Some(quoted) = text.strip_prefix('"') else {
        return Some(text.to_owned());
    };
    let mut key = String::new();
    let mut chars = quoted.strip_suffix('"')?.chars();
    while let Some(c) = chars.next() {
        key.push(match c {
            '"' => return None,
            '\\' => chars.next().filter(|c| matches!(c, '"' | '\\'))?,
            c => c,
        });
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use axum::http::HeaderValue;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

    fn headers(list: &[(&HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn a_scheduled_execution_is_known_by_job_and_time_however_that_is_written() {
        let of = |time: &str| scheduled(&headers(&[(&SCHEDULE_TIME, time), (&JOB_NAME, "hourly")]), NOW);
        let key = of("2026-11-22T12:00:00Z").unwrap();
        assert_eq!(key, "schedule hourly of 2026-11-22T12:00:00Z");
        assert_eq!(of("2026-11-22T05:00:00-07:00"), Some(key.clone()));
        assert_ne!(of("2026-11-22T11:00:00Z"), Some(key));
        assert!(of("2026-11-22T12:00:59Z").is_some(), "a clock that is a little behind");
        // Of a run that was started by hand.
        assert_eq!(of("2026-11-22T13:00:00Z"), None);
        for wrong in [
            "",
            "soon",
            "2026-11-22",
            "-99999-01-01T00:00:00Z",
            "0000-01-01T00:00:00+23:59",
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        let twice = headers(&[
            (&SCHEDULE_TIME, "2026-11-22T12:00:00Z"),
            (&SCHEDULE_TIME, "2026-11-22T11:00:00Z"),
        ]);
        assert_eq!(scheduled(&twice, NOW), None);
    }

    #[test]
    fn a_key_is_the_same_with_and_without_quotes() {
        let of = |key: &str| sent(&headers(&[(&KEY, key)]));
        for (written, key) in [
            ("\"a b\"", "a b"),
            ("a b", "a b"),
            (" x ", "x"),
            (r#""a\"\\""#, r#"a"\"#),
            (&"x".repeat(255), &"x".repeat(255)),
        ] {
            assert_eq!(of(written).unwrap().as_deref(), Some(key), "{written}");
        }
        for wrong in [
            "",
            " ",
            "\"\"",
            "\"",
            "\"a",
            "\"a\"b\"",
            r#""a\b""#,
            "é",
            &"x".repeat(256),
        ] {
            assert_eq!(of(wrong).unwrap_err().code(), "bad_request", "{wrong}");
        }
        assert!(sent(&headers(&[(&KEY, "a"), (&KEY, "a")])).is_err());
        assert_eq!(sent(&HeaderMap::new()).unwrap(), None);
    }
}
