//! Who may call, over real sockets: own keys, an own issuer, and clients byte by byte.

mod audit;
mod browsers;
pub(crate) mod iam;
mod issuer;
mod keys;
mod roles;
mod static_tokens;
mod tokens;

use issuer::{AUDIENCE, Issuer};
use qdrant_backup::app::{self, Host};
use qdrant_backup::base::clock::Clock;
use qdrant_backup::base::error::Code;
use qdrant_backup::server;
use qdrant_backup::server::auth::{Mode, Role, Roles, Rules};
use testkit::clock::Hands;
use testkit::service::{Answer, Service, Setup};
use time::macros::datetime;
use tokio_util::sync::CancellationToken;

const NOBODY: &str = "http://127.0.0.1:1";
/// What every browser calls itself.
const MOZILLA: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

/// The service over `qdrant`.
async fn start(mode: Mode, qdrant: &str) -> Service {
    let mut setup = Setup::over(qdrant);
    setup.config.server.auth = mode;
    setup.start().await
}

/// A service that verifies tokens, with a clock that stands.
async fn verifying(rules: Rules) -> Service {
    let mut setup = Setup::over(NOBODY);
    setup.config.server.auth = Mode::Oidc(rules);
    setup.hands = Hands::standing_at(datetime!(2026-11-22 12:00 UTC));
    setup.start().await
}

/// A service that verifies tokens of this issuer for one caller, and for one that may only read.
async fn trusting(issuer: &Issuer) -> Service {
    let rules = Rules {
        issuers: vec![issuer::ISSUER.to_owned()],
        keys_url: issuer.url.clone(),
        ..Rules::google(
            vec!["https://other.test".to_owned(), AUDIENCE.to_owned()],
            Roles::new(None)
                .with(Role::Admin, ["Scheduler@Project.Iam.GServiceAccount.com".to_owned()])
                .with(Role::Reader, [iam::AGENT.to_uppercase()]),
        )
    };
    verifying(rules).await
}

/// `GET /backups` with a token in `Authorization`.
async fn ask(service: &Service, token: &str) -> Answer {
    let value = format!("Bearer {token}");
    service
        .send("GET", "/backups", &[("authorization", value.as_bytes())], "")
        .await
}

/// The client is told to come with a token.
#[track_caller]
fn assert_asks_for_a_token(answer: &Answer, what: &str) {
    let scheme = answer
        .headers
        .get("www-authenticate")
        .map(|value| value.to_str().unwrap());
    assert!(
        scheme.is_some_and(|scheme| scheme.starts_with("Bearer")),
        "{what}: {scheme:?}"
    );
}

#[tokio::test]
async fn only_health_is_open() {
    let issuer = Issuer::start().await;
    let service = trusting(&issuer).await;
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
        assert_asks_for_a_token(&answer, path);
    }
}

#[tokio::test]
async fn a_service_that_asks_nobody_serves_no_other_machine() {
    let mut setup = Setup::over(NOBODY);
    setup.config.server.listen = ([0, 0, 0, 0], 0).into();
    let stop = CancellationToken::new();
    let host = Host {
        who: "service under test".to_owned(),
        clock: Clock::system(),
        drills_on: None,
        stop: stop.clone(),
    };
    let listener = server::listen(setup.config.server.listen).await.unwrap();
    let app = app::compose(setup.config.clone(), host).await.unwrap();
    let error = server::serve(listener, app, stop).await.unwrap_err();
    assert_eq!(error.code(), Code::ConfigInvalid);
    assert!(error.remedy_text().unwrap().contains("AUTH_MODE=oidc"), "{error}");
}
