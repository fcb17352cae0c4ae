//! Where tokens come from, how often, and that nobody sees them.

use futures_util::future::{join_all, pending};
use gcp_auth::{Token, TokenProvider};
use gcs_emulator::{Emulator, Fault, On};
use qdrant_backup::base::error::Code;
use qdrant_backup::wire::store::{GcsOptions, GcsStore, Retry, Store as _, TokenSource, Version};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use testkit::source::noise;
use testkit::store::{BUCKET, emulator, impatient, put, read};

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

/// Always this provider, whatever happens.
fn only(provider: Arc<Provider>) -> TokenSource {
    TokenSource::new(move || {
        let provider: Arc<dyn TokenProvider> = provider.clone();
        async { Ok(provider) }
    })
}

#[tokio::test]
async fn every_request_carries_the_current_token_and_nothing_shows_it() {
    let emulator = emulator().await;
    let options = GcsOptions {
        endpoint: Some(emulator.url().to_string()),
        tokens: Some(only(Arc::default())),
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

    emulator.fault("*", usize::MAX, Fault::Status { on: On::Any, code: 401 });
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
        tokens: Some(only(provider.clone())),
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
        tokens: Some(only(Arc::new(provider))),
        signer: None,
        retry: impatient(),
    };
    let error = GcsStore::open(BUCKET, "", options).await.unwrap_err();
    assert_eq!(error.code(), Code::StoreUnauthorized);
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
        tokens: Some(only(Arc::new(provider))),
        signer: None,
        retry: impatient(),
    };
    let store = GcsStore::open(BUCKET, "p", options).await.unwrap();
    for error in [
        put(&store, "a", &noise(1000, 1)).await.unwrap_err(),
        store.head("a").await.unwrap_err(),
        store.get("a", None, None).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.code(), Code::StoreUnauthorized, "{error}");
        assert!(!error.is_permanent());
        let text = error.to_string();
        assert!(text.contains("no metadata server") && text.contains("gcloud"), "{text}");
    }
}

/// Gives out one token, as `gcp_auth` does until it expires.
struct Cached(String);

#[async_trait::async_trait]
impl TokenProvider for Cached {
    async fn token(&self, _: &[&str]) -> Result<Arc<Token>, gcp_auth::Error> {
        let token = serde_json::json!({"access_token": self.0, "expires_in": 3600});
        Ok(Arc::new(serde_json::from_value(token).unwrap()))
    }

    async fn project_id(&self) -> Result<Arc<str>, gcp_auth::Error> {
        Ok("project".into())
    }
}

/// Where each new provider has a token of its own. The first ones are not to be had.
#[derive(Default)]
struct Machine {
    opened: AtomicU32,
    not_ready: u32,
}

impl Machine {
    fn source(self: &Arc<Self>) -> TokenSource {
        let machine = self.clone();
        TokenSource::new(move || {
            let opened = machine.opened.fetch_add(1, Ordering::SeqCst);
            let is_ready = opened >= machine.not_ready;
            async move {
                if !is_ready {
                    let [gcloud, file] = ["no gcloud", "no file"].map(|text| Box::new(gcp_auth::Error::Str(text)));
                    let metadata = Box::new(gcp_auth::Error::Str("token request failed"));
                    return Err(gcp_auth::Error::NoAuthMethod(gcloud, metadata, file));
                }
                Ok(Arc::new(Cached(format!("token-{opened}"))) as Arc<dyn TokenProvider>)
            }
        })
    }

    fn opened(&self) -> u32 {
        self.opened.load(Ordering::SeqCst)
    }
}

async fn with_tokens(
    emulator: &Emulator,
    tokens: TokenSource,
    retry: Retry,
) -> qdrant_backup::base::error::Result<GcsStore> {
    let options = GcsOptions {
        endpoint: Some(emulator.url().to_string()),
        tokens: Some(tokens),
        signer: None,
        retry,
    };
    GcsStore::open(BUCKET, "p", options).await
}

#[tokio::test]
async fn after_a_refusal_comes_a_fresh_token_and_another_try() {
    let emulator = emulator().await;
    let machine = Arc::new(Machine::default());
    let store = with_tokens(&emulator, machine.source(), impatient()).await.unwrap();
    let bytes = noise(1000, 1);
    let mut opened = machine.opened();
    assert_eq!(opened, 1);
    for on in [On::Start, On::Put, On::Read, On::Get, On::List, On::Bucket, On::Delete] {
        emulator.fault("*", 1, Fault::Status { on, code: 401 });
        match on {
            On::Start => drop(put(&store, "a", &bytes).await.unwrap()),
            On::Put => drop(put(&store, "b", &bytes).await.unwrap()),
            On::Read => assert_eq!(read(&store, "a").await.unwrap(), bytes),
            On::Get => assert!(store.head("a").await.unwrap().is_some()),
            On::List => assert_eq!(testkit::store::keys(&store, "").await, ["a", "b"]),
            On::Bucket => store.check().await.unwrap(),
            _ => {
                let version = Version(emulator.object(BUCKET, "p/a").unwrap().generation.to_string());
                assert!(store.delete("a", &version).await.unwrap());
            }
        }
        assert_eq!(machine.opened(), opened + 1, "{on:?}");
        opened += 1;
        let last = emulator.requests().pop().unwrap().authorization;
        assert_eq!(last, Some(format!("Bearer token-{}", opened - 1)), "{on:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_never_accepted_is_not_told_as_a_missing_right() {
    let emulator = emulator().await;
    let machine = Arc::new(Machine::default());
    let store = with_tokens(&emulator, machine.source(), impatient()).await.unwrap();
    emulator.fault("*", usize::MAX, Fault::Status { on: On::Any, code: 401 });
    let error = put(&store, "a", &noise(1000, 1)).await.unwrap_err();
    assert_eq!(error.code(), Code::StoreUnauthorized, "{error}");
    assert!(!error.is_permanent(), "it may be accepted later");
    assert!(!error.remedy_text().unwrap().contains("grant"), "{error}");
    assert_eq!(emulator.requests().len(), 3, "each with another token");
    assert_eq!(machine.opened(), 3);
}

#[tokio::test]
async fn a_metadata_server_that_is_not_ready_is_waited_for_by_whoever_has_time() {
    let emulator = emulator().await;
    let machine = Arc::new(Machine {
        not_ready: 3,
        ..Machine::default()
    });
    let error = with_tokens(&emulator, machine.source(), impatient()).await.unwrap_err();
    assert_eq!((error.code(), machine.opened()), (Code::StoreUnauthorized, 1));
    for place in ["metadata server: token request failed", "gcloud: no gcloud"] {
        assert!(error.to_string().contains(place), "{error}");
    }
    let patient = Retry {
        start: Duration::from_secs(60),
        ..impatient()
    };
    let store = with_tokens(&emulator, machine.source(), patient).await.unwrap();
    assert_eq!(machine.opened(), 4);
    store.check().await.unwrap();
}

#[tokio::test]
async fn a_metadata_server_that_says_nothing_is_given_up() {
    let emulator = emulator().await;
    let silent = TokenSource::new(pending);
    let quick = Retry {
        token: Duration::from_millis(50),
        ..impatient()
    };
    let error = with_tokens(&emulator, silent, quick).await.unwrap_err();
    assert_eq!(error.code(), Code::StoreUnauthorized);
    assert!(error.to_string().contains("no answer"), "{error}");
}

#[tokio::test]
async fn tokens_that_cannot_be_had_for_a_moment_stop_no_upload() {
    let emulator = emulator().await;
    let refused = Arc::new(AtomicU32::new(0));
    let source = TokenSource::new({
        let refused = refused.clone();
        move || {
            // The first one works, so do those after two that do not.
            let n = refused.fetch_add(1, Ordering::SeqCst);
            async move {
                match n {
                    1 | 2 => Err(gcp_auth::Error::Str("token request failed")),
                    n => Ok(Arc::new(Cached(format!("token-{n}"))) as Arc<dyn TokenProvider>),
                }
            }
        }
    });
    let store = with_tokens(&emulator, source, impatient()).await.unwrap();
    emulator.fault("*", 1, Fault::Status { on: On::Put, code: 401 });
    put(&store, "a", &noise(1000, 1)).await.unwrap();
    assert_eq!(refused.load(Ordering::SeqCst), 4);
}
