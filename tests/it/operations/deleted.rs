//! `DELETE /v1/backups/{id}`: shows what would go, deletes it when told to, and what no deletion may take stays.

use super::ended;
use qdrant_backup::base::clock::Clock;
use qdrant_backup::repository::lease;
use qdrant_backup::repository::manifest::Status;
use reqwest::Method;
use serde_json::json;
use std::time::Duration;
use testkit::history::{History, backup, backup_with, id, put};
use testkit::service::{Answer, Service, answer};

const NOBODY: &str = "http://127.0.0.1:1";
const OLD: &str = "2020-01-01T00-00-00Z";
const PARTIAL: &str = "2020-01-02T00-00-00Z";
const NEW: &str = "2020-01-03T00-00-00Z";

async fn place() -> (History, Service) {
    let history = History::in_directory().await;
    backup(&*history.store, OLD).await;
    backup_with(&*history.store, PARTIAL, |manifest| manifest.status = Status::Partial).await;
    backup(&*history.store, NEW).await;
    let store = url::Url::from_directory_path(history.dir()).unwrap();
    let service = Service::start(&[("QDRANT_URL", NOBODY), ("BACKUP_STORE", store.as_str())]).await;
    (history, service)
}

async fn delete(service: &Service, id: &str) -> Answer {
    answer(service.request(Method::DELETE, &format!("/v1/backups/{id}"))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_shows_what_would_go_and_deletes_it_only_when_told() {
    let (history, service) = place().await;
    for query in ["", "?dry_run=true", "?wait=true"] {
        let shown = delete(&service, &format!("{OLD}{query}")).await;
        assert_eq!(
            (shown.status, &shown.body["dry_run"]),
            (200, &json!(true)),
            "{}",
            shown.body
        );
        let items = shown.body["plan"]["items"].as_array().unwrap();
        assert_eq!(
            (items.len(), &items[0]["id"], &items[0]["keep"], &items[0]["objects"]),
            (1, &json!(OLD), &json!(false), &json!(3)),
            "{}",
            shown.body
        );
    }
    assert_eq!(history.whole().await, [NEW, PARTIAL, OLD]);
    let gone = delete(&service, &format!("{OLD}?dry_run=false&wait=true")).await;
    assert_eq!(
        (gone.status, &gone.body["state"], &gone.body["kind"]),
        (200, &json!("succeeded"), &json!("prune")),
        "{}",
        gone.body
    );
    assert_eq!(gone.body["report"]["deleted"][0]["id"], OLD);
    let begun = delete(&service, &format!("{PARTIAL}?dry_run=false")).await;
    assert_eq!(begun.status, 202, "{}", begun.body);
    assert_eq!(ended(&service, &begun).await["report"]["deleted"][0]["id"], PARTIAL);
    assert_eq!(history.whole().await, [NEW]);
    assert!(!history.dir().join("lock.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_one_and_the_newest_good_one_stay() {
    let (history, service) = place().await;
    put(&*history.store, &id(OLD).pinned(), "{}").await;
    for (name, reason, remedy) in [
        (OLD, "pinned", "DELETE /v1/backups/2020-01-01T00-00-00Z/pin"),
        (NEW, "newest_good", "newer good backup"),
        ("latest", "newest_good", "newer good backup"),
    ] {
        for query in ["", "?dry_run=false", "?dry_run=false&wait=true"] {
            let kept = delete(&service, &format!("{name}{query}")).await;
            let case = format!("{name}{query}: {}", kept.body);
            assert_eq!(
                (kept.status, &kept.body["code"]),
                (409, &json!("delete_refused")),
                "{case}"
            );
            assert_eq!(kept.body["plan"]["items"][0]["reasons"], json!([reason]), "{case}");
            assert!(kept.body["next_step"].as_str().unwrap().contains(remedy), "{case}");
        }
    }
    for (name, status, code) in [
        ("2020-01-04T00-00-00Z", 404, "backup_not_found"),
        ("nonsense?dry_run=false", 400, "bad_request"),
        (&format!("{OLD}?dry_run=no"), 400, "bad_request"),
        (&format!("{OLD}?yes=true"), 400, "bad_request"),
    ] {
        let answer = delete(&service, name).await;
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (status, &json!(code)),
            "{name}: {}",
            answer.body
        );
        assert!(answer.body["next_step"].is_string(), "{}", answer.body);
    }
    assert_eq!(history.whole().await, [NEW, PARTIAL, OLD]);
    assert_eq!(service.get("/v1/operations").await.1["operations"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_while_another_run_is_at_work() {
    let (history, service) = place().await;
    let clock = Clock::system();
    let lease = lease::acquire(history.store.clone(), &clock, "somebody/1", Duration::from_secs(60));
    let lease = lease.await.unwrap();
    let refused = delete(&service, &format!("{OLD}?dry_run=false")).await;
    assert_eq!(
        (refused.status, &refused.body["code"], &refused.body["held_by"]["who"]),
        (409, &json!("run_in_progress"), &json!("somebody/1")),
        "{}",
        refused.body
    );
    assert_eq!(delete(&service, OLD).await.status, 200, "a look needs no lease");
    lease.release().await.unwrap();
    assert_eq!(history.whole().await.len(), 3);
}
