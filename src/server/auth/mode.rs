//! The modes in which callers are checked.

use crate::server::error::{HttpError, RequestCode};
use axum::http::Method;
use std::collections::BTreeSet;

/// The names under which Google issues identity tokens.
const GOOGLE: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];
/// Where Google publishes the keys that it signs them with.
const GOOGLE_KEYS: &str = "https://www.googleapis.com/oauth2/v3/certs";

/// How it is decided who may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everybody may. For loopback addresses only: [`super::super::serve`] refuses it on any other.
    None,
    /// The platform decides before a request gets here, as Cloud Run does with its IAM check, and leaves the caller's token
    /// without its signature. Of those whom it lets through, these may only read.
    Iam(Readers),
    /// This service verifies the caller's identity token.
    Oidc(Rules),
}

/// What an identity token must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Who may have issued it: one of these, exactly.
    pub issuers: Vec<String>,
    /// Where the issuer publishes its keys, as a JWK set.
    pub keys_url: String,
    /// For whom it must be issued: one of these, exactly.
    pub audiences: Vec<String>,
    /// Whose it may be: e-mail addresses in lower case. Anybody can have a token issued for any audience, so this is what
    /// decides.
    pub emails: BTreeSet<String>,
    /// Whose it may be as well, but only to read.
    pub readers: Readers,
}

impl Rules {
    /// Tokens of Google for one of these audiences and one of these e-mail addresses, in whatever case.
    pub fn google(audiences: Vec<String>, emails: impl IntoIterator<Item = String>) -> Self {
        Self {
            issuers: GOOGLE.map(str::to_owned).to_vec(),
            keys_url: GOOGLE_KEYS.to_owned(),
            audiences,
            emails: emails.into_iter().map(|email| email.to_ascii_lowercase()).collect(),
            readers: Readers::default(),
        }
    }

    /// Whether the caller with this e-mail address, in lower case, may send such a request.
    pub(super) fn permit(&self, email: &str, method: &Method) -> Result<(), HttpError> {
        self.readers.limit(Some(email), method)?;
        if self.emails.contains(email) || self.readers.0.contains(email) {
            return Ok(());
        }
        Err(HttpError::new(
            RequestCode::CallerNotAllowed,
            "the token is good, but its e-mail address is not among those that may call",
            "add the address to AUTH_ALLOWED_EMAILS, or call as one that is in it",
        ))
    }
}

/// Who may only read, with GET and HEAD: agents that watch. E-mail addresses in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readers(BTreeSet<String>);

impl Readers {
    /// These, in whatever case.
    pub fn new(emails: impl IntoIterator<Item = String>) -> Self {
        Self(emails.into_iter().map(|email| email.to_ascii_lowercase()).collect())
    }

    /// Refuses what changes something to those who may only read. That includes a caller whose token names no e-mail address,
    /// once there are such: it may be one of them.
    pub(super) fn limit(&self, email: Option<&str>, method: &Method) -> Result<(), HttpError> {
        if self.0.is_empty() || matches!(*method, Method::GET | Method::HEAD) {
            return Ok(());
        }
        match email {
            Some(email) if !self.0.contains(&email.to_ascii_lowercase()) => Ok(()),
            Some(_) => Err(HttpError::new(
                RequestCode::CallerNotAllowed,
                "the caller's e-mail address is one of AUTH_READERS, which may only read (GET and HEAD)",
                "call with another account, or take the address out of AUTH_READERS",
            )),
            None => Err(HttpError::new(
                RequestCode::EmailNotVerified,
                "the token names no e-mail address, so that it may be that of one of AUTH_READERS, which may only read",
                "ask for a token with the address in it: --include-email",
            )),
        }
    }
}
