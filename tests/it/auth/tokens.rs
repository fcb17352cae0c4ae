//! Every token that a caller could come with, and what it is told.

use super::iam::AGENT;
use super::issuer::{AUDIENCE, EMAIL, ISSUER, Issuer, KEYS, claims, encode, with, without};
use super::{Answer, ask, assert_asks_for_a_token, trusting};
use aws_lc_rs::hmac;
use serde_json::{Value, json};
use std::time::Duration;
use time::OffsetDateTime;

const STRIPPED: &str = "SIGNATURE_REMOVED_BY_GOOGLE";

struct Case {
    what: &'static str,
    headers: Vec<(&'static str, Vec<u8>)>,
    expected: (u16, &'static str),
}

fn case(what: &'static str, token: impl AsRef<[u8]>, status: u16, code: &'static str) -> Case {
    let value = [b"Bearer ", token.as_ref()].concat();
    raw(what, &[("authorization", &value)], status, code)
}

fn raw(what: &'static str, headers: &[(&'static str, &[u8])], status: u16, code: &'static str) -> Case {
    let headers = headers.iter().map(|(name, value)| (*name, value.to_vec())).collect();
    let expected = (status, code);
    Case {
        what,
        headers,
        expected,
    }
}

fn good(now: OffsetDateTime) -> Vec<Case> {
    let key = &KEYS[0];
    let token = key.token(now);
    let at = now.unix_timestamp();
    let sign = |claims: Value| key.sign(&key.header(), &claims);
    vec![
        case("as it should be", &token, 200, ""),
        raw(
            "bearer in lower case",
            &[("authorization", format!("bearer {token}").as_bytes())],
            200,
            "",
        ),
        case(
            "several audiences, ours among them",
            sign(with(now, "aud", json!(["https://x.test", AUDIENCE]))),
            200,
            "",
        ),
        case(
            "the e-mail address in another case",
            sign(with(now, "email", EMAIL.to_uppercase())),
            200,
            "",
        ),
        case(
            "an agent that may only read, and is not among those that may call",
            sign(with(now, "email", AGENT.to_uppercase())),
            200,
            "",
        ),
        case("expired 29 s ago", sign(with(now, "exp", at - 29)), 200, ""),
        case("valid in 30 s", sign(with(now, "nbf", at + 30)), 200, ""),
        raw(
            "and a stripped one in X-Serverless-Authorization",
            &[
                ("authorization", format!("Bearer {token}").as_bytes()),
                (
                    "x-serverless-authorization",
                    format!("Bearer e30.e30.{STRIPPED}").as_bytes(),
                ),
            ],
            200,
            "",
        ),
    ]
}

fn wrong_claims(now: OffsetDateTime) -> Vec<Case> {
    let key = &KEYS[0];
    let at = now.unix_timestamp();
    let sign = |claims: Value| key.sign(&key.header(), &claims);
    let nested = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let twice = claims(now).to_string().replacen('{', "{\"email\":\"evil@x.test\",", 1);
    vec![
        case(
            "another issuer",
            sign(with(now, "iss", "https://evil.test")),
            401,
            "token_issuer",
        ),
        case(
            "issuer with a slash more",
            sign(with(now, "iss", format!("{ISSUER}/"))),
            401,
            "token_issuer",
        ),
        case(
            "a list of issuers",
            sign(with(now, "iss", json!([ISSUER, "https://evil.test"]))),
            401,
            "token_malformed",
        ),
        case("no issuer", sign(without(now, "iss")), 401, "token_malformed"),
        case(
            "another audience",
            sign(with(now, "aud", "https://evil.test")),
            401,
            "token_audience",
        ),
        case(
            "audience in another case",
            sign(with(now, "aud", AUDIENCE.to_uppercase())),
            401,
            "token_audience",
        ),
        case(
            "audience with a path",
            sign(with(now, "aud", format!("{AUDIENCE}/backup"))),
            401,
            "token_audience",
        ),
        case("no audience", sign(without(now, "aud")), 401, "token_audience"),
        case(
            "audience null",
            sign(with(now, "aud", Value::Null)),
            401,
            "token_audience",
        ),
        case(
            "an empty list of audiences",
            sign(with(now, "aud", json!([]))),
            401,
            "token_audience",
        ),
        case("a number as audience", sign(with(now, "aud", 7)), 401, "token_audience"),
        case(
            "expired 30 s ago",
            sign(with(now, "exp", at - 30)),
            401,
            "token_expired",
        ),
        case("expired in 1970", sign(with(now, "exp", 0)), 401, "token_expired"),
        case(
            "expired before 1970",
            sign(with(now, "exp", -1)),
            401,
            "token_malformed",
        ),
        case("no expiry", sign(without(now, "exp")), 401, "token_malformed"),
        case(
            "a text as expiry",
            sign(with(now, "exp", "tomorrow")),
            401,
            "token_malformed",
        ),
        case(
            "valid in 31 s",
            sign(with(now, "nbf", at + 31)),
            401,
            "token_not_yet_valid",
        ),
        case("a text as begin", sign(with(now, "nbf", "now")), 401, "token_malformed"),
        case(
            "e-mail not verified",
            sign(with(now, "email_verified", false)),
            403,
            "email_not_verified",
        ),
        case(
            "e-mail verified left out",
            sign(without(now, "email_verified")),
            403,
            "email_not_verified",
        ),
        case(
            "e-mail verified as a text",
            sign(with(now, "email_verified", "true")),
            403,
            "email_not_verified",
        ),
        case("no e-mail", sign(without(now, "email")), 403, "email_not_verified"),
        case(
            "a list of e-mails",
            sign(with(now, "email", json!([EMAIL]))),
            403,
            "email_not_verified",
        ),
        case(
            "another e-mail",
            sign(with(now, "email", "evil@x.test")),
            403,
            "caller_not_allowed",
        ),
        case(
            "an e-mail that begins so",
            sign(with(now, "email", format!("{EMAIL}.evil.test"))),
            403,
            "caller_not_allowed",
        ),
        case(
            "an e-mail with a space",
            sign(with(now, "email", format!("{EMAIL} "))),
            403,
            "caller_not_allowed",
        ),
        case(
            "an empty e-mail",
            sign(with(now, "email", "")),
            403,
            "caller_not_allowed",
        ),
        case(
            "a claim given twice",
            key.sign_text(&key.header().to_string(), &twice),
            401,
            "token_malformed",
        ),
        case("claims that are a list", sign(json!([1])), 401, "token_malformed"),
        case(
            "claims nested 5000 deep",
            key.sign_text(&key.header().to_string(), &nested),
            401,
            "token_malformed",
        ),
        case(
            "claims that are no JSON",
            key.sign_text(&key.header().to_string(), "{"),
            401,
            "token_malformed",
        ),
    ]
}

fn wrong_signatures(now: OffsetDateTime) -> Vec<Case> {
    let [key, _, stranger] = &*KEYS;
    let token = key.token(now);
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let evil = encode(with(now, "email", "evil@x.test").to_string());
    let hs256 = {
        let message = format!(
            "{}.{payload}",
            encode(json!({"alg": "HS256", "kid": key.id}).to_string())
        );
        let public = hmac::Key::new(hmac::HMAC_SHA256, key.public());
        format!("{message}.{}", encode(hmac::sign(&public, message.as_bytes())))
    };
    let mut flipped = token.clone().into_bytes();
    let last = flipped.len() - 10;
    flipped[last] = if flipped[last] == b'A' { b'B' } else { b'A' };
    let none = |alg: &str| format!("{}.{payload}.", encode(json!({"alg": alg, "kid": key.id}).to_string()));
    let header_with = |name: &str, value: Value| {
        let mut header = key.header();
        header[name] = value;
        header
    };
    let own = json!({"alg": "RS256", "kid": stranger.id, "jwk": stranger.jwk()});
    let jku = json!({"alg": "RS256", "kid": "first", "jku": "https://evil.test/certs"});
    vec![
        case("alg none", none("none"), 401, "token_malformed"),
        case(
            "alg NONE with a signature",
            format!("{}{signature}", none("NONE")),
            401,
            "token_malformed",
        ),
        case("HS256 with the public key", hs256, 401, "token_not_trusted"),
        case(
            "RS384",
            key.sign_rs384(&header_with("alg", json!("RS384")), &claims(now)),
            401,
            "token_not_trusted",
        ),
        case(
            "another's key under our name",
            stranger.sign(&key.header(), &claims(now)),
            401,
            "token_not_trusted",
        ),
        case(
            "a key that is not published",
            stranger.token(now),
            401,
            "token_not_trusted",
        ),
        case(
            "a key that it brings along",
            stranger.sign(&own, &claims(now)),
            401,
            "token_not_trusted",
        ),
        case(
            "a key that it says where to fetch",
            stranger.sign(&jku, &claims(now)),
            401,
            "token_not_trusted",
        ),
        case(
            "no key named",
            key.sign(&json!({"alg": "RS256"}), &claims(now)),
            401,
            "token_not_trusted",
        ),
        case(
            "a number as name of the key",
            key.sign(&header_with("kid", json!(1)), &claims(now)),
            401,
            "token_malformed",
        ),
        case(
            "an extension that must be understood",
            key.sign(&header_with("crit", json!(["b64"])), &claims(now)),
            401,
            "token_not_trusted",
        ),
        case("no signature", format!("{message}."), 401, "token_not_trusted"),
        case(
            "one character of the signature changed",
            flipped,
            401,
            "token_not_trusted",
        ),
        case(
            "the signature cut short",
            &token[..token.len() - 22],
            401,
            "token_not_trusted",
        ),
        case(
            "the claims of another",
            format!("{header}.{evil}.{signature}"),
            401,
            "token_not_trusted",
        ),
        case(
            "the signature stripped by Cloud Run",
            format!("{message}.{STRIPPED}"),
            401,
            "token_stripped",
        ),
        raw(
            "only a stripped one in X-Serverless-Authorization",
            &[(
                "x-serverless-authorization",
                format!("Bearer {message}.{STRIPPED}").as_bytes(),
            )],
            401,
            "token_stripped",
        ),
        raw(
            "a good one in X-Serverless-Authorization only",
            &[("x-serverless-authorization", format!("Bearer {token}").as_bytes())],
            401,
            "token_missing",
        ),
    ]
}

fn garbage(now: OffsetDateTime) -> Vec<Case> {
    let key = &KEYS[0];
    let token = key.token(now);
    let (message, _) = token.rsplit_once('.').unwrap();
    let nested = format!("{}{}", "{\"a\":".repeat(2000), "}".repeat(2000));
    let long = key.sign(&key.header(), &with(now, "padding", "A".repeat(13 << 10)));
    let authorization = |what, value: &[u8]| raw(what, &[("authorization", value)], 401, "token_malformed");
    vec![
        raw("nothing", &[], 401, "token_missing"),
        authorization("an empty header", b""),
        authorization("Bearer alone", b"Bearer"),
        authorization("Bearer and spaces", b"Bearer    "),
        authorization("no scheme", token.as_bytes()),
        authorization("Basic", b"Basic c2NoZWR1bGVyOnNlY3JldC1wYXNzd29yZA=="),
        authorization("bytes that are no UTF-8", b"Bearer \xff\xfe\xfd.\xff.\xff"),
        authorization("UTF-8 beyond ASCII", "Bearer 令牌.令牌.令牌".as_bytes()),
        authorization("a token in quotes", format!("Bearer \"{token}\"").as_bytes()),
        raw(
            "two headers",
            &[
                ("authorization", format!("Bearer {token}").as_bytes()),
                ("authorization", format!("Bearer {token}").as_bytes()),
            ],
            401,
            "token_malformed",
        ),
        case("one word", "garbage-garbage", 401, "token_malformed"),
        case("dots only", "..", 401, "token_malformed"),
        case("a hundred dots", ".".repeat(100), 401, "token_malformed"),
        case(
            "a good token and a part more",
            format!("{token}.e30"),
            401,
            "token_malformed",
        ),
        case("a part less", message, 401, "token_malformed"),
        case("no base64", "%%%%%%%%.!!!!!!!!.########", 401, "token_malformed"),
        case(
            "base64 with padding",
            format!("e30=.{}", "e30=.e30="),
            401,
            "token_malformed",
        ),
        case(
            "a header that is no JSON",
            format!("{}.e30.e30", encode("garbage")),
            401,
            "token_malformed",
        ),
        case(
            "a header that is no UTF-8",
            format!("{}.e30.e30", encode(b"\xff\xff")),
            401,
            "token_malformed",
        ),
        case(
            "a header nested 2000 deep",
            format!("{}.e30.e30", encode(nested)),
            401,
            "token_malformed",
        ),
        case("good but for its 17 KiB", long, 401, "token_malformed"),
        case(
            "60 KiB",
            format!("{}.e30.e30", "A".repeat(60 << 10)),
            401,
            "token_malformed",
        ),
        case("300 KiB", format!("{}.e30.e30", "A".repeat(300 << 10)), 431, ""),
        case("a megabyte", "A".repeat(1 << 20), 431, ""),
    ]
}

/// Whatever is wrong, it is told in one line with a remedy, and nothing of the token is told back.
#[track_caller]
fn assert_told(case: &Case, answer: &Answer) {
    let (what, body) = (case.what, answer.body.to_string());
    if matches!(answer.status, 200 | 431) {
        return;
    }
    let error = &answer.body["error"];
    for field in ["message", "remedy"] {
        let text = error[field].as_str().unwrap();
        assert!(!text.is_empty() && !text.contains('\n'), "{what}: {body}");
    }
    match answer.status {
        401 => assert_asks_for_a_token(answer, what),
        _ => assert!(!answer.headers.contains_key("www-authenticate"), "{what}"),
    }
    let head = format!("{:?}", answer.headers);
    for (_, value) in &case.headers {
        let value = String::from_utf8_lossy(value);
        let parts = value
            .split([' ', '.'])
            .filter(|part| part.len() >= 8 && *part != STRIPPED);
        for part in parts {
            assert!(
                !body.contains(part) && !head.contains(part),
                "{what}: {part} is told back: {body}"
            );
        }
    }
}

#[tokio::test]
async fn only_a_token_of_the_issuer_for_this_service_and_this_caller_gets_in() {
    let issuer = Issuer::start().await;
    let service = trusting(&issuer).await;
    let now = service.hands.now();
    let mut wrong = Vec::new();
    println!("{:<52} {:>6}  code", "token", "status");
    for cases in [good(now), wrong_claims(now), wrong_signatures(now), garbage(now)] {
        for case in cases {
            let headers: Vec<_> = case
                .headers
                .iter()
                .map(|(name, value)| (*name, value.as_slice()))
                .collect();
            let answer = service.send("GET", "/backups", &headers, "").await;
            println!("{:<52} {:>6}  {}", case.what, answer.status, answer.result().1);
            if answer.result() != case.expected {
                wrong.push(format!("{}: {:?}, not {:?}", case.what, answer.result(), case.expected));
            }
            assert_told(&case, &answer);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let after = ask(&service, &KEYS[0].token(now)).await;
    assert_eq!(after.status, 200, "none of that did harm");
}

#[tokio::test]
async fn an_agent_that_may_only_read_can_change_nothing() {
    let issuer = Issuer::start().await;
    let service = trusting(&issuer).await;
    let now = service.hands.now();
    let key = &KEYS[0];
    let value = format!("Bearer {}", key.sign(&key.header(), &with(now, "email", AGENT)));
    for (method, path) in super::iam::CALLS {
        let headers = [("authorization", value.as_bytes())];
        let answer = service.send(method, path, &headers, "{}").await;
        match method {
            "GET" | "HEAD" => assert!(
                !matches!(answer.status, 401 | 403),
                "{method} {path}: {}",
                answer.status
            ),
            _ => assert_eq!(answer.result(), (403, "caller_not_allowed"), "{method} {path}"),
        }
    }
}

#[tokio::test]
async fn a_stripped_signature_is_named_with_its_cause_and_the_way_out() {
    let issuer = Issuer::start().await;
    let service = trusting(&issuer).await;
    let answer = ask(&service, &format!("e30.e30.{STRIPPED}")).await;
    let error = &answer.body["error"];
    assert_eq!(error["code"], "token_stripped", "{error}");
    for (field, word) in [("message", STRIPPED), ("remedy", "AUTH_MODE=iam")] {
        assert!(error[field].as_str().unwrap().contains(word), "{error}");
    }
}

#[tokio::test]
async fn tokens_age_by_the_clock_of_the_service() {
    let issuer = Issuer::start().await;
    let service = trusting(&issuer).await;
    let token = KEYS[0].token(service.hands.now());
    assert_eq!(ask(&service, &token).await.status, 200);
    service.hands.pass(Duration::from_secs(3600 + 29));
    assert_eq!(ask(&service, &token).await.status, 200);
    service.hands.pass(Duration::from_secs(1));
    assert_eq!(ask(&service, &token).await.result(), (401, "token_expired"));
}
