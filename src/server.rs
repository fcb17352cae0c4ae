//! The HTTP service: backups on request, and what there is to know about them.

mod api;
mod audit;
pub mod auth;
mod connections;
mod error;
mod extract;
mod handlers;
mod idempotency;
mod lookup;
mod operations;
mod page;
mod repeated;
mod request;
mod runs;
mod serve;
mod state;
mod watch;

pub use error::{HTTP_CODES, http_status};

pub use error::HttpCode;
pub use handlers::openapi;
pub(crate) use serve::STOP_WITHIN;
pub use serve::{listen, serve};
pub use state::App;

use auth::Auth;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::{Extension, Router};
use connections::Limits;
use error::HttpError;
use extract::{BODY_LIMIT, BodyTime};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

/// All routes.
fn router(app: App, limits: &Limits) -> Router {
    let auth = app.auth.clone();
    with_envelope(handlers::router().merge(page::router()).with_state(app), auth, limits)
}

/// Around all routes: limits, who may call, the one form of errors, request ids, the log.
fn with_envelope(routes: Router, auth: Auth, limits: &Limits) -> Router {
    let turns = Arc::new(Semaphore::new(limits.requests));
    routes
        .fallback(HttpError::no_such_path)
        .method_not_allowed_fallback(HttpError::method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(Extension(BodyTime(limits.body)))
        .layer(from_fn_with_state(auth, auth::guard))
        .layer(from_fn_with_state(turns, connections::in_turn))
        .layer(CatchPanicLayer::custom(HttpError::panicked))
        .layer(from_fn(request::envelope))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use api::PruneRequest;
    use axum::routing::{get, post};
    use error::PATHS;
    use extract::JsonBody;
    use std::net::SocketAddr;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_util::sync::CancellationToken;

    #[test]
    fn a_client_that_is_lost_is_told_every_path_of_the_reference() {
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/http-api.md"));
        let rows = page.lines().filter_map(|l| l.strip_prefix("| `"));
        let paths = rows.filter_map(|row| Some(row.split_once('`')?.0.split_once(" /")?.1));
        let mut all = 0;
        for path in paths.map(|path| path.split('?').next().unwrap()) {
            if path.starts_with("v1/") {
                assert!(openapi().contains(&format!("\"/{path}\"")), "/{path}");
                continue;
            }
            assert!(
                format!("{PATHS},").contains(&format!("/{path},")) || PATHS.contains(&format!("/{path};")),
                "/{path}"
            );
            all += 1;
        }
        assert!(
            all > 10,
            "only {all} paths found: the test no longer reads the page right"
        );
    }

    /// Serves these routes as the service does, at this address.
    async fn start(routes: Router, limits: Limits) -> SocketAddr {
        let listener = listen(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = with_envelope(routes, Auth::none(), &limits);
        tokio::spawn(async move { connections::serve(listener, routes, limits, &CancellationToken::new()).await });
        address
    }

    #[tokio::test]
    async fn a_body_that_does_not_arrive_is_answered_with_408() {
        let take = async |_: JsonBody<PruneRequest>| ();
        let limits = Limits {
            body: Duration::from_millis(50),
            ..Limits::default()
        };
        let address = start(Router::new().route("/", post(take)), limits).await;
        // Not a byte more, and a byte now and then.
        for drips in [false, true] {
            let half = tokio::net::TcpStream::connect(address).await.unwrap();
            let (mut answers, mut body) = half.into_split();
            let head = format!("POST / HTTP/1.1\r\nHost: {address}\r\nContent-Length: 60000\r\n\r\n{{");
            body.write_all(head.as_bytes()).await.unwrap();
            let drip = tokio::spawn(async move {
                while drips && body.write_all(b" ").await.is_ok() {
                    tokio::time::sleep(limits.body / 10).await;
                }
                body
            });
            let mut answer = Vec::new();
            // A byte that is on its way when the service closes the connection resets it.
            let _ = answers.read_to_end(&mut answer).await;
            let answer = String::from_utf8(answer).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 408 "), "{answer}");
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["error"]["code"], "body_timeout", "{body}");
            drip.await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_not_taken_counts_as_a_request() {
        let limits = Limits {
            requests: 1,
            ..Limits::default()
        };
        let routes = Router::new().route("/", get(async || vec![0; 64 << 20]));
        let routes = routes.route("/health", get(async || "ok"));
        let address = start(routes, limits).await;
        let url = format!("http://{address}");
        let ask = async |path: &str| reqwest::get(format!("{url}{path}")).await.unwrap().status().as_u16();
        let mut slow = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n");
        slow.write_all(request.as_bytes()).await.unwrap();
        slow.readable().await.unwrap();
        assert_eq!(
            (ask("/").await, ask("/nothing").await, ask("/health").await),
            (503, 503, 200)
        );
        drop(slow);
        // The service notices when it goes on writing.
        while ask("/nothing").await == 503 {}
    }

    #[tokio::test]
    async fn a_panic_ends_the_request_and_not_the_service() {
        let routes = Router::new().route("/", get(async || -> String { panic!("secret of the internals") }));
        let url = format!("http://{}/", start(routes, Limits::default()).await);
        for _ in 0..2 {
            let answer = reqwest::get(&url).await.unwrap();
            assert_eq!(answer.status(), 500);
            let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
            let body: serde_json::Value = answer.json().await.unwrap();
            assert_eq!(
                (&body["error"]["code"], &body["request_id"]),
                (&"internal".into(), &id.into())
            );
            assert!(!body.to_string().contains("secret"), "{body}");
        }
    }
}
