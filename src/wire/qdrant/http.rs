//! Sending a request to Qdrant: the client, its limits, and what is tried again.

use super::Options;
use super::answer::Answer;
use super::key::Key;
use super::limits::Limit;
use super::tls::{Attempt, Renewed, failure};
use crate::base::error::{Code, Error, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, header, redirect};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use url::{Host, Url};

/// What stands for itself in a segment of a URL's path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// Longest pause that a `Retry-After` can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// What is larger is read and understood alone, however many are asked for at once.
const LARGE: usize = 1 << 20;

/// The HTTP side of the client.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: Renewed,
    options: Arc<Options>,
    key: Arc<Key>,
    /// The turn of one large answer.
    large: Arc<Semaphore>,
    /// Whether anything was ever answered.
    is_reached: Arc<AtomicBool>,
}

impl Http {
    pub(super) fn new(options: Options) -> Result<Self> {
        Ok(Self {
            client: Renewed::new(&options, builder)?,
            key: Arc::new(Key::new(&options)),
            options: Arc::new(options),
            large: Arc::new(Semaphore::new(1)),
            is_reached: Arc::default(),
        })
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    /// The base URL without anything secret.
    pub(super) fn base(&self) -> String {
        let mut url = self.options.url.clone();
        // Neither can fail on a URL with a host, and without one there is nothing to hide.
        let _ = url.set_password(None);
        let _ = url.set_username("");
        url.set_query(None);
        url.as_str().trim_end_matches('/').to_owned()
    }

    /// The URL of a path whose segments may be any text.
    pub(super) fn url(&self, path: &[&str], doing: &str) -> Result<Url> {
        // URL parsers take these for a way up, in whatever encoding.
        if path.iter().any(|s| matches!(*s, "" | "." | "..")) {
            return Err(Error::new(
                Code::CollectionNotFound,
                format!("{doing}: invalid name of a collection or snapshot"),
            ));
        }
        let mut url = self.options.url.clone();
        if url.cannot_be_a_base() {
            return Err(Error::new(
                Code::ConfigInvalid,
                format!("{} is not a valid base URL", self.base()),
            ));
        }
        // Not by `path_segments_mut`, which drops tabs and line ends, and so would name another collection.
        let base = url.path().trim_end_matches('/').to_owned();
        let whole = match path.is_empty() {
            // A proxy answers a folder without a slash by a redirect.
            true => base + "/",
            false => path
                .iter()
                .fold(base, |path, segment| format!("{path}/{}", encoded(segment))),
        };
        url.set_path(&whole);
        Ok(url)
    }

    /// A request without the key, which it gets when it is sent.
    pub(super) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client
            .client(&self.options)
            .request(method, url)
            // With gzip allowed Qdrant compresses a snapshot and leaves out its length.
            .header(header::ACCEPT_ENCODING, "identity")
    }

    /// The request with the key, and which one that is.
    pub(super) fn with_key(&self, request: RequestBuilder) -> Result<(RequestBuilder, u64)> {
        self.key.put_on(request)
    }

    /// Whether a request that was answered with this status is worth another try, because there is another key than was `sent`.
    pub(super) async fn has_another_key(&self, status: u16, sent: u64) -> bool {
        self.key.is_another(status, sent, &self.options).await
    }

    /// A short call that may be repeated: on a lost connection, 408, 429 and 5xx.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
        doing: &str,
    ) -> Result<Answer> {
        self.call_with(method, path, &[], body, doing).await
    }

    /// As [`Http::call`], with a query.
    pub(super) async fn call_with(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
        doing: &str,
    ) -> Result<Answer> {
        let url = self.url(path, doing)?;
        let most = Limit::of(path, self.options.largest_answer);
        let limit = if path.last() == Some(&"count") {
            self.options.count_timeout
        } else {
            self.options.request_timeout
        };
        let (mut attempt, mut keys) = (0, 0);
        let began = Instant::now();
        loop {
            let mut request = self.request(method.clone(), url.clone()).query(query);
            match body {
                Some(body) => request = request.json(body),
                None if method == Method::POST => request = without_body(request),
                None => {}
            }
            let (request, sent) = self.with_key(request)?;
            self.options.pause.over().await;
            let result = timeout(limit, async { self.read(request.send().await?, most).await }).await;
            let (result, pause) = match result {
                Ok(Ok(answer)) if answer.is_transient() => {
                    let pause = answer.retry_after;
                    (Ok(answer), pause)
                }
                // Once, whatever the file holds.
                Ok(Ok(answer)) if keys == 0 && self.has_another_key(answer.status, sent).await => {
                    keys += 1;
                    continue;
                }
                Ok(Ok(answer)) => {
                    self.is_reached.store(true, Relaxed);
                    return Ok(answer);
                }
                Ok(Err(e)) => match self.unreachable(doing, e) {
                    // Nobody mends a certificate meanwhile.
                    e if e.is_permanent() => return Err(e),
                    e => (Err(e), None),
                },
                Err(_) => (
                    Err(self.unreachable(doing, format!("no answer within {limit:?}"))),
                    None,
                ),
            };
            if result.is_ok() {
                self.is_reached.store(true, Relaxed);
            }
            if attempt >= self.options.retries {
                let left = self.options.start.saturating_sub(began.elapsed());
                if self.is_reached.load(Relaxed) || left.is_zero() {
                    return result;
                }
                if attempt == self.options.retries {
                    tracing::warn!(
                        qdrant = self.base(),
                        "Qdrant at {} does not answer yet; trying for another {} s",
                        self.base(),
                        left.as_secs()
                    );
                }
            }
            sleep(pause.unwrap_or_default().max(self.backoff(attempt)).min(LONGEST_PAUSE)).await;
            attempt += 1;
        }
    }

    /// A short call that is tried once, and does not wait for the end of a pause of the network.
    pub(super) async fn once(&self, method: Method, path: &[&str], body: &Value, doing: &str) -> Result<Answer> {
        let request = self.request(method, self.url(path, doing)?).json(body);
        let (request, _) = self.with_key(request)?;
        let call = async { self.read(request.send().await?, Limit::short()).await };
        call.await.map_err(|e| self.unreachable(doing, e))
    }

    /// A call that may take hours and is never repeated, but with another key where it was refused. While it runs, Qdrant is asked now and then whether it is alive: a
    /// node that went away without closing the connection would otherwise be waited for until the deadline.
    pub(super) async fn long(&self, request: RequestBuilder, doing: &str) -> Result<Answer> {
        // With `wait=false` Qdrant answers 202 whatever becomes of it.
        let request = request.query(&[("wait", "true")]);
        let again = request.try_clone();
        let (request, sent) = self.with_key(request)?;
        let answer = self.watched(request, doing).await?;
        match again {
            // Whom Qdrant refuses has begun nothing.
            Some(again) if self.has_another_key(answer.status, sent).await => {
                self.watched(self.with_key(again)?.0, doing).await
            }
            _ => Ok(answer),
        }
    }

    /// The answer to a request that may take hours.
    async fn watched(&self, request: RequestBuilder, doing: &str) -> Result<Answer> {
        // It needs no key.
        let alive = self.request(Method::GET, self.url(&["readyz"], doing)?);
        self.options.pause.over().await;
        let call = async { self.read(request.send().await?, Limit::short()).await };
        let watch = async {
            let mut seen = Instant::now();
            loop {
                sleep(self.options.idle / 4).await;
                let Some(probe) = alive.try_clone() else {
                    return;
                };
                // Any answer will do, even "not ready": somebody is there.
                if let Ok(Ok(_)) = timeout(self.options.request_timeout, probe.send()).await {
                    seen = Instant::now();
                } else if seen.elapsed() >= self.options.idle {
                    return;
                }
            }
        };
        tokio::select! {
            answer = call => answer.map_err(|e| self.unreachable(doing, e)),
            () = watch => Err(self.unreachable(doing, format!("Qdrant did not respond for {:?}", self.options.idle))),
            () = sleep(self.options.create_timeout) => Err(
                Error::new(Code::Stalled, format!("{doing}: not done within {:?}", self.options.create_timeout))
                    .remedy("read Qdrant's log for what it waits for, or raise BACKUP_CREATE_TIMEOUT_SECS")
                    .permanent(true),
            ),
        }
    }

    /// Pause before attempt `attempt + 1`, counted from 0.
    pub(super) fn backoff(&self, attempt: u32) -> Duration {
        self.options
            .backoff
            .saturating_mul(1 << attempt.min(10))
            .min(LONGEST_PAUSE)
    }

    /// Reads an answer, up to its limit.
    async fn read(&self, mut response: Response, limit: Limit) -> reqwest::Result<Answer> {
        let status = response.status().as_u16();
        let limit = match status {
            200 => limit,
            _ => Limit::short(),
        };
        let (mut body, mut turn) = (Vec::new(), None);
        while let Some(chunk) = response.chunk().await? {
            let room = limit.bytes.saturating_sub(body.len());
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                break; // what is cut here does not parse
            }
            if body.len() > LARGE && turn.is_none() {
                // Nobody closes it.
                turn = self.large.clone().acquire_owned().await.ok();
            }
        }
        Ok(Answer::new(&response, body, limit, turn))
    }

    pub(super) fn unreachable(&self, doing: &str, why: impl Into<crate::base::error::BoxError>) -> Error {
        let (why, base) = (without_url(why.into()), self.base());
        let attempt = Attempt {
            tls: &self.options.tls,
            base: &base,
            is_reached: self.is_reached.load(Relaxed),
        };
        if let Some(error) = failure(doing, &*why, attempt) {
            return error;
        }
        let remedy = format!(
            "check that Qdrant runs and that {base} is reachable from here (address, port, VPC connector, firewall)"
        );
        Error::new(Code::QdrantUnreachable, doing).because(why).remedy(remedy)
    }
}

/// A POST without a body. Without a length some proxies ask Qdrant in HTTP/1.0, and that is 400.
pub(super) fn without_body(request: RequestBuilder) -> RequestBuilder {
    request.header(header::CONTENT_LENGTH, 0)
}

/// The client, but for its certificates.
fn builder(options: &Options) -> ClientBuilder {
    // A proxy that is set for the rest of the world cannot reach what listens on this machine only.
    let builder = match is_local(&options.url) {
        true => Client::builder().no_proxy(),
        false => Client::builder(),
    };
    builder
        .http1_only()
        // A redirect could carry the key to another host.
        .redirect(redirect::Policy::none())
        .connect_timeout(options.idle)
        // Qdrant closes a connection that is idle for 5 s. A request that meets that is lost, and one that makes a
        // snapshot is not repeated by itself.
        .pool_idle_timeout(Duration::from_secs(2))
        // A firewall forgets a connection that is silent for minutes, as it is while a snapshot is made.
        .tcp_keepalive(Duration::from_secs(30))
        .tcp_keepalive_interval(Duration::from_secs(30))
        .user_agent(concat!("qdrant-backup/", env!("CARGO_PKG_VERSION")))
}

fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// reqwest's errors name the URL, which may carry what the operator put into it.
fn without_url(error: crate::base::error::BoxError) -> crate::base::error::BoxError {
    match error.downcast::<reqwest::Error>() {
        Ok(e) => Box::new(e.without_url()),
        Err(e) => e,
    }
}

/// One segment of a URL's path.
pub(super) fn encoded(segment: &str) -> String {
    utf8_percent_encode(segment, SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(url: &str) -> Http {
        Http::new(Options::new(url.parse().unwrap())).unwrap()
    }

    #[test]
    fn any_name_becomes_one_segment_of_the_url() {
        let http = http("http://h:6333/base/");
        let url = http.url(&["collections", "a/b c%é?#"], "x").unwrap();
        assert_eq!(url.as_str(), "http://h:6333/base/collections/a%2Fb%20c%25%C3%A9%3F%23");
        assert_eq!(http.url(&[], "x").unwrap().as_str(), "http://h:6333/base/");
        // Qdrant takes them, and they are not the same collection.
        let url = http
            .url(&["collections", "a\tb\r\n", "%2e%2e", "...", "\u{7f}"], "x")
            .unwrap();
        assert_eq!(
            url.as_str(),
            "http://h:6333/base/collections/a%09b%0D%0A/%252e%252e/.../%7F"
        );
        for name in ["", ".", ".."] {
            assert_eq!(
                http.url(&["collections", name], "x").unwrap_err().code(),
                Code::CollectionNotFound
            );
        }
    }

    #[test]
    fn what_is_secret_in_the_url_is_not_shown() {
        let base = http("http://user:secret@h:6333/?key=secret").base();
        assert_eq!(base, "http://h:6333");
    }

    #[test]
    fn the_key_is_not_shown_by_debug() {
        let mut options = Options::new("http://h:6333".parse().unwrap());
        options.api_key = Some("s3cret".to_owned().into());
        let http = Http::new(options).unwrap();
        let request = http.request(Method::GET, "http://h:6333".parse().unwrap());
        let (request, _) = http.with_key(request).unwrap();
        assert!(!format!("{http:?} {request:?}").contains("s3cret"));
    }
}
