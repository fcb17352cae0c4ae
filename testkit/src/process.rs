//! The shipped binary as a process of its own, with nothing of the test's environment.

use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process, setrlimit};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

/// Exit code (none: killed) and both outputs.
pub type End = (Option<i32>, String, String);

/// Where cargo has put `qdrant-backup`: it says so to a test that it runs; a test run by hand has it beside itself.
pub fn binary() -> PathBuf {
    std::env::var_os("CARGO_BIN_EXE_qdrant-backup").map_or_else(
        || {
            let test = std::env::current_exe().unwrap();
            test.ancestors().nth(2).unwrap().join("qdrant-backup")
        },
        PathBuf::from,
    )
}

/// `qdrant-backup` with these arguments against a Qdrant, into a directory.
pub fn command(args: &[&str], qdrant: &str, store: &Path) -> Command {
    prepared(Command::new(binary()), args, qdrant, store)
}

/// One of the two tasks of a job that backs up, with its report as JSON.
pub fn task(index: &str, qdrant: &str, store: &Path) -> Command {
    let mut command = command(&["backup", "--json"], qdrant, store);
    command
        .env("CLOUD_RUN_EXECUTION", "execution-1")
        .env("CLOUD_RUN_TASK_INDEX", index)
        .env("CLOUD_RUN_TASK_COUNT", "2");
    command
}

/// The same as [`command`] with no more than so many open files (`ulimit -n`).
pub fn command_with_files(files: u32, args: &[&str], qdrant: &str, store: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")])
        .arg(binary());
    prepared(command, args, qdrant, store)
}

fn prepared(mut command: Command, args: &[&str], qdrant: &str, store: &Path) -> Command {
    command
        .args(args)
        .env_clear()
        // Wherever the tests run.
        .env("TZ", "UTC0")
        .env("QDRANT_URL", qdrant)
        // Many of them are not to be reached for ever.
        .env("BACKUP_START_TIMEOUT_SECS", "0")
        .env("BACKUP_STORE", url::Url::from_directory_path(store).unwrap().as_str())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The same on a terminal of its own, whose user types this. What it shows there is the standard output.
pub async fn on_terminal(args: &[&str], qdrant: &str, store: &Path, typed: &str) -> End {
    let words = args.iter().map(|arg| format!(" '{}'", arg.replace('\'', r"'\''")));
    let line = format!("exec '{}'{}", binary().display(), words.collect::<String>());
    let mut script = prepared(Command::new("script"), &["-qec", &line, "/dev/null"], qdrant, store);
    let mut child = script.stdin(Stdio::piped()).spawn().unwrap();
    let mut keys = child.stdin.take().unwrap();
    keys.write_all(typed.as_bytes()).await.unwrap();
    // An end of the input would be one of the terminal.
    let end = finish(child).await;
    drop(keys);
    end
}

/// Exit code and both outputs of a command that ends by itself.
pub async fn finish(child: Child) -> End {
    let output = child.wait_with_output().await.unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// Mebibytes that a child has in memory: now, and at most so far.
pub fn memory(child: &Child) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id().unwrap())).unwrap();
    let mebibytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':')
            .trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .unwrap()
            / 1024
    };
    (mebibytes("VmRSS"), mebibytes("VmHWM"))
}

/// Lets this process have as many files open as it may.
pub fn open_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// Sends a signal to a child that has not been waited for.
pub fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// The most memory that a running child ever had at once, in MB: without the pages of the executable, of which a build with
/// debug information has many.
pub fn peak_memory(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id().unwrap())).unwrap();
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    (kilobytes("VmHWM:") - kilobytes("RssFile:")) / 1024
}

/// The service as a process.
pub struct Served {
    pub child: Child,
    pub url: String,
    /// Its log from the line on that says where it listens.
    pub log: Lines<BufReader<ChildStderr>>,
}

impl Served {
    /// Starts `command`, which serves on any free port, and waits until it listens.
    pub async fn start(command: &mut Command) -> Self {
        let mut child = command.env("LISTEN", "127.0.0.1:0").spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        loop {
            let line = log.next_line().await.unwrap().expect("it says where it listens");
            if let Some((_, rest)) = line.split_once("listening on ") {
                let url = rest.split(['"', ' ']).next().unwrap().to_owned();
                return Self { child, url, log };
            }
        }
    }

    /// Tells it to stop; its exit code, and what it has logged since it listens.
    pub async fn end(mut self) -> (Option<i32>, Vec<String>) {
        signal(&self.child, Signal::TERM);
        let mut lines = Vec::new();
        while let Some(line) = self.log.next_line().await.unwrap() {
            lines.push(line);
        }
        (self.child.wait().await.unwrap().code(), lines)
    }
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
