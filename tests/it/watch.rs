//! `watch`: a run of another process is followed by what it tells in the store.

use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use testkit::peer::{Create, Fetch, Peer};
use testkit::process::{command, finish};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::sync::Semaphore;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_another_process_is_followed_to_its_end_and_ended_as_it_did() {
    let peer = Peer::start(&[("a", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let watch = |args: &[&str]| command(&[&["watch"], args].concat(), &peer.url, dir.path());
    let (code, _, err) = finish(watch(&[]).spawn().unwrap()).await;
    assert_eq!(code, Some(8), "{err}");
    assert!(err.contains("no run that is at work"), "{err}");

    for (fetches, exit, state) in [(vec![], 0, "succeeded"), (vec![Fetch::FlipBit(7); 20], 4, "failed")] {
        let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (at, then) = (reached.clone(), go.clone());
        peer.on_create("a", [Create::Held { reached: at, go: then }]);
        peer.on_fetch("a", fetches);
        let run = command(&["backup"], &peer.url, dir.path()).spawn().unwrap();
        let _reached = reached.acquire().await.unwrap();
        // Its first record comes a second later.
        while !tells_of_a_run(dir.path()) {
            tokio::task::yield_now().await;
        }
        let mut watched = watch(&["--json", "--progress", "json"]);
        let mut watched = watched.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(watched.stderr.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (told["operation"].as_str(), told["event"].is_string()),
            (Some("backup"), true),
            "{line}"
        );
        go.add_permits(1);

        let (code, out, err) = finish(run).await;
        assert_eq!(code, Some(exit), "{out}{err}");
        let mut out = String::new();
        watched.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
        let told: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(told["state"], state, "{out}");
        assert!(
            told["backup_id"].is_string() && told["error"].is_null() == (exit == 0),
            "{out}"
        );
        assert_eq!(watched.wait().await.unwrap().code(), Some(exit), "{out}");
        // By its id it is still told.
        let (code, out, _) = finish(watch(&[told["id"].as_str().unwrap()]).spawn().unwrap()).await;
        assert!(code == Some(exit) && out.contains(state), "{out}");
    }
    let (code, _, err) = finish(watch(&["2020-01-01T00-00-00Z-backup-1a2b3c4d"]).spawn().unwrap()).await;
    assert_eq!(code, Some(8), "{err}");
}

/// Whether a record says that a run is at work.
fn tells_of_a_run(store: &Path) -> bool {
    let Ok(records) = std::fs::read_dir(store.join("runs")) else {
        return false;
    };
    records.filter_map(Result::ok).any(|record| {
        let text = std::fs::read_to_string(record.path()).unwrap_or_default();
        serde_json::from_str::<Value>(&text).is_ok_and(|record| record["state"] == "running")
    })
}
