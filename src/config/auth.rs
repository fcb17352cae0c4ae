//! Who may call the service.

use super::reader::Reader;
use super::settings::value;
use super::{Env, Problem};
use crate::server::auth::{FileProblem, Mode, Role, Roles, Rules, TokenFile};
use std::net::SocketAddr;

const MODE: &str = "AUTH_MODE";
const AUDIENCE: &str = "AUTH_AUDIENCE";
const READERS: &str = "AUTH_READERS";
const OPERATORS: &str = "AUTH_OPERATORS";
const ADMINS: &str = "AUTH_ADMINS";
/// For `oidc`, the older name of [`ADMINS`].
const EMAILS: &str = "AUTH_ALLOWED_EMAILS";
const DEFAULT_ROLE: &str = "AUTH_DEFAULT_ROLE";
const TOKEN_FILE: &str = "AUTH_TOKEN_FILE";
/// Cloud Run sets it.
const CLOUD_RUN: &str = "K_SERVICE";

/// Reads the mode for a service that listens on `listen`. A mode in which everybody could call is a problem.
pub(super) fn read(reader: &mut Reader<'_>, listen: SocketAddr) -> Mode {
    let mode = mode(reader, listen);
    let lists = [READERS, OPERATORS, ADMINS, DEFAULT_ROLE];
    let (unused, wrong, remedy) = match mode {
        Mode::None => (
            &lists[..],
            format!("is set, but without {MODE}=iam or {MODE}=oidc callers are not authenticated"),
            "leave it out, or set AUTH_MODE",
        ),
        Mode::Token(_) => (
            &lists[..],
            format!("is set, but with {MODE}=token the roles are those of {TOKEN_FILE}"),
            "leave it out, and write the role before each token",
        ),
        Mode::Iam(_) | Mode::Oidc(_) => (&[][..], String::new(), ""),
    };
    for name in unused {
        if let Some(text) = reader.text(name) {
            reader.problem(name, &text, wrong.as_str(), remedy);
        }
    }
    if !reader.text(MODE).is_some_and(|mode| is_token(&mode))
        && let Some(text) = reader.text(TOKEN_FILE)
    {
        let wrong = format!("is set, but {MODE} is not token");
        reader.problem(TOKEN_FILE, &text, wrong, "set AUTH_MODE=token, or leave it out");
    }
    mode
}

fn is_token(mode: &str) -> bool {
    mode.eq_ignore_ascii_case("token")
}

/// Who may call with `AUTH_MODE=token`.
#[derive(Debug)]
pub(crate) struct TokenCallers {
    /// How many, and with which roles.
    pub(crate) summary: String,
    /// What is unwise about the file.
    pub(crate) warning: Option<String>,
}

/// The callers of a service with `AUTH_MODE=token`; `None` in every other mode. For `check`, which serves nobody.
pub(crate) fn token_callers(env: Env<'_>) -> Option<Result<TokenCallers, Vec<Problem>>> {
    value(env, MODE).filter(|mode| is_token(mode))?;
    let mut reader = Reader::new(env);
    let file = read_tokens(&mut reader);
    let callers = file.map(|file| TokenCallers {
        summary: file.summary(),
        warning: file.warning(),
    });
    Some(callers.ok_or_else(|| reader.problems()))
}

fn read_tokens(reader: &mut Reader<'_>) -> Option<TokenFile> {
    let Some(path) = reader.text(TOKEN_FILE) else {
        let wrong = format!("is not set, and {MODE}=token needs it");
        let remedy = "name a file with a line `ROLE NAME TOKEN` for each caller";
        reader.unset_problem(TOKEN_FILE, wrong, remedy);
        return None;
    };
    match TokenFile::read(path.clone().into()) {
        Ok(file) => Some(file),
        Err(problems) => {
            for FileProblem { wrong, remedy } in problems {
                reader.problem(TOKEN_FILE, &path, wrong, remedy);
            }
            None
        }
    }
}

fn mode(reader: &mut Reader<'_>, listen: SocketAddr) -> Mode {
    let local = listen.ip().to_canonical().is_loopback();
    let on_cloud_run = reader.text(CLOUD_RUN).is_some();
    let own = format!(
        "or listen for this machine alone: --listen 127.0.0.1:{0}, or LISTEN=127.0.0.1:{0}, for which a container needs the \
         machine's network (docker run --network host, instead of -p)",
        listen.port()
    );
    let oidc = format!("set {MODE}=oidc with {AUDIENCE} and {ADMINS}, or {MODE}=token with {TOKEN_FILE}, {own}");
    let Some(text) = reader.text(MODE) else {
        if on_cloud_run {
            return Mode::Iam(roles_of_invokers(reader));
        }
        if !local {
            let wrong = format!("is not set, and other machines reach {listen}");
            reader.unset_problem(MODE, wrong, oidc);
        }
        return Mode::None;
    };
    match text.to_ascii_lowercase().as_str() {
        "none" if local => Mode::None,
        "none" => {
            reader.problem(MODE, &text, format!("admits every caller that reaches {listen}"), oidc);
            Mode::None
        }
        "iam" => {
            if !on_cloud_run {
                let wrong = format!(
                    "leaves it to Cloud Run to check callers, and this is not Cloud Run ({CLOUD_RUN} is not set)"
                );
                reader.problem(MODE, &text, wrong, oidc);
            }
            Mode::Iam(roles_of_invokers(reader))
        }
        "oidc" => Mode::Oidc(rules(reader)),
        // Without tokens there is a problem already.
        "token" => read_tokens(reader).map_or(Mode::None, Mode::Token),
        _ => {
            reader.problem(MODE, &text, "is not a mode", "write iam, oidc, token or none");
            Mode::None
        }
    }
}

/// The roles of those whom Cloud Run lets through. Whoever is in no list may do everything, as ever, unless somebody is said to.
fn roles_of_invokers(reader: &mut Reader<'_>) -> Roles {
    let admins = emails(reader, ADMINS);
    let others = default_role(reader).unwrap_or(match admins.is_empty() {
        true => Role::Admin,
        false => Role::Reader,
    });
    listed(reader, Some(others)).with(Role::Admin, admins)
}

fn default_role(reader: &mut Reader<'_>) -> Option<Role> {
    let text = reader.text(DEFAULT_ROLE)?;
    let role = Role::parse(&text);
    if role.is_none() {
        reader.problem(DEFAULT_ROLE, &text, "is not a role", "write reader, operator or admin");
    }
    role
}

/// The lists but that of the admins.
fn listed(reader: &mut Reader<'_>, others: Option<Role>) -> Roles {
    Roles::new(others)
        .with(Role::Reader, emails(reader, READERS))
        .with(Role::Operator, emails(reader, OPERATORS))
}

fn rules(reader: &mut Reader<'_>) -> Rules {
    let audiences = reader.list(AUDIENCE);
    if audiences.is_empty() {
        let wrong = format!("is not set, and {MODE}=oidc needs it");
        let remedy = "set it to the text that callers ask their tokens for, e.g. the service's URL";
        reader.unset_problem(AUDIENCE, wrong, remedy);
    }
    if [OPERATORS, ADMINS, EMAILS]
        .iter()
        .all(|name| reader.list(name).is_empty())
    {
        let wrong = format!(
            "is not set, and {MODE}=oidc needs it or {OPERATORS}: anybody with a Google account can get a token for any audience"
        );
        let remedy =
            "list the addresses that may call, e.g. scheduler@my-project.iam.gserviceaccount.com,me@example.com";
        reader.unset_problem(ADMINS, wrong, remedy);
    }
    if let Some(text) = reader.text(DEFAULT_ROLE) {
        let wrong = format!("is set, but with {MODE}=oidc nobody may call who is in no list");
        reader.problem(DEFAULT_ROLE, &text, wrong, "leave it out, and list who may call");
    }
    let admins = [emails(reader, ADMINS), emails(reader, EMAILS)].concat();
    Rules::google(audiences, listed(reader, None).with(Role::Admin, admins))
}

/// A list of e-mail addresses.
fn emails(reader: &mut Reader<'_>, name: &'static str) -> Vec<String> {
    let emails = reader.list(name);
    for email in &emails {
        let whole = email
            .split_once('@')
            .is_some_and(|(name, domain)| !name.is_empty() && !domain.is_empty());
        if !whole || email.contains(|c: char| c == '*' || c.is_whitespace() || c.is_control()) {
            let remedy = "write whole addresses with commas between them; there are no patterns";
            reader.problem(name, email, "is not an e-mail address", remedy);
        }
    }
    emails
}
