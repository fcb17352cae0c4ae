//! An error on its way to the client: one form for all of them, see [`super::api::ErrorResponse`].

mod status;

pub use status::{HTTP_CODES, http_status};

use status::code_status;

pub use status::HttpCode;

pub(super) use status::RequestCode;

use super::api::{ErrorResponse, LeaseHolder, PlanOfError, Problem, ReportOfError};
use crate::base::error::{Code, Error, ErrorInfo};
use crate::base::text::shortened;
use crate::repository::names::RunId;
use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use std::any::Any;
use time::OffsetDateTime;

/// The remedy of a request for anything else.
pub(super) const PATHS: &str = "there are GET /health, /health/freshness, /status, /metrics, /collections, /backups, /backups/{id}; POST /backup, /restore, \
     /prune, /backups/{id}/verify, /backups/{id}/drill; PUT and DELETE /backups/{id}/pin";

const CANCELLED: &str = "begin it again, with another Idempotency-Key, if it is wanted after all";

/// Longest message of an error in a line of the log.
pub(super) const LONGEST_MESSAGE: usize = 2000;

/// An error that ends a request.
#[derive(Clone, Debug)]
pub(super) struct HttpError {
    status: StatusCode,
    info: ErrorInfo<String>,
    details: Box<Details>,
    /// Whether the log has it already.
    pub(super) logged: bool,
    /// Seconds after which the client may ask again.
    retry_after: Option<i64>,
}

#[derive(Clone, Debug, Default)]
struct Details {
    plan: Option<PlanOfError>,
    report: Option<ReportOfError>,
    held_by: Option<LeaseHolder>,
    operation: Option<RunId>,
}

impl HttpError {
    /// An error that only HTTP knows.
    pub(super) fn new(code: RequestCode, message: impl Into<String>, remedy: &str) -> Self {
        Self {
            status: code.status(),
            info: ErrorInfo {
                code: code.to_string(),
                message: message.into(),
                remedy: Some(remedy.to_owned()),
            },
            details: Box::default(),
            logged: false,
            retry_after: None,
        }
    }

    pub(super) fn bad_request(message: impl Into<String>, remedy: &str) -> Self {
        Self::from(Error::new(Code::BadRequest, message).remedy(remedy))
    }

    /// Adds what the run came to in spite of it.
    pub(super) fn with_report(mut self, report: impl Into<ReportOfError>) -> Self {
        self.details.report = Some(report.into());
        self
    }

    /// Adds what was to be done.
    pub(super) fn with_plan(mut self, plan: impl Into<PlanOfError>) -> Self {
        self.details.plan = Some(plan.into());
        self
    }

    /// Adds who is in the way.
    pub(super) fn with_holder(mut self, holder: Option<LeaseHolder>) -> Self {
        self.details.held_by = holder;
        self
    }

    /// Adds the run that came to it.
    pub(super) fn with_operation(mut self, id: &RunId) -> Self {
        self.details.operation = Some(id.clone());
        self
    }

    /// Whether it is that of a run which was told to stop.
    fn is_of_cancelled(&self) -> bool {
        self.info.code == Code::Cancelled.to_string()
    }

    /// The same of a run that somebody cancelled: it is not to be tried again, as is that of a service which stops.
    pub(super) fn cancelled_on_request(self) -> Self {
        if !self.is_of_cancelled() {
            return self;
        }
        let code = RequestCode::OperationCancelled;
        Self {
            status: code.status(),
            info: ErrorInfo {
                code: code.to_string(),
                remedy: Some(CANCELLED.to_owned()),
                ..self.info
            },
            ..self
        }
    }

    /// Whether another run was in the way that began after `time`, or has ended meanwhile.
    pub(super) fn is_held_since(&self, time: OffsetDateTime) -> bool {
        let holder = self.details.held_by.as_ref();
        self.info.code == Code::RunInProgress.to_string() && holder.is_none_or(|holder| holder.since > time)
    }

    /// Says that the log has it already.
    pub(super) fn logged(mut self) -> Self {
        self.logged = true;
        self
    }

    /// Says when to ask again.
    pub(super) fn retry_after(mut self, seconds: i64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Whether there may be any number of such requests, from somebody who may not call, so that the log has none of them.
    pub(super) fn is_flood(&self) -> bool {
        self.retry_after.is_some()
    }

    pub(super) async fn no_such_path(uri: Uri) -> Self {
        let message = format!("there is nothing at {}", uri.path());
        let paths = match is_described(&uri) {
            true => "GET /v1/openapi.json describes every path",
            false => PATHS,
        };
        Self::new(RequestCode::NotFound, message, paths)
    }

    pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Self {
        Self::new(
            RequestCode::MethodNotAllowed,
            format!("{} does not take {method}", uri.path()),
            "the Allow header of this answer names the methods that it takes",
        )
    }

    /// The answer for a handler that panicked; the panic itself is in the log.
    pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response {
        Self::from(
            Error::new(Code::Internal, "internal error: the request was aborted")
                .remedy("its log has the details under the request_id"),
        )
        .into_response()
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// Seconds after which the client may ask again.
    pub(super) fn wait(&self) -> Option<i64> {
        self.retry_after
    }

    pub(super) fn info(&self) -> &ErrorInfo<String> {
        &self.info
    }

    pub(super) fn code(&self) -> &str {
        &self.info.code
    }

    /// `code: message`, for the log. A message may repeat what the client sent.
    pub(super) fn summary(&self) -> String {
        format!("{}: {}", self.info.code, shortened(&self.info.message, LONGEST_MESSAGE))
    }

    /// The answer itself, with the id under which the log has the request; for paths that [`is_described`] tells of, a problem.
    pub(super) fn render(self, request_id: &str, as_problem: bool) -> Response {
        let Details {
            plan,
            report,
            held_by,
            operation,
        } = *self.details;
        let request_id = request_id.to_owned();
        let mut response = match as_problem {
            true => {
                let problem = Problem {
                    title: self.status.canonical_reason().unwrap_or("Error"),
                    status: self.status.as_u16(),
                    code: self.info.code,
                    detail: self.info.message,
                    next_step: self.info.remedy,
                    request_id,
                    operation,
                    plan,
                    report,
                    held_by,
                };
                let mut response = (self.status, Json(problem)).into_response();
                let media = HeaderValue::from_static("application/problem+json");
                response.headers_mut().insert(header::CONTENT_TYPE, media);
                response
            }
            false => {
                let body = ErrorResponse {
                    error: self.info,
                    request_id,
                    plan,
                    report,
                    held_by,
                };
                (self.status, Json(body)).into_response()
            }
        };
        // A 401 has to say by which scheme one gets in.
        if self.status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// Whether a request is for the part of the API that `openapi/v1.json` describes.
pub(super) fn is_described(uri: &Uri) -> bool {
    uri.path() == "/v1" || uri.path().starts_with("/v1/")
}

impl From<ErrorInfo<String>> for HttpError {
    /// That of a run of another process. What a later version calls it, this one has no status for.
    fn from(info: ErrorInfo<String>) -> Self {
        let known = Code::ALL.iter().find(|code| code.to_string() == info.code);
        Self {
            status: code_status(known.copied().unwrap_or(Code::Internal)),
            info,
            details: Box::default(),
            logged: false,
            retry_after: None,
        }
    }
}

impl From<Error> for HttpError {
    fn from(error: Error) -> Self {
        Self {
            status: http_status(&error),
            info: ErrorInfo::over_http(&error),
            details: Box::default(),
            logged: false,
            retry_after: None,
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
