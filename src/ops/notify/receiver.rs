//! Who is told: a URL, which is a secret as a whole, and what of it is no secret.

use super::payload::Ping;
use crate::ops::events::Operation;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use url::Url;
use uuid::Uuid;

/// More are refused.
pub(crate) const MOST: usize = 16;

/// What a receiver understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Pings by the protocol of Healthchecks.
    Healthchecks,
    /// CloudEvents.
    Webhook,
    Slack,
    /// Google Chat.
    Chat,
}

/// A receiver of notifications.
#[derive(Clone)]
pub struct Receiver {
    kind: Kind,
    url: SecretString,
    host: String,
    /// Of which operations it is told; empty: of all.
    only: Vec<Operation>,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Healthchecks, Self::Webhook, Self::Slack, Self::Chat];

    fn word(self) -> &'static str {
        match self {
            Self::Healthchecks => "healthchecks",
            Self::Webhook => "webhook",
            Self::Slack => "slack",
            Self::Chat => "chat",
        }
    }

    /// That of a host which everybody knows.
    fn of_host(host: &str) -> Self {
        match host {
            "hc-ping.com" => Self::Healthchecks,
            "hooks.slack.com" => Self::Slack,
            "chat.googleapis.com" => Self::Chat,
            _ => Self::Webhook,
        }
    }
}

impl Receiver {
    /// Reads `KIND+https://…#OPERATION+OPERATION`, of which the kind and the operations may be left out.
    ///
    /// # Errors
    /// What is wrong with it, without any part of it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("is not a URL")?;
        let (kind, scheme) = match scheme.split_once('+') {
            Some((word, scheme)) => {
                let kind = Kind::ALL.into_iter().find(|kind| kind.word() == word);
                (Some(kind.ok_or("is of a kind that there is not")?), scheme)
            }
            None => (None, scheme),
        };
        let mut url = Url::parse(&format!("{scheme}://{rest}")).map_err(|_| "is not a URL")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("has neither the scheme https nor http");
        }
        let host = url.host_str().ok_or("has no host")?.to_owned();
        let kind = kind.unwrap_or_else(|| Kind::of_host(&host));
        let only = match url.fragment() {
            None | Some("") if kind == Kind::Healthchecks => vec![Operation::Backup],
            None | Some("") => Vec::new(),
            Some(words) => {
                let operation = |word: &str| {
                    Operation::ALL
                        .into_iter()
                        .find(|operation| operation.to_string() == word)
                };
                let only: Option<Vec<_>> = words.split('+').map(operation).collect();
                only.ok_or("names an operation that there is not behind its #")?
            }
        };
        url.set_fragment(None);
        Ok(Self {
            kind,
            url: SecretString::from(String::from(url)),
            host,
            only,
        })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn wants(&self, operation: Operation) -> bool {
        self.only.is_empty() || self.only.contains(&operation)
    }

    /// Where to send to.
    pub(super) fn url(&self, ping: Ping, run: Option<Uuid>) -> Option<Url> {
        let mut url = Url::parse(self.url.expose_secret()).ok()?;
        if self.kind == Kind::Healthchecks {
            if let Some(end) = ping.path() {
                url.path_segments_mut().ok()?.pop_if_empty().push(end);
            }
            if let Some(run) = run {
                url.query_pairs_mut().append_pair("rid", &run.to_string());
            }
        }
        Some(url)
    }
}

/// Without its secret.
impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.host, self.kind.word())
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, Vec<Operation>) {
        let receiver = Receiver::parse(text).unwrap();
        (receiver.to_string(), receiver.only)
    }

    #[test]
    fn the_kind_is_that_of_the_scheme_or_else_of_the_host() {
        use Operation::{Backup, Drill, Verify};
        for (text, name, only) in [
            ("https://hc-ping.com/uuid", "hc-ping.com (healthchecks)", vec![Backup]),
            (
                "https://hc-ping.com/uuid#verify+drill",
                "hc-ping.com (healthchecks)",
                vec![Verify, Drill],
            ),
            (
                "https://hooks.slack.com/services/T/B/x",
                "hooks.slack.com (slack)",
                vec![],
            ),
            (
                "https://chat.googleapis.com/v1/spaces/A/messages?key=k&token=t",
                "chat.googleapis.com (chat)",
                vec![],
            ),
            ("https://example.com/hook", "example.com (webhook)", vec![]),
            (
                "slack+https://chat.example.com/hooks/x",
                "chat.example.com (slack)",
                vec![],
            ),
            (
                "healthchecks+http://10.0.0.5:8000/ping/x",
                "10.0.0.5 (healthchecks)",
                vec![Backup],
            ),
        ] {
            assert_eq!(read(text), (name.to_owned(), only), "{text}");
        }
    }

    #[test]
    fn what_is_no_receiver_is_refused_without_being_told() {
        for text in [
            "hc-ping.com/secret",
            "ftp://secret/x",
            "teams+https://secret/x",
            "https://secret/x#backups",
            "https://",
            "slack+gopher://secret/",
        ] {
            let wrong = Receiver::parse(text).unwrap_err();
            assert!(!wrong.contains("secret") && !wrong.is_empty(), "{text}: {wrong}");
        }
        let shown = format!(
            "{:?}",
            Receiver::parse("https://u:secret@example.com/secret?secret#drill").unwrap()
        );
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn pings_go_where_the_protocol_says() {
        let run = Uuid::from_u128(7);
        let url = |text: &str, ping, run| Receiver::parse(text).unwrap().url(ping, run).unwrap().to_string();
        let check = "https://hc-ping.com/a/b/";
        assert_eq!(url(check, Ping::Success, None), "https://hc-ping.com/a/b/");
        assert_eq!(
            url("https://hc-ping.com/a", Ping::Fail, None),
            "https://hc-ping.com/a/fail"
        );
        assert_eq!(
            url(check, Ping::Start, Some(run)),
            format!("https://hc-ping.com/a/b/start?rid={run}")
        );
        assert_eq!(
            url("https://hooks.slack.com/x?y=1", Ping::Fail, Some(run)),
            "https://hooks.slack.com/x?y=1"
        );
    }
}
