//! Each state, made from a peer, a store with a past, and a clock that stands.

use super::State;
use super::past::{self, COLLECTIONS, EVERY, NOW, id, plant, stamp};
use embedded_qdrant::{Node, NodeOptions};
use reqwest::Method;
use serde_json::json;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use testkit::clock::Hands;
use testkit::many;
use testkit::peer::{Create, Peer};
use testkit::sample::{Client, fill};
use testkit::service::{Service, Setup};
use tokio::sync::Semaphore;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// Of the newest backup, unless it is about that.
const AGE: Duration = Duration::from_secs(2 * 3600 + 12 * 60);
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// One after the other: each is quick.
pub(super) async fn all() -> Vec<State> {
    vec![
        empty().await,
        first_run().await,
        good().await,
        running().await,
        partial().await,
        failed().await,
        stale().await,
        unproven().await,
        store_down().await,
        qdrant_down().await,
        clock_skew().await,
        dead_lease_holder().await,
        read_only_caller().await,
        many().await,
        journey().await,
    ]
}

/// A Qdrant with all collections.
async fn peer() -> Peer {
    Peer::start(&COLLECTIONS.map(|(name, ..)| (name, 1 << 20))).await
}

fn setup(qdrant: &str) -> Setup {
    let mut setup = Setup::over(qdrant);
    setup.hands = Hands::standing_at(NOW);
    setup.config.backup.source_name = Some(past::SOURCE.to_owned());
    setup.config.retention.policy.last = 40;
    setup
}

/// A service over a Qdrant, without a past, that has recorded its first start.
async fn over(qdrant: &str) -> Service {
    let service = setup(qdrant).start().await;
    service.first_start().await;
    service
}

/// A service to be over a store with a long past, whose newest backup is so old. The past is older than the start, so nothing is new
/// because of it.
fn with_past(qdrant: &str, age: Duration) -> Setup {
    let setup = setup(qdrant);
    past::backups(setup.dir(), age);
    past::runs(setup.dir(), age);
    setup
}

async fn empty() -> State {
    State::new(
        "empty",
        over(&Peer::start(&[]).await.url).await,
        "[data-verdict=at_risk]",
    )
}

async fn first_run() -> State {
    let service = over(&peer().await.url).await;
    service.hands.pass(HOUR);
    State::new("first-run", service, "[data-verdict=never]")
}

async fn good() -> State {
    let setup = with_past(&peer().await.url, AGE);
    let newest = id(NOW - AGE);
    let run = past::run(setup.dir(), "drill", NOW - HOUR * 50, HOUR, |_| ());
    State {
        paths: vec![
            "/ui/backups".into(),
            format!("/ui/backups/{newest}"),
            format!("/ui/backups/{}", id(NOW - AGE - EVERY * 9)),
            format!("/ui/backups/{}", id(NOW - AGE - EVERY * 13)),
            format!("/ui/runs/{run}"),
            "/ui/restore".into(),
            format!("/ui/restore?backup={newest}"),
            format!("/ui/restore?backup={newest}&target=same&collection=articles"),
            "/ui/prune".into(),
            "/?find=nothing".into(),
            "/ui/backups/2001-01-01T00-00-00Z".into(),
        ],
        ..State::new("good", setup.start().await, "[data-verdict=protected]")
    }
}

/// A backup of its own, of which the first collection is saved and the others wait for Qdrant; and somebody else's verification.
async fn running() -> State {
    let peer = peer().await;
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    for (name, ..) in &COLLECTIONS[1..] {
        let held = Create::Held {
            reached: reached.clone(),
            go: go.clone(),
        };
        peer.on_create(name, [held]);
    }
    let mut setup = with_past(&peer.url, EVERY);
    // As long as somebody looks.
    setup.config.qdrant.create_timeout = HOUR * 24;
    let service = setup.start().await;
    let began = service.request(Method::POST, "/v1/backups").send().await.unwrap();
    assert_eq!(began.status(), 202);
    let operation = began.headers()["location"].to_str().unwrap().to_owned();
    // Two are at work, so the first one is done.
    reached.acquire_many(2).await.unwrap().forget();
    service.hands.pass(Duration::from_secs(95));
    past::run(service.dir(), "verify", NOW - MINUTE * 3, MINUTE * 4, |record| {
        let name = COLLECTIONS[1].0;
        record["who"] = "backup-job/17".into();
        record["state"] = "running".into();
        record["ended_at"] = json!(null);
        record["totals"] = json!({"units": 6, "done": 1, "at_work": 1, "waiting": 4, "bytes_done": 21_500_000_000_u64,
            "bytes_total": record["totals"]["bytes_total"], "part": 0.39});
        record["units"] = json!([{"name": name, "phase": "read", "bytes_done": 13_587_000_000_u64}]);
    });
    State {
        paths: vec![operation.replace("/v1/operations/", "/ui/runs/")],
        _kept: Box::new(go),
        ..State::new("running", service, "[data-run=running] form[data-action]")
    }
}

async fn partial() -> State {
    let setup = with_past(&peer().await.url, EVERY + AGE);
    let at = NOW - AGE;
    past::partial(setup.dir(), at, &mut COLLECTIONS.into(), "images");
    past::run(setup.dir(), "backup", at, MINUTE * 6, |record| {
        record["backup"] = id(at).into();
        past::failed(record, "images");
    });
    State {
        paths: vec![format!("/ui/backups/{}", id(at))],
        ..State::new("partial", setup.start().await, "[data-notice=partial]")
    }
}

async fn failed() -> State {
    let setup = with_past(&peer().await.url, EVERY * 4 + AGE);
    let mut run = String::new();
    for back in 0..4 {
        run = past::run(setup.dir(), "backup", NOW - AGE - EVERY * back, MINUTE, |record| {
            past::failed(record, "articles");
            record["totals"] = json!({"units": 6, "failed": 6});
            record["units"] = json!(COLLECTIONS.map(|(name, ..)| json!({"name": name, "phase": "failed"})));
        });
    }
    State {
        paths: vec![format!("/ui/runs/{run}")],
        ..State::new(
            "failed",
            setup.start().await,
            "[data-verdict=at_risk] ~ #runs [data-run=failed]",
        )
    }
}

async fn stale() -> State {
    let mut collections: Vec<_> = COLLECTIONS.map(|(name, ..)| (name, 100)).into();
    collections.push(("sessions", 100));
    let setup = with_past(&Peer::start(&collections).await.url, HOUR * 31);
    // One collection alone was saved since.
    past::only(setup.dir(), NOW - AGE, &COLLECTIONS[2]);
    State::new(
        "stale",
        setup.start().await,
        "[data-state=missing] ~ [data-state=stale]",
    )
}

async fn unproven() -> State {
    let setup = with_past(&peer().await.url, EVERY + AGE);
    past::unproven(setup.dir(), NOW - AGE, &COLLECTIONS);
    State {
        paths: vec![format!("/ui/backups/{}", id(NOW - AGE))],
        ..State::new("unproven", setup.start().await, "[data-notice=unproven]")
    }
}

async fn store_down() -> State {
    let service = over(&peer().await.url).await;
    std::fs::remove_dir_all(service.dir()).unwrap();
    State {
        paths: vec!["/ui/backups".into(), "/ui/restore".into(), "/ui/prune".into()],
        ..State::new("store-down", service, "[data-verdict=cannot_tell]")
    }
}

async fn qdrant_down() -> State {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let setup = with_past(&format!("http://{nobody}"), AGE);
    let shows = "[data-verdict=cannot_tell] ~ #collections [data-state=fresh]";
    State::new("qdrant-down", setup.start().await, shows)
}

async fn clock_skew() -> State {
    let setup = with_past(&peer().await.url, AGE);
    past::good(setup.dir(), NOW + HOUR * 24 * 400, &COLLECTIONS);
    State::new("clock-skew", setup.start().await, "[data-notice=clock]")
}

/// A run whose process was killed has still its lease; of an earlier one that has run out.
async fn dead_lease_holder() -> State {
    let setup = with_past(&peer().await.url, EVERY + AGE);
    let began = NOW - MINUTE * 50;
    let lease = json!({
        "holder": "dead", "who": "backup-vm/977", "since": stamp(began), "expires_at": stamp(NOW + MINUTE * 9),
    });
    plant(setup.dir(), "lock.json", &lease, began + MINUTE);
    let mut run = String::new();
    for (at, holder) in [(NOW - AGE, "earlier"), (began, "dead")] {
        run = past::run(setup.dir(), "backup", at, MINUTE, |record| {
            record["who"] = "backup-vm/977".into();
            record["holder"] = holder.into();
            record["state"] = "running".into();
            record["ended_at"] = json!(null);
            record["totals"] =
                json!({"units": 6, "at_work": 2, "waiting": 4, "bytes_done": 1_350_000_000_u64, "part": 0.02});
            record["units"] = json!([{"name": "articles", "phase": "copy", "bytes_done": 1_350_000_000_u64}]);
        });
    }
    State {
        paths: vec![format!("/ui/runs/{run}")],
        ..State::new("dead-lease-holder", setup.start().await, "[data-silent-run]")
    }
}

async fn read_only_caller() -> State {
    let peer = peer().await;
    let (dir, tokens) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
    std::fs::write(tokens.path(), format!("reader watch {TOKEN}\n")).unwrap();
    let store = url::Url::from_directory_path(dir.path()).unwrap();
    let mut setup = Setup::from_env(&[
        ("QDRANT_URL", &peer.url),
        ("BACKUP_STORE", store.as_str()),
        ("BACKUP_SOURCE_NAME", past::SOURCE),
        ("BACKUP_START_TIMEOUT_SECS", "0"),
        ("RETAIN_LAST", "40"),
        ("AUTH_MODE", "token"),
        ("AUTH_TOKEN_FILE", tokens.path().to_str().unwrap()),
    ]);
    setup.hands = Hands::standing_at(NOW);
    past::backups(dir.path(), HOUR * 27);
    past::runs(dir.path(), HOUR * 27);
    let service = setup.start().await;
    State {
        paths: vec!["/ui/prune".into(), format!("/ui/backups/{}", id(NOW - HOUR * 27))],
        more: json!({"headers": {"authorization": format!("Bearer {TOKEN}")}}),
        _kept: Box::new((dir, tokens)),
        ..State::new("read-only-caller", service, "form[data-action] button:disabled")
    }
}

/// 300 collections, and 1,000 backups, of which the old ones are not read and so may be small.
async fn many() -> State {
    let names: Vec<_> = (0..300).map(many::name).collect();
    let collections: Vec<_> = names.iter().map(|name| (name.as_str(), 10)).collect();
    let peer = Peer::start(&collections).await;
    let mut setup = Setup::over(&peer.url);
    setup.hands = Hands::standing_at(NOW);
    many::write_backups_until(NOW - AGE, setup.dir(), 1000, 1);
    many::write_backups_until(NOW - AGE, setup.dir(), 60, names.len());
    let service = setup.start().await;
    State {
        paths: vec!["/?page=3".into(), "/?find=collection-0123".into()],
        ..State::new("many", service, "[data-verdict=protected] ~ #collections .pager")
    }
}

/// A real node, its backup, and time that passes.
async fn journey() -> State {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(NodeOptions::new(data.path())).await.unwrap();
    let url = node.url();
    fill(&Client::new(&url, None), "", 20).await.unwrap();
    let service = Service::over(&url).await;
    assert_eq!(service.backup("").await.status, 200);
    let plan =
        |target: &str| format!("/ui/restore?backup=latest&target={target}&collection=articles&collection=products");
    State {
        paths: vec![plan("new"), plan("overwrite"), plan("swap")],
        more: json!({"qdrant": url}),
        node: Some((node, data)),
        ..State::new("journey", service, "[data-verdict=protected]")
    }
}
