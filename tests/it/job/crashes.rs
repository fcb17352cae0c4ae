//! Tasks that are killed at several moments, and tried again.

use crate::job::bench::{Bench, TASKS, node, succeeded};
use crate::support::peer::{Create, Fetch, Peer};
use gcs_emulator::Fault::{SlowCommit, Stall, WithholdAnswer};
use std::sync::Arc;
use tokio::sync::Semaphore;

const COLLECTIONS: u32 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_its_share_a_task_goes_on_where_it_was() {
    let (node, _data) = node(COLLECTIONS).await;
    let moments = [
        ("recording an intent", "p/intents/*/c03-1.json", SlowCommit),
        ("in mid-transfer", "*/c03/collection.snapshot", Stall { after: 1 }),
        // Whether the bucket still makes an object of it is its own affair.
        ("before an object is there", "*/c03/collection.snapshot", SlowCommit),
        ("when an object is there", "*/c03/collection.snapshot", WithholdAnswer),
        ("before a part is there", "*/parts/c11.json", SlowCommit),
        ("when a part is there", "*/parts/c11.json", WithholdAnswer),
    ];
    for (when, pattern, fault) in moments {
        let bench = Bench::in_bucket(&node.url()).await;
        let fault = bench.gcs.as_ref().unwrap().fault(pattern, 1, fault);
        let mut running = bench.begin(0..TASKS, 0).await;
        fault.hit().await;
        running.kill(3).await;
        fault.release();
        succeeded(&running.ends().await, when);
        let complete = bench.parts().await == COLLECTIONS as usize;
        let committed = bench.keys().await.iter().any(|k| k.ends_with("manifest.json"));
        assert!(complete || !committed, "{when}: committed without its share");

        succeeded(&bench.begin([3], 1).await.ends().await, when);
        bench.is_verified(COLLECTIONS, &[3], when).await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_what_is_common_to_all_a_task_is_in_nobodys_way() {
    let (node, _data) = node(COLLECTIONS).await;
    let moments = [
        ("taking the lease", "p/lock.json", SlowCommit),
        ("holding the lease", "p/lock.json", WithholdAnswer),
        ("before the plan is there", "*/plan.json", SlowCommit),
        ("when the plan is there", "*/plan.json", WithholdAnswer),
        ("before the manifest is there", "*/manifest.json", SlowCommit),
        ("when the manifest is there", "*/manifest.json", WithholdAnswer),
    ];
    for (when, pattern, fault) in moments {
        let bench = Bench::in_bucket(&node.url()).await;
        let fault = bench.gcs.as_ref().unwrap().fault(pattern, 1, fault);
        let mut running = bench.begin(0..TASKS, 0).await;
        fault.hit().await;
        let (held, ends) = running.all_but_one().await;
        succeeded(&ends, when);
        running.kill(held).await;
        fault.release();
        let (code, out, err) = bench.run(held, 1).await;
        assert_eq!(code, Some(0), "{when}: {out}{err}");
        bench.is_verified(COLLECTIONS, &[], when).await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_all_at_once_again_and_again_the_tasks_end_with_one_backup() {
    let (node, _data) = node(COLLECTIONS).await;
    for bench in Bench::both(&node.url()).await {
        let mut attempt = 0;
        for parts in [1, 7, 13] {
            let running = bench.begin(0..TASKS, attempt).await;
            while bench.parts().await < parts {
                tokio::task::yield_now().await;
            }
            running.kill_all().await;
            attempt += 1;
        }
        succeeded(&bench.begin(0..TASKS, attempt).await.ends().await, "in the end");
        // Any of them may have been killed between an object and its part.
        let all: Vec<_> = (0..TASKS).collect();
        bench.is_verified(COLLECTIONS, &all, "in the end").await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_task_left_on_qdrant_is_gone_and_its_neighbours_are_not_disturbed() {
    let names: Vec<_> = (0..TASKS).map(crate::job::bench::name).collect();
    let collections: Vec<_> = names.iter().map(|name| (name.as_str(), 100_000)).collect();
    let gate = || (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    for after in [None, Some(0), Some(99_999)] {
        let when = format!("{after:?}");
        let peer = Peer::start(&collections).await;
        let bench = Bench::in_directory(&peer.url).await;
        let (reached, go) = gate();
        let (reached, go) = (reached.clone(), go.clone());
        match after {
            None => peer.on_create(
                "c03",
                [Create::Held {
                    reached: reached.clone(),
                    go: go.clone(),
                }],
            ),
            Some(after) => peer.on_fetch(
                "c03",
                [Fetch::Held {
                    after,
                    reached: reached.clone(),
                    go: go.clone(),
                }],
            ),
        }
        // A neighbour that is at work all the while.
        let (near, on) = gate();
        peer.on_fetch(
            "c04",
            [Fetch::Held {
                after: 50_000,
                reached: near.clone(),
                go: on.clone(),
            }],
        );
        let mut running = bench.begin(0..TASKS, 0).await;
        reached.acquire().await.unwrap().forget();
        near.acquire().await.unwrap().forget();
        running.kill(3).await;
        go.add_permits(1);
        while peer.snapshots("c03").is_empty() {
            tokio::task::yield_now().await; // Qdrant goes on making it
        }
        assert_eq!(bench.run(3, 1).await.0, Some(0), "{when}");
        assert_eq!(
            peer.snapshots("c03"),
            [""; 0],
            "{when}: the dead attempt's snapshot is still on Qdrant"
        );
        assert_eq!(peer.snapshots("c04").len(), 1, "{when}: the neighbour's is not");
        on.add_permits(1);
        succeeded(&running.ends().await, &when);
        assert_eq!(peer.requests("POST /collections/c04/snapshots"), 1, "{when}");
        bench.is_whole(TASKS, &[], &when).await;
    }
}
