//! The real HTTP service on a free port, composed as in production, in the test's own process.

use crate::clock::Hands;
use qdrant_backup::app::{self, Host};
use qdrant_backup::base::error::Result;
use qdrant_backup::config::Config;
use qdrant_backup::server::{self, App};
use qdrant_backup::wire::qdrant::Qdrant;
use qdrant_backup::wire::store::{DirStore, Store};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A service that has not been started.
pub struct Setup {
    pub config: Config,
    pub hands: Hands,
    drills_on: Option<Qdrant>,
    dir: TempDir,
}

impl Setup {
    /// Of the Qdrant at `qdrant`, with a directory of its own as its store.
    pub fn over(qdrant: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = url::Url::from_directory_path(dir.path()).unwrap();
        Self {
            config: Config::for_testing(qdrant.parse().unwrap(), store),
            hands: Hands::running(),
            drills_on: None,
            dir,
        }
    }

    /// As these environment variables and no others say.
    pub fn from_env(env: &[(&str, &str)]) -> Self {
        let mut env: HashMap<String, String> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        env.insert("LISTEN".into(), "127.0.0.1:0".into());
        let env = |name: &str| env.get(name).cloned();
        Self {
            config: Config::for_service(&env).unwrap(),
            hands: Hands::running(),
            drills_on: app::drill_qdrant(&env).unwrap(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// Its own directory: what is put there was in the store before the service started.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub async fn start(self) -> Service {
        self.start_as(|app| app).await
    }

    /// Starts it with a change that no configuration can make.
    pub async fn start_as(self, change: impl FnOnce(App) -> App) -> Service {
        let stop = CancellationToken::new();
        let host = Host {
            who: "service under test".to_owned(),
            clock: self.hands.clock(),
            drills_on: self.drills_on,
            stop: stop.clone(),
        };
        let listener = server::listen(self.config.server.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = change(app::compose(self.config, host).await.unwrap());
        Service {
            url: format!("http://{address}"),
            address,
            hands: self.hands,
            http: reqwest::Client::new(),
            served: Mutex::new(Some(tokio::spawn(server::serve(listener, app, stop.clone())))),
            stop: stop.clone(),
            _stop: stop.drop_guard(),
            dir: self.dir,
        }
    }
}

/// A running service; dropped, it stops.
pub struct Service {
    pub url: String,
    pub address: SocketAddr,
    pub hands: Hands,
    pub http: reqwest::Client,
    served: Mutex<Option<JoinHandle<Result<()>>>>,
    stop: CancellationToken,
    _stop: DropGuard,
    dir: TempDir,
}

/// The parts of an answer.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// Null if it is no JSON.
    pub body: Value,
}

impl Answer {
    /// Its status, and the code of its error.
    pub fn result(&self) -> (u16, &str) {
        (self.status, self.body["error"]["code"].as_str().unwrap_or_default())
    }
}

impl Service {
    /// Starts it with these environment variables and no others.
    pub async fn start(env: &[(&str, &str)]) -> Self {
        Setup::from_env(env).start().await
    }

    /// Starts it for the Qdrant at `qdrant`, with a directory of its own as its store.
    pub async fn over(qdrant: &str) -> Self {
        Setup::over(qdrant).start().await
    }

    /// Its own directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The store in its own directory.
    pub async fn store(&self) -> Arc<dyn Store> {
        Arc::new(DirStore::open(self.dir()).await.unwrap())
    }

    /// Waits until it has recorded its first start, over its own directory without a backup: it does that beside all else.
    pub async fn first_start(&self) {
        while !self.dir().join("since.json").exists() {
            tokio::task::yield_now().await;
        }
    }

    /// Tells it to stop.
    pub fn begin_to_stop(&self) {
        self.stop.cancel();
    }

    /// Stops it, and waits until it has cleaned up.
    pub async fn stop(&self) {
        self.begin_to_stop();
        let served = self.served.lock().unwrap().take();
        served.unwrap().await.unwrap().unwrap();
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        status_and_body(self.request(Method::GET, path)).await
    }

    pub async fn put(&self, path: &str, body: &str) -> (u16, Value) {
        status_and_body(self.request(Method::PUT, path).body(body.to_owned())).await
    }

    pub async fn delete(&self, path: &str) -> (u16, Value) {
        status_and_body(self.request(Method::DELETE, path)).await
    }

    pub async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        status_and_body(self.request(Method::POST, path).body(body.to_owned())).await
    }

    /// `GET`, with the headers of the answer.
    pub async fn look(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    /// `POST /backup`, with the headers of the answer.
    pub async fn backup(&self, body: impl Into<reqwest::Body>) -> Answer {
        answer(self.request(Method::POST, "/backup").body(body)).await
    }

    /// Waits until no backup runs in the service.
    pub async fn is_idle(&self) {
        while !self.look("/status").await.body["running"].is_null() {
            tokio::task::yield_now().await;
        }
    }

    /// One request, exactly as given; `Host` is added where it is missing.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &[u8])], body: &str) -> Answer {
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
        parsed(&String::from_utf8(answer).unwrap())
    }
}

async fn status_and_body(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Sends a request whose answer is JSON.
pub async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status} without JSON: {text}"));
    Answer { status, headers, body }
}

/// What was sent over the wire; status 0 if that is no answer.
fn parsed(answer: &str) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.get(9..12)?.parse().ok());
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (
            name.parse::<HeaderName>().unwrap(),
            HeaderValue::from_str(value).unwrap(),
        )
    });
    Answer {
        status: status.unwrap_or_default(),
        headers: headers.collect(),
        body: serde_json::from_str(body).unwrap_or_default(),
    }
}
