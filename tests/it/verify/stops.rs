//! Told to stop, a verification ends, whatever its threads are at.

use crate::support::lab::Lab;
use crate::support::process::{command, finish, signal};
use rustix::process::Signal;
use std::fs::{File, read_dir, read_link};
use std::time::Duration;
use tokio::time::timeout;

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_another_process_holds_keeps_nobody_from_stopping() {
    let lab = Lab::in_directory().await;
    // The record of the second check replaces that of the first, under the lock.
    assert_eq!(lab.cli(&["verify", "latest"]).await.0, 0);
    let lock = File::create(lab.path(".staging/cas.lock")).unwrap();
    lock.lock().unwrap();
    let child = command(&["verify", "latest"], "http://127.0.0.1:1", &lab.path(""))
        .spawn()
        .unwrap();
    // It waits when it has opened the lock's file.
    let open = format!("/proc/{}/fd", child.id().unwrap());
    let waits = || {
        let mut files = read_dir(&open).unwrap().flatten();
        files.any(|file| read_link(file.path()).is_ok_and(|to| to.ends_with(".staging/cas.lock")))
    };
    let waiting = async {
        while !waits() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("it never comes to the lock");
    signal(&child, Signal::TERM);
    let ended = timeout(PATIENCE, finish(child)).await;
    let (code, out, err) = ended.expect("it waits for the lock");
    assert_eq!(code, Some(10), "{out}{err}");
    let left = read_dir(lab.path(".staging")).unwrap().count();
    assert_eq!(left, 1, "beside the lock");
}
