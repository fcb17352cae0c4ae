//! What only a directory can get wrong.

use qdrant_backup::base::error::Code;
use qdrant_backup::wire::store::{Condition, DirStore, GcsOptions, Store, open};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::{
    fs::{self, File, FileTimes},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};
use testkit::process::is_alone;
use testkit::source::{Scripted, noise};
use testkit::store::{keys, put, read, swap};

fn staged(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root.join(".staging")) else {
        return Vec::new();
    };
    let paths = entries.map(|e| e.unwrap().path());
    paths.filter(|p| p.extension().is_some_and(|e| e == "staged")).collect()
}

async fn store(root: &Path) -> DirStore {
    DirStore::open(root).await.unwrap()
}

#[tokio::test]
async fn a_url_opens_a_directory_and_names_it_again() {
    let root = tempfile::Builder::new().prefix("a b%20#").tempdir().unwrap();
    let path = root.path().to_str().unwrap();
    let url = path.replace('%', "%25").replace(' ', "%20").replace('#', "%23");
    let store = open(&format!("file://{url}/"), GcsOptions::default()).await.unwrap();
    put(&*store, "a/b", &noise(10, 1)).await.unwrap();
    assert_eq!(fs::read(root.path().join("a/b")).unwrap(), noise(10, 1));
    assert_eq!(store.url(), format!("file://{url}"));
}

#[tokio::test]
async fn a_missing_directory_is_named_and_never_made() {
    let root = tempfile::tempdir().unwrap();
    let missing = root.path().join("missing");
    let error = DirStore::open(&missing).await.unwrap_err();
    assert_eq!(error.code(), Code::StoreMissing);
    assert!(error.remedy_text().unwrap().contains("mkdir"), "{error}");

    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(DirStore::open(&file).await.unwrap_err().code(), Code::StoreMissing);

    fs::create_dir(&missing).unwrap();
    let store = store(&missing).await;
    fs::remove_dir(&missing).unwrap();
    for error in [
        put(&store, "a", &noise(10, 1)).await.unwrap_err(),
        store.check().await.unwrap_err(),
        store.list("").await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.code(), Code::StoreMissing, "{error}");
    }
    assert!(!missing.exists());
}

#[tokio::test]
async fn nothing_stays_behind_in_staging() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path()).await;
    let bytes = noise(1_000_000, 1);
    let first = put(&store, "a", &bytes).await.unwrap();
    swap(&store, "a", &noise(10, 2), &first.version).await.unwrap();
    put(&store, "a", &bytes).await.unwrap_err();
    swap(&store, "a", &bytes, &first.version).await.unwrap_err();
    let source = Box::new(Scripted::new(&bytes).failing_at(500_000));
    store.put("b", source, Condition::Absent).await.unwrap_err();
    store.check().await.unwrap();
    assert!(staged(root.path()).is_empty());
}

#[tokio::test]
async fn a_dropped_put_removes_its_file() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path()).await;
    let source = Scripted::new(&noise(2_000_000, 1)).hanging_at(1_000_000);
    let hung = source.hung.clone();
    let mut put = store.put("a", Box::new(source), Condition::Absent);
    tokio::select! {
        result = &mut put => panic!("{result:?}"),
        _ = hung.acquire() => {}
    }
    assert_eq!(staged(root.path()).len(), 1);
    drop(put);
    assert!(staged(root.path()).is_empty());
}

#[tokio::test]
async fn a_staged_file_is_locked_while_it_is_written_and_removed_soon_after_its_writer_died() {
    // The system's own directory may be on a file system whose locks tell nothing.
    let Ok(root) = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")) else {
        panic!("no directory for this test");
    };
    let first = store(root.path()).await;
    let source = Scripted::new(&noise(2_000_000, 1)).hanging_at(1_000_000);
    let hung = source.hung.clone();
    let writing = tokio::spawn(async move { first.put("a", Box::new(source), Condition::Absent).await });
    hung.acquire().await.unwrap().forget();
    let [path] = staged(root.path()).try_into().unwrap();
    let dead = path.with_file_name(format!("{}.staged", uuid::Uuid::new_v4()));
    fs::copy(&path, &dead).unwrap();
    let age = |path: &Path, seconds: u64| {
        let then = SystemTime::now() - Duration::from_secs(seconds);
        let file = File::options().write(true).open(path).unwrap();
        file.set_times(FileTimes::new().set_modified(then)).unwrap();
    };
    age(&path, 3600);
    age(&dead, 20);
    store(root.path()).await;
    assert!(path.exists() && dead.exists(), "it may not have been locked yet");
    age(&path, 3600);
    age(&dead, 120);
    store(root.path()).await;
    assert!(path.exists() && !dead.exists());
    writing.abort();
    writing.await.unwrap_err();
}

#[tokio::test]
async fn a_crash_leaves_a_staged_file_that_a_later_day_removes_whatever_its_lock_says() {
    let root = tempfile::tempdir().unwrap();
    let first = store(root.path()).await;
    let source = Scripted::new(&noise(2_000_000, 1)).hanging_at(1_000_000);
    let hung = source.hung.clone();
    let crashed = tokio::spawn(async move { first.put("a", Box::new(source), Condition::Absent).await });
    hung.acquire().await.unwrap().forget();
    // As a crash leaves it: the name stays, and nobody writes to it any more. A copy, since the thread that writes the other one
    // may still be at its last bytes.
    let [path] = staged(root.path()).try_into().unwrap();
    let kept = path.with_extension("kept");
    fs::copy(&path, &kept).unwrap();
    crashed.abort();
    crashed.await.unwrap_err();
    fs::rename(&kept, &path).unwrap();

    let stranger = root.path().join(".staging/notes.txt");
    fs::write(&stranger, "not ours").unwrap();
    let age = |path: &Path, hours: u64| {
        let then = SystemTime::now() - Duration::from_secs(hours * 3600);
        let file = File::options().write(true).open(path).unwrap();
        file.set_times(FileTimes::new().set_modified(then)).unwrap();
    };
    age(&stranger, 100);
    age(&path, 23);
    let writer = File::open(&path).unwrap();
    writer.try_lock().unwrap();
    let second = store(root.path()).await;
    assert!(keys(&second, "").await.is_empty());
    assert!(second.head("a").await.unwrap().is_none());
    assert!(path.exists(), "another process may still write it");

    age(&path, 25);
    store(root.path()).await;
    assert!(staged(root.path()).is_empty());
    assert!(stranger.exists());
}

#[tokio::test]
async fn staging_is_nobodys_business() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path()).await;
    let first = put(&store, "a/.staging", &noise(10, 1)).await.unwrap();
    swap(&store, "a/.staging", &noise(10, 2), &first.version).await.unwrap();
    assert!(root.path().join(".staging/cas.lock").exists());
    assert_eq!(keys(&store, "").await, ["a/.staging"]);
    assert!(keys(&store, ".staging/").await.is_empty());
    assert!(keys(&store, ".stag").await.is_empty());
    for key in [".staging", ".staging/cas.lock"] {
        let error = store.head(key).await.unwrap_err();
        assert_eq!(error.code(), Code::BadRequest);
    }
}

#[tokio::test]
async fn links_do_not_lead_out_of_the_store() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path()).await;
    std::os::unix::fs::symlink(outside.path().join("secret"), root.path().join("file")).unwrap();
    std::os::unix::fs::symlink(outside.path(), root.path().join("directory")).unwrap();
    assert!(store.get("file", None, None).await.unwrap().is_none());
    assert!(keys(&store, "").await.is_empty());
    let error = put(&store, "file", &noise(10, 1)).await.unwrap_err();
    assert_eq!(
        error.code(),
        Code::StoreFailed,
        "it is no object that somebody else wrote"
    );
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"secret");
}

/// What a directory holds, links as such, each with its content or where it leads.
fn tree(root: &Path) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let (path, name) = (entry.as_ref().unwrap().path(), entry.unwrap().file_name());
        let name = name.into_string().unwrap();
        let kind = fs::symlink_metadata(&path).unwrap();
        if kind.is_dir() {
            all.extend(tree(&path).into_iter().map(|(n, what)| (format!("{name}/{n}"), what)));
        } else if kind.is_symlink() {
            all.push((name, fs::read_link(&path).unwrap().display().to_string()));
        } else {
            all.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    all.sort();
    all
}

#[tokio::test]
async fn no_folder_that_is_a_link_is_read_written_or_deleted_through() {
    let (outside, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let beyond = store(outside.path()).await;
    let secret = put(&beyond, "sub/secret", &"secret".into()).await.unwrap().version;
    fs::remove_dir_all(outside.path().join(".staging")).unwrap();
    let before = tree(outside.path());
    let store = store(root.path()).await;
    put(&store, "a/b", &noise(10, 1)).await.unwrap();
    let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, root.path().join(name)).unwrap();
    link(outside.path(), "link");
    link(&outside.path().join("sub"), "a/link");
    link(Path::new("../a"), "a/inside");
    link(Path::new("nowhere"), "a/dangling");

    for (link, key) in [
        ("link", "link/sub/secret"),
        ("a/link", "a/link/secret"),
        ("a/inside", "a/inside/b"),
    ] {
        assert!(store.get(key, None, None).await.unwrap().is_none(), "{key} is read");
        assert!(store.head(key).await.unwrap().is_none(), "{key} is seen");
        let version = match store.head("a/b").await.unwrap() {
            Some(b) if key == "a/inside/b" => b.version,
            _ => secret.clone(),
        };
        assert!(!store.delete(key, &version).await.unwrap(), "{key} is deleted");
        let error = swap(&store, key, &noise(10, 2), &version).await.unwrap_err();
        assert_eq!(error.code(), Code::StoreConflict, "{error}");
        for key in [format!("{key}-new"), key.replace("secret", "new/x")] {
            let error = put(&store, &key, &noise(10, 3)).await.unwrap_err();
            assert_eq!(error.code(), Code::StoreFailed, "{error}");
            let link = root.path().join(link).display().to_string();
            assert!(
                error.to_string().contains(&link) && error.remedy_text().is_some(),
                "{error}"
            );
        }
    }
    for (prefix, found) in [
        ("", vec!["a/b"]),
        ("a/", vec!["a/b"]),
        ("a/l", vec![]),
        ("link/", vec![]),
        ("link/sub/", vec![]),
        ("a/inside/", vec![]),
    ] {
        assert_eq!(keys(&store, prefix).await, found, "{prefix:?}");
    }
    for (prefix, folders, objects) in [
        ("", vec!["a"], vec![]),
        ("a/", vec![], vec!["a/b"]),
        ("link/", vec![], vec![]),
        ("a/inside/", vec![], vec![]),
    ] {
        let found = store.folder(prefix).await.unwrap();
        let keys: Vec<_> = found.objects.iter().map(|object| object.key.as_str()).collect();
        assert_eq!(
            (found.folders, keys),
            (folders.into_iter().map(str::to_owned).collect(), objects),
            "{prefix:?}"
        );
    }
    let error = put(&store, "a/dangling", &noise(10, 3)).await.unwrap_err();
    assert_eq!(error.code(), Code::StoreFailed, "{error}");
    assert_eq!(tree(outside.path()), before);
    assert!(staged(root.path()).is_empty());
    // What is emptied is removed, and what holds a link is not empty.
    let b = store.head("a/b").await.unwrap().unwrap();
    assert!(store.delete("a/b", &b.version).await.unwrap());
    assert_eq!(tree(root.path()).len(), 5, "{:?}", tree(root.path()));
}

#[tokio::test]
async fn more_folders_are_listed_than_files_may_be_open() {
    if !is_alone("store::dir::more_folders_are_listed_than_files_may_be_open") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path()).await;
    let folders: Vec<_> = (0..200).map(|n| format!("b/{n:03}/c/object")).collect();
    for key in &folders {
        fs::create_dir_all(root.path().join(key).parent().unwrap()).unwrap();
        fs::write(root.path().join(key), "x").unwrap();
    }
    let few = Rlimit {
        current: Some(64),
        maximum: Some(64),
    };
    setrlimit(Resource::Nofile, few).unwrap();
    assert_eq!(keys(&store, "b/").await, folders);
    assert_eq!(store.folder("b/").await.unwrap().folders.len(), 200);
}

#[tokio::test]
async fn the_root_may_be_a_link_and_its_staging_not() {
    let (real, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = other.path().join("root");
    std::os::unix::fs::symlink(real.path(), &root).unwrap();
    let at_link = store(&root).await;
    put(&at_link, "a/b", &"x".into()).await.unwrap();
    assert_eq!(read(&at_link, "a/b").await.unwrap(), "x");
    assert_eq!(at_link.folder("").await.unwrap().folders, ["a"]);

    let elsewhere = tempfile::tempdir().unwrap();
    fs::remove_dir_all(real.path().join(".staging")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), real.path().join(".staging")).unwrap();
    // Nor when it became one since.
    for error in [
        DirStore::open(&root).await.unwrap_err(),
        put(&at_link, "a/c", &"x".into()).await.unwrap_err(),
    ] {
        assert_eq!(error.code(), Code::StoreFailed, "{error}");
        assert!(error.to_string().contains("/.staging"), "{error}");
    }
    assert_eq!(at_link.check().await.unwrap_err().code(), Code::StoreFailed);
    assert_eq!(tree(elsewhere.path()), []);
    assert_eq!(keys(&at_link, "").await, ["a/b"]);
}

#[tokio::test]
async fn a_store_with_a_link_for_one_of_its_folders_is_not_opened_as_an_empty_one() {
    for folder in ["backups", "intents", "jobs", ".staging"] {
        let (disk, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let link = root.path().join(folder);
        for to in [disk.path(), Path::new("nowhere")] {
            std::os::unix::fs::symlink(to, &link).unwrap();
            let error = DirStore::open(root.path()).await.unwrap_err();
            assert_eq!(error.code(), Code::StoreFailed, "{error}");
            for path in [&link, to] {
                assert!(error.to_string().contains(&path.display().to_string()), "{error}");
            }
            assert!(error.remedy_text().unwrap().contains("BACKUP_STORE"), "{error}");
            fs::remove_file(&link).unwrap();
        }
        assert_eq!(tree(disk.path()), []);
        fs::create_dir(&link).unwrap();
        DirStore::open(root.path()).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_no_plain_file_is_no_object_and_holds_nobody_up() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path()).await;
    let pipe = Command::new("mkfifo").arg(root.path().join("pipe")).status().unwrap();
    assert!(pipe.success());
    let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();
    for key in ["pipe", "socket"] {
        assert!(store.head(key).await.unwrap().is_none(), "{key}");
        assert!(store.get(key, None, None).await.unwrap().is_none(), "{key}");
    }
    assert_eq!(keys(&store, "").await, [""; 0]);
}

#[tokio::test]
async fn only_the_owner_may_read_what_is_stored() {
    let root = tempfile::tempdir().unwrap();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let store = store(root.path()).await;
    let source = Scripted::new(&noise(2_000_000, 1)).hanging_at(1_000_000);
    let hung = source.hung.clone();
    let mut hanging = store.put("x", Box::new(source), Condition::Absent);
    tokio::select! {
        result = &mut hanging => panic!("{result:?}"),
        _ = hung.acquire() => {}
    }
    let first = put(&store, "a/b/c", &noise(10, 1)).await.unwrap();
    swap(&store, "a/b/c", &noise(10, 2), &first.version).await.unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    for folder in ["a", "a/b", ".staging"] {
        assert_eq!(mode(root.path().join(folder)), 0o700, "{folder}");
    }
    let staged = staged(root.path()).pop().unwrap();
    for file in [root.path().join("a/b/c"), root.path().join(".staging/cas.lock"), staged] {
        assert_eq!(mode(file.clone()), 0o600, "{}", file.display());
    }
    assert_eq!(mode(root.path().into()), 0o755, "the root is the operator's");
}

#[tokio::test]
async fn what_was_given_up_while_it_waited_for_the_lock_is_not_done_later() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path()).await;
    let first = put(&store, "lock.json", &noise(10, 1)).await.unwrap();
    let lock = File::create(root.path().join(".staging/cas.lock")).unwrap();
    lock.lock().unwrap();
    let bytes = noise(10, 2);
    let swap = swap(&store, "lock.json", &bytes, &first.version);
    assert!(tokio::time::timeout(Duration::from_millis(300), swap).await.is_err());
    lock.unlock().unwrap();
    // Gone when its thread has ended.
    while !staged(root.path()).is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(read(&store, "lock.json").await.unwrap(), noise(10, 1));
}

#[tokio::test]
async fn a_swap_waits_for_the_lock_of_another_process() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path()).await;
    let first = put(&store, "lock.json", &noise(10, 1)).await.unwrap();
    let lock = File::create(root.path().join(".staging/cas.lock")).unwrap();
    lock.lock().unwrap();
    let bytes = noise(10, 2);
    let mut swap = Box::pin(swap(&store, "lock.json", &bytes, &first.version));
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut swap).await;
    assert!(waited.is_err(), "went on without the lock: {waited:?}");
    // The other process takes the key.
    let theirs = root.path().join("theirs");
    fs::write(&theirs, "theirs").unwrap();
    fs::rename(&theirs, root.path().join("lock.json")).unwrap();
    lock.unlock().unwrap();
    assert_eq!(swap.await.unwrap_err().code(), Code::StoreConflict);
    assert_eq!(read(&store, "lock.json").await.unwrap(), "theirs");
}

#[tokio::test]
async fn a_deletion_takes_empty_directories_along() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path()).await;
    let a = put(&store, "backups/1/x/a", &noise(10, 1)).await.unwrap();
    let b = put(&store, "backups/1/b", &noise(10, 1)).await.unwrap();
    assert!(store.delete("backups/1/x/a", &a.version).await.unwrap());
    assert!(!root.path().join("backups/1/x").exists());
    assert!(root.path().join("backups/1").exists());
    assert!(store.delete("backups/1/b", &b.version).await.unwrap());
    assert!(!root.path().join("backups").exists());
    assert!(root.path().exists());
}

#[tokio::test]
async fn a_file_that_shrinks_while_it_is_read_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path()).await;
    put(&store, "a", &noise(8 << 20, 1)).await.unwrap();
    let stream = store.get("a", None, None).await.unwrap().unwrap();
    // More than what is read ahead is still to come.
    let file = File::options().write(true).open(root.path().join("a")).unwrap();
    file.set_len(4 << 20).unwrap();
    let error = testkit::store::collect(stream).await.unwrap_err();
    assert_eq!(error.code(), Code::LengthMismatch, "{error}");
}

/// A file system of 1 MiB, where this user may mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let at = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(at.path())
            .output();
        mount.is_ok_and(|m| m.status.success()).then_some(Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).output();
    }
}

#[tokio::test]
async fn a_full_disk_says_so_and_keeps_nothing() {
    // Needs the right to mount; what the errors mean is tested without it in the library.
    let Some(disk) = SmallDisk::mount() else {
        #[allow(clippy::print_stderr)]
        {
            eprintln!("SKIPPED: this user may not mount a small disk");
        }
        return;
    };
    let store = store(disk.0.path()).await;
    put(&store, "small", &noise(100_000, 1)).await.unwrap();
    let error = put(&store, "large", &noise(4_000_000, 1)).await.unwrap_err();
    assert_eq!(error.code(), Code::StoreFull, "{error}");
    assert!(error.remedy_text().is_some());
    assert_eq!(keys(&store, "").await, ["small"]);
    assert!(staged(disk.0.path()).is_empty());
    assert_eq!(read(&store, "small").await.unwrap(), noise(100_000, 1));
}

#[tokio::test]
async fn a_store_may_have_more_folders_than_a_process_may_have_open_files() {
    const LIMIT: u64 = 96;
    // The limit is the process's.
    if !testkit::process::is_alone("store::dir::a_store_may_have_more_folders_than_a_process_may_have_open_files") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path()).await;
    for i in 0..2 * LIMIT {
        put(&store, &format!("backups/{i:03}/docs/a"), &noise(1, i))
            .await
            .unwrap();
    }
    // Nobody but others makes one in the other without end.
    let mut deep = root.path().join("others");
    for _ in 0..2 * LIMIT {
        deep.push("x");
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("file"), "x").unwrap();
    let limit = rustix::process::Rlimit {
        current: Some(LIMIT),
        ..rustix::process::getrlimit(rustix::process::Resource::Nofile)
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    assert_eq!(keys(&store, "backups/").await.len() as u64, 2 * LIMIT);
    assert_eq!(keys(&store, "").await.len() as u64, 2 * LIMIT);
    assert_eq!(store.folder("backups/").await.unwrap().folders.len() as u64, 2 * LIMIT);
}
