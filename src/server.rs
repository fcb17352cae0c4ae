//! The HTTP service: backups on request, and what there is to know about them.

mod api;
mod audit;
pub mod auth;
mod error;
mod extract;
mod handlers;
mod lookup;
mod request;
mod runs;
mod serve;
mod state;

pub use error::{HTTP_CODES, http_status};

pub use error::HttpCode;
pub(crate) use serve::STOP_WITHIN;
pub use serve::{listen, serve};
pub use state::App;

use auth::Auth;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use error::HttpError;
use extract::{BODY_LIMIT, BODY_TIMEOUT};
use std::time::Duration;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;

/// All routes.
fn router(app: App) -> Router {
    let auth = app.auth.clone();
    with_envelope(handlers::router().with_state(app), auth, BODY_TIMEOUT)
}

/// Around all routes: limits, who may call, the one form of errors, request ids, the log.
fn with_envelope(routes: Router, auth: Auth, body_timeout: Duration) -> Router {
    routes
        .fallback(HttpError::no_such_path)
        .method_not_allowed_fallback(HttpError::method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(RequestBodyTimeoutLayer::new(body_timeout))
        .layer(axum::middleware::from_fn_with_state(auth, auth::guard))
        .layer(CatchPanicLayer::custom(HttpError::panicked))
        .layer(axum::middleware::from_fn(request::envelope))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use api::PruneRequest;
    use axum::routing::{get, post};
    use error::PATHS;
    use extract::JsonBody;
    use std::future::IntoFuture;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn a_client_that_is_lost_is_told_every_path_of_the_reference() {
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/http-api.md"));
        let rows = page.lines().filter_map(|l| l.strip_prefix("| `"));
        let paths = rows.filter_map(|row| Some(row.split_once('`')?.0.split_once(" /")?.1));
        let mut all = 0;
        for path in paths.map(|path| path.split('?').next().unwrap()) {
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

    #[tokio::test]
    async fn a_body_that_does_not_arrive_is_answered_with_408() {
        let listener = listen(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let take = async |_: JsonBody<PruneRequest>| ();
        let routes = with_envelope(
            Router::new().route("/", post(take)),
            Auth::none(),
            Duration::from_millis(50),
        );
        tokio::spawn(axum::serve(listener, routes).into_future());
        let mut half = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!("POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 10\r\n\r\n{{");
        half.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        half.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 408 "), "{answer}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"]["code"], "body_timeout", "{body}");
    }

    #[tokio::test]
    async fn a_panic_ends_the_request_and_not_the_service() {
        let listener = listen(([127, 0, 0, 1], 0).into()).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let routes = Router::new().route("/", get(async || -> String { panic!("secret of the internals") }));
        tokio::spawn(axum::serve(listener, with_envelope(routes, Auth::none(), BODY_TIMEOUT)).into_future());
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
