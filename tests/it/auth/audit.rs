//! The audit log of the shipped binary and of a service that verifies tokens: one line for every call that may change something.

use super::issuer::{EMAIL, Issuer, KEYS, claims, encode, with};
use super::{NOBODY, trusting};
use qdrant_backup::config::{LogConfig, LogFormat};
use qdrant_backup::telemetry;
use reqwest::Method;
use serde_json::{Value, json};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use testkit::peer::{Create, Peer};
use testkit::process::{self, Served, command};
use tokio::io::{AsyncBufReadExt, BufReader};

/// The binary as a service that logs JSON.
pub(super) async fn serve(qdrant: &str, store: &Path, env: &[(&str, &str)]) -> Served {
    let mut command = command(&["serve"], qdrant, store);
    Served::start(command.env("LOG_FORMAT", "json").envs(env.iter().copied())).await
}

/// Stops it; all lines that it has written meanwhile.
pub(super) async fn end(process: Served) -> Vec<Value> {
    let (code, lines) = process.end().await;
    assert_eq!(code, Some(0));
    let json = |line: &String| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
    lines.iter().map(json).collect()
}

pub(super) fn audits(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|line| line["event"] == "audit").collect()
}

#[tokio::test]
async fn every_call_that_may_change_something_is_one_line_with_who_what_and_result() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    // Also where nothing but errors is wanted: it must not depend on that.
    let env = [("K_SERVICE", "backup"), ("GOOGLE_CLOUD_PROJECT", "p")];
    let process = serve(&peer.url, dir.path(), &env).await;
    let http = reqwest::Client::new();
    let token = format!(
        "e30.{}.SIGNATURE_REMOVED_BY_GOOGLE",
        encode(json!({"email": EMAIL}).to_string())
    );
    let call = async |method: Method, path: &str, body: &'static str, header: (&'static str, &str)| {
        let request = http.request(method, format!("{}{path}", process.url)).body(body);
        let answer = request
            .header("authorization", format!("Bearer {token}"))
            .header(header.0, header.1);
        answer.send().await.unwrap().status().as_u16()
    };
    let nothing = ("accept", "*/*");
    let other = (
        "x-serverless-authorization",
        "Bearer e30.eyJlbWFpbCI6Im1lQHgudGVzdCJ9.SIGNATURE_REMOVED_BY_GOOGLE",
    );
    let page = ("sec-fetch-site", "cross-site");
    assert_eq!(call(Method::GET, "/backups", "", nothing).await, 200);
    assert_eq!(
        call(Method::POST, "/backup", "{\"collection\": \"docs\"}\n", nothing).await,
        200
    );
    assert_eq!(call(Method::POST, "/backup", "", other).await, 200);
    assert_eq!(call(Method::POST, "/backup", "{}", page).await, 403);
    assert_eq!(
        call(Method::POST, "/backup", "{\"key\": \"s3cr3t\"}", nothing).await,
        400
    );
    assert_eq!(
        call(
            Method::POST,
            "/restore",
            "{\"id\": \"latest\", \"dry_run\": true}",
            nothing
        )
        .await,
        409
    );
    assert_eq!(call(Method::POST, "/backups/latest/verify", "", nothing).await, 500);
    assert_eq!(call(Method::DELETE, "/backups/latest", "", nothing).await, 405);
    peer.on_create("docs", [Create::Forbidden]);
    assert_eq!(call(Method::POST, "/backup", "", nothing).await, 500);
    let lines = end(process).await;
    let told: Vec<_> = audits(&lines)
        .iter()
        .map(|l| {
            json!([
                l["caller"],
                l["method"],
                l["path"],
                l["asked"],
                l["status"],
                l["outcome"],
                l["code"]
            ])
        })
        .collect();
    let expected = json!([
        [
            EMAIL,
            "POST",
            "/backup",
            "{\"collection\": \"docs\"}",
            200,
            "done",
            null
        ],
        ["me@x.test", "POST", "/backup", "", 200, "done", null],
        [EMAIL, "POST", "/backup", "", 403, "refused", "browser_refused"],
        [EMAIL, "POST", "/backup", "", 400, "failed", "bad_request"],
        [
            EMAIL,
            "POST",
            "/restore",
            "{\"id\": \"latest\", \"dry_run\": true}",
            409,
            "failed",
            "restore_refused"
        ],
        [
            EMAIL,
            "POST",
            "/backups/latest/verify",
            "",
            500,
            "failed",
            "backup_damaged"
        ],
        [
            EMAIL,
            "DELETE",
            "/backups/latest",
            "",
            405,
            "failed",
            "method_not_allowed"
        ],
        [EMAIL, "POST", "/backup", "", 500, "failed", "backup_failed"],
    ]);
    assert_eq!(Value::from(told), expected);
    for line in audits(&lines) {
        assert_eq!(line["verified"], false, "the platform has checked it, not this service");
        assert!(line["latencyMs"].is_u64() && line["severity"].is_string(), "{line}");
    }
    for line in &lines {
        let line = line.to_string();
        assert!(!line.contains("s3cr3t") && !line.contains(&token[4..40]), "{line}");
    }
    let per_request = lines
        .iter()
        .filter(|line| line["message"].as_str().unwrap().starts_with("POST /backup "))
        .count();
    assert_eq!(per_request, 5, "one line for each call");
}

#[tokio::test]
async fn neither_the_audit_log_nor_what_alerts_count_depends_on_the_log_level() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    for (variable, value) in [("LOG_LEVEL", "error"), ("RUST_LOG", "off")] {
        let dir = tempfile::tempdir().unwrap();
        let env = [(variable, value)];
        let mut command = command(&["serve"], &peer.url, dir.path());
        // Nothing says where it listens, so the port has to be known before.
        let address = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        command.env("LISTEN", address.to_string()).env("LOG_FORMAT", "json");
        let mut child = command.envs(env).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        let url = format!("http://{address}");
        let http = reqwest::Client::new();
        while http.get(format!("{url}/health")).send().await.is_err() {
            tokio::task::yield_now().await;
        }
        assert_eq!(http.post(format!("{url}/backup")).send().await.unwrap().status(), 200);
        let lines = end(Served { child, log, url }).await;
        let events: Vec<_> = lines
            .iter()
            .map(|line| line["event"].as_str().unwrap_or_default())
            .collect();
        assert_eq!(events, ["backup_finished", "audit"], "{variable}={value}");
        assert_eq!(lines[1]["caller"], "local");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_a_line_all_the_same() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let process = serve(&peer.url, dir.path(), &[]).await;
    let (reached, go) = (
        Arc::new(tokio::sync::Semaphore::new(0)),
        Arc::new(tokio::sync::Semaphore::new(0)),
    );
    let held = Create::Held {
        reached: reached.clone(),
        go: go.clone(),
    };
    peer.on_create("docs", [held]);
    let client = tokio::spawn(reqwest::Client::new().post(format!("{}/backup", process.url)).send());
    reached.acquire().await.unwrap().forget();
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    let mut process = process;
    let line = loop {
        let line: Value = serde_json::from_str(&process.log.next_line().await.unwrap().unwrap()).unwrap();
        if line["event"] == "audit" {
            break line;
        }
    };
    assert_eq!(
        (&line["outcome"], line.get("status")),
        (&json!("unknown"), None),
        "{line}"
    );
    go.add_permits(1);
    let lines = loop {
        let line: Value = serde_json::from_str(&process.log.next_line().await.unwrap().unwrap()).unwrap();
        if line["event"] == "backup_finished" {
            break line;
        }
    };
    assert_eq!(lines["outcome"], "good", "{lines}");
    assert_eq!(audits(&end(process).await), Vec::<&Value>::new());
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn refused_tokens_are_audited_with_the_name_that_they_claim_and_never_told() {
    const NAME: &str = "auth::audit::refused_tokens_are_audited_with_the_name_that_they_claim_and_never_told";
    if !process::is_alone(NAME) {
        return;
    }
    let config = LogConfig {
        format: LogFormat::Json,
        ..LogConfig::default()
    };
    let log = Log::default();
    let out = log.clone();
    let subscriber = telemetry::subscriber(&config, "trace", move || out.clone(), false);
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let issuer = Issuer::start().await;
    let service = trusting(&issuer).await;
    let now = service.hands.now();
    let [key, _, stranger] = &*KEYS;
    let tokens = [
        key.token(now),
        key.sign(&key.header(), &with(now, "email", "evil@x.test")),
        key.sign(&key.header(), &with(now, "exp", 0)),
        stranger.token(now),
        key.sign_rs384(&json!({"alg": "RS384", "kid": key.id}), &claims(now)),
        "garbage-garbage.garbage-garbage.garbage-garbage".to_owned(),
    ];
    let ours = ("x-request-id", &b"audited-refusals"[..]);
    for token in &tokens {
        let value = format!("Bearer {token}");
        let headers = [("authorization", value.as_bytes()), ours];
        service.send("POST", "/backup", &headers, "{}").await;
    }
    service.send("POST", "/backup", &[ours], "{}").await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<Value> = lines
        .filter(|l: &Value| l["span"]["request_id"] == "audited-refusals")
        .collect();
    let told: Vec<_> = audits(&lines)
        .iter()
        .map(|l| json!([l["caller"], l["verified"], l["status"], l["outcome"], l["code"]]))
        .collect();
    let expected = json!([
        [EMAIL, true, 503, "failed", "qdrant_unreachable"],
        ["evil@x.test", true, 403, "refused", "caller_not_allowed"],
        [EMAIL, false, 401, "refused", "token_expired"],
        [EMAIL, false, 401, "refused", "token_not_trusted"],
        [EMAIL, false, 401, "refused", "token_not_trusted"],
        ["unknown", false, 401, "refused", "token_malformed"],
        ["unknown", false, 401, "refused", "token_missing"],
    ]);
    assert_eq!(Value::from(told), expected, "Qdrant at {NOBODY}");
    for token in &tokens {
        for part in token
            .split('.')
            .filter(|part| part.len() > 40 || part.starts_with("garbage"))
        {
            assert!(!text.contains(part), "a token is in the log, at level trace");
        }
    }
}
