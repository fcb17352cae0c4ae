//! What every page has: its headers, its language, no script or style of its own, and its errors.

use super::{HTML, look, look_with};
use reqwest::Method;
use serde_json::Value;
use testkit::peer::Peer;
use testkit::service::Service;

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; \
     connect-src 'self'; frame-ancestors 'none'; base-uri 'none'";

/// A service with one backup, and its id.
async fn with_a_backup(peer: &Peer) -> (Service, String) {
    let service = Service::over(&peer.url).await;
    let id = service.backup("").await.body["id"].as_str().unwrap().to_owned();
    (service, id)
}

#[tokio::test]
async fn a_page_is_kept_by_nobody_and_runs_and_loads_nothing_but_its_own() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let (service, id) = with_a_backup(&peer).await;
    for path in [
        "/",
        "/ui/backups",
        &format!("/ui/backups/{id}"),
        "/ui/restore",
        &format!("/ui/restore?backup={id}"),
        &format!("/ui/restore?backup={id}&target=new"),
        "/ui/nothing",
    ] {
        let page = look(&service, path).await;
        let header = |name: &str| page.headers[name].to_str().unwrap();
        assert_eq!(header("content-security-policy"), POLICY, "{path}");
        assert_eq!(header("cache-control"), "no-store", "{path}");
        assert_eq!(header("referrer-policy"), "same-origin", "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        for element in &page.html.elements {
            let of_page = element
                .attributes
                .keys()
                .find(|name| *name == "style" || name.starts_with("on"));
            assert_eq!(of_page, None, "{path}: {element:?}");
            assert_ne!(element.name, "style", "{path}");
            if element.name == "script" {
                assert!(
                    element.get("src").is_some() && element.text.is_empty(),
                    "{path}: {element:?}"
                );
            }
        }
        // Every address is one of this service.
        for address in ["href", "src", "action"].iter().flat_map(|name| page.html.values(name)) {
            let is_own = address.starts_with('/') && !address.starts_with("//");
            assert!(is_own || address.starts_with('#'), "{path}: {address}");
        }
        assert_eq!(page.html.named("h1").count(), 1, "{path}");
    }
}

#[tokio::test]
async fn what_a_page_loads_is_there_and_never_changes() {
    let peer = Peer::start(&[]).await;
    let service = Service::over(&peer.url).await;
    let page = look(&service, "/").await;
    let links = page.html.named("link").filter_map(|link| link.get("href"));
    let assets: Vec<_> = links
        .chain(page.html.named("script").filter_map(|s| s.get("src")))
        .collect();
    assert_eq!(assets.len(), 3);
    for path in assets {
        let answer = service.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert!(
            answer.headers()["cache-control"]
                .to_str()
                .unwrap()
                .contains("immutable")
        );
    }
    let (status, error) = service.get("/assets/0123456789abcdef.css").await;
    assert_eq!((status, &error["error"]["code"]), (404, &"not_found".into()));
}

#[tokio::test]
async fn the_language_is_the_browsers_unless_the_address_says_another_one() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let (service, id) = with_a_backup(&peer).await;
    let chinese = ("accept-language", "zh-TW,zh;q=0.9,en;q=0.8");
    for path in ["/".to_owned(), "/ui/backups".to_owned(), format!("/ui/backups/{id}")] {
        let asked = look_with(&service, &path, &[chinese]).await.html;
        let told = look(&service, &format!("{path}?lang=zh-TW")).await.html;
        let english = look_with(&service, &format!("{path}?lang=en"), &[chinese]).await.html;
        let tag = |html: &super::Html| html.named("html").next().unwrap().get("lang").unwrap().to_owned();
        assert_eq!(
            (tag(&asked), tag(&told), tag(&english)),
            ("zh-Hant-TW".into(), "zh-Hant-TW".into(), "en".into())
        );
        assert_eq!(
            asked.named("h1").next().unwrap().text,
            told.named("h1").next().unwrap().text
        );
        assert_ne!(
            asked.named("h1").next().unwrap().text,
            english.named("h1").next().unwrap().text
        );
        // The language goes along where it was chosen.
        let own = |html: &super::Html| {
            html.values("href")
                .into_iter()
                .any(|href| href == "/ui/backups?lang=zh-TW")
        };
        assert!(own(&told) && !own(&asked), "{path}");
    }
}

#[tokio::test]
async fn an_error_is_a_page_for_whoever_reads_pages_and_json_for_others() {
    let peer = Peer::start(&[]).await;
    let service = Service::over(&peer.url).await;
    for path in [
        "/ui/backups/2026-11-22T12-00-00Z",
        "/ui/backups/x",
        "/ui/backups/latest",
        "/ui/nothing",
    ] {
        let page = look(&service, path).await;
        let (status, json) = service.get(path).await;
        assert_eq!(page.status, status, "{path}");
        assert!((400..500).contains(&status), "{path}: {status}");
        let code = json["error"]["code"].as_str().unwrap();
        assert_eq!(page.html.values("data-refused"), [code], "{path}");
        let message = json["error"]["message"].as_str().unwrap();
        assert!(page.html.text().contains(message), "{path}: {message}");
    }
    // The API stays what it is, whoever asks.
    let answer = service
        .request(Method::GET, "/backups")
        .header("accept", HTML)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert!(answer.json::<Value>().await.unwrap()["backups"].is_array());
}

#[tokio::test]
async fn a_page_of_another_site_sees_nothing() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let foreign = [
        ("sec-fetch-site", b"cross-site".as_slice()),
        ("accept", HTML.as_bytes()),
    ];
    let answer = service.send("GET", "/", &foreign, "").await;
    assert_eq!(answer.status, 403);
    let rebound = [("host", b"evil.test".as_slice()), ("accept", HTML.as_bytes())];
    assert_eq!(service.send("GET", "/", &rebound, "").await.status, 403);
}
