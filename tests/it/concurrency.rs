//! How many collections a backup or a restore works on at once: as many as it is told to, and never more.

use std::sync::Arc;
use std::time::Duration;
use testkit::lost::Lost;
use testkit::peer::{Create, Peer, Upload};
use testkit::process::{command, finish};
use tokio::sync::Semaphore;
use tokio::time::timeout;

const COLLECTIONS: [(&str, usize); 6] = [("a", 9), ("b", 9), ("c", 9), ("d", 9), ("e", 9), ("f", 9)];
/// Fails a test that would hang otherwise.
const NEVER: Duration = Duration::from_secs(60);

/// The largest number of collections whose snapshot had been asked for, and not been deleted yet.
fn most_at_once(log: &[String]) -> usize {
    let (mut now, mut most) = (0, 0);
    for line in log {
        if line.starts_with("POST ") && line.trim_end().ends_with("/snapshots") {
            now += 1;
            most = most.max(now);
        } else if line.starts_with("DELETE ") && line.contains("/snapshots/") {
            now -= 1;
        }
    }
    assert_eq!(now, 0, "each snapshot is deleted once: {log:?}");
    most
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_works_on_as_many_collections_at_once_as_it_is_told_to_and_never_on_more() {
    for (told, at_once) in [
        (None, 2),
        (Some("1"), 1),
        (Some("3"), 3),
        (Some("64"), COLLECTIONS.len()),
    ] {
        let peer = Peer::start(&COLLECTIONS).await;
        let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        for (name, _) in COLLECTIONS {
            let (reached, go) = (reached.clone(), go.clone());
            peer.on_create(name, [Create::Held { reached, go }]);
        }
        let dir = tempfile::tempdir().unwrap();
        let mut backup = command(&["backup"], &peer.url, dir.path());
        let child = backup.envs(told.map(|n| ("BACKUP_CONCURRENCY", n))).spawn().unwrap();
        // All of them are held, so that those that get here are under way at the same time.
        let all = reached.acquire_many(u32::try_from(at_once).unwrap());
        let Ok(held) = timeout(NEVER, all).await else {
            panic!(
                "{told:?}: fewer than {at_once} were begun at once: {:?}",
                peer.lock().log
            );
        };
        held.unwrap().forget();
        go.add_permits(COLLECTIONS.len());
        let (code, out, err) = finish(child).await;
        assert_eq!(code, Some(0), "{told:?}: {out}{err}");
        assert_eq!(most_at_once(&peer.lock().log), at_once, "{told:?}");
    }
}

/// Collections whose upload was begun, in that order.
fn uploads(lost: &Lost) -> Vec<String> {
    let into = |line: &String| {
        let rest = line.strip_prefix("POST /collections/")?;
        Some(rest.split_once("/snapshots/upload")?.0.to_owned())
    };
    lost.peer.lock().log.iter().filter_map(into).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_works_on_as_many_collections_at_once_as_it_is_told_to_and_begins_with_the_first_named() {
    let names = COLLECTIONS.map(|(name, _)| name);
    let lost = Lost::several(&names, 1).await;
    let order = ["d", "b", "f", "a", "e", "c"];
    for (told, at_once) in [(None, 4), (Some("1"), 1), (Some("3"), 3), (Some("64"), order.len())] {
        {
            let mut inner = lost.peer.lock();
            inner.collections.clear();
            inner.log.clear();
        }
        let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        for _ in order {
            let (reached, go) = (reached.clone(), go.clone());
            lost.upload(Upload::HeldUntil { reached, go });
        }
        let args = [&["restore", "latest"], &order[..]].concat();
        let mut restore = command(&args, &lost.peer.url, lost.bench.dir.path());
        let child = restore.envs(told.map(|n| ("RESTORE_CONCURRENCY", n))).spawn().unwrap();
        let all = reached.acquire_many(u32::try_from(at_once).unwrap());
        let Ok(held) = timeout(NEVER, all).await else {
            panic!(
                "{told:?}: fewer than {at_once} were begun at once: {:?}",
                uploads(&lost)
            );
        };
        held.unwrap().forget();
        let mut begun = uploads(&lost);
        begun.sort_unstable();
        let mut first = order[..at_once].to_vec();
        first.sort_unstable();
        assert_eq!(begun, first, "{told:?}");
        // The next one begins only when one has ended.
        for ended in 1..=order.len() {
            go.add_permits(1);
            if at_once + ended > order.len() {
                continue;
            }
            timeout(NEVER, reached.acquire())
                .await
                .expect("the next one")
                .unwrap()
                .forget();
            assert_eq!(
                uploads(&lost).last(),
                Some(&order[at_once + ended - 1].to_owned()),
                "{told:?}"
            );
        }
        let (code, out, err) = finish(child).await;
        assert_eq!(code, Some(0), "{told:?}: {out}{err}");
        assert_eq!(uploads(&lost).len(), order.len(), "{told:?}");
        let rows: Vec<_> = out.lines().filter_map(|line| line.split_whitespace().next()).collect();
        let rows: Vec<_> = rows.into_iter().filter(|word| order.contains(word)).collect();
        assert_eq!(rows, order, "{told:?}: {out}");
    }
}
