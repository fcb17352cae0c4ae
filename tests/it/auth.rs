//! Who may call, over real sockets: own keys, an own issuer, and clients byte by byte.

mod audit;
mod browsers;
mod iam;
mod issuer;
mod keys;
mod tokens;

use issuer::{AUDIENCE, Issuer};
use qdrant_backup::app;
use qdrant_backup::base::clock::Clock;
use qdrant_backup::base::error::Code;
use qdrant_backup::config::Config;
use qdrant_backup::server::auth::{Auth, Mode, Readers, Rules};
use qdrant_backup::server::{self, App};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

const NOBODY: &str = "http://127.0.0.1:1";
/// What every browser calls itself.
const MOZILLA: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

/// A clock that stands until it is moved.
#[derive(Clone)]
struct Hands(Arc<Mutex<OffsetDateTime>>);

impl Hands {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(datetime!(2026-11-22 12:00 UTC))))
    }

    fn now(&self) -> OffsetDateTime {
        *self.0.lock().unwrap()
    }

    fn pass(&self, seconds: u64) {
        *self.0.lock().unwrap() += Duration::from_secs(seconds);
    }

    fn clock(&self) -> Clock {
        let hands = self.clone();
        Clock::new(move || hands.now())
    }
}

/// The service, on a free port.
struct Service {
    address: SocketAddr,
    hands: Hands,
    _dir: tempfile::TempDir,
    _stop: DropGuard,
}

struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Service {
    async fn start(mode: Mode, qdrant: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = url::Url::from_directory_path(dir.path()).unwrap();
        let config = Config::for_testing(qdrant.parse().unwrap(), store);
        let stop = CancellationToken::new();
        let ctx = app::context(&config, "service under test".into()).await.unwrap();
        let hands = Hands::new();
        let auth = Auth::new(mode, hands.clock()).unwrap();
        let probe = app::probe(&config.qdrant).unwrap();
        let app = App::new(ctx, probe, config.backup.selection, stop.clone()).with_auth(auth);
        let listener = server::listen(config.server.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(server::serve(listener, app, stop.clone()));
        Self {
            address,
            hands,
            _dir: dir,
            _stop: stop.drop_guard(),
        }
    }

    /// Verifies tokens of this issuer for one caller, and for one that may only read.
    async fn trusting(issuer: &Issuer) -> Self {
        let rules = Rules {
            issuers: vec![issuer::ISSUER.to_owned()],
            keys_url: issuer.url.clone(),
            readers: Readers::new([iam::AGENT.to_uppercase()]),
            ..Rules::google(
                vec!["https://other.test".to_owned(), AUDIENCE.to_owned()],
                ["Scheduler@Project.Iam.GServiceAccount.com".to_owned()],
            )
        };
        Self::start(Mode::Oidc(rules), NOBODY).await
    }

    /// One request, exactly as given; `Host` is added where it is missing.
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &[u8])], body: &str) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n").into_bytes();
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request.extend(format!("host: {}\r\n", self.address).bytes());
        }
        for (name, value) in headers {
            request.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        request.extend(format!("content-length: {}\r\n\r\n{body}", body.len()).bytes());
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // Whoever sends too much is cut off before it has sent it all.
        let _ = stream.write_all(&request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        Answer {
            status: head
                .get(9..12)
                .and_then(|status| status.parse().ok())
                .unwrap_or_default(),
            head: head.to_ascii_lowercase(),
            body: serde_json::from_str(body).unwrap_or_default(),
        }
    }

    /// `GET /backups` with a token in `Authorization`.
    async fn get(&self, token: &str) -> Answer {
        let value = format!("Bearer {token}");
        self.send("GET", "/backups", &[("authorization", value.as_bytes())], "")
            .await
    }
}

impl Answer {
    /// Its status, and the code of its error.
    fn result(&self) -> (u16, &str) {
        (self.status, self.body["error"]["code"].as_str().unwrap_or_default())
    }
}

#[tokio::test]
async fn only_health_is_open() {
    let issuer = Issuer::start().await;
    let service = Service::trusting(&issuer).await;
    let health = service
        .send("GET", "/health", &[("user-agent", MOZILLA.as_bytes())], "")
        .await;
    assert_eq!((health.status, health.body["status"].as_str()), (200, Some("ok")));
    for (method, path) in [
        ("GET", "/health/freshness"),
        ("GET", "/health/"),
        ("POST", "/health"),
        ("GET", "/status"),
        ("GET", "/collections"),
        ("GET", "/backups"),
        ("GET", "/backups/latest"),
        ("HEAD", "/backups"),
        ("OPTIONS", "/backup"),
        ("POST", "/backup"),
        ("POST", "/restore"),
        ("POST", "/prune"),
        ("POST", "/backups/latest/verify"),
        ("GET", "/nothing"),
        ("DELETE", "/backups/latest"),
    ] {
        let answer = service.send(method, path, &[], "{}").await;
        assert_eq!(answer.status, 401, "{method} {path}");
        assert!(answer.head.contains("\r\nwww-authenticate: bearer"), "{}", answer.head);
    }
}

#[tokio::test]
async fn a_service_that_asks_nobody_serves_no_other_machine() {
    let dir = tempfile::tempdir().unwrap();
    let store = url::Url::from_directory_path(dir.path()).unwrap();
    let config = Config::for_testing(NOBODY.parse().unwrap(), store);
    let ctx = app::context(&config, "service under test".into()).await.unwrap();
    let stop = CancellationToken::new();
    let probe = app::probe(&config.qdrant).unwrap();
    let app = App::new(ctx, probe, config.backup.selection, stop.clone());
    let listener = server::listen(([0, 0, 0, 0], 0).into()).await.unwrap();
    let error = server::serve(listener, app, stop).await.unwrap_err();
    assert_eq!(error.code(), Code::ConfigInvalid);
    assert!(error.to_string().contains("AUTH_MODE=oidc"), "{error}");
}
