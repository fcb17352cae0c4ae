//! Executions in which nothing goes wrong, and what the tool says of the backup afterwards.

use qdrant_backup::repository::catalog;
use serde_json::Value;
use testkit::job::{EXECUTION, Execution, TASKS, end_of, name, node, share, succeeded};

#[tokio::test(flavor = "multi_thread")]
async fn eight_processes_make_one_backup() {
    let (node, _data) = node(20).await;
    for bench in Execution::both(&node.url()).await {
        let ends = bench.begin(0..TASKS, 0).await.ends().await;
        let reports = succeeded(&ends, "all at once");
        for (task, report) in (0..).zip(&reports) {
            let saved = report["saved"].as_array().unwrap().iter();
            let saved: Vec<_> = saved.map(|s| s["name"].as_str().unwrap().to_owned()).collect();
            assert_eq!(saved, share(task, 20), "task {task}");
            assert_eq!(report["execution"], EXECUTION);
        }
        let committed: Vec<_> = reports.iter().filter(|r| r["committed"] == true).collect();
        assert_eq!(committed.len(), 1, "{reports:?}");
        assert_eq!(committed[0]["backup"]["collections"].as_array().unwrap().len(), 20);

        let manifest = bench.is_whole(20, &[], "all at once").await;
        let points: Vec<_> = manifest.collections.iter().map(|c| c.points_after).collect();
        assert_eq!(points, (0..20).collect::<Vec<u64>>());
        assert_eq!(manifest.extra["job"]["committed_by_task"], committed[0]["task"]);
        bench.is_verified(20, &[], "all at once").await;
        let (code, out, err) = bench.cli(&["show", "latest", "--json"]).await;
        assert_eq!(code, Some(0), "{err}");
        let shown: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(shown["id"], manifest.id.to_string());
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_after_the_other_only_the_last_one_commits() {
    let (node, _data) = node(10).await;
    let bench = Execution::in_directory(&node.url()).await;
    for task in 0..TASKS {
        assert_eq!(
            catalog::list(&*bench.store, 9, time::OffsetDateTime::now_utc())
                .await
                .unwrap()
                .len(),
            0,
            "before task {task}"
        );
        let (code, out, err) = bench.run(task, 0).await;
        assert_eq!(code, Some(0), "{out}{err}");
        let report: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(report["committed"], task == TASKS - 1, "{report}");
        assert_eq!(report["backup"].is_null(), task != TASKS - 1, "{report}");
    }
    bench.is_verified(10, &[], "one after the other").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_without_a_collection_are_not_waited_for() {
    let (node, _data) = node(3).await;
    let bench = Execution::in_bucket(&node.url()).await;
    // The others never start.
    for task in 0..3 {
        assert_eq!(bench.run(task, 0).await.0, Some(0));
    }
    bench.is_verified(3, &[], "without the idle ones").await;
    // When they do, all is done.
    let before = bench.keys().await;
    succeeded(&bench.begin(3..TASKS, 0).await.ends().await, "idle");
    assert_eq!(bench.keys().await, before);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_that_has_ended_is_left_as_it_is() {
    let (node, _data) = node(9).await;
    for bench in Execution::both(&node.url()).await {
        succeeded(&bench.begin(0..TASKS, 0).await.ends().await, "first");
        let before = versions(&bench).await;
        let reports = succeeded(&bench.begin(0..TASKS, 1).await.ends().await, "again");
        assert_eq!(versions(&bench).await, before);
        for report in reports {
            assert_eq!(report["backup"]["status"], "complete", "{report}");
        }
    }
    node.stop().await;
}

async fn versions(bench: &Execution) -> Vec<(String, String)> {
    let mut versions = Vec::new();
    for key in bench.keys().await {
        let version = bench.store.head(&key).await.unwrap().unwrap().version;
        versions.push((key, version.0));
    }
    versions
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_task_that_commits_prunes() {
    let (node, _data) = node(8).await;
    let bench = Execution::in_directory(&node.url()).await;
    let (code, _, err) = bench.cli(&["backup"]).await;
    assert_eq!(code, Some(0), "{err}");
    let old = bench.manifest().await;
    for task in 0..TASKS {
        let mut command = bench.task(task, 0);
        command
            .env("RETAIN_LAST", "1")
            .env("RETAIN_MIN_AGE_HOURS", "0")
            .env("PRUNE_AFTER_BACKUP", "true");
        let (code, out, err) = end_of(command).await;
        assert_eq!(code, Some(0), "{out}{err}");
        let there = bench.store.head(&old.id.manifest()).await.unwrap().is_some();
        assert_eq!(there, task != TASKS - 1, "after task {task}: {out}{err}");
    }
    bench.is_whole(8, &[], "pruned").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_tasks_are_told_must_fit_together() {
    let (node, _data) = node(2).await;
    let bench = Execution::in_directory(&node.url()).await;
    let run = async |changes: &[(&str, &str)]| {
        let mut command = bench.task(0, 0);
        command.envs(changes.iter().copied());
        end_of(command).await
    };
    for (variable, value) in [
        ("CLOUD_RUN_EXECUTION", "../x"),
        ("CLOUD_RUN_TASK_COUNT", "0"),
        ("CLOUD_RUN_TASK_INDEX", "8"),
        ("CLOUD_RUN_TASK_INDEX", "-1"),
        ("CLOUD_RUN_TASK_INDEX", ""),
        ("CLOUD_RUN_TASK_ATTEMPT", "x"),
        ("BACKUP_JOB_MAX_RETRIES", "many"),
    ] {
        let (code, _, err) = run(&[(variable, value)]).await;
        assert_eq!(code, Some(2), "{variable}={value}: {err}");
        assert!(err.contains(variable), "{err}");
    }
    assert_eq!(bench.keys().await, [""; 0], "nothing was begun");

    assert_eq!(run(&[]).await.0, Some(0));
    for (variable, value) in [("CLOUD_RUN_TASK_COUNT", "9"), ("BACKUP_INCLUDE", "c*")] {
        let (code, _, err) = run(&[(variable, value)]).await;
        assert_eq!(code, Some(2), "{variable}={value}: {err}");
        assert!(err.contains(EXECUTION) && err.contains(value), "{err}");
    }
    assert_eq!(bench.run(1, 0).await.0, Some(0));
    bench.is_whole(2, &[], "in the end").await;
    assert_eq!(name(1), share(1, 2)[0]);
    node.stop().await;
}
