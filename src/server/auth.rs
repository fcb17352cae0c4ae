//! Who may call: one check around everything but `GET /health`.
//!
//! What it lets through and what it refuses goes to the log with the caller's name, see `server::audit`.

mod browser;
mod email;
mod iam;
mod jwks;
mod mode;
mod roles;
mod static_token;
mod token;

pub use mode::{Mode, Rules};
pub use roles::{Role, Roles};
pub use static_token::TokenFile;

pub(crate) use static_token::FileProblem;

use super::audit::Audit;
use super::error::HttpError;
use crate::base::clock::Clock;
use crate::base::error::Result;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, Uri};
use axum::middleware::Next;
use axum::response::Response;
use static_token::StaticTokens;
use std::net::IpAddr;
use std::sync::Arc;
use token::Verifier;

/// Where Cloud Run looks for the caller's token first. It arrives without its signature.
const SERVERLESS: HeaderName = HeaderName::from_static("x-serverless-authorization");
/// What Cloud Run puts in the place of a signature that it has checked.
const STRIPPED: &str = "SIGNATURE_REMOVED_BY_GOOGLE";
/// No token is longer; bounds what is decoded of a caller who is not known yet.
const LONGEST_TOKEN: usize = 16 << 10;

/// Who sends a request that was let through: the e-mail address of the token, if it names one, or the name beside the token.
#[derive(Clone, Debug, Default)]
pub(super) struct Caller(pub(super) Option<String>);

/// The role of whoever sends it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Granted(pub(super) Role);

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Decides about callers. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Auth(Check);

#[derive(Clone, Debug)]
enum Check {
    None,
    Iam(Arc<Roles>),
    Oidc(Arc<Verifier>),
    Token(Arc<StaticTokens>),
}

impl Auth {
    /// Decides by `mode`; keys and tokens age by `clock`.
    ///
    /// # Errors
    /// [`crate::base::error::Code::Internal`] when no HTTP client can be made to fetch keys.
    pub(crate) fn new(mode: Mode, clock: Clock) -> Result<Self> {
        Ok(Self(match mode {
            Mode::None => Check::None,
            Mode::Iam(roles) => Check::Iam(Arc::new(roles)),
            Mode::Oidc(rules) => Check::Oidc(Arc::new(Verifier::new(rules, clock)?)),
            Mode::Token(file) => Check::Token(Arc::new(StaticTokens::new(file, clock))),
        }))
    }

    /// Lets everybody call: for a service that listens on a loopback address.
    pub(super) fn none() -> Self {
        Self(Check::None)
    }

    /// Whether it asks nobody for anything, which is for loopback addresses only.
    pub(super) fn is_none(&self) -> bool {
        matches!(self.0, Check::None)
    }

    /// Who may call, for people.
    pub(super) fn callers(&self) -> &'static str {
        match self.0 {
            Check::None => "anybody on this machine",
            Check::Iam(_) => "whom Cloud Run lets through (roles/run.invoker)",
            Check::Oidc(_) => "those in AUTH_READERS, AUTH_OPERATORS and AUTH_ADMINS, by Google identity token",
            Check::Token(_) => "those whose token is in AUTH_TOKEN_FILE",
        }
    }

    async fn decide(
        &self,
        request: &RequestHead<'_>,
        needed: Role,
        audit: &Audit,
    ) -> Result<(Caller, Granted), HttpError> {
        let RequestHead {
            method,
            uri,
            headers,
            peer,
        } = *request;
        match self.0 {
            Check::None => audit.caller("local".to_owned(), false),
            // Not verified here: for the log.
            Check::Token(_) => {}
            Check::Iam(_) | Check::Oidc(_) => audit.caller(email::claimed(headers).unwrap_or_default(), false),
        }
        browser::check(method, headers)?;
        match &self.0 {
            Check::None => browser::check_host(uri, headers).map(|()| (Caller(None), Granted(Role::Admin))),
            Check::Iam(roles) => {
                let email = iam::checked(headers)?;
                let role = roles.permit(email.as_deref(), needed)?;
                Ok((Caller(email), Granted(role)))
            }
            Check::Oidc(verifier) => {
                let email = verifier.verify(headers).await?;
                audit.caller(email.clone(), true);
                let role = verifier.roles().permit(Some(&email), needed)?;
                Ok((Caller(Some(email)), Granted(role)))
            }
            Check::Token(tokens) => {
                let (name, role) = tokens.verify(headers, peer).await?;
                audit.caller(name.clone(), true);
                static_token::permit(role, needed)?;
                Ok((Caller(Some(name)), Granted(role)))
            }
        }
    }
}

/// What decides about a request.
struct RequestHead<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    peer: Option<IpAddr>,
}

/// Lets a request through, or answers 401 or 403.
pub(super) async fn guard(State(auth): State<Auth>, mut request: Request, next: Next) -> Result<Response, HttpError> {
    if !is_open(&request) {
        let audit = request.extensions().get::<Audit>().cloned().unwrap_or_default();
        let head = RequestHead {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            peer: request.extensions().get().map(|Peer(ip)| *ip),
        };
        let (caller, granted) = auth.decide(&head, Role::needed(&request), &audit).await?;
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(granted);
    }
    Ok(next.run(request).await)
}

/// Whether this is the one request that everybody may send, at any time: that of a liveness probe.
pub(super) fn is_open(request: &Request) -> bool {
    request.uri().path() == "/health" && matches!(*request.method(), Method::GET | Method::HEAD)
}

/// What stands behind `Bearer` in a header.
enum Bearer<'a> {
    /// There is no such header.
    Absent,
    /// There is one, or several, of which no token can be read.
    Unreadable,
    Token(&'a str),
}

fn bearer<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Bearer<'a> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return match headers.contains_key(name) {
            true => Bearer::Unreadable,
            false => Bearer::Absent,
        };
    };
    let token = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    match token {
        Some(token) if !token.is_empty() && token.len() <= LONGEST_TOKEN => Bearer::Token(token),
        _ => Bearer::Unreadable,
    }
}

fn is_stripped(token: &str) -> bool {
    token
        .rsplit_once('.')
        .is_some_and(|(_, signature)| signature == STRIPPED)
}
