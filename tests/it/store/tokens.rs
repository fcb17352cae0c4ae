//! Where tokens come from, how often, and that nobody sees them.

use super::kit::{BUCKET, emulator, impatient, noise, put, read};
use futures_util::future::join_all;
use gcp_auth::{Token, TokenProvider};
use gcs_emulator::{Fault, On};
use qdrant_backup::base::error::Code;
use qdrant_backup::wire::store::{GcsOptions, GcsStore, Store as _};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// Gives out `secret-0`, `secret-1`… as a metadata server does whose caller has no cache: fetches are slow enough to overlap.
#[derive(Default)]
struct Provider {
    fetched: AtomicU32,
    at_once: AtomicU32,
    most_at_once: AtomicU32,
    /// Fetches that work; none are left after them.
    good: Option<u32>,
}

#[async_trait::async_trait]
impl TokenProvider for Provider {
    async fn token(&self, scopes: &[&str]) -> Result<Arc<Token>, gcp_auth::Error> {
        assert_eq!(scopes, ["https://www.googleapis.com/auth/devstorage.read_write"]);
        let fetched = self.fetched.load(Ordering::SeqCst);
        if self.good.is_some_and(|good| fetched >= good) {
            return Err(gcp_auth::Error::Str("no metadata server"));
        }
        let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        tokio::task::yield_now().await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        let n = self.fetched.fetch_add(1, Ordering::SeqCst);
        let token = serde_json::json!({"access_token": format!("secret-{n}"), "expires_in": 3600});
        Ok(Arc::new(serde_json::from_value(token).unwrap()))
    }

    async fn project_id(&self) -> Result<Arc<str>, gcp_auth::Error> {
        Ok("project".into())
    }
}

#[tokio::test]
async fn every_request_carries_the_current_token_and_nothing_shows_it() {
    let emulator = emulator().await;
    let options = GcsOptions {
        endpoint: Some(emulator.url().to_string()),
        tokens: Some(Arc::new(Provider::default())),
        signer: None,
        retry: impatient(),
    };
    let shown = format!("{options:?}");
    let store = GcsStore::open(BUCKET, "p", options).await.unwrap();
    let meta = put(&store, "a", &noise(1000, 1)).await.unwrap();
    read(&store, "a").await.unwrap();
    store.delete("a", &meta.version).await.unwrap();
    let requests = emulator.requests();
    assert_eq!(requests.len(), 4);
    let mut tokens: Vec<_> = requests.into_iter().map(|r| r.authorization.unwrap()).collect();
    assert!(tokens.iter().all(|t| t.starts_with("Bearer secret-")), "{tokens:?}");
    tokens.dedup();
    assert_eq!(tokens.len(), 4, "an old token was used again");

    emulator.fault("*", 1, Fault::Status { on: On::Any, code: 401 });
    let error = put(&store, "a", &noise(1000, 1)).await.unwrap_err();
    let shown = format!("{shown} {store:?} {error} {error:?}");
    assert!(!shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn waiters_do_not_fetch_tokens_side_by_side() {
    let emulator = emulator().await;
    let provider = Arc::new(Provider::default());
    let options = GcsOptions {
        endpoint: Some(emulator.url().to_string()),
        tokens: Some(provider.clone()),
        signer: None,
        retry: impatient(),
    };
    let store = GcsStore::open(BUCKET, "p", options).await.unwrap();
    let keys: Vec<_> = (0..8).map(|i| format!("a/{i}")).collect();
    let heads = join_all(keys.iter().map(|key| store.head(key))).await;
    assert!(heads.into_iter().all(|h| h.unwrap().is_none()));
    assert_eq!(provider.fetched.load(Ordering::SeqCst), 9);
    assert_eq!(provider.most_at_once.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn missing_credentials_show_when_the_store_is_opened() {
    let provider = Provider {
        good: Some(0),
        ..Default::default()
    };
    let options = GcsOptions {
        endpoint: None,
        tokens: Some(Arc::new(provider)),
        signer: None,
        retry: impatient(),
    };
    let error = GcsStore::open(BUCKET, "", options).await.unwrap_err();
    assert_eq!(error.code(), Code::StoreForbidden);
    assert!(
        error
            .remedy_text()
            .unwrap()
            .contains("gcloud auth application-default login")
    );
    assert!(error.to_string().contains("no metadata server"), "{error}");
}

#[tokio::test]
async fn credentials_that_are_lost_in_mid_run_are_named() {
    let emulator = emulator().await;
    let provider = Provider {
        good: Some(1),
        ..Default::default()
    };
    let options = GcsOptions {
        endpoint: Some(emulator.url().to_string()),
        tokens: Some(Arc::new(provider)),
        signer: None,
        retry: impatient(),
    };
    let store = GcsStore::open(BUCKET, "p", options).await.unwrap();
    for error in [
        put(&store, "a", &noise(1000, 1)).await.unwrap_err(),
        store.head("a").await.unwrap_err(),
        store.get("a", None, None).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.code(), Code::StoreForbidden, "{error}");
        assert!(!error.is_permanent());
        let text = error.to_string();
        assert!(text.contains("no metadata server") && text.contains("gcloud"), "{text}");
    }
}
