//! Who reads a page: in which language, and what it may do.

use super::language::Language;
use super::text::Text;
use crate::server::auth::{Granted, Role};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, Uri, header};
use std::borrow::Cow;
use std::convert::Infallible;
use url::form_urlencoded;

/// What a page is made for.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub(super) language: Language,
    role: Role,
    pub(super) path: String,
    query: Vec<(String, String)>,
    /// Whether the language is that of the address, and so of its links.
    is_chosen: bool,
    pub(super) takes_gzip: bool,
    /// The URL that the reader reaches this service by.
    service: String,
    /// Whether it lets nobody in without a token.
    has_token: bool,
}

impl Reader {
    pub(super) fn of(uri: &Uri, headers: &HeaderMap, extensions: &Extensions) -> Self {
        let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let query: Vec<(String, String)> = query.into_owned().collect();
        let chosen = query.iter().find(|(name, _)| name == "lang");
        let chosen = chosen.and_then(|(_, tag)| Language::of(tag));
        let text = |name: HeaderName| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let is_gzip = |coding: &str| {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
            name.trim().eq_ignore_ascii_case("gzip") && !matches!(weight.trim(), "q=0" | "q=0.0")
        };
        Self {
            language: chosen.unwrap_or_else(|| Language::accepted(text(header::ACCEPT_LANGUAGE))),
            // Who was not let in may do nothing.
            role: extensions.get().map_or(Role::Reader, |Granted(role)| *role),
            path: uri.path().to_owned(),
            query,
            is_chosen: chosen.is_some(),
            takes_gzip: text(header::ACCEPT_ENCODING).split(',').any(is_gzip),
            has_token: headers.contains_key(header::AUTHORIZATION),
            service: service(text(header::HOST), text(HeaderName::from_static("x-forwarded-proto"))),
        }
    }

    pub(super) fn say(&self, text: Text) -> Cow<'static, str> {
        text.in_language(self.language)
    }

    /// Whether a request that needs this role would be let through.
    pub(super) fn may(&self, needed: Role) -> bool {
        self.role >= needed
    }

    /// A parameter of the address; none where it is empty.
    pub(super) fn asked(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// All of that name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.query.iter().filter(move |(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The command that posts to this service.
    pub(super) fn curl(&self, path: &str) -> String {
        let token = match self.service.ends_with(".run.app") {
            true => "-H \"Authorization: Bearer $(gcloud auth print-identity-token)\" ",
            false if self.has_token => "-H \"Authorization: Bearer $TOKEN\" ",
            false => "",
        };
        format!("curl -X POST {token}{}{path}", self.service)
    }

    /// An address for the same reader.
    pub(super) fn link(&self, path: &str, query: &[(&str, &str)]) -> String {
        let language = self.is_chosen.then(|| ("lang", self.language.word()));
        address(path, query.iter().copied().chain(language))
    }

    /// The address of this very page, in this language.
    pub(super) fn here_in(&self, language: Language) -> String {
        let query = self.query.iter().filter(|(name, _)| name != "lang");
        let query = query.map(|(name, value)| (name.as_str(), value.as_str()));
        address(&self.path, query.chain([("lang", language.word())]))
    }

    /// The address of this very page, as it was asked for.
    pub(super) fn here(&self) -> String {
        address(
            &self.path,
            self.query.iter().map(|(name, value)| (name.as_str(), value.as_str())),
        )
    }
}

/// What is no plain host with a port is not repeated in a command.
fn service(host: &str, protocol: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    match host.chars().all(is_plain) && !host.is_empty() {
        true if protocol == "https" => format!("https://{host}"),
        true => format!("http://{host}"),
        false => "http://localhost:8080".to_owned(),
    }
}

fn address<'a>(path: &str, query: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(query)
        .finish();
    match query.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{query}"),
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Reader {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.uri, &parts.headers, &parts.extensions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_command_goes_where_the_reader_is_and_repeats_nothing_else() {
        let token = "-H \"Authorization: Bearer $(gcloud auth print-identity-token)\" ";
        for (host, protocol, told) in [
            ("localhost:8081", "", "http://localhost:8081".to_owned()),
            ("[::1]:80", "", "http://[::1]:80".to_owned()),
            ("10.0.0.5:8080", "http", "http://10.0.0.5:8080".to_owned()),
            ("vm.test", "https", "https://vm.test".to_owned()),
            ("x-1.a.run.app", "https", format!("{token}https://x-1.a.run.app")),
            ("a$(id)b", "", "http://localhost:8080".to_owned()),
            ("a;id", "", "http://localhost:8080".to_owned()),
            ("a b", "https", "http://localhost:8080".to_owned()),
            ("", "", "http://localhost:8080".to_owned()),
        ] {
            let headers = [
                (header::HOST, host),
                (HeaderName::from_static("x-forwarded-proto"), protocol),
            ]
            .map(|(name, value)| (name, HeaderValue::from_str(value).unwrap_or_else(|_| panic!("{value}"))));
            let reader = Reader::of(
                &Uri::from_static("/"),
                &headers.into_iter().collect(),
                &Extensions::new(),
            );
            assert_eq!(reader.curl("/x"), format!("curl -X POST {told}/x"), "{host}");
        }
    }
}
