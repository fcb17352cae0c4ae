//! One request to a receiver of notifications. Its URL is a secret as a whole: nothing but the host is ever told.

use crate::base::error::{Code, Error, Result};
use http::{HeaderName, HeaderValue, StatusCode};
use reqwest::{Client, header, redirect};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};
use url::Url;

/// How long receivers are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For one attempt.
    pub attempt: Duration,
    /// Before the second attempt; doubles with each further one.
    pub pause: Duration,
    /// For all that there is to do at the end of a run.
    pub total: Duration,
    /// Before the start of a run is told: most that are refused have ended by then.
    pub start: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(4),
            pause: Duration::from_millis(500),
            total: Duration::from_secs(10),
            start: Duration::from_secs(1),
        }
    }
}

/// What is sent.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
    pub(crate) header: Option<(HeaderName, HeaderValue)>,
}

/// A client for receivers.
///
/// # Errors
/// [`Code::Internal`] if there can be none.
pub(crate) fn client() -> Result<Client> {
    Client::builder()
        // A redirect could carry what is told to another host.
        .redirect(redirect::Policy::none())
        .user_agent(concat!("qdrant-backup/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| Error::new(Code::Internal, "making a client for notifications").because(e))
}

/// Sends it, again and again until `deadline`, unless it is refused for good. The error is without the URL.
pub(crate) async fn send(
    client: &Client,
    url: &Url,
    post: &Post,
    patience: &Patience,
    deadline: Instant,
) -> std::result::Result<(), String> {
    let mut pause = patience.pause;
    loop {
        let attempt_ends = deadline.min(Instant::now() + patience.attempt);
        let (reason, is_final) = match timeout_at(attempt_ends, once(client, url, post)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(refused)) => refused,
            Err(_) => ("no answer in time".to_owned(), false),
        };
        if is_final || Instant::now() + pause >= deadline {
            return Err(reason);
        }
        sleep(pause).await;
        pause *= 2;
    }
}

/// The error, and whether it stays.
async fn once(client: &Client, url: &Url, post: &Post) -> std::result::Result<(), (String, bool)> {
    let mut request = client
        .post(url.clone())
        .header(header::CONTENT_TYPE, post.content_type)
        .body(post.body.clone());
    if let Some((name, value)) = &post.header {
        request = request.header(name, value);
    }
    match request.send().await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => {
            let status = answer.status();
            let may_pass = status.is_server_error()
                || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
            Err((format!("answered {}", status.as_u16()), !may_pass))
        }
        Err(error) => Err((
            Error::new(Code::Stalled, "no connection")
                .because(error.without_url())
                .chain(),
            false,
        )),
    }
}
