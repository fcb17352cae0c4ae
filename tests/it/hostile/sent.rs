//! Answers of a Qdrant, and requests of clients, that say something that they should not.

use super::mutation::{Random, mutate};
use super::wrong_end;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::future::IntoFuture;
use std::sync::{Arc, Mutex};
use testkit::peer::Peer;
use testkit::service::Service;

const ROUNDS: u64 = 16;

/// A Qdrant between which and its clients somebody changes what it answers, now and then.
async fn changed(peer: &Peer, seed: u64) -> String {
    let (http, url) = (reqwest::Client::new(), peer.url.clone());
    let random = Arc::new(Mutex::new(Random::new(seed)));
    let pass = move |request: Request| {
        let (http, url, random) = (http.clone(), url.clone(), random.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap();
            let to = format!("{url}{}", parts.uri);
            let request = http.request(parts.method, to).headers(parts.headers).body(body);
            let answer = request.send().await.unwrap();
            let (status, is_json) = (
                answer.status(),
                answer
                    .headers()
                    .get("content-type")
                    .is_some_and(|t| t == "application/json"),
            );
            let headers = answer.headers().clone();
            let mut body = answer.bytes().await.unwrap_or_default();
            let mut response = Response::builder().status(status);
            let random = &mut *random.lock().unwrap();
            if is_json && random.below(4) == 0 {
                let mut value: Value = serde_json::from_slice(&body).unwrap();
                mutate(&mut value, random);
                body = value.to_string().into();
                response = response.header("content-type", "application/json");
            } else {
                for (name, value) in headers
                    .iter()
                    .filter(|(name, _)| *name != "content-length" && *name != "transfer-encoding")
                {
                    response = response.header(name, value);
                }
            }
            response.body(Body::from(body)).unwrap()
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, Router::new().fallback(pass)).into_future());
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_of_qdrant_makes_a_command_panic() {
    let one = |seed: u64| async move {
        let peer = Peer::start(&[("a", 1000), ("b\u{1b}", 10)]).await;
        let store = tempfile::tempdir().unwrap();
        let url = changed(&peer, seed).await;
        let mut wrong = Vec::new();
        for args in [
            &["check"][..],
            &["backup"],
            &["backup", "--json"],
            &["status"],
            &["restore", "latest", "--dry-run"],
        ] {
            wrong.extend(wrong_end(args, &url, store.path()).await);
        }
        wrong
            .into_iter()
            .map(move |why| format!("seed {seed}: {why}"))
            .collect::<Vec<_>>()
    };
    let wrong: Vec<_> = join_all((0..ROUNDS).map(one)).await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_makes_the_service_panic() {
    let peer = Peer::start(&[("a", 1000), ("b", 10)]).await;
    let service = Service::over(&peer.url).await;
    let (status, made) = service.post("/backup", "{}").await;
    assert_eq!(status, 200, "{made}");
    let requests = [
        ("/backup", json!({"collection": "a"})),
        (
            "/backup",
            json!({"collections": ["a"], "include": ["a*"], "exclude": ["b"]}),
        ),
        ("/prune", json!({"dry_run": true})),
        (
            "/restore",
            json!({"id": "latest", "collections": ["a"], "into": "c-{}", "dry_run": true}),
        ),
        (
            "/restore",
            json!({"id": "latest", "include": ["*"], "overwrite": true, "via": "upload", "dry_run": true}),
        ),
        ("/backups/latest/verify", json!({})),
    ];
    let random = &mut Random::new(1);
    let mut refused = 0;
    for _ in 0..ROUNDS {
        for (path, body) in &requests {
            let mut body = body.clone();
            mutate(&mut body, random);
            // What would wait for a backup is not asked for.
            if *path == "/restore" && body["dry_run"] != true {
                continue;
            }
            let answer = service.send("POST", path, &[], &body.to_string()).await;
            let (status, answer) = (answer.status, answer.body);
            assert_ne!(answer["error"]["code"], "internal", "{path} {body}: {status} {answer}");
            refused += u32::from(status == 400);
        }
    }
    assert!(refused > 10, "{refused} refused");
}
