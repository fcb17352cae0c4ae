//! Clients that open connections and bring nothing to an end: the shipped binary stays small, and `GET /health` answers.

use rustix::process::Signal;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use testkit::process::{self, Served, command, command_with_files};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const NOBODY: &str = "http://127.0.0.1:1";
/// Long for a liveness probe, and short beside never.
const PATIENCE: Duration = Duration::from_secs(10);
/// Mebibytes that the service may have in memory, whatever is sent.
const MEMORY: u64 = 150;
/// Connections of one client that means no good.
const CROWD: usize = 1000;

/// The service as a process whose log is read all the time: a full pipe would stop it.
struct Running {
    child: Child,
    address: SocketAddr,
    log: JoinHandle<Vec<String>>,
}

async fn start(command: &mut Command) -> Running {
    let Served { child, url, mut log } = Served::start(command).await;
    let log = tokio::spawn(async move {
        let mut lines = Vec::new();
        while let Some(line) = log.next_line().await.unwrap() {
            lines.push(line);
        }
        lines
    });
    let address = url.trim_start_matches("http://").parse().unwrap();
    Running { child, address, log }
}

/// The status of the answer to exactly this, 0 if there is none.
async fn ask(service: &Running, request: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    // Whoever sends too much is cut off before it has sent it all.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    status.and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

async fn health(service: &Running) -> Option<u16> {
    let request = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    timeout(PATIENCE, ask(service, request)).await.ok()
}

/// The beginning of a request whose header has so many bytes and no end.
fn unfinished(bytes: usize) -> Vec<u8> {
    let head = "GET /status HTTP/1.1\r\nhost: localhost\r\nx-filler: ";
    [head.as_bytes(), &vec![b'a'; bytes - head.len()]].concat()
}

/// A crowd of connections that have each sent this, and wait.
async fn crowd(service: &Running, begun: &[u8]) -> Vec<TcpStream> {
    process::open_many_files();
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        // The service may have closed it already.
        let _ = timeout(PATIENCE, stream.write_all(begun)).await.expect("it is read");
        crowd.push(stream);
    }
    crowd
}

#[tokio::test]
async fn a_header_may_have_64_kib() {
    let dir = tempfile::tempdir().unwrap();
    let service = start(&mut command(&["serve"], NOBODY, dir.path())).await;
    let whole = |bytes| [unfinished(bytes).as_slice(), b"\r\nconnection: close\r\n\r\n"].concat();
    let of_health = |bytes| String::from_utf8(whole(bytes)).unwrap().replace("/status", "/health");
    assert_eq!(ask(&service, of_health(60 << 10).as_bytes()).await, 200);
    for bytes in [66 << 10, 390_000] {
        assert_eq!(ask(&service, of_health(bytes).as_bytes()).await, 431, "{bytes} bytes");
    }
    assert_eq!(health(&service).await, Some(200));
}

#[tokio::test]
async fn a_crowd_with_big_headers_costs_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    for bytes in [60 << 10, 390_000] {
        let service = start(&mut command(&["serve"], NOBODY, dir.path())).await;
        let (before, _) = process::memory(&service.child);
        let crowd = crowd(&service, &unfinished(bytes)).await;
        assert_eq!(health(&service).await, Some(200), "{bytes} bytes each");
        let (now, peak) = process::memory(&service.child);
        println!("{CROWD} headers of {bytes} bytes: {before} MiB before, {now} MiB with them, {peak} MiB at most");
        assert!(peak < MEMORY, "{bytes} bytes each: {peak} MiB");
        drop(crowd);
    }
}

#[tokio::test]
async fn health_answers_when_a_crowd_has_all_files() {
    let dir = tempfile::tempdir().unwrap();
    for begun in [
        &b""[..],
        b"GET /status HT",
        b"POST /backup HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{",
    ] {
        let mut command = command_with_files(256, &["serve"], NOBODY, dir.path());
        let service = start(&mut command).await;
        let crowd = crowd(&service, begun).await;
        for _ in 0..5 {
            assert_eq!(
                health(&service).await,
                Some(200),
                "{:?}",
                String::from_utf8_lossy(begun)
            );
        }
        drop(crowd);
    }
}

#[tokio::test]
async fn health_answers_while_all_other_requests_wait() {
    // Connections are accepted by the system, and nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let service = start(&mut command_with_files(256, &["serve"], &url, dir.path())).await;
    let request = b"GET /status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let mut waiting = crowd(&service, request).await;
    assert_eq!(health(&service).await, Some(200));
    let mut refused = 0;
    for stream in &mut waiting {
        let mut answer = String::new();
        let _ = timeout(PATIENCE * 6, stream.read_to_string(&mut answer))
            .await
            .expect("each ends");
        refused += usize::from(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\"overloaded\""));
    }
    assert!(refused > CROWD / 2, "only {refused} were told that there are too many");
    assert_eq!(health(&service).await, Some(200));
}

#[tokio::test]
async fn no_request_makes_a_long_log_line() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x\"".repeat(30_000);
    let path = "%22x%27".repeat(8_500);
    for mode in ["none", "oidc"] {
        let mut command = command(&["serve"], NOBODY, dir.path());
        command.env("LOG_FORMAT", "json").env("AUTH_MODE", mode);
        if mode == "oidc" {
            command
                .env("AUTH_AUDIENCE", "a")
                .env("AUTH_ALLOWED_EMAILS", "me@x.test");
        }
        let service = start(&mut command).await;
        let host = "host: localhost\r\nconnection: close\r\n";
        let body = |path: &str, body: &str| {
            let length = body.len();
            format!("POST {path} HTTP/1.1\r\n{host}content-length: {length}\r\n\r\n{body}")
        };
        let requests = [
            format!("GET /{path} HTTP/1.1\r\n{host}\r\n"),
            format!("DELETE /{path} HTTP/1.1\r\n{host}\r\n"),
            format!("{} /health HTTP/1.1\r\n{host}\r\n", "M".repeat(60_000)),
            format!("GET /backups/{path} HTTP/1.1\r\n{host}\r\n"),
            format!("DELETE /backups/{path} HTTP/1.1\r\n{host}\r\n"),
            format!("GET /backups?limit={path} HTTP/1.1\r\n{host}\r\n"),
            format!("GET /health/freshness?{path}=1 HTTP/1.1\r\n{host}\r\n"),
            format!(
                "GET /health HTTP/1.1\r\nx-request-id: {}\r\n{host}\r\n",
                "r".repeat(60_000)
            ),
            body(&format!("/backup?{path}"), "{}"),
            body("/backup", &serde_json::json!({"collection": long}).to_string()),
            body("/backup", &serde_json::json!({&long: 1}).to_string()),
            body("/restore", &serde_json::json!({"id": long}).to_string()),
            body(&format!("/backups/{path}/verify"), ""),
        ];
        for request in &requests {
            let status = ask(&service, request.as_bytes()).await;
            assert!(status >= 200, "{mode} {}", &request[..40]);
        }
        process::signal(&service.child, Signal::TERM);
        let lines = service.log.await.unwrap();
        assert!(lines.len() >= requests.len(), "each has a line");
        for line in &lines {
            let shown = &line[..line.len().min(300)];
            assert!(line.len() < 8192, "{mode}: a line of {} bytes: {shown}", line.len());
            serde_json::from_str::<Value>(line).unwrap();
        }
    }
}
