//! `NOTIFY_URLS`: what receivers get when runs end, by a receiver on the loopback address.

use aws_lc_rs::hmac;
use qdrant_backup::config::Config;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::peer::{Create, Peer};
use testkit::process::{command, finish};
use testkit::service::{Service, Setup};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

const SECRET: &str = "TOPSECRETOFTHEURL";

/// What a receiver got.
#[derive(Clone, Debug)]
struct Got {
    target: String,
    headers: Vec<(String, String)>,
    body: String,
    /// Whether somebody held the lease of the store when it came.
    is_lease_held: bool,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    fn text(&self) -> String {
        self.json()["text"].as_str().unwrap().to_owned()
    }
}

/// A receiver that answers each request by the next status of its script, then 200; 0: never.
#[derive(Clone)]
struct Receiver {
    address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    came: Arc<Semaphore>,
}

impl Receiver {
    async fn start(script: &[u16], lock: Option<PathBuf>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            got: Arc::default(),
            came: Arc::new(Semaphore::new(0)),
        };
        let (own, script) = (receiver.clone(), script.to_vec());
        tokio::spawn(async move {
            let mut script = script.into_iter();
            while let Ok((stream, _)) = listener.accept().await {
                let (own, lock, status) = (own.clone(), lock.clone(), script.next().unwrap_or(200));
                tokio::spawn(async move { own.answer(stream, status, lock).await });
            }
        });
        receiver
    }

    async fn answer(self, mut stream: tokio::net::TcpStream, status: u16, lock: Option<PathBuf>) {
        let mut reader = BufReader::new(&mut stream);
        let mut line = String::new();
        reader.read_line(&mut line).await.unwrap();
        let target = line.split(' ').nth(1).unwrap().to_owned();
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).await.unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length").unwrap();
        let mut body = vec![0; length.1.parse().unwrap()];
        reader.read_exact(&mut body).await.unwrap();
        self.got.lock().unwrap().push(Got {
            target,
            headers,
            body: String::from_utf8(body).unwrap(),
            is_lease_held: lock.is_some_and(|lock| lock.exists()),
        });
        self.came.add_permits(1);
        if status == 0 {
            std::future::pending::<()>().await;
        }
        let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes()).await;
    }

    /// Its URL as one of some kind.
    fn url(&self, kind: &str) -> String {
        format!("{kind}+http://{}/{SECRET}", self.address)
    }

    fn all(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// All since the last call.
    fn taken(&self) -> Vec<Got> {
        std::mem::take(&mut self.got.lock().unwrap())
    }
}

/// A service with these settings beside its own.
async fn service(peer: &Peer, dir: &std::path::Path, env: &[(&str, &str)]) -> Service {
    let store = url::Url::from_directory_path(dir).unwrap();
    let own = [
        ("QDRANT_URL", peer.url.as_str()),
        ("BACKUP_STORE", store.as_str()),
        ("BACKUP_SOURCE_NAME", "shop"),
    ];
    Setup::from_env(&[&own, env].concat()).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_told_of_each_failure_and_of_one_recovery() {
    let peer = Peer::start(&[("docs", 1000), ("a<b>&", 10)]).await;
    let dir = tempfile::tempdir().unwrap();
    let (slack, chat) = (Receiver::start(&[], None).await, Receiver::start(&[], None).await);
    let urls = format!("{},{}", slack.url("slack"), chat.url("chat"));
    let env = [("NOTIFY_URLS", urls.as_str())];
    let first = service(&peer, dir.path(), &env).await;
    assert_eq!(first.backup("{}").await.status, 200);
    assert!(slack.taken().is_empty(), "nobody asked for what is good");
    for _ in 0..2 {
        peer.on_create("a<b>&", [Create::Forbidden]);
        first.hands.pass(Duration::from_secs(2));
        assert_eq!(first.backup("{}").await.status, 500);
    }
    let [one, two] = &slack.taken()[..] else { panic!() };
    assert_eq!(one.header("content-type"), Some("application/json; charset=utf-8"));
    for got in [one, two] {
        let text = got.text();
        assert!(text.starts_with("shop: backup 20"), "{text}");
        assert!(text.contains("PARTIAL") && text.contains("(backup_partial)"), "{text}");
        assert!(text.contains("a&lt;b&gt;&amp;") && !text.contains('<'), "{text}");
        assert!(text.contains("\n-&gt; "), "the remedy: {text}");
    }
    assert!(chat.taken().iter().all(|got| !got.text().contains('<')));
    // The one that has told of the failures is gone.
    first.stop().await;
    let second = service(&peer, dir.path(), &env).await;
    second.hands.pass(Duration::from_secs(10));
    assert_eq!(second.backup("{}").await.status, 200);
    let [recovery] = &slack.taken()[..] else { panic!() };
    let text = recovery.text();
    assert!(
        text.contains("is good") && text.contains("failed 2 times since 20"),
        "{text}"
    );
    assert_eq!(chat.taken().len(), 1);
    second.hands.pass(Duration::from_secs(2));
    assert_eq!(second.backup("{}").await.status, 200);
    assert!(slack.all().is_empty(), "a recovery is told once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_gets_cloud_events_with_a_signature_that_is_right() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let hook = Receiver::start(&[], None).await;
    let key = dir.path().join("key");
    std::fs::write(&key, "It's a Secret to Everybody\n").unwrap();
    let urls = dir.path().join("urls");
    let store = tempfile::tempdir().unwrap();
    let hook_with_lock = Receiver::start(&[], Some(store.path().join("lock.json"))).await;
    std::fs::write(
        &urls,
        format!(
            "# who is told\n{}\n\n{}\n",
            hook.url("webhook"),
            hook_with_lock.url("webhook")
        ),
    )
    .unwrap();
    let env = [
        ("NOTIFY_URLS_FILE", urls.to_str().unwrap()),
        ("NOTIFY_WEBHOOK_SECRET_FILE", key.to_str().unwrap()),
        ("NOTIFY_ON", "always"),
        ("RETAIN_LAST", "5"),
    ];
    let service = service(&peer, store.path(), &env).await;
    let made = service.backup("{}").await;
    assert_eq!(made.status, 200, "{}", made.body);
    assert_eq!(service.post("/prune", r#"{"dry_run": false}"#).await.0, 200);
    let [backup, prune] = &hook.all()[..] else {
        panic!("{:?}", hook.all())
    };
    let event = backup.json();
    for (field, value) in [
        ("specversion", "1.0"),
        ("type", "qdrant-backup.backup.good"),
        ("source", "/qdrant-backup/shop"),
        ("datacontenttype", "application/json"),
        ("subject", made.body["id"].as_str().unwrap()),
    ] {
        assert_eq!(event[field], value, "{event}");
    }
    assert!(event["id"].is_string() && event["time"].is_string(), "{event}");
    let data = &event["data"];
    assert_eq!(
        (&data["outcome"], &data["collections"]),
        (&"good".into(), &1.into()),
        "{event}"
    );
    assert_eq!(
        (&data["recovered"], &data["code"]),
        (&false.into(), &Value::Null),
        "{event}"
    );
    assert_eq!(prune.json()["type"], "qdrant-backup.prune.good");
    assert_eq!(
        backup.header("content-type"),
        Some("application/cloudevents+json; charset=utf-8")
    );
    // As any receiver verifies it.
    let hex = backup
        .header("x-hub-signature-256")
        .unwrap()
        .strip_prefix("sha256=")
        .unwrap();
    let tag: Vec<u8> = (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
        .collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"It's a Secret to Everybody");
    hmac::verify(&key, backup.body.as_bytes(), &tag).unwrap();
    let other = hmac::Key::new(hmac::HMAC_SHA256, b"another");
    assert!(hmac::verify(&other, backup.body.as_bytes(), &tag).is_err());
    // All is sent when the lease is free again.
    let at_the_end = hook_with_lock.all();
    assert!(at_the_end.len() == 2 && at_the_end.iter().all(|got| !got.is_lease_held));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_gets_start_and_end_of_each_backup_and_of_nothing_else() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let (watch, of_prunes) = (Receiver::start(&[], None).await, Receiver::start(&[], None).await);
    let urls = format!("{} {}#prune", watch.url("healthchecks"), of_prunes.url("healthchecks"));
    let service = service(&peer, dir.path(), &[("NOTIFY_URLS", &urls), ("RETAIN_LAST", "5")]).await;
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let held = Create::Held {
        reached: reached.clone(),
        go: go.clone(),
    };
    peer.on_create("docs", [held]);
    let backup = tokio::spawn({
        let (http, url) = (service.http.clone(), service.url.clone());
        async move { http.post(format!("{url}/backup")).send().await.unwrap().status() }
    });
    // The start is told while the backup works.
    watch.came.acquire().await.unwrap().forget();
    // Another one is refused meanwhile, and tells nothing.
    assert_eq!(service.backup("{}").await.status, 409);
    go.add_permits(1);
    assert_eq!(backup.await.unwrap(), 200);
    let [start, end] = &watch.taken()[..] else { panic!() };
    let (path, run) = start.target.split_once("?rid=").unwrap();
    assert_eq!(path, format!("/{SECRET}/start"));
    assert_eq!(end.target, format!("/{SECRET}?rid={run}"), "the end of the same run");
    assert!(
        end.body.contains("is good") && end.body.contains("1 collection, "),
        "{}",
        end.body
    );

    peer.on_create("docs", [Create::Forbidden]);
    service.hands.pass(Duration::from_secs(2));
    assert_eq!(service.backup("{}").await.status, 500);
    let [fail] = &watch.taken()[..] else { panic!() };
    assert!(fail.target.starts_with(&format!("/{SECRET}/fail?rid=")), "{fail:?}");
    assert!(fail.body.contains("FAILED"), "{}", fail.body);
    assert!(of_prunes.all().is_empty());
    assert_eq!(service.post("/prune", r#"{"dry_run": false}"#).await.0, 200);
    assert_eq!((watch.all().len(), of_prunes.all().len()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_sent_again_and_what_stays_dead_fails_nothing_and_tells_no_secret() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let (flaky, silent, refuses) = (
        Receiver::start(&[500, 429], None).await,
        Receiver::start(&[0], None).await,
        Receiver::start(&[404; 9], None).await,
    );
    let (user, word) = ("hook", "PASSWORDOFTHEURL");
    let dead = format!("slack+http://{user}:{word}@127.0.0.1:1/{SECRET}");
    let urls = [flaky.url("slack"), silent.url("webhook"), refuses.url("slack"), dead].join(",");
    let mut child = command(&["backup"], &peer.url, dir.path());
    child.env("NOTIFY_URLS", &urls).env("NOTIFY_ON", "always");
    let (code, out, err) = finish(child.spawn().unwrap()).await;
    assert_eq!(code, Some(0), "{out}{err}");
    // The same event each time.
    assert_eq!(flaky.all().len(), 3, "{:?}", flaky.all());
    assert!(flaky.all().iter().all(|got| got.body == flaky.all()[0].body));
    assert_eq!(silent.all().len(), 2, "a new connection after the silent one");
    assert_eq!(refuses.all().len(), 1, "what is refused is not sent again");
    let told: Vec<_> = err.lines().filter(|line| line.contains("failed to notify")).collect();
    assert_eq!(told.len(), 2, "each is logged once: {err}");
    assert!(err.contains("127.0.0.1 (slack): answered 404"), "{err}");
    for secret in [SECRET, word] {
        assert!(!err.contains(secret) && !out.contains(secret), "{out}{err}");
    }
    // Nobody keeps the lease meanwhile.
    assert!(!dir.path().join("lock.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn check_sends_a_test_message_when_asked() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let (watch, hook) = (Receiver::start(&[], None).await, Receiver::start(&[410], None).await);
    let urls = format!("{},{}", watch.url("healthchecks"), hook.url("webhook"));
    let check = async |args: &[&str], urls: &str| {
        let mut child = command(&[&["check"], args].concat(), &peer.url, dir.path());
        child.env("NOTIFY_URLS", urls);
        finish(child.spawn().unwrap()).await
    };
    let (code, out, err) = check(&[], &urls).await;
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("127.0.0.1 (healthchecks), 127.0.0.1 (webhook)"), "{out}");
    assert!(watch.all().is_empty() && hook.all().is_empty());
    let (code, out, err) = check(&["--notify"], &urls).await;
    assert_eq!(code, Some(2), "{out}{err}");
    assert!(out.contains("answered 410") && out.contains("NOTIFY_URLS"), "{out}");
    assert_eq!(watch.all()[0].target, format!("/{SECRET}/log"));
    assert_eq!(hook.all()[0].json()["type"], "qdrant-backup.test");
    assert!(!out.contains(SECRET) && !err.contains(SECRET), "{out}{err}");
    // What is no URL is told by its number.
    let (code, out, err) = check(&[], &format!("{},{SECRET}", watch.url("slack"))).await;
    assert_eq!(code, Some(2), "{out}{err}");
    assert!(
        out.contains("NOTIFY_URLS URL 2 is not a URL") && !out.contains(SECRET),
        "{out}"
    );
}

#[test]
fn the_url_is_shown_by_no_configuration() {
    let url = format!("https://hooks.slack.com/services/{SECRET}");
    let env = |name: &str| match name {
        "QDRANT_URL" => Some("http://localhost:6333".to_owned()),
        "BACKUP_STORE" => Some("file:///backups".to_owned()),
        "NOTIFY_URLS" => Some(url.clone()),
        "NOTIFY_WEBHOOK_SECRET" => Some(SECRET.to_owned()),
        _ => None,
    };
    let config = Config::from_env(&env).unwrap();
    assert_eq!(config.notify.receivers.len(), 1);
    assert!(!format!("{config:?}").contains(SECRET));
}
