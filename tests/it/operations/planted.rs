//! Records of runs of others, of runs that died, and of nobody: shown for what they are, and good for nothing else.

use super::post;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, SystemTime};
use testkit::peer::Peer;
use testkit::service::Service;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const ID: &str = "2026-11-01T00-00-00Z-backup-00000000";

fn record(id: &str, holder: Option<&str>) -> Value {
    json!({
        "id": id, "who": "elsewhere/1", "holder": holder, "tool_version": "0.1.0",
        "started_at": "2026-11-01T00:00:00Z", "state": "running", "backup": "2026-11-01T00-00-00Z",
        "totals": {"units": 2, "at_work": 1, "waiting": 1, "bytes_done": 5},
        "units": [{"name": "a", "phase": "copy", "bytes_done": 5}, {"name": "b", "phase": "of a later version"}],
    })
}

fn plant(store: &Path, name: &str, content: &str, age: Duration) {
    let path = store.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

fn hold_lease(store: &Path, holder: &str) {
    let stamp = |time: OffsetDateTime| time.format(&Rfc3339).unwrap();
    let now = OffsetDateTime::now_utc();
    let lease = json!({
        "holder": holder, "who": "elsewhere/1", "since": stamp(now), "expires_at": stamp(now + Duration::from_secs(120)),
    });
    plant(store, "lock.json", &lease.to_string(), Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_another_process_works_as_long_as_it_holds_its_lease() {
    let peer = Peer::start(&[("a", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let (file, at) = (format!("runs/{ID}.json"), format!("/v1/operations/{ID}"));
    let [hour, minute, moment] = [3600, 60, 1].map(Duration::from_secs);
    for (holder, lease, age, state) in [
        (Some("h"), Some("h"), moment, "running"),
        // Its clock, the store's and this one's may differ.
        (Some("h"), Some("h"), hour, "running"),
        (Some("h"), None, moment, "running"),
        (Some("h"), None, hour, "interrupted"),
        (Some("h"), Some("another"), hour, "interrupted"),
        // A few of its records were slow, or lost.
        (None, None, minute, "running"),
        (None, None, 3 * minute, "interrupted"),
        (None, Some("another"), 3 * minute, "interrupted"),
    ] {
        plant(service.dir(), &file, &record(ID, holder).to_string(), age);
        let _ = std::fs::remove_file(service.dir().join("lock.json"));
        if let Some(lease) = lease {
            hold_lease(service.dir(), lease);
        }
        let (status, shown) = service.get(&at).await;
        let case = format!("{holder:?} {lease:?} {age:?}: {shown}");
        assert_eq!(
            (status, &shown["state"], &shown["here"]),
            (200, &json!(state), &json!(false)),
            "{case}"
        );
        let listed = &service.get("/v1/operations").await.1["operations"][0];
        assert_eq!(listed["state"], state, "{case}");
        let age = age.as_secs();
        let told = shown["heartbeat_age_seconds"].as_u64().unwrap();
        assert!((age..age + 60).contains(&told), "{case}");
        match state {
            "running" => {
                assert_eq!(
                    (&shown["phase"], &shown["error"]),
                    (&json!("copy"), &Value::Null),
                    "{case}"
                );
                assert_eq!(shown["units"][1]["phase"], Value::Null, "{case}");
                let refused = post(&service, &format!("{at}:cancel"), "").await;
                assert_eq!(
                    (refused.status, &refused.body["code"]),
                    (409, &json!("operation_elsewhere")),
                    "{case}"
                );
                assert!(
                    refused.body["detail"].as_str().unwrap().contains("elsewhere/1"),
                    "{}",
                    refused.body
                );
            }
            _ => {
                assert_eq!(shown["error"]["code"], "interrupted", "{case}");
                let remedy = shown["error"]["remedy"].as_str().unwrap();
                assert!(remedy.starts_with("run the backup again"), "{case}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_died_after_its_backup_was_published_says_so() {
    let peer = Peer::start(&[("a", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let made = post(&service, "/v1/backups?wait=true", "").await;
    let mut record = record(ID, Some("h"));
    record["backup"] = made.body["backup_id"].clone();
    plant(
        service.dir(),
        &format!("runs/{ID}.json"),
        &record.to_string(),
        Duration::from_secs(3600),
    );
    let (_, shown) = service.get(&format!("/v1/operations/{ID}")).await;
    let remedy = shown["error"]["remedy"].as_str().unwrap();
    assert!(remedy.starts_with("verify backup"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_odd_records_is_left_out_and_goes_little_by_little() {
    let peer = Peer::start(&[("a", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let (day, store) = (Duration::from_secs(2 * 86400), service.dir());
    for n in 0..300 {
        let id = format!("2026-10-01T00-{:02}-{:02}Z-backup-{n:08x}", n / 60, n % 60);
        let content = match n % 5 {
            0 => record(&id, None).to_string(),
            1 => record(ID, None).to_string(),
            2 => "no JSON".to_owned(),
            3 => json!(["x".repeat(600 << 10)]).to_string(),
            _ => json!({"id": id, "state": "of a later version"}).to_string(),
        };
        plant(store, &format!("runs/{id}.json"), &content, day);
    }
    // Of a clock that is wrong, or of nobody; and names of others.
    let future = "9999-01-01T00-00-00Z-backup-00000000";
    plant(
        store,
        &format!("runs/{future}.json"),
        &record(future, None).to_string(),
        day,
    );
    for theirs in ["runs/notes.txt", "runs/x.json", "runs/deep/x.json"] {
        plant(store, theirs, "theirs", day);
    }
    let (status, list) = service.get("/v1/operations?limit=100").await;
    let operations = list["operations"].as_array().unwrap();
    assert_eq!(
        (status, operations.len(), &list["store_error"]),
        (200, 20, &Value::Null)
    );
    assert!(
        operations.iter().all(|operation| operation["state"] == "interrupted"),
        "{list}"
    );
    let count = || std::fs::read_dir(store.join("runs")).unwrap().count();
    let mut before = count();
    for _ in 0..4 {
        assert_eq!(post(&service, "/v1/backups?wait=true", "").await.status, 200);
        let deleted = async {
            while count() >= before && count() != 200 + 3 {
                tokio::task::yield_now().await;
            }
        };
        let deleted = tokio::time::timeout(Duration::from_secs(120), deleted).await;
        deleted.expect("old records are deleted, whenever the run has ended");
        before = count();
    }
    assert_eq!(count(), 200 + 3, "those of others are nobody's to delete");
    assert_eq!(service.get(&format!("/v1/operations/{future}")).await.0, 404);
    assert!(store.join("runs/notes.txt").exists() && store.join("runs/x.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_record_claims_is_bounded_and_one_of_the_future_is_nobodys() {
    let peer = Peer::start(&[("a", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let (file, at) = (format!("runs/{ID}.json"), format!("/v1/operations/{ID}"));
    for (part, shown) in [
        ("-1", 0.0),
        ("1e300", 1.0),
        ("0.25", 0.25),
        ("-0.0", 0.0),
        ("1e-320", 0.0),
    ] {
        let mut odd = record(ID, None);
        odd["who"] = json!("w".repeat(20_000));
        odd["units"] = json!(vec![json!({"name": "n".repeat(1000), "phase": "copy"}); 200]);
        odd["error"] = json!({"code": "c".repeat(9000), "message": "m".repeat(9000), "remedy": "r".repeat(9000)});
        // No JSON value of this test can be all of them.
        let odd = odd
            .to_string()
            .replacen("\"bytes_done\":5", &format!("\"bytes_done\":5,\"part\":{part}"), 1);
        plant(service.dir(), &file, &odd, Duration::ZERO);
        let (status, operation) = service.get(&at).await;
        let told = operation["progress"]["part"].as_f64().unwrap();
        assert!(status == 200 && (told - shown).abs() < 1e-9, "{part}: {told}");
        let page = service.request(reqwest::Method::GET, &format!("/ui/runs/{ID}"));
        assert_eq!(page.send().await.unwrap().status(), 200, "{part}");
        let of = |field: &Value| field.as_str().unwrap().chars().count();
        assert!(of(&operation["who"]) <= 301, "{part}");
        assert!(of(&operation["error"]["code"]) <= 301 && of(&operation["error"]["message"]) <= 4001);
        assert!(of(&operation["error"]["remedy"]) <= 4001 && of(&operation["units"][0]["name"]) <= 301);
    }
    for odd in ["1e999", "NaN", "\"1\""] {
        let odd = record(ID, None)
            .to_string()
            .replacen("\"bytes_done\":5", &format!("\"part\":{odd}"), 1);
        plant(service.dir(), &file, &odd, Duration::ZERO);
        assert_eq!(service.get(&at).await.0, 404, "{odd}");
    }
    let future = "9999-01-01T00-00-00Z-backup-00000000";
    plant(
        service.dir(),
        &format!("runs/{future}.json"),
        &record(future, None).to_string(),
        Duration::ZERO,
    );
    let (status, told) = service.get(&format!("/v1/operations/{future}")).await;
    assert_eq!((status, &told["code"]), (404, &json!("operation_not_found")), "{told}");
}
