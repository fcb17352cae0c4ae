//! Connections: how many there are, how long each may last, and which of them goes when another one needs its place.
//!
//! A connection brings one request. It sends the header, the request is handled, it takes the answer. Only while a request is
//! handled is a connection worth keeping: when all places are taken, the one that has been sending or taking for longest
//! makes room. So a crowd that opens connections and says nothing keeps nobody out, and `GET /health` is always answered.

mod idle;

use super::auth::{self, Peer};
use super::error::{HttpError, RequestCode};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use idle::{Entry, Idle};
use rustix::process::{Resource, getrlimit};
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Largest header of a request.
const HEADER_LIMIT: usize = 64 << 10;
/// After an error of the system, such as too many open files, and before the next attempt to accept a connection.
const BREATH: Duration = Duration::from_millis(100);

/// What clients may take of the process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections at a time.
    pub(super) connections: usize,
    /// Requests at a time that are handled, or whose answers are being taken, beside `GET /health`.
    pub(super) requests: usize,
    /// Longest time for a header.
    pub(super) header: Duration,
    /// Longest time for a body.
    pub(super) body: Duration,
    /// Longest time for taking an answer.
    pub(super) answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self::for_files(1024)
    }
}

impl Limits {
    /// Those of a process that may have so many open files. Half of them are for Qdrant and the store, of which one request may
    /// need several.
    fn for_files(files: usize) -> Self {
        let connections = (files / 2).clamp(16, 512);
        Self {
            connections,
            requests: (connections / 4).min(64),
            header: Duration::from_secs(30),
            // Of up to 64 KiB. One that does not come holds the turn of another request.
            body: Duration::from_secs(5),
            answer: Duration::from_secs(120),
        }
    }

    /// Those of this process.
    pub(super) fn of_this_process() -> Self {
        let files = getrlimit(Resource::Nofile).current;
        Self::for_files(files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX)))
    }
}

/// What a request takes of [`Limits::requests`]: its connection keeps it until the answer has been taken, since an answer
/// needs memory as long as that.
#[derive(Clone, Debug, Default)]
struct Turn(Arc<OnceLock<OwnedSemaphorePermit>>);

/// Refuses a request when so many others are being handled that this one would take what those need.
pub(super) async fn in_turn(
    State(turns): State<Arc<Semaphore>>,
    request: Request,
    next: Next,
) -> Result<Response, HttpError> {
    let turn: Turn = request.extensions().get().cloned().unwrap_or_default();
    if !auth::is_open(&request) {
        let taken = turns.try_acquire_owned().map_err(|_| {
            HttpError::new(
                RequestCode::Overloaded,
                "the service is handling as many requests as it can",
                "try again in a minute; send fewer requests at a time",
            )
        })?;
        // A connection brings one request, so that it holds none yet.
        let _ = turn.0.set(taken);
    }
    Ok(next.run(request).await)
}

/// How long a connection waits for a place that becomes free by itself, before one is closed for it. So long may each one of a crowd
/// delay those behind it.
const GLANCE: Duration = Duration::from_millis(1);

/// Serves until `stop` is cancelled, and then until the last connection has ended.
pub(super) async fn serve(listener: TcpListener, routes: Router, limits: Limits, stop: &CancellationToken) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let idle = Idle::default();
    let tasks = TaskTracker::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let client = match accepted {
            Ok((stream, address)) => (stream, Peer(address.ip())),
            // The client has gone already.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => continue,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection: {error}");
                idle.close_oldest();
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        // Those that were accepted before it may have sent a request that nobody has had the time to read.
        let place = match timeout(GLANCE, places.clone().acquire_owned()).await {
            Ok(place) => place,
            Err(_) => {
                idle.close_oldest();
                places.clone().acquire_owned().await
            }
        };
        let Ok(place) = place else { break };
        let task = connection(client, place, idle.enter(), routes.clone(), limits, stop.clone());
        tasks.spawn(task);
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// Takes one request and sends its answer.
async fn connection(
    (stream, peer): (TcpStream, Peer),
    _place: OwnedSemaphorePermit,
    entry: Entry,
    routes: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let routes = TowerToHyperService::new(routes);
    let entry = &entry;
    let turn = Turn::default();
    let handled = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(turn.clone());
        request.extensions_mut().insert(peer);
        let stays = entry.leave();
        let answer = stays.then(|| routes.call(request));
        async move {
            let Some(answer) = answer else {
                return Err("this connection has made room for another one");
            };
            let answer = answer.await.unwrap_or_else(|never| match never {});
            entry.enter_again();
            Ok(answer)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .keep_alive(false)
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header)
            .max_header_size(HEADER_LIMIT)
            .max_buf_size(HEADER_LIMIT)
            .serve_connection(TokioIo::new(stream), handled)
    );
    let mut too_slow = pin!(async {
        entry.answered().await;
        tokio::time::sleep(limits.answer).await;
    });
    let mut stopping = pin!(stop.cancelled());
    let mut is_stopping = false;
    loop {
        tokio::select! {
            // How a client breaks off is its own affair.
            _ = connection.as_mut() => return,
            () = entry.closed() => return,
            () = too_slow.as_mut() => return,
            () = stopping.as_mut(), if !is_stopping => {
                is_stopping = true;
                // Ends at once what has sent nothing yet.
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use axum::routing::get;
    use std::net::SocketAddr;
    use std::sync::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    /// Long beside what ends by itself.
    const PATIENCE: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(50);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

    struct Served {
        address: SocketAddr,
        stop: CancellationToken,
        task: JoinHandle<()>,
    }

    async fn start(routes: Router, limits: Limits) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { serve(listener, routes, limits, &stopped).await });
        Served { address, stop, task }
    }

    impl Served {
        async fn send(&self, bytes: &[u8]) -> TcpStream {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            stream
        }
    }

    /// All that comes until the service closes the connection.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut bytes = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
        let _ = read.expect("the service closes it");
        String::from_utf8(bytes).unwrap()
    }

    fn ok() -> Router {
        Router::new().route("/", get(async || "ok"))
    }

    #[tokio::test]
    async fn half_a_header_ends_after_its_time() {
        let limits = Limits {
            header: SHORT,
            ..Limits::default()
        };
        let served = start(ok(), limits).await;
        for begun in [
            &b""[..],
            b"GET / HT",
            &REQUEST[..REQUEST.len() - 1],
            b"GET / HTTP/1.1\r\na: b\r\n",
        ] {
            assert_eq!(rest(&mut served.send(begun).await).await, "");
        }
        assert!(rest(&mut served.send(REQUEST).await).await.ends_with("ok"));
    }

    #[tokio::test]
    async fn a_header_that_comes_byte_by_byte_ends_after_its_time() {
        let limits = Limits {
            header: SHORT,
            ..Limits::default()
        };
        let served = start(ok(), limits).await;
        let (mut answer, mut header) = served.send(b"GET / HTTP/1.1\r\nx: ").await.into_split();
        let drip = tokio::spawn(async move {
            while header.write_all(b"a").await.is_ok() {
                tokio::time::sleep(SHORT / 10).await;
            }
        });
        let mut bytes = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, answer.read_to_end(&mut bytes))
            .await
            .expect("it ends");
        assert_eq!(bytes, b"");
        drip.await.unwrap();
    }

    #[tokio::test]
    async fn an_answer_that_nobody_takes_ends_after_its_time() {
        let limits = Limits {
            answer: SHORT,
            ..Limits::default()
        };
        let big = Router::new().route("/", get(async || vec![0; 64 << 20]));
        let served = start(big, limits).await;
        let stream = served.send(REQUEST).await;
        stream.readable().await.unwrap();
        served.stop.cancel();
        // It waits for its connections.
        tokio::time::timeout(PATIENCE, served.task).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn the_one_that_waits_for_longest_makes_room() {
        let limits = Limits {
            connections: 3,
            ..Limits::default()
        };
        let (reached, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let held = Mutex::new(Some((reached.clone(), go.clone())));
        let held = Arc::new(held);
        let routes = ok().route(
            "/held",
            get(async move || {
                let hold = held.lock().unwrap().take();
                if let Some((reached, go)) = hold {
                    reached.notify_one();
                    go.notified().await;
                }
                "held"
            }),
        );
        let served = start(routes, limits).await;
        let mut handled = served.send(b"GET /held HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        reached.notified().await;
        let mut oldest = served.send(b"GET ").await;
        let mut younger = served.send(b"GET ").await;
        assert!(
            rest(&mut served.send(REQUEST).await).await.ends_with("ok"),
            "there is room"
        );
        assert_eq!(rest(&mut oldest).await, "", "made by the oldest");
        younger.write_all(&REQUEST[4..]).await.unwrap();
        assert!(rest(&mut younger).await.ends_with("ok"), "and by nobody else");
        go.notify_one();
        assert!(
            rest(&mut handled).await.ends_with("held"),
            "least of all by one that is handled"
        );
    }

    #[test]
    fn limits_leave_files_for_qdrant_and_the_store() {
        for (files, connections, requests) in [
            (0, 16, 4),
            (64, 32, 8),
            (256, 128, 32),
            (1024, 512, 64),
            (usize::MAX, 512, 64),
        ] {
            let limits = Limits::for_files(files);
            assert_eq!(
                (limits.connections, limits.requests),
                (connections, requests),
                "{files}"
            );
        }
    }
}
