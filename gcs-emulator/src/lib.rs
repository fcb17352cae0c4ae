//! An in-process Google Cloud Storage for tests: what the two official Rust clients need, on one plaintext port.
//!
//! Data goes over the JSON API (resumable and multipart upload, download by range), control over gRPC (list, get, delete,
//! buckets, permissions). Preconditions and generations behave as in the real service; unlike other emulators it can also
//! misbehave as a network does: see [`Fault`].
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! let gcs = gcs_emulator::Emulator::start().await?;
//! gcs.create_bucket("test-bucket");
//! gcs.fault("*.snapshot", 1, gcs_emulator::Fault::ResetPut { after: 1 << 20 });
//! println!("STORAGE_EMULATOR_HOST={}", gcs.url());
//! # Ok(()) }
//! ```

mod connection;
mod download;
mod faults;
mod grpc;
mod state;
mod upload;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::{get, post, put},
};
use bytes::Bytes;
use std::{net::SocketAddr, sync::Arc};
use tokio::{net::TcpListener, task::JoinHandle};

pub use faults::{Armed, Fault, On};
pub use state::{Object, RequestLine};

/// How to run an [`Emulator`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Keep only length and CRC32C of uploaded objects, so that a test can upload more than fits into memory.
    pub discard: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            discard: false,
        }
    }
}

/// A running emulator; it stops when dropped.
#[derive(Debug)]
pub struct Emulator {
    app: Arc<state::App>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Emulator {
    /// Starts one on a free port of the loopback interface.
    pub async fn start() -> std::io::Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// Starts one.
    pub async fn start_with(options: Options) -> std::io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let app = Arc::new(state::App::new(url, options.discard));
        let router = Router::new()
            .route("/upload/storage/v1/b/{bucket}/o", post(upload::start))
            .route("/upload/session/{id}", put(upload::put).delete(upload::cancel))
            .route("/storage/v1/b/{bucket}/o/{*name}", get(download::get))
            .route("/{bucket}/{*name}", get(download::signed))
            .merge(grpc::routes())
            .layer(from_fn_with_state(app.clone(), log))
            .layer(DefaultBodyLimit::disable())
            .with_state(app.clone())
            .into_make_service_with_connect_info::<connection::Connection>();
        let server = tokio::spawn(axum::serve(connection::Listener(listener), router).into_future());
        Ok(Self { app, server })
    }

    /// Runs until the server fails.
    pub async fn serve(mut self) -> std::io::Result<()> {
        (&mut self.server).await.map_err(std::io::Error::other)?
    }

    /// `http://host:port` of both APIs.
    pub fn url(&self) -> &str {
        &self.app.url
    }

    /// Creates a bucket; one that exists is left as it is.
    pub fn create_bucket(&self, bucket: &str) {
        self.app.state().create_bucket(bucket);
    }

    /// All objects of a bucket in the order of their names.
    pub fn objects(&self, bucket: &str) -> Vec<Object> {
        self.app.state().list(bucket, "")
    }

    /// One object.
    pub fn object(&self, bucket: &str, name: &str) -> Option<Object> {
        self.app.state().find(bucket, name).cloned()
    }

    /// Puts an object there as somebody else would, whatever exists, and returns its generation.
    ///
    /// # Panics
    /// When the bucket does not exist.
    pub fn plant(&self, bucket: &str, name: &str, data: impl Into<Bytes>) -> i64 {
        let mut content = state::Content::new(false);
        content.append(&data.into());
        let inserted = self
            .app
            .state()
            .insert(bucket, name, content, &serde_json::Value::Null, None);
        inserted
            .map(|o| o.generation)
            .unwrap_or_else(|refusal| panic!("cannot plant {name} in {bucket}: {}", refusal.message))
    }

    /// Takes a permission such as `storage.objects.create` away from everybody.
    pub fn deny(&self, permission: &str) {
        self.app.state().denied.insert(permission.to_string());
    }

    /// Arms a fault for objects whose name matches `pattern` (`*` stands for anything), for a number of times.
    pub fn fault(&self, pattern: &str, times: usize, fault: Fault) -> Armed {
        self.app.faults.arm(pattern, times, fault)
    }

    /// Waits until one more upload has been cancelled than this was called before.
    pub async fn cancellation(&self) {
        if let Ok(permit) = self.app.cancelled.acquire().await {
            permit.forget();
        }
    }

    /// The requests so far, in the order of their arrival.
    pub fn requests(&self) -> Vec<RequestLine> {
        self.app.state().log.clone()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn log(State(app): State<Arc<state::App>>, request: Request, next: Next) -> Response {
    let line = request_line(&request);
    app.state().log.push(line);
    next.run(request).await
}

fn request_line(request: &Request) -> RequestLine {
    let header = |name: &str| {
        let value = request.headers().get(name)?;
        value.to_str().ok().map(str::to_string)
    };
    let target = request.uri().path_and_query();
    RequestLine {
        method: request.method().to_string(),
        target: target.map(|t| t.to_string()).unwrap_or_default(),
        content_range: header("content-range"),
        range: header("range"),
        host: header("host").or_else(|| request.uri().authority().map(|a| a.to_string())),
        authorization: header("authorization"),
    }
}
