//! Reading a snapshot from Qdrant: one pass, continued after a cut, sought when the other side asks for it.
//!
//! Qdrant serves a file with length, ETag and ranges. It ignores If-Range, so If-Match is used, which it honours (412 when the
//! file changed). With S3 snapshot storage there is neither length nor range: then an interrupted read starts again and
//! skips what was read already.

use super::answer::refused;
use super::http::Http;
use crate::base::error::{Code, Error, Result};
use crate::wire::store::Source;
use async_trait::async_trait;
use bytes::Bytes;
use reqwest::{Method, Response, header};
use tokio::time::{sleep, timeout};
use url::Url;

/// An error text is read up to this length. Its cause stands at its end, after paths.
const LONGEST_ERROR: usize = 64 << 10;

/// A snapshot that is being read.
#[derive(Debug)]
pub struct Download {
    http: Http,
    url: Url,
    doing: String,
    len: u64,
    etag: Option<header::HeaderValue>,
    /// Offset of the next byte to hand out.
    at: u64,
    /// Bytes of the response that lie before `at`.
    skip: u64,
    response: Option<Response>,
    /// Failures since the last byte.
    failures: u32,
}

impl Download {
    /// Asks for the file; it must have `len` bytes, as the answer to its creation said.
    pub(super) async fn open(http: Http, url: Url, len: u64, doing: String) -> Result<Self> {
        let mut download = Self {
            http,
            url,
            doing,
            len,
            etag: None,
            at: 0,
            skip: 0,
            response: None,
            failures: 0,
        };
        loop {
            match download.connect().await {
                Ok(()) => return Ok(download),
                Err(e) => download.pause(e).await?,
            }
        }
    }

    /// Asks for the bytes from `at` on.
    async fn connect(&mut self) -> Result<()> {
        self.response = None;
        let (mut response, sent) = self.ask().await?;
        if self.http.has_another_key(response.status().as_u16(), sent).await {
            (response, _) = self.ask().await?;
        }
        let idle = self.http.options().idle;
        match response.status().as_u16() {
            200 => self.whole(&response)?,
            206 if self.at > 0 => self.part(&response)?,
            404 | 412 | 416 => return Err(self.changed(response.status().as_u16())),
            status => {
                let mut response = response;
                let body = timeout(idle, text(&mut response)).await.unwrap_or_default();
                return Err(refused(status, &body, &self.doing));
            }
        }
        self.response = Some(response);
        Ok(())
    }

    /// The head of the answer, and with which key it was asked for.
    async fn ask(&self) -> Result<(Response, u64)> {
        let mut request = self.http.request(Method::GET, self.url.clone());
        if self.at > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", self.at));
        }
        if let Some(etag) = &self.etag {
            request = request.header(header::IF_MATCH, etag);
        }
        let (request, sent) = self.http.with_key(request)?;
        self.http.options().pause.over().await;
        let response = timeout(self.http.options().idle, request.send())
            .await
            .map_err(|_| self.stalled())?
            .map_err(|e| self.http.unreachable(&self.doing, e))?;
        Ok((response, sent))
    }

    /// Checks an answer with the whole file.
    fn whole(&mut self, response: &Response) -> Result<()> {
        unencoded(response, &self.doing)?;
        let headers = response.headers();
        if let Some(length) = response.content_length()
            && length != self.len
        {
            return Err(self.wrong_length(&format!("the response announces {length} bytes")));
        }
        match (&self.etag, headers.get(header::ETAG)) {
            (Some(old), Some(new)) if old != new => return Err(self.changed(200)),
            (None, new) => self.etag = new.cloned(),
            _ => {}
        }
        self.skip = self.at;
        Ok(())
    }

    /// Checks an answer with the bytes from `at` on.
    fn part(&mut self, response: &Response) -> Result<()> {
        let range = response
            .headers()
            .get(header::CONTENT_RANGE)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default();
        let expected = format!("bytes {}-{}/{}", self.at, self.len - 1, self.len);
        if range != expected {
            return Err(self.wrong_length(&format!("requested {expected:?}, received {range:?}")));
        }
        self.skip = 0;
        Ok(())
    }

    /// The next bytes of the open response.
    async fn step(&mut self) -> Result<Bytes> {
        if self.response.is_none() {
            self.connect().await?;
        }
        loop {
            let Some(response) = &mut self.response else {
                return Err(Error::new(
                    Code::Internal,
                    "internal error: no response after connecting",
                ));
            };
            let chunk = timeout(self.http.options().idle, response.chunk())
                .await
                .map_err(|_| self.stalled())?
                .map_err(|e| self.http.unreachable(&self.doing, e))?;
            let Some(mut chunk) = chunk else {
                return Err(self.wrong_length(&format!("it ended after {} bytes", self.at)));
            };
            let skipped = self.skip.min(chunk.len() as u64);
            self.skip -= skipped;
            let chunk = chunk.split_off(skipped as usize);
            if chunk.is_empty() {
                continue;
            }
            if chunk.len() as u64 > self.len - self.at {
                return Err(self.wrong_length("received more bytes").permanent(true));
            }
            return Ok(chunk);
        }
    }

    /// Waits before another attempt, or gives the error back when another attempt is useless or there were enough.
    async fn pause(&mut self, error: Error) -> Result<()> {
        self.response = None;
        if error.is_permanent() || self.failures >= self.http.options().retries {
            return Err(error);
        }
        tracing::warn!(error = %error, at = self.at, of = self.len, "download interrupted; continuing");
        sleep(self.http.backoff(self.failures)).await;
        self.failures += 1;
        Ok(())
    }

    fn stalled(&self) -> Error {
        let idle = self.http.options().idle;
        Error::new(
            Code::Stalled,
            format!("{}: no byte for {idle:?}, at {} of {}", self.doing, self.at, self.len),
        )
        .remedy("check Qdrant's load and the network; BACKUP_IDLE_TIMEOUT_SECS is the limit")
    }

    fn wrong_length(&self, what: &str) -> Error {
        Error::new(
            Code::LengthMismatch,
            format!("{}: {what}, the snapshot has {}", self.doing, self.len),
        )
        .remedy("run the backup again; if it recurs, check for a proxy that truncates responses")
    }

    /// Trying the same file again is useless; a new snapshot is not, which is for the caller to know.
    fn changed(&self, status: u16) -> Error {
        let what = match status {
            404 => "it no longer exists",
            _ => "another snapshot replaced it",
        };
        Error::new(Code::SnapshotChanged, format!("{}: {what} (HTTP {status})", self.doing))
            .remedy("stop the other client that creates or deletes snapshots of this collection during a backup")
            .permanent(true)
    }
}

/// That the body is what Qdrant sent, and not compressed on the way.
pub(super) fn unencoded(response: &Response, doing: &str) -> Result<()> {
    let encoding = response.headers().get(header::CONTENT_ENCODING);
    match encoding.is_some_and(|v| v != "identity") {
        false => Ok(()),
        true => Err(Error::new(
            Code::QdrantUnexpected,
            format!("{doing}: the response is compressed, which was not requested"),
        )
        .remedy("disable compression in the proxy in front of Qdrant")),
    }
}

pub(super) async fn text(response: &mut Response) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < LONGEST_ERROR {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            _ => break,
        }
    }
    body.truncate(LONGEST_ERROR);
    body
}

#[async_trait]
impl Source for Download {
    fn len(&self) -> u64 {
        self.len
    }

    async fn next(&mut self) -> Option<Result<Bytes>> {
        loop {
            if self.at == self.len {
                self.response = None;
                return None;
            }
            match self.step().await {
                Ok(chunk) => {
                    self.at += chunk.len() as u64;
                    self.failures = 0;
                    return Some(Ok(chunk));
                }
                Err(e) => {
                    if let Err(e) = self.pause(e).await {
                        return Some(Err(e));
                    }
                }
            }
        }
    }

    async fn seek(&mut self, offset: u64) -> Result<()> {
        if offset > self.len {
            return Err(Error::new(
                Code::Internal,
                format!("{}: sought to {offset} of {}", self.doing, self.len),
            ));
        }
        // The response that is open already serves when it is at the right place; a writer begins with `seek(0)`.
        if offset != self.at {
            self.response = None;
            self.at = offset;
        }
        Ok(())
    }
}
