//! Keeps web pages out.
//!
//! A page that is open in the operator's browser can send requests to `http://localhost`, where the service listens or
//! `gcloud run services proxy` adds the operator's identity. So a browser is let through only when it says that the request
//! comes from a page of this very service, or was typed by the person. What only browsers send cannot be left out by a page:
//! `Sec-…` and `Origin` are not in its hands. curl and Cloud Scheduler send none of it.

use crate::server::error::{HttpError, RequestCode};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Uri, header};
use std::net::IpAddr;
use url::{Host, Url};

const SITE: &str = "sec-fetch-site";
/// Sent by browsers and by hardly anybody else. A page can set some of them, but none of them can it keep from being sent:
/// `Accept-Language` is what is left of a page whose name was made to point to this machine and that disguises its `User-Agent`.
const TELLS: [&str; 8] = [
    "origin",
    "referer",
    "cookie",
    "accept-language",
    "access-control-request-method",
    "access-control-request-headers",
    "upgrade-insecure-requests",
    "dnt",
];

/// Refuses what a browser sends for a page of another site, or without saying for which.
pub(super) fn check(method: &Method, headers: &HeaderMap) -> Result<(), HttpError> {
    match (site(headers), browser_sign(headers)) {
        (FetchSite::Unsaid, None) | (FetchSite::SameOrigin, _) => {}
        // An address that a person typed; a page cannot bring that about.
        (FetchSite::None, _) if matches!(*method, Method::GET | Method::HEAD) => {}
        (FetchSite::Unsaid, Some(tell)) => {
            return Err(refused(format!(
                "the request looks like a browser's ({tell}) and does not name its page (no Sec-Fetch-Site)"
            )));
        }
        (FetchSite::None | FetchSite::Other, _) => {
            return Err(refused(
                "a browser sent this request for a page of another site (Sec-Fetch-Site)".to_owned(),
            ));
        }
    }
    match headers
        .get_all(header::ORIGIN)
        .iter()
        .all(|origin| origin.to_str().is_ok_and(is_trusted))
    {
        true => Ok(()),
        false => Err(refused(
            "a browser sent this request for a page of another machine (Origin)".to_owned(),
        )),
    }
}

/// Refuses a name other than this machine's own, for a service that listens for it alone: a page can make its own name point
/// to `127.0.0.1`, and then its requests have that name in `Host`.
pub(super) fn check_host(uri: &Uri, headers: &HeaderMap) -> Result<(), HttpError> {
    let in_headers = headers.get_all(header::HOST);
    let names: Option<Vec<Authority>> = in_headers
        .iter()
        .map(|value| value.to_str().ok()?.parse().ok())
        .chain(uri.authority().cloned().map(Some))
        .collect();
    match names {
        Some(names) if !names.is_empty() && names.iter().all(|name| is_local(name.host())) => Ok(()),
        _ => Err(HttpError::new(
            RequestCode::HostRefused,
            "the request is for a name that is not this machine's own (Host)",
            "ask for http://localhost or http://127.0.0.1 with the port; a proxy in front has to set Host so",
        )),
    }
}

enum FetchSite {
    Unsaid,
    SameOrigin,
    None,
    Other,
}

fn site(headers: &HeaderMap) -> FetchSite {
    let mut values = headers.get_all(SITE).iter();
    match (values.next().map(|value| value.as_bytes()), values.next()) {
        (None, _) => FetchSite::Unsaid,
        (Some(b"same-origin"), None) => FetchSite::SameOrigin,
        (Some(b"none"), None) => FetchSite::None,
        _ => FetchSite::Other,
    }
}

/// What gives a browser away.
fn browser_sign(headers: &HeaderMap) -> Option<&str> {
    let agent = headers.get(header::USER_AGENT).map(|agent| agent.as_bytes());
    if agent.is_some_and(|agent| agent.starts_with(b"Mozilla/")) {
        return Some("User-Agent");
    }
    let mut names = headers.keys().map(|name| name.as_str());
    names.find(|name| TELLS.contains(name) || name.starts_with("sec-"))
}

/// The origin of a page that this machine serves. Which of its pages it is, `Sec-Fetch-Site` says.
fn is_trusted(origin: &str) -> bool {
    let Ok(url) = Url::parse(origin) else {
        return false;
    };
    let local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    // Nothing but scheme, host and port, as browsers write it.
    local && url.scheme() == "http" && url.origin().ascii_serialization() == origin
}

fn is_local(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn refused(message: String) -> HttpError {
    HttpError::new(
        RequestCode::BrowserRefused,
        message,
        "call it with curl or the command line; in a browser, open http://localhost with the port itself",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_origins_of_this_machine_are_trusted() {
        for origin in [
            "http://localhost",
            "http://localhost:8080",
            "http://127.0.0.1:1",
            "http://[::1]:8080",
        ] {
            assert!(is_trusted(origin), "{origin}");
        }
        for origin in [
            "null",
            "",
            "http://",
            "http://evil.test",
            "http://localhost.evil.test",
            "http://evil.test#localhost",
            "http://localhost@evil.test",
            "http://evil@localhost",
            "http://localhost/",
            "http://localhost:80",
            "HTTP://localhost",
            "http://127.1",
            "http://0.0.0.0",
            "http://10.0.0.1:8080",
            "https://localhost",
            "file://localhost",
            "http://localhost, http://evil.test",
        ] {
            assert!(!is_trusted(origin), "{origin}");
        }
    }

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in [
            "localhost",
            "LOCALHOST:1",
            "127.0.0.1:8080",
            "127.9.9.9",
            "[::1]:8080",
            "[::1]",
        ] {
            let host: Authority = host.parse().unwrap();
            assert!(is_local(host.host()), "{host}");
        }
        for host in [
            "evil.test",
            "localhost.evil.test",
            "0.0.0.0:8080",
            "10.0.0.1",
            "[::]:80",
            "user@evil.test",
        ] {
            let host: Authority = host.parse().unwrap();
            assert!(!is_local(host.host()), "{host}");
        }
    }
}
