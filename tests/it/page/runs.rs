//! The page of a run that has ended tells what it came to.

use super::look;
use serde_json::Value;
use std::time::Duration;
use testkit::peer::Peer;
use testkit::service::{Service, Setup};

/// Begins an operation, waits for its end, and answers it as `GET /v1/operations/{id}` does.
async fn done(service: &Service, path: &str, body: &str) -> Value {
    let (status, answer) = service.post(&format!("{path}?wait=true"), body).await;
    let id = match status {
        200 => answer["id"].as_str(),
        _ => answer["operation"].as_str(),
    };
    let id = id.unwrap_or_else(|| panic!("{status} {answer}"));
    service.look(&format!("/v1/operations/{id}")).await.body
}

async fn page_of(service: &Service, operation: &Value) -> super::html::Html {
    let id = operation["id"].as_str().unwrap();
    look(service, &format!("/ui/runs/{id}")).await.html
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_tells_what_came_back_under_which_name_and_where() {
    let peer = Peer::start(&[("docs", 1000), ("a&b", 10)]).await;
    let dir = tempfile::tempdir().unwrap();
    let store = url::Url::from_directory_path(dir.path()).unwrap();
    let env = [("QDRANT_URL", peer.url.as_str()), ("BACKUP_STORE", store.as_str())];
    let first = Service::start(&env).await;
    let made = done(&first, "/v1/backups", "{}").await;
    let page = page_of(&first, &made).await;
    let told = page.one("data-report", "backup");
    assert!(
        told.text.contains("docs100") && told.text.contains("a&b"),
        "{}",
        told.text
    );
    assert_eq!(page.values("data-came"), ["saved", "saved"]);

    let restored = done(&first, "/v1/restores", r#"{"id": "latest", "into": "{}-restored"}"#).await;
    assert_eq!(restored["state"], "succeeded", "{restored}");
    let page = page_of(&first, &restored).await;
    let told = page.one("data-report", "restore");
    for text in ["docs-restored", "a&b-restored", "100", peer.url.trim_end_matches('/')] {
        assert!(told.text.contains(text), "{text}: {}", told.text);
    }
    assert_eq!(page.values("data-came"), ["restored", "restored"]);
    let ended = page.one("data-ended", "");
    assert!(ended.text.contains("took"), "{}", ended.text);

    // Whoever comes after a restart is told the names at least.
    first.stop().await;
    let second = Service::start(&env).await;
    let page = page_of(&second, &restored).await;
    assert_eq!(page.values("data-report").len(), 0);
    assert!(page.text().contains("docs → docs-restored"), "{}", page.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_tells_the_aliases_that_it_moved() {
    let peer = Peer::start(&[("docs_v1", 1000)]).await;
    peer.lock().aliases.push(("live".to_owned(), "docs_v1".to_owned()));
    let service = Service::over(&peer.url).await;
    done(&service, "/v1/backups", "{}").await;
    let swapped = done(&service, "/v1/restores", r#"{"id": "latest", "swap": true}"#).await;
    assert_eq!(swapped["state"], "succeeded", "{swapped}");
    let page = page_of(&service, &swapped).await;
    let told = &page.one("data-report", "restore").text;
    assert!(told.contains("live"), "{told}");
    // What it left is to be deleted by hand.
    assert!(told.contains("by hand") && told.contains("docs_v1"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_tells_what_is_wrong_and_the_page_of_the_backup_does_so_too() {
    let peer = Peer::start(&[("docs", 1000), ("news", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let made = done(&service, "/v1/backups", "{}").await;
    let id = made["backup_id"].as_str().unwrap();
    let detail = service.look(&format!("/backups/{id}")).await.body;
    let key = detail["collections"][0]["artifacts"][0]["key"].as_str().unwrap();
    assert!(detail["damage_found"].is_null(), "{detail}");
    std::fs::remove_file(service.dir().join(key)).unwrap();

    let verified = done(&service, "/v1/verifications", &format!(r#"{{"id": "{id}"}}"#)).await;
    assert_eq!(verified["error"]["code"], "backup_damaged", "{verified}");
    // Only what was read is counted.
    let progress = &verified["progress"];
    assert_eq!(progress["bytes_done"], verified["report"]["bytes"], "{verified}");
    assert!(
        progress["bytes_done"].as_u64() < progress["bytes_total"].as_u64(),
        "{progress}"
    );
    assert!(progress["part"].as_f64().unwrap() < 1.0, "{progress}");

    let missing = format!("{key} is missing");
    let page = page_of(&service, &verified).await;
    let told = page.one("data-report", "verify");
    assert!(told.text.contains(&missing), "{}", told.text);
    assert_eq!(page.values("data-came")[0], "damaged");

    let page = look(&service, &format!("/ui/backups/{id}")).await.html;
    let notice = page.one("data-notice", "damaged");
    assert!(
        notice.text.contains("docs") && notice.text.contains(&missing),
        "{}",
        notice.text
    );
    let detail = service.look(&format!("/backups/{id}")).await.body;
    let found = &detail["damage_found"][0];
    assert_eq!(
        (&found["collection"], &found["message"]),
        (&"docs".into(), &missing.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_tells_its_verdict_and_a_prune_what_is_gone() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let mut setup = Setup::over(&peer.url);
    setup.config.retention.policy.last = 1;
    setup.config.retention.policy.min_age = Duration::ZERO;
    let service = setup.start().await;
    let first = done(&service, "/v1/backups", "{}").await;
    done(&service, "/v1/backups", "{}").await;
    let drilled = done(&service, "/v1/drills", r#"{"id": "latest", "same_qdrant": true}"#).await;
    let page = page_of(&service, &drilled).await;
    assert_eq!(drilled["report"]["verdict"], "passed", "{drilled}");
    assert_eq!(page.values("data-came"), ["passed"]);
    let told = &page.one("data-report", "drill").text;
    assert!(told.contains("100") && told.contains("Passed"), "{told}");

    let pruned = done(&service, "/v1/prunes", r#"{"dry_run": false}"#).await;
    let page = page_of(&service, &pruned).await;
    assert_eq!(page.values("data-deleted"), ["1"]);
    assert!(
        page.one("data-report", "prune")
            .text
            .contains(first["backup_id"].as_str().unwrap())
    );
    // It has neither units nor bytes, so that none are told.
    assert!(page.values("data-units").is_empty() && page.values("data-bytes").is_empty());
}
