//! The one error of the crate: a stable [`Code`], what was being done to which thing, the remedy, and the cause.
//!
//! Exit codes and HTTP statuses are decided by [`Code`] and nowhere else. Retry loops ask [`Error::is_permanent`], never a text.

mod code;
mod info;

pub use code::Code;
pub use info::ErrorInfo;

use super::text::in_the_middle;
use std::fmt;

/// Characters that are told of one cause: that of what was read can be as long as what was read.
const LONGEST_CAUSE: usize = 8000;

/// Result with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A boxed cause.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An error that can be shown to a person: `doing: cause (remedy)`.
#[derive(Debug)]
pub struct Error {
    code: Code,
    doing: String,
    remedy: Option<String>,
    /// For who asked over HTTP, where that is another one.
    remedy_over_http: Option<String>,
    permanent: bool,
    refused: bool,
    source: Option<BoxError>,
}

impl Error {
    /// An error of the given code; `doing` says what was being done to which thing, or what is wrong with it.
    pub fn new(code: Code, doing: impl Into<String>) -> Self {
        let permanent = !matches!(
            code,
            Code::QdrantUnreachable
                | Code::QdrantFailed
                // Snapshots that are deleted meanwhile make room.
                | Code::DiskFull
                | Code::SnapshotChanged
                | Code::ChecksumMismatch
                | Code::LengthMismatch
                | Code::Stalled
                | Code::StoreUnreachable
                // There were credentials once: they may well come back.
                | Code::StoreUnauthorized
        );
        Self {
            code,
            doing: doing.into(),
            remedy: None,
            remedy_over_http: None,
            permanent,
            refused: code.is_refusal(),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds what the reader can do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self.remedy_over_http = None;
        self
    }

    /// Adds what the sender of an HTTP request can do about it, in the terms of the API. To be called after [`Self::remedy`].
    #[must_use]
    pub(crate) fn over_http(mut self, remedy: impl Into<String>) -> Self {
        self.remedy_over_http = Some(remedy.into());
        self
    }

    /// Says that it is the caller's mistake: nothing was begun, and nothing failed that an alert should count.
    #[must_use]
    pub(crate) fn refused(mut self) -> Self {
        self.refused = true;
        self
    }

    /// Overrides whether trying again is useless.
    #[must_use]
    pub(crate) fn permanent(mut self, permanent: bool) -> Self {
        self.permanent = permanent;
        self
    }

    /// The same for another caller, to whom it means that; whether to try again is as that code says.
    #[must_use]
    pub(crate) fn with_code(self, code: Code) -> Self {
        Self {
            code,
            permanent: Self::new(code, "").permanent,
            ..self
        }
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What the reader can do about it, if it is known.
    pub fn remedy_text(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// What the sender of an HTTP request can do about it.
    pub(crate) fn remedy_over_http(&self) -> Option<&str> {
        self.remedy_over_http.as_deref().or(self.remedy.as_deref())
    }

    /// Whether nothing was begun, because the request itself was at fault or another run was in the way.
    pub(crate) fn is_refusal(&self) -> bool {
        self.refused
    }

    /// Whether trying the same again is useless.
    pub fn is_permanent(&self) -> bool {
        self.permanent
    }

    /// The chain of causes on one line, without the remedy.
    pub fn chain(&self) -> String {
        with_causes(self.doing.clone(), self).replace('\n', " ")
    }

    /// Process exit code for this error.
    pub fn exit_code(&self) -> u8 {
        self.code.exit_code()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain())?;
        if let Some(remedy) = &self.remedy {
            write!(f, " ({remedy})")?;
        }
        Ok(())
    }
}

/// `text`, which is what `error` says itself, with what its causes say.
pub(crate) fn with_causes(mut text: String, error: &(dyn std::error::Error + 'static)) -> String {
    let mut in_full = text.clone();
    let mut cause = error.source();
    while let Some(c) = cause {
        let said = c.to_string();
        // Many libraries repeat their source in their own text.
        if !in_full.contains(&said) {
            text.push_str(": ");
            text.push_str(&in_the_middle(&said, LONGEST_CAUSE));
            in_full.push_str(": ");
            in_full.push_str(&said);
        }
        cause = c.source();
    }
    text
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|s| &**s as _)
    }
}
