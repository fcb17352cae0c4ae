//! `GET /`: the sentence, the collections, and how each is proven.

use super::look;
use serde_json::json;
use std::time::Duration;
use testkit::history::{backup_with, id, put, replace};
use testkit::peer::{Create, Peer};
use testkit::service::{Service, Setup};

const HOUR: Duration = Duration::from_secs(3600);

/// What the page says as a whole: the same in its title and as its status.
async fn verdict(service: &Service) -> String {
    let page = look(service, "/").await;
    assert_eq!(page.status, 200);
    let sentence = &page.html.named("h1").next().unwrap().text;
    assert_eq!(&page.html.one("role", "status").text, sentence);
    assert_eq!(page.html.title(), format!("{sentence} · qdrant-backup"));
    page.html.values("data-verdict").concat()
}

/// State and name of each collection, in their order.
async fn states(service: &Service) -> Vec<(String, String)> {
    let page = look(service, "/").await.html;
    let rows = page.elements.iter().filter_map(|element| {
        let name = element.text.clone();
        Some((element.get("data-state")?.to_owned(), name))
    });
    rows.collect()
}

#[tokio::test]
async fn the_sentence_tells_the_worst_there_is() {
    let peer = Peer::start(&[("docs", 1000), ("news", 1000)]).await;
    let service = Service::over(&peer.url).await;
    assert_eq!(verdict(&service).await, "never");
    assert_eq!(service.backup("").await.status, 200);
    assert_eq!(verdict(&service).await, "protected");
    assert_eq!(service.look("/health/freshness").await.body["fresh"], json!(true));
    service.hands.pass(HOUR * 27);
    assert_eq!(verdict(&service).await, "at_risk");
    assert_eq!(service.look("/health/freshness").await.body["fresh"], json!(false));
    assert_eq!(service.backup(r#"{"collection": "docs"}"#).await.status, 200);
    assert_eq!(verdict(&service).await, "at_risk");
    let states = states(&service).await;
    assert_eq!(
        states.iter().map(|(state, _)| state.as_str()).collect::<Vec<_>>(),
        ["stale", "fresh"]
    );
    assert!(
        states[0].1.contains("news") && states[1].1.contains("docs"),
        "{states:?}"
    );
}

#[tokio::test]
async fn a_qdrant_that_lost_everything_is_not_protected() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Service::over(&peer.url).await;
    service.backup("").await;
    peer.lock().collections.clear();
    assert_eq!(verdict(&service).await, "at_risk");
}

#[tokio::test]
async fn who_does_not_answer_is_named_and_nothing_is_guessed() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Setup::over(&peer.url)
        .start_as(|app| app.with_patience(Duration::from_millis(500)))
        .await;
    service.backup("").await;
    peer.lock().api_key = Some("another".to_owned());
    assert_eq!(verdict(&service).await, "cannot_tell");
    let page = look(&service, "/").await.html;
    // What the last backup has is told all the same.
    assert_eq!(page.values("data-state"), ["fresh"]);
    assert_eq!(page.values("data-notice"), ["qdrant_unauthorized"]);
    service.hands.pass(HOUR * 27);
    assert_eq!(
        verdict(&service).await,
        "at_risk",
        "what is known to be bad is told first"
    );
    std::fs::remove_dir_all(service.dir()).unwrap();
    assert_eq!(verdict(&service).await, "cannot_tell");
    let page = look(&service, "/").await.html;
    assert_eq!(page.values("data-state"), [""; 0]);
    for fact in ["newest", "verified", "drilled"] {
        assert_eq!(page.one("data-fact", fact).text, "not known", "{fact}");
    }
}

#[tokio::test]
async fn the_ladder_shows_how_far_the_newest_backup_is_proven() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let height = async || look(&service, "/").await.html.values("data-height").concat();
    service.backup("").await;
    assert_eq!(height().await, "1");
    let newest = service.look("/backups").await.body["backups"][0].clone();
    let id = id(newest["id"].as_str().unwrap());
    let intact = json!({"id": id, "verdict": "intact", "at": newest["finished_at"]});
    put(&*service.store().await, &id.verified(), &intact.to_string()).await;
    assert_eq!(height().await, "2");
    let (status, drilled) = service.post("/backups/latest/drill", r#"{"same_qdrant": true}"#).await;
    assert_eq!(status, 200, "{drilled}");
    assert_eq!(height().await, "4");
    // By the engine alone, it was not on a server.
    let opened = json!({"id": id, "verdict": "passed", "target": "qdrant-edge, in this process"});
    replace(&*service.store().await, &id.drilled(), &opened.to_string()).await;
    assert_eq!(height().await, "3");
    // A newer one begins at the bottom; the older proof is still told.
    service.hands.pass(HOUR);
    service.backup("").await;
    let page = look(&service, "/").await.html;
    assert_eq!(page.values("data-height"), ["1"]);
    let rungs: Vec<_> = page
        .named("li")
        .filter_map(|li| li.get("class"))
        .filter(|class| ["y", "o"].contains(class))
        .collect();
    assert_eq!(rungs, ["y", "o", "o"]);
}

#[tokio::test]
async fn what_the_newest_backup_misses_is_told_with_its_remedy() {
    let peer = Peer::start(&[("docs", 1000), ("news", 1000)]).await;
    let service = Service::over(&peer.url).await;
    peer.on_create("news", std::iter::repeat_n(Create::Fails("broken disk"), 20));
    let report = service.backup("").await;
    assert_ne!(report.status, 200);
    let page = look(&service, "/").await.html;
    let notice = page.one("data-notice", "partial");
    assert!(
        notice.text.contains("news") && notice.text.contains("broken disk"),
        "{}",
        notice.text
    );
    assert_eq!(page.values("data-verdict"), ["never"]);
}

#[tokio::test]
async fn a_newest_backup_that_is_not_proven_is_told_beside_what_protects() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Service::over(&peer.url).await;
    service.backup("").await;
    assert_eq!(look(&service, "/").await.html.values("data-notice"), [""; 0]);
    service.hands.pass(HOUR);
    let newest = service.hands.now().replace_nanosecond(0).unwrap();
    let newest = qdrant_backup::repository::names::BackupId::at(newest).to_string();
    backup_with(&*service.store().await, &newest, |manifest| {
        manifest.collections[0].artifacts[0].optimizing = true;
    })
    .await;
    let page = look(&service, "/").await.html;
    assert_eq!(page.values("data-notice"), ["unproven"]);
    assert_eq!(page.values("data-verdict"), ["protected"]);
    let address = format!("/ui/backups/{newest}");
    assert!(page.values("href").contains(&address.as_str()));
    assert_eq!(look(&service, &address).await.html.values("data-notice"), ["unproven"]);
}

/// A limit that is rounded promises what is not so.
#[tokio::test]
async fn a_limit_is_told_in_full() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let mut setup = Setup::over(&peer.url);
    setup.config.server.max_age = Duration::from_secs(119);
    let service = setup.start().await;
    service.backup("").await;
    service.hands.pass(Duration::from_secs(85));
    for (language, limit, age) in [("en", "119 s", "1 min 25 s"), ("zh-TW", "119 秒", "1 分鐘 25 秒")] {
        let page = look(&service, &format!("/?lang={language}")).await.html;
        assert_eq!(page.values("data-verdict"), ["protected"]);
        assert!(page.title().contains(limit), "{}", page.title());
        assert_eq!(page.one("data-fact", "promised").text, limit);
        let row = &page.one("data-state", "fresh").text;
        assert!(row.contains(limit) && row.contains(age), "{row}");
    }
}

#[tokio::test]
async fn what_is_proven_of_some_is_not_said_to_be_never() {
    let peer = Peer::start(&[("docs", 1000), ("news", 1000)]).await;
    let service = Service::over(&peer.url).await;
    assert_eq!(service.backup(r#"{"collection": "docs"}"#).await.status, 200);
    let (status, drilled) = service.post("/backups/latest/drill", r#"{"same_qdrant": true}"#).await;
    assert_eq!(status, 200, "{drilled}");
    service.hands.pass(HOUR * 3);
    let page = look(&service, "/").await.html;
    assert_eq!(page.one("data-fact", "drilled").text, "1 of 2, 3 h ago");
}

#[tokio::test]
async fn a_collection_that_only_a_partial_backup_has_can_be_restored_from_it() {
    let peer = Peer::start(&[("docs", 1000), ("news", 1000)]).await;
    let service = Service::over(&peer.url).await;
    peer.on_create("news", std::iter::repeat_n(Create::Fails("broken disk"), 20));
    service.backup("").await;
    let page = look(&service, "/").await.html;
    let restore = |href: &&&str| href.starts_with("/ui/restore?backup=") && href.ends_with("collection=docs");
    assert_eq!(page.values("href").iter().filter(restore).count(), 1);
}

#[tokio::test]
async fn backups_of_another_qdrant_are_not_passed_over_in_silence() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let store = url::Url::from_directory_path(dir.path()).unwrap();
    let named = async |name: &str| {
        let env = [
            ("QDRANT_URL", peer.url.as_str()),
            ("BACKUP_STORE", store.as_str()),
            ("BACKUP_SOURCE_NAME", name),
        ];
        Service::start(&env).await
    };
    assert_eq!(named("one").await.backup("").await.status, 200);
    let page = look(&named("two").await, "/").await.html;
    assert_eq!(page.values("data-verdict"), ["never"]);
    assert_eq!(page.values("data-notice"), ["of_another"]);
}

#[tokio::test]
async fn a_backup_that_failed_is_told_at_the_top_while_an_older_one_protects() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Service::over(&peer.url).await;
    service.backup("").await;
    service.hands.pass(HOUR);
    peer.on_create("docs", std::iter::repeat_n(Create::Fails("broken disk"), 20));
    assert_ne!(service.backup("").await.status, 200);
    let page = look(&service, "/").await.html;
    assert_eq!(page.values("data-verdict"), ["protected"]);
    let notices = page.values("data-notice");
    assert!(notices == ["last_backup"] || notices == ["partial"], "{notices:?}");
}

#[tokio::test]
async fn the_runs_below_are_named_only_where_they_tell_of_a_failure() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let advice = async || look(&service, "/").await.html.one("data-advice", "").text.clone();
    service.backup("").await;
    service.hands.pass(HOUR * 27);
    let before = advice().await;
    peer.on_create("docs", std::iter::repeat_n(Create::Fails("broken disk"), 20));
    assert_ne!(service.backup("").await.status, 200);
    let after = advice().await;
    assert!(
        after.contains("the runs below") && !before.contains("the runs below"),
        "{before} {after}"
    );
}

#[tokio::test]
async fn a_run_that_is_silent_is_not_said_to_run() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Service::over(&peer.url).await;
    service.backup("").await;
    let store = service.store().await;
    let stamp = |at: time::OffsetDateTime| at.format(&time::format_description::well_known::Rfc3339).unwrap();
    let now = service.hands.now();
    let run = "2026-11-22T12-00-00Z-backup-1a2b3c4d";
    let record = json!({
        "id": run, "who": "vm/1", "holder": "dead", "tool_version": "0.1.0", "started_at": stamp(now), "state": "running",
        "totals": {"units": 1, "at_work": 1}, "units": [{"name": "docs", "phase": "copy", "bytes_done": 10}],
    });
    put(&*store, &format!("runs/{run}.json"), &record.to_string()).await;
    let lease = json!({"holder": "dead", "who": "vm/1", "since": stamp(now), "expires_at": stamp(now + HOUR)});
    put(&*store, "lock.json", &lease.to_string()).await;
    let page = look(&service, "/").await.html;
    assert_eq!(page.values("data-run"), ["running", "succeeded"]);
    assert_eq!(page.values("data-silent-run"), [""; 0]);
    // It has the lease still, and nothing more was heard.
    service.hands.pass(Duration::from_secs(180));
    let page = look(&service, "/").await.html;
    assert_eq!(page.values("data-silent-run"), [""]);
    let work = page.one("id", "work");
    assert!(work.text.contains("qdrant-backup unlock"), "{}", work.text);
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_told() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Service::over(&peer.url).await;
    service.backup("").await;
    backup_with(&*service.store().await, "2099-01-01T00-00-00Z", |_| {}).await;
    let page = look(&service, "/").await.html;
    assert_eq!(page.values("data-notice"), ["clock"]);
    assert_eq!(page.values("data-verdict"), ["protected"]);
}

#[tokio::test]
async fn a_collection_whose_last_backup_is_too_old_to_count_is_not_said_to_have_none() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let store = service.store().await;
    backup_with(&*store, "2026-01-01T00-00-00Z", |_| {}).await;
    for hour in 0..12 {
        let text = format!("2026-02-01T{hour:02}-00-00Z");
        backup_with(&*store, &text, |manifest| {
            manifest.collections.retain(|c| c.name != "docs")
        })
        .await;
    }
    // Longer than a new one may be without.
    service.hands.pass(HOUR * 27);
    let page = look(&service, "/").await.html;
    assert_eq!(page.values("data-state"), ["missing"]);
    let address = format!("/ui/backups/{}", id("2026-01-01T00-00-00Z"));
    assert!(page.values("href").contains(&address.as_str()));
}

#[tokio::test]
async fn work_is_shown_while_it_runs() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = std::sync::Arc::new(Service::over(&peer.url).await);
    let (reached, go) = (
        std::sync::Arc::new(tokio::sync::Semaphore::new(0)),
        std::sync::Arc::new(tokio::sync::Semaphore::new(0)),
    );
    peer.on_create(
        "docs",
        [Create::Held {
            reached: reached.clone(),
            go: go.clone(),
        }],
    );
    let running = tokio::spawn({
        let service = service.clone();
        async move { service.backup("").await.status }
    });
    let _ = reached.acquire().await.unwrap();
    let page = look(&service, "/").await.html;
    assert_eq!(page.values("data-run"), ["running"]);
    let seconds = |page: &super::html::Html| page.one("id", "live").get("data-live").unwrap().parse::<u32>().unwrap();
    let at_work = seconds(&page);
    go.add_permits(1);
    assert_eq!(running.await.unwrap(), 200);
    assert!(
        seconds(&look(&service, "/").await.html) > at_work,
        "there is less to be seen"
    );
}
