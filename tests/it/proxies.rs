//! Qdrant behind a real nginx: with its defaults, below a path, and with a limit of request bodies.

use crate::screens;
use qdrant_backup::base::error::Code;
use qdrant_backup::ops::backup::BackupOutcome;
use qdrant_backup::ops::restore::RestoreOutcome;
use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use tempfile::TempDir;
use testkit::bench::Bench;
use testkit::lost::{LONG, Lost};
use testkit::peer::Peer;
use testkit::screen::screen;
use tokio::process::{Child, Command};

struct Nginx {
    at: SocketAddr,
    _process: Child,
    _dir: TempDir,
}

/// An nginx with this `server` block, in which `QDRANT` stands for the peer's URL. `None` where there is no nginx; `NGINX=required`
/// makes that a failure.
async fn nginx(server: &str, qdrant: &str) -> Option<Nginx> {
    loop {
        let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|what| format!("{what}_temp_path {what};"));
        let config = format!(
            "daemon off; master_process off; pid pid; error_log stderr; events {{}}\n\
             http {{ access_log off; {} server {{ listen {at}; {} }} }}",
            temp.join(" "),
            server.replace("QDRANT", qdrant)
        );
        std::fs::write(dir.path().join("nginx.conf"), config).unwrap();
        let started = Command::new("nginx")
            .arg("-p")
            .arg(dir.path())
            .args(["-c", "nginx.conf", "-e", "stderr"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let mut process = match started {
            Ok(process) => process,
            Err(error) => {
                assert!(std::env::var_os("NGINX").is_none(), "nginx: {error}");
                tracing::warn!("not tested, there is no nginx: {error}");
                return None;
            }
        };
        let answers = async {
            while tokio::net::TcpStream::connect(at).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = answers => return Some(Nginx { at, _process: process, _dir: dir }),
            // Somebody else has taken the port.
            _ = process.wait() => {}
        }
    }
}

/// A backup through the proxy, and what a restore through it comes to after everything was lost.
async fn there_and_back(server: &str, path: &str) -> Option<Result<(), String>> {
    let peer = Peer::start(&[("a", LONG), ("b", 1000)]).await;
    let nginx = nginx(server, &peer.url).await?;
    let bench = Bench::new(&format!("http://{}{path}", nginx.at)).await;
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Complete, "{report:?}");
    peer.lock().collections.clear();
    let lost = Lost {
        peer,
        bench,
        id: report.id.to_string(),
    };
    let report = lost.run(&lost.request()).await.unwrap();
    Some(match report.status {
        RestoreOutcome::Complete => Ok(()),
        _ => Err(report.failed[0].error.code.to_string()),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_defaults_of_nginx_are_enough_if_it_takes_large_bodies() {
    let server = "client_max_body_size 0; location / { proxy_pass QDRANT; }";
    assert!(there_and_back(server, "").await.is_none_or(|end| end == Ok(())));
}

#[tokio::test(flavor = "multi_thread")]
async fn qdrant_may_be_below_a_path() {
    let server = "client_max_body_size 0; location /qdrant/ { proxy_pass QDRANT/; }";
    for path in ["/qdrant", "/qdrant/"] {
        assert!(there_and_back(server, path).await.is_none_or(|end| end == Ok(())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_bodies_lets_backups_pass_and_is_named_by_a_restore() {
    let server = "proxy_buffering on; client_max_body_size 1m; location / { proxy_pass QDRANT; }";
    let refused = Err(Code::QdrantFailed.to_string());
    assert!(there_and_back(server, "").await.is_none_or(|end| end == refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_what_each_kind_of_proxy_keeps_from_passing() {
    const DEFAULT: &str = "location / { proxy_pass QDRANT; }";
    const BELOW: &str = "location /qdrant/ { proxy_pass QDRANT/; }";
    let mut screens = String::new();
    for (kind, server, path) in [
        ("with its defaults", DEFAULT, ""),
        ("below a path", BELOW, "/qdrant/"),
        ("below a path that the URL leaves out", BELOW, ""),
        (
            "which lets only GET and POST pass",
            "location / { limit_except GET POST { deny all; } proxy_pass QDRANT; }",
            "",
        ),
        (
            "which lets no snapshots pass",
            "location / { proxy_pass QDRANT; } location ~ /snapshots { return 404; }",
            "",
        ),
        (
            "which lets no PUT pass",
            "location / { limit_except GET POST DELETE { deny all; } proxy_pass QDRANT; }",
            "",
        ),
        (
            "with credentials of its own",
            "location / { auth_basic own; auth_basic_user_file nobody; proxy_pass QDRANT; }",
            "",
        ),
        (
            "with nobody behind it",
            "location / { proxy_pass http://127.0.0.1:1; }",
            "",
        ),
    ] {
        let peer = Peer::start(&[("a", 1000), ("b", 1000)]).await;
        let Some(nginx) = nginx(server, &peer.url).await else {
            return;
        };
        let url = format!("http://{}", nginx.at);
        let dir = tempfile::tempdir().unwrap();
        let screen = screen(&["check"], &format!("{url}{path}"), dir.path()).await;
        writeln!(screens, "## A proxy {kind}\n{}", screen.replace(&url, "[proxy]")).unwrap();
    }
    screens::holds("check_behind_each_kind_of_proxy", &screens);
}
