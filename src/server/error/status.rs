//! From what went wrong to the status of the answer: by the table of [`crate::base::error::Code`], and by that of the codes which only HTTP has.

use crate::base::error::{Code, Error};
use axum::http::StatusCode;
use serde::Serialize;
use std::fmt;

/// A code in answers of the service, for `docs/reference/errors.md`.
#[derive(Clone, Copy, Debug)]
pub struct HttpCode {
    pub status: u16,
    pub code: &'static str,
    pub meaning: &'static str,
    /// What usually helps.
    pub remedy: &'static str,
}

macro_rules! request_codes {
    ($($(#[doc = $meaning:literal])+ $code:ident, http $status:literal, $word:literal, $remedy:literal;)+) => {
        /// What is wrong with a request or its caller, before an operation has its turn. Stable words, like those of [`crate::base::error::Code`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        pub(crate) enum RequestCode {
            $($(#[doc = $meaning])+ #[serde(rename = $word)] $code,)+
        }

        impl RequestCode {
            pub(super) fn status(self) -> StatusCode {
                from_u16(match self {
                    $(Self::$code => $status,)+
                })
            }
        }

        /// Those that only HTTP has, by status.
        pub const HTTP_CODES: &[HttpCode] = &[$(HttpCode {
            status: $status,
            code: $word,
            meaning: concat!($($meaning),+).trim_ascii(),
            remedy: $remedy,
        }),+];
    };
}

request_codes! {
    /// The request has no token. With `iam`: none that Cloud Run has checked.
    TokenMissing, http 401, "token_missing", "send `Authorization: Bearer TOKEN`; with `iam`, turn Cloud Run's IAM check on";
    /// No token can be read from the header.
    TokenMalformed, http 401, "token_malformed", "send a Google identity token; an access token (`print-access-token`) does not work";
    /// Cloud Run has checked the token itself and taken its signature away.
    TokenStripped, http 401, "token_stripped", "set `AUTH_MODE=iam`; or turn the IAM check off and send the token in `Authorization`";
    /// With `iam`: the token still has its signature, so Cloud Run has not checked it.
    TokenUnchecked, http 401, "token_unchecked", "turn Cloud Run's IAM check on; or set `AUTH_MODE=oidc`";
    /// The token is not signed by Google, or was altered. With `token`: it is not in `AUTH_TOKEN_FILE`.
    TokenNotTrusted, http 401, "token_not_trusted", "get a new token; with `token`, send one of the file";
    /// The token is not issued by Google.
    TokenIssuer, http 401, "token_issuer", "get a token of Google";
    /// The token is meant for another audience.
    TokenAudience, http 401, "token_audience", "ask for a token with an audience of `AUTH_AUDIENCE`; or correct `AUTH_AUDIENCE`";
    /// The token has expired.
    TokenExpired, http 401, "token_expired", "get a new token";
    /// The token is not valid yet.
    TokenNotYetValid, http 401, "token_not_yet_valid", "compare the clocks of the issuer and of this service";
    /// The token names no e-mail address that its issuer has verified, and one is needed.
    EmailNotVerified, http 403, "email_not_verified", "ask for a token with the address in it: `--include-email`";
    /// The token is good, and the role of its caller is not enough for the request.
    CallerNotAllowed, http 403, "caller_not_allowed", "list the address in `AUTH_OPERATORS` or `AUTH_ADMINS`, and in no list of a lesser role; with `token`, send one of a higher role";
    /// The request looks like one of a web page.
    BrowserRefused, http 403, "browser_refused", "call with curl; in a browser, open `http://localhost` with the port";
    /// With `AUTH_MODE=none`: the request is for a name that is not this machine's own.
    HostRefused, http 403, "host_refused", "ask for `http://localhost` or `http://127.0.0.1` with the port";
    /// There is nothing at this path.
    NotFound, http 404, "not_found", "see the HTTP API for the paths";
    /// No run of this id is known: neither this service nor the store has it.
    OperationNotFound, http 404, "operation_not_found", "`GET /v1/operations` lists those that are known";
    /// The path does not take this method.
    MethodNotAllowed, http 405, "method_not_allowed", "use one of the methods in the `Allow` header of the answer";
    /// The body did not come within 5 s.
    BodyTimeout, http 408, "body_timeout", "send as many bytes as `Content-Length` says, at once";
    /// Somebody cancelled this run. A retry with the same key is answered so, too, and begins nothing.
    OperationCancelled, http 409, "operation_cancelled", "begin it again, with another `Idempotency-Key`, if it is wanted after all";
    /// Another process does this run: only there it can be cancelled.
    OperationElsewhere, http 409, "operation_elsewhere", "cancel it where it runs: `who` of the operation names the process; SIGTERM stops it cleanly";
    /// The plan that was confirmed on a page is not the plan any more.
    PlanChanged, http 412, "plan_changed", "look at the new plan, and confirm that";
    /// The body is larger than 64 KiB.
    BodyTooLarge, http 413, "body_too_large", "select collections by patterns instead of names";
    /// The idempotency key was used for a request with another body.
    KeyReused, http 422, "idempotency_key_reused", "send another `Idempotency-Key` with another body";
    /// With `token`: too many requests from one address had no right token. A right one is taken at any time.
    TooManyFailures, http 429, "too_many_failures", "wait as long as `Retry-After` says, and send a right token";
    /// The service is handling as many requests as it can.
    Overloaded, http 503, "overloaded", "try again in a minute; send fewer requests at a time";
    /// Google's public keys could not be fetched, so no token can be checked.
    KeysUnavailable, http 503, "keys_unavailable", "let the service reach `www.googleapis.com:443`, and try again in a minute";
}

impl fmt::Display for RequestCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The word in the API, as serde writes it.
        self.serialize(f)
    }
}

/// The status of the answer to a request that ends with this error.
pub fn http_status(error: &Error) -> StatusCode {
    code_status(error.code())
}

pub(super) fn code_status(code: Code) -> StatusCode {
    from_u16(code.http_status())
}

fn from_u16(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_requests_are_those_of_the_api() {
        use RequestCode::*;
        for (code, word, status) in [
            (NotFound, "not_found", 404),
            (OperationNotFound, "operation_not_found", 404),
            (OperationCancelled, "operation_cancelled", 409),
            (OperationElsewhere, "operation_elsewhere", 409),
            (MethodNotAllowed, "method_not_allowed", 405),
            (PlanChanged, "plan_changed", 412),
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
            (KeyReused, "idempotency_key_reused", 422),
            (TooManyFailures, "too_many_failures", 429),
            (Overloaded, "overloaded", 503),
            (EmailNotVerified, "email_not_verified", 403),
            (CallerNotAllowed, "caller_not_allowed", 403),
            (BrowserRefused, "browser_refused", 403),
            (HostRefused, "host_refused", 403),
        ] {
            assert_eq!((code.to_string().as_str(), code.status().as_u16()), (word, status));
        }
    }
}
