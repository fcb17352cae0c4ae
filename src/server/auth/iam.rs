//! Callers whom Cloud Run has checked: it leaves their token in its header, without its signature.
//!
//! That proves nothing where nobody checks, since anybody can write such a token. It keeps out what was not checked by an
//! oversight: a platform that sets `K_SERVICE` and checks nobody, or an IAM check that is switched off.

use super::token::malformed;
use super::{Bearer, email, is_stripped};
use crate::server::error::{HttpError, RequestCode};
use axum::http::HeaderMap;

/// The e-mail address of the token that Cloud Run has checked; `None`: it names none.
pub(super) fn checked(headers: &HeaderMap) -> Result<Option<String>, HttpError> {
    match email::platform_token(headers) {
        Bearer::Token(token) if is_stripped(token) => Ok(email::of(token)),
        Bearer::Token(_) => Err(HttpError::new(
            RequestCode::TokenUnchecked,
            "the token still has its signature, so Cloud Run has not checked it",
            "switch Cloud Run's IAM check on (`gcloud run services update SERVICE --invoker-iam-check`), or set AUTH_MODE=oidc",
        )),
        Bearer::Unreadable => Err(malformed("the header that Cloud Run checks holds no valid token")),
        Bearer::Absent => Err(HttpError::new(
            RequestCode::TokenMissing,
            "the request has no token checked by Cloud Run: the service admits everybody, or this is not Cloud Run",
            "send an identity token, and have Cloud Run check it (`gcloud run services update SERVICE --invoker-iam-check`), \
             or set AUTH_MODE=oidc",
        )),
    }
}
