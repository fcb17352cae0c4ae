//! `POST /backup` sent again: a retry finds the run of the request that it repeats, whichever instance it reaches, and nothing is
//! copied twice. What a run left decides, so one that was killed or saved nothing is made again.

use crate::auth::iam::stripped;
use qdrant_backup::server::auth::{Mode, Role, Roles};
use reqwest::Method;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use testkit::peer::{Create, Peer};
use testkit::process::{Served, command};
use testkit::service::{Answer, Service, Setup, answer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

const HOUR: Duration = Duration::from_secs(3600);

/// One of the instances over a store.
fn instance(peer: &Peer, dir: &Path, more: &[(&str, &str)]) -> Setup {
    let store = url::Url::from_directory_path(dir).unwrap();
    let env = [("QDRANT_URL", peer.url.as_str()), ("BACKUP_STORE", store.as_str())];
    Setup::from_env(&[&env[..], more].concat())
}

async fn place(collections: &[(&str, usize)]) -> (Peer, TempDir, Arc<Service>) {
    let (peer, dir) = (Peer::start(collections).await, tempfile::tempdir().unwrap());
    let service = instance(&peer, dir.path(), &[]).start().await;
    (peer, dir, Arc::new(service))
}

/// `POST /backup` with these headers.
async fn post(service: &Service, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = service.request(Method::POST, "/backup").body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    answer(request).await
}

async fn keyed(service: &Service, key: &str) -> Answer {
    post(service, &[("Idempotency-Key", key)], "").await
}

/// As Cloud Scheduler sends each attempt at what is scheduled for then.
async fn scheduled(service: &Service, at: OffsetDateTime) -> Answer {
    let at = at.format(&Rfc3339).unwrap();
    let headers = [
        ("X-CloudScheduler", "true"),
        ("X-CloudScheduler-JobName", "qdrant-backup-hourly"),
        ("X-CloudScheduler-ScheduleTime", at.as_str()),
    ];
    post(service, &headers, "{}").await
}

/// The backup of an answer with its report, or with an error and its report.
fn id(answer: &Answer) -> &str {
    let report = match answer.status {
        200 => &answer.body,
        _ => &answer.body["report"],
    };
    report["id"].as_str().unwrap_or_else(|| panic!("{}", answer.body))
}

/// The folders below `backups/` that are backups.
fn backups(dir: &Path) -> usize {
    let folders = std::fs::read_dir(dir.join("backups")).unwrap();
    folders
        .filter(|folder| folder.as_ref().unwrap().path().join("manifest.json").exists())
        .count()
}

/// Holds the next run where Qdrant makes the snapshot of a collection.
fn hold(peer: &Peer, collection: &str) -> (Arc<Semaphore>, Arc<Semaphore>) {
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let held = Create::Held {
        reached: reached.clone(),
        go: go.clone(),
    };
    peer.on_create(collection, [held]);
    (reached, go)
}

/// The same request again, which is answered in time.
fn again(service: &Arc<Service>, at: OffsetDateTime) -> JoinHandle<Answer> {
    let service = service.clone();
    tokio::spawn(async move { scheduled(&service, at).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_answered_with_what_the_first_request_came_to() {
    let (peer, dir, service) = place(&[("a", 1000), ("b", 1000)]).await;
    let other = instance(&peer, dir.path(), &[]).start().await;
    let now = OffsetDateTime::now_utc();
    let first = scheduled(&service, now).await;
    assert_eq!(first.status, 200, "{}", first.body);
    assert_eq!(first.body.get("repeated"), None);
    let asked = peer.requests("POST");
    for instance in [&*service, &other] {
        let retry = scheduled(instance, now).await;
        assert_eq!((retry.status, id(&retry)), (200, id(&first)), "{}", retry.body);
        assert_eq!(retry.body["repeated"], true);
        let mut same = retry.body.clone();
        same.as_object_mut().unwrap().remove("repeated");
        assert_eq!(same, first.body);
    }
    assert_eq!((peer.requests("POST"), backups(dir.path())), (asked, 1));
    // The next turn is another execution.
    let next = scheduled(&service, now - HOUR).await;
    assert_ne!(id(&next), id(&first));
    assert_eq!(backups(dir.path()), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_of_a_partial_backup_make_no_further_copies() {
    let (peer, dir, service) = place(&[("a", 1000), ("b", 1000)]).await;
    peer.on_create("b", [Create::Forbidden]);
    let now = OffsetDateTime::now_utc();
    let first = scheduled(&service, now).await;
    assert_eq!(first.result(), (500, "backup_partial"));
    // Although it would succeed now: the next turn does.
    for _ in 0..2 {
        let retry = scheduled(&service, now).await;
        assert_eq!((retry.result(), id(&retry)), (first.result(), id(&first)));
        assert_eq!(retry.body["error"], first.body["error"]);
        assert_eq!(
            (&retry.body["report"]["failed"], &retry.body["report"]["repeated"]),
            (&first.body["report"]["failed"], &json!(true))
        );
    }
    assert_eq!(backups(dir.path()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_waits_for_the_run_that_is_under_way_in_this_instance_or_another() {
    let (peer, dir, service) = place(&[("a", 1000)]).await;
    let other = Arc::new(instance(&peer, dir.path(), &[]).start().await);
    let now = OffsetDateTime::now_utc();
    let (reached, go) = hold(&peer, "a");
    let first = again(&service, now);
    reached.acquire().await.unwrap().forget();
    // The scheduler's deadline has passed.
    first.abort();
    let retries = [again(&service, now), again(&other, now)];
    // What is no retry is refused meanwhile, in either instance.
    for instance in [&service, &other] {
        service.hands.pass(Duration::from_secs(11));
        other.hands.pass(Duration::from_secs(11));
        assert_eq!(keyed(instance, "x").await.result(), (409, "run_in_progress"));
        assert_eq!(post(instance, &[], "").await.result(), (409, "run_in_progress"));
    }
    assert!(retries.iter().all(|retry| !retry.is_finished()));
    go.add_permits(1);
    let [one, two] = retries;
    let (one, two) = (one.await.unwrap(), two.await.unwrap());
    assert_eq!((one.status, two.status), (200, 200), "{} {}", one.body, two.body);
    assert_eq!(id(&one), id(&two));
    assert_eq!(backups(dir.path()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_twice_at_once_makes_one_backup() {
    let (peer, dir, service) = place(&[("a", 1000)]).await;
    let other = Arc::new(instance(&peer, dir.path(), &[]).start().await);
    let now = OffsetDateTime::now_utc();
    let all = [&service, &service, &other, &other].map(|instance| again(instance, now));
    let mut ids = Vec::new();
    for answer in all {
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        ids.push(id(&answer).to_owned());
    }
    ids.dedup();
    assert_eq!((ids.len(), backups(dir.path())), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_killed_has_no_result_and_a_retry_makes_the_backup() {
    let (peer, dir) = (Peer::start(&[("a", 1000)]).await, tempfile::tempdir().unwrap());
    let now = OffsetDateTime::now_utc();
    let (reached, go) = hold(&peer, "a");
    let mut killed = Served::start(&mut command(&["serve"], &peer.url, dir.path())).await;
    let request = reqwest::Client::new().post(format!("{}/backup", killed.url));
    let request = request.header("X-CloudScheduler-ScheduleTime", now.format(&Rfc3339).unwrap());
    let request = request.header("X-CloudScheduler-JobName", "qdrant-backup-hourly");
    let first = tokio::spawn(request.send());
    reached.acquire().await.unwrap().forget();
    killed.child.start_kill().unwrap(); // SIGKILL
    killed.child.wait().await.unwrap();
    assert!(first.await.unwrap().is_err());
    go.add_permits(1);

    let service = Arc::new(instance(&peer, dir.path(), &[]).start().await);
    let retry = again(&service, now);
    while peer.snapshots("a").is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(!retry.is_finished(), "the dead run's lease still holds");
    assert!(!dir.path().join("backups").exists() || backups(dir.path()) == 0);
    service.hands.pass(Duration::from_secs(120));
    let retry = retry.await.unwrap();
    assert_eq!(
        (retry.status, retry.body.get("repeated")),
        (200, None),
        "{}",
        retry.body
    );
    assert_eq!(peer.snapshots("a"), [""; 0], "the dead run's snapshot is gone");
    let third = scheduled(&service, now).await;
    assert_eq!((id(&third), &third.body["repeated"]), (id(&retry), &json!(true)));
    assert_eq!(backups(dir.path()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_saved_nothing_is_tried_again() {
    let (peer, dir, service) = place(&[("a", 1000)]).await;
    peer.on_create("a", [Create::Forbidden]);
    let first = keyed(&service, "k").await;
    assert_eq!(first.status, 500, "{}", first.body);
    peer.lock().api_key = Some("another".into());
    assert_eq!(keyed(&service, "k").await.result(), (502, "qdrant_unauthorized"));
    peer.lock().api_key = None;
    let retry = keyed(&service, "k").await;
    assert_eq!(
        (retry.status, retry.body.get("repeated")),
        (200, None),
        "{}",
        retry.body
    );
    assert_eq!(id(&keyed(&service, "k").await), id(&retry));
    assert_eq!(backups(dir.path()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_a_backup_that_is_gone_or_damaged_that_it_is_there() {
    let (_peer, dir, service) = place(&[("a", 1000)]).await;
    let first = keyed(&service, "k").await;
    let folder = dir.path().join("backups").join(id(&first));
    std::fs::write(folder.join("verified.json"), r#"{"verdict": "damaged"}"#).unwrap();
    let second = keyed(&service, "k").await;
    assert_eq!(second.status, 200);
    assert_ne!(id(&second), id(&first));
    std::fs::remove_dir_all(dir.path().join("backups").join(id(&second))).unwrap();
    let third = keyed(&service, "k").await;
    assert_eq!(third.body.get("repeated"), None, "{}", third.body);
    // What is no record proves nothing.
    let records = dir.path().join("jobs");
    for key in std::fs::read_dir(records).unwrap() {
        for record in std::fs::read_dir(key.unwrap().path().join("runs")).unwrap() {
            std::fs::write(record.unwrap().path(), "{}").unwrap();
        }
    }
    assert_eq!(keyed(&service, "k").await.body.get("repeated"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_for_one_body_one_caller_and_one_day() {
    let (peer, dir) = (
        Peer::start(&[("a", 1000), ("b", 1000)]).await,
        tempfile::tempdir().unwrap(),
    );
    let mut setup = instance(&peer, dir.path(), &[]);
    setup.config.server.auth = Mode::Iam(Roles::new(Some(Role::Operator)).with(Role::Reader, ["r@x.test".to_owned()]));
    let service = setup.start().await;
    let ask = async |email: &str, body: &str| {
        let token = stripped(&json!({ "email": email }));
        post(
            &service,
            &[("authorization", token.as_str()), ("Idempotency-Key", "\"k\"")],
            body,
        )
        .await
    };
    let first = ask("a@x.test", "").await;
    assert_eq!(first.status, 200, "{}", first.body);
    // However the same is written.
    for same in ["{}", r#" {"collection": null} "#] {
        assert_eq!(id(&ask("a@x.test", same).await), id(&first), "{same}");
    }
    for other in [r#"{"collection": "a"}"#, r#"{"new_source": true}"#] {
        let refused = ask("a@x.test", other).await;
        assert_eq!(refused.result(), (422, "idempotency_key_reused"), "{other}");
    }
    let of_another = ask("b@x.test", r#"{"collection": "a"}"#).await;
    assert_eq!(of_another.status, 200, "{}", of_another.body);
    assert_eq!(ask("r@x.test", "").await.result(), (403, "caller_not_allowed"));
    service.hands.pass(23 * HOUR);
    assert_eq!(id(&ask("a@x.test", "").await), id(&first));
    service.hands.pass(HOUR);
    let next_day = ask("a@x.test", "").await;
    assert_eq!(
        (next_day.status, next_day.body.get("repeated")),
        (200, None),
        "{}",
        next_day.body
    );
    assert_eq!(backups(dir.path()), 3);
}

#[tokio::test]
async fn what_is_no_key_is_refused_or_none() {
    let (_peer, dir, service) = place(&[("a", 1000)]).await;
    for wrong in ["", "\"open", &"x".repeat(256)] {
        let refused = keyed(&service, wrong).await;
        assert_eq!(refused.result(), (400, "bad_request"), "{wrong:?}");
    }
    assert!(!dir.path().join("backups").exists());
    // Somebody starts the job by hand: that may carry the time of its next turn, which then is another execution.
    let next = OffsetDateTime::now_utc() + HOUR;
    let by_hand = [scheduled(&service, next).await, scheduled(&service, next).await];
    assert!(by_hand.iter().all(|answer| answer.body.get("repeated").is_none()));
    service.hands.pass(HOUR);
    assert_eq!(scheduled(&service, next).await.body.get("repeated"), None);
    assert_eq!(backups(dir.path()), 3);
    // The scheduler's time goes before a key that all its requests have.
    let at = next.format(&Rfc3339).unwrap();
    let both = [
        ("X-CloudScheduler-JobName", "qdrant-backup-hourly"),
        ("X-CloudScheduler-ScheduleTime", at.as_str()),
        ("Idempotency-Key", "always the same"),
    ];
    assert_eq!(post(&service, &both, "").await.body["repeated"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_waits_ends_with_the_service() {
    let (peer, dir, service) = place(&[("a", 1000)]).await;
    let mut other = Served::start(&mut command(&["serve"], &peer.url, dir.path())).await;
    let now = OffsetDateTime::now_utc();
    let (reached, go) = hold(&peer, "a");
    let first = again(&service, now);
    reached.acquire().await.unwrap().forget();
    let retry = tokio::spawn(answer(
        reqwest::Client::new()
            .post(format!("{}/backup", other.url))
            .header("X-CloudScheduler-JobName", "qdrant-backup-hourly")
            .header("X-CloudScheduler-ScheduleTime", now.format(&Rfc3339).unwrap()),
    ));
    while !other.log.next_line().await.unwrap().unwrap().contains("waiting for it") {}
    let (code, log) = other.end().await;
    assert_eq!(code, Some(0), "{log:?}");
    assert_eq!(retry.await.unwrap().result(), (503, "cancelled"));
    go.add_permits(1);
    assert_eq!(first.await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn prune_deletes_the_records_of_keys_after_a_day() {
    let (peer, dir, _) = place(&[("a", 1000)]).await;
    let policy = [("RETAIN_LAST", "9"), ("PRUNE_AFTER_BACKUP", "true")];
    let service = instance(&peer, dir.path(), &policy).start().await;
    let now = OffsetDateTime::now_utc();
    assert_eq!(scheduled(&service, now).await.status, 200);
    let records = || std::fs::read_dir(dir.path().join("jobs")).map_or(0, Iterator::count);
    assert_eq!(scheduled(&service, now - HOUR).await.status, 200);
    assert_eq!(records(), 2);
    service.hands.pass(25 * HOUR);
    let (status, plan) = service.post("/prune", r#"{"dry_run": false}"#).await;
    let left: Vec<Value> = plan["plan"]["jobs"].as_array().unwrap().clone();
    assert_eq!((status, left.len(), records()), (200, 2, 0), "{plan}");
}
