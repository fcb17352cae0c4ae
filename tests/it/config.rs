//! The configuration as an operator meets it: what the variables mean, and what is said when they are wrong.

use qdrant_backup::base::error::{Code, Error};
use qdrant_backup::config::{Config, Invalid, LogConfig, LogFormat, QdrantConfig, StoreConfig, obsolete, unknown};
use qdrant_backup::repository::unit::SnapshotMode;
use qdrant_backup::server::auth::{Mode, Role, Roles, Rules};
use secrecy::ExposeSecret;
use std::time::Duration;

const SECRET: &str = "s3cr3t-key";

fn env<'a>(vars: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
    |name| {
        vars.iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| (*value).to_owned())
    }
}

fn config(vars: &[(&str, &str)]) -> Result<Config, Invalid> {
    Config::from_env(&env(vars))
}

/// The variables that are complained of.
fn complaints(vars: &[(&str, &str)]) -> Vec<&'static str> {
    let Invalid(problems) = config(vars).unwrap_err();
    for problem in &problems {
        assert!(!problem.remedy.is_empty() && !problem.wrong.is_empty(), "{problem}");
        assert!(!problem.to_string().contains(SECRET), "a secret is shown: {problem}");
    }
    problems.iter().map(|problem| problem.variable).collect()
}

const MINIMAL: [(&str, &str); 2] = [("QDRANT_URL", "http://q:6333"), ("BACKUP_STORE", "gs://b/p")];

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    more.iter().copied().chain(MINIMAL).collect()
}

#[test]
fn two_variables_are_enough_and_the_rest_has_defaults() {
    let config = config(&MINIMAL).unwrap();
    assert_eq!(config.qdrant.url.as_str(), "http://q:6333/");
    assert!(config.qdrant.api_key.is_none());
    assert_eq!(config.qdrant.idle, Duration::from_secs(60));
    assert_eq!(config.qdrant.create_timeout, Duration::from_secs(6 * 3600));
    assert_eq!(config.qdrant.first_byte, Duration::from_secs(300));
    assert_eq!(config.backup.mode, SnapshotMode::File);
    assert_eq!((config.store.url.as_str(), config.store.emulator), ("gs://b/p", None));
    assert_eq!((config.backup.concurrency, config.backup.max_mbps), (2, None));
    assert_eq!(config.backup.lease, Duration::from_secs(120));
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.max_age, Duration::from_secs(26 * 3600));
}

#[test]
fn the_variables_of_the_older_service_still_work() {
    let vars = [
        ("QDRANT_HOST", "localhost"),
        ("QDRANT_PORT", "6333"),
        ("QDRANT_API_KEY", "your_qdrant_api_key_here"),
        ("GCS_BUCKET_NAME", "csfiledata.ariel.com.tw"),
        ("GCS_FOLDER_PREFIX", "qdrant"),
        ("BACKUP_LOCAL_PATH", "/tmp/qdrant_snapshots"),
    ];
    let config = config(&vars).unwrap();
    assert_eq!(config.qdrant.url.as_str(), "http://localhost:6333/");
    assert_eq!(config.store.url, "gs://csfiledata.ariel.com.tw/qdrant");
    let [warning] = obsolete(&env(&vars)).try_into().unwrap();
    assert!(warning.contains("BACKUP_LOCAL_PATH"), "{warning}");
}

#[test]
fn what_means_nothing_beside_another_variable_is_told() {
    let told = |vars: &[(&str, &str)]| obsolete(&env(&with(vars)));
    for name in ["GCS_FOLDER_PREFIX", "QDRANT_PORT"] {
        let [warning] = told(&[(name, "7")]).try_into().unwrap();
        assert!(warning.starts_with(name), "{warning}");
    }
    assert!(told(&[("QDRANT_PORT", "tcp://10.0.0.1:6333"), ("GCS_FOLDER_PREFIX", " ")]).is_empty());
}

/// What is said of the variables that nothing reads: each with the one that may be meant.
fn unknown_among(vars: &[(&str, &str)]) -> Vec<(String, Option<&'static str>)> {
    let found = unknown(&env(vars), vars.iter().map(|(name, _)| (*name).to_owned()));
    for variable in &found {
        assert!(!variable.to_string().contains(SECRET), "a value is shown: {variable}");
    }
    found
        .into_iter()
        .map(|variable| (variable.name, variable.nearest))
        .collect()
}

#[test]
fn what_is_nearly_one_of_our_variables_is_told_with_the_one_that_is_meant() {
    for (slip, meant) in [
        ("RETAIN_HOURY", Some("RETAIN_HOURLY")),
        ("RETAIN_HOURS", Some("RETAIN_HOURLY")),
        ("RETAIN_DAYS", None),
        ("RETAIN_MIN_AGE", None),
        ("BACKUP_STOR", Some("BACKUP_STORE")),
        ("BACKUP_STROE", Some("BACKUP_STORE")),
        ("BACKUPSTORE", Some("BACKUP_STORE")),
        ("BACKUPS_STORE", Some("BACKUP_STORE")),
        ("BACKUP_INTERVAL", None),
        ("backup_store", Some("BACKUP_STORE")),
        ("Retain_Last", Some("RETAIN_LAST")),
        ("qdrant_url", Some("QDRANT_URL")),
        ("qdrant_api_key", Some("QDRANT_API_KEY")),
        ("QDRANT_APIKEY", Some("QDRANT_API_KEY")),
        ("QDRANT_API_KEY_FLIE", Some("QDRANT_API_KEY_FILE")),
        ("DRILL_QDRANT_URI", Some("DRILL_QDRANT_URL")),
        ("RESTORE_API_KEY", None),
        ("PRUNE_AFTER_BACKUPS", Some("PRUNE_AFTER_BACKUP")),
        ("AUTH_READER", Some("AUTH_READERS")),
        ("AUTH_ALLOWED_EMAIL", Some("AUTH_ALLOWED_EMAILS")),
        ("GCS_FOLDER_PREFX", Some("GCS_FOLDER_PREFIX")),
        ("RETAIN_LAST\u{1b}[2J", None),
    ] {
        let found = unknown_among(&[(slip, SECRET)]);
        let shown = slip.escape_debug().to_string();
        if slip.contains('\u{1b}') {
            assert_eq!(found.len(), 1);
            assert!(!found[0].0.contains('\u{1b}'), "{found:?}");
            continue;
        }
        assert_eq!(found, [(shown, meant)], "{slip}");
    }
}

#[test]
fn what_others_set_is_not_taken_for_ours() {
    let others = [
        // Qdrant's own, and what is for these tests.
        ("QDRANT__SERVICE__API_KEY", SECRET),
        ("QDRANT__SERVICE__HTTP_PORT", "6333"),
        ("QDRANT_TEST_URL", "http://q:6333"),
        ("QDRANT_TEST_API_KEY", SECRET),
        ("QDRANT_TEST_NODES", "http://q:6333"),
        // Kubernetes, for services named qdrant, qdrant-backup, backup, auth.
        ("QDRANT_SERVICE_HOST", "10.0.0.1"),
        ("QDRANT_SERVICE_PORT", "6333"),
        ("QDRANT_SERVICE_PORT_HTTP", "6333"),
        ("QDRANT_PORT", "tcp://10.0.0.1:6333"),
        ("QDRANT_PORT_6333_TCP", "tcp://10.0.0.1:6333"),
        ("QDRANT_PORT_6333_TCP_ADDR", "10.0.0.1"),
        ("QDRANT_BACKUP_SERVICE_HOST", "10.0.0.2"),
        ("QDRANT_BACKUP_PORT_8080_TCP_PROTO", "tcp"),
        ("BACKUP_SERVICE_HOST", "10.0.0.2"),
        ("BACKUP_SERVICE_PORT_HTTP", "8080"),
        ("BACKUP_PORT", "tcp://10.0.0.2:8080"),
        ("BACKUP_PORT_8080_TCP", "tcp://10.0.0.2:8080"),
        ("AUTH_PORT_53_UDP_ADDR", "10.0.0.3"),
        // Others' tools.
        ("GCS_BUCKET", "b"),
        ("GCS_PROJECT", "p"),
        ("GCS_CREDENTIALS_FILE", "/x"),
        ("GCP_BUCKET_NAME", "b"),
        ("S3_BUCKET_NAME", "b"),
        ("QDRANT_HTTP_PORT", "6333"),
        ("QDRANT_COLLECTION", "docs"),
        ("QDRANT_SSL", "1"),
        ("backup_dir", "/x"),
        ("PATH", "/bin"),
        ("HOME", "/"),
        ("http_proxy", "http://proxy"),
        // Of an older version: told by itself.
        ("BACKUP_LOCAL_PATH", "/tmp"),
        // Unset, for whoever writes compose files.
        ("RETAIN_HOURY", " "),
    ];
    assert_eq!(unknown_among(&others), []);
    // A name beside the one that it is like is somebody else's, unless it has a prefix that nobody else uses.
    let beside = [
        ("QDRANT_URL", "http://q"),
        ("QDRANT_URI", "http://q"),
        ("RETAIN_LAST", "1"),
        ("RETAIN_LSAT", "2"),
    ];
    assert_eq!(
        unknown_among(&beside),
        [("RETAIN_LSAT".to_owned(), Some("RETAIN_LAST"))]
    );
}

#[test]
fn what_kubernetes_sets_for_a_service_named_qdrant_is_named_with_the_way_out() {
    let of_kubernetes = ("QDRANT_PORT", "tcp://10.0.0.1:6333");
    let Invalid(problems) =
        config(&[("QDRANT_HOST", "qdrant"), of_kubernetes, ("BACKUP_STORE", "gs://b")]).unwrap_err();
    let [problem] = &problems[..] else {
        panic!("{problems:?}");
    };
    assert_eq!(problem.variable, "QDRANT_PORT");
    assert!(problem.remedy.contains("QDRANT_URL"), "{problem}");
    let url = config(&with(&[of_kubernetes])).unwrap().qdrant.url;
    assert_eq!(url.as_str(), "http://q:6333/", "QDRANT_URL does not need it");
}

#[test]
fn host_and_bucket_need_no_port_and_no_prefix() {
    for (host, url) in [("q", "http://q:6333/"), ("::1", "http://[::1]:6333/")] {
        let config = config(&[
            ("QDRANT_HOST", host),
            ("GCS_BUCKET_NAME", "b"),
            ("GCS_FOLDER_PREFIX", "/"),
        ])
        .unwrap();
        assert_eq!((config.qdrant.url.as_str(), config.store.url.as_str()), (url, "gs://b"));
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let vars = [
        ("QDRANT_URL", "ftp://q"),
        ("QDRANT_API_KEY", "s3cr3t-key with\nbreak"),
        ("BACKUP_STORE", "s3://bucket"),
        ("BACKUP_CONCURRENCY", "0"),
        ("BACKUP_MAX_MBPS", "fast"),
        ("BACKUP_INCLUDE", "docs,[a"),
        ("BACKUP_IDLE_TIMEOUT_SECS", "-1"),
        ("BACKUP_CREATE_TIMEOUT_SECS", "99999999999999999999"),
        ("BACKUP_LEASE_SECS", "1.5"),
        ("BACKUP_MAX_LATENCY_FACTOR", "1.4"),
        ("BACKUP_SOURCE_NAME", "two\nlines"),
        ("PORT", "65536"),
    ];
    let mut told = complaints(&vars);
    let mut set: Vec<_> = vars.iter().map(|(name, _)| *name).collect();
    told.sort_unstable();
    set.sort_unstable();
    assert_eq!(told, set);
    let error = Error::from(config(&vars).unwrap_err());
    assert_eq!((error.code(), error.exit_code()), (Code::ConfigInvalid, 2));
    for word in ["BACKUP_CONCURRENCY=\"0\"", "s3://bucket", "gs://bucket/prefix"] {
        assert!(error.to_string().contains(word), "{word} is missing: {error}");
    }
}

#[test]
fn what_is_wrong_with_the_qdrant_for_drills_is_told_by_its_own_variables() {
    let told = |vars: &[(&str, &str)]| qdrant_backup::app::drill_qdrant(&env(&with(vars))).unwrap_err();
    let file = [("DRILL_QDRANT_API_KEY", SECRET), ("DRILL_QDRANT_API_KEY_FILE", "/f")];
    for (url, key, words) in [
        (
            "ftp://q",
            &[("DRILL_QDRANT_API_KEY", "s3cr3t-key \n x")][..],
            &["DRILL_QDRANT_URL=\"ftp://q\" ", "DRILL_QDRANT_API_KEY "][..],
        ),
        (
            "http://me:s3cr3t-key@q",
            &file,
            &["DRILL_QDRANT_URL", "DRILL_QDRANT_API_KEY_FILE=\"/f\" "],
        ),
    ] {
        let error = told(&[&[("DRILL_QDRANT_URL", url)], key].concat());
        let text = error.to_string();
        assert_eq!(error.code(), Code::ConfigInvalid, "{text}");
        for word in words {
            assert!(text.contains(word), "{word:?} is missing: {text}");
        }
        // Where a key belongs, or which variable is the other one of two.
        let key = text
            .replace("DRILL_QDRANT_API_KEY_FILE", "")
            .contains("DRILL_QDRANT_API_KEY");
        assert!(key && !text.contains(" QDRANT_") && !text.contains(SECRET), "{text}");
    }
    assert!(
        qdrant_backup::app::drill_qdrant(&env(&with(&[("DRILL_QDRANT_URL", " ")])))
            .unwrap()
            .is_none()
    );
}

#[test]
fn the_qdrant_that_is_backed_up_is_known_for_drills_whatever_is_wrong_with_its_key() {
    let same = [("DRILL_QDRANT_URL", "http://q:6333/"), ("QDRANT_API_KEY", "two words")];
    let other = [("DRILL_QDRANT_URL", "http://other:6333"), same[1]];
    for (vars, is_another) in [(same, false), (other, true)] {
        let found = qdrant_backup::app::drill_qdrant(&env(&with(&vars))).unwrap();
        assert_eq!(found.is_some(), is_another, "{vars:?}");
    }
}

#[test]
fn empty_counts_as_unset() {
    assert_eq!(
        complaints(&[("QDRANT_URL", ""), ("BACKUP_STORE", "  "), ("PORT", "")]),
        ["QDRANT_URL", "BACKUP_STORE"]
    );
    let vars = with(&[
        ("QDRANT_HOST", ""),
        ("GCS_BUCKET_NAME", ""),
        ("QDRANT_API_KEY", ""),
        ("BACKUP_MAX_MBPS", ""),
    ]);
    assert!(config(&vars).unwrap().qdrant.api_key.is_none());
}

#[test]
fn it_is_never_in_doubt_which_qdrant_which_store_and_which_key() {
    let store = ("BACKUP_STORE", "gs://b");
    let qdrant = ("QDRANT_URL", "http://q:6333");
    assert_eq!(complaints(&[qdrant, store, ("QDRANT_HOST", "other")]), ["QDRANT_URL"]);
    assert_eq!(
        complaints(&[qdrant, store, ("GCS_BUCKET_NAME", "other")]),
        ["BACKUP_STORE"]
    );
    let keys = with(&[("QDRANT_API_KEY", SECRET), ("QDRANT_API_KEY_FILE", "/f")]);
    assert_eq!(complaints(&keys), ["QDRANT_API_KEY_FILE"]);
    // Kubernetes sets QDRANT_PORT=tcp://… for a service of that name.
    assert!(config(&with(&[("QDRANT_PORT", "tcp://10.0.0.1:6333")])).is_ok());
    assert_eq!(
        complaints(&[("QDRANT_HOST", "q"), store, ("QDRANT_PORT", "tcp://10.0.0.1:6333")]),
        ["QDRANT_PORT"]
    );
}

#[test]
fn urls_that_cannot_work_or_hold_a_secret_are_refused() {
    for url in [
        "q:6333",
        "10.0.0.5:6333",
        "http://",
        "gopher://q",
        "http://me:s3cr3t-key@q:6333",
        "http://s3cr3t-key@q",
        "http://q:6333/?api-key=s3cr3t-key",
        "http://q:6333/#s3cr3t-key",
        "http://q:6333#s3cr3t-key",
        "http://me:s3cr3t-key#x@q:6333",
        "http://me:s3cr3t-key?x@q:6333",
        "http://q:6333/?user=a@b&key=s3cr3t-key",
        "http://q:6333/#a@b/s3cr3t-key",
        "http://q/#x",
        "http:// q",
    ] {
        assert_eq!(
            complaints(&[("QDRANT_URL", url), ("BACKUP_STORE", "gs://b")]),
            ["QDRANT_URL"],
            "{url}"
        );
    }
    for host in ["http://q", "q:6333", "q/x", "me:s3cr3t-key@q", "s3cr3t-key@q"] {
        assert_eq!(
            complaints(&[("QDRANT_HOST", host), ("BACKUP_STORE", "gs://b")]),
            ["QDRANT_HOST"],
            "{host}"
        );
    }
    for store in [
        "bucket",
        "gs://",
        "gs:///p",
        "s3://b",
        "/var/backups",
        "file://relative",
        "gs://s3cr3t-key@b",
        "gs://b#s3cr3t-key",
        "s3://b/p#s3cr3t-key",
        "https://me:s3cr3t-key#@b/p",
        "http://b",
    ] {
        assert_eq!(
            complaints(&[("QDRANT_URL", "http://q"), ("BACKUP_STORE", store)]),
            ["BACKUP_STORE"],
            "{store}"
        );
    }
    assert_eq!(
        complaints(&[("QDRANT_URL", "http://q"), ("GCS_BUCKET_NAME", "gs://b")]),
        ["GCS_BUCKET_NAME"]
    );
    assert_eq!(
        complaints(&with(&[("STORAGE_EMULATOR_HOST", "ftp://x")])),
        ["STORAGE_EMULATOR_HOST"]
    );
}

#[test]
fn keys_come_from_a_variable_or_a_file_and_are_never_printed() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    std::fs::write(path, format!("{SECRET}\n")).unwrap();
    for var in [("QDRANT_API_KEY", "s3cr3t-key\n"), ("QDRANT_API_KEY_FILE", path)] {
        let config = config(&with(&[var])).unwrap();
        assert!(!format!("{config:?}").contains(SECRET));
        assert_eq!(config.qdrant.api_key.unwrap().expose_secret(), SECRET);
    }
    std::fs::write(path, "\n").unwrap();
    assert_eq!(
        complaints(&with(&[("QDRANT_API_KEY_FILE", path)])),
        ["QDRANT_API_KEY_FILE"]
    );
    assert_eq!(
        complaints(&with(&[("QDRANT_API_KEY_FILE", "/nonexistent/key")])),
        ["QDRANT_API_KEY_FILE"]
    );
}

#[test]
fn what_is_set_is_used() {
    let config = config(&with(&[
        ("BACKUP_CONCURRENCY", " 8 "),
        ("RESTORE_CONCURRENCY", "64"),
        ("BACKUP_MAX_MBPS", "50"),
        ("BACKUP_INCLUDE", "docs, logs-*,"),
        ("BACKUP_EXCLUDE", "*-tmp"),
        ("BACKUP_IDLE_TIMEOUT_SECS", "30"),
        ("BACKUP_CREATE_TIMEOUT_SECS", "600"),
        ("BACKUP_FIRST_BYTE_TIMEOUT_SECS", "1800"),
        ("SNAPSHOT_MODE", "Auto"),
        ("BACKUP_LEASE_SECS", "60"),
        ("BACKUP_SOURCE_NAME", "production"),
        ("STORAGE_EMULATOR_HOST", "localhost:4443"),
        ("PORT", "9000"),
    ]))
    .unwrap();
    assert_eq!(
        (config.backup.concurrency, config.backup.max_mbps.unwrap().get()),
        (8, 50)
    );
    assert_eq!(config.backup.restore_concurrency, 64);
    assert_eq!(config.backup.selection.include, ["docs", "logs-*"]);
    assert_eq!(config.backup.selection.exclude, ["*-tmp"]);
    assert_eq!(
        (config.qdrant.idle, config.qdrant.create_timeout),
        (Duration::from_secs(30), Duration::from_secs(600))
    );
    assert_eq!(config.qdrant.first_byte, Duration::from_secs(1800));
    assert_eq!(config.backup.mode, SnapshotMode::Auto);
    assert_eq!(config.backup.lease, Duration::from_secs(60));
    assert_eq!(config.backup.source_name.as_deref(), Some("production"));
    assert_eq!(config.store.emulator.as_deref(), Some("localhost:4443"));
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:9000");
}

#[test]
fn listen_wins_over_the_port_that_cloud_run_always_sets() {
    let listen = |text| config(&with(&[("LISTEN", text), ("PORT", "9000")]));
    assert_eq!(
        listen("127.0.0.1:1234").unwrap().server.listen.to_string(),
        "127.0.0.1:1234"
    );
    assert_eq!(complaints(&with(&[("LISTEN", "localhost")])), ["LISTEN"]);
}

#[test]
fn a_group_can_be_read_alone() {
    assert!(StoreConfig::from_env(&env(&[("BACKUP_STORE", "file:///b"), ("QDRANT_URL", "nonsense")])).is_ok());
    assert!(QdrantConfig::from_env(&env(&[("BACKUP_STORE", "nonsense"), ("QDRANT_URL", "http://q")])).is_ok());
}

#[test]
fn logs_are_json_on_cloud_run_and_text_elsewhere_unless_told_otherwise() {
    let format = |vars: &[(&str, &str)]| LogConfig::from_env(&env(vars)).0.format;
    assert_eq!(format(&[]), LogFormat::Text);
    assert_eq!(format(&[("K_SERVICE", "s")]), LogFormat::Json);
    assert_eq!(format(&[("CLOUD_RUN_JOB", "j")]), LogFormat::Json);
    assert_eq!(format(&[("K_SERVICE", "s"), ("LOG_FORMAT", "text")]), LogFormat::Text);
    assert_eq!(format(&[("LOG_FORMAT", "json")]), LogFormat::Json);
}

#[test]
fn a_wrong_log_setting_is_told_and_stops_nothing() {
    let vars = [
        ("LOG_FORMAT", "xml"),
        ("RUST_LOG", "a=b=c"),
        ("LOG_LEVEL", "loud"),
        ("K_SERVICE", "s"),
    ];
    let (log, problems) = LogConfig::from_env(&env(&vars));
    assert_eq!((log.format, log.filter), (LogFormat::Json, None));
    let variables: Vec<_> = problems.iter().map(|p| p.variable).collect();
    assert_eq!(variables, ["LOG_FORMAT", "RUST_LOG", "LOG_LEVEL"]);

    let (log, problems) = LogConfig::from_env(&env(&[("LOG_LEVEL", "DEBUG"), ("GOOGLE_CLOUD_PROJECT", "p")]));
    assert_eq!(
        (log.filter.as_deref(), problems.len()),
        (Some("warn,qdrant_backup=debug"), 0)
    );
    assert_eq!(log.project.as_deref(), Some("p"));
}

#[test]
fn cloud_run_tells_which_task_of_a_job_this_is() {
    assert_eq!(config(&MINIMAL).unwrap().task, None);
    // A service on Cloud Run is no job.
    assert_eq!(config(&with(&[("K_SERVICE", "qdrant-backup")])).unwrap().task, None);
    let job = [
        ("CLOUD_RUN_EXECUTION", "nightly-x7k2p"),
        ("CLOUD_RUN_TASK_INDEX", "7"),
        ("CLOUD_RUN_TASK_COUNT", "8"),
    ];
    let task = config(&with(&job)).unwrap().task.unwrap();
    assert_eq!(
        (task.execution.as_str(), task.index, task.count),
        ("nightly-x7k2p", 7, 8)
    );
    assert_eq!((task.attempt, task.max_retries), (0, 0));
    assert!(
        task.is_last_attempt(),
        "without a number no failure waits for a further attempt"
    );
    let more = [("CLOUD_RUN_TASK_ATTEMPT", "2"), ("BACKUP_JOB_MAX_RETRIES", "3")];
    let task = config(&with(&[&job[..], &more].concat())).unwrap().task.unwrap();
    assert!((task.attempt, task.max_retries) == (2, 3) && !task.is_last_attempt());
    for missing in 0..job.len() {
        let mut rest = job.to_vec();
        let (variable, _) = rest.remove(missing);
        assert_eq!(complaints(&with(&rest)), [variable]);
    }
}

#[test]
fn who_may_call_is_never_in_doubt() {
    const LOCAL: (&str, &str) = ("LISTEN", "127.0.0.1:8080");
    const OPEN: (&str, &str) = ("LISTEN", "0.0.0.0:8080");
    const PORT: (&str, &str) = ("PORT", "8080");
    const RUN: (&str, &str) = ("K_SERVICE", "backup");
    const AUDIENCE: (&str, &str) = ("AUTH_AUDIENCE", "https://a.test");
    const EMAILS: (&str, &str) = ("AUTH_ALLOWED_EMAILS", "Me@X.test, sa@p.iam.gserviceaccount.com");
    let mode = |mode| ("AUTH_MODE", mode);
    const READERS: (&str, &str) = ("AUTH_READERS", "Agent@X.test");
    const OPERATORS: (&str, &str) = ("AUTH_OPERATORS", "Cron@X.test");
    const ADMINS: (&str, &str) = ("AUTH_ADMINS", "sa@p.iam.gserviceaccount.com,me@x.test");
    const DEFAULT: (&str, &str) = ("AUTH_DEFAULT_ROLE", "Operator");
    let listed = |role, names: &[&str]| (role, names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let admins = || listed(Role::Admin, &["me@x.test", "sa@p.iam.gserviceaccount.com"]);
    let operators = || listed(Role::Operator, &["cron@x.test"]);
    let readers = || listed(Role::Reader, &["agent@x.test"]);
    let roles = |others, lists: Vec<(Role, Vec<String>)>| {
        let lists = lists.into_iter();
        lists.fold(Roles::new(others), |roles, (role, emails)| roles.with(role, emails))
    };
    let oidc = |lists| Mode::Oidc(Rules::google(vec!["https://a.test".to_owned()], roles(None, lists)));
    let rules = || oidc(vec![admins()]);
    let iam_for = |others, lists| Mode::Iam(roles(Some(others), lists));
    let iam = || iam_for(Role::Admin, vec![]);
    let with_readers = oidc(vec![admins(), readers()]);
    let wrong = |variables: &[&'static str]| Err(variables.to_vec());
    for (vars, expected) in [
        (vec![], Ok(Mode::None)),
        (vec![LOCAL], Ok(Mode::None)),
        (vec![("LISTEN", "[::1]:0")], Ok(Mode::None)),
        (vec![("LISTEN", "127.7.7.7:0"), mode("none")], Ok(Mode::None)),
        (vec![LOCAL, PORT, mode("None")], Ok(Mode::None)),
        (vec![OPEN], wrong(&["AUTH_MODE"])),
        (vec![PORT], wrong(&["AUTH_MODE"])),
        (vec![("LISTEN", "[::]:8080")], wrong(&["AUTH_MODE"])),
        (vec![("LISTEN", "10.0.0.7:8080")], wrong(&["AUTH_MODE"])),
        (vec![OPEN, mode("")], wrong(&["AUTH_MODE"])),
        (vec![OPEN, mode("none")], wrong(&["AUTH_MODE"])),
        (vec![OPEN, mode("off")], wrong(&["AUTH_MODE"])),
        (vec![LOCAL, mode("off")], wrong(&["AUTH_MODE"])),
        (vec![RUN, PORT], Ok(iam())),
        (vec![RUN, PORT, mode("iam")], Ok(iam())),
        (vec![RUN, PORT, mode("none")], wrong(&["AUTH_MODE"])),
        (vec![RUN, PORT, mode("iam"), AUDIENCE, EMAILS], Ok(iam())),
        (vec![RUN, PORT, READERS], Ok(iam_for(Role::Admin, vec![readers()]))),
        (
            vec![RUN, PORT, READERS, OPERATORS, ADMINS],
            Ok(iam_for(Role::Reader, vec![readers(), operators(), admins()])),
        ),
        (
            vec![RUN, PORT, OPERATORS, DEFAULT],
            Ok(iam_for(Role::Operator, vec![operators()])),
        ),
        (
            vec![RUN, PORT, ("AUTH_DEFAULT_ROLE", "owner")],
            wrong(&["AUTH_DEFAULT_ROLE"]),
        ),
        (vec![OPEN, mode("oidc"), AUDIENCE, ADMINS], Ok(rules())),
        (
            vec![OPEN, mode("oidc"), AUDIENCE, OPERATORS],
            Ok(oidc(vec![operators()])),
        ),
        (vec![OPEN, mode("oidc"), AUDIENCE, READERS], wrong(&["AUTH_ADMINS"])),
        (
            vec![OPEN, mode("oidc"), AUDIENCE, ADMINS, DEFAULT],
            wrong(&["AUTH_DEFAULT_ROLE"]),
        ),
        (
            vec![LOCAL, OPERATORS, ADMINS, DEFAULT],
            wrong(&["AUTH_OPERATORS", "AUTH_ADMINS", "AUTH_DEFAULT_ROLE"]),
        ),
        (vec![RUN, PORT, ("AUTH_READERS", "*@x.test")], wrong(&["AUTH_READERS"])),
        (
            vec![OPEN, mode("oidc"), AUDIENCE, EMAILS, READERS],
            Ok(with_readers.clone()),
        ),
        // It could not be kept.
        (vec![LOCAL, READERS], wrong(&["AUTH_READERS"])),
        (vec![OPEN, mode("iam")], wrong(&["AUTH_MODE"])),
        (vec![LOCAL, mode("iam")], wrong(&["AUTH_MODE"])),
        (vec![RUN, PORT, mode("oidc"), AUDIENCE, EMAILS], Ok(rules())),
        (vec![OPEN, mode("OIDC"), AUDIENCE, EMAILS], Ok(rules())),
        (vec![OPEN, mode("oidc"), AUDIENCE], wrong(&["AUTH_ADMINS"])),
        (vec![OPEN, mode("oidc"), EMAILS], wrong(&["AUTH_AUDIENCE"])),
        (vec![OPEN, mode("oidc")], wrong(&["AUTH_AUDIENCE", "AUTH_ADMINS"])),
        (
            vec![
                OPEN,
                mode("oidc"),
                AUDIENCE,
                ("AUTH_ALLOWED_EMAILS", "*@x.test,me,@,a b@c"),
            ],
            wrong(&["AUTH_ALLOWED_EMAILS"; 4]),
        ),
    ] {
        let vars = with(&vars);
        let found = Config::for_service(&env(&vars)).map(|config| config.server.auth);
        let found = found.map_err(|Invalid(problems)| {
            for problem in &problems {
                assert!(!problem.remedy.is_empty() && !problem.wrong.is_empty(), "{problem}");
            }
            problems.iter().map(|problem| problem.variable).collect()
        });
        assert_eq!(found, expected, "{vars:?}");
        // Commands that nobody calls do not mind.
        assert!(config(&vars).is_ok(), "{vars:?}");
    }
    let Invalid(problems) = Config::for_service(&env(&with(&[PORT]))).unwrap_err();
    let told = problems[0].to_string();
    for word in ["AUTH_MODE", "0.0.0.0:8080", "AUTH_MODE=oidc", "LISTEN=127.0.0.1:8080"] {
        assert!(told.contains(word), "{word} is missing: {told}");
    }
}

#[test]
fn a_length_of_time_has_a_unit() {
    let age = |text| config(&with(&[("BACKUP_MAX_AGE", text)])).map(|config| config.server.max_age.as_secs());
    for (text, seconds) in [
        ("26h", 93_600),
        ("90m", 5400),
        ("60s", 60),
        ("2d", 172_800),
        (" 1h ", 3600),
        ("", 93_600),
    ] {
        assert_eq!(age(text), Ok(seconds), "{text}");
    }
    for wrong in [
        "26",
        "h",
        "-1h",
        "+1h",
        "1.5h",
        "1h30m",
        "59s",
        "0h",
        "4000d",
        "99999999999999999999h",
        "999999999999999999d",
        "1é",
        "26 h",
        "26H",
    ] {
        assert_eq!(
            complaints(&with(&[("BACKUP_MAX_AGE", wrong)])),
            ["BACKUP_MAX_AGE"],
            "{wrong}"
        );
    }
}
