//! Every way in which a request can reach a service that leaves it to Cloud Run to check callers.

use super::issuer::{EMAIL, KEYS, encode};
use super::{Answer, NOBODY, Service, assert_asks_for_a_token, start};
use qdrant_backup::server::auth::{Mode, Role, Roles};
use serde_json::{Value, json};

const STRIPPED: &str = "SIGNATURE_REMOVED_BY_GOOGLE";
const SERVERLESS: &str = "x-serverless-authorization";
/// The agent of an uptime check.
pub(crate) const AGENT: &str = "service-1@gcp-sa-monitoring-notification.iam.gserviceaccount.com";
/// Calls that read, and calls that change something.
pub(crate) const CALLS: [(&str, &str); 10] = [
    ("GET", "/health/freshness"),
    ("GET", "/backups"),
    ("HEAD", "/backups"),
    ("POST", "/backup"),
    ("POST", "/restore"),
    ("POST", "/prune"),
    ("POST", "/backups/latest/verify"),
    ("PUT", "/backups/latest/pin"),
    ("DELETE", "/backups/latest/pin"),
    ("OPTIONS", "/restore"),
];

/// A token as Cloud Run leaves it.
pub(crate) fn stripped(claims: &Value) -> String {
    format!("Bearer {}.{}.{STRIPPED}", encode("{}"), encode(claims.to_string()))
}

async fn service(readers: &[&str]) -> Service {
    let readers = readers.iter().map(|email| (*email).to_owned());
    start(
        Mode::Iam(Roles::new(Some(Role::Admin)).with(Role::Reader, readers)),
        NOBODY,
    )
    .await
}

async fn ask(service: &Service, call: (&str, &str), headers: &[(&str, &str)]) -> Answer {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    service.send(call.0, call.1, &headers, "{}").await
}

#[tokio::test]
async fn only_a_token_that_cloud_run_has_checked_gets_in() {
    let service = service(&[]).await;
    let checked = stripped(&json!({"email": EMAIL}));
    let signed = format!("Bearer {}", KEYS[0].token(service.hands.now()));
    let nameless = stripped(&json!({"sub": "1"}));
    let garbage = format!("Bearer %.%.{STRIPPED}");
    let unsigned = format!("Bearer e30.e30.{STRIPPED}x");
    let (authorization, serverless) = (
        |v: &str| ("authorization", v.to_owned()),
        |v: &str| (SERVERLESS, v.to_owned()),
    );
    let cases = [
        ("nothing", vec![], (401, "token_missing")),
        ("a checked token", vec![authorization(&checked)], (200, "")),
        (
            "one in X-Serverless-Authorization",
            vec![serverless(&checked)],
            (200, ""),
        ),
        (
            "one without an e-mail address",
            vec![authorization(&nameless)],
            (200, ""),
        ),
        ("one that cannot be read", vec![authorization(&garbage)], (200, "")),
        (
            "a token that nobody has checked",
            vec![authorization(&signed)],
            (401, "token_unchecked"),
        ),
        (
            "one in X-Serverless-Authorization that nobody has checked",
            vec![serverless(&signed)],
            (401, "token_unchecked"),
        ),
        (
            "an own token beside a checked one",
            vec![authorization(&signed), serverless(&checked)],
            (200, ""),
        ),
        (
            "a written one beside one that nobody has checked",
            vec![authorization(&checked), serverless(&signed)],
            (401, "token_unchecked"),
        ),
        (
            "a written one beside a header without a token",
            vec![authorization(&checked), serverless("Bearer")],
            (401, "token_malformed"),
        ),
        (
            "two checked ones in one header's name",
            vec![authorization(&checked), authorization(&checked)],
            (401, "token_malformed"),
        ),
        (
            "almost a checked one",
            vec![authorization(&unsigned)],
            (401, "token_unchecked"),
        ),
        (
            "no JWT",
            vec![authorization("Bearer garbage")],
            (401, "token_unchecked"),
        ),
        (
            "a password",
            vec![authorization("Basic eDp5")],
            (401, "token_malformed"),
        ),
    ];
    for (what, headers, expected) in &cases {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = ask(&service, ("GET", "/backups"), &headers).await;
        assert_eq!(answer.result(), *expected, "{what}");
        if answer.status == 401 {
            assert_asks_for_a_token(&answer, what);
            let remedy = answer.body["error"]["remedy"].as_str().unwrap();
            assert!(!remedy.is_empty(), "{what}");
        }
    }
    assert_eq!(ask(&service, ("GET", "/health"), &[]).await.status, 200, "open as ever");
    for call in CALLS {
        assert_eq!(ask(&service, call, &[]).await.status, 401, "{call:?}");
    }
}

#[tokio::test]
async fn an_agent_may_read_and_nothing_else() {
    let service = service(&["somebody@x.test", &AGENT.to_uppercase()]).await;
    let is_refused = |answer: &Answer| matches!(answer.status, 401 | 403);
    for (who, claims, refusal) in [
        ("the agent", json!({"email": AGENT}), Some("caller_not_allowed")),
        (
            "the agent in capitals",
            json!({"email": AGENT.to_uppercase()}),
            Some("caller_not_allowed"),
        ),
        (
            "somebody without a name",
            json!({"sub": "1"}),
            Some("email_not_verified"),
        ),
        ("a list of names", json!({"email": [AGENT]}), Some("email_not_verified")),
        ("somebody else", json!({"email": EMAIL}), None),
        (
            "a name that is unfit for the log",
            json!({"email": "o'brien@x.test"}),
            None,
        ),
    ] {
        let token = stripped(&claims);
        // A backup that is let in waits for the Qdrant that is not there.
        for call in CALLS
            .into_iter()
            .filter(|call| refusal.is_some() || call.1 != "/backup")
        {
            let answer = ask(&service, call, &[("authorization", &token)]).await;
            match (call.0, refusal) {
                ("GET" | "HEAD", _) | (_, None) => assert!(!is_refused(&answer), "{who} {call:?}: {}", answer.status),
                (_, Some(code)) => assert_eq!(answer.result(), (403, code), "{who} {call:?}"),
            }
        }
        // What it brings along beside the token that Cloud Run has checked says nothing.
        let other = stripped(&json!({"email": EMAIL}));
        let both = [(SERVERLESS, token.as_str()), ("authorization", other.as_str())];
        let answer = ask(&service, ("POST", "/restore"), &both).await;
        assert_eq!(is_refused(&answer), refusal.is_some(), "{who}: {}", answer.status);
    }
}
