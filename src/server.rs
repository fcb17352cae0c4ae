//! The HTTP service: backups on request, and what there is to know about them.
//!
//! | request | answer |
//! |---|---|
//! | `GET /health` | the process is alive; asks nobody; open to everybody, as nothing else is |
//! | `GET /health/freshness` | whether every collection has a young enough backup; 503 when one has not |
//! | `GET /status` | Qdrant, store, last backup, running backup; 503 when one of the first two is not usable |
//! | `GET /collections` | names, points, sizes |
//! | `POST /backup` | makes a backup and answers when it has ended |
//! | `POST /restore` | restores a backup and answers when the result has been compared with it |
//! | `GET /backups`, `GET /backups/{id}` | what backups there are, and what is known of their worth |
//! | `POST /backups/{id}/verify` | reads a backup back and says whether it is intact |
//! | `POST /backups/{id}/drill` | proves that a backup can be restored, in throw-away collections |
//! | `PUT`, `DELETE /backups/{id}/pin` | keeps a backup whatever the policy says, or no longer |
//! | `POST /prune` | deletes old backups by the policy; `{"dry_run": true}`: says which |

mod audit;
pub mod auth;
mod backup;
mod backups;
mod body;
mod drill;
mod error;
mod freshness;
mod pin;
mod prune;
mod request;
mod restore;
mod runs;
mod status;
mod verify;

use crate::base::error::{Code, Error, Result};
use crate::ops::backup::Context;
use crate::ops::freshness::Wanted;
use crate::ops::retention::Policy;
use crate::ops::verify::Verifier;
use crate::repository::selection::Selection;
use crate::wire::qdrant::Qdrant;
use auth::Auth;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};
use error::HttpError;
use runs::Runs;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;

/// Largest body of a request: a list of a thousand long names fits.
const BODY_LIMIT: usize = 64 << 10;
/// Longest time for an answer of Qdrant or the store when one only looks.
const PATIENCE: Duration = Duration::from_secs(15);
/// Time to clean up after the signal to stop: Cloud Run and Docker kill after 10 s.
const GRACE: Duration = Duration::from_secs(9);
/// What connections get of it once no run is under way: enough for the last answers, and not for requests that never end.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// Longest time without a byte of a body that is on its way.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What the handlers work with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    ctx: Context,
    probe: Qdrant,
    selection: Selection,
    retention: Policy,
    drills_on: Option<Qdrant>,
    runs: Runs,
    verifier: Verifier,
    verifying: verify::Verifying,
    auth: Auth,
    wanted: Wanted,
    patience: Duration,
}

impl App {
    /// A service that makes backups with `ctx` and looks at Qdrant through `probe`. `selection` is that of a request which
    /// names none. When `stop` is cancelled, a running backup or restore is stopped cleanly and no new one begins.
    pub fn new(ctx: Context, probe: Qdrant, selection: Selection, stop: CancellationToken) -> Self {
        Self {
            verifier: Verifier {
                store: ctx.store.clone(),
                clock: ctx.clock.clone(),
                who: ctx.who.clone(),
                concurrency: ctx.settings.concurrency,
                attempts: ctx.settings.attempts,
                backoff: ctx.settings.backoff,
            },
            verifying: verify::Verifying::default(),
            runs: Runs::new(ctx.clone(), stop),
            ctx,
            probe,
            selection,
            retention: Policy::default(),
            auth: Auth::none(),
            wanted: Wanted::default(),
            patience: PATIENCE,
            drills_on: None,
        }
    }

    /// Names the Qdrant for drills. Without one they need a request that allows the Qdrant that is backed up.
    #[must_use]
    pub fn with_drills_on(mut self, qdrant: Option<Qdrant>) -> Self {
        self.drills_on = qdrant;
        self
    }

    /// Sets who may call; without it everybody may, and [`serve`] refuses any address but loopback.
    #[must_use]
    pub fn with_auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }

    /// Sets how long a request that only looks waits for Qdrant or the store.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets how old the last good backup of a collection may be for `GET /health/freshness`.
    #[must_use]
    pub fn with_max_age(mut self, max_age: Duration) -> Self {
        self.wanted.max_age = max_age;
        self
    }

    /// Sets which backups are kept by `POST /prune` and, if `after_backup`, after each complete backup.
    #[must_use]
    pub fn with_retention(mut self, policy: Policy, after_backup: bool) -> Self {
        self.runs.prune_after(after_backup.then(|| policy.clone()));
        self.retention = policy;
        self
    }
}

/// What a client that asks for something else is told.
const PATHS: &str = "there are GET /health, /health/freshness, /status, /collections, /backups, /backups/{id}; POST /backup, /restore, \
                     /prune, /backups/{id}/verify, /backups/{id}/drill; PUT and DELETE /backups/{id}/pin";

/// All routes.
pub fn router(app: App) -> Router {
    let auth = app.auth.clone();
    let routes = Router::new()
        .route("/health", get(status::health))
        .route("/health/freshness", get(freshness::freshness))
        .route("/status", get(status::status))
        .route("/collections", get(status::collections))
        .route("/backup", post(backup::backup))
        .route("/prune", post(prune::prune))
        .route("/restore", post(restore::restore))
        .route("/backups", get(backups::list))
        .route("/backups/{id}", get(backups::show))
        .route("/backups/{id}/verify", post(verify::verify))
        .route("/backups/{id}/drill", post(drill::drill))
        .route("/backups/{id}/pin", put(pin::pin).delete(pin::unpin))
        .with_state(app);
    with_envelope(routes, auth, BODY_TIMEOUT)
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

/// Listens on `address`; port 0 takes any free port.
pub async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| {
        Error::new(Code::ConfigInvalid, format!("listening on {address}"))
            .because(e)
            .remedy("choose another address with LISTEN, or another port with PORT")
    })
}

/// Serves until `stop` is cancelled, then ends what is under way. An error when a run takes longer to clean up than Cloud Run
/// and Docker allow, and at once when others could reach a service that asks nobody who they are. Connections are waited for
/// only as long as it takes to send the last answers: a client that never ends its request keeps nobody.
pub async fn serve(listener: TcpListener, app: App, stop: CancellationToken) -> Result<()> {
    let address = listener
        .local_addr()
        .map_err(|e| Error::new(Code::Internal, "asking for the address that is listened on").because(e))?;
    if app.auth.is_none() && !address.ip().to_canonical().is_loopback() {
        return Err(Error::new(
            Code::ConfigInvalid,
            format!("with AUTH_MODE=none everybody who reaches {address} could back up, restore and delete"),
        )
        .remedy("set AUTH_MODE=oidc, or LISTEN=127.0.0.1:8080"));
    }
    let callers = app.auth.told();
    tracing::info!(%address, callers, qdrant = app.probe.url(), store = app.ctx.store.url(), "listening on http://{address}");
    let runs = app.runs.clone();
    let server = axum::serve(listener, router(app)).with_graceful_shutdown(stop.clone().cancelled_owned());
    let served = async {
        let served = server.into_future().await;
        runs.ended().await;
        served.map_err(|e| Error::new(Code::Internal, "serving HTTP").because(e))
    };
    let without_stragglers = async {
        stop.cancelled().await;
        runs.ended().await;
        tokio::time::sleep(LAST_ANSWERS).await;
        // One of them may have begun what the service has to wait for.
        runs.ended().await;
        tracing::info!("open connections are closed: their requests did not come to an end");
    };
    let too_late = async {
        stop.cancelled().await;
        tracing::info!("stopping");
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = served => result,
        () = without_stragglers => Ok(()),
        () = too_late => match runs.under_way() {
            false => Ok(()),
            true => Err(Error::new(Code::Cancelled, format!("the running backup or restore did not clean up within {GRACE:?}"))
                .remedy("no harm is done: the next run removes what is left, once the lease has run out")),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use axum::body::Bytes;
    use axum::extract::rejection::BytesRejection;
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
        let take = async |body: Result<Bytes, BytesRejection>| body.map(drop).map_err(backup::unread);
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
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(
            answer.contains("body_timeout") && answer.contains("Content-Length"),
            "{answer}"
        );
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
