//! A proxy before one Qdrant, or before several in turn as a load balancer, that spoils answers as it is told.
//!
//! Where the [scripted peer](crate::peer) makes everything up, here all is real but the fault.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future;
use futures_util::stream::{self, StreamExt};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Semaphore;

/// What to do with one request. Numbers are bytes of the answer's body.
#[derive(Clone, Debug)]
pub enum Fault {
    /// None.
    Pass,
    /// The connection breaks after so many.
    Cut(usize),
    /// A clean end after so many, chunked and without a length: so a Qdrant server ends a stream that failed inside.
    CleanEnd(usize),
    /// As [`Fault::CleanEnd`], where the entry of this number begins in the archive that the body is ([`entries`]).
    EndAtEntry(usize),
    /// Nothing comes after so many, and the connection stays open. With 0 it is a second stream of a shard.
    Stall(usize),
    /// Says so on `reached` after so many, then waits for a permit of `go`.
    Held {
        after: usize,
        reached: Arc<Semaphore>,
        go: Arc<Semaphore>,
    },
    /// This status and body instead; Qdrant is not asked.
    Answer(u16, &'static str),
    /// It is done, but the connection breaks before the answer.
    AnswerLost,
}

/// A running proxy. It stops with the test's runtime.
#[derive(Clone)]
pub struct Proxy {
    pub url: String,
    inner: Arc<Inner>,
}

struct Inner {
    client: reqwest::Client,
    script: Mutex<Script>,
}

#[derive(Default)]
struct Script {
    backends: Vec<String>,
    next: usize,
    faults: HashMap<String, VecDeque<Fault>>,
    log: Vec<String>,
}

impl Proxy {
    /// Before one Qdrant.
    pub async fn before(url: &str) -> Self {
        Self::balancing([url.to_owned()]).await
    }

    /// Before several: each request goes to the next one.
    pub async fn balancing(urls: impl IntoIterator<Item = String>) -> Self {
        let script = Script {
            backends: urls.into_iter().collect(),
            ..Script::default()
        };
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let inner = Arc::new(Inner {
            client,
            script: Mutex::new(script),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(forward).with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, inner }
    }

    /// Scripts the next requests of that method and path, as in `GET /collections/c/shards/1/snapshot`, or of those below it, as in
    /// `GET /collections/c/snapshots/*`; each entry is used up by one. After that they pass.
    pub fn on(&self, request: &str, faults: impl IntoIterator<Item = Fault>) {
        let mut script = self.lock();
        script.faults.entry(request.to_owned()).or_default().extend(faults);
    }

    /// How many requests contain `text`; each is `METHOD path?query`.
    pub fn requests(&self, text: &str) -> usize {
        self.lock().log.iter().filter(|line| line.contains(text)).count()
    }

    /// Those that contain `text`, in their order.
    pub fn log(&self, text: &str) -> Vec<String> {
        let script = self.lock();
        let found = script.log.iter().filter(|line| line.contains(text));
        found.cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        self.inner.script.lock().unwrap()
    }
}

/// Headers that are about one connection.
const HOP: [header::HeaderName; 3] = [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING];

async fn forward(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let (backend, fault) = {
        let mut script = inner.script.lock().unwrap();
        script.log.push(format!("{} {path}", parts.method));
        let key = format!("{} {}", parts.method, parts.uri.path());
        let below = key.rsplit_once('/').map(|(above, _)| format!("{above}/*"));
        let keys = [Some(key), below].into_iter().flatten();
        let fault = keys.filter_map(|key| script.faults.get_mut(&key)?.pop_front()).next();
        let turn = script.next;
        script.next += 1;
        (script.backends[turn % script.backends.len()].clone(), fault)
    };
    let fault = fault.unwrap_or(Fault::Pass);
    if let Fault::Answer(status, text) = fault {
        return (StatusCode::from_u16(status).unwrap(), text).into_response();
    }
    let mut headers = parts.headers;
    let has_body = headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING);
    HOP.iter().for_each(|name| drop(headers.remove(name)));
    let mut sent = inner
        .client
        .request(parts.method, format!("{backend}{path}"))
        .headers(headers);
    if has_body {
        sent = sent.body(reqwest::Body::wrap_stream(body.into_data_stream()));
    }
    match sent.send().await {
        Ok(answer) => spoiled(answer, fault).await,
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

async fn spoiled(answer: reqwest::Response, fault: Fault) -> Response {
    let status = answer.status();
    let mut headers = answer.headers().clone();
    HOP.iter().for_each(|name| drop(headers.remove(name)));
    let body = match fault {
        Fault::Pass => Body::from_stream(answer.bytes_stream()),
        _ => {
            let whole = answer.bytes().await.unwrap_or_default();
            if !matches!(fault, Fault::Cut(_) | Fault::Held { .. }) {
                headers.remove(header::CONTENT_LENGTH);
            }
            spoil(whole, fault)
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn spoil(whole: Bytes, fault: Fault) -> Body {
    let part = |at: usize| whole.slice(..at.min(whole.len()));
    // What came before is on its way by then.
    let broken = stream::once(async {
        tokio::task::yield_now().await;
        Err::<Bytes, _>(io::Error::other("cut by the test"))
    });
    match fault {
        Fault::Pass | Fault::Answer(..) => Body::from(whole),
        Fault::CleanEnd(at) => Body::from_stream(stream::iter([Ok::<_, io::Error>(part(at))])),
        Fault::EndAtEntry(entry) => {
            let at = entries(&whole)[entry];
            Body::from_stream(stream::iter([Ok::<_, io::Error>(part(at))]))
        }
        Fault::Cut(at) => Body::from_stream(stream::iter([Ok(part(at))]).chain(broken)),
        Fault::AnswerLost => Body::from_stream(broken),
        Fault::Stall(at) => {
            let head = stream::iter([Ok::<_, io::Error>(part(at))]);
            Body::from_stream(head.chain(stream::once(future::pending())))
        }
        Fault::Held { after, reached, go } => {
            let rest = whole.slice(after.min(whole.len())..);
            let wait = async move {
                reached.add_permits(1);
                go.acquire().await.unwrap().forget();
                Ok::<_, io::Error>(rest)
            };
            Body::from_stream(stream::iter([Ok(part(after))]).chain(stream::once(wait)))
        }
    }
}

/// Where the headers of an archive are, and where its end marker is.
pub fn entries(archive: &[u8]) -> Vec<usize> {
    const BLOCK: usize = 512;
    let (mut at, mut found) = (0, vec![0]);
    while archive[at..at + BLOCK].iter().any(|byte| *byte != 0) {
        let header = &archive[at..at + BLOCK];
        let size = std::str::from_utf8(&header[124..135]).unwrap();
        let size = usize::from_str_radix(size.trim_matches(['\0', ' ']), 8).unwrap();
        at += BLOCK;
        // The map of a sparse file goes on in blocks of its own.
        let mut goes_on = header[156] == b'S' && header[482] == 1;
        while goes_on {
            goes_on = archive[at + 504] == 1;
            at += BLOCK;
        }
        at += size.next_multiple_of(BLOCK);
        found.push(at);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_qdrant::{Cluster, Node, NodeOptions};
    use serde_json::{Value, json};

    async fn nodes(peers: &[u64]) -> Vec<(Node, tempfile::TempDir)> {
        let cluster = Cluster::new();
        let mut nodes = Vec::new();
        for peer_id in peers {
            let dir = tempfile::tempdir().unwrap();
            let mut options = NodeOptions::new(dir.path());
            options.peer_id = *peer_id;
            options.cluster = Some(cluster.clone());
            nodes.push((Node::start(options).await.unwrap(), dir));
        }
        nodes
    }

    async fn json(url: &str) -> Value {
        reqwest::get(url).await.unwrap().json().await.unwrap()
    }

    #[tokio::test]
    async fn a_load_balancer_shows_another_peer_each_time() {
        let nodes = nodes(&[1, 2, 3]).await;
        let proxy = Proxy::balancing(nodes.iter().map(|(node, _)| node.url())).await;
        let mut peers = Vec::new();
        for _ in 0..4 {
            peers.push(json(&format!("{}/cluster", proxy.url)).await["result"]["peer_id"].clone());
        }
        assert_eq!(peers, [json!(1), json!(2), json!(3), json!(1)]);
    }

    #[tokio::test]
    async fn a_stream_ends_breaks_stalls_and_waits_at_any_byte() {
        let nodes = nodes(&[1]).await;
        let proxy = Proxy::before(&nodes[0].0.url()).await;
        let collection = format!("{}/collections/c", proxy.url);
        let config = json!({"vectors": {"size": 2, "distance": "Dot"}});
        let made = reqwest::Client::new()
            .put(&collection)
            .json(&config)
            .send()
            .await
            .unwrap();
        assert_eq!(made.status(), 200);
        let path = "/collections/c/shards/0/snapshot";
        let get = || reqwest::get(format!("{}{path}", proxy.url));
        let whole = get().await.unwrap().bytes().await.unwrap();
        assert_eq!(whole[whole.len() - 1024..], [0; 1024]);
        let entries = entries(&whole);
        assert_eq!(entries.last(), Some(&(whole.len() - 1024)));

        let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let held = Fault::Held {
            after: 100,
            reached: reached.clone(),
            go: go.clone(),
        };
        let lost = Fault::AnswerLost;
        let refused = Fault::Answer(503, "busy");
        proxy.on(
            &format!("GET {path}"),
            [
                Fault::CleanEnd(700),
                Fault::EndAtEntry(1),
                Fault::Cut(700),
                Fault::Stall(0),
                held,
                lost,
                refused,
            ],
        );
        let ended = get().await.unwrap();
        assert_eq!(ended.content_length(), None);
        assert_eq!(ended.bytes().await.unwrap().len(), 700);
        assert_eq!(get().await.unwrap().bytes().await.unwrap().len(), entries[1]);
        assert!(get().await.unwrap().bytes().await.is_err());
        let stalled = get().await.unwrap();
        assert_eq!(stalled.status(), 200);
        let mut stalled = stalled.bytes_stream();
        let waiting = get().await.unwrap();
        tokio::select! {
            biased;
            _ = stalled.next() => panic!("the stream has bytes, or ended"),
            permit = reached.acquire() => permit.unwrap().forget(),
        }
        go.add_permits(1);
        assert_eq!(waiting.bytes().await.unwrap().len(), whole.len());
        assert!(match get().await {
            Ok(answer) => answer.bytes().await.is_err(),
            Err(_) => true,
        });
        assert_eq!(get().await.unwrap().status(), 503);
        assert_eq!(get().await.unwrap().bytes().await.unwrap().len(), whole.len());
        assert_eq!(proxy.requests(path), 9);
    }
}
