//! What runs in a service: shown, kept apart and waited for alike, whichever operation it is.

use futures_util::FutureExt;
use gcs_emulator::{Armed, Fault};
use serde_json::{Value, json};
use std::sync::Arc;
use testkit::history::{History, backup};
use testkit::peer::Peer;
use testkit::service::Service;
use tokio::task::JoinHandle;

const OLD: &str = "2020-01-01T00-00-00Z";
const NEW: &str = "2020-01-02T00-00-00Z";

/// A service over a bucket with two backups, of which the policy keeps the newer one.
struct Lab {
    service: Arc<Service>,
    history: History,
    _peer: Peer,
}

impl Lab {
    async fn start() -> Self {
        let (history, peer) = (History::in_emulator().await, Peer::start(&[("a", 1000)]).await);
        backup(&*history.store, OLD).await;
        backup(&*history.store, NEW).await;
        let store = history.env();
        let mut env: Vec<_> = store.iter().map(|(name, value)| (*name, value.as_str())).collect();
        env.extend([("QDRANT_URL", peer.url.as_str()), ("RETAIN_LAST", "1")]);
        Self {
            service: Arc::new(Service::start(&env).await),
            history,
            _peer: peer,
        }
    }

    /// Asks for an operation, and holds it where it writes this object.
    async fn held(&self, path: &str, object: &str) -> (JoinHandle<(u16, Value)>, Armed) {
        let held = self.history.gcs().fault(object, 1, Fault::SlowCommit);
        // The one that only plans unless it is told not to.
        let body = if path == "/prune" { r#"{"dry_run": false}"# } else { "" };
        let (service, path) = (self.service.clone(), path.to_owned());
        let answer = tokio::spawn(async move { service.post(&path, body).await });
        held.hit().await;
        (answer, held)
    }

    async fn held_prune(&self) -> (JoinHandle<(u16, Value)>, Armed) {
        self.held("/prune", "*lock.json").await
    }

    async fn held_verification(&self) -> (JoinHandle<(u16, Value)>, Armed) {
        self.held(&format!("/backups/{NEW}/verify"), "*verified.json").await
    }

    async fn status(&self) -> Value {
        self.service.get("/status").await.1
    }

    /// Waits until nothing runs.
    async fn is_idle(&self) {
        while self.status().await["operations"] != json!([]) {
            tokio::task::yield_now().await;
        }
    }
}

fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_is_shown_and_nothing_else_under_the_lease_begins() {
    let lab = Lab::start().await;
    let (prune, lock) = lab.held_prune().await;
    let status = lab.status().await;
    assert_eq!(
        (&status["running"]["operation"], &status["running"]["who"]),
        (&json!("prune"), &json!("service under test")),
        "{status}"
    );
    assert_eq!(status["operations"].as_array().unwrap().len(), 1, "{status}");
    assert_eq!(status["operations"][0]["operation"], "prune");
    assert_eq!(status["operations"][0]["since"], status["running"]["since"]);

    let restore = json!({ "id": NEW }).to_string();
    for (path, body) in [
        ("/backup", ""),
        ("/restore", &restore),
        (&format!("/backups/{NEW}/drill"), r#"{"same_qdrant": true}"#),
        ("/prune", r#"{"dry_run": false}"#),
    ] {
        let (status, answer) = lab.service.post(path, body).await;
        assert_eq!((status, code(&answer)), (409, "run_in_progress"), "{path}: {answer}");
        assert_eq!(answer["held_by"]["who"], "service under test", "{path}: {answer}");
        assert!(answer["held_by"]["since"].is_string(), "{path}: {answer}");
    }
    // What only looks, and what needs no lease, is in nobody's way.
    assert_eq!(lab.service.post("/prune", r#"{"dry_run": true}"#).await.0, 200);
    let (_, verified) = lab.service.post(&format!("/backups/{OLD}/verify"), "").await;
    assert_eq!(code(&verified), "backup_damaged", "its objects are no snapshots");

    lock.release();
    let (status, answer) = prune.await.unwrap();
    assert_eq!(
        (status, &answer["report"]["deleted"][0]["id"]),
        (200, &json!(OLD)),
        "{answer}"
    );
    let status = lab.status().await;
    assert_eq!(
        (&status["running"], &status["operations"]),
        (&Value::Null, &json!([])),
        "{status}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_is_shown_beside_what_works_under_the_lease() {
    let lab = Lab::start().await;
    let (verification, record) = lab.held_verification().await;
    let status = lab.status().await;
    assert_eq!(status["running"], Value::Null, "it needs no lease");
    assert_eq!(
        (
            &status["operations"][0]["operation"],
            &status["operations"][0]["progress"]["id"]
        ),
        (&json!("verify"), &json!(NEW)),
        "{status}"
    );
    let (prune, lock) = lab.held_prune().await;
    let status = lab.status().await;
    let operations: Vec<_> = status["operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| &o["operation"])
        .collect();
    assert_eq!(operations, ["verify", "prune"]);
    lock.release();
    assert_eq!(prune.await.unwrap().0, 200);
    record.release();
    assert_eq!(code(&verification.await.unwrap().1), "backup_damaged");
    lab.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_goes_on_without_its_client_and_a_verification_ends() {
    let lab = Lab::start().await;
    let (verification, _record) = lab.held_verification().await;
    verification.abort();
    assert!(verification.await.unwrap_err().is_cancelled());
    lab.is_idle().await;

    let (prune, lock) = lab.held_prune().await;
    prune.abort();
    assert!(prune.await.unwrap_err().is_cancelled());
    assert_eq!(lab.status().await["running"]["operation"], "prune");
    lock.release();
    lab.is_idle().await;
    assert_eq!(lab.history.whole().await, [NEW]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_prune_and_verification_and_waits_for_them() {
    let lab = Lab::start().await;
    let (verification, _record) = lab.held_verification().await;
    let (prune, lock) = lab.held_prune().await;
    let mut stopped = Box::pin(lab.service.stop());
    assert!(stopped.as_mut().now_or_never().is_none(), "it waits for both");
    let (status, answer) = verification.await.unwrap();
    assert_eq!((status, code(&answer)), (503, "cancelled"), "{answer}");
    assert!(stopped.as_mut().now_or_never().is_none(), "it waits for the prune");
    lock.release();
    stopped.await;
    let (status, answer) = prune.await.unwrap();
    assert_eq!((status, code(&answer)), (503, "cancelled"), "{answer}");
    assert_eq!(answer["report"]["deleted"], json!([]), "{answer}");
    assert_eq!(lab.history.whole().await, [NEW, OLD]);
    let keys = lab.history.keys().await;
    assert!(!keys.iter().any(|key| key.ends_with("lock.json")), "{keys:?}");
}
