//! The issuer's keys: how often they are fetched, and what happens when they cannot be.

use super::issuer::{Issuer, KEYS, claims, set};
use super::{NOBODY, Service, ask, trusting, verifying};
use futures_util::future::join_all;
use qdrant_backup::server::auth::{Role, Roles, Rules};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

const COOL_DOWN: u64 = 30;

/// A token that says it was signed with the key of this name.
fn unknown(service: &Service, id: &str) -> String {
    KEYS[2].sign(&json!({"alg": "RS256", "kid": id}), &claims(service.hands.now()))
}

#[tokio::test]
async fn keys_are_fetched_once_for_as_long_as_their_issuer_says() {
    let issuer = Issuer::start().await;
    let service = trusting(&issuer).await;
    assert_eq!(issuer.fetches(), 0, "before anybody called");
    for _ in 0..3 {
        assert_eq!(ask(&service, &KEYS[0].token(service.hands.now())).await.status, 200);
    }
    service.hands.pass(Duration::from_secs(3599));
    assert_eq!(ask(&service, &KEYS[0].token(service.hands.now())).await.status, 200);
    assert_eq!(issuer.fetches(), 1);
    service.hands.pass(Duration::from_secs(1));
    assert_eq!(ask(&service, &KEYS[0].token(service.hands.now())).await.status, 200);
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test]
async fn a_storm_of_unknown_keys_leads_to_one_fetch_in_each_cool_down() {
    let issuer = Issuer::start().await;
    let service = trusting(&issuer).await;
    for round in 1..=3 {
        let tokens: Vec<_> = (0..50)
            .map(|i| unknown(&service, &format!("unknown-{round}-{i}")))
            .collect();
        let answers = join_all(tokens.iter().map(|token| ask(&service, token))).await;
        assert!(
            answers
                .iter()
                .all(|answer| answer.result() == (401, "token_not_trusted"))
        );
        service.hands.pass(Duration::from_secs(COOL_DOWN - 1));
        assert_eq!(ask(&service, &unknown(&service, "late")).await.status, 401);
        assert_eq!(
            ask(&service, &KEYS[0].token(service.hands.now())).await.status,
            200,
            "the known key works on"
        );
        assert_eq!(issuer.fetches(), round, "fetches after {} unknown keys", round * 51);
        service.hands.pass(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn a_new_key_is_found_and_a_withdrawn_one_is_no_longer_taken() {
    let issuer = Issuer::start().await;
    let service = trusting(&issuer).await;
    let token = |key: usize| KEYS[key].token(service.hands.now());
    assert_eq!(ask(&service, &token(0)).await.status, 200);
    issuer.publish(|p| p.body = set(&[&KEYS[0], &KEYS[1]]));
    assert_eq!(ask(&service, &token(1)).await.status, 401, "within the cool-down");
    service.hands.pass(Duration::from_secs(COOL_DOWN));
    assert_eq!(ask(&service, &token(1)).await.status, 200);
    issuer.publish(|p| p.body = set(&[&KEYS[1]]));
    service.hands.pass(Duration::from_secs(3600));
    assert_eq!(ask(&service, &token(0)).await.result(), (401, "token_not_trusted"));
    assert_eq!(ask(&service, &token(1)).await.status, 200);
    assert_eq!(issuer.fetches(), 3);
}

#[tokio::test]
async fn keys_are_kept_when_their_issuer_fails() {
    let issuer = Issuer::start().await;
    let service = trusting(&issuer).await;
    let token = || KEYS[0].token(service.hands.now());
    assert_eq!(ask(&service, &token()).await.status, 200);
    for (round, (status, body)) in [
        (503, set(&[&KEYS[0]])),
        (404, String::new()),
        (302, set(&[&KEYS[2]])),
        (200, "garbage".to_owned()),
        (200, json!({"keys": []}).to_string()),
        (200, json!({"keys": [{"kty": "RSA"}]}).to_string()),
        (200, " ".repeat(2 << 20)),
    ]
    .into_iter()
    .enumerate()
    {
        issuer.publish(|p| (p.status, p.body) = (status, body));
        service.hands.pass(Duration::from_secs(7200));
        for _ in 0..3 {
            assert_eq!(ask(&service, &token()).await.status, 200, "round {round}");
        }
        assert_eq!(issuer.fetches(), round + 2, "one attempt in each cool-down");
        assert_eq!(ask(&service, &KEYS[2].token(service.hands.now())).await.status, 401);
    }
    issuer.publish(|p| (p.status, p.body) = (200, set(&[&KEYS[1]])));
    service.hands.pass(Duration::from_secs(COOL_DOWN));
    assert_eq!(
        ask(&service, &token()).await.status,
        401,
        "the issuer is back and has withdrawn it"
    );
}

#[tokio::test]
async fn without_any_key_it_is_said_that_nothing_can_be_checked() {
    let rules = Rules {
        keys_url: format!("{NOBODY}/certs"),
        ..Rules::google(
            vec!["a".to_owned()],
            Roles::new(None).with(Role::Admin, ["b@c".to_owned()]),
        )
    };
    let service = verifying(rules).await;
    let answer = ask(&service, &KEYS[0].token(service.hands.now())).await;
    assert_eq!(answer.result(), (503, "keys_unavailable"));
    assert!(answer.body["error"]["remedy"].is_string());

    let issuer = Issuer::start().await;
    let service = trusting(&issuer).await;
    issuer.publish(|p| p.status = 500);
    let token = KEYS[0].token(service.hands.now());
    assert_eq!(ask(&service, &token).await.result(), (503, "keys_unavailable"));
    issuer.publish(|p| p.status = 200);
    service.hands.pass(Duration::from_secs(COOL_DOWN));
    assert_eq!(ask(&service, &token).await.status, 200);
}

#[tokio::test]
async fn what_its_issuer_forbids_to_keep_is_fetched_again_but_not_for_every_call() {
    let issuer = Issuer::start().await;
    issuer.publish(|p| p.cache_control = "no-store");
    let service = trusting(&issuer).await;
    for fetches in 1..=3 {
        for _ in 0..5 {
            assert_eq!(ask(&service, &KEYS[0].token(service.hands.now())).await.status, 200);
        }
        assert_eq!(issuer.fetches(), fetches);
        service.hands.pass(Duration::from_secs(COOL_DOWN));
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_end_the_fetch_for_all_others() {
    let issuer = Issuer::start().await;
    let gate = Arc::new(Semaphore::new(0));
    issuer.publish(|p| p.held = Some(gate.clone()));
    let service = Arc::new(trusting(&issuer).await);
    let token = KEYS[0].token(service.hands.now());
    let first = tokio::spawn({
        let (service, token) = (service.clone(), token.clone());
        async move { ask(&service, &token).await.status }
    });
    while issuer.fetches() == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    gate.add_permits(1);
    assert_eq!(ask(&service, &token).await.status, 200);
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn a_slow_issuer_holds_nobody_up_whose_key_is_known() {
    let issuer = Issuer::start().await;
    let service = Arc::new(trusting(&issuer).await);
    assert_eq!(ask(&service, &KEYS[0].token(service.hands.now())).await.status, 200);
    let gate = Arc::new(Semaphore::new(0));
    issuer.publish(|p| {
        p.held = Some(gate.clone());
        p.body = set(&[&KEYS[0], &KEYS[1]]);
    });
    service.hands.pass(Duration::from_secs(7200));
    let new = KEYS[1].token(service.hands.now());
    let waiting = tokio::spawn({
        let service = service.clone();
        async move { ask(&service, &new).await.status }
    });
    while issuer.fetches() == 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(&service, &KEYS[0].token(service.hands.now())).await.status, 200);
    gate.add_permits(1);
    // Had the known key waited for the fetch, then until that was given up, and the new key would not be known.
    assert_eq!(waiting.await.unwrap(), 200, "the fetch was under way all the time");
}
