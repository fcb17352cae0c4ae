//! The key that is sent to Qdrant. One that came from a file is read again when Qdrant refuses it: a secret is replaced while
//! this process runs, before or after Qdrant gets the new one, and the old one is good as long as Qdrant takes it.

use super::Options;
use crate::base::error::{Code, Error, Result};
use reqwest::{RequestBuilder, header};
use secrecy::{ExposeSecret, SecretString};
use std::path::Path;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// Longest time to read the file: a mounted secret may be fetched over the network.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether this text can be a key, and be sent in a header.
pub(crate) fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// The key as it is now.
#[derive(Debug)]
pub(super) struct Key {
    now: RwLock<Held>,
    /// The turn of whoever reads the file.
    turn: Mutex<()>,
}

#[derive(Debug)]
struct Held {
    text: Option<SecretString>,
    /// How often it was replaced.
    number: u64,
}

impl Key {
    pub(super) fn new(options: &Options) -> Self {
        let text = options.api_key.clone();
        Self {
            now: RwLock::new(Held { text, number: 0 }),
            turn: Mutex::default(),
        }
    }

    /// A request with the key, and which one that is.
    pub(super) fn put_on(&self, request: RequestBuilder) -> Result<(RequestBuilder, u64)> {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        let Some(key) = &now.text else {
            return Ok((request, now.number));
        };
        let mut value = header::HeaderValue::from_str(key.expose_secret()).map_err(|_| {
            Error::new(
                Code::ConfigInvalid,
                "Qdrant's API key has characters that an HTTP header cannot contain",
            )
            .remedy("check QDRANT_API_KEY or the file that QDRANT_API_KEY_FILE names")
        })?;
        value.set_sensitive(true);
        Ok((request.header("api-key", value), now.number))
    }

    /// Whether there is another key than `sent`, which was answered with this status: then the request is worth another try.
    pub(super) async fn is_another(&self, status: u16, sent: u64, options: &Options) -> bool {
        // 403: a token may be replaced by one with more rights.
        let (401 | 403, Some(file)) = (status, &options.api_key_file) else {
            return false;
        };
        let _turn = self.turn.lock().await;
        if self.number() != sent {
            return true;
        }
        let Some(text) = read(file).await else {
            return false;
        };
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        if now.text.as_ref().is_some_and(|old| old.expose_secret() == text) {
            return false;
        }
        tracing::info!(file = %file.display(), "Qdrant refuses the key (HTTP {status}), and {} holds another one now; that is used from now on", file.display());
        (now.text, now.number) = (Some(text.into()), sent + 1);
        true
    }

    fn number(&self) -> u64 {
        self.now.read().unwrap_or_else(PoisonError::into_inner).number
    }
}

/// What the file holds now, if that is a key.
async fn read(file: &Path) -> Option<String> {
    let text = timeout(PATIENCE, tokio::fs::read_to_string(file)).await;
    match text.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
        Ok(text) => Some(text.trim().to_owned()).filter(|text| is_key(text)),
        Err(error) => {
            tracing::warn!(file = %file.display(), error = %error, "failed to read the key again");
            None
        }
    }
}
