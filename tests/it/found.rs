//! Finding a backup without typing its id, and what is said of a name that is wrong.

use serde_json::{Value, json};
use testkit::history::{History, backup, backup_with, id};
use testkit::peer::Peer;
use testkit::process::{command, finish};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

const NOBODY: &str = "http://127.0.0.1:1";

async fn run(history: &History, args: &[&str]) -> (Option<i32>, String, String) {
    finish(command(args, NOBODY, history.dir()).spawn().unwrap()).await
}

/// The id that `show` finds for a text.
async fn shown(history: &History, text: &str) -> Option<String> {
    let (code, out, _) = run(history, &["show", text, "--json"]).await;
    (code == Some(0)).then(|| {
        serde_json::from_str::<Value>(&out).unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned()
    })
}

fn stamped(at: OffsetDateTime) -> String {
    qdrant_backup::repository::names::BackupId::at(at).to_string()
}

#[tokio::test]
async fn the_beginning_of_an_id_is_enough_if_no_other_one_begins_so() {
    let history = History::in_directory().await;
    for id in ["2020-01-01T00-00-00Z", "2020-01-02T00-00-00Z", "2020-01-02T06-00-00Z"] {
        backup(&*history.store, id).await;
    }
    for (text, found) in [
        ("2020-01-01", "2020-01-01T00-00-00Z"),
        ("2020-01-02T06", "2020-01-02T06-00-00Z"),
        ("latest", "2020-01-02T06-00-00Z"),
        // A time: the newest good one until then.
        ("2020-01-02 03:00", "2020-01-02T00-00-00Z"),
        ("2020-01-01T12:00:00Z", "2020-01-01T00-00-00Z"),
        ("90d", "2020-01-02T06-00-00Z"),
    ] {
        assert_eq!(shown(&history, text).await.as_deref(), Some(found), "{text}");
    }
    let (code, _, err) = run(&history, &["show", "2020-01-02"]).await;
    assert_eq!(code, Some(2), "{err}");
    for candidate in ["2020-01-02T00-00-00Z", "2020-01-02T06-00-00Z"] {
        assert!(err.contains(candidate), "{err}");
    }
    assert!(!err.contains("2020-01-01T"), "{err}");
    // None of them, and one that is nearly one of them.
    for text in ["2021", "2020-01-02T06-00-01Z", "1999-01-01 00:00"] {
        let (code, _, err) = run(&history, &["show", text]).await;
        assert_eq!(code, Some(8), "{text}: {err}");
        let meant = err.contains("did you mean 2020-01-02T06-00-00Z?");
        assert_eq!(meant, text.ends_with('Z'), "{text}: {err}");
    }
    assert_eq!(run(&history, &["show", "nonsense"]).await.0, Some(2));
}

#[tokio::test]
async fn yesterday_is_the_only_one_of_that_day() {
    let history = History::in_directory().await;
    let noon = OffsetDateTime::now_utc().replace_time(time::macros::time!(12:00));
    let yesterday = stamped(noon - Duration::days(1));
    for at in [noon - Duration::days(1), noon - Duration::days(2)] {
        backup(&*history.store, &stamped(at)).await;
    }
    assert_eq!(shown(&history, "yesterday").await, Some(yesterday));
    backup(&*history.store, &stamped(noon - Duration::days(1) + Duration::hours(1))).await;
    let (code, _, err) = run(&history, &["show", "yesterday"]).await;
    assert!(code == Some(2) && err.contains("2 backups"), "{err}");
}

#[tokio::test]
async fn every_command_takes_a_short_name_and_says_what_it_means_before_anything_happens() {
    let history = History::in_directory().await;
    backup(&*history.store, "2020-01-01T00-00-00Z").await;
    backup(&*history.store, "2020-01-02T00-00-00Z").await;
    let full = "2020-01-01T00-00-00Z";
    for args in [
        &["pin", "2020-01-01"][..],
        &["unpin", "2020-01-01"],
        &["show", "2020-01-01"],
        &["verify", "2020-01-01"],
        &["delete", "2020-01-01"],
        &["delete", "2020-01-01", "--yes"],
    ] {
        let (_, out, err) = run(&history, args).await;
        assert!(
            err.lines()
                .next()
                .unwrap()
                .contains(&format!("2020-01-01 is backup {full}")),
            "{args:?}: {err}"
        );
        assert!(out.contains(full) || args[0] == "verify", "{args:?}: {out}");
    }
    assert_eq!(history.whole().await, ["2020-01-02T00-00-00Z"]);
}

#[tokio::test]
async fn a_restore_as_of_a_time_takes_the_newest_good_one_until_then() {
    let peer = Peer::start(&[("docs", 1000), ("logs", 10)]).await;
    let dir = tempfile::tempdir().unwrap();
    let run = async |args: &[&str]| finish(command(args, &peer.url, dir.path()).spawn().unwrap()).await;
    let mut made = Vec::new();
    for _ in 0..2 {
        let (code, out, err) = run(&["backup", "--json"]).await;
        assert_eq!(code, Some(0), "{err}");
        let report: Value = serde_json::from_str(&out).unwrap();
        made.push(report["id"].as_str().unwrap().to_owned());
    }
    // The first one is of yesterday, the second one of an hour later.
    let day = OffsetDateTime::now_utc() - Duration::days(1);
    for (id, at) in made.iter().zip([day, day + Duration::hours(1)]) {
        let path = dir.path().join(format!("backups/{id}/manifest.json"));
        let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        manifest["finished_at"] = json!(at.format(&Rfc3339).unwrap());
        std::fs::write(path, manifest.to_string()).unwrap();
    }
    let plan = async |args: &[&str]| {
        let args = [&["restore", "--dry-run", "--json", "--into", "{}-copy"], args].concat();
        let (code, out, err) = run(&args).await;
        let plan = serde_json::from_str::<Value>(&out).unwrap_or_default();
        let names = plan["collections"].as_array().map(|steps| steps.len());
        (code, plan["id"].as_str().unwrap_or_default().to_owned(), names, err)
    };
    let between = (day + Duration::minutes(30)).format(&Rfc3339).unwrap();
    for (args, id, count) in [
        (&["--at", between.as_str()][..], &made[0], 2),
        // What would be the id is the first collection then.
        (&["docs", "--at", &between], &made[0], 1),
        (&["latest", "docs", "--at", &between], &made[0], 1),
        (&["--at", "1h"], &made[1], 2),
        (&["23h"], &made[1], 2),
    ] {
        let (code, found, names, err) = plan(args).await;
        assert_eq!((code, &found, names), (Some(0), id, Some(count)), "{args:?}: {err}");
    }
    let (code, _, _, err) = plan(&["--at", "30d"]).await;
    assert_eq!(code, Some(8), "{err}");
    assert!(err.contains("the oldest is"), "{err}");
    let (code, _, _, err) = plan(&["--at", "noon"]).await;
    assert_eq!(code, Some(2), "{err}");
    let (code, _, _, err) = plan(&[]).await;
    assert_eq!(code, Some(2), "neither an id nor a time: {err}");
}

#[tokio::test]
async fn a_misspelled_collection_is_understood_and_a_pattern_is_told_where_it_belongs() {
    let peer = Peer::start(&[("articles", 1000), ("tiny", 10)]).await;
    let dir = tempfile::tempdir().unwrap();
    let run = async |args: &[&str]| finish(command(args, &peer.url, dir.path()).spawn().unwrap()).await;
    assert_eq!(run(&["backup"]).await.0, Some(0));
    for (args, told) in [
        (&["backup", "artcles"][..], "did you mean \"articles\"?"),
        (&["backup", "ti*"], "--include 'ti*'"),
        (
            &["restore", "latest", "--into", "x", "--overwrite-only", "tinny", "tiny"],
            "did you mean \"tiny\"?",
        ),
    ] {
        let (code, _, err) = run(args).await;
        assert_eq!(code, Some(8), "{args:?}: {err}");
        assert!(err.contains(told), "{args:?}: {err}");
    }
    // The collection is asked for by its name, so it is the backup by whose id.
    let id = std::fs::read_dir(dir.path().join("backups"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .file_name();
    let (code, _, err) = run(&["restore", id.to_str().unwrap(), "Articles"]).await;
    assert!(code == Some(8) && err.contains("did you mean \"articles\"?"), "{err}");
    let (code, _, err) = run(&["restor"]).await;
    assert!(code == Some(2) && err.contains("'restore'"), "{err}");
}

#[tokio::test]
async fn a_list_says_that_it_is_cut_and_selects() {
    let history = History::in_directory().await;
    let store = &*history.store;
    for day in 1..=5 {
        let id = format!("2020-01-0{day}T00-00-00Z");
        backup_with(store, &id, |manifest| {
            if day % 2 == 0 {
                manifest.status = qdrant_backup::repository::manifest::Status::Partial;
            }
        })
        .await;
    }
    let ids = async |args: &[&str]| {
        let (code, out, err) = run(&history, &[&["list", "--json"], args].concat()).await;
        assert_eq!(code, Some(0), "{err}");
        let list: Value = serde_json::from_str(&out).unwrap();
        let ids = list["backups"].as_array().unwrap().iter();
        let days: Vec<_> = ids.map(|b| b["id"].as_str().unwrap()[9..10].to_owned()).collect();
        (days.concat(), list["is_cut"].as_bool().unwrap())
    };
    for (args, days, is_cut) in [
        (&[][..], "54321", false),
        (&["--limit", "5"], "54321", false),
        (&["--limit", "2"], "54", true),
        (&["--good"], "531", false),
        (&["--collection", "docs", "--limit", "1"], "5", true),
        (&["--collection", "none"], "", false),
        (&["--since", "2020-01-03"], "543", false),
        (&["--since", "2020-01-03T00:00:01Z"], "54", false),
    ] {
        let (found, cut) = ids(args).await;
        assert_eq!((found.as_str(), cut), (days, is_cut), "{args:?}");
    }
    let (_, out, _) = run(&history, &["list", "--limit", "2"]).await;
    assert!(out.contains("--limit 10 shows more"), "{out}");
    let (_, out, _) = run(&history, &["list"]).await;
    assert!(!out.contains("--limit"), "{out}");
    let (_, out, _) = run(&history, &["list", "--collection", "dosc"]).await;
    assert!(out.contains("did you mean \"docs\"?"), "{out}");
    assert_eq!(run(&history, &["list", "--since", "noon"]).await.0, Some(2));
}

#[tokio::test]
async fn the_list_shows_when_by_the_clock_there() {
    let history = History::in_directory().await;
    let at = OffsetDateTime::now_utc().replace_time(time::macros::time!(20:30)) - Duration::days(2);
    backup(&*history.store, &stamped(at)).await;
    let header = async |zone: Option<&str>, args: &[&str]| {
        let mut command = command(&[&["list"], args].concat(), NOBODY, history.dir());
        command.envs(zone.map(|zone| ("TZ", zone)));
        let (code, out, err) = finish(command.spawn().unwrap()).await;
        assert_eq!(code, Some(0), "{err}");
        let lines: Vec<_> = out.lines().map(str::to_owned).collect();
        (lines[0].clone(), lines[1].clone())
    };
    let shown = |at: OffsetDateTime| {
        let (month, day) = (u8::from(at.month()), at.day());
        format!("  {month:02}-{day:02} {:02}:{:02}  ", at.hour(), at.minute())
    };
    for (zone, args, name, at) in [
        (Some("AAA-8"), &[][..], "+08:00", at + Duration::hours(8)),
        (Some("AAA-8"), &["--utc"], "UTC", at),
        (Some("UTC0"), &[], "UTC", at),
        // A name that no database here has.
        (Some(":Nowhere/Land"), &["--utc"], "UTC", at),
    ] {
        let (header, line) = header(zone, args).await;
        assert!(header.contains(name), "{zone:?}: {header}");
        assert!(line.contains(&shown(at)), "{zone:?}: {line}");
    }
    assert_eq!(id(&stamped(at)).time().hour(), 20);
}
