//! What every store has to do.

use bytes::Bytes;
use futures_util::future::join_all;
use qdrant_backup::base::error::Code;
use qdrant_backup::wire::store::{BytesSource, Condition, Store, Version};
use testkit::source::{Scripted, noise};
use testkit::store::{TestStore, collect, keys, put, put_stream, read, swap};

macro_rules! conformance {
    ($($name:ident)*) => {
        mod on_a_directory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let made = super::TestStore::in_directory().await;
                super::$name(&*made.store).await;
            })*
        }
        mod on_cloud_storage {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let made = super::TestStore::in_bucket().await;
                super::$name(&*made.store).await;
            })*
        }
    };
}

conformance! {
    bytes_come_back_as_they_were_put
    a_stream_of_any_length_comes_back_as_it_was
    a_stream_takes_the_place_of_nothing
    a_stream_that_fails_publishes_nothing
    a_dropped_stream_publishes_nothing
    names_of_every_kind_are_kept_apart
    a_put_on_an_existing_key_conflicts_and_changes_nothing
    a_swap_takes_the_current_version_only
    a_swap_needs_an_object
    of_many_puts_at_once_one_wins
    of_many_swaps_at_once_one_wins
    what_is_not_there_is_none
    a_range_gives_its_bytes
    a_range_behind_the_end_is_an_error
    a_version_names_one_content
    a_list_is_ordered_by_key
    a_list_takes_any_prefix
    a_folder_has_what_lies_directly_in_it
    a_deletion_needs_the_version
    an_error_of_the_source_comes_back_and_nothing_is_left
    a_short_source_publishes_nothing
    a_long_source_publishes_nothing
    a_checksum_that_differs_publishes_nothing
    a_dropped_put_publishes_nothing
    keys_that_are_no_paths_are_refused
    a_check_leaves_nothing
}

async fn bytes_come_back_as_they_were_put(store: &dyn Store) {
    for len in [0, 1, 256 * 1024, 256 * 1024 + 1, 3_000_000] {
        let bytes = noise(len, len as u64);
        let key = format!("sizes/{len}.snapshot");
        let meta = put(store, &key, &bytes).await.unwrap();
        assert_eq!(meta.key, key);
        assert_eq!(meta.size, len as u64);
        assert_eq!(meta.crc32c, Some(crc32c::crc32c(&bytes)));
        assert_eq!(read(store, &key).await.unwrap(), bytes, "{len}");
        let head = store.head(&key).await.unwrap().unwrap();
        assert_eq!((head.key, head.size, head.version), (key, meta.size, meta.version));
        assert_eq!(head.updated, meta.updated);
        assert!(head.updated.year() > 2000, "{}", head.updated);
    }
}

async fn a_stream_of_any_length_comes_back_as_it_was(store: &dyn Store) {
    for len in [0, 1, 256 * 1024, 3_000_000, 16 << 20, (16 << 20) + 1] {
        let bytes = noise(len, len as u64);
        let key = format!("streams/{len}.snapshot");
        let meta = put_stream(store, &key, &bytes).await.unwrap();
        assert_eq!((&meta.key, meta.size), (&key, len as u64));
        assert_eq!(meta.crc32c, Some(crc32c::crc32c(&bytes)));
        assert_eq!(read(store, &key).await.unwrap(), bytes, "{len}");
        let head = store.head(&key).await.unwrap().unwrap();
        assert_eq!((head.size, head.version), (meta.size, meta.version));
        assert_eq!(head.updated, meta.updated);
    }
}

async fn a_stream_takes_the_place_of_nothing(store: &dyn Store) {
    let first = put(store, "a/shard-0.snapshot", &noise(1000, 1)).await.unwrap();
    let error = put_stream(store, "a/shard-0.snapshot", &noise(1000, 2))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::StoreConflict, "{error}");
    let head = store.head("a/shard-0.snapshot").await.unwrap().unwrap();
    assert_eq!(head.version, first.version);
}

async fn a_stream_that_fails_publishes_nothing(store: &dyn Store) {
    // In its first chunk on Cloud Storage, and behind it.
    for at in [500_000, 17 << 20] {
        let stream = Scripted::new(&noise(18 << 20, 1)).failing_at(at);
        let error = store
            .put_stream("a/shard-0.snapshot", Box::new(stream))
            .await
            .unwrap_err();
        assert_eq!(error.code(), Code::SnapshotChanged, "{error}");
        assert_eq!(keys(store, "").await, [""; 0]);
    }
}

async fn a_dropped_stream_publishes_nothing(store: &dyn Store) {
    let stream = Scripted::new(&noise(18 << 20, 1)).hanging_at(17 << 20);
    let hung = stream.hung.clone();
    tokio::select! {
        _ = store.put_stream("a/shard-0.snapshot", Box::new(stream)) => panic!("it has no end"),
        _ = hung.acquire() => {}
    }
    assert_eq!(keys(store, "").await, [""; 0]);
}

async fn names_of_every_kind_are_kept_apart(store: &dyn Store) {
    let long = "x".repeat(190);
    let names = [
        "a b",
        "a+b",
        "a%20b",
        "%2e%2e",
        "a?b#c&d=e",
        "żółć-日本",
        "a\"'*[]",
        &long,
        "..a",
    ];
    for name in names {
        let key = format!("odd/{name}/collection.snapshot");
        put(store, &key, &Bytes::from(name.to_string())).await.unwrap();
    }
    for name in names {
        let key = format!("odd/{name}/collection.snapshot");
        assert_eq!(read(store, &key).await.unwrap(), name);
    }
    let mut expected = names.map(|n| format!("odd/{n}/collection.snapshot"));
    expected.sort();
    assert_eq!(keys(store, "odd/").await, expected);
}

async fn a_put_on_an_existing_key_conflicts_and_changes_nothing(store: &dyn Store) {
    let first = put(store, "a/manifest.json", &noise(1000, 1)).await.unwrap();
    let error = put(store, "a/manifest.json", &noise(1000, 2)).await.unwrap_err();
    assert_eq!(error.code(), Code::StoreConflict, "{error}");
    assert_eq!(read(store, "a/manifest.json").await.unwrap(), noise(1000, 1));
    let head = store.head("a/manifest.json").await.unwrap().unwrap();
    assert_eq!(head.version, first.version);
}

async fn a_swap_takes_the_current_version_only(store: &dyn Store) {
    let first = put(store, "lock.json", &noise(100, 1)).await.unwrap();
    let second = swap(store, "lock.json", &noise(100, 2), &first.version).await.unwrap();
    assert_ne!(first.version, second.version);
    let error = swap(store, "lock.json", &noise(100, 3), &first.version)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::StoreConflict, "{error}");
    assert_eq!(read(store, "lock.json").await.unwrap(), noise(100, 2));
    let nonsense = Version("no version".to_string());
    let error = swap(store, "lock.json", &noise(100, 4), &nonsense).await.unwrap_err();
    assert_eq!(error.code(), Code::StoreConflict, "{error}");
    swap(store, "lock.json", &noise(100, 5), &second.version).await.unwrap();
    assert_eq!(read(store, "lock.json").await.unwrap(), noise(100, 5));
}

async fn a_swap_needs_an_object(store: &dyn Store) {
    let gone = put(store, "lock.json", &noise(10, 1)).await.unwrap();
    assert!(store.delete("lock.json", &gone.version).await.unwrap());
    let error = swap(store, "lock.json", &noise(10, 2), &gone.version)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::StoreConflict, "{error}");
    assert!(keys(store, "").await.is_empty());
}

async fn of_many_puts_at_once_one_wins(store: &dyn Store) {
    let bodies: Vec<_> = (0..8).map(|i| noise(300_000, i)).collect();
    let puts = bodies.iter().map(|body| put(store, "x/manifest.json", body));
    let results = join_all(puts).await;
    let winners: Vec<_> = (0..8).filter(|i| results[*i].is_ok()).collect();
    assert_eq!(winners.len(), 1, "{results:?}");
    for error in results.iter().filter_map(|r| r.as_ref().err()) {
        assert_eq!(error.code(), Code::StoreConflict, "{error}");
    }
    assert_eq!(read(store, "x/manifest.json").await.unwrap(), bodies[winners[0]]);
}

async fn of_many_swaps_at_once_one_wins(store: &dyn Store) {
    let mut version = put(store, "lock.json", &noise(50, 99)).await.unwrap().version;
    for round in 0..5 {
        let bodies: Vec<_> = (0..8).map(|i| noise(50, round * 8 + i)).collect();
        let swaps = bodies.iter().map(|body| swap(store, "lock.json", body, &version));
        let results = join_all(swaps).await;
        let winners: Vec<_> = (0..8).filter(|i| results[*i].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{results:?}");
        assert_eq!(read(store, "lock.json").await.unwrap(), bodies[winners[0]]);
        version = results[winners[0]].as_ref().unwrap().version.clone();
    }
}

async fn what_is_not_there_is_none(store: &dyn Store) {
    put(store, "a/b/c", &noise(10, 1)).await.unwrap();
    for key in ["x", "a", "a/b", "a/b/c/d", "a/b/cc"] {
        assert!(store.head(key).await.unwrap().is_none(), "{key}");
        assert!(store.get(key, None, None).await.unwrap().is_none(), "{key}");
        assert!(store.get(key, Some(0..1), None).await.unwrap().is_none(), "{key}");
        assert!(store.get(key, Some(0..0), None).await.unwrap().is_none(), "{key}");
    }
}

async fn a_range_gives_its_bytes(store: &dyn Store) {
    let bytes = noise(1_000_000, 7);
    put(store, "a.snapshot", &bytes).await.unwrap();
    for range in [
        0..1,
        0..1_000_000,
        5..700_000,
        999_999..1_000_000,
        10..10,
        1_000_000..1_000_000,
    ] {
        let stream = store.get("a.snapshot", Some(range.clone()), None).await.unwrap();
        let got = collect(stream.unwrap()).await.unwrap();
        let expected = &bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        assert_eq!(got, expected, "{range:?}");
    }
}

async fn a_range_behind_the_end_is_an_error(store: &dyn Store) {
    put(store, "a.snapshot", &noise(1000, 7)).await.unwrap();
    for range in [0..1001, 999..1500, 1000..1001, 5000..6000] {
        let stream = store.get("a.snapshot", Some(range.clone()), None).await;
        let error = match stream {
            Ok(stream) => collect(stream.unwrap()).await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.code(), Code::LengthMismatch, "{range:?}: {error}");
    }
}

async fn a_version_names_one_content(store: &dyn Store) {
    let first = put(store, "lock.json", &noise(100, 1)).await.unwrap();
    let at_first = store.get("lock.json", None, Some(&first.version)).await.unwrap();
    assert_eq!(collect(at_first.unwrap()).await.unwrap(), noise(100, 1));
    swap(store, "lock.json", &noise(100, 2), &first.version).await.unwrap();
    for range in [None, Some(0..5), Some(0..0)] {
        let gone = store.get("lock.json", range, Some(&first.version)).await.unwrap();
        assert!(gone.is_none());
    }
    let nonsense = Version("no version".to_string());
    assert!(store.get("lock.json", None, Some(&nonsense)).await.unwrap().is_none());
}

async fn a_list_is_ordered_by_key(store: &dyn Store) {
    // `-` and `.` come before `/`, `0` behind it: a walk through directories would get this wrong.
    let mut expected = ["a/b-c/d", "a-b", "a.b", "a0b", "a/z", "z", "é/1"];
    for key in &expected {
        put(store, key, &noise(10, 1)).await.unwrap();
    }
    expected.sort_unstable();
    assert_eq!(keys(store, "").await, expected);
}

async fn a_list_takes_any_prefix(store: &dyn Store) {
    for key in ["backups/1/a", "backups/1/b", "backups/10/a", "backups/2/a", "lock.json"] {
        put(store, key, &noise(10, 1)).await.unwrap();
    }
    assert_eq!(keys(store, "backups/1/").await, ["backups/1/a", "backups/1/b"]);
    assert_eq!(
        keys(store, "backups/1").await,
        ["backups/1/a", "backups/1/b", "backups/10/a"]
    );
    assert_eq!(keys(store, "backups/1/b").await, ["backups/1/b"]);
    assert_eq!(keys(store, "l").await, ["lock.json"]);
    assert!(keys(store, "lock.json/").await.is_empty());
    assert!(keys(store, "nothing/here").await.is_empty());
    assert_eq!(keys(store, "").await.len(), 5);
}

async fn a_folder_has_what_lies_directly_in_it(store: &dyn Store) {
    for key in [
        "b/2/z", "b/2/x/y", "b/2/x/z", "b/2/a", "b/10/a/b", "b/top", "c", "b/2.json",
    ] {
        put(store, key, &noise(10, 1)).await.unwrap();
    }
    for (prefix, folders, objects) in [
        ("", vec!["b"], vec!["c"]),
        ("b/", vec!["10", "2"], vec!["b/2.json", "b/top"]),
        ("b/2/", vec!["x"], vec!["b/2/a", "b/2/z"]),
        ("b/10/", vec!["a"], vec![]),
        ("b/3/", vec![], vec![]),
    ] {
        let found = store.folder(prefix).await.unwrap();
        let keys: Vec<_> = found.objects.iter().map(|object| object.key.as_str()).collect();
        let folders: Vec<_> = folders.into_iter().map(str::to_owned).collect();
        assert_eq!((found.folders, keys), (folders, objects), "{prefix:?}");
    }
    let found = store.folder("b/2/").await.unwrap().objects.remove(1);
    let head = store.head("b/2/z").await.unwrap().unwrap();
    assert_eq!(
        (found.size, found.version, found.updated),
        (10, head.version, head.updated)
    );
}

async fn a_deletion_needs_the_version(store: &dyn Store) {
    let first = put(store, "x/lock.json", &noise(10, 1)).await.unwrap();
    let second = swap(store, "x/lock.json", &noise(10, 2), &first.version).await.unwrap();
    let nonsense = Version("no version".to_string());
    assert!(!store.delete("x/lock.json", &first.version).await.unwrap());
    assert!(!store.delete("x/lock.json", &nonsense).await.unwrap());
    assert_eq!(read(store, "x/lock.json").await.unwrap(), noise(10, 2));
    assert!(store.delete("x/lock.json", &second.version).await.unwrap());
    assert!(!store.delete("x/lock.json", &second.version).await.unwrap());
    assert!(store.head("x/lock.json").await.unwrap().is_none());
    put(store, "x/lock.json", &noise(10, 3)).await.unwrap();
}

async fn an_error_of_the_source_comes_back_and_nothing_is_left(store: &dyn Store) {
    let bytes = noise(2_000_000, 1);
    for at in [0, 1_000_000] {
        let source = Box::new(Scripted::new(&bytes).failing_at(at));
        let seeks = source.seeks.clone();
        let error = store.put("a.snapshot", source, Condition::Absent).await.unwrap_err();
        assert_eq!(error.code(), Code::SnapshotChanged, "{error}");
        assert!(keys(store, "").await.is_empty());
        let seeks = seeks.load(std::sync::atomic::Ordering::Relaxed);
        assert!(seeks <= 1, "tried {seeks} times although the source had failed");
    }
}

async fn a_short_source_publishes_nothing(store: &dyn Store) {
    let source = Scripted::new(&noise(1_000_000, 1)).promising(1_000_001);
    let error = store
        .put("a.snapshot", Box::new(source), Condition::Absent)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::LengthMismatch, "{error}");
    assert!(keys(store, "").await.is_empty());
}

async fn a_long_source_publishes_nothing(store: &dyn Store) {
    let source = Scripted::new(&noise(1_000_000, 1)).promising(999_999);
    let error = store
        .put("a.snapshot", Box::new(source), Condition::Absent)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::LengthMismatch, "{error}");
    assert!(keys(store, "").await.is_empty());
}

async fn a_checksum_that_differs_publishes_nothing(store: &dyn Store) {
    let bytes = noise(1_000_000, 1);
    let truth = crc32c::crc32c(&bytes);
    let source = Scripted::new(&bytes).claiming(truth ^ 1);
    let error = store
        .put("a.snapshot", Box::new(source), Condition::Absent)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::ChecksumMismatch, "{error}");
    assert!(keys(store, "").await.is_empty());
    let source = Scripted::new(&bytes).claiming(truth);
    store
        .put("a.snapshot", Box::new(source), Condition::Absent)
        .await
        .unwrap();
}

async fn a_dropped_put_publishes_nothing(store: &dyn Store) {
    let source = Scripted::new(&noise(2_000_000, 1)).hanging_at(1_500_000);
    let hung = source.hung.clone();
    let put = store.put("a.snapshot", Box::new(source), Condition::Absent);
    tokio::select! {
        result = put => panic!("{result:?}"),
        _ = hung.acquire() => {}
    }
    assert!(keys(store, "").await.is_empty());
    let again = Box::new(BytesSource::new(noise(10, 1)));
    store.put("a.snapshot", again, Condition::Absent).await.unwrap();
}

async fn keys_that_are_no_paths_are_refused(store: &dyn Store) {
    let version = Version("1".to_string());
    for key in [
        "", "/", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/./b", "a\\b", "a\0b", "a\nb",
    ] {
        let results = [
            put(store, key, &noise(10, 1)).await.map(drop),
            store.get(key, None, None).await.map(drop),
            store.head(key).await.map(drop),
            store.delete(key, &version).await.map(drop),
        ];
        for result in results {
            assert_eq!(result.unwrap_err().code(), Code::BadRequest, "{key:?}");
        }
    }
    for prefix in ["/", "../", "a/../b", "a//"] {
        let result = store.list(prefix).await.map(drop);
        assert_eq!(result.unwrap_err().code(), Code::BadRequest, "{prefix:?}");
    }
    assert!(keys(store, "").await.is_empty());
}

async fn a_check_leaves_nothing(store: &dyn Store) {
    store.check().await.unwrap();
    assert!(keys(store, "").await.is_empty());
    put(store, "a", &noise(10, 1)).await.unwrap();
    store.check().await.unwrap();
    assert_eq!(keys(store, "").await, ["a"]);
}
