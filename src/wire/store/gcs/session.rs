//! One resumable upload over the JSON API, for what the official client cannot send without losing or doubling bytes: a body of
//! unknown length that cannot be read again. Each chunk is kept until the service has confirmed it; what a failure leaves in doubt
//! is asked for. <https://cloud.google.com/storage/docs/performing-resumable-uploads>

use super::json_api::{Failure, JsonApi, NewObject, passing};
use super::{again::Failures, redacted::RedactedError, refusal::Call};
use crate::base::error::{Code, Error, Result};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::stream;
use reqwest::{Body, Method, Response, header};
use serde::Deserialize;
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{runtime::Handle, time::timeout};
use url::Url;

/// The service takes chunks that are multiples of this, but for the last one.
pub(super) const BLOCK: usize = 256 << 10;
/// Longest time for telling the service that a session is given up. It forgets by itself after a week.
const CANCEL: Duration = Duration::from_secs(5);

/// An upload under way. When it is dropped before its end it is cancelled.
pub(super) struct Session {
    api: Arc<JsonApi>,
    /// Whoever has it can finish the upload: never in a log or an error.
    url: Url,
    /// What it does, for errors.
    call: Call,
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

impl Session {
    /// Begins the upload of an object that must not exist; `call` names it in errors.
    pub(super) async fn begin(api: &Arc<JsonApi>, object: NewObject<'_>, call: Call) -> Result<Self> {
        let mut failures = Failures::default();
        loop {
            match api.start(&object, &call).await {
                Ok(url) => {
                    return Ok(Self {
                        api: Arc::clone(api),
                        url,
                        call,
                        kept: 0,
                        has_ended: false,
                        is_open: true,
                    });
                }
                Err(failure) => api.pause(failure, &mut failures).await?,
            }
        }
    }

    /// Sends a chunk, a multiple of [`BLOCK`], until the service has confirmed all of it.
    pub(super) async fn send(&mut self, chunk: Bytes) -> Result<()> {
        match self.deliver(chunk, None).await? {
            None => Ok(()),
            Some(_) => Err(Error::new(
                Code::StoreFailed,
                format!("{}: the service ended the upload by itself", self.call.doing),
            )),
        }
    }

    /// Sends the last chunk with the length and the CRC32C of the whole, by which the service refuses what is damaged before it
    /// becomes an object.
    pub(super) async fn finish(&mut self, chunk: Bytes, crc32c: u32) -> Result<Uploaded> {
        let total = self.kept + chunk.len() as u64;
        let done = self.deliver(chunk, Some(End { total, crc32c })).await?;
        done.ok_or_else(|| Error::new(Code::Internal, format!("{}: it did not end", self.call.doing)))
    }

    async fn deliver(&mut self, chunk: Bytes, end: Option<End>) -> Result<Option<Uploaded>> {
        let start = self.kept;
        let whole = start + chunk.len() as u64;
        let (mut failures, mut is_in_doubt) = (Failures::default(), false);
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
                            self.call.doing
                        ),
                    )
                    .remedy("try again from the first byte; the service lost a part of the upload"));
                }
                Ok(Reply::Kept(kept)) => {
                    if kept > self.kept {
                        failures = Failures::default();
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
                    passing(Error::new(
                        Code::StoreUnreachable,
                        format!("{}: the store accepts no more than {kept} bytes", self.call.doing),
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
            .request(Method::PUT, &self.url, &self.call)
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
        let response = self.api.send(request, &moved, &self.call.doing).await?;
        match response.status().as_u16() {
            308 => kept(&response).map(Reply::Kept).ok_or_else(|| {
                let text = format!("{}: the service does not say what it has", self.call.doing);
                Failure::Lasting(Error::new(Code::StoreFailed, text))
            }),
            200 | 201 => {
                let body = self.api.body(response, &self.call.doing).await?;
                let object = serde_json::from_slice(&body);
                object.map(Reply::Done).map_err(|e| {
                    let text = format!("{}: the answer describes no object", self.call.doing);
                    passing(Error::new(Code::StoreUnreachable, text).because(e))
                })
            }
            404 | 410 => Err(Failure::Lasting(
                Error::new(Code::StoreUnreachable, self.call.doing.clone())
                    .because(RedactedError::told(&format!("HTTP {}", response.status())))
                    .remedy("try again from the first byte; the service dropped the upload"),
            )),
            status => match self.api.refusal(response, &self.call).await {
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
            cancelled(Arc::clone(&self.api), self.url.clone(), self.call.clone()).await;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let (true, Ok(runtime)) = (self.is_open, Handle::try_current()) {
            runtime.spawn(cancelled(Arc::clone(&self.api), self.url.clone(), self.call.clone()));
        }
    }
}

async fn cancelled(api: Arc<JsonApi>, url: Url, call: Call) {
    let work = async {
        let request = api
            .request(Method::DELETE, &url, &call)
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
