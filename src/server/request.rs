//! Around every request: its id, its trace, its one line in the log, and the form of its errors.

use super::audit::{Audit, RequestEnd};
use super::error::{HttpError, is_described};
use super::page::Refused;
use crate::base::text::shortened;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use std::time::Instant;
use tracing::{Instrument, Span, field, info_span};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken from a client.
const LONGEST_ID: usize = 64;
/// Longest method and path in a line of the log: whoever calls, with or without a token, decides about them.
const LONGEST_METHOD: usize = 20;
const LONGEST_PATH: usize = 300;

/// Gives the request an id and a span, and renders its error. The span is also that of a backup which the request starts.
pub(super) async fn envelope(mut request: Request, next: Next) -> Response {
    let audit = Audit::default();
    request.extensions_mut().insert(audit.clone());
    let headers = request.headers();
    let id = taken_id(headers).unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    // `crate::telemetry` links lines to the trace that this field names.
    let span = info_span!("request", request_id = id, trace = field::Empty);
    if let Some(trace) = trace_id(headers) {
        span.record("trace", trace);
    }
    let mut line = AccessLine::new(&request, span.clone(), audit);
    let as_problem = is_described(request.uri());
    let for_people = Refused::of(&request);
    let mut response = next.run(request).instrument(span).await;
    let error = response.extensions_mut().remove::<HttpError>();
    line.end(&response, error.as_ref());
    if let Some(error) = error {
        let bare = response;
        response = match for_people {
            Some(refused) => refused.page(&error, &id).await,
            None => error.render(&id, as_problem),
        };
        // 405 says what is allowed.
        if let Some(allow) = bare.headers().get(header::ALLOW) {
            response.headers_mut().insert(header::ALLOW, allow.clone());
        }
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    // Whatever tells names is kept by nobody; style sheet and script say themselves for how long.
    let headers = response.headers_mut();
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The client's id for the request, if it is fit for a log line.
fn taken_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (!id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(plain)).then(|| id.to_owned())
}

/// The id of the trace that the request belongs to: 32 hex digits from `traceparent` (`00-{trace}-{span}-{flags}`) or
/// `X-Cloud-Trace-Context` (`{trace}/{span};o={flags}`).
fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let valid =
        |id: &&str| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) && id.bytes().any(|b| b != b'0');
    let w3c = text("traceparent").and_then(|value| value.split('-').nth(1));
    let google = text("x-cloud-trace-context").and_then(|value| value.split(['/', ';']).next());
    w3c.filter(valid).or(google.filter(valid))
}

/// The line that the log gets for each request, also when the client goes away before it has an answer. Where the request may
/// change something, it is that of the audit log.
struct AccessLine {
    method: String,
    path: String,
    began: Instant,
    span: Span,
    audit: Option<Audit>,
    ended: bool,
}

impl AccessLine {
    fn new(request: &Request, span: Span, audit: Audit) -> Self {
        Self {
            method: shortened(request.method().as_str(), LONGEST_METHOD).into_owned(),
            // Without the query: it is the client's business.
            path: shortened(request.uri().path(), LONGEST_PATH).into_owned(),
            began: Instant::now(),
            span,
            audit: Audit::concerns(request.method()).then_some(audit),
            ended: false,
        }
    }

    fn end(&mut self, response: &Response, error: Option<&HttpError>) {
        self.ended = true;
        if error.is_some_and(HttpError::is_flood) {
            return;
        }
        let status = response.status().as_u16();
        if self.audited(Some(status), error) {
            return;
        }
        let (Self { method, path, .. }, latency_ms) = (&*self, self.latency_ms());
        let error = error.filter(|e| !e.logged).map(HttpError::summary);
        let _in = self.span.enter();
        if status >= 500 {
            tracing::error!(method, path, status, latency_ms, error, "{method} {path} {status}");
        } else {
            tracing::info!(method, path, status, latency_ms, error, "{method} {path} {status}");
        }
    }

    /// Writes the line of the audit log, if the request gets one.
    fn audited(&self, status: Option<u16>, error: Option<&HttpError>) -> bool {
        let Some(audit) = &self.audit else {
            return false;
        };
        let _in = self.span.enter();
        audit.write(&RequestEnd {
            method: &self.method,
            path: &self.path,
            status,
            latency_ms: self.latency_ms(),
            error,
        });
        true
    }

    fn latency_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for AccessLine {
    fn drop(&mut self) {
        if !self.ended && !self.audited(None, None) {
            let (Self { method, path, .. }, latency_ms) = (&*self, self.latency_ms());
            let _in = self.span.enter();
            tracing::info!(
                method,
                path,
                latency_ms,
                "{method} {path}: the client went away before the answer"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_trace_is_read_from_either_header_and_only_when_it_is_one() {
        const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
        for (name, value) in [
            ("traceparent", format!("00-{ID}-00f067aa0ba902b7-01")),
            ("x-cloud-trace-context", format!("{ID}/1;o=1")),
            ("x-cloud-trace-context", format!("{ID};o=0")),
            ("x-cloud-trace-context", ID.to_owned()),
        ] {
            assert_eq!(trace_id(&headers(name, &value)), Some(ID), "{name}: {value}");
        }
        for value in [
            "",
            "00",
            "00-00000000000000000000000000000000-1-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473\"-1-01",
        ] {
            assert_eq!(trace_id(&headers("traceparent", value)), None, "{value}");
        }
    }

    #[test]
    fn only_short_plain_ids_are_taken_from_a_client() {
        assert_eq!(
            taken_id(&headers("x-request-id", "abc-1_2.3")).as_deref(),
            Some("abc-1_2.3")
        );
        for wrong in ["", "a b", "a\"b", "a/b", &"a".repeat(65)] {
            assert_eq!(taken_id(&headers("x-request-id", wrong)), None, "{wrong}");
        }
    }
}
