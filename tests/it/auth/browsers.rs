//! Web pages are kept out, whatever mode; what is no browser does not notice.

use super::{MOZILLA, start};
use qdrant_backup::server::auth::{Mode, Role, Roles};
use std::time::Duration;
use testkit::peer::Peer;

type Headers<'a> = Vec<(&'a str, &'a str)>;

const LANGUAGE: (&str, &str) = ("accept-language", "en-US,en;q=0.9");
const AGENT: (&str, &str) = ("user-agent", MOZILLA);
const JWT: &str = "Bearer e30.eyJlbWFpbCI6Im1lQHgudGVzdCJ9.SIGNATURE_REMOVED_BY_GOOGLE";

/// What a current browser sends along with everything, to an address that it trusts.
fn browser<'a>(site: &'a str, mode: &'a str, more: &[(&'a str, &'a str)]) -> Headers<'a> {
    let fetch = [
        ("sec-fetch-site", site),
        ("sec-fetch-mode", mode),
        ("sec-fetch-dest", "empty"),
    ];
    [&[AGENT, LANGUAGE, ("accept", "*/*")], &fetch[..], more].concat()
}

/// Who asks, its method, its headers, and the code of the refusal; none: it is let in.
fn callers(local: &str) -> Vec<(&'static str, &'static str, Headers<'_>, Option<&'static str>)> {
    let refused = Some("browser_refused");
    let evil = ("origin", "http://evil.test");
    let own = ("origin", local);
    let form = ("content-type", "text/plain");
    let get = "GET";
    let post = "POST";
    let curl = vec![("user-agent", "curl/8.14.1"), ("accept", "*/*")];
    let curl_data = [&curl[..], &[("content-type", "application/x-www-form-urlencoded")]].concat();
    let proxied = [
        &curl[..],
        &[
            ("x-serverless-authorization", JWT),
            ("x-forwarded-for", "203.0.113.7"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=\"203.0.113.7\";proto=https"),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ("x-cloud-trace-context", "4bf92f3577b34da6a3ce929d0e0e4736/1;o=1"),
        ],
    ]
    .concat();
    let scheduler = vec![
        ("user-agent", "Google-Cloud-Scheduler"),
        ("authorization", JWT),
        ("content-type", "application/json"),
        ("x-cloudscheduler", "true"),
        ("x-cloudscheduler-jobname", "qdrant-backup-hourly"),
        ("x-cloudscheduler-scheduletime", "2026-11-22T12:00:00Z"),
        ("x-forwarded-for", "107.178.195.1"),
        ("x-forwarded-proto", "https"),
        ("accept-encoding", "gzip, deflate, br"),
    ];
    let uptime = vec![
        (
            "user-agent",
            "GoogleStackdriverMonitoring-UptimeChecks(https://cloud.google.com/monitoring)",
        ),
        ("authorization", JWT),
        ("accept-encoding", "gzip"),
    ];
    let preflight = [
        evil,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
        ("access-control-request-private-network", "true"),
    ];
    vec![
        ("curl", get, curl.clone(), None),
        ("curl -d {}", post, curl_data, None),
        ("curl through gcloud's proxy", post, proxied, None),
        ("Cloud Scheduler", post, scheduler, None),
        ("an uptime check", get, uptime, None),
        ("no header at all", get, vec![], None),
        (
            "a page of this service reads",
            get,
            browser("same-origin", "cors", &[("referer", local)]),
            None,
        ),
        (
            "a page of this service acts",
            post,
            browser("same-origin", "cors", &[own]),
            None,
        ),
        (
            "an address that is typed",
            get,
            browser("none", "navigate", &[("sec-fetch-user", "?1")]),
            None,
        ),
        (
            "an action that is typed",
            post,
            browser("none", "navigate", &[]),
            refused,
        ),
        (
            "fetch() of another site",
            post,
            browser("cross-site", "no-cors", &[evil, form]),
            refused,
        ),
        (
            "a form of another site",
            post,
            browser("cross-site", "navigate", &[evil, form]),
            refused,
        ),
        (
            "an image of another site",
            get,
            browser("cross-site", "no-cors", &[]),
            refused,
        ),
        (
            "a link of another site",
            get,
            browser("cross-site", "navigate", &[]),
            refused,
        ),
        (
            "a page of another port",
            post,
            browser("same-site", "cors", &[("origin", "http://localhost:3000")]),
            refused,
        ),
        (
            "a sandboxed frame",
            post,
            browser("cross-site", "cors", &[("origin", "null")]),
            refused,
        ),
        (
            "a preflight",
            "OPTIONS",
            browser("cross-site", "cors", &preflight),
            refused,
        ),
        ("a preflight of an old browser", "OPTIONS", preflight.to_vec(), refused),
        (
            "same-origin of an origin elsewhere",
            post,
            browser("same-origin", "cors", &[evil]),
            refused,
        ),
        (
            "same-origin of no origin",
            post,
            browser("same-origin", "cors", &[("origin", "null")]),
            refused,
        ),
        (
            "two origins",
            post,
            browser("same-origin", "cors", &[own, evil]),
            refused,
        ),
        (
            "two sites",
            get,
            browser("same-origin", "cors", &[("sec-fetch-site", "cross-site")]),
            refused,
        ),
        ("a site in capitals", get, browser("Same-Origin", "cors", &[]), refused),
        (
            "an old browser reads",
            get,
            vec![AGENT, LANGUAGE, ("referer", "http://evil.test/")],
            refused,
        ),
        ("an old browser acts", post, vec![AGENT, LANGUAGE, evil, form], refused),
        ("a browser's name alone", get, vec![AGENT], refused),
        (
            "a page that disguises the browser",
            get,
            vec![("user-agent", "curl/8.14.1"), ("accept-language", "*")],
            refused,
        ),
        ("an origin alone", post, vec![own], refused),
        ("Sec-Fetch-Mode alone", get, vec![("sec-fetch-mode", "cors")], refused),
        (
            "client hints alone",
            get,
            vec![("sec-ch-ua", "\"Chromium\";v=\"142\"")],
            refused,
        ),
        ("a cookie alone", get, vec![("cookie", "a=b")], refused),
    ]
}

#[tokio::test]
async fn pages_are_kept_out_in_all_modes_and_nobody_else() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    for (name, mode) in [("none", Mode::None), ("iam", Mode::Iam(Roles::new(Some(Role::Admin))))] {
        let service = start(mode, &peer.url).await;
        let local = format!("http://{}", service.address);
        println!(
            "\n{:<38} {:<8} {:>6}  code (AUTH_MODE={name})",
            "who", "method", "status"
        );
        for (who, method, mut headers, refusal) in callers(&local) {
            // Cloud Run lets nobody through without one.
            if name == "iam" && !headers.iter().any(|(_, value)| *value == JWT) {
                headers.push(("authorization", JWT));
            }
            let path = if method == "GET" { "/backups" } else { "/backup" };
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
            let answer = service.send(method, path, &headers, "{}").await;
            // The next backup need not wait for a second of its own.
            service.hands.pass(Duration::from_secs(1));
            println!("{who:<38} {method:<8} {:>6}  {}", answer.status, answer.result().1);
            match refusal {
                None => assert_eq!(answer.status, 200, "{who}: {}", answer.body),
                Some(code) => assert_eq!(answer.result(), (403, code), "{who}"),
            }
        }
    }
}

#[tokio::test]
async fn a_name_that_was_made_to_point_here_is_refused_where_nobody_is_asked_who_he_is() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let local = start(Mode::None, &peer.url).await;
    // The proxy and Cloud Run have their own names.
    let on_cloud_run = start(Mode::Iam(Roles::new(Some(Role::Admin))), &peer.url).await;
    let port = local.address.port();
    for (host, allowed) in [
        (format!("127.0.0.1:{port}"), true),
        (format!("localhost:{port}"), true),
        (format!("[::1]:{port}"), true),
        ("LOCALHOST".to_owned(), true),
        ("evil.test".to_owned(), false),
        (format!("evil.test:{port}"), false),
        (format!("localhost.evil.test:{port}"), false),
        (format!("127.0.0.1.evil.test:{port}"), false),
        (format!("0.0.0.0:{port}"), false),
        (format!("192.168.0.7:{port}"), false),
        ("backup-abc-de.a.run.app".to_owned(), false),
        (String::new(), false),
    ] {
        let answer = local.send("POST", "/backup", &[("host", host.as_bytes())], "{}").await;
        local.hands.pass(Duration::from_secs(1));
        let expected = if allowed { (200, "") } else { (403, "host_refused") };
        assert_eq!(answer.result(), expected, "{host:?}");
        if !host.is_empty() {
            let answer = on_cloud_run
                .send(
                    "POST",
                    "/backup",
                    &[("host", host.as_bytes()), ("authorization", JWT.as_bytes())],
                    "{}",
                )
                .await;
            on_cloud_run.hands.pass(Duration::from_secs(1));
            assert_eq!(answer.status, 200, "{host:?}");
        }
    }
    let two = [("host", &b"localhost"[..]), ("host", b"evil.test")];
    assert_eq!(local.send("GET", "/backups", &two, "").await.status, 403);
    let absolute = local
        .send("GET", "http://evil.test/backups", &[("host", b"localhost")], "")
        .await;
    assert_eq!(absolute.result(), (403, "host_refused"));
}
