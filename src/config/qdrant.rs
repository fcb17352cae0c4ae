//! Which Qdrant to back up, and with which key.

use super::reader::Reader;
use super::seconds;
use secrecy::SecretString;
use std::time::Duration;
use url::Url;

/// Qdrant's REST port.
const PORT: u16 = 6333;

/// The Qdrant to back up.
#[derive(Clone, Debug)]
pub struct QdrantConfig {
    /// `QDRANT_URL`, e.g. `http://10.0.0.5:6333`; or the older `QDRANT_HOST` and `QDRANT_PORT` (6333).
    pub url: Url,
    /// `QDRANT_API_KEY`, or the contents of the file that `QDRANT_API_KEY_FILE` names; unset: no key is sent.
    pub api_key: Option<SecretString>,
    /// `BACKUP_IDLE_TIMEOUT_SECS`: longest time without a byte, 5 to 3600; default 60.
    pub idle: Duration,
    /// `BACKUP_CREATE_TIMEOUT_SECS`: longest time in which Qdrant makes one snapshot, 10 s to 7 days; default 6 h.
    pub create_timeout: Duration,
}

impl QdrantConfig {
    fn new(url: Url) -> Self {
        Self {
            url,
            api_key: None,
            idle: Duration::from_secs(60),
            create_timeout: Duration::from_secs(6 * 3600),
        }
    }

    /// Reads this group alone.
    pub fn from_env(env: super::Env<'_>) -> Result<Self, super::Invalid> {
        let mut reader = Reader::new(env);
        let group = Self::read(&mut reader);
        reader.finish(group)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let url = url(reader);
        let api_key = api_key(reader);
        // A stand-in, so that the rest is read even when the URL is wrong.
        let default = Self::new(Url::parse("http://localhost").ok()?);
        let group = Self {
            idle: seconds(reader, "BACKUP_IDLE_TIMEOUT_SECS", default.idle, 5, 3600),
            create_timeout: seconds(
                reader,
                "BACKUP_CREATE_TIMEOUT_SECS",
                default.create_timeout,
                10,
                7 * 86_400,
            ),
            api_key,
            ..default
        };
        url.map(|url| Self { url, ..group })
    }

    pub(super) fn for_testing(url: Url) -> Self {
        Self {
            idle: Duration::from_secs(5),
            create_timeout: Duration::from_secs(30),
            ..Self::new(url)
        }
    }
}

fn url(reader: &mut Reader<'_>) -> Option<Url> {
    match (reader.text("QDRANT_URL"), reader.text("QDRANT_HOST")) {
        (Some(url), None) => checked_url(reader, "QDRANT_URL", &url, &url),
        (None, Some(host)) => from_host(reader, &host),
        (Some(url), Some(_)) => {
            reader.problem(
                "QDRANT_URL",
                &url,
                "is set, and so is the older QDRANT_HOST",
                "keep one of them, so that there is no doubt about which Qdrant is backed up",
            );
            None
        }
        (None, None) => {
            reader.missing(
                "QDRANT_URL",
                "set it to the URL of Qdrant's REST API, e.g. http://10.0.0.5:6333",
            );
            None
        }
    }
}

/// The older pair of variables. QDRANT_PORT alone is not looked at: Kubernetes sets it for a service named `qdrant`.
fn from_host(reader: &mut Reader<'_>, host: &str) -> Option<Url> {
    if host.contains("://") {
        let remedy = "set QDRANT_URL to it instead, and leave QDRANT_HOST out";
        reader.problem("QDRANT_HOST", host, "is a URL, not a host name", remedy);
        return None;
    }
    let port = reader.number("QDRANT_PORT", 1..=u16::MAX).unwrap_or(PORT);
    let is_v6 = host.parse::<std::net::Ipv6Addr>().is_ok();
    let host_in_url = if is_v6 { format!("[{host}]") } else { host.to_owned() };
    if !is_v6 && host.contains([':', '/']) {
        let remedy = "write the name alone; the port belongs in QDRANT_PORT";
        reader.problem("QDRANT_HOST", host, "is not a host name", remedy);
        return None;
    }
    checked_url(reader, "QDRANT_HOST", host, &format!("http://{host_in_url}:{port}"))
}

/// Parses `url`; problems name `variable` and its `value`.
fn checked_url(reader: &mut Reader<'_>, variable: &'static str, value: &str, url: &str) -> Option<Url> {
    const EXAMPLE: &str = "write e.g. http://10.0.0.5:6333";
    let parsed = match Url::parse(url) {
        Ok(parsed) => parsed,
        Err(e) => {
            reader.problem(variable, value, format!("is not a URL: {e}"), EXAMPLE);
            return None;
        }
    };
    let wrong = if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
        Some(("is not an http:// or https:// URL", EXAMPLE))
    } else if !parsed.username().is_empty() || parsed.password().is_some() {
        Some((
            "holds a user name or password",
            "take it out; a key belongs in QDRANT_API_KEY",
        ))
    } else if parsed.query().is_some() || parsed.fragment().is_some() {
        Some((
            "has a query or fragment",
            "take it out; a key belongs in QDRANT_API_KEY",
        ))
    } else {
        None
    };
    match wrong {
        Some((wrong, remedy)) => {
            reader.problem(variable, value, wrong, remedy);
            None
        }
        None => Some(parsed),
    }
}

fn api_key(reader: &mut Reader<'_>) -> Option<SecretString> {
    const KEY: &str = "QDRANT_API_KEY";
    const FILE: &str = "QDRANT_API_KEY_FILE";
    let (variable, key) = match (reader.text(KEY), reader.text(FILE)) {
        (None, None) => return None,
        (Some(key), None) => (KEY, key),
        (None, Some(path)) => match std::fs::read_to_string(&path) {
            // Secrets that are mounted as files often end in a newline.
            Ok(text) => (FILE, text.trim().to_owned()),
            Err(e) => {
                let remedy = "name a file that holds the key alone and that this process may read";
                reader.problem(FILE, &path, format!("cannot be read: {e}"), remedy);
                return None;
            }
        },
        (Some(_), Some(path)) => {
            reader.problem(FILE, &path, "is set, and so is QDRANT_API_KEY", "keep one of them");
            return None;
        }
    };
    // Anything else cannot be sent in a header.
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
        let wrong = "holds no key, or one with spaces, line breaks or non-ASCII characters";
        reader.secret_problem(variable, wrong, "set it to the key alone");
        return None;
    }
    Some(key.into())
}

/// The environment with another Qdrant in the place of the one that is backed up; its key comes from `{prefix}_API_KEY`. The
/// key of the first one never goes to the other.
pub(crate) fn other_qdrant<'a>(
    env: super::Env<'a>,
    url: &str,
    prefix: &'static str,
) -> impl Fn(&str) -> Option<String> + use<'a> {
    let url = url.to_owned();
    move |name| match name {
        "QDRANT_URL" => Some(url.clone()),
        "QDRANT_API_KEY" => env(&format!("{prefix}_API_KEY")),
        "QDRANT_API_KEY_FILE" => env(&format!("{prefix}_API_KEY_FILE")),
        "QDRANT_HOST" | "QDRANT_PORT" => None,
        _ => env(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_one_qdrant_never_goes_to_another() {
        let env = |name: &str| Some(format!("{name}'s value"));
        let other = other_qdrant(&env, "http://other:6333", "RESTORE_QDRANT");
        assert_eq!(other("QDRANT_URL").as_deref(), Some("http://other:6333"));
        assert_eq!(
            other("QDRANT_API_KEY").as_deref(),
            Some("RESTORE_QDRANT_API_KEY's value")
        );
        assert_eq!(other("QDRANT_HOST"), None);
        assert_eq!(other("BACKUP_STORE").as_deref(), Some("BACKUP_STORE's value"));
    }
}
