//! What a caller may do, by e-mail address.

use crate::repository::names::RunId;
use crate::server::error::{HttpError, RequestCode};
use axum::extract::{MatchedPath, Request};
use std::collections::BTreeMap;
use std::fmt;

/// The route of one operation, and of what is done to it.
const OPERATION: &str = "/v1/operations/{id}";

/// What a caller may do. Each may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// GET and HEAD: agents that watch.
    Reader,
    /// Makes backups, verifies and pins them: the scheduler. Takes nothing away, and writes nothing into a Qdrant.
    Operator,
    /// Everything: also restores, drills, prunes and unpins.
    Admin,
}

impl Role {
    /// The one that a request needs. What is not in this list needs the highest.
    pub(super) fn needed(request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        match (request.method().as_str(), route) {
            ("POST", Some(OPERATION)) => Self::of_action(request.uri().path()),
            // The page of one has a form for the same.
            ("POST", Some("/ui/runs/{id}")) => Self::of_action(request.uri().path()),
            (method, route) => Self::of(method, route),
        }
    }

    /// The one of this name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Reader, Self::Operator, Self::Admin]
            .into_iter()
            .find(|role| role.to_string().eq_ignore_ascii_case(text))
    }

    fn of(method: &str, route: Option<&str>) -> Self {
        match (method, route) {
            ("GET" | "HEAD", _) => Self::Reader,
            (
                "POST",
                Some(
                    "/backup"
                    | "/backups/{id}/verify"
                    | "/v1/backups"
                    | "/v1/verifications"
                    | "/ui/backup"
                    | "/ui/backups/{id}/verify"
                    | "/ui/backups/{id}/pin",
                ),
            )
            | ("PUT", Some("/backups/{id}/pin" | "/v1/backups/{id}/pin")) => Self::Operator,
            _ => Self::Admin,
        }
    }

    /// Of what is done to an operation: that of whoever may begin one of its kind, which its id tells.
    fn of_action(path: &str) -> Self {
        let segment = path.rsplit('/').next().unwrap_or_default();
        let id = segment.split(':').next().and_then(|id| id.parse::<RunId>().ok());
        id.map_or(Self::Admin, |id| Self::to_cancel(&id))
    }

    /// Of whoever cancels a run.
    pub(in crate::server) fn to_cancel(id: &RunId) -> Self {
        match id.operation() {
            "backup" | "verify" => Self::Operator,
            _ => Self::Admin,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reader => "reader",
            Self::Operator => "operator",
            Self::Admin => "admin",
        })
    }
}

/// Who has which role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    /// By address in lower case.
    by_email: BTreeMap<String, Role>,
    others: Option<Role>,
}

impl Roles {
    /// Nobody is listed yet. `others`: the role of whoever is not; `None`: may not call.
    pub fn new(others: Option<Role>) -> Self {
        Self {
            by_email: BTreeMap::new(),
            others,
        }
    }

    /// Lists addresses, in whatever case. One that is listed several times has the least of its roles.
    #[must_use]
    pub fn with(mut self, role: Role, emails: impl IntoIterator<Item = String>) -> Self {
        for email in emails {
            let listed = self.by_email.entry(email.to_ascii_lowercase()).or_insert(role);
            *listed = role.min(*listed);
        }
        self
    }

    /// The role of a caller; refuses one whose role is less than what is needed. One whose token names no address may be any of those who may
    /// call, so it has the least of all roles.
    pub(super) fn permit(&self, email: Option<&str>, needed: Role) -> Result<Role, HttpError> {
        let role = match email {
            Some(email) => self.by_email.get(&email.to_ascii_lowercase()).copied().or(self.others),
            None => self.by_email.values().copied().chain(self.others).min(),
        };
        match (role, email) {
            (Some(role), _) if role >= needed => Ok(role),
            (Some(role), Some(_)) => Err(HttpError::new(
                RequestCode::CallerNotAllowed,
                format!("the caller's role is {role}, and this request needs the role {needed}"),
                &format!(
                    "call as somebody with the role {needed}, or list the caller's address in {} and in no list of a lesser role",
                    match needed {
                        Role::Reader => "AUTH_READERS",
                        Role::Operator => "AUTH_OPERATORS",
                        Role::Admin => "AUTH_ADMINS",
                    }
                ),
            )),
            (Some(role), None) => Err(HttpError::new(
                RequestCode::EmailNotVerified,
                format!(
                    "the token names no e-mail address, so that it may be that of a caller whose role is {role}, and this \
                     request needs the role {needed}"
                ),
                "ask for a token with the address in it: --include-email",
            )),
            (None, _) => Err(HttpError::new(
                RequestCode::CallerNotAllowed,
                "the token is good, but its e-mail address is not among those that may call",
                "list the address in AUTH_READERS, AUTH_OPERATORS or AUTH_ADMINS, or call as one that is listed",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn each_request_needs_the_role_that_the_reference_tells() {
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/http-api.md"));
        let mut told = 0;
        for row in page
            .lines()
            .filter(|line| line.starts_with("| `") && line.contains(" /"))
        {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            let (method, path) = cells[1].trim_matches('`').split_once(' ').unwrap();
            let route = path.split('?').next();
            if path.ends_with(":cancel") {
                assert_eq!(cells[2], "that of who may begin it");
                continue;
            }
            if route == Some("/health") {
                assert_eq!(cells[2], "none");
                continue;
            }
            assert_eq!(Role::of(method, route).to_string(), cells[2], "{row}");
            told += 1;
        }
        assert_eq!(told, 27);
        for (kind, role) in [
            ("backup", Role::Operator),
            ("verify", Role::Operator),
            ("restore", Role::Admin),
            ("drill", Role::Admin),
            ("prune", Role::Admin),
        ] {
            let path = format!("/v1/operations/2026-11-22T12-00-00Z-{kind}-1a2b3c4d:cancel");
            assert_eq!(Role::of_action(&path), role, "{path}");
        }
        for odd in ["/v1/operations/backup:cancel", "/v1/operations/:cancel", ""] {
            assert_eq!(Role::of_action(odd), Role::Admin, "{odd}");
        }
        assert_eq!(Role::of("POST", None), Role::Admin);
        assert_eq!(Role::of("DELETE", Some("/backup")), Role::Admin);
    }
}
