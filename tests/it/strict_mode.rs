//! Collections that refuse some looks for good, and those that change while their snapshot is made.

use qdrant_backup::base::error::Code;
use qdrant_backup::ops::backup::BackupOutcome;
use qdrant_backup::ops::prune::{self, PruneContext};
use qdrant_backup::ops::restore::{self, RestoreOutcome};
use qdrant_backup::ops::retention::Policy;
use qdrant_backup::repository::catalog::{self, LatestQuery, Mark};
use qdrant_backup::repository::selection::Selection;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::bench::Bench;
use testkit::lost::Lost;
use testkit::peer::{Collection, Peer};
use testkit::process::{command, finish};

#[tokio::test]
async fn a_collection_that_refuses_exact_counts_is_backed_up_by_estimates_and_restored() {
    let lost = Lost::with(|peer| peer.with("a", |c| c.refuses_exact = true)).await;
    let manifest = lost.saved().await;
    let (a, b) = (&manifest.collections[0], &manifest.collections[1]);
    assert_eq!((a.points_before, a.points_after, a.points_estimated), (100, 100, true));
    assert!(!b.points_estimated && b.warnings.is_empty());
    assert_eq!(a.warnings.len(), 1);

    let report = lost.run(&lost.request()).await.unwrap();
    assert_eq!(report.status, RestoreOutcome::Complete, "{report:?}");
    assert_eq!(report.collections[0].points, 100);
}

#[tokio::test]
async fn estimates_tell_some_points_from_none() {
    let lost = Lost::with(|peer| peer.with("a", |c| c.refuses_exact = true)).await;
    lost.upload(testkit::peer::Upload::Empty);
    let report = lost.run(&lost.request()).await.unwrap();
    assert_eq!(
        report.failed[0].error.code.to_string(),
        Code::RestoreUnequal.to_string()
    );
}

#[tokio::test]
async fn a_limit_of_points_at_once_is_kept() {
    for (most, sampled) in [(5, 100), (1, 100), (0, 0)] {
        let lost = Lost::new().await;
        let strict = Collection {
            most_points: Some(most),
            ..Collection::default()
        };
        lost.peer.lock().collections.insert("a".into(), strict);
        let report = lost.run(&lost.request()).await.unwrap();
        assert_eq!(report.status, RestoreOutcome::Complete, "{most}: {report:?}");
        let restored = &report.collections[0];
        assert_eq!((restored.points, restored.sampled), (100, sampled), "{most}");
        assert_eq!(restored.notes.len(), usize::from(sampled == 0), "{restored:?}");
    }
}

#[tokio::test]
async fn a_backup_by_a_key_for_certain_collections_says_what_it_may_be_missing() {
    for hidden in [true, false] {
        let lost = Lost::with(|peer| peer.lock().cluster_hidden = hidden).await;
        assert_eq!(lost.saved().await.qdrant.scoped_key, hidden);
        let plan = restore::plan(&lost.bench.ctx, &lost.request()).await.unwrap();
        assert_eq!(plan.warnings.len(), usize::from(hidden), "{:?}", plan.warnings);
    }
}

#[tokio::test]
async fn a_backup_by_a_key_for_certain_collections_takes_the_place_of_no_other() {
    let peer = Peer::start(&[("a", 1000), ("b", 1000)]).await;
    let bench = Bench::new(&peer.url).await;
    let full = bench.run().await.unwrap().id;
    // Such a key does not see the others.
    peer.lock().cluster_hidden = true;
    peer.lock().collections.remove("b");
    let scoped = bench.run().await.unwrap().id;
    let (store, now) = (&*bench.ctx.store, bench.ctx.clock.now());

    let list = catalog::list(store, 10, now).await.unwrap();
    let marks: Vec<_> = list.iter().map(|s| (s.id, s.marks.as_slice())).collect();
    assert_eq!(
        marks,
        [(scoped, &[Mark::Good, Mark::Scoped][..]), (full, &[Mark::Good][..])]
    );

    let latest = |selection: Selection| async move {
        let query = LatestQuery {
            selection: &selection,
            source: None,
            not_after: None,
        };
        catalog::latest(store, query, now).await.unwrap().id
    };
    assert_eq!(latest(Selection::default()).await, full);
    let only_a = Selection {
        collections: vec!["a".into()],
        ..Selection::default()
    };
    assert_eq!(latest(only_a).await, scoped);

    let job = PruneContext {
        ctx: bench.ctx.on_store(),
        policy: Policy {
            last: 1,
            min_age: Duration::ZERO,
            ..Policy::default()
        },
        only: None,
    };
    let plan = prune::plan(&job).await.unwrap();
    assert_eq!(plan.deletions().count(), 0, "{plan:?}");
}

/// A backup during which the metadata of `a` changes; `None` is none.
async fn changed(before: Option<Value>, after: Option<Value>) -> Lost {
    Lost::with(|peer| {
        peer.with("a", |c| c.metadata = before);
        let late = peer.clone();
        let change = move || late.with("a", |c| c.metadata = after);
        peer.lock().on_count = Some(Box::new(change));
    })
    .await
}

#[tokio::test]
async fn what_changed_during_the_backup_may_be_as_before_or_as_after() {
    let (x, y) = (Some(json!({"v": 1})), Some(json!({"v": 2})));
    // Restored it has no metadata.
    for (before, after, is_either) in [(x.clone(), None, true), (None, x.clone(), true), (x, y, false)] {
        let lost = changed(before.clone(), after.clone()).await;
        let saved = lost.saved().await.collections.remove(0);
        assert_eq!(saved.warnings.len(), 1, "{saved:?}");
        let later = saved.changed_to.unwrap();
        assert_eq!(later.config.value()["metadata"], json!(after));
        let report = lost.run(&lost.request()).await.unwrap();
        let is_complete = report.status == RestoreOutcome::Complete;
        assert_eq!(is_complete, is_either, "{before:?} {after:?}: {report:?}");
    }
}

#[tokio::test]
async fn aliases_that_changed_during_the_backup_are_recorded_as_they_are_then() {
    let peer = Peer::start(&[("a", 1000), ("b", 1000)]).await;
    peer.lock().aliases.push(("live".into(), "a".into()));
    let late = peer.clone();
    peer.lock().on_count = Some(Box::new(move || late.lock().aliases[0].1 = "b".into()));
    let bench = Bench::new(&peer.url).await;
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Complete);
    assert_eq!(report.warnings.len(), 2, "{report:?}");
    let manifest = bench.manifest(&report).await;
    let aliases: Vec<_> = manifest.collections.iter().map(|c| c.aliases.as_slice()).collect();
    assert_eq!(aliases, [&[][..], &["live".to_owned()][..]]);
    assert!(manifest.collections.iter().all(|c| c.warnings.len() == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estimate_is_printed_as_one_and_what_was_not_read_is_not_called_readable() {
    let strict = || Collection {
        points: 1234,
        refuses_exact: true,
        most_points: Some(0),
        body: testkit::source::noise(1000, 5),
        ..Collection::default()
    };
    let lost = Lost::with(|peer| drop(peer.lock().collections.insert("strict".into(), strict()))).await;
    let run = async |args: &[&str]| {
        let (code, out, err) = finish(command(args, &lost.peer.url, lost.bench.dir.path()).spawn().unwrap()).await;
        assert_eq!(code, Some(0), "{out}{err}");
        out
    };
    let out = run(&["show", "latest"]).await;
    assert_eq!(out.matches("about 1,234").count(), 1, "{out}");
    lost.peer
        .lock()
        .collections
        .insert("strict".into(), Collection { points: 0, ..strict() });
    let out = run(&["restore", "latest"]).await;
    assert!(out.contains("about 1,234"), "{out}");
    for told in ["only estimates: 1 of 3 collections", "not read: 1 of 3 collections"] {
        assert!(out.contains(told), "{told}: {out}");
    }
    let out = run(&["backup"]).await;
    assert!(out.contains("about 1,234"), "{out}");
    lost.peer.lock().collections.clear();
    let out = run(&["restore", &lost.id, "a", "b"]).await;
    let whole = "counts and configuration match the backup, and its points can be read";
    assert!(out.contains(whole) && !out.contains("about 1"), "{out}");
}
