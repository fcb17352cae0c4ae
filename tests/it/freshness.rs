//! `GET /health/freshness`: the decision as a table, then over a real socket with a clock that is moved.

use qdrant_backup::ops::freshness::{Expected, FreshnessPolicy, Good, State, collection_states, expected};
use qdrant_backup::repository::names::BackupId;
use qdrant_backup::repository::selection::Selection;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use testkit::many;
use testkit::peer::{Create, Peer};
use testkit::service::{Service, Setup};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

/// A good backup of so many minutes ago.
fn good(minutes: i64, collections: &[&str]) -> Good {
    let at = NOW - time::Duration::minutes(minutes);
    Good {
        source: None,
        id: BackupId::at(at),
        selection: Selection::default(),
        verified: false,
        opened: false,
        drilled: false,
        took: Default::default(),
        tells_all: true,
        bytes: Default::default(),
        collections: Arc::new(collections.iter().map(|name| ((*name).to_owned(), at)).collect()),
    }
}

fn verified(minutes: i64, collections: &[&str]) -> Good {
    Good {
        verified: true,
        ..good(minutes, collections)
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// What there is, what is wanted of it, and how a collection stands by that, with its age.
type Case = (&'static str, FreshnessPolicy, Vec<Good>, State, Option<u64>);

#[test]
fn a_collection_is_fresh_when_its_last_good_backup_is_young_enough() {
    use State::{Fresh, Missing, Stale};
    let any = FreshnessPolicy {
        max_age: Duration::from_secs(3600),
        verified: false,
    };
    let only_verified = FreshnessPolicy { verified: true, ..any };
    let cases: Vec<Case> = vec![
        ("no backup at all", any, vec![], Missing, None),
        ("made now", any, vec![good(0, &["a"])], Fresh, Some(0)),
        (
            "a minute too young to be stale",
            any,
            vec![good(59, &["a"])],
            Fresh,
            Some(3540),
        ),
        (
            "exactly as old as it may not be",
            any,
            vec![good(60, &["a"])],
            Stale,
            Some(3600),
        ),
        ("older", any, vec![good(600, &["a"])], Stale, Some(36_000)),
        (
            "a young backup of another collection",
            any,
            vec![good(1, &["b"])],
            Missing,
            None,
        ),
        (
            "the same, and an old one of it",
            any,
            vec![good(1, &["b"]), good(90, &["a"])],
            Stale,
            Some(5400),
        ),
        (
            "the newest one counts",
            any,
            vec![good(10, &["a"]), good(90, &["a"])],
            Fresh,
            Some(600),
        ),
        (
            "clocks that differ a little",
            any,
            vec![good(-9, &["a"])],
            Fresh,
            Some(0),
        ),
        (
            "of a time that has not come",
            any,
            vec![good(-60, &["a"])],
            Missing,
            None,
        ),
        (
            "the same, and an old one",
            any,
            vec![good(-60, &["a"]), good(90, &["a"])],
            Stale,
            Some(5400),
        ),
        ("not verified", only_verified, vec![good(1, &["a"])], Missing, None),
        ("verified", only_verified, vec![verified(1, &["a"])], Fresh, Some(60)),
        (
            "only an old one is verified",
            only_verified,
            vec![good(1, &["a"]), verified(90, &["a"])],
            Stale,
            Some(5400),
        ),
        (
            "the last but one is verified",
            only_verified,
            vec![good(1, &["a"]), verified(50, &["a"])],
            Fresh,
            Some(3000),
        ),
        (
            "verified counts where any does",
            any,
            vec![verified(1, &["a"])],
            Fresh,
            Some(60),
        ),
    ];
    println!("{:<42} {:>9}  state", "backups", "age (s)");
    for (what, wanted, backups, state, age) in cases {
        let [found] = collection_states(&names(&["a"]), &backups, wanted, NOW)
            .try_into()
            .unwrap();
        println!(
            "{what:<42} {:>9}  {:?}",
            found.age_seconds.map_or("-".to_owned(), |age| age.to_string()),
            found.state
        );
        assert_eq!((found.state, found.age_seconds), (state, age), "{what}");
        assert_eq!(found.backup.is_none(), state == Missing, "{what}");
    }
}

#[test]
fn what_is_expected_comes_from_qdrant_or_else_from_the_last_backup_of_the_same_selection() {
    let all = Selection::default();
    let some = Selection {
        include: names(&["a*", "b*"]),
        exclude: names(&["*-tmp"]),
        ..Selection::default()
    };
    let live = |list: &[&str]| Expected::Live(names(list));
    let last = |list: &[&str]| Expected::LastBackup(names(list));
    let of = |selection: &Selection, minutes, list: &[&str]| Good {
        selection: selection.clone(),
        ..good(minutes, list)
    };
    let one = Selection {
        collections: names(&["docs"]),
        ..Selection::default()
    };
    let reordered = Selection {
        include: names(&["b*", "a*"]),
        ..some.clone()
    };
    let there = names(&["a1", "a-tmp", "b", "c"]);
    for (what, selection, there, backups, result) in [
        (
            "all that is there",
            &all,
            Some(&there),
            vec![],
            live(&["a-tmp", "a1", "b", "c"]),
        ),
        (
            "what the patterns take",
            &some,
            Some(&there),
            vec![],
            live(&["a1", "b"]),
        ),
        (
            "not what only a backup has",
            &all,
            Some(&there),
            vec![good(1, &["z"])],
            live(&["a-tmp", "a1", "b", "c"]),
        ),
        (
            "a name that is asked for and gone",
            &one,
            Some(&there),
            vec![],
            live(&["docs"]),
        ),
        (
            "nothing is there",
            &all,
            Some(&vec![]),
            vec![good(1, &["z"])],
            live(&[]),
        ),
        (
            "not reachable",
            &all,
            None,
            vec![good(9, &["a", "b"])],
            last(&["a", "b"]),
        ),
        (
            "the last one of all",
            &all,
            None,
            vec![of(&one, 1, &["docs"]), good(9, &["a", "docs"])],
            last(&["a", "docs"]),
        ),
        (
            "only backups of something else",
            &all,
            None,
            vec![of(&one, 1, &["docs"])],
            Expected::Unknown,
        ),
        (
            "the same patterns in another order",
            &some,
            None,
            vec![of(&reordered, 1, &["a1"])],
            last(&["a1"]),
        ),
        ("no backup", &all, None, vec![], Expected::Unknown),
    ] {
        let found = expected(selection, there.map(Vec::as_slice), &backups).unwrap();
        assert_eq!(found, result, "{what}");
    }
}

/// The service over a peer, with a clock that starts now and is moved.
struct Watched(Service);

impl Watched {
    async fn start(qdrant: &str, change: impl FnOnce(&mut Selection)) -> Self {
        let mut setup = Setup::over(qdrant);
        change(&mut setup.config.backup.selection);
        Self::of(setup).await
    }

    /// Of a service for whose first backup the time has run out.
    async fn of(setup: Setup) -> Self {
        let service = Self(setup.start().await);
        service.0.first_start().await;
        service.pass(26);
        service
    }

    fn pass(&self, hours: u64) {
        self.0.hands.pass(Duration::from_secs(hours * 3600));
    }

    async fn backup(&self, body: &'static str) -> u16 {
        self.0.backup(body).await.status
    }

    async fn fresh(&self, query: &str) -> (u16, Value) {
        self.0.get(&format!("/health/freshness{query}")).await
    }

    /// The status, and the state of each collection.
    async fn states(&self, query: &str) -> (u16, Value) {
        let (status, body) = self.fresh(query).await;
        assert_eq!(body["fresh"], status == 200, "{body}");
        let list = body["collections"].as_array().unwrap();
        (
            status,
            list.iter()
                .map(|c| (c["name"].as_str().unwrap().to_owned(), c["state"].clone()))
                .collect(),
        )
    }

    fn newest(&self) -> PathBuf {
        let folders = std::fs::read_dir(self.0.dir().join("backups")).unwrap();
        folders.map(|folder| folder.unwrap().path()).max().unwrap()
    }

    /// Puts a record beside the newest backup.
    fn record(&self, name: &str, verdict: &str) {
        std::fs::write(self.newest().join(name), json!({"verdict": verdict}).to_string()).unwrap();
    }
}

#[tokio::test]
async fn a_watch_learns_of_every_collection_without_a_young_good_backup() {
    let peer = Peer::start(&[("docs", 1000), ("logs", 10)]).await;
    let service = Watched::start(&peer.url, |_| ()).await;
    let none = json!({"docs": "missing", "logs": "missing"});
    assert_eq!(service.states("").await, (503, none), "nothing ever ran");
    assert_eq!(service.backup(r#"{"collection": "docs"}"#).await, 200);
    assert_eq!(
        service.states("").await,
        (503, json!({"docs": "fresh", "logs": "missing"}))
    );
    peer.on_create("logs", [Create::Forbidden]);
    assert_eq!(service.backup("").await, 500);
    let partial = json!({"docs": "fresh", "logs": "missing"});
    assert_eq!(
        service.states("").await,
        (503, partial),
        "a partial backup is no good one"
    );
    assert_eq!(service.backup("").await, 200);
    let all = json!({"docs": "fresh", "logs": "fresh"});
    assert_eq!(service.states("").await, (200, all.clone()));
    service.pass(25);
    assert_eq!(service.states("").await, (200, all));
    service.pass(2);
    assert_eq!(
        service.states("").await,
        (503, json!({"docs": "stale", "logs": "stale"}))
    );
    assert_eq!(service.backup(r#"{"collection": "logs"}"#).await, 200);
    let (status, body) = service.fresh("").await;
    assert_eq!(status, 503);
    assert_eq!(
        (&body["max_age_seconds"], &body["expected_by"], &body["verified"]),
        (&json!(93_600), &json!("qdrant"), &json!(false))
    );
    let [docs, logs] = &body["collections"].as_array().unwrap()[..] else {
        panic!("{body}");
    };
    assert_eq!((&docs["state"], &logs["state"]), (&json!("stale"), &json!("fresh")));
    assert!(
        docs["age_seconds"].as_u64().unwrap() >= 27 * 3600 && docs["backup"].is_string(),
        "{body}"
    );
}

#[tokio::test]
async fn a_new_deployment_has_time_for_its_first_backup_and_no_more() {
    let peer = Peer::start(&[("docs", 1000), ("logs", 10)]).await;
    let setup = Setup::over(&peer.url);
    let config = setup.config.clone();
    let service = Watched(setup.start().await);
    service.0.first_start().await;
    let new = json!({"docs": "new", "logs": "new"});
    assert_eq!(service.states("").await, (200, new.clone()));
    assert_eq!(service.states("?verified=true").await, (200, new.clone()));
    service.pass(25);
    let (status, body) = service.fresh("").await;
    assert_eq!((status, &body["fresh"]), (200, &json!(true)), "{body}");
    let due = &body["collections"][0]["due_at"];
    let due = OffsetDateTime::parse(due.as_str().unwrap(), &Rfc3339).unwrap();
    let left = due - service.0.hands.now();
    assert!(
        left > time::Duration::minutes(59) && left < time::Duration::hours(1),
        "{left}"
    );
    // Another instance, and another start, put nothing off.
    let mut other = Setup::over(&peer.url);
    other.config = config;
    let other = Watched(other.start().await);
    other.pass(25);
    assert_eq!(other.states("").await, (200, new));
    // A partial backup ends it.
    peer.on_create("logs", [Create::Forbidden]);
    let partial = Watched(Service::over(&peer.url).await);
    partial.0.first_start().await;
    assert_eq!(partial.states("").await.0, 200);
    assert_eq!(partial.backup("").await, 500);
    let missing = json!({"docs": "missing", "logs": "missing"});
    assert_eq!(partial.states("").await, (503, missing.clone()), "it is known at once");
    for service in [&service, &other] {
        service.pass(1);
        assert_eq!(service.states("").await, (503, missing.clone()));
    }
    let (_, body) = service.fresh("").await;
    assert_eq!(body["collections"][0]["due_at"], Value::Null, "{body}");
}

#[tokio::test]
async fn a_store_that_lost_its_backups_is_no_new_one() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Watched(Service::over(&peer.url).await);
    assert_eq!(service.backup("").await, 200);
    service.pass(27);
    std::fs::remove_dir_all(service.0.dir().join("backups")).unwrap();
    assert_eq!(service.states("").await, (503, json!({"docs": "missing"})));
    // Where there is no such record, and where it tells nothing, nothing has time.
    for since in ["{}", r#"{"at": "2099-01-01T00:00:00Z"}"#] {
        std::fs::write(service.0.dir().join("since.json"), since).unwrap();
        assert_eq!(service.states("").await.0, 503, "{since}");
    }
    // A store that was in use before the record was invented gets none.
    let used = Setup::over(&peer.url);
    let store = used.config.store.url.clone();
    let before = Watched(used.start().await);
    before.0.first_start().await;
    assert_eq!(before.backup("").await, 200);
    std::fs::remove_file(before.0.dir().join("since.json")).unwrap();
    let mut later = Setup::over(&peer.url);
    later.config.store.url = store;
    let later = Watched(later.start().await);
    later.pass(27);
    assert_eq!(later.states("").await, (503, json!({"docs": "stale"})));
    assert!(!before.0.dir().join("since.json").exists());
}

/// Of a start over an empty store, into which a past was copied after it.
#[tokio::test]
async fn a_start_makes_nothing_new_that_older_backups_were_to_have() {
    let peer = Peer::start(&[("docs", 1000), ("logs", 10)]).await;
    let service = Watched(Service::over(&peer.url).await);
    service.0.first_start().await;
    let new = json!({"docs": "new", "logs": "new"});
    assert_eq!(service.states("").await, (200, new));
    let at = service.0.hands.now() - Duration::from_secs(27 * 3600);
    many::write_backup(at, service.0.dir(), &[("docs", 3, 1000)], |_| ());
    let known = json!({"docs": "stale", "logs": "missing"});
    assert_eq!(service.states("").await, (503, known));
}

#[tokio::test]
async fn a_new_collection_has_time_from_the_last_backup_that_would_have_it() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Watched::start(&peer.url, |_| ()).await;
    assert_eq!(service.backup("").await, 200);
    service.pass(2);
    peer.lock().collections.entry("logs".into()).or_default();
    let new = json!({"docs": "fresh", "logs": "new"});
    assert_eq!(service.states("").await, (200, new.clone()));
    // What would not have it proves nothing.
    service.pass(20);
    assert_eq!(service.backup(r#"{"collection": "docs"}"#).await, 200);
    assert_eq!(service.backup(r#"{"exclude": ["l*"]}"#).await, 200);
    peer.on_create("logs", [Create::Forbidden]);
    assert_eq!(service.backup("").await, 500);
    peer.lock().cluster_hidden = true;
    assert_eq!(service.backup(r#"{"include": ["d*"]}"#).await, 200);
    peer.lock().cluster_hidden = false;
    assert_eq!(service.states("").await, (200, new));
    service.pass(4);
    let missing = json!({"docs": "fresh", "logs": "missing"});
    assert_eq!(
        service.states("").await,
        (503, missing),
        "26 h after the backup without it"
    );
    assert_eq!(service.backup("").await, 200);
    let all = json!({"docs": "fresh", "logs": "fresh"});
    assert_eq!(service.states("").await, (200, all.clone()));
    // It is deleted, and comes back after a backup without it.
    let logs = peer.lock().collections.remove("logs").unwrap();
    service.pass(27);
    assert_eq!(service.backup("").await, 200);
    service.pass(1);
    peer.lock().collections.insert("logs".into(), logs);
    let again = json!({"docs": "fresh", "logs": "new"});
    assert_eq!(service.states("").await, (200, again));
    assert_eq!(
        service.states("?verified=true").await.0,
        503,
        "of docs there is no verified one"
    );
}

#[tokio::test]
async fn backups_of_another_qdrant_and_of_a_narrower_key_make_nothing_new() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    for (what, narrower) in [("a key for certain collections", true), ("an unknown Qdrant", false)] {
        let service = Watched::start(&peer.url, |_| ()).await;
        peer.lock().cluster_hidden = narrower;
        assert_eq!(service.backup("").await, 200);
        peer.lock().cluster_hidden = false;
        if !narrower {
            let path = service.newest().join("manifest.json");
            let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            manifest["qdrant"].as_object_mut().unwrap().remove("source");
            std::fs::write(path, manifest.to_string()).unwrap();
        }
        peer.lock().collections.entry("logs".into()).or_default();
        let missing = json!({"docs": "fresh", "logs": "missing"});
        assert_eq!(service.states("").await, (503, missing), "{what}");
        peer.lock().collections.remove("logs");
    }
}

#[tokio::test]
async fn a_backup_that_was_found_damaged_or_failed_a_drill_counts_no_more() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    for (record, verdict, state) in [
        ("verified.json", "intact", "fresh"),
        ("verified.json", "damaged", "missing"),
        ("verified.json", "of a later version", "missing"),
        ("drilled.json", "passed", "fresh"),
        ("drilled.json", "failed", "missing"),
    ] {
        let service = Watched::start(&peer.url, |_| ()).await;
        assert_eq!(service.backup("").await, 200);
        service.record(record, verdict);
        assert_eq!(
            service.states("").await.1,
            json!({"docs": state}),
            "{record}: {verdict}"
        );
    }
}

#[tokio::test]
async fn only_backups_that_were_read_back_count_where_that_is_asked_for() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Watched::start(&peer.url, |_| ()).await;
    assert_eq!(service.backup("").await, 200);
    assert_eq!(service.states("?verified=false").await.0, 200);
    assert_eq!(
        service.states("?verified=true").await,
        (503, json!({"docs": "missing"}))
    );
    service.record("drilled.json", "passed");
    assert_eq!(
        service.states("?verified=true").await.0,
        503,
        "it is verify that counts"
    );
    service.record("verified.json", "intact");
    assert_eq!(service.states("?verified=true").await, (200, json!({"docs": "fresh"})));
    service.pass(20);
    assert_eq!(service.backup("").await, 200);
    service.pass(20);
    assert_eq!(service.states("").await.0, 200);
    assert_eq!(service.states("?verified=true").await, (503, json!({"docs": "stale"})));
    for wrong in ["?verified=yes", "?max_age=1h"] {
        assert_eq!(service.fresh(wrong).await.0, 400, "{wrong}");
    }
}

#[tokio::test]
async fn the_selection_says_what_is_expected() {
    let peer = Peer::start(&[("docs", 1000), ("docs-tmp", 10), ("logs", 10)]).await;
    let service = Watched::start(&peer.url, |s| {
        s.include = names(&["docs*"]);
        s.exclude = names(&["*-tmp"]);
    })
    .await;
    assert_eq!(service.backup("").await, 200);
    assert_eq!(service.states("").await, (200, json!({"docs": "fresh"})));
    peer.lock().collections.clear();
    assert_eq!(service.states("").await, (503, json!({})), "nothing is left to back up");
}

#[tokio::test]
async fn a_qdrant_that_cannot_be_asked_makes_nothing_look_fresher() {
    let peer = Peer::start(&[("docs", 1000), ("logs", 10)]).await;
    let service = Watched::start(&peer.url, |_| ()).await;
    assert_eq!(service.backup("").await, 200);
    peer.lock().api_key = Some("another".into());
    let (status, body) = service.fresh("").await;
    assert_eq!((status, &body["expected_by"]), (200, &json!("last_backup")), "{body}");
    assert_eq!(body["qdrant_error"]["code"], "qdrant_unauthorized");
    service.pass(27);
    assert_eq!(
        service.states("").await,
        (503, json!({"docs": "stale", "logs": "stale"}))
    );
    // A young backup of one collection is not all that there should be.
    peer.lock().api_key = None;
    assert_eq!(service.backup(r#"{"collection": "docs"}"#).await, 200);
    peer.lock().api_key = Some("another".into());
    assert_eq!(
        service.states("").await,
        (503, json!({"docs": "fresh", "logs": "stale"}))
    );
}

#[tokio::test]
async fn nothing_known_and_no_store_are_no_good_news() {
    let service = Watched::start("http://127.0.0.1:1", |_| ()).await;
    let (status, body) = service.fresh("").await;
    assert_eq!(
        (status, &body["expected_by"], &body["collections"]),
        (503, &Value::Null, &json!([])),
        "{body}"
    );
    std::fs::remove_dir_all(service.0.dir()).unwrap();
    let (status, body) = service.fresh("").await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (502, &json!("store_missing")),
        "{body}"
    );
}
