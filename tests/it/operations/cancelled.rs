//! A cancelled operation leaves nothing on Qdrant and no lease, within seconds.

use super::{post, recorded};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::lost::Lost;
use testkit::peer::{Create, Fetch, Peer, Upload};
use testkit::place::{Place, borrowed};
use testkit::proxy::{Fault, Proxy};
use testkit::service::{Answer, Service, answer};
use tokio::sync::Semaphore;

/// What a cancel may take.
const SOON: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_backup_leaves_no_snapshot_and_no_lease_within_five_seconds() {
    let peer = Peer::start(&[("a", 100_000), ("b", 100_000)]).await;
    peer.on_fetch("a", [Fetch::Stall(10)]);
    let service = Service::over(&peer.url).await;
    let begun = post(&service, "/v1/backups", "").await;
    let at = begun.headers["location"].to_str().unwrap().to_owned();
    // Bytes of the other one may have passed before Qdrant had made this one's snapshot.
    while service.look(&at).await.body["progress"]["bytes_done"].as_u64() < Some(10) || peer.snapshots("a").is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(service.dir().join("lock.json").exists() && !peer.snapshots("a").is_empty());
    let began = Instant::now();
    let cancelled = post(&service, &format!("{at}:cancel"), "").await;
    assert_eq!(
        (cancelled.status, &cancelled.body["state"]),
        (200, &json!("cancelled")),
        "{}",
        cancelled.body
    );
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!((peer.snapshots("a"), peer.snapshots("b")), (vec![], vec![]));
    assert!(!service.dir().join("lock.json").exists());
    assert_eq!(cancelled.body["error"]["code"], "cancelled");
    assert!(cancelled.body["error"]["remedy"].is_string(), "{}", cancelled.body);
    let record = recorded(service.dir(), "cancelled").await;
    assert_eq!(record["error"]["remedy"], cancelled.body["error"]["remedy"], "{record}");
    // Again: it is cancelled.
    let again = post(&service, &format!("{at}:cancel"), "{}").await;
    assert_eq!((again.status, &again.body["state"]), (200, &json!("cancelled")));
    assert_eq!(post(&service, "/v1/backups?wait=true", "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_backup_of_an_engine_leaves_no_snapshot_and_no_lease() {
    let place = Place::new(1).await;
    let proxy = Proxy::before(&place.client.url).await;
    let name = &place.samples[0].name;
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    proxy.on(
        &format!("GET /collections/{name}/snapshots/*"),
        [Fault::Held {
            after: 100,
            reached: reached.clone(),
            go,
        }],
    );
    let dir = tempfile::tempdir().unwrap();
    let store = url::Url::from_directory_path(dir.path()).unwrap().to_string();
    let mut env = place.env();
    env.retain(|(name, _)| *name != "QDRANT_URL");
    env.extend([("QDRANT_URL", proxy.url.clone()), ("BACKUP_STORE", store)]);
    let service = Service::start(&borrowed(&env)).await;
    let begun = post(&service, "/v1/backups", "").await;
    assert_eq!(begun.status, 202, "{}", begun.body);
    reached.acquire().await.unwrap().forget();
    let snapshots = format!("/collections/{name}/snapshots");
    let made = place.client.call("GET", &snapshots, None).await.unwrap();
    assert_eq!(made.as_array().unwrap().len(), 1, "{made}");
    assert!(dir.path().join("lock.json").exists());

    let at = begun.headers["location"].to_str().unwrap();
    let began = Instant::now();
    let cancelled = post(&service, &format!("{at}:cancel"), "").await;
    assert_eq!(
        (cancelled.status, &cancelled.body["state"]),
        (200, &json!("cancelled")),
        "{}",
        cancelled.body
    );
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    place.has_no_snapshots().await;
    assert!(!dir.path().join("lock.json").exists());
    let next = post(&service, "/v1/backups?wait=true", "").await;
    assert_eq!(next.status, 200, "{}", next.body);
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_cancelled_while_qdrant_makes_the_snapshot() {
    let peer = Peer::start(&[("a", 1000)]).await;
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    peer.on_create(
        "a",
        [Create::Held {
            reached: reached.clone(),
            go: go.clone(),
        }],
    );
    let service = Service::over(&peer.url).await;
    let begun = post(&service, "/v1/backups", "").await;
    reached.acquire().await.unwrap().forget();
    let at = begun.headers["location"].to_str().unwrap().to_owned();
    assert_eq!(service.look(&at).await.body["phase"], "snapshot");
    // Qdrant is done with it while the run cleans up.
    go.add_permits(1);
    let cancelled = post(&service, &format!("{at}:cancel"), "").await;
    assert!(cancelled.body["state"] != "running", "{}", cancelled.body);
    assert_eq!(peer.snapshots("a"), [""; 0]);
    assert!(!service.dir().join("lock.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_is_cancelled_while_it_uploads() {
    let lost = Lost::several(&["a"], 1).await;
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    lost.upload(Upload::HeldUntil {
        reached: reached.clone(),
        go: go.clone(),
    });
    let store = url::Url::from_directory_path(lost.bench.dir.path()).unwrap();
    let service = Service::start(&[("QDRANT_URL", &lost.peer.url), ("BACKUP_STORE", store.as_str())]).await;
    let begun = post(&service, "/v1/restores", r#"{"id": "latest"}"#).await;
    assert_eq!(begun.status, 202, "{}", begun.body);
    reached.acquire().await.unwrap().forget();
    let began = Instant::now();
    let at = begun.headers["location"].to_str().unwrap().to_owned();
    go.add_permits(1);
    let cancelled = post(&service, &format!("{at}:cancel"), "").await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_ne!(cancelled.body["state"], "running", "{}", cancelled.body);
    assert!(!lost.bench.dir.path().join("lock.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_a_cancelled_backup_is_told_so_and_a_retry_begins_no_other() {
    for path in ["/backup", "/v1/backups?wait=true"] {
        let peer = Peer::start(&[("a", 100_000)]).await;
        peer.on_fetch("a", [Fetch::Stall(10)]);
        let dir = tempfile::tempdir().unwrap();
        let store = url::Url::from_directory_path(dir.path()).unwrap();
        let env = [("QDRANT_URL", peer.url.as_str()), ("BACKUP_STORE", store.as_str())];
        let (service, elsewhere) = (
            Arc::new(Service::start(&env).await),
            Arc::new(Service::start(&env).await),
        );
        let scheduled = |service: &Arc<Service>, turn: &'static str| {
            let request = service
                .request(reqwest::Method::POST, path)
                .header("X-CloudScheduler-JobName", "hourly")
                .header("X-CloudScheduler-ScheduleTime", turn);
            tokio::spawn(answer(request))
        };
        let code = |answer: &Answer| match path {
            "/backup" => answer.body["error"]["code"].clone(),
            _ => answer.body["code"].clone(),
        };
        let turn = "2026-11-22T12:00:00Z";
        let first = scheduled(&service, turn);
        let running = loop {
            let list = service.get("/v1/operations").await.1;
            let operation = list["operations"][0].clone();
            if operation["progress"]["bytes_done"].as_u64() >= Some(10) {
                break operation["id"].as_str().unwrap().to_owned();
            }
            tokio::task::yield_now().await;
        };
        // Cloud Scheduler's deadline has passed: it waits for the same run.
        let waiting = [scheduled(&service, turn), scheduled(&elsewhere, turn)];
        while elsewhere.get(&format!("/v1/operations/{running}")).await.0 != 200 {
            tokio::task::yield_now().await;
        }
        let cancelled = post(&service, &format!("/v1/operations/{running}:cancel"), "").await;
        assert_eq!(cancelled.body["state"], "cancelled", "{}", cancelled.body);
        let [here, there] = waiting;
        let made = peer.requests("POST /collections/a/snapshots");
        let later = (scheduled(&service, turn), scheduled(&elsewhere, turn));
        for answer in [first, here, there, later.0, later.1] {
            let answer = answer.await.unwrap();
            assert_eq!(
                (answer.status, code(&answer)),
                (409, json!("operation_cancelled")),
                "{path}: {}",
                answer.body
            );
            if path != "/backup" {
                assert_eq!(answer.body["operation"], running.as_str(), "{}", answer.body);
            }
        }
        assert_eq!(peer.requests("POST /collections/a/snapshots"), made, "{path}");
        // The next turn of the schedule makes the next backup.
        let next = scheduled(&service, "2026-11-22T13:00:00Z").await.unwrap();
        assert_eq!(next.status, 200, "{}", next.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_of_a_backup_whose_service_stopped_makes_it() {
    let peer = Peer::start(&[("a", 100_000)]).await;
    peer.on_fetch("a", [Fetch::Stall(10)]);
    let dir = tempfile::tempdir().unwrap();
    let store = url::Url::from_directory_path(dir.path()).unwrap();
    let env = [("QDRANT_URL", peer.url.as_str()), ("BACKUP_STORE", store.as_str())];
    let keyed = |service: &Service| {
        let request = service.request(reqwest::Method::POST, "/v1/backups?wait=true");
        answer(request.header("idempotency-key", "k"))
    };
    let service = Service::start(&env).await;
    let first = tokio::spawn(keyed(&service));
    while service.get("/v1/operations").await.1["operations"][0]["progress"]["bytes_done"].as_u64() < Some(10) {
        tokio::task::yield_now().await;
    }
    service.begin_to_stop();
    let told = first.await.unwrap();
    assert_eq!(
        (told.status, &told.body["code"]),
        (503, &json!("cancelled")),
        "{}",
        told.body
    );
    service.stop().await;
    let next = keyed(&Service::start(&env).await).await;
    assert_eq!((next.status, next.body.get("repeated")), (200, None), "{}", next.body);
}
