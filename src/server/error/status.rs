//! From what went wrong to the status of the answer: decided here and nowhere else.

use crate::base::error::{Code, Error};
use axum::http::StatusCode;
use serde::Serialize;
use std::fmt;

/// What is wrong with a request or its caller, before an operation has its turn. Stable words, like those of [`Code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RequestCode {
    /// There is nothing at this path.
    NotFound,
    /// Nothing at this path takes this method.
    MethodNotAllowed,
    BodyTooLarge,
    /// The body stopped coming.
    BodyTimeout,
    TokenMissing,
    TokenMalformed,
    /// The platform took its signature away.
    TokenStripped,
    /// The platform was to check it, and has not.
    TokenUnchecked,
    /// Not signed by its issuer.
    TokenNotTrusted,
    TokenIssuer,
    TokenAudience,
    TokenExpired,
    TokenNotYetValid,
    /// The issuer's keys could not be fetched.
    KeysUnavailable,
    EmailNotVerified,
    CallerNotAllowed,
    /// Sent by a browser for a page of another site, or by one that does not say for which.
    BrowserRefused,
    /// For a name that is not this machine's.
    HostRefused,
}

impl RequestCode {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::TokenMissing
            | Self::TokenMalformed
            | Self::TokenStripped
            | Self::TokenUnchecked
            | Self::TokenNotTrusted
            | Self::TokenIssuer
            | Self::TokenAudience
            | Self::TokenExpired
            | Self::TokenNotYetValid => StatusCode::UNAUTHORIZED,
            Self::KeysUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::EmailNotVerified | Self::CallerNotAllowed | Self::BrowserRefused | Self::HostRefused => {
                StatusCode::FORBIDDEN
            }
        }
    }
}

impl fmt::Display for RequestCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The word in the API, as serde writes it.
        self.serialize(f)
    }
}

/// The status of the answer to a request that ends with this error.
pub fn http_status(error: &Error) -> StatusCode {
    match error.code() {
        Code::BadRequest => StatusCode::BAD_REQUEST,
        Code::CollectionNotFound | Code::BackupNotFound => StatusCode::NOT_FOUND,
        Code::RunInProgress | Code::RestoreRefused | Code::SourceMismatch => StatusCode::CONFLICT,
        Code::ConfigInvalid
        | Code::Internal
        | Code::BackupDamaged
        | Code::OutputFailed
        | Code::BackupPartial
        | Code::BackupFailed
        | Code::NothingToBackUp => StatusCode::INTERNAL_SERVER_ERROR,
        Code::BackupUnsupported => StatusCode::NOT_IMPLEMENTED,
        Code::RestoreFailed
        | Code::RestoreUnequal
        | Code::QdrantUnauthorized
        | Code::QdrantForbidden
        | Code::QdrantFailed
        | Code::QdrantUnexpected
        | Code::Unsupported
        | Code::SnapshotChanged
        | Code::ChecksumMismatch
        | Code::LengthMismatch
        | Code::StoreForbidden
        | Code::StoreMissing
        | Code::StoreConflict
        | Code::StoreFailed => StatusCode::BAD_GATEWAY,
        Code::Cancelled | Code::LeaseLost | Code::QdrantUnreachable | Code::StoreUnreachable | Code::Stalled => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Code::StoreFull | Code::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_requests_are_those_of_the_api() {
        use RequestCode::*;
        for (code, word, status) in [
            (NotFound, "not_found", 404),
            (MethodNotAllowed, "method_not_allowed", 405),
            (BodyTooLarge, "body_too_large", 413),
            (BodyTimeout, "body_timeout", 408),
            (TokenMissing, "token_missing", 401),
            (TokenMalformed, "token_malformed", 401),
            (TokenStripped, "token_stripped", 401),
            (TokenUnchecked, "token_unchecked", 401),
            (TokenNotTrusted, "token_not_trusted", 401),
            (TokenIssuer, "token_issuer", 401),
            (TokenAudience, "token_audience", 401),
            (TokenExpired, "token_expired", 401),
            (TokenNotYetValid, "token_not_yet_valid", 401),
            (KeysUnavailable, "keys_unavailable", 503),
            (EmailNotVerified, "email_not_verified", 403),
            (CallerNotAllowed, "caller_not_allowed", 403),
            (BrowserRefused, "browser_refused", 403),
            (HostRefused, "host_refused", 403),
        ] {
            assert_eq!((code.to_string().as_str(), code.status().as_u16()), (word, status));
        }
    }
}
