//! What goes and what stays when nothing goes wrong, and what was not there when the plan was made.

use gcs_emulator::Fault;
use qdrant_backup::base::error::Code;
use qdrant_backup::ops::prune;
use qdrant_backup::ops::retention::{Policy, Reason};
use qdrant_backup::repository::catalog;
use qdrant_backup::repository::manifest::{Status, Storage, read_small};
use qdrant_backup::repository::names::ArtifactKind;
use qdrant_backup::repository::selection::Selection;
use qdrant_backup::wire::store::{Store, Version};
use std::time::Duration;
use testkit::history::{History, backup, backup_with, before_change, id, put, replace};
use testkit::store::{BUCKET, PREFIX};
use tokio_util::sync::CancellationToken;

const DAY: Duration = Duration::from_secs(24 * 3600);

const OLD: &str = "2020-01-01T00-00-00Z";
const MIDDLE: &str = "2020-01-02T00-00-00Z";
const NEW: &str = "2020-01-03T00-00-00Z";

#[tokio::test]
async fn what_no_rule_keeps_is_deleted_whole_and_nothing_else_is_touched() {
    for bench in History::both().await {
        let store = &*bench.store;
        for id in [OLD, MIDDLE, NEW] {
            backup(store, id).await;
        }
        put(
            store,
            &id(OLD).verified(),
            r#"{"verdict":"intact","at":"2020-01-01T01:00:00Z","tool_version":"9"}"#,
        )
        .await;
        let plan = bench.plan().await;
        assert_eq!(bench.whole().await.len(), 3, "a plan deletes nothing");
        assert_eq!(plan.deletions().map(|item| item.objects).collect::<Vec<_>>(), [4, 3]);
        let (report, error) = bench.execute(&plan).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(
            report.deleted.iter().map(|d| (d.objects, d.left)).collect::<Vec<_>>(),
            [(4, 0), (3, 0)]
        );
        assert_eq!(bench.whole().await, [NEW]);
        assert_eq!(
            bench.keys().await.len(),
            3,
            "the lease is given back, and nothing of the others is left"
        );
        assert_eq!(bench.prune().await, [""; 0], "a second time there is nothing to do");
    }
}

#[tokio::test]
async fn a_policy_without_a_rule_deletes_nothing() {
    for mut bench in History::both().await {
        bench.job.policy = Policy::default();
        backup(&*bench.store, OLD).await;
        let error = qdrant_backup::ops::prune::plan(&bench.job).await.unwrap_err();
        assert_eq!((error.code(), error.exit_code()), (Code::ConfigInvalid, 2));
        assert_eq!(bench.whole().await, [OLD]);
    }
}

#[tokio::test]
async fn partial_and_damaged_backups_displace_no_good_one() {
    let bench = History::in_directory().await;
    let store = &*bench.store;
    backup(store, "2020-01-01T00-00-00Z").await;
    backup(store, "2020-01-02T00-00-00Z").await;
    backup_with(store, "2020-01-03T00-00-00Z", |m| m.status = Status::Partial).await;
    backup(store, "2020-01-04T00-00-00Z").await;
    put(
        store,
        &id("2020-01-04T00-00-00Z").verified(),
        r#"{"verdict":"damaged","at":"2020-01-05T00:00:00Z"}"#,
    )
    .await;
    backup(store, "2020-01-05T00-00-00Z").await;
    put(
        store,
        &id("2020-01-05T00-00-00Z").drilled(),
        r#"{"verdict":"damaged","at":"2020-01-05T00:00:00Z"}"#,
    )
    .await;
    bench.prune().await;
    let marks: Vec<_> = catalog::list(store, 10, time::OffsetDateTime::now_utc())
        .await
        .unwrap()
        .iter()
        .map(|s| (s.id.to_string(), s.marks_text()))
        .collect();
    let expected = [
        ("2020-01-05T00-00-00Z", "DAMAGED"),
        // What it has may be all that is whole of the newest data.
        ("2020-01-03T00-00-00Z", "PARTIAL"),
        ("2020-01-02T00-00-00Z", "good"),
    ];
    assert_eq!(marks, expected.map(|(id, marks)| (id.to_owned(), marks.to_owned())));
}

#[tokio::test]
async fn a_backup_of_some_collections_displaces_none_of_everything() {
    let bench = History::in_directory().await;
    let store = &*bench.store;
    let some = |order: [&str; 2]| Selection {
        collections: order.map(str::to_owned).to_vec(),
        ..Selection::default()
    };
    backup(store, "2020-01-01T00-00-00Z").await;
    backup(store, "2020-01-02T00-00-00Z").await;
    // The same selection, in whatever order.
    backup_with(store, "2020-01-03T00-00-00Z", |m| m.selection = some(["docs", "a b"])).await;
    backup_with(store, "2020-01-04T00-00-00Z", |m| m.selection = some(["a b", "docs"])).await;
    assert_eq!(bench.prune().await, ["2020-01-01T00-00-00Z", "2020-01-03T00-00-00Z"]);
}

#[tokio::test]
async fn what_is_not_understood_is_kept_whole_and_counts_for_nothing() {
    let bench = History::in_directory().await;
    let store = &*bench.store;
    backup(store, "2020-01-01T00-00-00Z").await;
    backup(store, "2020-01-02T00-00-00Z").await;
    let newer = "2020-01-03T00-00-00Z";
    backup(store, newer).await;
    replace(store, &id(newer).manifest(), r#"{"format":2}"#).await;
    backup(store, "2020-01-04T00-00-00Z").await;
    put(
        store,
        &id("2020-01-04T00-00-00Z").verified(),
        r#"{"verdict":"mostly harmless"}"#,
    )
    .await;
    backup(store, "2020-01-05T00-00-00Z").await;
    put(store, &id("2020-01-05T00-00-00Z").drilled(), "no json").await;
    assert_eq!(bench.prune().await, ["2020-01-01T00-00-00Z"]);
    let keys = bench.keys().await;
    assert_eq!(keys.iter().filter(|k| k.contains(newer)).count(), 3, "{keys:?}");
}

#[tokio::test]
async fn objects_that_another_manifest_needs_stay() {
    let bench = History::in_directory().await;
    let store = &*bench.store;
    let mut first = backup(store, OLD).await;
    // As a later version may store them.
    for artifact in first.collections.iter_mut().flat_map(|c| &mut c.artifacts) {
        artifact.storage = Storage::Other("shared".into());
    }
    backup_with(store, NEW, |m| m.collections = first.collections.clone()).await;
    bench.prune().await;
    assert_eq!(bench.whole().await, [NEW]);
}

#[tokio::test]
async fn a_manifest_that_was_copied_from_another_folder_leads_to_no_deletion() {
    let bench = History::in_directory().await;
    let store = &*bench.store;
    let manifest = backup(store, OLD).await;
    put(
        store,
        &id(MIDDLE).manifest(),
        &serde_json::to_string(&manifest).unwrap(),
    )
    .await;
    backup(store, NEW).await;
    assert_eq!(bench.prune().await, [OLD]);
    assert_eq!(
        bench.whole().await,
        [NEW, MIDDLE],
        "the copy still names the objects, so they stay"
    );
}

#[tokio::test]
async fn names_that_are_not_ours_are_reported_and_never_touched() {
    for bench in History::both().await {
        let store = &*bench.store;
        backup(store, OLD).await;
        backup(store, NEW).await;
        let foreign = [
            "backups/README".to_owned(),
            format!("backups/{OLD}.bak/manifest.json"),
            format!("{}notes.txt", id(OLD).prefix()),
            format!("{}docs/collection-01.snapshot", id(OLD).prefix()),
            format!("{}docs/deep/collection.snapshot", id(OLD).prefix()),
        ];
        for key in &foreign {
            put(store, key, "theirs").await;
        }
        put(store, "elsewhere/manifest.json", "theirs").await;
        let plan = bench.plan().await;
        let mut reported = plan.foreign.clone();
        reported.sort_unstable();
        let mut expected = foreign.to_vec();
        expected.sort_unstable();
        assert_eq!(reported, expected);
        bench.execute(&plan).await;
        let keys = bench.keys().await;
        assert!(foreign.iter().all(|key| keys.contains(key)), "{keys:?}");
        assert_eq!(keys.len(), 3 + foreign.len() + 1, "{keys:?}");
        assert_eq!(bench.whole().await, [NEW]);
    }
}

#[tokio::test]
async fn objects_outside_the_prefix_are_another_stores() {
    let bench = History::in_emulator().await;
    let gcs = bench.gcs();
    gcs.plant(BUCKET, &id(OLD).manifest(), "theirs");
    gcs.plant(BUCKET, &format!("{PREFIX}-2/{}", id(OLD).manifest()), "theirs");
    backup(&*bench.store, OLD).await;
    backup(&*bench.store, NEW).await;
    assert_eq!(bench.prune().await, [OLD]);
    // Beside what the run tells of itself.
    let mut left = gcs.objects(BUCKET);
    left.retain(|object| !object.name.starts_with(&format!("{PREFIX}/runs/")));
    assert_eq!(left.len(), 5);
}

#[tokio::test]
async fn what_a_crashed_run_left_is_collected_once_all_of_it_is_old() {
    for mut bench in History::both().await {
        let store = bench.store.clone();
        backup(&*store, NEW).await;
        let artifact = |collection| id(OLD).artifact(collection, &ArtifactKind::Shard(3), 2);
        put(&*store, &artifact("docs"), "left behind").await;
        put(&*store, &artifact("logs"), "left behind").await;
        bench.job.policy.leftover_age = DAY;
        for early in [Duration::ZERO, DAY - Duration::from_secs(600)] {
            bench.later(early);
            let plan = bench.plan().await;
            let item = plan.items.iter().find(|item| !item.is_backup).unwrap();
            assert_eq!(
                (item.keep, item.reasons.as_slice()),
                (true, &[Reason::TooYoung][..]),
                "its objects are not a day old"
            );
        }
        bench.later(DAY * 2);
        bench.job.policy.leftover_age = DAY * 3;
        assert_eq!(bench.prune().await, [""; 0], "their own age is what counts");
        (bench.job.policy.leftover_age, bench.job.policy.min_age) = (DAY, DAY * 3);
        assert_eq!(bench.prune().await, [OLD]);
        assert_eq!(bench.whole().await, [NEW]);
        assert_eq!(bench.keys().await.len(), 3);
    }
}

#[tokio::test]
async fn a_run_that_began_of_late_is_never_collected() {
    let mut bench = History::in_directory().await;
    bench.later(DAY * 2);
    // The id is as young as the run; the objects' own times come from another clock.
    let young = qdrant_backup::repository::names::BackupId::at(bench.job.ctx.clock.now() - Duration::from_secs(3600));
    put(
        &*bench.store,
        &young.artifact("docs", &ArtifactKind::Collection, 1),
        "being written",
    )
    .await;
    assert_eq!(bench.prune().await, [""; 0]);
}

#[tokio::test]
async fn what_was_replaced_after_planning_stays() {
    for bench in History::both().await {
        let store = &*bench.store;
        backup(store, OLD).await;
        backup(store, MIDDLE).await;
        backup(store, NEW).await;
        let plan = bench.plan().await;
        let artifact = id(OLD).artifact("docs", &ArtifactKind::Collection, 1);
        let theirs: Version = replace(store, &artifact, "replaced").await;
        put(store, &id(OLD).verified(), r#"{"verdict":"intact"}"#).await;
        let text = manifest_text(store, MIDDLE).await;
        replace(store, &id(MIDDLE).manifest(), &text).await;

        let (report, error) = bench.execute(&plan).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(
            report
                .deleted
                .iter()
                .map(|d| (d.id.to_string(), d.left))
                .collect::<Vec<_>>(),
            [(OLD.to_owned(), 0)]
        );
        assert_eq!(
            report.skipped.iter().map(|s| s.id.to_string()).collect::<Vec<_>>(),
            [MIDDLE]
        );
        assert_eq!(
            bench.whole().await,
            [NEW, MIDDLE],
            "a manifest that is not that of the plan stays with all it names"
        );
        let left: Vec<_> = bench.keys().await.into_iter().filter(|k| k.contains(OLD)).collect();
        assert_eq!(
            left,
            [artifact.clone(), id(OLD).verified()],
            "what came after the plan stays"
        );
        assert_eq!(store.head(&artifact).await.unwrap().unwrap().version, theirs);
    }
}

#[tokio::test]
async fn a_verdict_that_came_after_planning_saves_the_last_good_one() {
    let bench = History::in_directory().await;
    let store = &*bench.store;
    backup(store, OLD).await;
    backup(store, NEW).await;
    let plan = bench.plan().await;
    assert_eq!(plan.deletions().count(), 1);
    put(store, &id(NEW).verified(), r#"{"verdict":"damaged"}"#).await;
    let (report, _) = bench.execute(&plan).await;
    assert_eq!((report.deleted.len(), report.skipped[0].id), (0, id(OLD)), "{report:?}");
    assert!(
        report.skipped[0].why.contains(&Reason::NewestGood.to_string()),
        "{report:?}"
    );
    assert_eq!(bench.whole().await, [NEW, OLD]);
}

#[tokio::test]
async fn a_manifest_that_is_replaced_at_the_last_moment_stays_with_all_that_it_names() {
    for bench in History::both().await {
        backup(&*bench.store, OLD).await;
        backup(&*bench.store, NEW).await;
        let store = bench.store.clone();
        let text = manifest_text(&*store, OLD).await;
        let mut job = bench.job.clone();
        job.ctx.store = before_change(&bench.store, async move {
            replace(&*store, &id(OLD).manifest(), &text).await;
        });
        let plan = prune::plan(&job).await.unwrap();
        let report = prune::execute(&job, &plan, &CancellationToken::new()).await.unwrap();
        assert!(report.deleted.is_empty(), "{report:?}");
        assert_eq!((report.skipped.len(), report.skipped[0].id), (1, id(OLD)), "{report:?}");
        assert_eq!(bench.whole().await, [NEW, OLD]);
    }
}

#[tokio::test]
async fn a_manifest_whose_deletion_was_not_answered_goes_with_all_that_it_named() {
    let bench = History::in_emulator().await;
    backup(&*bench.store, OLD).await;
    backup(&*bench.store, NEW).await;
    let emulator = bench.gcs();
    let lost = emulator.fault(&format!("*{OLD}/manifest.json"), 1, Fault::LoseDeletion);
    assert_eq!(bench.prune().await, [OLD]);
    assert_eq!(lost.left(), 0);
    let left: Vec<_> = bench.keys().await.into_iter().filter(|k| k.contains(OLD)).collect();
    assert_eq!(left, [""; 0]);
    assert_eq!(bench.whole().await, [NEW]);
}

async fn manifest_text(store: &dyn Store, text: &str) -> String {
    let bytes = read_small(store, &id(text).manifest(), 1 << 20).await.unwrap().unwrap();
    String::from_utf8(bytes).unwrap()
}
