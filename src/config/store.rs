//! Where backups are kept.

use super::reader::Reader;
use url::Url;

const STORE: &str = "BACKUP_STORE";
const EXAMPLES: &str = "write gs://bucket/prefix or file:///absolute/directory";

/// Where backups are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// `BACKUP_STORE`: `gs://bucket/prefix` or `file:///directory`; or the older `GCS_BUCKET_NAME` and `GCS_FOLDER_PREFIX`.
    pub url: String,
    /// `STORAGE_EMULATOR_HOST`: an emulator that answers instead of Google, `http://127.0.0.1:4443` or without a scheme;
    /// unset: Google.
    pub emulator: Option<String>,
}

impl StoreConfig {
    /// Reads this group alone.
    pub fn from_env(env: super::Env<'_>) -> Result<Self, super::Invalid> {
        let mut reader = Reader::new(env);
        let group = Self::read(&mut reader);
        reader.finish(group)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let url = url(reader);
        let emulator = emulator(reader);
        url.map(|url| Self { url, emulator })
    }

    pub(super) fn for_testing(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            emulator: None,
        }
    }
}

fn url(reader: &mut Reader<'_>) -> Option<String> {
    // A flag leaves no doubt.
    let bucket = reader.text("GCS_BUCKET_NAME").filter(|_| reader.flag(STORE).is_none());
    match (reader.text(STORE), bucket) {
        (Some(url), None) => checked(reader, url),
        (None, Some(bucket)) => from_bucket(reader, &bucket),
        (Some(url), Some(_)) => {
            reader.problem(
                STORE,
                &url,
                "is set, and so is the older GCS_BUCKET_NAME",
                "keep one of them, so that there is no doubt about where backups go",
            );
            None
        }
        (None, None) => {
            reader.missing(STORE, "set it to gs://bucket/prefix or file:///absolute/directory");
            None
        }
    }
}

fn from_bucket(reader: &mut Reader<'_>, bucket: &str) -> Option<String> {
    if bucket.contains('/') {
        let remedy = "write the bucket's name alone; the prefix belongs in GCS_FOLDER_PREFIX";
        reader.problem("GCS_BUCKET_NAME", bucket, "is not the name of a bucket", remedy);
        return None;
    }
    let prefix = reader.text("GCS_FOLDER_PREFIX").unwrap_or_default();
    match prefix.trim_matches('/') {
        "" => Some(format!("gs://{bucket}")),
        prefix => Some(format!("gs://{bucket}/{prefix}")),
    }
}

/// Refuses what cannot be a store, before anything is opened.
fn checked(reader: &mut Reader<'_>, url: String) -> Option<String> {
    let wrong = match url.split_once("://") {
        Some(("gs", rest)) => match rest.split('/').next() {
            None | Some("") => Some("names no bucket"),
            Some(bucket) if bucket.contains(['@', ':', '?', '#']) => Some("does not hold the name of a bucket"),
            Some(_) => None,
        },
        Some(("file", path)) if !path.strip_prefix("localhost").unwrap_or(path).starts_with('/') => {
            Some("does not hold an absolute path")
        }
        Some(("file", _)) => None,
        Some(_) => Some("has an unknown scheme"),
        None => Some("is not the URL of a store"),
    };
    match wrong {
        Some(wrong) => {
            reader.problem(STORE, &url, wrong, EXAMPLES);
            None
        }
        None => Some(url),
    }
}

fn emulator(reader: &mut Reader<'_>) -> Option<String> {
    const NAME: &str = "STORAGE_EMULATOR_HOST";
    let text = reader.text(NAME)?;
    // Google's own clients take it without a scheme as well.
    let with_scheme = match text.contains("://") {
        true => text.clone(),
        false => format!("http://{text}"),
    };
    match Url::parse(&with_scheme) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(text),
        _ => {
            let remedy = "write e.g. http://127.0.0.1:4443, or leave it out to use Google";
            reader.problem(NAME, &text, "is not the URL of an emulator", remedy);
            None
        }
    }
}
