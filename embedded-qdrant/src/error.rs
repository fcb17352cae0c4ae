//! What can go wrong, in the classes that Qdrant's API tells apart.

use std::fmt;

use http::StatusCode;
use qdrant_edge::OperationError;

/// Why a request or a library call was refused or failed.
///
/// The HTTP status is part of the value because this node's only reason to
/// tell errors apart is to answer as Qdrant answers.
#[derive(Debug, Clone)]
pub struct Error {
    status: StatusCode,
    message: String,
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    fn new(status: StatusCode, message: String) -> Self {
        Self { status, message }
    }

    /// The request makes no sense here: 400 `Wrong input: ...`.
    pub(crate) fn bad_input(what: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("Wrong input: {what}"))
    }

    /// The request makes no sense in this state of things: 400 `Bad request: ...`.
    pub(crate) fn bad_request(what: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("Bad request: {what}"))
    }

    /// The body is not what the endpoint expects: 400 with the text as it is.
    pub(crate) fn malformed(what: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, what.to_string())
    }

    /// A value breaks a rule that is checked before anything is done: 422.
    pub(crate) fn validation(what: impl fmt::Display) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, what.to_string())
    }

    /// 404 `Not found: ...`.
    pub(crate) fn not_found(what: impl fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("Not found: {what}"))
    }

    /// 409 `Wrong input: ... already exists!`.
    pub(crate) fn conflict(what: impl fmt::Display) -> Self {
        Self::new(StatusCode::CONFLICT, format!("Wrong input: {what}"))
    }

    /// 403 `Forbidden: ...`.
    pub(crate) fn forbidden(what: impl fmt::Display) -> Self {
        Self::new(StatusCode::FORBIDDEN, format!("Forbidden: {what}"))
    }

    /// The node itself failed: 500 `Service internal error: ...`.
    pub(crate) fn internal(what: impl fmt::Display) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("Service internal error: {what}"),
        )
    }

    /// An I/O error with what was being done to which file.
    pub(crate) fn io(doing: impl fmt::Display, error: &std::io::Error) -> Self {
        Self::internal(format_args!("{doing}: {error}"))
    }

    /// The same error with the place where it came up in front of its text.
    pub(crate) fn context(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// The HTTP status with which the node answers this error.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The text that stands in `status.error` of the answer.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<OperationError> for Error {
    /// The engine's own classes: what the caller can mend is a 400, the rest a 500.
    fn from(error: OperationError) -> Self {
        match error {
            OperationError::WrongVectorDimension { .. }
            | OperationError::VectorNameNotExists { .. }
            | OperationError::TypeError { .. }
            | OperationError::TypeInferenceError { .. }
            | OperationError::ValidationError { .. }
            | OperationError::WrongSparse
            | OperationError::WrongMulti
            | OperationError::MissingRangeIndexForOrderBy { .. }
            | OperationError::MissingMapIndexForFacet { .. }
            | OperationError::VariableTypeError { .. }
            | OperationError::NonFiniteNumber { .. } => Self::bad_input(error),
            OperationError::PointIdError { .. } => Self::not_found(error),
            _ => Self::internal(error),
        }
    }
}
