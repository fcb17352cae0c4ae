//! The issuer's public keys: fetched when they are needed, kept as long as the issuer says, and longer when it is not
//! reachable.
//!
//! A token may name any key, so an unknown name leads to at most one fetch in a while. A fetch is a task of its own: a client
//! that goes away does not end it.

use crate::base::clock::Clock;
use crate::base::error::{Code, Error, Result};
use axum::http::{HeaderMap, header};
use jsonwebtoken::DecodingKey;
use reqwest::{Client, redirect};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::Mutex;

/// After a fetch, whatever came of it, no other one begins for so long.
pub(super) const COOL_DOWN: Duration = Duration::from_secs(30);
/// Keys are kept so long when the issuer does not say how long.
const UNSAID: Duration = Duration::from_secs(3600);
/// And never longer than this.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// A caller waits for it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// No set of keys is larger.
const LARGEST: usize = 1 << 20;

/// Why there is no key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyError {
    /// The issuer has none of that name.
    Unknown,
    /// The issuer could not be asked, and none of its keys is known.
    Unavailable,
}

/// The keys of one issuer. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Jwks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    url: String,
    http: Client,
    clock: Clock,
    current: RwLock<Arc<Keys>>,
    /// When the last fetch began. Held during a fetch.
    fetched: Mutex<Option<OffsetDateTime>>,
}

#[derive(Debug, Default)]
struct Keys {
    by_id: HashMap<String, DecodingKey>,
    /// Until then they need not be fetched again.
    until: Option<OffsetDateTime>,
}

impl Jwks {
    pub(super) fn new(url: String, clock: Clock) -> Result<Self> {
        let http = Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(TIMEOUT)
            .user_agent(concat!("qdrant-backup/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| Error::new(Code::Internal, "building the HTTP client for public keys").because(e))?;
        Ok(Self(Arc::new(Inner {
            url,
            http,
            clock,
            current: RwLock::default(),
            fetched: Mutex::new(None),
        })))
    }

    /// The key of this name.
    pub(super) async fn key(&self, id: &str) -> Result<DecodingKey, KeyError> {
        let keys = self.0.current();
        let is_known = keys.by_id.contains_key(id);
        let is_young = keys.until.is_some_and(|until| self.0.clock.now() < until);
        if !(is_known && is_young) {
            self.refresh(is_known).await;
        }
        let keys = self.0.current();
        match keys.by_id.get(id) {
            Some(key) => Ok(key.clone()),
            None if keys.by_id.is_empty() => Err(KeyError::Unavailable),
            None => Err(KeyError::Unknown),
        }
    }

    /// Fetches the keys unless that was tried a moment ago. `at_once`: does not wait for a fetch that is under way.
    async fn refresh(&self, at_once: bool) {
        let inner = self.0.clone();
        let work = async move {
            let mut fetched = match at_once {
                true => match inner.fetched.try_lock() {
                    Ok(fetched) => fetched,
                    Err(_) => return,
                },
                false => inner.fetched.lock().await,
            };
            let now = inner.clock.now();
            // A clock that was set back must not stop fetching.
            if fetched.is_some_and(|at| at <= now && now < at + COOL_DOWN) {
                return;
            }
            *fetched = Some(now);
            match inner.fetch(now).await {
                Ok(keys) => *inner.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys),
                Err(error) => {
                    tracing::warn!(url = inner.url, error = %error.chain(), "failed to fetch the public keys for identity tokens; the known ones stay in use")
                }
            }
        };
        // Its end is all that matters, and a panic in it is logged.
        let _ = tokio::spawn(work).await;
    }
}

impl Inner {
    fn current(&self) -> Arc<Keys> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn fetch(&self, now: OffsetDateTime) -> Result<Keys> {
        let failed = |e| Error::new(Code::Internal, "fetching public keys").because(e);
        let mut response = self.http.get(&self.url).send().await.map_err(failed)?;
        if response.status() != 200 {
            return Err(Error::new(
                Code::Internal,
                format!("fetching public keys: {}", response.status()),
            ));
        }
        let until = now + lifetime(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > LARGEST {
                return Err(Error::new(
                    Code::Internal,
                    format!("public keys: more than {LARGEST} bytes"),
                ));
            }
            body.extend_from_slice(&chunk);
        }
        let by_id = parse(&body)?;
        Ok(Keys {
            by_id,
            until: Some(until),
        })
    }
}

/// The RSA keys for signatures in a JWK set; whatever else is in it is passed over.
fn parse(body: &[u8]) -> Result<HashMap<String, DecodingKey>> {
    #[derive(Deserialize)]
    struct JwkSet {
        keys: Vec<Value>,
    }
    #[derive(Deserialize)]
    struct Jwk {
        kty: String,
        kid: String,
        n: String,
        e: String,
        alg: Option<String>,
        r#use: Option<String>,
    }
    let set: JwkSet = serde_json::from_slice(body)
        .map_err(|e| Error::new(Code::Internal, "the response is not a set of public keys").because(e))?;
    let usable = |jwk: &Jwk| {
        jwk.kty == "RSA"
            && jwk.alg.as_deref().is_none_or(|alg| alg == "RS256")
            && jwk.r#use.as_deref().is_none_or(|r#use| r#use == "sig")
    };
    let keys: HashMap<_, _> = set
        .keys
        .into_iter()
        .filter_map(|key| serde_json::from_value(key).ok())
        .filter(usable)
        .filter_map(|jwk| Some((jwk.kid, DecodingKey::from_rsa_components(&jwk.n, &jwk.e).ok()?)))
        .collect();
    match keys.is_empty() {
        true => Err(Error::new(
            Code::Internal,
            "the set of public keys has none that can be used",
        )),
        false => Ok(keys),
    }
}

/// How long an answer may be used: `Cache-Control`, less the time that it has spent in caches.
fn lifetime(headers: &HeaderMap) -> Duration {
    let seconds = |text: &str| text.trim_matches('"').parse().ok().map(Duration::from_secs);
    let control = headers.get_all(header::CACHE_CONTROL).iter();
    let directives: Vec<_> = control
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|directive| directive.trim().to_ascii_lowercase())
        .collect();
    if directives.iter().any(|d| matches!(d.as_str(), "no-store" | "no-cache")) {
        return Duration::ZERO;
    }
    let said = directives.iter().find_map(|d| seconds(d.strip_prefix("max-age=")?));
    let age = headers.get(header::AGE).and_then(|age| seconds(age.to_str().ok()?));
    said.map_or(UNSAID, |said| said.saturating_sub(age.unwrap_or_default()))
        .min(LONGEST)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn keys_are_kept_as_long_as_the_issuer_says() {
        for (control, age, expected) in [
            ("public, max-age=19800, must-revalidate, no-transform", "", 19_800),
            ("public, max-age=19800", "800", 19_000),
            ("MAX-AGE=\"60\"", "", 60),
            ("max-age=60", "61", 0),
            ("max-age=99999999", "", 86_400),
            ("no-cache", "", 0),
            ("no-store, max-age=60", "", 0),
            ("max-age=soon", "", 3600),
            ("", "", 3600),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, control.parse().unwrap());
            headers.insert(header::AGE, age.parse().unwrap());
            assert_eq!(lifetime(&headers), Duration::from_secs(expected), "{control} {age}");
        }
        assert_eq!(lifetime(&HeaderMap::new()), UNSAID);
    }

    #[test]
    fn only_keys_for_the_one_kind_of_signature_are_taken() {
        let rsa = |kid: &str, more: &str| format!(r#"{{"kty":"RSA","kid":"{kid}","n":"AQAB","e":"AQAB"{more}}}"#);
        let keys = [
            rsa("a", ""),
            rsa("b", r#","alg":"RS256","use":"sig""#),
            rsa("c", r#","alg":"RS512""#),
            rsa("d", r#","use":"enc""#),
            r#"{"kty":"oct","kid":"e","k":"AQAB","n":"AQAB","e":"AQAB"}"#.to_owned(),
            r#"{"kty":"RSA","kid":"f","n":"%","e":"AQAB"}"#.to_owned(),
            "7".to_owned(),
        ];
        let set = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
        let mut found: Vec<_> = parse(set.as_bytes()).unwrap().into_keys().collect();
        found.sort_unstable();
        assert_eq!(found, ["a", "b"]);
        for wrong in ["", "[]", "{}", r#"{"keys":[]}"#, r#"{"keys":[{}]}"#] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
