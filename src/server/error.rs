//! What a client sees of an error: one form for all of them.
//!
//! ```json
//! {"error": {"code": "run_in_progress", "message": "…", "remedy": "…"}, "request_id": "…"}
//! ```

use crate::base::error::{Code, Error};
use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use std::any::Any;
use time::OffsetDateTime;

/// An error as it is told to clients.
#[derive(Clone, Debug)]
pub(super) struct HttpError {
    status: StatusCode,
    told: Told,
    details: Box<Details>,
    /// Whether the log has it already.
    pub(super) logged: bool,
}

/// The stable part.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Told {
    code: String,
    message: String,
    remedy: Option<String>,
}

/// What some errors have besides.
#[derive(Clone, Debug, Default, Serialize)]
struct Details {
    /// What was to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Value>,
    /// What a run came to in spite of its error.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<Value>,
    /// Who is in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_by: Option<HeldBy>,
}

/// The run in progress.
#[derive(Clone, Debug, Serialize)]
pub(super) struct HeldBy {
    /// Who runs it.
    pub(super) who: String,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub(super) since: OffsetDateTime,
}

impl HttpError {
    /// An error of HTTP itself.
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>, remedy: &str) -> Self {
        Self {
            status,
            told: Told {
                code: code.to_owned(),
                message: message.into(),
                remedy: Some(remedy.to_owned()),
            },
            details: Box::default(),
            logged: false,
        }
    }

    /// A malformed request.
    pub(super) fn bad_request(message: impl Into<String>, remedy: &str) -> Self {
        Self::from(Error::new(Code::BadRequest, message).remedy(remedy))
    }

    /// Adds the report of the run.
    pub(super) fn with_report(mut self, report: &impl Serialize) -> Self {
        // What cannot be shown as JSON is left out; the error itself is still told.
        self.details.report = serde_json::to_value(report).ok();
        self
    }

    /// Adds what was to be done.
    pub(super) fn with_plan(mut self, plan: &impl Serialize) -> Self {
        self.details.plan = serde_json::to_value(plan).ok();
        self
    }

    /// Adds who is in the way.
    pub(super) fn with_holder(mut self, holder: Option<HeldBy>) -> Self {
        self.details.held_by = holder;
        self
    }

    /// Says that the log has it already.
    pub(super) fn logged(mut self) -> Self {
        self.logged = true;
        self
    }

    pub(super) async fn no_such_path(uri: Uri) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is nothing at {}", uri.path()),
            super::PATHS,
        )
    }

    pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            format!("{} does not take {method}", uri.path()),
            "the Allow header of this answer names the methods that it takes",
        )
    }

    /// The answer for a handler that panicked; the panic itself is in the log.
    pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response {
        Self::from(
            Error::new(Code::Internal, "a defect of this service ended the request")
                .remedy("its log has the details under the request_id"),
        )
        .into_response()
    }

    /// The stable code.
    pub(super) fn code(&self) -> &str {
        &self.told.code
    }

    /// `code: message`, for the log.
    pub(super) fn summary(&self) -> String {
        format!("{}: {}", self.told.code, self.told.message)
    }

    /// The answer itself, with the id under which the log has the request.
    pub(super) fn render(self, request_id: &str) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            error: Told,
            request_id: &'a str,
            #[serde(flatten)]
            details: Box<Details>,
        }
        let body = Body {
            error: self.told,
            request_id,
            details: self.details,
        };
        let mut response = (self.status, Json(body)).into_response();
        // A 401 has to say by which scheme one gets in.
        if self.status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}

impl From<Error> for HttpError {
    fn from(error: Error) -> Self {
        Self {
            status: StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            told: Told::from(&error),
            details: Box::default(),
            logged: false,
        }
    }
}

impl From<&Error> for Told {
    fn from(error: &Error) -> Self {
        Self {
            code: error.code().to_string(),
            message: error.chain(),
            remedy: error.remedy_text().map(str::to_owned),
        }
    }
}

impl IntoResponse for HttpError {
    /// Status and error without a body: [`super::request::envelope`] knows the request's id and renders it.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
