//! The first minute of an instance, whose network comes up after the program.

use axum::routing::get;
use axum::{Json, Router};
use qdrant_backup::base::error::Code;
use qdrant_backup::wire::qdrant::{Options, Qdrant};
use serde_json::json;
use std::future::IntoFuture;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// An address that nobody listens on.
fn refusing() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn client(at: SocketAddr, start: Duration) -> Qdrant {
    Qdrant::new(Options {
        retries: 0,
        backoff: Duration::from_millis(20),
        start,
        ..Options::new(format!("http://{at}").parse().unwrap())
    })
    .unwrap()
}

#[tokio::test]
async fn the_first_answer_is_waited_for_and_no_later_one() {
    let at = refusing();
    assert_eq!(
        client(at, Duration::ZERO).version().await.unwrap_err().code(),
        Code::QdrantUnreachable
    );
    let qdrant = client(at, Duration::from_secs(600));
    let serve = async {
        // Some attempts fail before.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let app = Router::new().route("/", get(async || Json(json!({"version": "1.18.3"}))));
        let listener = tokio::net::TcpListener::bind(at).await.unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = axum::serve(listener, app).with_graceful_shutdown(async { drop(stopped.await) });
        (tokio::spawn(server.into_future()), stop)
    };
    let (version, (server, stop)) = tokio::join!(qdrant.version(), serve);
    assert_eq!(version.unwrap(), "1.18.3");
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    // It was there: now an outage is told at once.
    assert_eq!(qdrant.version().await.unwrap_err().code(), Code::QdrantUnreachable);
}
