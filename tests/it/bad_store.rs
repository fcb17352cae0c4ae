//! A backup into a bucket that is not there, or that refuses: what the person is told, and that nothing is left anywhere.

use gcs_emulator::{Emulator, Fault, On};
use serde_json::Value;
use testkit::peer::Peer;
use testkit::process::{command, finish};
use testkit::service::Service;

const BUCKET: &str = "test-bucket";

/// What is wrong with the bucket, and what comes of it.
struct Case {
    what: &'static str,
    is_there: bool,
    spoil: fn(&Emulator),
    /// Code, exit code and status of the run.
    run: (&'static str, i32, u16),
    /// Code of the collection in the report, if it comes that far.
    collection: Option<&'static str>,
    /// What a person has to be told.
    words: &'static [&'static str],
}

const CASES: [Case; 4] = [
    Case {
        what: "there is no such bucket",
        is_there: false,
        spoil: |_| (),
        run: ("store_missing", 7, 502),
        collection: None,
        words: &["gcloud storage buckets create gs://test-bucket"],
    },
    Case {
        what: "no object may be created",
        is_there: true,
        spoil: |gcs| gcs.deny("storage.objects.create"),
        run: ("store_forbidden", 7, 502),
        collection: None,
        words: &["storage.objects.create"],
    },
    Case {
        what: "nothing may be done at all",
        is_there: true,
        spoil: |gcs| {
            let refuses = Fault::Status { on: On::Any, code: 403 };
            gcs.fault("*", usize::MAX, refuses);
        },
        run: ("store_forbidden", 7, 502),
        collection: None,
        words: &["storage.objects."],
    },
    Case {
        what: "only snapshots are refused",
        is_there: true,
        spoil: |gcs| {
            let refuses = Fault::Status {
                on: On::Start,
                code: 403,
            };
            gcs.fault("*.snapshot", usize::MAX, refuses);
        },
        run: ("backup_failed", 4, 500),
        collection: Some("store_forbidden"),
        words: &["storage.objects.create"],
    },
];

/// Nothing is in the bucket, and nothing of it on Qdrant.
fn nothing_is_left(case: &Case, gcs: &Emulator, peer: &Peer) {
    let what = case.what;
    if case.is_there {
        let left: Vec<_> = gcs.objects(BUCKET).into_iter().map(|o| o.name).collect();
        // That of the service's start and what a run tells of itself are no part of a backup.
        let is_apart = |name: &str| name.ends_with("/since.json") || name.starts_with("p/runs/");
        let left: Vec<_> = left.iter().filter(|name| !is_apart(name)).collect();
        assert_eq!(left, [""; 0], "{what}");
    }
    assert_eq!(peer.snapshots("c"), [""; 0], "{what}");
    let made = peer.requests("POST /collections/c/snapshots");
    assert_eq!(
        made > 0,
        case.collection.is_some(),
        "{what}: Qdrant makes no snapshot in vain"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_into_a_bad_bucket_names_it_with_a_remedy_and_leaves_nothing_behind() {
    for case in CASES {
        let what = case.what;
        let peer = Peer::start(&[("c", 1 << 20)]).await;
        let gcs = Emulator::start().await.unwrap();
        if case.is_there {
            gcs.create_bucket(BUCKET);
        }
        (case.spoil)(&gcs);
        let store = format!("gs://{BUCKET}/p");
        let env = [
            ("QDRANT_URL", peer.url.as_str()),
            ("BACKUP_STORE", &store),
            ("STORAGE_EMULATOR_HOST", gcs.url()),
        ];
        let (code, exit, status) = case.run;

        let mut backup = command(&["backup"], &peer.url, std::path::Path::new("/"));
        let (exited, out, err) = finish(backup.envs(env).spawn().unwrap()).await;
        let text = out + &err;
        assert_eq!(exited, Some(exit), "{what}: {text}");
        for word in [&[BUCKET], case.words].concat() {
            assert!(text.contains(word), "{what}: {word:?} is missing: {text}");
        }
        nothing_is_left(&case, &gcs, &peer);

        let service = Service::start(&env).await;
        let (got, answer) = service.post("/backup", "").await;
        assert_eq!(
            (got, answer["error"]["code"].as_str()),
            (status, Some(code)),
            "{what}: {answer}"
        );
        let told = match case.collection {
            None => &answer["error"],
            Some(_) => &answer["report"]["failed"][0],
        };
        let (message, remedy) = (text_of(told, "message"), text_of(told, "remedy"));
        assert_eq!(told["code"], case.collection.unwrap_or(code), "{what}: {answer}");
        assert!(message.contains(BUCKET), "{what}: {answer}");
        for word in case.words {
            assert!(remedy.contains(word), "{what}: {word:?} is missing: {answer}");
        }
        nothing_is_left(&case, &gcs, &peer);
    }
}

fn text_of<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field}: {value}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_401_that_passes_costs_no_collection_and_no_second_snapshot() {
    let peer = Peer::start(&[("c", 1 << 20)]).await;
    let gcs = Emulator::start().await.unwrap();
    gcs.create_bucket(BUCKET);
    let once = |pattern: &str, on| gcs.fault(pattern, 1, Fault::Status { on, code: 401 });
    let armed = [
        once("*", On::List),
        once("*/lock.json", On::Start),
        once("*.snapshot", On::Put),
        once("*/manifest.json", On::Put),
        once("*", On::Delete),
    ];
    let store = format!("gs://{BUCKET}/p");
    let env = [("BACKUP_STORE", store.as_str()), ("STORAGE_EMULATOR_HOST", gcs.url())];
    let mut backup = command(&["backup"], &peer.url, std::path::Path::new("/"));
    let (exited, out, err) = finish(backup.envs(env).spawn().unwrap()).await;
    assert_eq!(exited, Some(0), "{out}{err}");
    assert_eq!(armed.map(|fault| fault.left()), [0; 5], "each happened");
    assert_eq!(peer.requests("POST /collections/c/snapshots"), 1);
}
