//! What executions record, and when pruning takes it away.

use qdrant_backup::base::clock::Clock;
use qdrant_backup::ops::context::StoreContext;
use qdrant_backup::ops::prune::{self, PruneContext};
use qdrant_backup::ops::retention::Policy;
use qdrant_backup::wire::store::{BytesSource, Condition};
use std::time::Duration;
use testkit::job::{EXECUTION, Execution, TASKS, node, succeeded};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

fn job(bench: &Execution, later: Duration) -> PruneContext {
    PruneContext {
        ctx: StoreContext {
            notify: Default::default(),
            store: bench.store.clone(),
            clock: Clock::new(move || OffsetDateTime::now_utc() + later),
            who: "test".into(),
            lease: Duration::from_secs(30),
        },
        policy: Policy {
            last: 1,
            min_age: Duration::ZERO,
            ..Policy::default()
        },
        only: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_executions_are_pruned_by_age_and_the_backup_is_not() {
    let (node, _data) = node(9).await;
    for bench in Execution::both(&node.url()).await {
        succeeded(&bench.begin(0..TASKS, 0).await.ends().await, "the job");
        let foreign = "jobs/readme.txt";
        let text = Box::new(BytesSource::new("not ours"));
        bench.store.put(foreign, text, Condition::Absent).await.unwrap();

        let young = prune::plan(&job(&bench, Duration::from_secs(23 * 3600))).await.unwrap();
        assert!(young.is_empty(), "{young:?}");
        let job = job(&bench, Duration::from_secs(25 * 3600));
        let plan = prune::plan(&job).await.unwrap();
        assert_eq!((plan.jobs.len(), plan.jobs[0].objects), (1, 10));
        assert_eq!(plan.jobs[0].execution.as_str(), EXECUTION);
        assert_eq!(plan.foreign, [foreign]);
        let mut report = prune::execute(&job, &plan, &CancellationToken::new()).await.unwrap();
        assert!(report.take_error().is_none());
        assert_eq!((report.jobs, report.deleted.len()), (1, 0));
        let left: Vec<_> = bench
            .keys()
            .await
            .into_iter()
            .filter(|k| k.starts_with("jobs/"))
            .collect();
        assert_eq!(left, [foreign]);
        let (code, out, err) = bench.cli(&["verify", "latest"]).await;
        assert_eq!(code, Some(0), "{out}{err}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_execution_that_never_ended_left_is_pruned_by_age() {
    let (node, _data) = node(TASKS).await;
    let bench = Execution::in_directory(&node.url()).await;
    assert_eq!(bench.run(0, 0).await.0, Some(0));
    assert!(prune::plan(&job(&bench, Duration::ZERO)).await.unwrap().is_empty());
    let job = job(&bench, Duration::from_secs(25 * 3600));
    let plan = prune::plan(&job).await.unwrap();
    assert_eq!((plan.jobs.len(), plan.deletions().count()), (1, 1));
    prune::execute(&job, &plan, &CancellationToken::new()).await.unwrap();
    assert_eq!(bench.keys().await, [""; 0]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_tells_of_another_collection_is_no_part() {
    let (node, _data) = node(TASKS).await;
    let bench = Execution::in_directory(&node.url()).await;
    succeeded(&bench.begin(1..TASKS, 0).await.ends().await, "all but the first");
    // What was saved of one collection, said to be another one's: both would be in the backup, and one of them twice.
    let read = |name: &str| {
        let bytes = std::fs::read(bench.dir().join(format!("jobs/{EXECUTION}/parts/{name}.json"))).unwrap();
        serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()
    };
    let (mut one, other) = (read("c01"), read("c02"));
    one["saved"] = other["saved"].clone();
    let path = bench.dir().join(format!("jobs/{EXECUTION}/parts/c01.json"));
    std::fs::write(path, one.to_string()).unwrap();
    let (code, out, err) = bench.run(0, 0).await;
    assert_eq!(code, Some(9), "{out}{err}");
    assert!(err.contains("parts/c01.json") && err.contains("\"c02\""), "{err}");
    assert!(
        !bench.keys().await.iter().any(|key| key.ends_with("manifest.json")),
        "nothing is committed"
    );
    node.stop().await;
}
