//! Verifies identity tokens. Nothing of a token is believed before its signature has been checked, and nothing of it is ever
//! repeated to the caller.

use super::jwks::{Jwks, KeyError};
use super::{Bearer, Roles, Rules, SERVERLESS, bearer, is_stripped};
use crate::base::clock::Clock;
use crate::base::error::Result;
use crate::server::error::{HttpError, RequestCode};
use axum::http::{HeaderMap, header};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;

/// Seconds by which the clocks of the issuer and of this machine may differ.
const LEEWAY: f64 = 30.0;
const HOW: &str = "send `Authorization: Bearer TOKEN` with an identity token, e.g. of `gcloud auth print-identity-token \
                   --impersonate-service-account=ACCOUNT --audiences=AUDIENCE --include-email`";

/// Verifies tokens by one set of rules.
#[derive(Debug)]
pub(super) struct Verifier {
    rules: Rules,
    keys: Jwks,
    clock: Clock,
    validation: Validation,
}

/// What is read of a token besides what `jsonwebtoken` reads.
#[derive(Deserialize)]
struct Claims {
    /// One issuer, not a list.
    #[expect(dead_code, reason = "compared by jsonwebtoken")]
    iss: String,
    exp: f64,
    nbf: Option<f64>,
    email: Option<Value>,
    email_verified: Option<Value>,
}

impl Verifier {
    pub(super) fn new(rules: Rules, clock: Clock) -> Result<Self> {
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_issuer(&rules.issuers);
        validation.set_audience(&rules.audiences);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        // By our own clock, below.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Ok(Self {
            keys: Jwks::new(rules.keys_url.clone(), clock.clone())?,
            rules,
            clock,
            validation,
        })
    }

    /// The caller's e-mail address, proven, in lower case. What it may do is told by [`Self::roles`].
    pub(super) async fn verify(&self, headers: &HeaderMap) -> Result<String, HttpError> {
        let token = match bearer(headers, &header::AUTHORIZATION) {
            Bearer::Token(token) if is_stripped(token) => return Err(stripped()),
            Bearer::Token(token) => token,
            Bearer::Unreadable => return Err(malformed("Authorization holds no token that can be read")),
            Bearer::Absent => match bearer(headers, &SERVERLESS) {
                Bearer::Token(token) if is_stripped(token) => return Err(stripped()),
                _ => {
                    return Err(HttpError::new(
                        RequestCode::TokenMissing,
                        "this service wants an identity token",
                        HOW,
                    ));
                }
            },
        };
        let claims = self.claims(token).await?;
        self.check_time(&claims)?;
        match (claims.email, claims.email_verified) {
            (Some(Value::String(email)), Some(Value::Bool(true))) => Ok(email.to_ascii_lowercase()),
            _ => Err(HttpError::new(
                RequestCode::EmailNotVerified,
                "the token has no e-mail address that its issuer has verified",
                "ask for one with the address in it: --include-email, or the token of a service account's full format",
            )),
        }
    }

    pub(super) fn roles(&self) -> &Roles {
        &self.rules.roles
    }

    /// The claims of a token that is signed by the issuer and meant for this service.
    async fn claims(&self, token: &str) -> Result<Claims, HttpError> {
        let header = decode_header(token).map_err(|_| malformed("the token is not a JWT with a known algorithm"))?;
        if header.alg != Algorithm::RS256 || header.crit.is_some() {
            return Err(untrusted("the token is not signed as its issuer signs (RS256)"));
        }
        let Some(id) = header.kid else {
            return Err(untrusted("the token does not say which key signed it"));
        };
        let key = self.keys.key(&id).await.map_err(|why| match why {
            KeyError::Unknown => untrusted("the token is signed with a key that its issuer does not publish"),
            KeyError::Unavailable => HttpError::new(
                RequestCode::KeysUnavailable,
                "the issuer's public keys could not be fetched, so no token can be checked",
                "try again in a minute; the service must be able to reach www.googleapis.com",
            ),
        })?;
        let decoded = decode::<Claims>(token, &key, &self.validation);
        decoded.map(|token| token.claims).map_err(|e| match e.kind() {
            ErrorKind::InvalidSignature => untrusted("the token's signature is not that of its issuer"),
            ErrorKind::InvalidIssuer => wrong_issuer(),
            ErrorKind::InvalidAudience => self.wrong_audience(),
            ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => self.wrong_audience(),
            ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => wrong_issuer(),
            _ => malformed("the token's claims are not those of an identity token"),
        })
    }

    fn check_time(&self, claims: &Claims) -> Result<(), HttpError> {
        let now = self.clock.now().unix_timestamp() as f64;
        if claims.exp + LEEWAY <= now {
            return Err(HttpError::new(
                RequestCode::TokenExpired,
                "the token has expired",
                "get a new token",
            ));
        }
        if claims.nbf.is_some_and(|nbf| now + LEEWAY < nbf) {
            return Err(HttpError::new(
                RequestCode::TokenNotYetValid,
                "the token is not valid yet",
                "compare the clocks of the issuer and of this service",
            ));
        }
        Ok(())
    }

    fn wrong_audience(&self) -> HttpError {
        HttpError::new(
            RequestCode::TokenAudience,
            format!(
                "the token is not meant for this service but for another audience than {}",
                self.rules.audiences.join(" or ")
            ),
            "ask for a token with that audience: --audiences, or the audience of the Scheduler job; or set AUTH_AUDIENCE",
        )
    }
}

fn wrong_issuer() -> HttpError {
    HttpError::new(RequestCode::TokenIssuer, "the token is not issued by Google", HOW)
}

fn stripped() -> HttpError {
    HttpError::new(
        RequestCode::TokenStripped,
        "Cloud Run removed the token's signature (SIGNATURE_REMOVED_BY_GOOGLE) after checking it",
        "where Cloud Run's IAM check is on, set AUTH_MODE=iam; where it is off, send the token in Authorization and nothing in \
         X-Serverless-Authorization",
    )
}

pub(super) fn malformed(message: &str) -> HttpError {
    HttpError::new(RequestCode::TokenMalformed, message, HOW)
}

fn untrusted(message: &str) -> HttpError {
    HttpError::new(RequestCode::TokenNotTrusted, message, HOW)
}
