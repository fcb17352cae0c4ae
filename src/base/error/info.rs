//! What is told of an error wherever it is not the end of everything: in answers, reports and records.

use super::{Code, Error};
use serde::{Deserialize, Serialize};

/// An error for its readers. `C` is [`Code`], or a text where the code may be one that this version or this layer does not know:
/// in records, which a newer version may have written, and over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorInfo<C = Code> {
    /// Stable.
    pub code: C,
    /// What failed, on what, and why.
    pub message: String,
    /// What to do about it.
    #[serde(default)]
    pub remedy: Option<String>,
}

impl ErrorInfo {
    /// The error again; `doing` says what it was in the way of.
    pub fn error(&self, doing: &str) -> Error {
        let error = Error::new(self.code, format!("{doing}: {}", self.message));
        match &self.remedy {
            Some(remedy) => error.remedy(remedy.clone()),
            None => error,
        }
    }
}

impl From<&Error> for ErrorInfo {
    fn from(error: &Error) -> Self {
        Self {
            code: error.code(),
            message: error.chain(),
            remedy: error.remedy_text().map(str::to_owned),
        }
    }
}

impl From<ErrorInfo> for ErrorInfo<String> {
    fn from(info: ErrorInfo) -> Self {
        Self {
            code: info.code.to_string(),
            message: info.message,
            remedy: info.remedy,
        }
    }
}

impl ErrorInfo<String> {
    /// For the sender of an HTTP request.
    pub(crate) fn over_http(error: &Error) -> Self {
        Self {
            remedy: error.remedy_over_http().map(str::to_owned),
            ..error.into()
        }
    }
}

impl From<&Error> for ErrorInfo<String> {
    fn from(error: &Error) -> Self {
        ErrorInfo::<Code>::from(error).into()
    }
}
