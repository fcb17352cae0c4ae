//! The shipped binary as a process of its own, with nothing of the test's environment.

use std::path::Path;
use std::process::Stdio;
use tokio::process::{Child, Command};

/// `qdrant-backup` with these arguments against a Qdrant, into a directory.
pub fn command(args: &[&str], qdrant: &str, store: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qdrant-backup"));
    command
        .args(args)
        .env_clear()
        .env("QDRANT_URL", qdrant)
        .env("BACKUP_STORE", url::Url::from_directory_path(store).unwrap().as_str())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Exit code and both outputs of a command that ends by itself.
pub async fn finish(child: Child) -> (Option<i32>, String, String) {
    let output = child.wait_with_output().await.unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// Sends a signal to a child that has not been waited for.
pub fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}
