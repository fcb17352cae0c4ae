//! What the service's refusals mean, in the words of [`Code`].

use crate::base::error::{Code, Error, with_causes};
use crate::wire::store::token;
use google_cloud_gax::error::rpc::Code as Rpc;
use google_cloud_storage::Error as GcsError;
use std::{error::Error as StdError, fmt};

/// Kinds of refusals that callers tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No such object, or the upload session is gone.
    NotFound,
    /// No such bucket.
    NoBucket,
    /// The precondition does not hold.
    Condition,
    /// The range begins behind the end.
    Range,
    /// No token could be had.
    Credentials,
    /// The token or its rights are not enough.
    Forbidden,
    /// A quota is used up.
    Full,
    /// The call is not implemented (emulators only).
    Unimplemented,
    /// Worth another try later.
    Unreachable,
    /// Anything else.
    Other,
}

impl Kind {
    pub(super) fn of(error: &GcsError) -> Self {
        if error.is_authentication() {
            return Self::Credentials;
        }
        // The client wraps what happens before an upload request is sent.
        let cause = StdError::source(error).and_then(|e| e.downcast_ref::<GcsError>());
        if let Some(cause) = cause {
            return Self::of(cause);
        }
        let text = message(error);
        if let Some(kind) = error.http_status_code().map(|status| Self::of_status(status, &text))
            && kind != Self::Other
        {
            return kind;
        }
        let not_found = Self::not_found(&text);
        match error.status().map(|s| s.code) {
            Some(Rpc::Unauthenticated | Rpc::PermissionDenied) => Self::Forbidden,
            Some(Rpc::NotFound) => not_found,
            Some(Rpc::FailedPrecondition | Rpc::Aborted) => Self::Condition,
            Some(Rpc::OutOfRange) => Self::Range,
            Some(Rpc::Unimplemented) => Self::Unimplemented,
            Some(Rpc::Unavailable | Rpc::Internal | Rpc::DeadlineExceeded | Rpc::ResourceExhausted) => {
                Self::Unreachable
            }
            Some(_) => Self::Other,
            None if error.is_serialization() || error.is_deserialization() => Self::Other,
            None if error.is_binding() => Self::Other,
            None => Self::Unreachable,
        }
    }

    /// Of an HTTP status; `text` is what the service says with it, in lower case.
    pub(super) fn of_status(status: u16, text: &str) -> Self {
        match status {
            401 => Self::Forbidden,
            403 if text.contains("quota") && text.contains("exceeded") => Self::Full,
            403 => Self::Forbidden,
            404 | 410 => Self::not_found(text),
            412 => Self::Condition,
            416 => Self::Range,
            507 => Self::Full,
            408 | 429 | 500.. => Self::Unreachable,
            _ => Self::Other,
        }
    }

    fn not_found(text: &str) -> Self {
        match text.contains("bucket does not exist") {
            true => Self::NoBucket,
            false => Self::NotFound,
        }
    }
}

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

fn message(error: &GcsError) -> String {
    let status = error.status().map(|s| s.message.clone());
    let payload = error.http_payload().map(|p| String::from_utf8_lossy(p));
    (status.unwrap_or_default() + &payload.unwrap_or_default()).to_lowercase()
}

/// The crate's error for a refusal of `bucket`; `doing` says what was tried, `permission` what it takes.
pub(super) fn explain(error: GcsError, bucket: &str, doing: String, permission: &str) -> Error {
    refused(Kind::of(&error), RedactedError::by(&error), bucket, doing, permission)
}

/// The same of a refusal whose kind is known.
pub(super) fn refused(kind: Kind, cause: RedactedError, bucket: &str, doing: String, permission: &str) -> Error {
    let code = match kind {
        Kind::Credentials => {
            let cause = token::refused(Box::new(cause));
            let remedy = cause.remedy_text().unwrap_or_default().to_string();
            // There were credentials when the store was opened: they may well come back.
            return Error::new(Code::StoreForbidden, doing)
                .because(cause)
                .remedy(remedy)
                .permanent(false);
        }
        Kind::NoBucket => return missing_bucket(bucket).because(cause),
        Kind::Forbidden => Code::StoreForbidden,
        Kind::Condition => Code::StoreConflict,
        Kind::Range => Code::LengthMismatch,
        Kind::Full => Code::StoreFull,
        Kind::Unreachable => Code::StoreUnreachable,
        Kind::NotFound | Kind::Unimplemented | Kind::Other => Code::StoreFailed,
    };
    let refused = Error::new(code, doing).because(cause);
    match kind {
        Kind::Forbidden => refused.remedy(format!(
            "grant {permission} on bucket {bucket} to the account that runs this, e.g. with the role {}",
            role(permission)
        )),
        Kind::Full => refused.remedy(format!("raise the quota of the project that owns bucket {bucket}")),
        Kind::Unreachable => refused.remedy("check the network and the status of Cloud Storage; trying again is safe"),
        _ => refused,
    }
}

/// The error of a bucket that does not exist.
pub(super) fn missing_bucket(bucket: &str) -> Error {
    Error::new(Code::StoreMissing, format!("bucket {bucket} does not exist")).remedy(format!(
        "create it with `gcloud storage buckets create gs://{bucket}`, or correct the name"
    ))
}

/// The smallest predefined role that holds a permission.
fn role(permission: &str) -> &'static str {
    match permission {
        "storage.objects.create" => "roles/storage.objectCreator",
        "storage.objects.delete" => "roles/storage.objectUser",
        _ => "roles/storage.objectViewer",
    }
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
