//! Stores by URL: `gs://bucket/prefix` and `file:///dir`.

use super::{DirStore, GcsOptions, GcsStore, Store, valid_key};
use crate::base::error::{Code, Error, Result};
use crate::base::text::without_secrets;
use percent_encoding::percent_decode_str;
use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf, sync::Arc};

/// Opens the store that `url` names; `options` matter to `gs://` only.
///
/// # Errors
/// [`Code::ConfigInvalid`] for a URL that is neither; otherwise what opening the store gives.
pub async fn open(url: &str, options: GcsOptions) -> Result<Arc<dyn Store>> {
    match parse(url)? {
        Location::Bucket { bucket, prefix } => Ok(Arc::new(GcsStore::open(&bucket, &prefix, options).await?)),
        Location::Directory(path) => Ok(Arc::new(DirStore::open(&path).await?)),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Location {
    Bucket { bucket: String, prefix: String },
    Directory(PathBuf),
}

fn parse(url: &str) -> Result<Location> {
    let bad = |why: &str| {
        Error::new(
            Code::ConfigInvalid,
            format!("the store URL {:?} {why}", without_secrets(url)),
        )
        .remedy("write gs://bucket/prefix or file:///absolute/directory")
    };
    let url = url.trim();
    let (scheme, rest) = url.split_once("://").ok_or_else(|| bad("has no scheme"))?;
    match scheme.to_ascii_lowercase().as_str() {
        "gs" => {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let prefix = prefix.trim_matches('/');
            if bucket.is_empty() {
                return Err(bad("names no bucket"));
            }
            let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
            if !bucket.chars().all(allowed) {
                return Err(bad("names a bucket with an invalid character"));
            }
            if !prefix.is_empty() && valid_key(prefix).is_err() {
                return Err(bad("has a prefix with an empty, `.` or `..` segment"));
            }
            let (bucket, prefix) = (bucket.to_string(), prefix.to_string());
            Ok(Location::Bucket { bucket, prefix })
        }
        "file" => {
            // `localhost` is this machine by the standard; any other host, or a relative path, lands here as well.
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            if !path.starts_with('/') {
                return Err(bad("is not an absolute path: write three slashes after `file:`"));
            }
            if path.contains(['?', '#']) {
                return Err(bad("has a `?` or `#`: write %3F or %23"));
            }
            if !percent_signs_are_whole(path) {
                return Err(bad("has a `%` without two hexadecimal digits: write %25"));
            }
            let mut bytes: Vec<u8> = percent_decode_str(path).collect();
            if bytes.contains(&0) {
                return Err(bad("has a NUL"));
            }
            while bytes.len() > 1 && bytes.last() == Some(&b'/') {
                bytes.pop();
            }
            Ok(Location::Directory(OsString::from_vec(bytes).into()))
        }
        _ => Err(bad("has an unknown scheme")),
    }
}

fn percent_signs_are_whole(path: &str) -> bool {
    path.split('%').skip(1).all(|after| {
        let digits = after.as_bytes().get(..2);
        digits.is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn buckets_are_parsed_with_and_without_prefix() {
        for (url, bucket, prefix) in [
            ("gs://b", "b", ""),
            ("gs://b/", "b", ""),
            (
                "gs://csfiledata.ariel.com.tw/qdrant",
                "csfiledata.ariel.com.tw",
                "qdrant",
            ),
            ("gs://b/a/b%20c/", "b", "a/b%20c"),
            (" GS://b_1-x/a ", "b_1-x", "a"),
        ] {
            let (bucket, prefix) = (bucket.to_string(), prefix.to_string());
            assert_eq!(parse(url).unwrap(), Location::Bucket { bucket, prefix }, "{url}");
        }
    }

    #[test]
    fn directories_are_decoded() {
        for (url, path) in [
            ("file:///var/backups", "/var/backups"),
            ("file:///var/backups//", "/var/backups"),
            ("file:///", "/"),
            ("file://localhost/a", "/a"),
            ("file:///a%20b/%C3%A9%25", "/a b/é%"),
        ] {
            assert_eq!(parse(url).unwrap(), Location::Directory(path.into()), "{url}");
        }
    }

    #[test]
    fn what_is_no_store_is_refused_with_its_reason() {
        for (url, why) in [
            ("", "has no scheme"),
            ("/var/backups", "has no scheme"),
            ("s3://b/p", "unknown scheme"),
            ("gs://", "names no bucket"),
            ("gs:///p", "names no bucket"),
            ("gs://B/p", "invalid character"),
            ("gs://b/a//c", "segment"),
            ("gs://b/../c", "segment"),
            ("file://var/backups", "not an absolute path"),
            ("file://./backups", "not an absolute path"),
            ("file://", "not an absolute path"),
            ("file:///a?b", "`?`"),
            ("file:///a%2", "without two"),
            ("file:///a%+1", "without two"),
            ("file:///a%00", "NUL"),
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.code(), Code::ConfigInvalid, "{url}");
            assert!(error.to_string().contains(why), "{url}: {error}");
            assert!(error.remedy_text().is_some());
        }
        let error = parse("file:///a#secret").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
