//! Who may do what: readers, operators and admins by e-mail address, and the role of those whom no list names.

use super::iam::{AGENT, stripped};
use super::issuer::{AUDIENCE, EMAIL};
use super::{Answer, NOBODY};
use qdrant_backup::config::Config;
use serde_json::json;
use std::collections::HashMap;
use tempfile::TempDir;
use testkit::service::Service;

const SCHEDULER: &str = "Cron@Project.Iam.GServiceAccount.com";
const ADMIN: &str = "dba@x.test";
/// Every kind of request, from what each role may do to what only admins may.
const READS: [(&str, &str); 4] = [
    ("GET", "/backups"),
    ("HEAD", "/backups"),
    ("GET", "/backups/latest"),
    ("GET", "/nothing"),
];
const OPERATES: [(&str, &str); 3] = [
    ("POST", "/backup?x"),
    ("POST", "/backups/latest/verify"),
    ("PUT", "/backups/latest/pin"),
];
const ADMINISTERS: [(&str, &str); 12] = [
    ("POST", "/restore"),
    ("POST", "/prune"),
    ("POST", "/backups/latest/drill"),
    ("DELETE", "/backups/latest/pin"),
    ("POST", "/backups/latest/pin"),
    ("PUT", "/backup"),
    ("POST", "/backup/"),
    ("POST", "//backup"),
    ("POST", "/backups/a%2Fverify/drill"),
    ("POST", "/nothing"),
    ("OPTIONS", "/restore"),
    ("TRACE", "/backup"),
];

async fn service(dir: &TempDir, roles: &[(&str, &str)]) -> Service {
    let store = url::Url::from_directory_path(dir.path()).unwrap();
    let mut env = vec![
        ("QDRANT_URL", NOBODY),
        ("BACKUP_STORE", store.as_str()),
        ("K_SERVICE", "backup"),
    ];
    env.extend(roles);
    Service::start(&env).await
}

async fn ask(service: &Service, (method, path): (&str, &str), email: Option<&str>) -> Answer {
    let token = stripped(&email.map_or(json!({"sub": "1"}), |email| json!({"email": email})));
    service
        .send(method, path, &[("authorization", token.as_bytes())], "{}")
        .await
}

/// How many of the three kinds this caller may send: 1 reads, 2 also operates, 3 all of them.
async fn role(service: &Service, email: Option<&str>) -> usize {
    let mut kinds = 0;
    for (kind, calls) in [&READS[..], &OPERATES[..], &ADMINISTERS[..]].into_iter().enumerate() {
        let mut refused = 0;
        for call in calls {
            let answer = ask(service, *call, email).await;
            assert_ne!(answer.status, 401, "{call:?}");
            if answer.status == 403 {
                refused += 1;
                let code = if email.is_some() {
                    "caller_not_allowed"
                } else {
                    "email_not_verified"
                };
                assert_eq!(answer.result(), (403, code), "{call:?} {email:?}");
                assert!(answer.body["error"]["remedy"].is_string(), "{call:?} {email:?}");
            }
        }
        assert!(
            refused == 0 || refused == calls.len(),
            "{email:?}: {refused} of {calls:?}"
        );
        match refused {
            0 => assert_eq!(kinds, kind, "{email:?} may do more than a part of it"),
            _ => continue,
        }
        kinds = kind + 1;
    }
    kinds
}

#[tokio::test]
async fn each_role_may_do_its_work_and_no_more() {
    let lists = [
        ("AUTH_READERS", AGENT),
        ("AUTH_OPERATORS", "cron@project.iam.gserviceaccount.com, both@x.test"),
        ("AUTH_ADMINS", "dba@x.test,both@x.test"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let service = service(&dir, &lists).await;
    for (email, expected) in [
        (Some(AGENT), 1),
        (Some(&*AGENT.to_uppercase()), 1),
        (Some(SCHEDULER), 2),
        (Some(ADMIN), 3),
        (Some("both@x.test"), 2),
        (Some("stranger@x.test"), 1),
        (Some("o'brien@x.test"), 1),
        (None, 1),
    ] {
        assert_eq!(role(&service, email).await, expected, "{email:?}");
    }
}

#[tokio::test]
async fn whom_no_list_names_has_the_default_role() {
    let dir = tempfile::tempdir().unwrap();
    for (lists, stranger, nameless) in [
        (vec![], 3, 3),
        (vec![("AUTH_READERS", AGENT)], 3, 1),
        (vec![("AUTH_OPERATORS", SCHEDULER)], 3, 2),
        (vec![("AUTH_ADMINS", ADMIN)], 1, 1),
        (vec![("AUTH_ADMINS", ADMIN), ("AUTH_DEFAULT_ROLE", "operator")], 2, 2),
        (vec![("AUTH_READERS", AGENT), ("AUTH_DEFAULT_ROLE", "Operator")], 2, 1),
        (vec![("AUTH_DEFAULT_ROLE", "reader")], 1, 1),
        (vec![("AUTH_ADMINS", ADMIN), ("AUTH_DEFAULT_ROLE", "admin")], 3, 3),
    ] {
        let service = service(&dir, &lists).await;
        assert_eq!(role(&service, Some(EMAIL)).await, stranger, "{lists:?}");
        assert_eq!(role(&service, None).await, nameless, "{lists:?}, without an address");
    }
}

#[test]
fn a_service_that_verifies_tokens_needs_somebody_who_may_do_something() {
    let config = |roles: &[(&str, &str)]| {
        let mut env: HashMap<_, _> = roles.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        for (name, value) in [
            ("QDRANT_URL", NOBODY),
            ("BACKUP_STORE", "file:///b"),
            ("AUTH_MODE", "oidc"),
            ("AUTH_AUDIENCE", AUDIENCE),
            ("PORT", "8080"),
        ] {
            env.insert(name.to_owned(), value.to_owned());
        }
        Config::for_service(&|name: &str| env.get(name).cloned()).map(|config| config.server.auth)
    };
    for list in ["AUTH_ALLOWED_EMAILS", "AUTH_OPERATORS", "AUTH_ADMINS"] {
        assert!(config(&[(list, EMAIL)]).is_ok(), "{list}");
    }
    assert_eq!(
        config(&[("AUTH_ALLOWED_EMAILS", EMAIL)]).unwrap(),
        config(&[("AUTH_ADMINS", EMAIL)]).unwrap(),
        "the older name of the same list"
    );
    for wrong in [
        vec![],
        vec![("AUTH_READERS", AGENT)],
        vec![("AUTH_ADMINS", "*@x.test")],
        vec![("AUTH_OPERATORS", EMAIL), ("AUTH_DEFAULT_ROLE", "reader")],
    ] {
        assert!(config(&wrong).is_err(), "{wrong:?}");
    }
}
