//! Reads that fail, which say nothing about a backup.

use super::{service, verifier};
use crate::support::lab::Lab;
use crate::support::run::keys;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use qdrant_backup::base::error::{Code, Error, Result};
use qdrant_backup::ops::verify::{Problem, Verdict, Verifier, read_record};
use qdrant_backup::wire::store::{Condition, ObjectMeta, Source, Store, Version};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What befalls the reads of [`Odd`].
#[derive(Debug)]
enum Oddity {
    /// Reads of keys with this in them break off after so many bytes, so many times.
    Breaks {
        key: &'static str,
        after: usize,
        times: AtomicUsize,
        code: Code,
    },
    /// The manifest is deleted when the first artifact is read.
    DeletesManifest,
    /// Nothing, but counts reads at once.
    Counts { now: Arc<AtomicUsize>, most: AtomicUsize },
}

/// A store that is not quite itself.
#[derive(Debug)]
struct Odd(Arc<dyn Store>, Oddity);

#[async_trait]
impl Store for Odd {
    fn url(&self) -> String {
        self.0.url()
    }

    async fn put(&self, key: &str, source: Box<dyn Source>, condition: Condition) -> Result<ObjectMeta> {
        self.0.put(key, source, condition).await
    }

    async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        version: Option<&Version>,
    ) -> Result<Option<BoxStream<'static, Result<Bytes>>>> {
        let Some(stream) = self.0.get(key, range, version).await? else {
            return Ok(None);
        };
        match &self.1 {
            Oddity::Breaks {
                key: part,
                after,
                times,
                code,
            } if key.contains(part) => {
                let left = |n: usize| n.checked_sub(1);
                if times.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_err() {
                    return Ok(Some(stream));
                }
                let head = stream.take(1).map({
                    let after = *after;
                    move |chunk| chunk.map(|bytes: Bytes| bytes.slice(..after.min(bytes.len())))
                });
                let broken = Err(Error::new(*code, "the connection to the store broke"));
                Ok(Some(head.chain(stream::iter([broken])).boxed()))
            }
            Oddity::DeletesManifest if key.ends_with(".snapshot") => {
                let manifest = format!("{}/manifest.json", key.split('/').take(2).collect::<Vec<_>>().join("/"));
                if let Some(meta) = self.0.head(&manifest).await? {
                    self.0.delete(&manifest, &meta.version).await?;
                }
                Ok(None)
            }
            Oddity::Counts { now, most } if key.ends_with(".snapshot") => {
                let count = now.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(count, Ordering::SeqCst);
                let now = now.clone();
                let end = stream::once(async move {
                    now.fetch_sub(1, Ordering::SeqCst);
                    Ok(Bytes::new())
                });
                Ok(Some(
                    stream
                        .chain(end.filter(|b| std::future::ready(!b.as_ref().is_ok_and(Bytes::is_empty))))
                        .boxed(),
                ))
            }
            _ => Ok(Some(stream)),
        }
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectMeta>> {
        self.0.head(key).await
    }

    async fn list(&self, prefix: &str) -> Result<BoxStream<'static, Result<ObjectMeta>>> {
        self.0.list(prefix).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        self.0.folders(prefix).await
    }

    async fn delete(&self, key: &str, version: &Version) -> Result<bool> {
        self.0.delete(key, version).await
    }

    async fn check(&self) -> Result<()> {
        self.0.check().await
    }
}

pub(crate) fn breaks(store: &Arc<dyn Store>, key: &'static str, times: usize, code: Code) -> Verifier {
    let oddity = Oddity::Breaks {
        key,
        after: 1000,
        times: AtomicUsize::new(times),
        code,
    };
    verifier(Arc::new(Odd(store.clone(), oddity)))
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
        assert_eq!(report.verdict, Verdict::NotChecked, "{code}");
        let error = report.error().unwrap();
        assert_eq!((error.code(), error.exit_code()), (told, 7), "{code}: 9 means damage");
        let text = error.to_string();
        assert!(
            text.contains("could not be checked") && !text.contains("damaged"),
            "{text}"
        );
        assert!(report.objects.iter().all(|o| o.findings.is_empty()), "{report:?}");
        assert_eq!(
            report.objects.iter().filter(|o| o.verdict == Verdict::Intact).count(),
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
        assert_eq!(report.verdict, Verdict::Intact, "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checksum_that_the_store_itself_finds_wrong_is_damage() {
    let lab = Lab::in_directory().await;
    let report = breaks(&lab.store, "articles", 99, Code::ChecksumMismatch)
        .run(&lab.id)
        .await
        .unwrap();
    assert_eq!(report.verdict, Verdict::Damaged);
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
    assert_eq!(report.verdict, Verdict::Damaged);
    let verdicts: Vec<_> = report
        .objects
        .iter()
        .map(|o| (o.collection.as_str(), o.verdict))
        .collect();
    assert_eq!(
        verdicts,
        [
            ("articles", Verdict::NotChecked),
            ("drafts", Verdict::Intact),
            ("products", Verdict::Damaged)
        ]
    );
    assert_eq!(
        read_record(&*lab.store, &lab.id).await.unwrap().unwrap().verdict,
        Verdict::Damaged
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_deleted_meanwhile_is_not_called_damaged() {
    let lab = Lab::in_directory().await;
    let error = verifier(Arc::new(Odd(lab.store.clone(), Oddity::DeletesManifest)))
        .run(&lab.id)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::BackupNotFound, "{error}");
    assert!(error.to_string().contains("was deleted while"), "{error}");
    assert!(
        keys(&*lab.store)
            .await
            .iter()
            .all(|key| !key.ends_with("verified.json"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_objects_are_read_at_once_than_allowed() {
    let lab = Lab::in_directory().await;
    for concurrency in [1, 2] {
        let odd = Arc::new(Odd(
            lab.store.clone(),
            Oddity::Counts {
                now: Arc::default(),
                most: AtomicUsize::new(0),
            },
        ));
        let report = Verifier {
            concurrency,
            ..verifier(odd.clone())
        }
        .run(&lab.id)
        .await
        .unwrap();
        assert_eq!(report.verdict, Verdict::Intact);
        let Oddity::Counts { most, .. } = &odd.1 else {
            unreachable!()
        };
        assert!(
            (1..=concurrency).contains(&most.load(Ordering::SeqCst)),
            "{most:?} of {concurrency}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_read_says_that_nothing_is_known() {
    let lab = Lab::in_bucket().await;
    lab.emulator.as_ref().unwrap().deny("storage.objects.get");
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
    let emulator = lab.emulator.as_ref().unwrap();
    emulator.fault("*/articles/*", 1, gcs_emulator::Fault::CorruptRead);
    let report = verifier(lab.store.clone()).run(&lab.id).await.unwrap();
    assert_eq!(report.verdict, Verdict::Intact, "{report:?}");
    emulator.fault("*/articles/*", 99, gcs_emulator::Fault::CorruptRead);
    let report = verifier(lab.store.clone()).run(&lab.id).await.unwrap();
    assert_eq!(report.verdict, Verdict::Damaged, "{report:?}");
}
