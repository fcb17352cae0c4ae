//! API keys: who may ask at all, and who may only read.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};

use super::envelope;
use crate::error::Error;
use crate::options::NodeOptions;

/// The keys of a node; with none of them set everybody may do everything.
pub(crate) struct Keys {
    full: Option<String>,
    read_only: Option<String>,
}

/// What the sender of a request may do; put into the request by [`authenticate`].
#[derive(Clone, Copy, PartialEq)]
enum Access {
    Full,
    Read,
}

impl Keys {
    pub(super) fn new(options: &NodeOptions) -> Self {
        Self {
            full: options.api_key.clone(),
            read_only: options.read_only_key.clone(),
        }
    }

    fn access(&self, headers: &HeaderMap) -> Result<Access, &'static str> {
        if self.full.is_none() && self.read_only.is_none() {
            return Ok(Access::Full);
        }
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let Some(given) = text("api-key").or(bearer) else {
            return Err("Must provide an API key or an Authorization bearer token");
        };
        let is = |key: &Option<String>| {
            key.as_deref()
                .is_some_and(|key| verify_slices_are_equal(key.as_bytes(), given.as_bytes()).is_ok())
        };
        if is(&self.full) {
            Ok(Access::Full)
        } else if is(&self.read_only) {
            Ok(Access::Read)
        } else {
            Err("Invalid API key or JWT")
        }
    }
}

/// Lets a request with a valid key pass. The 401 is plain text, as on a Qdrant server.
pub(super) async fn authenticate(State(keys): State<Arc<Keys>>, mut request: Request, next: Next) -> Response {
    match keys.access(request.headers()) {
        Ok(access) => {
            request.extensions_mut().insert(access);
            next.run(request).await
        }
        Err(text) => {
            let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            (StatusCode::UNAUTHORIZED, plain, text).into_response()
        }
    }
}

/// Refuses the read-only key before the body is read.
///
/// A Qdrant server checks the rights to create, delete and recover snapshots only in the
/// work that `wait=false` does not wait for, and answers 202; so does this.
pub(super) async fn require_write(request: Request, next: Next) -> Response {
    if request.extensions().get() == Some(&Access::Full) {
        return next.run(request).await;
    }
    let uri = request.uri();
    let unwaited = uri
        .query()
        .is_some_and(|query| query.split('&').any(|one| one == "wait=false"));
    if unwaited && uri.path().contains("/snapshots") && !uri.path().ends_with("/upload") {
        return envelope::accepted();
    }
    envelope::error(&Error::forbidden("this API key may only read"))
}
