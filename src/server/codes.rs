//! The codes that only HTTP has, beside those of [`crate::base::error::Code`]: what `docs/reference/errors.md` tells of them.
//! `tests/it/reference.rs` holds the list against the code that answers with them.

/// A code in answers of the service.
#[derive(Clone, Copy, Debug)]
pub struct HttpCode {
    /// The HTTP status.
    pub status: u16,
    /// The stable word.
    pub code: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What usually helps.
    pub remedy: &'static str,
}

const fn code(status: u16, code: &'static str, meaning: &'static str, remedy: &'static str) -> HttpCode {
    HttpCode {
        status,
        code,
        meaning,
        remedy,
    }
}

/// All of them, by status.
pub const HTTP_CODES: &[HttpCode] = &[
    code(
        401,
        "token_missing",
        "The request has no identity token. With `iam`: none that Cloud Run has checked.",
        "send `Authorization: Bearer TOKEN`; with `iam`, turn Cloud Run's IAM check on",
    ),
    code(
        401,
        "token_malformed",
        "No identity token can be read from the header.",
        "send a Google identity token; an access token (`print-access-token`) does not work",
    ),
    code(
        401,
        "token_stripped",
        "Cloud Run has checked the token itself and taken its signature away.",
        "set `AUTH_MODE=iam`; or turn the IAM check off and send the token in `Authorization`",
    ),
    code(
        401,
        "token_unchecked",
        "With `iam`: the token still has its signature, so Cloud Run has not checked it.",
        "turn Cloud Run's IAM check on; or set `AUTH_MODE=oidc`",
    ),
    code(
        401,
        "token_not_trusted",
        "The token is not signed by Google, or was altered.",
        "get a new token",
    ),
    code(
        401,
        "token_issuer",
        "The token is not issued by Google.",
        "get a token of Google",
    ),
    code(
        401,
        "token_audience",
        "The token is meant for another audience.",
        "ask for a token with an audience of `AUTH_AUDIENCE`; or correct `AUTH_AUDIENCE`",
    ),
    code(401, "token_expired", "The token has expired.", "get a new token"),
    code(
        401,
        "token_not_yet_valid",
        "The token is not valid yet.",
        "compare the clocks of the issuer and of this service",
    ),
    code(
        403,
        "email_not_verified",
        "The token names no e-mail address that its issuer has verified.",
        "ask for a token with the address in it: `--include-email`",
    ),
    code(
        403,
        "caller_not_allowed",
        "The token is good, and its e-mail address may not call, or may only read.",
        "add the address to `AUTH_ALLOWED_EMAILS`, or take it out of `AUTH_READERS`",
    ),
    code(
        403,
        "browser_refused",
        "The request looks like one of a web page.",
        "call with curl; in a browser, open `http://localhost` with the port",
    ),
    code(
        403,
        "host_refused",
        "With `AUTH_MODE=none`: the request is for a name that is not this machine's own.",
        "ask for `http://localhost` or `http://127.0.0.1` with the port",
    ),
    code(
        404,
        "not_found",
        "There is nothing at this path.",
        "see the HTTP API for the paths",
    ),
    code(
        405,
        "method_not_allowed",
        "The path does not take this method.",
        "use one of the methods in the `Allow` header of the answer",
    ),
    code(
        408,
        "body_timeout",
        "No byte of the body came for 30 s.",
        "send as many bytes as `Content-Length` says, without a pause",
    ),
    code(
        413,
        "body_too_large",
        "The body is larger than 64 KiB.",
        "select collections by patterns instead of names",
    ),
    code(
        503,
        "keys_unavailable",
        "Google's public keys could not be fetched, so no token can be checked.",
        "let the service reach `www.googleapis.com:443`, and try again in a minute",
    ),
];
