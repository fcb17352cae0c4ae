//! The fault table of a cluster's backup: one fault after the other in the way of real streams, into either store.

use super::transfer;
use crate::screens::holds;
use futures_util::FutureExt;
use qdrant_backup::base::error::{Error, Result};
use qdrant_backup::ops::backup::BackupReport;
use qdrant_backup::repository::unit::SnapshotMode;
use qdrant_backup::wire::qdrant::Options;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::bench::Bench;
use testkit::cluster::{Nodes, automatic, left, qdrant_with};
use testkit::faulty::{Twist, twisted};
use testkit::proxy::{Fault, Proxy, entries};
use testkit::sample::Client;
use testkit::store::{TestStore, keys};
use tokio::sync::Semaphore;

/// As often as a shard is tried.
const ATTEMPTS: usize = 2;
/// Of the shard that the second node is asked for.
const STREAM: &str = "GET /collections/auto/shards/1/snapshot";

/// What must become of a fault.
struct Case {
    fault: &'static str,
    caught_by: &'static str,
    /// Of the collection, or of the run if that was refused; none: it is saved all the same.
    code: Option<&'static str>,
    exit: u8,
    befall: Befall,
}

/// How it is made.
enum Befall {
    /// Each stream of shard 1 from the second node.
    Stream(Fault),
    /// While the first stream of shard 1 is held: this happens to the cluster.
    While(fn(&Nodes)),
    /// The second node ends.
    Down(When),
    /// The second address balances over both nodes.
    Balanced,
    /// A peer that is not among the addresses.
    Peer,
    /// The second node is of this release.
    Release(&'static str),
}

#[derive(PartialEq, Eq)]
enum When {
    Before,
    /// After shard 0 was saved from the first one.
    Between,
}

const CUT_AT: usize = 20_000;

fn cases() -> Vec<Case> {
    let case = |fault, caught_by, code: &'static str, exit, befall| Case {
        fault,
        caught_by,
        code: Some(code).filter(|code| !code.is_empty()),
        exit,
        befall,
    };
    let stream = Befall::Stream;
    let structure = "the structure of the archive";
    vec![
        case(
            "a second stream with 0 bytes that ends",
            structure,
            "length_mismatch",
            4,
            stream(Fault::CleanEnd(0)),
        ),
        case(
            "a clean end in mid-entry",
            structure,
            "length_mismatch",
            4,
            stream(Fault::CleanEnd(CUT_AT)),
        ),
        case(
            "an error in mid-stream",
            "the connection",
            "qdrant_unreachable",
            4,
            stream(Fault::Cut(CUT_AT)),
        ),
        case(
            "a stall in mid-stream",
            "the idle deadline",
            "stalled",
            4,
            stream(Fault::Stall(CUT_AT)),
        ),
        case(
            "a second stream with 0 bytes that stays open",
            "the first-byte deadline",
            "stalled",
            4,
            stream(Fault::Stall(0)),
        ),
        case(
            "the stream refused (503)",
            "the answer",
            "qdrant_unreachable",
            4,
            stream(Fault::Answer(503, "busy")),
        ),
        case(
            "the replica turns Dead in mid-stream, another is Active",
            "the shard map after it",
            "",
            0,
            Befall::While(|nodes| nodes.cluster.set_state("auto", 1, 2, "Dead")),
        ),
        case(
            "all replicas turn Dead in mid-stream",
            "the shard map after it",
            "unsupported",
            4,
            Befall::While(|nodes| {
                [1, 2]
                    .iter()
                    .for_each(|peer| nodes.cluster.set_state("auto", 1, *peer, "Dead"))
            }),
        ),
        case(
            "a transfer starts in mid-stream",
            "the shard map after it",
            "unsupported",
            4,
            Befall::While(|nodes| nodes.cluster.set_transfers("auto", transfer(1, 2, 1))),
        ),
        case(
            "resharding starts in mid-stream",
            "the shard map after it",
            "unsupported",
            4,
            Befall::While(|nodes| {
                nodes
                    .cluster
                    .set_resharding("auto", Some(serde_json::json!([{"direction": "up"}])))
            }),
        ),
        case(
            "a node is down",
            "the plan",
            "qdrant_unreachable",
            6,
            Befall::Down(When::Before),
        ),
        case(
            "a node goes down in mid-run",
            "the optimizations afterwards",
            "qdrant_failed",
            4,
            Befall::Down(When::Between),
        ),
        case(
            "a load balancer in front",
            "the plan",
            "config_invalid",
            2,
            Befall::Balanced,
        ),
        case("a peer is missing", "the plan", "config_invalid", 2, Befall::Peer),
        case(
            "a node of a release that must not stream",
            "the plan",
            "unsupported",
            6,
            Befall::Release("1.16.3"),
        ),
        case(
            "a node of another patch release",
            "the plan, which warns",
            "",
            0,
            Befall::Release("1.18.2"),
        ),
    ]
}

/// Two nodes behind a proxy each, a collection of two shards with a replica on both, and a store.
struct Site {
    nodes: Nodes,
    proxies: Vec<Proxy>,
    bench: Bench,
    store: TestStore,
}

impl Site {
    async fn new(store: TestStore, release: &str) -> Self {
        let nodes = Nodes::of_releases(&["1.18.3", release]).await;
        automatic(&nodes.client(), "auto", 2, 2, 40).await;
        let mut proxies = Vec::new();
        for url in nodes.urls() {
            proxies.push(Proxy::before(&url).await);
        }
        let mut bench = Bench::new(&proxies[0].url).await;
        bench.ctx.store = store.store.clone();
        bench.ctx.settings.mode = SnapshotMode::Stream;
        bench.ctx.settings.concurrency = 1;
        bench.ctx.settings.attempts = ATTEMPTS as u32;
        let mut site = Self {
            nodes,
            proxies,
            bench,
            store,
        };
        site.ask(&[site.proxies[0].url.clone(), site.proxies[1].url.clone()], |_| {});
        site
    }

    fn ask(&mut self, urls: &[String], change: impl FnOnce(&mut Options)) {
        self.bench.ctx.qdrant = qdrant_with(urls, change);
    }

    /// Backs up while it befalls.
    async fn run(&mut self, befall: &Befall) -> Result<BackupReport> {
        let through = self.proxies.iter().map(|proxy| proxy.url.clone()).collect::<Vec<_>>();
        match befall {
            Befall::Stream(fault) => {
                if let Fault::Stall(_) = fault {
                    self.ask(&through, |options| {
                        (options.idle, options.first_byte) = (Duration::from_millis(300), Duration::from_millis(300));
                    });
                }
                self.proxies[1].on(STREAM, vec![fault.clone(); ATTEMPTS]);
                self.bench.run().await
            }
            Befall::While(change) => {
                let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
                let held = Fault::Held {
                    after: CUT_AT,
                    reached: reached.clone(),
                    go: go.clone(),
                };
                self.proxies[1].on(STREAM, [held]);
                let meanwhile = async {
                    reached.acquire().await.unwrap().forget();
                    change(&self.nodes);
                    go.add_permits(1);
                };
                tokio::join!(self.bench.run(), meanwhile).0
            }
            Befall::Down(When::Before) => {
                let urls = self.nodes.urls();
                self.ask(&urls, |_| {});
                self.nodes.end(2).await;
                self.bench.run().await
            }
            Befall::Down(When::Between) => {
                let urls = self.nodes.urls();
                self.ask(&urls, |_| {});
                let second = Mutex::new(self.nodes.nodes.pop());
                self.bench.ctx.store = twisted(&self.store.store.clone(), move |key| {
                    match key
                        .contains("/shard-0")
                        .then(|| second.lock().unwrap().take())
                        .flatten()
                    {
                        Some((node, data)) => Twist::After(
                            async move {
                                node.stop().await;
                                drop(data);
                            }
                            .boxed(),
                        ),
                        None => Twist::None,
                    }
                });
                self.bench.run().await
            }
            Befall::Balanced => {
                let balanced = Proxy::balancing(self.nodes.urls()).await;
                self.ask(&[through[0].clone(), balanced.url], |_| {});
                self.bench.run().await
            }
            Befall::Peer => {
                self.nodes.cluster.add_peer(77, "http://qdrant-2.qdrant-headless:6335/");
                self.bench.run().await
            }
            Befall::Release(_) => self.bench.run().await,
        }
    }

    /// That the run left no snapshot on a node that is up, and in the store neither a lease nor an intent.
    async fn is_clean(&self, fault: &str) {
        for url in self.nodes.urls() {
            assert_eq!(left(&[url], "auto").await, [""; 0], "{fault}");
        }
        let found = keys(&*self.store.store, "").await;
        let of_runs = |key: &&String| key.starts_with("intents/") || *key == "lock.json";
        assert_eq!(found.iter().find(of_runs), None, "{fault}");
    }

    async fn has_manifest(&self) -> bool {
        keys(&*self.store.store, "")
            .await
            .iter()
            .any(|key| key.ends_with("manifest.json"))
    }

    /// Whether there is anything of the shard that the fault was in the way of.
    async fn has_shard(&self) -> bool {
        keys(&*self.store.store, "")
            .await
            .iter()
            .any(|key| key.contains("/shard-1"))
    }
}

/// What a run came to: the code of its collection, or its own, and the exit code.
fn outcome(result: &Result<BackupReport>) -> (Option<String>, u8) {
    let told = |error: &Error| (Some(error.code().to_string()), error.exit_code());
    match result {
        Err(error) => told(error),
        Ok(report) => match report.error() {
            None => (None, 0),
            Some(error) => (Some(report.failed[0].error.code.to_string()), error.exit_code()),
        },
    }
}

async fn caught(case: &Case, store: TestStore) {
    let Case { fault, befall, .. } = case;
    let release = match befall {
        Befall::Release(release) => release,
        _ => "1.18.3",
    };
    let mut site = Site::new(store, release).await;
    let result = site.run(befall).await;
    let (code, exit) = outcome(&result);
    assert_eq!((code.as_deref(), exit), (case.code, case.exit), "{fault}: {result:?}");
    assert_eq!(site.has_manifest().await, case.code.is_none(), "{fault}: {result:?}");
    if let Befall::Stream(_) | Befall::Down(_) = befall {
        assert!(!site.has_shard().await, "{fault}: published");
    }
    if let (Ok(report), None) = (&result, case.code) {
        let manifest = site.bench.manifest(report).await;
        let from: Vec<_> = manifest.collections[0].artifacts.iter().map(|a| a.node).collect();
        match befall {
            Befall::While(_) => assert_eq!(from, [Some(1), Some(1)], "{fault}: from the other one"),
            _ => assert_eq!((from.len(), report.warnings.len()), (2, 1), "{fault}: {report:?}"),
        }
    }
    site.is_clean(fault).await;
}

#[tokio::test]
async fn every_fault_of_a_cluster_is_caught_and_publishes_nothing() {
    let mut table = "| fault | caught by | code | exit | published |\n|---|---|---|---|---|\n".to_owned();
    let mut missed = Vec::new();
    for case in cases() {
        for store in [TestStore::in_directory().await, TestStore::in_emulator().await] {
            let caught = AssertUnwindSafe(Box::pin(caught(&case, store))).catch_unwind().await;
            missed.extend(caught.is_err().then_some(case.fault));
        }
        let published = match case.code {
            None => "a whole backup",
            Some(_) => "nothing",
        };
        let code = case.code.unwrap_or("none");
        table += &format!(
            "| {} | {} | {code} | {} | {published} |\n",
            case.fault, case.caught_by, case.exit
        );
    }
    assert_eq!(missed, [""; 0]);
    holds("faults_of_a_cluster", &table);
}

#[tokio::test]
async fn a_stream_that_ends_cleanly_at_any_entry_publishes_nothing() {
    for store in [TestStore::in_directory().await, TestStore::in_emulator().await] {
        let site = Site::new(store, "1.18.3").await;
        let url = format!("{}/collections/auto/shards/1/snapshot", site.nodes.url(2));
        let whole = Client::new(site.nodes.url(2), None).http.get(url).send().await.unwrap();
        let entries = entries(&whole.bytes().await.unwrap()).len();
        assert!(entries > 10, "{entries}");
        for entry in 0..entries {
            site.proxies[1].on(STREAM, vec![Fault::EndAtEntry(entry); ATTEMPTS]);
            let result = site.bench.run().await;
            let expected = (Some("length_mismatch".to_owned()), 4);
            assert_eq!(outcome(&result), expected, "entry {entry} of {entries}: {result:?}");
            assert!(!site.has_manifest().await && !site.has_shard().await, "entry {entry}");
            site.is_clean("at an entry").await;
        }
        // It was these ends.
        let report = site.bench.run().await.unwrap();
        assert!(report.error().is_none() && site.has_manifest().await, "{report:?}");
    }
}
