//! `AUTH_MODE=token`: callers with a token of a file.

use super::audit::{audits, end, serve};
use super::{Answer, NOBODY, assert_asks_for_a_token};
use qdrant_backup::base::hash::sha256_hex;
use qdrant_backup::config::Config;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;
use testkit::process::{command, finish};
use testkit::service::{Service, Setup};

const READER: &str = "reader-0123456789-abcdefghijklmnop";
const OPERATOR: &str = "operator-0123456789-abcdefghijklmno";
const ADMIN: &str = "admin-0123456789-abcdefghijklmnopqr";
const WRONG: &str = "wrong-0123456789-abcdefghijklmnopqr";

/// A file of tokens that its owner alone reads: three roles, one of the tokens by its digest.
fn tokens(dir: &Path) -> String {
    let digest = sha256_hex(ADMIN.as_bytes());
    let text =
        format!("# who may call\nreader prometheus {READER}\noperator cron {OPERATOR}\nadmin dba sha256:{digest}\n");
    write(dir, &text)
}

fn write(dir: &Path, text: &str) -> String {
    let path = dir.join("tokens");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A service that takes the tokens of the file at `path`.
async fn service(dir: &TempDir, path: &str) -> Service {
    let store = url::Url::from_directory_path(dir.path()).unwrap();
    let setup = Setup::from_env(&[
        ("QDRANT_URL", NOBODY),
        ("BACKUP_STORE", store.as_str()),
        ("BACKUP_START_TIMEOUT_SECS", "0"),
        ("AUTH_MODE", "token"),
        ("AUTH_TOKEN_FILE", path),
    ]);
    setup.start().await
}

async fn call(service: &Service, (method, path): (&str, &str), token: &str) -> Answer {
    let value = format!("Bearer {token}");
    service
        .send(
            method,
            path,
            &[("authorization", value.as_bytes())],
            "{\"id\": \"latest\"}",
        )
        .await
}

async fn ask(service: &Service, token: &str) -> (u16, String) {
    let answer = call(service, ("GET", "/backups"), token).await;
    (
        answer.status,
        answer.body["error"]["code"].as_str().unwrap_or_default().to_owned(),
    )
}

fn refused(code: &str) -> (u16, String) {
    (401, code.to_owned())
}

#[tokio::test]
async fn each_token_has_the_role_of_its_line_and_no_other_one_gets_in() {
    let dir = tempfile::tempdir().unwrap();
    let service = service(&dir, &tokens(dir.path())).await;
    let calls = [
        ("GET", "/backups"),
        ("PUT", "/backups/latest/pin"),
        ("POST", "/restore"),
    ];
    for (token, may) in [(READER, 1), (OPERATOR, 2), (ADMIN, 3)] {
        for (n, wanted) in calls.into_iter().enumerate() {
            let answer = call(&service, wanted, token).await;
            match n < may {
                true => assert!(
                    !matches!(answer.status, 401 | 403),
                    "{token} {wanted:?}: {:?}",
                    answer.result()
                ),
                false => assert_eq!(answer.result(), (403, "caller_not_allowed"), "{token} {wanted:?}"),
            }
        }
    }
    let digest = sha256_hex(ADMIN.as_bytes());
    let hashed = format!("sha256:{digest}");
    for token in [WRONG, &READER[1..], &digest, &hashed] {
        assert_eq!(ask(&service, token).await, refused("token_not_trusted"), "{token}");
    }
    assert_eq!(call(&service, ("GET", "/health"), WRONG).await.status, 200);
    let missing = service.send("GET", "/backups", &[], "").await;
    assert_eq!(missing.result(), (401, "token_missing"));
    assert_asks_for_a_token(&missing, "without a token");
    let password = service
        .send("GET", "/backups", &[("authorization", &b"Basic eDp5"[..])], "")
        .await;
    assert_eq!(password.result(), (401, "token_malformed"));
    let page = [
        ("authorization", READER.as_bytes()),
        ("origin", &b"https://evil.test"[..]),
    ];
    assert_eq!(
        service.send("GET", "/backups", &page, "").await.result(),
        (403, "browser_refused")
    );
}

#[tokio::test]
async fn failures_are_limited_and_a_right_token_is_taken_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let service = service(&dir, &tokens(dir.path())).await;
    let mut answers = Vec::new();
    for _ in 0..50 {
        answers.push(ask(&service, WRONG).await);
        assert_eq!(ask(&service, READER).await.0, 200);
    }
    assert_eq!(answers.iter().filter(|(status, _)| *status == 401).count(), 10);
    assert_eq!(answers[49], (429, "too_many_failures".to_owned()));
    let answer = call(&service, ("GET", "/backups"), WRONG).await;
    let wait: i64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    service.hands.pass(std::time::Duration::from_secs(61));
    assert_eq!(ask(&service, WRONG).await, refused("token_not_trusted"));
}

#[tokio::test]
async fn a_changed_file_holds_at_once_and_a_broken_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = tokens(dir.path());
    let service = service(&dir, &path).await;
    assert_eq!(ask(&service, WRONG).await.0, 401);
    write(dir.path(), &format!("reader new {WRONG}\n"));
    assert_eq!(ask(&service, WRONG).await.0, 200);
    assert_eq!(ask(&service, READER).await.0, 401, "a token that is taken out");
    for broken in ["", "reader new short\n", &format!("reader {READER}\n")] {
        write(dir.path(), broken);
        assert_eq!(ask(&service, WRONG).await.0, 200, "{broken}");
        assert_eq!(ask(&service, READER).await.0, 401, "{broken}");
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(ask(&service, WRONG).await.0, 200);
    // As Kubernetes replaces a secret.
    std::fs::write(dir.path().join("next"), format!("reader old {READER}\n")).unwrap();
    std::os::unix::fs::symlink("next", &path).unwrap();
    assert_eq!(
        (ask(&service, READER).await.0, ask(&service, WRONG).await.0),
        (200, 401)
    );
}

#[test]
fn a_file_that_cannot_be_used_is_told_by_line_and_without_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let told = |file: Option<&str>, more: &[(&str, &str)]| {
        let env = |name: &str| match name {
            "QDRANT_URL" => Some(NOBODY.to_owned()),
            "BACKUP_STORE" => Some("file:///b".to_owned()),
            "AUTH_MODE" => Some("token".to_owned()),
            "AUTH_TOKEN_FILE" => file.map(str::to_owned),
            "LISTEN" => Some("0.0.0.0:8080".to_owned()),
            name => more
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| (*value).to_owned()),
        };
        match Config::for_service(&env) {
            Ok(_) => Vec::new(),
            Err(invalid) => invalid.0.into_iter().map(|p| (p.variable, p.wrong)).collect(),
        }
    };
    let good = tokens(dir.path());
    assert!(told(Some(&good), &[]).is_empty());
    assert_eq!(told(None, &[])[0].0, "AUTH_TOKEN_FILE");
    assert_eq!(told(Some(&good), &[("AUTH_ADMINS", "a@x.test")])[0].0, "AUTH_ADMINS");
    assert_eq!(told(Some("/nonexistent"), &[])[0].0, "AUTH_TOKEN_FILE");
    assert_eq!(told(Some(dir.path().to_str().unwrap()), &[])[0].1, "is not a file");
    let broken = write(
        dir.path(),
        &format!("{ADMIN} dba admin\n\nadmin dba {ADMIN} x\nreader a short\n"),
    );
    let problems = told(Some(&broken), &[]);
    let lines: Vec<_> = problems
        .iter()
        .map(|(_, wrong)| wrong.split(':').next().unwrap())
        .collect();
    assert_eq!(lines, ["line 1", "line 3", "line 4"]);
    assert!(!format!("{problems:?}").contains(ADMIN), "{problems:?}");
    // In another mode nothing would look at it.
    let other = |name: &str| match name {
        "AUTH_MODE" => Some("none".to_owned()),
        "AUTH_TOKEN_FILE" => Some(good.clone()),
        "QDRANT_URL" => Some(NOBODY.to_owned()),
        "BACKUP_STORE" => Some("file:///b".to_owned()),
        _ => None,
    };
    assert_eq!(
        Config::for_service(&other).unwrap_err().0[0].variable,
        "AUTH_TOKEN_FILE"
    );
}

#[tokio::test]
async fn the_log_has_names_and_a_flood_of_failures_as_one_line_and_no_token() {
    let dir = tempfile::tempdir().unwrap();
    let store = tempfile::tempdir().unwrap();
    let path = tokens(dir.path());
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let env = [
        ("AUTH_MODE", "token"),
        ("AUTH_TOKEN_FILE", path.as_str()),
        ("LOG_LEVEL", "trace"),
    ];
    let process = serve(NOBODY, store.path(), &env).await;
    let http = reqwest::Client::new();
    let pin = async |token: &str| {
        let request = http
            .put(format!("{}/backups/latest/pin", process.url))
            .bearer_auth(token);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!((pin(OPERATOR).await, pin(READER).await), (404, 403));
    for _ in 0..40 {
        pin(WRONG).await;
    }
    let url = process.url.clone();
    let lines = end(process).await;
    let told: Vec<_> = audits(&lines)
        .iter()
        .map(|l| json!([l["caller"], l["verified"], l["status"], l["code"]]))
        .collect();
    assert_eq!(told[0], json!(["cron", true, 404, "backup_not_found"]));
    assert_eq!(told[1], json!(["prometheus", true, 403, "caller_not_allowed"]));
    assert_eq!(
        told[2..],
        vec![json!(["unknown", false, 401, "token_not_trusted"]); 10],
        "{url}"
    );
    let floods = lines
        .iter()
        .filter(|line| line["peer"] == "127.0.0.1" && line["severity"] == "WARNING");
    assert_eq!(floods.count(), 1);
    let text = format!("{lines:?}");
    for token in [
        READER,
        OPERATOR,
        ADMIN,
        WRONG,
        &sha256_hex(ADMIN.as_bytes()),
        &sha256_hex(WRONG.as_bytes()),
    ] {
        assert!(!text.contains(token), "{token}");
    }
}

#[tokio::test]
async fn check_counts_the_callers_and_warns_of_a_file_that_others_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = tempfile::tempdir().unwrap();
    let path = tokens(dir.path());
    let line = async || {
        let mut command = command(&["check", "--json"], NOBODY, store.path());
        command.envs([("AUTH_MODE", "token"), ("AUTH_TOKEN_FILE", path.as_str())]);
        let (_, out, _) = finish(command.spawn().unwrap()).await;
        let report: serde_json::Value = serde_json::from_str(&out).unwrap();
        let lines = report["checks"].as_array().unwrap();
        lines.iter().find(|line| line["check"] == "callers").unwrap().clone()
    };
    let told = line().await;
    assert_eq!(told["state"], "ok");
    assert_eq!(told["message"], "3 tokens: 1 reader, 1 operator, 1 admin");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let told = line().await;
    assert_eq!((&told["state"], told["remedy"].is_string()), (&json!("warn"), true));
    write(dir.path(), "admin dba short\n");
    let told = line().await;
    assert_eq!(told["state"], "fail");
    assert!(
        told["message"]
            .as_str()
            .unwrap()
            .contains("line 1: the token is shorter"),
        "{told}"
    );
}
