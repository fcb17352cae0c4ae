//! Requests of the JSON API, for what the official client does not do.

use super::again::{Failures, note_refused};
use super::{Retry, answer::Kind, redacted::RedactedError, refusal::Call};
use crate::base::error::{BoxError, Code, Error, Result};
use crate::wire::store::token::Tokens;
use reqwest::{Client, Method, RequestBuilder, Response, header, redirect};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::time::{sleep, timeout};
use url::Url;

/// Bytes that are read of an answer; the one to an upload has less than a thousandth of it.
const LONGEST_ANSWER: usize = 1 << 20;

/// The JSON API of one bucket.
pub(super) struct JsonApi {
    client: Client,
    base: Url,
    tokens: Option<Arc<Tokens>>,
    retry: Retry,
}

/// What is to be made: `name` is that in the bucket.
pub(super) struct NewObject<'a> {
    pub(super) name: &'a str,
    pub(super) content_type: &'a str,
    pub(super) metadata: Value,
}

pub(super) enum Failure {
    /// What became of the request is not known, or the service is busy.
    Passing(Kind, Error),
    Lasting(Error),
}

impl JsonApi {
    pub(super) fn new(endpoint: Option<&str>, tokens: Option<Arc<Tokens>>, retry: Retry) -> Result<Arc<Self>> {
        let internal = |e: BoxError| Error::new(Code::Internal, "set up the storage client").because(e);
        let builder = Client::builder()
            .http1_only()
            // 308 is an answer here.
            .redirect(redirect::Policy::none())
            .connect_timeout(retry.stall)
            .user_agent(concat!("qdrant-backup/", env!("CARGO_PKG_VERSION")));
        // A proxy that is set for the rest of the world cannot reach an emulator.
        let builder = match endpoint {
            Some(_) => builder.no_proxy(),
            None => builder,
        };
        let base = endpoint.unwrap_or("https://storage.googleapis.com");
        Ok(Arc::new(Self {
            client: builder.build().map_err(|e| internal(e.into()))?,
            base: base.parse().map_err(|e: url::ParseError| internal(e.into()))?,
            tokens,
            retry,
        }))
    }

    /// Begins an upload; the answer is its address, by which anybody can finish it.
    pub(super) async fn start(&self, object: &NewObject<'_>, call: &Call) -> Result<Url, Failure> {
        let mut url = self.base.clone();
        url.set_path(&format!("/upload/storage/v1/b/{}/o", call.bucket));
        url.query_pairs_mut()
            .append_pair("uploadType", "resumable")
            .append_pair("name", object.name)
            .append_pair("ifGenerationMatch", "0");
        let body = json!({ "contentType": object.content_type, "metadata": object.metadata });
        let doing = call.doing.as_str();
        let request = self.request(Method::POST, &url, call).await?.json(&body);
        let request = request.header("x-upload-content-type", object.content_type);
        let response = self.send(request, &AtomicU64::new(0), doing).await?;
        let location = response.headers().get(header::LOCATION);
        let location = location.and_then(|value| value.to_str().ok()?.parse().ok());
        match (response.status().as_u16(), location) {
            (200 | 201, Some(url)) => Ok(url),
            (200 | 201, None) => Err(Failure::Lasting(Error::new(
                Code::StoreFailed,
                format!("{doing}: the service named no upload session"),
            ))),
            _ => Err(self.refusal(response, call).await),
        }
    }

    /// A request with a token, unless it goes elsewhere: an upload's address is proof enough by itself.
    pub(super) async fn request(&self, method: Method, url: &Url, call: &Call) -> Result<RequestBuilder, Failure> {
        let request = self.client.request(method, url.clone());
        match &self.tokens {
            Some(tokens) if url.origin() == self.base.origin() => {
                let token = tokens.bearer().await;
                // There were credentials when the store was opened: they may well come back.
                let token = token.map_err(|e| {
                    let error = call.refused(Kind::NoToken, e).permanent(false);
                    Failure::Passing(Kind::NoToken, error)
                })?;
                Ok(request.header(header::AUTHORIZATION, token))
            }
            _ => Ok(request),
        }
    }

    /// Sends a request; given up when nothing of it has `moved` for a time.
    pub(super) async fn send(
        &self,
        request: RequestBuilder,
        moved: &AtomicU64,
        doing: &str,
    ) -> Result<Response, Failure> {
        let mut sent = Box::pin(request.send());
        loop {
            let before = moved.load(Relaxed);
            match timeout(self.retry.stall, &mut sent).await {
                Ok(response) => return response.map_err(|e| unreachable(doing, &e)),
                Err(_) if moved.load(Relaxed) != before => {}
                Err(_) => {
                    let text = format!("{doing}: no progress for {:?}", self.retry.stall);
                    let remedy = "check the network to Cloud Storage, then try again";
                    return Err(passing(Error::new(Code::Stalled, text).remedy(remedy)));
                }
            }
        }
    }

    pub(super) async fn body(&self, mut response: Response, doing: &str) -> Result<Vec<u8>, Failure> {
        let read = async {
            let mut body = Vec::new();
            while body.len() < LONGEST_ANSWER
                && let Some(chunk) = response.chunk().await?
            {
                body.extend_from_slice(&chunk);
            }
            Ok::<_, reqwest::Error>(body)
        };
        match timeout(self.retry.stall, read).await {
            Ok(read) => read.map_err(|e| unreachable(doing, &e)),
            Err(_) => Err(passing(Error::new(
                Code::Stalled,
                format!("{doing}: the answer does not end"),
            ))),
        }
    }

    pub(super) async fn refusal(&self, response: Response, call: &Call) -> Failure {
        let status = response.status().as_u16();
        let body = self.body(response, &call.doing).await.unwrap_or_default();
        // There is no object that could be missing: it is the bucket.
        let kind = match Kind::of_answer(status, &body) {
            Kind::NotFound => Kind::NoBucket,
            kind => kind,
        };
        let said = String::from_utf8_lossy(&body);
        let error = call.refused(kind, RedactedError::told(&format!("HTTP {status}: {}", said.trim())));
        note_refused(kind, self.tokens.as_deref());
        match kind.is_passing() {
            true => Failure::Passing(kind, error),
            false => Failure::Lasting(error),
        }
    }

    /// Waits before another attempt; the error, when another one is useless or there were enough.
    pub(super) async fn pause(&self, failure: Failure, failures: &mut Failures) -> Result<()> {
        let error = match failure {
            Failure::Passing(kind, error) if failures.again(kind, self.retry.attempts) => error,
            Failure::Passing(_, error) | Failure::Lasting(error) => return Err(error),
        };
        tracing::debug!(error = %error, "storage request failed; trying again");
        let delay = self.retry.first_delay.saturating_mul(1 << (failures.all - 1).min(16));
        sleep(delay.min(self.retry.longest_delay)).await;
        Ok(())
    }
}

/// A failure that no answer tells of.
pub(super) fn passing(error: Error) -> Failure {
    Failure::Passing(Kind::Unreachable, error)
}

fn unreachable(doing: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    passing(
        Error::new(Code::StoreUnreachable, doing)
            .because(RedactedError::by(error))
            .remedy("check the network and the status of Cloud Storage; trying again is safe"),
    )
}
