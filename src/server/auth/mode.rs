//! The modes in which callers are checked.

use super::roles::Roles;
use super::static_token::TokenFile;

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
    /// without its signature. Those whom it lets through have these roles.
    Iam(Roles),
    /// This service verifies the caller's identity token.
    Oidc(Rules),
    /// This service looks for the caller's token in a file.
    Token(TokenFile),
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
    /// Whose it may be, and what they may do. Anybody can have a token issued for any audience, so this is what decides.
    pub roles: Roles,
}

impl Rules {
    /// Tokens of Google for one of these audiences and of these callers.
    pub fn google(audiences: Vec<String>, roles: Roles) -> Self {
        Self {
            issuers: GOOGLE.map(str::to_owned).to_vec(),
            keys_url: GOOGLE_KEYS.to_owned(),
            audiences,
            roles,
        }
    }
}
