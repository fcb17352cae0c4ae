//! What the storage client says of a failure, without what is a secret.

use crate::base::error::with_causes;
use std::{error::Error as StdError, fmt};

/// What the storage client says of a failure, as a text. The client names the address of an upload session in its errors, and
/// whoever has that can finish the upload without any credentials. So nothing of the error itself is kept, which would show it
/// to anybody who prints the causes.
#[derive(Debug)]
pub(super) struct RedactedError(String);

impl RedactedError {
    /// All that an error and its causes say, without addresses.
    pub(super) fn by(error: &(dyn StdError + 'static)) -> Self {
        Self::told(&with_causes(error.to_string(), error))
    }

    /// What the service said, without addresses.
    pub(super) fn told(text: &str) -> Self {
        Self(without_addresses(text))
    }
}

impl fmt::Display for RedactedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for RedactedError {}

/// Leaves scheme and host of every URL in `text`, and of an `upload_id` nothing, wherever it is.
fn without_addresses(text: &str) -> String {
    const ID: &str = "upload_id=";
    // What no URL has unencoded. Brackets it may well have, as the name of an object.
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>');
    let mut kept = String::new();
    let mut rest = text;
    // One look at each character, however many of one kind there are and none of another.
    let begins = |text: &str| ["http://", "https://", ID].iter().any(|start| text.starts_with(start));
    let next = |text: &str| {
        text.match_indices(['h', 'u'])
            .map(|(at, _)| at)
            .find(|at| begins(&text[*at..]))
    };
    while let Some(at) = next(rest) {
        kept.push_str(&rest[..at]);
        let found = &rest[at..];
        let found = &found[..found.find(ends).unwrap_or(found.len())];
        // The brackets and the punctuation around it are the sentence's.
        let url = found.trim_end_matches([')', ']', '}', ',', '.', ';', ':', '\'']);
        let host = url.find("://").filter(|_| !url.starts_with(ID)).map_or(0, |scheme| {
            let host = scheme + "://".len();
            url[host..].find(['/', '?', '#']).map_or(url.len(), |end| host + end)
        });
        kept.push_str(&url[..host]);
        if host < url.len() {
            kept.push_str(if host == 0 { "…" } else { "/…" });
        }
        rest = &rest[at + url.len()..];
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_address_only_the_host_is_told() {
        for (text, told) in [
            (
                "error sending request for url (https://h.example:1/upload/b/o?name=a(b)&upload_id=S3-_cret): reset",
                "error sending request for url (https://h.example:1/…): reset",
            ),
            (
                "http://h/upload/session/S3cret, and http://h",
                "http://h/…, and http://h",
            ),
            ("to \"https://h?upload_id=S3cret\" and on", "to \"https://h/…\" and on"),
            ("no session with upload_id=S3cret.", "no session with …."),
            ("nothing of that kind: at all", "nothing of that kind: at all"),
        ] {
            assert_eq!(without_addresses(text), told);
        }
        // In one pass.
        let many = "http://h/S3cret ".repeat(400_000);
        assert_eq!(without_addresses(&many), "http://h/… ".repeat(400_000));
    }
}
