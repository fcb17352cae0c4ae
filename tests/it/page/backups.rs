//! The list of backups, and the page of one.

use super::look;
use testkit::history::{COLLECTIONS, backup, backup_with, id, put, replace};
use testkit::peer::Peer;
use testkit::service::Service;

#[tokio::test]
async fn a_backup_is_shown_object_by_object_with_how_it_is_proven() {
    let peer = Peer::start(&[("docs", 1000), ("news", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let report = service.backup("").await.body;
    let id = report["id"].as_str().unwrap();
    let page = look(&service, &format!("/ui/backups/{id}")).await.html;
    assert_eq!(page.values("data-collection").len(), 2);
    assert_eq!(page.values("data-step"), ["0", "1", "2", "3"]);
    let detail = service.look(&format!("/backups/{id}")).await.body;
    for collection in detail["collections"].as_array().unwrap() {
        let artifact = &collection["artifacts"][0];
        for told in [&collection["name"], &artifact["key"], &artifact["sha256"]] {
            assert!(page.text().contains(told.as_str().unwrap()), "{told}");
        }
    }
    // The report is the answer of the API.
    let download = page
        .elements
        .iter()
        .find(|element| element.get("download").is_some())
        .unwrap();
    assert_eq!(download.get("href"), Some(format!("/backups/{id}").as_str()));
    // `latest` is one, too.
    assert_eq!(look(&service, "/ui/backups/latest").await.html.title(), page.title());
}

#[tokio::test]
async fn what_a_backup_misses_and_what_is_wrong_with_it_is_told() {
    let peer = Peer::start(&[]).await;
    let service = Service::over(&peer.url).await;
    backup_with(&*service.store().await, "2026-11-22T12-00-00Z", |manifest| {
        manifest.status = qdrant_backup::repository::manifest::Status::Partial;
        manifest.failed =
            vec![serde_json::from_value(serde_json::json!({
            "collection": "lost", "code": "code_of_the_future", "message": "it <broke>", "remedy": "mend & go on",
        })).unwrap()];
        manifest.warnings = vec!["mind the gap".to_owned()];
    })
    .await;
    let page = look(&service, "/ui/backups/2026-11-22T12-00-00Z").await.html;
    let notice = page.one("data-notice", "partial");
    assert!(
        ["lost", "it <broke>", "mend & go on"]
            .iter()
            .all(|text| notice.text.contains(text)),
        "{}",
        notice.text
    );
    assert_eq!(page.values("data-code"), ["code_of_the_future"]);
    assert!(page.one("data-notice", "warnings").text.contains("mind the gap"));
}

#[tokio::test]
async fn what_proves_nothing_is_not_shown_as_a_proof() {
    let service = Service::over(&Peer::start(&[]).await.url).await;
    let store = service.store().await;
    let text = "2026-11-22T12-00-00Z";
    backup(&*store, text).await;
    let path = format!("/ui/backups/{text}");
    let steps = async || {
        let page = look(&service, &path).await.html;
        let badges = page
            .elements
            .iter()
            .filter(|element| element.name == "li" && element.get("data-step").is_some());
        badges.map(|li| li.text.clone()).collect::<Vec<_>>()
    };
    let before = steps().await;
    let future = serde_json::json!({"id": text, "verdict": "intact", "at": "2999-01-01T00:00:00Z"});
    put(&*store, &id(text).verified(), &future.to_string()).await;
    let after = steps().await;
    assert_ne!(before[1], after[1]);
    assert!(!after[1].contains("Yes"), "{}", after[1]);
    // Of a manifest that is none, not even that all is stored is known.
    replace(&*store, &id(text).manifest(), "{}").await;
    let page = look(&service, &path).await;
    assert!(
        page.status != 200 || !steps().await[0].contains("Yes"),
        "{}",
        page.html.text()
    );
}

#[tokio::test]
async fn the_list_is_cut_where_it_is_long_and_says_so() {
    let peer = Peer::start(&[]).await;
    let service = Service::over(&peer.url).await;
    let store = service.store().await;
    for minute in 0..55 {
        backup(&*store, &format!("2026-11-22T12-{minute:02}-00Z")).await;
    }
    let page = look(&service, "/ui/backups").await.html;
    assert_eq!(page.values("data-backup").len(), 50);
    assert_eq!(page.values("data-backup")[0], "2026-11-22T12-54-00Z");
    assert!(page.values("href").contains(&"/ui/backups?limit=200"));
    let all = look(&service, "/ui/backups?limit=200").await.html;
    assert_eq!(all.values("data-backup").len(), 55);
    let some = look(&service, &format!("/ui/backups?collection={}&limit=3", COLLECTIONS[0]))
        .await
        .html;
    assert_eq!(some.values("data-backup").len(), 3);
    let none = look(&service, "/ui/backups?collection=nothing").await.html;
    assert_eq!(none.values("data-backup").len(), 0);
}
