//! The audit log: one line for every call that may change something, with who called, what for, and what came of it.
//!
//! It is the request's line in the log, with `event = "audit"`. [`crate::telemetry`] lets it pass whatever the log level.

use super::error::HttpError;
use crate::base::text::shortened;
use axum::http::Method;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Longest part of a request's body that is repeated.
const LONGEST: usize = 500;

/// What is known of a call by those who handle it. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Audit(Arc<Mutex<AuditEntry>>);

#[derive(Debug, Default)]
struct AuditEntry {
    caller: String,
    verified: bool,
    asked: String,
}

/// What is known of a request when it has ended.
pub(super) struct RequestEnd<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// `None`: the client went away before.
    pub(super) status: Option<u16>,
    pub(super) latency_ms: u64,
    pub(super) error: Option<&'a HttpError>,
}

impl Audit {
    /// Whether calls of this method are audited.
    pub(super) fn concerns(method: &Method) -> bool {
        !method.is_safe()
    }

    /// Says who calls; empty: not known. `verified`: this service has checked it itself.
    pub(super) fn caller(&self, caller: String, verified: bool) {
        let mut known = self.lock();
        (known.caller, known.verified) = (caller, verified);
    }

    /// Says what is asked for: a body that was understood, so that it has nothing in it but what it may have.
    pub(super) fn asked(&self, body: &[u8]) {
        let text = String::from_utf8_lossy(body.trim_ascii());
        self.lock().asked = shortened(&text, LONGEST).into_owned();
    }

    /// Writes the line.
    pub(super) fn write(&self, ended: &RequestEnd<'_>) {
        let known = self.lock();
        let (caller, asked, verified) = (known.caller.as_str(), known.asked.as_str(), known.verified);
        let caller = if caller.is_empty() { "unknown" } else { caller };
        let RequestEnd {
            method,
            path,
            status,
            latency_ms,
            ..
        } = *ended;
        let code = ended.error.map(HttpError::code);
        // What a run has logged itself is not told again.
        let error = ended.error.filter(|e| !e.logged).map(HttpError::summary);
        let (outcome, end) = match status {
            None => ("unknown", ": the client went away before the answer".to_owned()),
            Some(status @ 200..300) => ("done", format!(" {status}")),
            Some(status @ (401 | 403)) => ("refused", format!(" {status}")),
            Some(status) => ("failed", format!(" {status}")),
        };
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    event = "audit",
                    caller,
                    verified,
                    asked,
                    method,
                    path,
                    status,
                    outcome,
                    code,
                    latency_ms,
                    error,
                    "{method} {path}{end}"
                )
            };
        }
        match status {
            Some(500..) => line!(error),
            _ => line!(info),
        }
    }

    fn lock(&self) -> MutexGuard<'_, AuditEntry> {
        // Every change leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
