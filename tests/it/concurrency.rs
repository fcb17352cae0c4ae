//! How many collections a backup works on at once: as many as it is told to, and never more.

use crate::support::peer::{Create, Peer};
use crate::support::process::{command, finish};
use std::sync::Arc;
use std::time::Duration;
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
