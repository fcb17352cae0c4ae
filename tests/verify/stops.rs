//! Told to stop, a verification ends, whatever its threads are at.

use super::support;
use rustix::process::Signal;
use std::fs::{File, read_dir};
use std::time::Duration;
use support::lab::Lab;
use support::process::{command, finish, signal};

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_another_process_holds_keeps_nobody_from_stopping() {
    let lab = Lab::in_directory().await;
    // The record of the second check replaces that of the first, under the lock.
    assert_eq!(lab.cli(&["verify", "latest"]).await.0, 0);
    let lock = File::options().write(true).open(lab.path(".staging/cas.lock"));
    let lock = match lock {
        Ok(lock) => lock,
        Err(_) => File::create(lab.path(".staging/cas.lock")).unwrap(),
    };
    lock.lock().unwrap();
    let child = command(&["verify", "latest"], "http://127.0.0.1:1", &lab.path(""))
        .spawn()
        .unwrap();
    let staged = || {
        let mut entries = read_dir(lab.path(".staging")).unwrap();
        entries.any(|entry| entry.unwrap().path().extension().is_some_and(|e| e == "staged"))
    };
    while !staged() {
        tokio::task::yield_now().await;
    }
    signal(&child, Signal::TERM);
    let ended = tokio::time::timeout(Duration::from_secs(20), finish(child)).await;
    let (code, out, err) = ended.expect("it waits for the lock");
    assert_eq!(code, Some(10), "{out}{err}");
    assert!(!staged(), "what was not recorded is left");
}
