//! Credentials of the storage client: tokens come from `gcp_auth` and from nowhere else.

mod source;

use crate::base::error::{BoxError, Code, Error, Result};
use gcp_auth::TokenProvider;
use google_cloud_auth::{
    credentials::{CacheableResource, Credentials, CredentialsProvider, EntityTag},
    errors::CredentialsError,
};
use http::{Extensions, HeaderMap, HeaderValue, header};
use source::{may_come, told};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};

pub use source::TokenSource;

const SCOPES: &[&str] = &["https://www.googleapis.com/auth/devstorage.read_write"];

/// Between two looks for a token at the start.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What to do without credentials.
pub(super) const NO_CREDENTIALS: &str = "run as a service account that may write to the bucket (on Google Cloud); elsewhere \
     run `gcloud auth application-default login` or set GOOGLE_APPLICATION_CREDENTIALS to a key file";

/// The error of credentials that are missing, or that cannot be had now.
fn missing(cause: impl Into<BoxError>) -> Error {
    Error::new(Code::StoreUnauthorized, "no Google Cloud credentials")
        .because(cause)
        .remedy(NO_CREDENTIALS)
}

/// One source of tokens, shared by the two clients of a store.
pub(super) struct Tokens {
    source: TokenSource,
    /// Longest time for one token: `gcp_auth` waits for ever on a metadata server that does not answer.
    limit: Duration,
    /// The last token was not accepted.
    refused: AtomicBool,
    /// Held while a token is fetched: `gcp_auth` would let every waiter fetch one of its own.
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    provider: Option<Arc<dyn TokenProvider>>,
    token: Option<(Arc<gcp_auth::Token>, EntityTag)>,
}

impl Tokens {
    pub(super) fn new(source: TokenSource, limit: Duration) -> Self {
        Self {
            source,
            limit,
            refused: AtomicBool::new(false),
            last: Mutex::default(),
        }
    }

    /// Fetches a token now, so that missing credentials are found before any work is done. A metadata server that is there
    /// and not ready, as on a node or pod that has just started, has `patience`.
    pub(super) async fn probe(&self, first_pause: Duration, patience: Duration) -> Result<()> {
        let begun = Instant::now();
        let mut pause = first_pause;
        loop {
            let error = match self.current().await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            if error.is_permanent() || begun.elapsed() + pause > patience {
                return Err(error);
            }
            tracing::info!(error = %error, "no Google Cloud credentials yet; trying again in {pause:?}");
            sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    /// The store did not accept the last token: the next request has another one.
    pub(super) fn refuse(&self) {
        self.refused.store(true, Ordering::Release);
    }

    /// The header of a request with a valid token.
    pub(super) async fn bearer(&self) -> Result<HeaderValue, crate::base::error::BoxError> {
        let (token, _) = self.current().await?;
        Ok(bearer(&token)?)
    }

    /// A valid token, and a tag that changes with it.
    async fn current(&self) -> Result<(Arc<gcp_auth::Token>, EntityTag)> {
        let mut last = self.last.lock().await;
        if self.refused.swap(false, Ordering::AcqRel) {
            tracing::info!("Cloud Storage refuses the token; fetching another one");
            last.provider = None;
        }
        let provider = match &last.provider {
            Some(provider) => provider.clone(),
            None => {
                let opened = self.within(self.source.open()).await?;
                let opened = opened.map_err(|e| missing(told(&e)).permanent(!may_come(&e)))?;
                last.provider.insert(opened).clone()
            }
        };
        // Cached there until shortly before it expires.
        let token = self.within(provider.token(SCOPES)).await?.map_err(missing)?;
        match &last.token {
            Some((known, tag)) if known.as_str() == token.as_str() => Ok((token, tag.clone())),
            _ => {
                let tag = EntityTag::new();
                last.token = Some((token.clone(), tag.clone()));
                Ok((token, tag))
            }
        }
    }

    async fn within<T>(&self, asked: impl Future<Output = T>) -> Result<T> {
        let limit = self.limit;
        let late = |_| missing(format!("no answer from where tokens come from within {limit:?}"));
        timeout(limit, asked).await.map_err(late)
    }
}

fn bearer(token: &gcp_auth::Token) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.as_str()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The headers that the storage client adds to its requests.
pub(super) struct RequestHeaders {
    tokens: Option<Arc<Tokens>>,
    /// `host:port` of an emulator. The client leaves the port out of `Host`, and emulators build the address of an upload
    /// session from it.
    host: Option<HeaderValue>,
    /// The tag of headers without a token: they never change.
    constant: EntityTag,
}

impl RequestHeaders {
    pub(super) fn credentials(tokens: Option<Arc<Tokens>>, host: Option<HeaderValue>) -> Credentials {
        let constant = EntityTag::new();
        Credentials::from(Self { tokens, host, constant })
    }
}

impl CredentialsProvider for RequestHeaders {
    async fn headers(&self, known: Extensions) -> Result<CacheableResource<HeaderMap>, CredentialsError> {
        let mut headers = HeaderMap::new();
        let mut tag = self.constant.clone();
        if let Some(tokens) = &self.tokens {
            let current = tokens.current().await;
            let (token, new) = current.map_err(|e| CredentialsError::from_source(true, e))?;
            let value = bearer(&token).map_err(|e| CredentialsError::from_source(false, e))?;
            headers.insert(header::AUTHORIZATION, value);
            tag = new;
        }
        if known.get::<EntityTag>() == Some(&tag) {
            return Ok(CacheableResource::NotModified);
        }
        if let Some(host) = &self.host {
            headers.insert(header::HOST, host.clone());
        }
        Ok(CacheableResource::New {
            entity_tag: tag,
            data: headers,
        })
    }

    async fn universe_domain(&self) -> Option<String> {
        None
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RequestHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHeaders")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One;

    #[async_trait::async_trait]
    impl TokenProvider for One {
        async fn token(&self, _: &[&str]) -> Result<Arc<gcp_auth::Token>, gcp_auth::Error> {
            let token = serde_json::json!({"access_token": "s3cret", "expires_in": 3600});
            Ok(Arc::new(serde_json::from_value(token).unwrap()))
        }

        async fn project_id(&self) -> Result<Arc<str>, gcp_auth::Error> {
            Ok("project".into())
        }
    }

    #[tokio::test]
    async fn the_token_is_sent_and_not_shown_by_debug() {
        let source = TokenSource::new(async || Ok(Arc::new(One) as Arc<dyn TokenProvider>));
        let headers = RequestHeaders {
            tokens: Some(Arc::new(Tokens::new(source, Duration::from_secs(5)))),
            host: None,
            constant: EntityTag::new(),
        };
        let CacheableResource::New { data, .. } = headers.headers(Extensions::new()).await.unwrap() else {
            panic!("there is a token")
        };
        assert_eq!(data[header::AUTHORIZATION], "Bearer s3cret");
        assert!(!format!("{data:?}").contains("s3cret"));
    }
}
