//! Sending a request to Qdrant and understanding the answer, in both forms in which Qdrant reports errors: a JSON envelope,
//! and plain text (401s, downloads).

use super::Options;
use crate::base::error::{Code, Error, Result};
use crate::base::json;
use crate::base::text::is_control;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, header, redirect};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use time::{OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description};
use tokio::time::{Instant, sleep, timeout};
use url::{Host, Url};

/// Characters that are kept of the beginning of an error text, and as many of its end.
const KEPT_TEXT: usize = 250;
/// What stands for itself in a segment of a URL's path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// Longest pause that a `Retry-After` can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The HTTP side of the client.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: Client,
    options: Arc<Options>,
    /// Whether anything was ever answered.
    is_reached: Arc<AtomicBool>,
}

/// A short answer, read whole.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The other side's clock.
    pub(super) date: Option<OffsetDateTime>,
    retry_after: Option<Duration>,
    body: Vec<u8>,
    /// Bytes that are read of one.
    largest: usize,
}

impl Http {
    pub(super) fn new(options: Options) -> Result<Self> {
        // A proxy that is set for the rest of the world cannot reach what listens on this machine only.
        let builder = match is_local(&options.url) {
            true => Client::builder().no_proxy(),
            false => Client::builder(),
        };
        let client = builder
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
            .build()
            .map_err(|e| Error::new(Code::Internal, "building the HTTP client").because(e))?;
        Ok(Self {
            client,
            options: Arc::new(options),
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

    /// A request with key and encoding set.
    pub(super) fn request(&self, method: Method, url: Url) -> Result<RequestBuilder> {
        let mut request = self
            .client
            .request(method, url)
            // With gzip allowed Qdrant compresses a snapshot and leaves out its length.
            .header(header::ACCEPT_ENCODING, "identity");
        if let Some(key) = &self.options.api_key {
            let mut value = header::HeaderValue::from_str(key.expose_secret()).map_err(|_| {
                Error::new(
                    Code::ConfigInvalid,
                    "Qdrant's API key has characters that an HTTP header cannot contain",
                )
                .remedy("check QDRANT_API_KEY or the file that QDRANT_API_KEY_FILE names")
            })?;
            value.set_sensitive(true);
            request = request.header("api-key", value);
        }
        Ok(request)
    }

    /// A short call that may be repeated: on a lost connection, 408, 429 and 5xx.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
        doing: &str,
    ) -> Result<Answer> {
        let url = self.url(path, doing)?;
        let limit = if path.last() == Some(&"count") {
            self.options.count_timeout
        } else {
            self.options.request_timeout
        };
        let mut attempt = 0;
        let began = Instant::now();
        loop {
            let mut request = self.request(method.clone(), url.clone())?;
            if let Some(body) = body {
                request = request.json(body);
            }
            self.options.pause.over().await;
            let result = timeout(limit, async {
                read(request.send().await?, self.options.largest_answer).await
            })
            .await;
            let (result, pause) = match result {
                Ok(Ok(answer)) if answer.is_transient() => {
                    let pause = answer.retry_after;
                    (Ok(answer), pause)
                }
                Ok(Ok(answer)) => {
                    self.is_reached.store(true, Relaxed);
                    return Ok(answer);
                }
                Ok(Err(e)) => (Err(self.unreachable(doing, e)), None),
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

    /// A call that may take hours and is never repeated. While it runs, Qdrant is asked now and then whether it is alive: a
    /// node that went away without closing the connection would otherwise be waited for until the deadline.
    pub(super) async fn long(&self, request: RequestBuilder, doing: &str) -> Result<Answer> {
        // With `wait=false` Qdrant answers 202 whatever becomes of it.
        let request = request.query(&[("wait", "true")]);
        let alive = self.request(Method::GET, self.url(&["readyz"], doing)?)?;
        self.options.pause.over().await;
        let call = async { read(request.send().await?, self.options.largest_answer).await };
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

    pub(super) fn unreachable(&self, doing: &str, why: impl Into<crate::base::error::BoxError>) -> Error {
        Error::new(Code::QdrantUnreachable, doing)
            .because(without_url(why.into()))
            .remedy(format!(
                "check that Qdrant runs and that {} is reachable from here (address, port, VPC connector, firewall)",
                self.base()
            ))
    }
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

async fn read(mut response: Response, largest: usize) -> reqwest::Result<Answer> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = largest.saturating_sub(body.len());
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            break; // what is cut here does not parse
        }
    }
    Ok(Answer {
        status: response.status().as_u16(),
        date: date(&response),
        retry_after: retry_after(&response),
        body,
        largest,
    })
}

/// `Date`, in the one form that HTTP has since 1999.
fn date(response: &Response) -> Option<OffsetDateTime> {
    const FORM: &[BorrowedFormatItem<'_>] =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    let text = response.headers().get(header::DATE)?.to_str().ok()?;
    Some(PrimitiveDateTime::parse(text, FORM).ok()?.assume_utc())
}

/// The pause that a 429 asks for, in seconds.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

impl Answer {
    fn is_transient(&self) -> bool {
        matches!(self.status, 408 | 429 | 500..)
    }

    /// Takes the query of `url` out of the body, wherever the other side repeats it.
    pub(super) fn redact(&mut self, url: &str) {
        const SIGNATURE: &str = "X-Goog-Signature=";
        let mut text = String::from_utf8_lossy(&self.body).into_owned();
        if let Some((_, query)) = url.split_once('?') {
            text = text.replace(query, "…");
        }
        // In whatever other form.
        while let Some(at) = text.find(SIGNATURE) {
            let rest = &text[at + SIGNATURE.len()..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            text.replace_range(at..at + SIGNATURE.len() + end, "…");
        }
        self.body = text.into_bytes();
    }

    /// Why no answer like this one is understood, however right it is.
    fn beyond(&self) -> Option<String> {
        match json::depth(&self.body) {
            _ if self.is_too_large() => Some(format!(
                "the response is larger than the limit of {} bytes",
                self.largest
            )),
            depth if depth > json::DEEPEST => Some(format!(
                "the response nests {depth} levels deep; the limit is {}",
                json::DEEPEST
            )),
            _ => None,
        }
    }

    /// Whether there was more than is read of one.
    pub(super) fn is_too_large(&self) -> bool {
        self.body.len() >= self.largest
    }

    pub(super) fn len(&self) -> usize {
        self.body.len()
    }

    /// The body of a 200.
    pub(super) fn ok(&self, doing: &str) -> Result<&[u8]> {
        match self.status {
            200 => Ok(&self.body),
            status => Err(refused(status, &self.body, doing)),
        }
    }

    /// `result` of a 200's envelope.
    pub(super) fn result<T: DeserializeOwned>(&self, doing: &str) -> Result<T> {
        #[derive(Deserialize)]
        struct Envelope<T> {
            result: T,
        }
        serde_json::from_slice::<Envelope<T>>(self.ok(doing)?)
            .map(|envelope| envelope.result)
            .map_err(|e| match self.beyond() {
                Some(what) => Error::new(Code::Unsupported, format!("{doing}: {what}"))
                    .remedy("make the collection's metadata smaller or less nested: PATCH /collections/NAME"),
                None => Error::new(
                    Code::QdrantUnexpected,
                    format!("{doing}: the response does not match Qdrant's API"),
                )
                .because(e)
                .remedy("check that the URL is Qdrant's REST API, and check Qdrant's version"),
            })
    }
}

/// The error for a refusal by Qdrant.
pub(super) fn refused(status: u16, body: &[u8], doing: &str) -> Error {
    let said = reason(body);
    let text = match StatusCode::from_u16(status) {
        Ok(s) => format!("{doing}: Qdrant answered {s}"),
        Err(_) => format!("{doing}: Qdrant answered {status}"),
    };
    let text = if said.is_empty() {
        text
    } else {
        format!("{text}: {said}")
    };
    match status {
        400 | 405..=499 | 500..=519 if tells_of_a_full_disk(body) => disk_full(text),
        500..=519 if holds(body, &[b"File name too long", b"(os error 36)"]) => Error::new(Code::QdrantFailed, text)
            .remedy(
                "give the collection a shorter name, of up to 180 bytes: Qdrant puts up to 70 behind it to make a snapshot, \
                 and a file system takes 255; a collection can be restored under another name with `restore --into`",
            )
            .permanent(true),
        401 => Error::new(Code::QdrantUnauthorized, text)
            .remedy("set QDRANT_API_KEY or QDRANT_API_KEY_FILE to a key that Qdrant accepts"),
        403 => Error::new(Code::QdrantForbidden, text).remedy(
            "use a key that may create and delete snapshots: the full key, or a token with `rw` on the collections",
        ),
        404 => Error::new(Code::CollectionNotFound, text),
        // 520 and more: what proxies say where Qdrant did not answer them.
        408 | 429 | 502..=504 | 520.. => {
            Error::new(Code::QdrantUnreachable, text).remedy("try again later; Qdrant is overloaded or restarting")
        }
        413 => Error::new(Code::QdrantFailed, text)
            .remedy(
                "raise the limit of request bodies of the proxy in front of Qdrant (nginx: client_max_body_size 0), use \
                 Qdrant's own address, or let Qdrant fetch the snapshot itself (`restore --via url`)",
            )
            .permanent(true),
        400 | 402 | 405..=499 => Error::new(Code::QdrantFailed, text).permanent(true),
        500..=519 => Error::new(Code::QdrantFailed, text).remedy("read Qdrant's log for the cause"),
        _ => Error::new(Code::QdrantUnexpected, text).remedy("use the URL of Qdrant's REST API, without a redirect"),
    }
}

fn disk_full(text: String) -> Error {
    Error::new(Code::DiskFull, text).remedy(
        "free or add space on Qdrant's disk: a snapshot needs the size of its collection there, a restore up to twice \
         that",
    )
}

/// Whether Qdrant passes on that its system refuses to write: ENOSPC or EDQUOT. It has no code of its own for that.
fn tells_of_a_full_disk(body: &[u8]) -> bool {
    holds(
        body,
        &[
            b"No space left on device",
            b"(os error 28)",
            b"Disk quota exceeded",
            b"(os error 122)",
        ],
    )
}

/// Whether one of these texts of the system is in it.
fn holds(body: &[u8], texts: &[&[u8]]) -> bool {
    let holds = |text: &&[u8]| body.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text));
    texts.iter().any(holds)
}

/// What Qdrant said, from either form, on one line. The cause of an error stands at its end, after paths of any length.
fn reason(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Envelope {
        status: Status,
    }
    #[derive(Deserialize)]
    struct Status {
        error: String,
    }
    let text = match serde_json::from_slice::<Envelope>(body) {
        Ok(envelope) => envelope.status.error,
        // A page of a proxy says no more than the status.
        Err(_) if body.trim_ascii_start().starts_with(b"<") => return "an HTML page of a proxy".to_owned(),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().filter(|c| !is_control(*c)));
    }
    let all = line.chars().count();
    if all <= 2 * KEPT_TEXT {
        return line;
    }
    let beginning = line.chars().take(KEPT_TEXT);
    let end = line.chars().skip(all - KEPT_TEXT);
    beginning.chain(['…']).chain(end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(url: &str) -> Http {
        Http::new(Options::new(url.parse().unwrap())).unwrap()
    }

    #[test]
    fn both_forms_of_an_error_are_understood() {
        let json = br#"{"status":{"error":"Wrong input: no\n disk"},"time":0.1}"#;
        assert!(refused(400, json, "x").to_string().contains("Wrong input: no disk"));
        let text = b"Must provide an API key or an Authorization bearer token";
        let e = refused(401, text, "x");
        assert_eq!(e.code(), Code::QdrantUnauthorized);
        assert!(e.to_string().contains("Must provide an API key"), "{e}");
    }

    #[test]
    fn of_a_long_error_beginning_and_end_are_told() {
        let path = "/qdrant/storage/".repeat(100);
        let long =
            format!("Service internal error: failed to copy {path} to /var/tmp: No space left on device (os error 28)");
        let json = serde_json::json!({"status": {"error": long}, "time": 0.1}).to_string();
        for (status, body) in [(500, &json), (500, &long), (400, &long)] {
            let e = refused(status, body.as_bytes(), "x");
            assert_eq!(e.code(), Code::DiskFull, "{e}");
            let told = e.chain();
            assert!(
                told.contains("Service internal error: failed to copy /qdrant"),
                "{told}"
            );
            assert!(
                told.ends_with("to /var/tmp: No space left on device (os error 28)"),
                "{told}"
            );
            assert!(told.chars().count() < 600, "{told}");
        }
        let whole = "é".repeat(2 * KEPT_TEXT);
        assert!(
            refused(500, whole.as_bytes(), "x").chain().ends_with(&whole),
            "nothing is cut that need not be"
        );
    }

    #[test]
    fn a_full_disk_has_a_code_of_its_own_and_nothing_else_has_it() {
        for (status, text, code) in [
            (500, "Disk quota exceeded (os error 122)", Code::DiskFull),
            (500, "Permission denied (os error 13)", Code::QdrantFailed),
            (500, "File name too long (os error 36)", Code::QdrantFailed),
            // A name is no cause.
            (
                404,
                "Collection `No space left on device` doesn't exist!",
                Code::CollectionNotFound,
            ),
        ] {
            assert_eq!(refused(status, text.as_bytes(), "x").code(), code, "{text}");
        }
    }

    #[test]
    fn what_a_proxy_says_is_no_refusal_of_qdrants() {
        for status in [502, 504, 520, 524] {
            assert_eq!(refused(status, b"", "x").code(), Code::QdrantUnreachable, "{status}");
        }
        assert_eq!(refused(500, b"", "x").code(), Code::QdrantFailed);
        let page = refused(413, b"<html>\r\n<title>413</title>", "x");
        assert!(page.is_permanent() && page.code() == Code::QdrantFailed);
        assert!(!page.chain().contains("<html>"), "{page}");
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
        let request = http.request(Method::GET, "http://h:6333".parse().unwrap()).unwrap();
        assert!(!format!("{http:?} {request:?}").contains("s3cret"));
    }
}
