//! Restores by signed URL: Qdrant fetches the objects from the bucket itself. The bucket is in the emulator, and the URLs are
//! signed by a service account's key that is made here.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine;
use embedded_qdrant::{Node, NodeOptions};
use gcs_emulator::Emulator;
use google_cloud_auth::credentials::service_account;
use google_cloud_auth::signer::Signer;
use qdrant_backup::base::error::Code;
use qdrant_backup::ops::backup;
use qdrant_backup::ops::context::Context;
use qdrant_backup::ops::progress::Progress;
use qdrant_backup::ops::restore::{self, RestoreOutcome, RestoreReport, RestoreRequest, Via};
use qdrant_backup::repository::selection::Selection;
use qdrant_backup::wire::qdrant::{Options, Qdrant};
use qdrant_backup::wire::store::{GcsOptions, GcsStore};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use testkit::bench::{context, options};
use testkit::peer::{Peer, Recover};
use testkit::sample::{Client, fill};
use tokio_util::sync::CancellationToken;

fn signer() -> Signer {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der = key.as_der().unwrap();
    let base64 = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
    let lines: Vec<_> = base64
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        lines.join("\n")
    );
    service_account::Builder::new(json!({
        "type": "service_account",
        "client_email": "backup@project.iam.gserviceaccount.com",
        "private_key_id": "1",
        "private_key": pem,
        "project_id": "project",
    }))
    .build_signer()
    .unwrap()
}

/// A context over a bucket in an emulator.
async fn bucket(qdrant: &str, signer: Option<Signer>) -> (Emulator, Context) {
    let emulator = Emulator::start().await.unwrap();
    emulator.create_bucket("test-bucket");
    let options = GcsOptions {
        endpoint: Some(emulator.url().to_owned()),
        signer,
        ..GcsOptions::default()
    };
    let store = GcsStore::open("test-bucket", "some/prefix", options).await.unwrap();
    let ctx = context(qdrant, Arc::new(store));
    (emulator, ctx)
}

async fn save(ctx: &Context) -> String {
    let progress = Progress::new(ctx.clock.now());
    let report = backup::run(ctx, &Selection::default(), &progress, &CancellationToken::new())
        .await
        .unwrap();
    report.id.to_string()
}

async fn run(ctx: &Context, request: &RestoreRequest) -> qdrant_backup::base::error::Result<RestoreReport> {
    restore::run(ctx, request, &Progress::new(ctx.clock.now()), &CancellationToken::new()).await
}

/// Downloads by signed URL that the emulator has seen.
fn signed(emulator: &Emulator) -> Vec<String> {
    let all = emulator.requests().into_iter();
    all.filter(|r| r.target.contains("X-Goog-Signature="))
        .map(|r| r.target)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn qdrant_fetches_the_objects_itself() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(NodeOptions::new(dir.path())).await.unwrap();
    let client = Client::new(node.url(), None);
    let samples = fill(&client, "", 20).await.unwrap();
    let (emulator, ctx) = bucket(&node.url(), Some(signer())).await;
    let id = save(&ctx).await;
    for via in [Via::Auto, Via::Url] {
        let seen = signed(&emulator).len();
        let request = RestoreRequest {
            id: id.clone(),
            into: Some(format!("{via:?}-{{}}")),
            via,
            ..RestoreRequest::default()
        };
        let report = run(&ctx, &request).await.unwrap();
        assert_eq!(report.status, RestoreOutcome::Complete, "{report:?}");
        assert!(report.collections.iter().all(|c| c.via == Via::Url), "{report:?}");
        let urls = signed(&emulator);
        assert_eq!(urls.len() - seen, samples.len(), "one download for each");
        for url in urls {
            assert!(
                url.starts_with(&format!("/test-bucket/some/prefix/backups/{id}/")),
                "{url}"
            );
            for part in [
                "X-Goog-Algorithm=GOOG4-RSA-SHA256",
                "X-Goog-Expires=3600",
                "generation=",
            ] {
                assert!(url.contains(part), "{part}: {url}");
            }
        }
        for sample in &samples {
            let copy = format!("{via:?}-{}", sample.name);
            for search in &sample.searches {
                assert_eq!(
                    client.search(&copy, search).await.unwrap(),
                    client.search(&sample.name, search).await.unwrap()
                );
            }
            let path = format!("/collections/{copy}/snapshots");
            assert_eq!(client.call("GET", &path, None).await.unwrap(), json!([]));
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_qdrant_cannot_fetch_it_is_uploaded_and_that_is_told_without_the_url() {
    let peer = Peer::start(&[("a", 1 << 20)]).await;
    let (emulator, ctx) = bucket(&peer.url, Some(signer())).await;
    let id = save(&ctx).await;
    peer.lock().collections.clear();

    let request = RestoreRequest {
        id,
        via: Via::Url,
        ..RestoreRequest::default()
    };
    let report = run(&ctx, &request).await.unwrap();
    let failed = &report.failed[0];
    assert_eq!(
        (report.status, failed.error.code, failed.state.as_str()),
        (RestoreOutcome::Failed, Code::QdrantFailed, "it does not exist")
    );
    assert!(failed.error.message.contains("nobody there"), "{failed:?}");
    let text = format!("{report:?} {}", report.error().unwrap());
    assert!(!text.contains("X-Goog"), "the signed URL is a secret: {text}");

    let report = run(
        &ctx,
        &RestoreRequest {
            via: Via::Auto,
            ..request
        },
    )
    .await
    .unwrap();
    assert_eq!(report.status, RestoreOutcome::Complete, "{report:?}");
    let restored = &report.collections[0];
    assert_eq!(restored.via, Via::Upload);
    assert_eq!(restored.notes.len(), 1, "why it was not fetched: {restored:?}");
    assert!(restored.notes[0].contains("nobody there"), "{restored:?}");
    assert!(!format!("{report:?}").contains("X-Goog"));
    assert_eq!(signed(&emulator).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_uploaded_beside_a_restore_that_qdrant_may_still_be_at() {
    let peer = Peer::start(&[("a", 1 << 20)]).await;
    let (_emulator, mut ctx) = bucket(&peer.url, Some(signer())).await;
    let id = save(&ctx).await;
    peer.lock().collections.clear();
    ctx.qdrant = Qdrant::new(Options {
        create_timeout: Duration::from_millis(300),
        ..options(&peer.url)
    })
    .unwrap();
    let request = RestoreRequest {
        id,
        via: Via::Auto,
        ..RestoreRequest::default()
    };
    for (script, code) in [
        (Recover::AnswerLost, Code::QdrantUnreachable),
        (Recover::GatewayTimeout, Code::QdrantUnreachable),
        (Recover::Silent, Code::Stalled),
    ] {
        peer.lock().recover.push_back(script);
        let report = run(&ctx, &request).await.unwrap();
        let failed = report
            .failed
            .first()
            .unwrap_or_else(|| panic!("{script:?}: {report:?}"));
        assert_eq!(
            (report.status, failed.error.code),
            (RestoreOutcome::Failed, code),
            "{script:?}"
        );
        // As it is where Qdrant has ended.
        assert_ne!(failed.state, "it does not exist", "{failed:?}");
        assert_eq!(peer.requests("/snapshots/upload"), 0, "{script:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_signer_it_is_uploaded_or_refused() {
    let peer = Peer::start(&[("a", 1000)]).await;
    let (_emulator, ctx) = bucket(&peer.url, None).await;
    let id = save(&ctx).await;
    peer.lock().collections.clear();
    let request = RestoreRequest {
        id,
        via: Via::Url,
        ..RestoreRequest::default()
    };
    let error = run(&ctx, &request).await.unwrap_err();
    assert_eq!(error.code(), Code::RestoreRefused);
    assert!(error.remedy_text().unwrap().contains("--via upload"), "{error}");
    let report = run(
        &ctx,
        &RestoreRequest {
            via: Via::Auto,
            ..request
        },
    )
    .await
    .unwrap();
    assert_eq!(
        (report.status, report.collections[0].via),
        (RestoreOutcome::Complete, Via::Upload)
    );
}
