//! One resumable upload over the JSON API, for what the official client cannot send without losing or doubling bytes: a body of
//! unknown length that cannot be read again. Each chunk is kept until the service has confirmed it; what a failure leaves in doubt
//! is asked for. <https://cloud.google.com/storage/docs/performing-resumable-uploads>

use super::{
    Retry,
    refusal::{Kind, RedactedError, refused},
};
use crate::base::error::{BoxError, Code, Error, Result};
use crate::wire::store::token::{self, Tokens};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::stream;
use reqwest::{Body, Client, Method, RequestBuilder, Response, header, redirect};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};
use url::Url;

/// The service takes chunks that are multiples of this, but for the last one.
pub(super) const BLOCK: usize = 256 << 10;
/// Bytes that are read of an answer; the one to an upload has less than a thousandth of it.
const LONGEST_ANSWER: usize = 1 << 20;
/// Longest time for telling the service that a session is given up. It forgets by itself after a week.
const CANCEL: Duration = Duration::from_secs(5);

/// The JSON API of one bucket.
pub(super) struct JsonApi {
    client: Client,
    base: Url,
    tokens: Option<Arc<Tokens>>,
    bucket: String,
    retry: Retry,
}

/// What is to be made: `name` is that in the bucket.
pub(super) struct NewObject<'a> {
    pub(super) name: &'a str,
    pub(super) content_type: &'a str,
    pub(super) metadata: Value,
}

/// An upload under way. When it is dropped before its end it is cancelled.
pub(super) struct Session {
    api: Arc<JsonApi>,
    /// Whoever has it can finish the upload: never in a log or an error.
    url: Url,
    doing: String,
    /// Bytes that the service has confirmed.
    kept: u64,
    /// Whether there may be an object of it.
    has_ended: bool,
    is_open: bool,
}

/// The object that an upload became.
#[derive(Debug, Deserialize)]
pub(super) struct Uploaded {
    pub(super) generation: String,
    pub(super) size: String,
    pub(super) crc32c: Option<String>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub(super) updated: Option<time::OffsetDateTime>,
}

/// The end of the body.
#[derive(Clone, Copy)]
struct End {
    total: u64,
    crc32c: u32,
}

enum Reply {
    /// So many bytes from the beginning.
    Kept(u64),
    Done(Uploaded),
}

enum Failure {
    /// What became of the request is not known, or the service is busy.
    Passing(Error),
    Lasting(Error),
}

impl JsonApi {
    pub(super) fn new(
        endpoint: Option<&str>,
        tokens: Option<Arc<Tokens>>,
        bucket: &str,
        retry: Retry,
    ) -> Result<Arc<Self>> {
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
            bucket: bucket.to_owned(),
            retry,
        }))
    }

    /// Begins the upload of an object that must not exist; `doing` names it in errors.
    pub(super) async fn begin(self: &Arc<Self>, object: NewObject<'_>, doing: String) -> Result<Session> {
        let mut url = self.base.clone();
        url.set_path(&format!("/upload/storage/v1/b/{}/o", self.bucket));
        url.query_pairs_mut()
            .append_pair("uploadType", "resumable")
            .append_pair("name", object.name)
            .append_pair("ifGenerationMatch", "0");
        let body = json!({ "contentType": object.content_type, "metadata": object.metadata });
        let mut failures = 0;
        loop {
            match self.start(&url, &object, &body, &doing).await {
                Ok(url) => {
                    return Ok(Session {
                        api: Arc::clone(self),
                        url,
                        doing,
                        kept: 0,
                        has_ended: false,
                        is_open: true,
                    });
                }
                Err(failure) => self.pause(failure, &mut failures).await?,
            }
        }
    }

    async fn start(&self, url: &Url, object: &NewObject<'_>, body: &Value, doing: &str) -> Result<Url, Failure> {
        let request = self.request(Method::POST, url).await?.json(body);
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
            _ => Err(self.refusal(response, doing).await),
        }
    }

    /// A request with a token, unless it goes elsewhere: an upload's address is proof enough by itself.
    async fn request(&self, method: Method, url: &Url) -> Result<RequestBuilder, Failure> {
        let request = self.client.request(method, url.clone());
        match &self.tokens {
            Some(tokens) if url.origin() == self.base.origin() => {
                let token = tokens.bearer().await;
                let token = token.map_err(|e| Failure::Passing(token::refused(e).permanent(false)))?;
                Ok(request.header(header::AUTHORIZATION, token))
            }
            _ => Ok(request),
        }
    }

    /// Sends a request; given up when nothing of it has `moved` for a time.
    async fn send(&self, request: RequestBuilder, moved: &AtomicU64, doing: &str) -> Result<Response, Failure> {
        let mut sent = Box::pin(request.send());
        loop {
            let before = moved.load(Relaxed);
            match timeout(self.retry.stall, &mut sent).await {
                Ok(response) => return response.map_err(|e| unreachable(doing, &e)),
                Err(_) if moved.load(Relaxed) != before => {}
                Err(_) => {
                    let text = format!("{doing}: no progress for {:?}", self.retry.stall);
                    let remedy = "check the network to Cloud Storage, then try again";
                    return Err(Failure::Passing(Error::new(Code::Stalled, text).remedy(remedy)));
                }
            }
        }
    }

    async fn body(&self, mut response: Response, doing: &str) -> Result<Vec<u8>, Failure> {
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
            Err(_) => Err(Failure::Passing(Error::new(
                Code::Stalled,
                format!("{doing}: the answer does not end"),
            ))),
        }
    }

    async fn refusal(&self, response: Response, doing: &str) -> Failure {
        let status = response.status().as_u16();
        let body = match self.body(response, doing).await {
            Ok(body) => String::from_utf8_lossy(&body).into_owned(),
            Err(_) => String::new(),
        };
        let kind = Kind::of_status(status, &body.to_lowercase());
        let cause = RedactedError::told(&format!("HTTP {status}: {}", body.trim()));
        let error = refused(kind, cause, &self.bucket, doing.to_owned(), "storage.objects.create");
        match (status, kind) {
            // A token may have expired on its way.
            (401, _) => Failure::Passing(error.permanent(false)),
            (_, Kind::Unreachable) => Failure::Passing(error),
            _ => Failure::Lasting(error),
        }
    }

    /// Waits before another attempt; the error, when another one is useless or there were enough.
    async fn pause(&self, failure: Failure, failures: &mut u32) -> Result<()> {
        *failures += 1;
        match failure {
            Failure::Passing(error) if *failures < self.retry.attempts => {
                tracing::debug!(error = %error, "storage request failed; trying again");
                let delay = self.retry.first_delay.saturating_mul(1 << (*failures - 1).min(16));
                sleep(delay.min(self.retry.longest_delay)).await;
                Ok(())
            }
            Failure::Passing(error) | Failure::Lasting(error) => Err(error),
        }
    }
}

impl Session {
    /// Sends a chunk, a multiple of [`BLOCK`], until the service has confirmed all of it.
    pub(super) async fn send(&mut self, chunk: Bytes) -> Result<()> {
        match self.deliver(chunk, None).await? {
            None => Ok(()),
            Some(_) => Err(Error::new(
                Code::StoreFailed,
                format!("{}: the service ended the upload by itself", self.doing),
            )),
        }
    }

    /// Sends the last chunk with the length and the CRC32C of the whole, by which the service refuses what is damaged before it
    /// becomes an object.
    pub(super) async fn finish(&mut self, chunk: Bytes, crc32c: u32) -> Result<Uploaded> {
        let total = self.kept + chunk.len() as u64;
        let done = self.deliver(chunk, Some(End { total, crc32c })).await?;
        done.ok_or_else(|| Error::new(Code::Internal, format!("{}: it did not end", self.doing)))
    }

    async fn deliver(&mut self, chunk: Bytes, end: Option<End>) -> Result<Option<Uploaded>> {
        let start = self.kept;
        let whole = start + chunk.len() as u64;
        let (mut failures, mut is_in_doubt) = (0, false);
        loop {
            let rest = chunk.slice((self.kept - start) as usize..);
            let reply = match is_in_doubt {
                true => self.put(Bytes::new(), end).await,
                false => self.put(rest, end).await,
            };
            let failure = match reply {
                Ok(Reply::Done(object)) => {
                    (self.has_ended, self.is_open) = (true, false);
                    return Ok(Some(object));
                }
                Ok(Reply::Kept(kept)) if kept < start || kept > whole => {
                    return Err(Error::new(
                        Code::StoreUnreachable,
                        format!(
                            "{}: the service says it has {kept} bytes of those up to {whole}, and had {start} before",
                            self.doing
                        ),
                    )
                    .remedy("try again from the first byte; the service lost a part of the upload"));
                }
                Ok(Reply::Kept(kept)) => {
                    if kept > self.kept {
                        failures = 0;
                    }
                    let was_asked = std::mem::take(&mut is_in_doubt);
                    let has_moved = kept > self.kept;
                    self.kept = kept;
                    if kept == whole && end.is_none() {
                        return Ok(None);
                    }
                    if has_moved || was_asked && kept < whole {
                        continue;
                    }
                    Failure::Passing(Error::new(
                        Code::StoreUnreachable,
                        format!("{}: the store accepts no more than {kept} bytes", self.doing),
                    ))
                }
                Err(failure) => {
                    is_in_doubt = true;
                    failure
                }
            };
            self.api.pause(failure, &mut failures).await?;
        }
    }

    /// Sends bytes from what the service has on, or, without any, asks what it has, which ends an upload of which it has all.
    async fn put(&self, bytes: Bytes, end: Option<End>) -> Result<Reply, Failure> {
        let total = end.map_or("*".to_owned(), |end| end.total.to_string());
        let range = match bytes.len() as u64 {
            0 => format!("bytes */{total}"),
            len => format!("bytes {}-{}/{total}", self.kept, self.kept + len - 1),
        };
        let moved = Arc::new(AtomicU64::new(0));
        let mut request = self
            .api
            .request(Method::PUT, &self.url)
            .await?
            .header(header::CONTENT_RANGE, range)
            .header(header::CONTENT_LENGTH, bytes.len());
        if let Some(End { crc32c, .. }) = end {
            let sum = BASE64_STANDARD.encode(crc32c.to_be_bytes());
            request = request.header("x-goog-hash", format!("crc32c={sum}"));
        }
        if !bytes.is_empty() {
            request = request.body(in_pieces(bytes, Arc::clone(&moved)));
        }
        let response = self.api.send(request, &moved, &self.doing).await?;
        match response.status().as_u16() {
            308 => kept(&response).map(Reply::Kept).ok_or_else(|| {
                let text = format!("{}: the service does not say what it has", self.doing);
                Failure::Lasting(Error::new(Code::StoreFailed, text))
            }),
            200 | 201 => {
                let body = self.api.body(response, &self.doing).await?;
                let object = serde_json::from_slice(&body);
                object.map(Reply::Done).map_err(|e| {
                    let text = format!("{}: the answer describes no object", self.doing);
                    Failure::Passing(Error::new(Code::StoreUnreachable, text).because(e))
                })
            }
            404 | 410 => Err(Failure::Lasting(
                Error::new(Code::StoreUnreachable, self.doing.clone())
                    .because(RedactedError::told(&format!("HTTP {}", response.status())))
                    .remedy("try again from the first byte; the service dropped the upload"),
            )),
            status => match self.api.refusal(response, &self.doing).await {
                // The whole is not what was sent, so that another try may well succeed.
                Failure::Lasting(error) if status == 400 && end.is_some() => {
                    Err(Failure::Lasting(error.permanent(false).remedy(
                        "try again from the first byte; the service refused what arrived, nothing was stored",
                    )))
                }
                failure => Err(failure),
            },
        }
    }

    /// Whether the service has made an object of it.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Tells the service that nothing more will come, so that nothing can become of it.
    pub(super) async fn cancel(mut self) {
        if std::mem::take(&mut self.is_open) {
            cancelled(Arc::clone(&self.api), self.url.clone()).await;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let (true, Ok(runtime)) = (self.is_open, Handle::try_current()) {
            runtime.spawn(cancelled(Arc::clone(&self.api), self.url.clone()));
        }
    }
}

async fn cancelled(api: Arc<JsonApi>, url: Url) {
    let work = async {
        let request = api
            .request(Method::DELETE, &url)
            .await?
            .header(header::CONTENT_LENGTH, 0);
        api.send(request, &AtomicU64::new(0), "cancel an upload").await
    };
    let sent = timeout(CANCEL, work).await;
    // 499 is the service's word for it.
    if !matches!(&sent, Ok(Ok(response)) if matches!(response.status().as_u16(), 200..=299 | 404 | 410 | 499)) {
        tracing::debug!("failed to cancel an upload; Cloud Storage drops it within a week");
    }
}

/// Bytes as a body that counts each piece of it that is taken.
fn in_pieces(bytes: Bytes, moved: Arc<AtomicU64>) -> Body {
    let pieces = stream::unfold((bytes, moved), async |(mut rest, moved)| {
        moved.fetch_add(1, Relaxed);
        let piece = rest.split_to(rest.len().min(BLOCK));
        (!piece.is_empty()).then_some((Ok::<_, Infallible>(piece), (rest, moved)))
    });
    Body::wrap_stream(pieces)
}

/// What a 308 says that the service has: `Range: bytes=0-N`, none when that is nothing.
fn kept(response: &Response) -> Option<u64> {
    match response.headers().get(header::RANGE) {
        None => Some(0),
        Some(range) => {
            let last = range.to_str().ok()?.strip_prefix("bytes=0-")?;
            last.parse::<u64>().ok()?.checked_add(1)
        }
    }
}

fn unreachable(doing: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::Passing(
        Error::new(Code::StoreUnreachable, doing)
            .because(RedactedError::by(error))
            .remedy("check the network and the status of Cloud Storage; trying again is safe"),
    )
}
