//! TLS to Qdrant: own authorities, client certificates, and what is said when there is no connection. Each over real sockets with a
//! real handshake.

use crate::screens;
use qdrant_backup::base::error::Code;
use qdrant_backup::wire::qdrant::{Options, Qdrant, Tls};
use serde_json::Value;
use std::fmt::Write;
use std::fs;
use tempfile::TempDir;
use testkit::peer::Peer;
use testkit::process::{command, finish};
use testkit::tls::{
    Authority, Clients, Pair, answers, elsewhere, expired, not_yet_valid, of_a_ca, revoked, self_signed, serve,
};

/// A Qdrant, authorities, and the files with what they issued.
struct Place {
    peer: Peer,
    authority: Authority,
    dir: TempDir,
}

impl Place {
    async fn new() -> Self {
        let peer = Peer::start(&[("articles", 100_000)]).await;
        let authority = Authority::new("an authority");
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("store")).unwrap();
        let place = Self { peer, authority, dir };
        place.put("ca.pem", &place.authority.pem);
        place
    }

    fn put(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A client certificate in files, as settings.
    fn client(&self, name: &str, pair: &Pair) -> Vec<(&'static str, String)> {
        vec![
            ("QDRANT_CLIENT_CERT_FILE", self.put(&format!("{name}.pem"), &pair.cert)),
            (
                "QDRANT_CLIENT_KEY_FILE",
                self.put(&format!("{name}-key.pem"), &pair.key),
            ),
        ]
    }

    fn ca(&self) -> (&'static str, String) {
        (
            "QDRANT_CA_FILE",
            self.dir.path().join("ca.pem").to_str().unwrap().to_owned(),
        )
    }

    async fn serve(&self, pair: &Pair, clients: Clients<'_>, version: &str) -> String {
        serve(&self.peer.url, pair, clients, version).await
    }

    /// Runs the binary; its exit code, and both outputs.
    async fn run(&self, args: &[&str], url: &str, env: &[(&str, String)]) -> (Option<i32>, String, String) {
        let mut command = command(args, url, &self.dir.path().join("store"));
        command.envs(env.iter().map(|(name, value)| (name, value)));
        finish(command.spawn().unwrap()).await
    }

    /// What `check` says of the connection.
    async fn told(&self, url: &str, env: &[(&str, String)]) -> String {
        let (exit, out, err) = self.run(&["check", "--json"], url, env).await;
        let report: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
        assert_eq!(err, "", "one cause is told once");
        let line = report["checks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|line| line["check"] == "qdrant");
        let line = line.unwrap();
        let text = |field: &str| {
            let text = line[field].as_str().unwrap_or("-");
            text.replace(url, "[qdrant]")
                .replace(self.dir.path().to_str().unwrap(), "[dir]")
        };
        let is_ok = line["state"] == "ok";
        assert_eq!(exit, Some(if is_ok { 0 } else { 6 }), "{out}");
        assert!(!text("remedy").contains("firewall"), "{out}");
        format!("{}\n  {}\n  -> {}\n", text("state"), text("message"), text("remedy"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reason_for_no_connection_has_its_own_message_and_remedy() {
    let place = Place::new().await;
    let (ca, peer) = (&place.authority, &place.peer);
    let other = Authority::new("another");
    let below = ca.below("one below");
    let good = ca.issue(|_| {});
    let with_ca = vec![place.ca()];
    let with = |more: Vec<(&'static str, String)>| [vec![place.ca()], more].concat();
    let itself = self_signed(|_| {});
    let port = |url: &str| url.rsplit_once(':').unwrap().1.to_owned();
    let any = |pair| place.serve(pair, Clients::Any, "1.2 1.3");
    let of = |version| place.serve(&good, Clients::Of(ca), version);
    let local = |scheme: &str, port: &str| format!("{scheme}://localhost:{port}");

    let short = below.issue(|_| {});
    let whole = Pair {
        cert: format!("{}{}", short.cert, below.pem),
        key: short.key.clone(),
    };
    type Row<'a> = (&'a str, String, Vec<(&'a str, String)>);
    let rows: Vec<Row<'_>> = vec![
        ("own authority", any(&good).await, with_ca.clone()),
        (
            "own authority, TLS 1.2",
            place.serve(&good, Clients::Any, "1.2").await,
            with_ca.clone(),
        ),
        ("own authority, one between", any(&whole).await, with_ca.clone()),
        ("own authority, not set", any(&good).await, vec![]),
        ("another authority", any(&other.issue(|_| {})).await, with_ca.clone()),
        ("the one between is not sent", any(&short).await, with_ca.clone()),
        ("self-signed", any(&itself).await, vec![]),
        (
            "self-signed and trusted",
            any(&itself).await,
            vec![("QDRANT_CA_FILE", place.put("itself.pem", &itself.cert))],
        ),
        ("as openssl makes it", any(&self_signed(of_a_ca)).await, vec![]),
        ("expired", any(&ca.issue(expired)).await, with_ca.clone()),
        ("not valid yet", any(&ca.issue(not_yet_valid)).await, with_ca.clone()),
        ("wrong host", any(&ca.issue(elsewhere)).await, with_ca.clone()),
        (
            "no host",
            any(&ca.issue(|params| params.subject_alt_names.clear())).await,
            with_ca.clone(),
        ),
        (
            "client certificate",
            of("1.2 1.3").await,
            with(place.client("client", &ca.issue(|_| {}))),
        ),
        ("no client certificate", of("1.3").await, with_ca.clone()),
        ("no client certificate, TLS 1.2", of("1.2").await, with_ca.clone()),
        (
            "client certificate of another authority",
            of("1.3").await,
            with(place.client("other", &other.issue(|_| {}))),
        ),
        (
            "client certificate of another authority, TLS 1.2",
            of("1.2").await,
            with(place.client("other2", &other.issue(|_| {}))),
        ),
        (
            "expired client certificate",
            of("1.3").await,
            with(place.client("old", &ca.issue(expired))),
        ),
        (
            "revoked client certificate",
            place.serve(&good, Clients::OfWithout(ca), "1.3").await,
            with(place.client("revoked", &ca.issue(revoked))),
        ),
        (
            "http to a port with TLS",
            local("http", &port(&any(&good).await)),
            vec![],
        ),
        ("https to a port without", local("https", &port(&peer.url)), vec![]),
        (
            "https, closed at once",
            local("https", &answers(b"").await.to_string()),
            vec![],
        ),
        (
            "http, closed at once",
            local("http", &answers(b"").await.to_string()),
            vec![],
        ),
        // What OpenSSL says that speaks TLS 1.0 only.
        (
            "older version of TLS",
            local("https", &answers(&[0x15, 3, 1, 0, 2, 2, 70]).await.to_string()),
            vec![],
        ),
        (
            "no cipher suite in common",
            local("https", &answers(&[0x15, 3, 3, 0, 2, 2, 71]).await.to_string()),
            vec![],
        ),
    ];
    let mut table = String::new();
    for (row, url, env) in rows {
        let told = place.told(&url, &env).await;
        writeln!(table, "{row}: {told}").unwrap();
    }
    screens::holds("connections_by_tls", &table);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_file_that_cannot_be_used_is_named_with_what_is_wrong() {
    let place = Place::new().await;
    let [one, other] = [place.authority.issue(|_| {}), place.authority.issue(|_| {})];
    let put = |name: &str, text: &str| place.put(name, text);
    let ca = |path: String| vec![("QDRANT_CA_FILE", path)];
    let clients = std::cell::Cell::new(0);
    let client = |cert: &str, key: &str| {
        clients.set(clients.get() + 1);
        place.client(
            &format!("client{}", clients.get()),
            &Pair {
                cert: cert.to_owned(),
                key: key.to_owned(),
            },
        )
    };
    let der = put("ca.der", "");
    fs::write(&der, [0x30, 0x82, 1, 2, 3]).unwrap();
    let cut = &place.authority.pem[..200];
    let no_lines = one.key.replace('\n', "");
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let rows = [
        ("missing", ca("/nonexistent/ca.pem".to_owned())),
        ("a folder", ca("/".to_owned())),
        ("empty", ca(put("empty.pem", " \n"))),
        ("no PEM", ca(put("text.pem", "a certificate\n"))),
        ("DER", ca(der)),
        ("cut", ca(put("cut.pem", cut))),
        ("no certificate in it", ca(put("none.pem", no_certificate))),
        ("a key", ca(put("key.pem", &one.key))),
        ("no key", client(&one.cert, &one.cert)),
        ("a key of another certificate", client(&one.cert, &other.key)),
        ("encrypted", client(&one.cert, encrypted)),
        ("without its line breaks", client(&one.cert, &no_lines)),
        ("both wrong", client("", "")),
        ("a certificate without a key", client(&one.cert, &one.key)[..1].to_vec()),
        ("a key without a certificate", client(&one.cert, &one.key)[1..].to_vec()),
    ];
    let mut table = String::new();
    for (row, env) in rows {
        let (code, out, err) = place.run(&["backup"], "https://localhost:1", &env).await;
        assert_eq!((code, out.as_str()), (Some(2), ""), "{row}: {err}");
        for key in [&one.key, &other.key] {
            let secret = key.lines().nth(1).unwrap();
            assert!(!err.contains(&secret[..20]), "a key is shown: {err}");
        }
        let err = err.replace(place.dir.path().to_str().unwrap(), "[dir]");
        writeln!(table, "{row}: {err}").unwrap();
    }
    screens::holds("files_for_tls", &table);
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_restores_and_drills_go_by_tls_with_settings_of_their_own() {
    let place = Place::new().await;
    let (url, pair) = (
        place
            .serve(&place.authority.issue(|_| {}), Clients::Of(&place.authority), "1.3")
            .await,
        place.authority.issue(|_| {}),
    );
    let ours = [vec![place.ca()], place.client("client", &pair)].concat();
    let (code, _, err) = place.run(&["backup"], &url, &ours).await;
    assert_eq!(code, Some(0), "{err}");

    // Another one, of another authority.
    let (target, authority) = (Peer::start(&[]).await, Authority::new("another"));
    // It takes the snapshots of the other one.
    let made = place.peer.lock().made.clone();
    target.lock().made = made;
    let to = serve(&target.url, &authority.issue(|_| {}), Clients::Of(&authority), "1.3").await;
    let theirs = authority.issue(|_| {});
    let [ca, cert, key] = [
        place.put("their-ca.pem", &authority.pem),
        place.put("theirs.pem", &theirs.cert),
        place.put("theirs-key.pem", &theirs.key),
    ];
    let settings = |prefix: &str| {
        let name = |rest: &str| format!("{prefix}_QDRANT_{rest}");
        let own = [
            (name("CA_FILE"), ca.clone()),
            (name("CLIENT_CERT_FILE"), cert.clone()),
            (name("CLIENT_KEY_FILE"), key.clone()),
        ];
        own.to_vec()
    };
    let run = async |args: &[&str], own: Vec<(String, String)>| {
        let own = own.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let env: Vec<_> = ours.iter().cloned().chain(own).collect();
        place.run(args, &url, &env).await
    };
    let restore = ["restore", "latest", "--to", to.as_str()];
    let (code, _, err) = run(&restore, vec![]).await;
    assert_eq!(code, Some(6), "{err}");
    assert!(err.contains("RESTORE_QDRANT_CA_FILE"), "{err}");
    let (code, _, err) = run(&restore, settings("RESTORE")).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(target.lock().collections.contains_key("articles"));

    let drill = ["drill", "latest", "--drill-qdrant-url", to.as_str()];
    let (code, _, err) = run(&drill, vec![]).await;
    assert_eq!(code, Some(6), "{err}");
    assert!(err.contains("DRILL_QDRANT_CA_FILE"), "{err}");
    let (code, _, err) = run(&drill, settings("DRILL")).await;
    assert_eq!(code, Some(0), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_change_are_read_again_and_broken_ones_are_not_used() {
    let place = Place::new().await;
    let url = place
        .serve(&place.authority.issue(|_| {}), Clients::Of(&place.authority), "1.3")
        .await;
    let pair = place.authority.issue(|_| {});
    let [ca, cert, key] = [
        place.put("now.pem", &Authority::new("another").pem),
        place.put("client.pem", &pair.cert),
        place.put("client-key.pem", &pair.key),
    ];
    let qdrant = Qdrant::new(Options {
        tls: Tls {
            ca: Some(ca.into()),
            identity: Some((cert.into(), key.into())),
            ..Tls::default()
        },
        retries: 0,
        ..Options::new(url.parse().unwrap())
    })
    .unwrap();
    let asked = async || qdrant.version().await.map_err(|error| error.code());
    assert_eq!(asked().await, Err(Code::QdrantTls));
    place.put("now.pem", &place.authority.pem);
    assert_eq!(asked().await, Ok("1.18.3".to_owned()));
    // As while the second file is not written yet.
    let renewed = place.authority.issue(|_| {});
    place.put("client.pem", &renewed.cert);
    assert_eq!(asked().await, Ok("1.18.3".to_owned()));
    fs::remove_file(place.dir.path().join("now.pem")).unwrap();
    assert_eq!(asked().await, Ok("1.18.3".to_owned()));
    place.put("now.pem", &Authority::new("a third").pem);
    place.put("client-key.pem", &renewed.key);
    assert_eq!(asked().await, Err(Code::QdrantTls));
}

#[test]
fn certificates_without_https_are_told() {
    let env = |url: &'static str| {
        move |name: &str| match name {
            "QDRANT_URL" => Some(url.to_owned()),
            "QDRANT_CA_FILE" => Some("/ca.pem".to_owned()),
            _ => None,
        }
    };
    let told = qdrant_backup::config::obsolete(&env("http://q:6333"));
    assert!(told.len() == 1 && told[0].contains("QDRANT_CA_FILE"), "{told:?}");
    assert_eq!(
        qdrant_backup::config::obsolete(&env("HTTPS://q:6333")),
        Vec::<String>::new()
    );
}
