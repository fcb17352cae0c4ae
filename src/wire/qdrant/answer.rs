//! What Qdrant answered, in both forms in which it reports errors: a JSON envelope, and plain text (401s, downloads).

use super::limits::{HEAVIEST, Limit};
use super::snapshot::LONGEST_NAME;
use crate::base::error::{Code, Error, Result};
use crate::base::heavy;
use crate::base::json;
use crate::base::text::{in_the_middle, is_control};
use reqwest::{Response, StatusCode, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use std::time::Duration;
use time::{OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description};
use tokio::sync::OwnedSemaphorePermit;

/// Characters that are kept of the beginning of an error text, and as many of its end.
const KEPT_TEXT: usize = 250;

/// A short answer, read whole.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The other side's clock.
    pub(super) date: Option<OffsetDateTime>,
    pub(super) retry_after: Option<Duration>,
    body: Vec<u8>,
    limit: Limit,
    _large: Option<OwnedSemaphorePermit>,
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
    /// Of a response whose body was read up to `limit`; `large`: the turn of a large one, as long as it lives.
    pub(super) fn new(response: &Response, body: Vec<u8>, limit: Limit, large: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            status: response.status().as_u16(),
            date: date(response),
            retry_after: retry_after(response),
            body,
            limit,
            _large: large,
        }
    }

    pub(super) fn is_transient(&self) -> bool {
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
        let (mut kept, mut rest) = (String::with_capacity(text.len()), text.as_str());
        while let Some((before, after)) = rest.split_once(SIGNATURE) {
            kept.push_str(before);
            kept.push('…');
            rest = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        }
        kept.push_str(rest);
        self.body = kept.into_bytes();
    }

    /// Whether there was more than is read of one.
    pub(super) fn is_too_large(&self) -> bool {
        self.status == 200 && self.body.len() >= self.limit.bytes
    }

    /// Whether it is a page for people, which Qdrant never answers and proxies do.
    pub(super) fn is_page(&self) -> bool {
        is_page(&self.body)
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

    /// The error of one that is no 200.
    pub(super) fn refusal(&self, doing: &str) -> Error {
        refused(self.status, &self.body, doing)
    }

    /// `result` of a 200's envelope.
    pub(super) async fn result<T: DeserializeOwned + Send + 'static>(self, doing: &str) -> Result<T> {
        let doing = doing.to_owned();
        heavy::run(self.len(), move || self.understood(&doing)).await?
    }

    /// As [`Answer::result`], of an answer that is kept as it is, or a part of which is: one that takes too much memory is refused.
    pub(super) async fn kept<T: DeserializeOwned + Send + 'static>(self, doing: &str) -> Result<T> {
        let (doing, bytes) = (doing.to_owned(), self.len());
        let work = move || match json::weight(&self.body) {
            weight if weight > HEAVIEST && self.status == 200 && !self.is_too_large() => {
                let what = format!("its values take {weight} bytes of memory; the limit is {HEAVIEST}");
                Err(self.beyond(&doing, &what))
            }
            _ => self.understood(&doing),
        };
        heavy::run(bytes, work).await?
    }

    fn understood<T: DeserializeOwned>(&self, doing: &str) -> Result<T> {
        #[derive(Deserialize)]
        struct Envelope<T> {
            result: T,
        }
        let body = self.ok(doing)?;
        // Of the cut one not even the beginning is looked at: it may take much memory.
        if self.is_too_large() {
            let what = format!("it is larger than the limit of {} bytes", self.limit.bytes);
            return Err(self.beyond(doing, &what));
        }
        match serde_json::from_slice::<Envelope<T>>(body) {
            Ok(envelope) => Ok(envelope.result),
            Err(e) => match json::depth(body) {
                depth if depth > json::DEEPEST => {
                    let what = format!("it nests {depth} levels deep; the limit is {}", json::DEEPEST);
                    Err(self.beyond(doing, &what))
                }
                _ => Err(Error::new(
                    Code::QdrantUnexpected,
                    format!("{doing}: the response does not match Qdrant's API"),
                )
                .because(e)
                .remedy("check that the URL is Qdrant's REST API, and check Qdrant's version")),
            },
        }
    }

    /// The error of an answer like which none is understood, however right it is.
    fn beyond(&self, doing: &str, what: &str) -> Error {
        Error::new(Code::Unsupported, format!("{doing}: the response is not read: {what}")).remedy(self.limit.remedy)
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
    // Of a page Qdrant knows nothing: not the key is refused, and not the collection is missing.
    const PASS: &str =
        "let the proxy in front of Qdrant pass every path, with GET, POST, PUT and DELETE; or use Qdrant's own address";
    match status {
        401 if is_page(body) => Error::new(Code::QdrantUnexpected, text)
            .remedy("use Qdrant's own address: the proxy in front of it wants credentials of its own"),
        status if matches!(status, 403..=405) && is_page(body) => Error::new(Code::QdrantUnexpected, text).remedy(PASS),
        400 | 405..=499 | 500..=519 if tells_of_a_full_disk(body) => disk_full(text),
        500..=519 if holds(body, &[b"File name too long", b"(os error 36)"]) => Error::new(Code::QdrantFailed, text)
            .remedy(
                format!("give the collection a shorter name, of up to {LONGEST_NAME} bytes: Qdrant puts up to 70 behind it to make a snapshot, \
                 and a file system takes 255; a collection can be restored under another name with `restore --into`",
            ))
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
        "free or add space where Qdrant has its snapshots and temporary files: a snapshot needs the size of its collection there, a \
         restore up to twice that, a stream some 32 MiB for each shard. What has no room for a snapshot is streamed by a backup with \
         SNAPSHOT_MODE=auto",
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

/// Whether the state of the optimizers, `"ok"` or `{"error": why}`, is that one has no space for what it makes.
pub(super) fn lacks_room<'de, D: Deserializer<'de>>(state: D) -> Result<bool, D::Error> {
    let state = serde_json::Value::deserialize(state)?;
    let why = state["error"].as_str().unwrap_or_default().as_bytes();
    Ok(tells_of_a_full_disk(why) || holds(why, &[b"Not enough space available"]))
}

/// Whether one of these texts of the system is in it.
fn holds(body: &[u8], texts: &[&[u8]]) -> bool {
    let holds = |text: &&[u8]| body.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text));
    texts.iter().any(holds)
}

fn is_page(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

/// The title of a page.
fn title(page: &[u8]) -> Option<String> {
    let page = String::from_utf8_lossy(page);
    let (_, rest) = page.split_once("<title>")?;
    let (title, _) = rest.split_once("</title>")?;
    Some(in_the_middle(title.trim(), KEPT_TEXT))
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
        // Of a page of a proxy its title says all.
        Err(_) if is_page(body) => match title(body) {
            Some(title) => format!("an HTML page of a proxy, {title:?}"),
            None => return "an HTML page of a proxy".to_owned(),
        },
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().filter(|c| !is_control(*c)));
    }
    in_the_middle(&line, 2 * KEPT_TEXT + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_signature_is_taken_out_in_one_pass_however_often_it_is_repeated() {
        let mut answer = Answer {
            status: 500,
            date: None,
            retry_after: None,
            body: "at X-Goog-Signature=5ec3e7\\u0026;".repeat(400_000).into_bytes(),
            limit: Limit::short(),
            _large: None,
        };
        answer.redact("https://h/o?X-Goog-Date=1&X-Goog-Signature=5ec3e7");
        let told = String::from_utf8(answer.body).unwrap();
        assert_eq!(told, "at …\\u0026;".repeat(400_000));
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
        let page = refused(403, b"<html><title>403 Forbidden</title>", "x");
        assert!(page.chain().ends_with("\"403 Forbidden\""), "{page}");
        for status in 401..=405 {
            let is_told = refused(status, b"<html>", "x").code() == Code::QdrantUnexpected;
            assert_eq!(is_told, status != 402, "{status}");
            assert_ne!(
                refused(status, b"no page", "x").code(),
                Code::QdrantUnexpected,
                "{status}"
            );
        }
    }
}
