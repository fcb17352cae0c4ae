//! Credentials of the storage client: tokens come from `gcp_auth` and from nowhere else.

use crate::base::error::{Code, Error, Result};
use google_cloud_auth::{
    credentials::{CacheableResource, Credentials, CredentialsProvider, EntityTag},
    errors::CredentialsError,
};
use http::{Extensions, HeaderMap, HeaderValue, header};
use std::{fmt, sync::Arc};
use tokio::sync::Mutex;

const SCOPES: &[&str] = &["https://www.googleapis.com/auth/devstorage.read_write"];

const REMEDY: &str = "run as a service account that may write to the bucket (on Google Cloud); elsewhere run `gcloud \
     auth application-default login` or set GOOGLE_APPLICATION_CREDENTIALS to a key file";

/// Finds out where tokens come from on this machine. Asks the metadata server when nothing else is configured.
pub(super) async fn discover() -> Result<Arc<dyn gcp_auth::TokenProvider>> {
    gcp_auth::provider().await.map_err(|e| refused(Box::new(e)))
}

/// The error of a missing or refused credential.
pub(super) fn refused(cause: crate::base::error::BoxError) -> Error {
    Error::new(Code::StoreForbidden, "no Google Cloud credentials")
        .because(cause)
        .remedy(REMEDY)
}

/// One source of tokens, shared by the two clients of a store.
pub(super) struct Tokens {
    provider: Arc<dyn gcp_auth::TokenProvider>,
    /// Held while a token is fetched: `gcp_auth` would let every waiter fetch one of its own.
    last: Mutex<Option<(Arc<gcp_auth::Token>, EntityTag)>>,
}

impl Tokens {
    pub(super) fn new(provider: Arc<dyn gcp_auth::TokenProvider>) -> Self {
        Self {
            provider,
            last: Mutex::default(),
        }
    }

    /// Fetches a token now, so that missing credentials are found before any work is done.
    pub(super) async fn probe(&self) -> Result<()> {
        let token = self.current().await;
        token.map(drop).map_err(|e| refused(Box::new(e)))
    }

    /// The header of a request with a valid token.
    pub(super) async fn bearer(&self) -> Result<HeaderValue, crate::base::error::BoxError> {
        let (token, _) = self.current().await?;
        Ok(bearer(&token)?)
    }

    /// A valid token, and a tag that changes with it.
    async fn current(&self) -> Result<(Arc<gcp_auth::Token>, EntityTag), gcp_auth::Error> {
        let mut last = self.last.lock().await;
        // Cached there until shortly before it expires.
        let token = self.provider.token(SCOPES).await?;
        match &*last {
            Some((known, tag)) if known.as_str() == token.as_str() => Ok((token, tag.clone())),
            _ => {
                let tag = EntityTag::new();
                *last = Some((token.clone(), tag.clone()));
                Ok((token, tag))
            }
        }
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
    impl gcp_auth::TokenProvider for One {
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
        let headers = RequestHeaders {
            tokens: Some(Arc::new(Tokens::new(Arc::new(One)))),
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
