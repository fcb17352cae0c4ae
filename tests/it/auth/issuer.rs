//! An issuer of identity tokens with keys of its own, and the server on which it publishes them.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RsaEncoding, RsaKeyPair};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock, Mutex};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

pub(crate) const ISSUER: &str = "https://accounts.test";
pub(crate) const AUDIENCE: &str = "https://backup.project.internal";
pub(crate) const EMAIL: &str = "scheduler@project.iam.gserviceaccount.com";

/// Making one takes a while, so all tests share them.
pub(crate) static KEYS: LazyLock<[Key; 3]> = LazyLock::new(|| ["first", "second", "stranger"].map(Key::new));

pub(crate) struct Key {
    pub(crate) id: &'static str,
    pair: RsaKeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        Self { id, pair }
    }

    pub(crate) fn jwk(&self) -> Value {
        let public = self.pair.public_key();
        let n = encode(public.modulus().big_endian_without_leading_zero());
        let e = encode(public.exponent().big_endian_without_leading_zero());
        json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.id, "n": n, "e": e})
    }

    /// The public key as anybody can have it.
    pub(crate) fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// A token that says all that it should.
    pub(crate) fn token(&self, now: OffsetDateTime) -> String {
        self.sign(&self.header(), &claims(now))
    }

    pub(crate) fn header(&self) -> Value {
        json!({"alg": "RS256", "kid": self.id, "typ": "JWT"})
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    pub(crate) fn sign_text(&self, header: &str, claims: &str) -> String {
        self.sign_by(&RSA_PKCS1_SHA256, header, claims)
    }

    pub(crate) fn sign_rs384(&self, header: &Value, claims: &Value) -> String {
        self.sign_by(&RSA_PKCS1_SHA384, &header.to_string(), &claims.to_string())
    }

    fn sign_by(&self, how: &'static dyn RsaEncoding, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = SystemRandom::new();
        self.pair
            .sign(how, &random, message.as_bytes(), &mut signature)
            .unwrap();
        format!("{message}.{}", encode(signature))
    }
}

/// What a good token claims.
pub(crate) fn claims(now: OffsetDateTime) -> Value {
    let now = now.unix_timestamp();
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "1081", "azp": "1081", "email": EMAIL, "email_verified": true,
        "iat": now - 10, "exp": now + 3600,
    })
}

/// The same with one claim changed.
pub(crate) fn with(now: OffsetDateTime, name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims(now);
    claims[name] = value.into();
    claims
}

/// The same with one claim left out.
pub(crate) fn without(now: OffsetDateTime, name: &str) -> Value {
    let mut claims = claims(now);
    claims.as_object_mut().unwrap().remove(name);
    claims
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What the server answers.
#[derive(Clone)]
pub(crate) struct Publishes {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) cache_control: &'static str,
    /// Each answer takes a permit.
    pub(crate) held: Option<Arc<Semaphore>>,
}

/// The server of the keys. It stops with the test's runtime.
pub(crate) struct Issuer {
    pub(crate) url: String,
    inner: Arc<Mutex<(Publishes, usize)>>,
}

impl Issuer {
    /// Publishes the first key for an hour.
    pub(crate) async fn start() -> Self {
        let inner = Arc::new(Mutex::new((
            Publishes {
                status: 200,
                body: set(&[&KEYS[0]]),
                cache_control: "public, max-age=3600, must-revalidate",
                held: None,
            },
            0,
        )));
        let app = Router::new().route("/certs", get(certs)).with_state(inner.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/certs", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, inner }
    }

    pub(crate) fn publish(&self, change: impl FnOnce(&mut Publishes)) {
        change(&mut self.inner.lock().unwrap().0);
    }

    /// How often the keys were fetched.
    pub(crate) fn fetches(&self) -> usize {
        self.inner.lock().unwrap().1
    }
}

/// A set of these keys.
pub(crate) fn set(keys: &[&Key]) -> String {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()}).to_string()
}

async fn certs(State(inner): State<Arc<Mutex<(Publishes, usize)>>>) -> Response {
    let publishes = {
        let mut inner = inner.lock().unwrap();
        inner.1 += 1;
        inner.0.clone()
    };
    if let Some(held) = publishes.held {
        held.acquire().await.unwrap().forget();
    }
    let status = StatusCode::from_u16(publishes.status).unwrap();
    (
        status,
        [(header::CACHE_CONTROL, publishes.cache_control)],
        publishes.body,
    )
        .into_response()
}
