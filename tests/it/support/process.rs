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

/// Whether the test `name` has a process to itself. If not, it is run in one here: for what can be set once in a process only.
pub fn is_alone(name: &str) -> bool {
    const MARK: &str = "TEST_IS_ALONE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let output = command
        .args([name, "--exact", "--nocapture"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}
