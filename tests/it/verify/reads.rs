//! Reads that fail, which say nothing about a backup.

use super::{service, verifier};
use futures_util::stream::{self, StreamExt};
use qdrant_backup::base::error::Code;
use qdrant_backup::ops::verify::{Problem, Verifier, VerifyVerdict, read_record};
use qdrant_backup::wire::store::Store;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use testkit::faulty::{Faulty, broken_off};
use testkit::lab::Lab;

/// A verifier whose store breaks off reads of keys with `part` in them after 1000 bytes, so many times.
pub(crate) fn breaks(store: &Arc<dyn Store>, part: &'static str, times: usize, code: Code) -> Verifier {
    let times = AtomicUsize::new(times);
    let faulty = Faulty::over(store).on_get(move |key, stream| {
        let left = |n: usize| n.checked_sub(1);
        let breaks = key.contains(part) && times.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok();
        ready(Ok(Some(match breaks {
            true => broken_off(stream, 1000, code),
            false => stream,
        })))
    });
    verifier(faulty.build())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_breaks_off_in_the_middle_is_no_damage() {
    let lab = Lab::in_directory().await;
    let unreachable =
        [Code::StoreUnreachable, Code::Stalled, Code::LengthMismatch].map(|code| (code, Code::StoreUnreachable));
    for (code, told) in unreachable.into_iter().chain([
        (Code::StoreForbidden, Code::StoreForbidden),
        (Code::StoreFailed, Code::StoreFailed),
    ]) {
        let report = breaks(&lab.store, "articles", 99, code).run(&lab.id).await.unwrap();
        assert_eq!(report.verdict, VerifyVerdict::NotChecked, "{code}");
        let error = report.error().unwrap();
        assert_eq!((error.code(), error.exit_code()), (told, 7), "{code}: 9 means damage");
        assert!(!error.to_string().to_lowercase().contains("damaged"), "{error}");
        assert!(report.objects.iter().all(|o| o.findings.is_empty()), "{report:?}");
        assert_eq!(
            report
                .objects
                .iter()
                .filter(|o| o.verdict == VerifyVerdict::Intact)
                .count(),
            2,
            "the others were checked"
        );
        assert!(
            read_record(&*lab.store, &lab.id).await.unwrap().is_none(),
            "nothing may be recorded"
        );
    }
    // The manifest itself: nothing can be said at all.
    for code in [Code::StoreUnreachable, Code::Stalled] {
        let error = breaks(&lab.store, "manifest.json", 99, code)
            .run(&lab.id)
            .await
            .unwrap_err();
        assert_eq!(error.code(), Code::StoreUnreachable, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passing_failure_is_read_again() {
    let lab = Lab::in_directory().await;
    for code in [Code::StoreUnreachable, Code::ChecksumMismatch] {
        let report = breaks(&lab.store, "articles", 1, code).run(&lab.id).await.unwrap();
        assert_eq!(report.verdict, VerifyVerdict::Intact, "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checksum_that_the_store_itself_finds_wrong_is_damage() {
    let lab = Lab::in_directory().await;
    let report = breaks(&lab.store, "articles", 99, Code::ChecksumMismatch)
        .run(&lab.id)
        .await
        .unwrap();
    assert_eq!(report.verdict, VerifyVerdict::Damaged);
    assert_eq!(report.objects[0].findings[0].problem, Problem::StoreChecksum);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_was_found_is_told_and_recorded_although_another_object_could_not_be_read() {
    let lab = Lab::in_directory().await;
    lab.delete(&lab.key("products")).await;
    let report = breaks(&lab.store, "articles", 99, Code::StoreUnreachable)
        .run(&lab.id)
        .await
        .unwrap();
    assert_eq!(report.verdict, VerifyVerdict::Damaged);
    let verdicts: Vec<_> = report
        .objects
        .iter()
        .map(|o| (o.collection.as_str(), o.verdict))
        .collect();
    assert_eq!(
        verdicts,
        [
            ("articles", VerifyVerdict::NotChecked),
            ("drafts", VerifyVerdict::Intact),
            ("products", VerifyVerdict::Damaged)
        ]
    );
    assert_eq!(
        read_record(&*lab.store, &lab.id).await.unwrap().unwrap().verdict,
        VerifyVerdict::Damaged
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_deleted_meanwhile_is_not_called_damaged() {
    let lab = Lab::in_directory().await;
    // The manifest is deleted when the first artifact is read.
    let (inner, manifest) = (lab.store.clone(), lab.id.manifest());
    let faulty = Faulty::over(&lab.store).on_get(move |key, stream| {
        let (inner, manifest) = (inner.clone(), manifest.clone());
        async move {
            if !key.ends_with(".snapshot") {
                return Ok(Some(stream));
            }
            if let Some(meta) = inner.head(&manifest).await? {
                inner.delete(&manifest, &meta.version).await?;
            }
            Ok(None)
        }
    });
    let error = verifier(faulty.build()).run(&lab.id).await.unwrap_err();
    assert_eq!(error.code(), Code::BackupNotFound, "{error}");
    assert!(error.to_string().contains(&lab.id.to_string()), "{error}");
    assert!(lab.keys().await.iter().all(|key| !key.ends_with("verified.json")));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_objects_are_read_at_once_than_allowed() {
    let lab = Lab::in_directory().await;
    for concurrency in [1, 2] {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let seen = most.clone();
        let counting = Faulty::over(&lab.store).on_get(move |key, stream| {
            if !key.ends_with(".snapshot") {
                return ready(Ok(Some(stream)));
            }
            seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let now = now.clone();
            let end = stream::once(async move { now.fetch_sub(1, Ordering::SeqCst) });
            ready(Ok(Some(stream.chain(end.filter_map(|_| ready(None))).boxed())))
        });
        let report = Verifier {
            concurrency,
            ..verifier(counting.build())
        }
        .run(&lab.id)
        .await
        .unwrap();
        assert_eq!(report.verdict, VerifyVerdict::Intact);
        assert!(
            (1..=concurrency).contains(&most.load(Ordering::SeqCst)),
            "{most:?} of {concurrency}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_read_says_that_nothing_is_known() {
    let lab = Lab::in_bucket().await;
    lab.gcs().deny("storage.objects.get");
    let service = service(&lab).await;
    let (status, answer) = service.post(&format!("/backups/{}/verify", lab.id), "").await;
    assert_eq!(
        (status, answer["error"]["code"].as_str()),
        (502, Some("store_forbidden")),
        "{answer}"
    );
    let (exit, out, err) = lab.cli(&["verify", &lab.id.to_string()]).await;
    assert_eq!(exit, 7, "{out}{err}");
    assert!(!format!("{out}{err}").to_lowercase().contains("damaged"), "{out}{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bits_that_flip_on_the_way_from_the_bucket_are_read_again() {
    let lab = Lab::in_bucket().await;
    let emulator = lab.gcs();
    emulator.fault("*/articles/*", 1, gcs_emulator::Fault::CorruptRead);
    let report = verifier(lab.store.clone()).run(&lab.id).await.unwrap();
    assert_eq!(report.verdict, VerifyVerdict::Intact, "{report:?}");
    emulator.fault("*/articles/*", 99, gcs_emulator::Fault::CorruptRead);
    let report = verifier(lab.store.clone()).run(&lab.id).await.unwrap();
    assert_eq!(report.verdict, VerifyVerdict::Damaged, "{report:?}");
}
