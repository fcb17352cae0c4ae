//! Which Qdrant to back up, and with which key.

use super::reader::Reader;
use super::seconds;
use super::settings::{flag_of, value};
use super::tls;
use crate::wire::qdrant::{NodeAddresses, Tls, TlsNames, is_key};
use secrecy::SecretString;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// Qdrant's REST port.
const PORT: u16 = 6333;

/// The variables that name a Qdrant and its key.
#[derive(Debug)]
pub(crate) struct Variables {
    url: &'static str,
    /// The older pair for host and port, where there is one.
    host_and_port: Option<(&'static str, &'static str)>,
    nodes: &'static str,
    key: &'static str,
    key_file: &'static str,
    ca_file: &'static str,
    client_cert_file: &'static str,
    client_key_file: &'static str,
}

impl Variables {
    pub(super) fn tls(&self) -> TlsNames {
        TlsNames {
            url: self.url,
            ca: self.ca_file,
            cert: self.client_cert_file,
            key: self.client_key_file,
        }
    }

    /// Whether they name a Qdrant that is asked without TLS.
    pub(super) fn is_plain(&self, env: super::Env<'_>) -> bool {
        let older = || value(env, self.host_and_port?.0);
        let is_tls = |url: &str| url.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("https:"));
        value(env, self.url).or_else(older).is_some_and(|url| !is_tls(&url))
    }
}

/// The Qdrant that is backed up.
pub(crate) const LIVE: Variables = Variables {
    url: "QDRANT_URL",
    host_and_port: Some(("QDRANT_HOST", "QDRANT_PORT")),
    nodes: "QDRANT_NODES",
    key: "QDRANT_API_KEY",
    key_file: "QDRANT_API_KEY_FILE",
    ca_file: "QDRANT_CA_FILE",
    client_cert_file: "QDRANT_CLIENT_CERT_FILE",
    client_key_file: "QDRANT_CLIENT_KEY_FILE",
};

/// The Qdrant for drills.
pub(crate) const DRILL: Variables = Variables {
    url: "DRILL_QDRANT_URL",
    host_and_port: None,
    nodes: "DRILL_QDRANT_NODES",
    key: "DRILL_QDRANT_API_KEY",
    key_file: "DRILL_QDRANT_API_KEY_FILE",
    ca_file: "DRILL_QDRANT_CA_FILE",
    client_cert_file: "DRILL_QDRANT_CLIENT_CERT_FILE",
    client_key_file: "DRILL_QDRANT_CLIENT_KEY_FILE",
};

/// The Qdrant of `restore --to`, whose URL is an argument.
pub(crate) const RESTORE: Variables = Variables {
    url: "--to",
    host_and_port: None,
    nodes: "RESTORE_QDRANT_NODES",
    key: "RESTORE_QDRANT_API_KEY",
    key_file: "RESTORE_QDRANT_API_KEY_FILE",
    ca_file: "RESTORE_QDRANT_CA_FILE",
    client_cert_file: "RESTORE_QDRANT_CLIENT_CERT_FILE",
    client_key_file: "RESTORE_QDRANT_CLIENT_KEY_FILE",
};

/// The Qdrant to back up.
#[derive(Clone, Debug)]
pub struct QdrantConfig {
    /// `QDRANT_URL`, e.g. `http://10.0.0.5:6333`; or the older `QDRANT_HOST` and `QDRANT_PORT` (6333).
    pub url: Url,
    /// `QDRANT_NODES`: where the nodes are, if it is a cluster of several.
    pub nodes: NodeAddresses,
    /// `QDRANT_API_KEY`, or the contents of the file that `QDRANT_API_KEY_FILE` names; unset: no key is sent.
    pub api_key: Option<SecretString>,
    /// That file: it is read again when Qdrant refuses the key.
    pub(crate) api_key_file: Option<PathBuf>,
    /// `QDRANT_CA_FILE`, and `QDRANT_CLIENT_CERT_FILE` with `QDRANT_CLIENT_KEY_FILE`: PEM files for https.
    pub tls: Tls,
    /// `BACKUP_IDLE_TIMEOUT_SECS`: longest time without a byte, 5 to 3600; default 60.
    pub idle: Duration,
    /// `BACKUP_START_TIMEOUT_SECS`: how long to wait for the first answer, up to 600; default 60.
    pub(crate) start: Duration,
    /// `BACKUP_FIRST_BYTE_TIMEOUT_SECS`: longest time until the first byte of a stream, 10 s to a day; default 300 s.
    pub first_byte: Duration,
    /// `BACKUP_CREATE_TIMEOUT_SECS`: longest time in which Qdrant makes one snapshot, 10 s to 7 days; default 6 h.
    pub create_timeout: Duration,
}

impl QdrantConfig {
    fn new(url: Url) -> Self {
        Self {
            url,
            nodes: NodeAddresses::One,
            api_key: None,
            api_key_file: None,
            tls: Tls::default(),
            idle: Duration::from_secs(60),
            start: Duration::from_secs(60),
            first_byte: Duration::from_secs(300),
            create_timeout: Duration::from_secs(6 * 3600),
        }
    }

    /// Reads this group alone.
    pub fn from_env(env: super::Env<'_>) -> Result<Self, super::Invalid> {
        let mut reader = Reader::new(env);
        let group = Self::read(&mut reader, &LIVE);
        reader.finish(group)
    }

    /// The URL alone of the Qdrant that is backed up, if it is one.
    pub(crate) fn live_url(env: super::Env<'_>) -> Option<Url> {
        url(&mut Reader::new(env), &LIVE)
    }

    /// Reads the group of the Qdrant that `variables` name. The key of one Qdrant never goes to another.
    pub(super) fn read(reader: &mut Reader<'_>, variables: &Variables) -> Option<Self> {
        let url = url(reader, variables);
        let nodes = nodes(reader, variables);
        let api_key = api_key(reader, variables);
        let tls = tls::read(reader, variables.tls());
        // A stand-in, so that the rest is read even when the URL is wrong.
        let default = Self::new(Url::parse("http://localhost").ok()?);
        let group = Self {
            api_key_file: reader.text(variables.key_file).map(PathBuf::from),
            idle: seconds(reader, "BACKUP_IDLE_TIMEOUT_SECS", default.idle, 5, 3600),
            start: seconds(reader, "BACKUP_START_TIMEOUT_SECS", default.start, 0, 600),
            first_byte: seconds(reader, "BACKUP_FIRST_BYTE_TIMEOUT_SECS", default.first_byte, 10, 86_400),
            create_timeout: seconds(
                reader,
                "BACKUP_CREATE_TIMEOUT_SECS",
                default.create_timeout,
                10,
                7 * 86_400,
            ),
            nodes,
            api_key,
            tls,
            ..default
        };
        url.map(|url| Self { url, ..group })
    }

    pub(super) fn for_testing(url: Url) -> Self {
        Self {
            idle: Duration::from_secs(5),
            start: Duration::ZERO,
            create_timeout: Duration::from_secs(30),
            ..Self::new(url)
        }
    }
}

fn url(reader: &mut Reader<'_>, variables: &Variables) -> Option<Url> {
    let older = variables
        .host_and_port
        // A flag leaves no doubt.
        .filter(|_| reader.flag(variables.url).is_none())
        .and_then(|(host, port)| Some((host, port, reader.text(host)?)));
    match (reader.text(variables.url), older) {
        (Some(url), None) => checked_url(reader, variables.url, &url, &url, variables.key),
        (None, Some((host, port, value))) => from_host(reader, host, port, &value, variables.key),
        (Some(url), Some((host, ..))) => {
            reader.problem(
                variables.url,
                &url,
                format!("is set, and so is the older {host}"),
                "keep one of them, so that there is no doubt about which Qdrant is backed up",
            );
            None
        }
        (None, None) => {
            reader.missing(
                variables.url,
                "set it to the URL of Qdrant's REST API, e.g. http://10.0.0.5:6333",
            );
            None
        }
    }
}

/// The nodes of a cluster: URLs with commas between them, or `dns://HOST:PORT`.
fn nodes(reader: &mut Reader<'_>, variables: &Variables) -> NodeAddresses {
    const EXAMPLE: &str =
        "write the REST URL of each node, with commas, or dns://HOST:6333 for all addresses of a name";
    let variable = variables.nodes;
    let Some(list) = reader.text(variable) else {
        return NodeAddresses::One;
    };
    if list.starts_with("dns://") {
        let name = Url::parse(&list).ok().and_then(|url| {
            let is_plain = matches!(url.path(), "" | "/") && url.username().is_empty() && url.query().is_none();
            Some((
                url.host_str().filter(|_| is_plain)?.to_owned(),
                url.port().unwrap_or(PORT),
            ))
        });
        return match name {
            Some((host, port)) => NodeAddresses::Dns { host, port },
            None => {
                reader.problem(variable, &list, "is not dns://HOST:PORT", EXAMPLE);
                NodeAddresses::One
            }
        };
    }
    let urls = list.split(',').map(str::trim).filter(|url| !url.is_empty());
    let urls: Option<Vec<Url>> = urls
        .map(|url| checked_url(reader, variable, &list, url, variables.key))
        .collect();
    urls.map_or(NodeAddresses::One, NodeAddresses::Urls)
}

/// The older pair of variables. QDRANT_PORT alone is not looked at: Kubernetes sets it for a service named `qdrant`.
fn from_host(
    reader: &mut Reader<'_>,
    variable: &'static str,
    port: &'static str,
    host: &str,
    key: &'static str,
) -> Option<Url> {
    if host.contains("://") {
        let remedy = "set QDRANT_URL to it instead, and leave QDRANT_HOST out";
        reader.problem(variable, host, "is a URL, not a host name", remedy);
        return None;
    }
    if let Some(link) = reader.text(port).filter(|value| value.contains("://")) {
        let wrong = "is an address and no port: Kubernetes sets it so for a service named \"qdrant\"";
        let remedy = "set QDRANT_URL instead of QDRANT_HOST; or set QDRANT_PORT to the port, or enableServiceLinks: false in the pod";
        reader.problem(port, &link, wrong, remedy);
        return None;
    }
    let port = reader.number(port, 1..=u16::MAX).unwrap_or(PORT);
    let is_v6 = host.parse::<std::net::Ipv6Addr>().is_ok();
    let host_in_url = if is_v6 { format!("[{host}]") } else { host.to_owned() };
    if !is_v6 && host.contains([':', '/']) {
        let remedy = "write the name alone; the port belongs in QDRANT_PORT";
        reader.problem(variable, host, "is not a host name", remedy);
        return None;
    }
    checked_url(reader, variable, host, &format!("http://{host_in_url}:{port}"), key)
}

/// Parses `url`; problems name `variable` and its `value`, and `key`, the variable for what does not belong in it.
fn checked_url(
    reader: &mut Reader<'_>,
    variable: &'static str,
    value: &str,
    url: &str,
    key: &'static str,
) -> Option<Url> {
    const EXAMPLE: &str = "write e.g. http://10.0.0.5:6333";
    let take_out = format!("take it out; a key belongs in {key}");
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
        Some(("holds a user name or password", take_out.as_str()))
    } else if parsed.query().is_some() || parsed.fragment().is_some() {
        Some(("has a query or fragment", take_out.as_str()))
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

fn api_key(reader: &mut Reader<'_>, variables: &Variables) -> Option<SecretString> {
    let (in_env, in_file) = (variables.key, variables.key_file);
    let flag = reader.flag(in_file);
    // The file of a flag leaves no doubt about the key.
    let key = reader.text(in_env).filter(|_| flag.is_none());
    let is_set = key.is_some() || reader.text(in_file).is_some();
    let variable = if key.is_some() { in_env } else { in_file };
    if is_set && flag.is_none() && is_of_another(reader, variables, variable) {
        let url = variables.url;
        let url_flag = reader.flag(url).unwrap_or(url);
        let those = if reader.is_from_file(variable) {
            "file names"
        } else {
            "variables name"
        };
        let wrong = format!("is the key of the Qdrant that the {those}, and {url_flag} names another one");
        let remedy = match flag_of(in_file) {
            Some(file) => format!("unset it, or name the file with the other one's key by {file}"),
            None => "unset it".to_owned(),
        };
        reader.secret_problem(variable, wrong, remedy);
        return None;
    }
    let (variable, key) = match (key, reader.text(in_file)) {
        (None, None) => return None,
        (Some(key), None) => (in_env, key),
        (None, Some(path)) => match std::fs::read_to_string(&path) {
            // Secrets that are mounted as files often end in a newline.
            Ok(text) => (in_file, text.trim().to_owned()),
            Err(e) => {
                let remedy = "name a file that holds the key alone and that this process may read";
                reader.problem(in_file, &path, format!("cannot be read: {e}"), remedy);
                return None;
            }
        },
        (Some(_), Some(path)) => {
            let wrong = format!("is set, and so is {in_env}");
            reader.problem(in_file, &path, wrong, "keep one of them");
            return None;
        }
    };
    // Anything else cannot be sent in a header.
    if !is_key(&key) {
        let wrong = "holds no key, or one with spaces, line breaks or non-ASCII characters";
        reader.secret_problem(variable, wrong, "set it to the key alone");
        return None;
    }
    Some(key.into())
}

/// Whether the Qdrant is named by what goes before that from which the key `key` comes, and is another one than is named there: a
/// flag before variables, or either of them before the file. The key is not for it.
fn is_of_another(reader: &Reader<'_>, variables: &Variables, key: &str) -> bool {
    let older = || {
        let (host, port) = variables.host_and_port?;
        let port = reader.variable(port).unwrap_or_else(|| PORT.to_string());
        Some(format!("http://{}:{port}", reader.variable(host)?))
    };
    let below = || reader.variable(variables.url).or_else(older);
    let (given, named) = match reader.is_from_file(key) {
        true => (reader.text(variables.url).or_else(below), reader.file(variables.url)),
        false => (
            reader.flag(variables.url).and_then(|_| reader.text(variables.url)),
            below(),
        ),
    };
    let parsed = |url: Option<String>| url.and_then(|url| Url::parse(&url).ok());
    match (parsed(given), named) {
        (Some(given), Some(named)) => Url::parse(&named).ok() != Some(given),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn the_key_of_one_qdrant_never_goes_to_another() {
        let env = |name: &str| match name {
            "--to" | "DRILL_QDRANT_URL" => Some("http://other:6333".to_owned()),
            "QDRANT_HOST" => None,
            name if name.ends_with("_SECS") => None,
            name if name.ends_with("_NODES") => None,
            name if name.starts_with("--") || name.ends_with("_FILE") => None,
            name => Some(format!("key-of-{name}")),
        };
        for (variables, key) in [
            (RESTORE, "key-of-RESTORE_QDRANT_API_KEY"),
            (DRILL, "key-of-DRILL_QDRANT_API_KEY"),
        ] {
            let mut reader = Reader::new(&env);
            let other = QdrantConfig::read(&mut reader, &variables);
            let other = reader.finish(other).unwrap();
            assert_eq!(other.url.as_str(), "http://other:6333/");
            assert_eq!(other.api_key.unwrap().expose_secret(), key);
        }
    }
}
