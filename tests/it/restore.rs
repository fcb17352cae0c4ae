//! Restores through the HTTP service and the shipped binary, from both stores: what was deleted comes back equal, nothing is
//! overwritten unasked, aliases are set, moved and swapped.
//!
//! Qdrant and bucket are those of this workspace, or real ones, see [`support::place`].

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::place::{Place, borrowed, node};
use testkit::process::{command, finish};
use testkit::service::Service;
use testkit::store::Bucket;

/// A Qdrant with the sample collections, a service that backs it up, and a backup.
struct Live {
    place: Place,
    service: Service,
    id: String,
}

impl Live {
    async fn start(store: &[(&'static str, String)]) -> Self {
        let place = Place::new(50).await;
        let env = [place.env(), store.to_vec()].concat();
        let service = Service::start(&borrowed(&env)).await;
        let (status, report) = service.post("/backup", "{}").await;
        assert_eq!(status, 200, "{report}");
        let id = report["id"].as_str().unwrap().to_owned();
        Self { place, service, id }
    }

    async fn restore(&self, request: Value) -> (u16, Value) {
        let mut body = json!({"id": self.id});
        body.as_object_mut()
            .unwrap()
            .extend(request.as_object().unwrap().clone());
        self.service.post("/restore", &body.to_string()).await
    }

    async fn restored(&self, request: Value) -> Value {
        let (status, report) = self.restore(request).await;
        assert_eq!((status, report["status"].as_str()), (200, Some("complete")), "{report}");
        report
    }

    /// Alias to collection, of this test's collections.
    async fn aliases(&self) -> Vec<(String, String)> {
        let all = self.place.client.call("GET", "/aliases", None).await.unwrap();
        let pair = |a: &Value| {
            (
                a["alias_name"].as_str().unwrap().to_owned(),
                a["collection_name"].as_str().unwrap().to_owned(),
            )
        };
        let all = all["aliases"].as_array().unwrap().iter().map(pair);
        all.filter(|(a, _)| a.starts_with(&self.place.prefix)).collect()
    }
}

/// What was deleted at night, and the other ways to get it back.
async fn journey(store: &[(&'static str, String)]) {
    let live = Live::start(store).await;
    let place = &live.place;
    let (articles, products) = (place.sample("articles"), place.sample("products"));
    let alias = format!("{}live", place.prefix);
    let before = place.answers(articles, &articles.name).await;
    assert!(!before[0]["points"].as_array().unwrap().is_empty());

    // Deleted, and its alias with it.
    place.client.delete(&articles.name).await.unwrap();
    assert_eq!(live.aliases().await, []);
    let report = live.restored(json!({"collections": [articles.name]})).await;
    let restored = &report["collections"][0];
    assert_eq!(restored["points"], json!(articles.points), "{report}");
    assert_eq!(restored["sampled"], json!(100));
    assert_eq!(report["aliases"], json!([alias]));
    assert_eq!(place.answers(articles, &articles.name).await, before);
    assert_eq!(live.aliases().await, [(alias.clone(), articles.name.clone())]);

    // What has points is not overwritten unasked, and the plan says so.
    let body = json!({"points": [0, 1, 2]});
    let gone = place
        .client
        .call(
            "POST",
            &format!("/collections/{}/points/delete?wait=true", articles.name),
            Some(body),
        )
        .await;
    gone.unwrap();
    let lost = place.client.count(&articles.name).await.unwrap();
    assert!(lost < articles.points);
    for dry_run in [true, false] {
        let (status, error) = live
            .restore(json!({"collections": [articles.name], "dry_run": dry_run}))
            .await;
        assert_eq!(
            (status, error["error"]["code"].as_str()),
            (409, Some("restore_refused")),
            "{error}"
        );
        // The request that it offers harms nothing; the field that would is named.
        let remedy = error["error"]["remedy"].as_str().unwrap();
        let (words, request) = remedy.split_once("POST /restore ").unwrap_or_else(|| panic!("{error}"));
        let request: Value = serde_json::from_str(request).unwrap_or_else(|_| panic!("{error}"));
        assert!(request["into"].is_string() && request["overwrite"].is_null(), "{error}");
        assert!(words.contains("\"overwrite\""), "{error}");
    }
    assert_eq!(
        place.client.count(&articles.name).await.unwrap(),
        lost,
        "a refused restore changes nothing"
    );
    let (status, plan) = live
        .restore(json!({"collections": [articles.name], "overwrite": true, "dry_run": true}))
        .await;
    assert_eq!(
        (status, &plan["collections"][0]["overwrites"]["points"]),
        (200, &json!(lost)),
        "{plan}"
    );
    assert_eq!(
        place.client.count(&articles.name).await.unwrap(),
        lost,
        "a plan changes nothing"
    );
    // An index that was made since the backup stays.
    let index = json!({"field_name": "year", "field_schema": "integer"});
    place
        .client
        .call(
            "PUT",
            &format!("/collections/{}/index?wait=true", articles.name),
            Some(index),
        )
        .await
        .unwrap();
    live.restored(json!({"collections": [articles.name], "overwrite": true}))
        .await;
    assert_eq!(place.answers(articles, &articles.name).await, before);
    assert_eq!(live.aliases().await, [(alias.clone(), articles.name.clone())]);

    // Everything beside the originals; the aliases stay where they are.
    let report = live.restored(json!({"into": "{}-copy"})).await;
    assert_eq!(report["collections"].as_array().unwrap().len(), 3);
    for sample in &place.samples {
        let copy = format!("{}-copy", sample.name);
        assert_eq!(place.client.count(&copy).await.unwrap(), sample.points);
        assert_eq!(
            place.answers(sample, &copy).await,
            place.answers(sample, &sample.name).await
        );
    }
    assert_eq!(live.aliases().await, [(alias.clone(), articles.name.clone())]);

    // The swap: beside the live one, then the alias in one operation.
    let report = live
        .restored(json!({"collections": [articles.name], "swap": true}))
        .await;
    let swapped = report["collections"][0]["target"].as_str().unwrap().to_owned();
    assert_eq!(live.aliases().await, [(alias.clone(), swapped.clone())]);
    assert_eq!(report["replaced"], json!([articles.name]));
    assert_eq!(place.answers(articles, &alias).await, before);
    assert_eq!(
        place.client.count(&articles.name).await.unwrap(),
        articles.points,
        "the old one stays"
    );
    let again = live
        .restored(json!({"collections": [articles.name], "swap": true}))
        .await;
    assert_eq!(
        again["replaced"],
        json!([swapped]),
        "a second swap takes a name of its own"
    );
    let (status, error) = live
        .restore(json!({"collections": [products.name], "swap": true}))
        .await;
    assert_eq!(
        (status, error["error"]["code"].as_str()),
        (409, Some("restore_refused")),
        "{error}"
    );
    let (_, plan) = live
        .restore(json!({"collections": [products.name], "swap": true, "dry_run": true}))
        .await;
    let [refusal] = &plan["plan"]["refusals"].as_array().unwrap()[..] else {
        panic!("{plan}");
    };
    assert_eq!(
        refusal["collection"],
        json!(products.name),
        "no alias leads to it: {plan}"
    );
    live.place.end().await;
}

fn directory(dir: &TempDir) -> Vec<(&'static str, String)> {
    let url = url::Url::from_directory_path(dir.path()).unwrap();
    vec![("BACKUP_STORE", url.to_string())]
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_directory() {
    journey(&directory(&tempfile::tempdir().unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_bucket() {
    let bucket = Bucket::new().await;
    journey(&bucket.env()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_restores_into_another_qdrant_with_a_key_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::start(&directory(&dir)).await;
    let place = &live.place;
    // A real server is restored into by its own address, under other names: it has to take what it made.
    let other = match place.is_shared() {
        true => None,
        false => Some(node().await),
    };
    let there = other.as_ref().map_or(&place.client, |(client, ..)| client);
    let run = async |args: &[&str], key: Option<&str>| {
        let mut restore = command(args, &place.client.url, dir.path());
        restore.env("QDRANT_API_KEY", "never sent there");
        restore.envs(key.map(|key| ("RESTORE_QDRANT_API_KEY", key)));
        finish(restore.spawn().unwrap()).await
    };
    let (to, into, full) = (there.url.as_str(), "{}-there", there.key.as_deref());
    let args = ["restore", "latest", "--to", to, "--into", into, "--json"];
    let (code, out, err) = run(&[&args[..], &["--dry-run"]].concat(), full).await;
    assert_eq!(code, Some(0), "{out}{err}");
    let plan: Value = serde_json::from_str(&out).unwrap();
    for step in plan["collections"].as_array().unwrap() {
        let sample = place
            .samples
            .iter()
            .find(|sample| step["source"] == sample.name.as_str())
            .unwrap();
        let points = json!({"min": sample.points, "max": sample.points});
        assert_eq!(
            (&step["overwrites"], &step["points"]),
            (&Value::Null, &points),
            "{plan}"
        );
    }
    let (code, out, err) = run(&args, full).await;
    assert_eq!(code, Some(0), "{out}{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["status"], "complete", "{report}");
    for sample in &place.samples {
        let name = format!("{}-there", sample.name);
        assert_eq!(there.count(&name).await.unwrap(), sample.points);
        for search in &sample.searches {
            assert_eq!(
                there.search(&name, search).await.unwrap(),
                place.client.search(&sample.name, search).await.unwrap()
            );
        }
    }
    // Keys with too few rights, or none, before anything is changed.
    let before = there.call("GET", "/collections", None).await.unwrap();
    let wrong = full.map(|_| ("wrong", "RESTORE_QDRANT_API_KEY"));
    let read_only = place.read_only.as_deref().map(|key| (key, "manage"));
    let keys = wrong.into_iter().chain(read_only);
    for (key, word) in keys
        .map(|(key, word)| (Some(key), word))
        .chain(full.map(|_| (None, "RESTORE_QDRANT_API_KEY")))
    {
        let (code, out, err) = run(&["restore", "latest", "--to", to, "--into", "{}-2"], key).await;
        assert_eq!(code, Some(6), "{key:?}: {out}{err}");
        assert!(err.contains(word), "{key:?}: {err}");
    }
    if !place.is_shared() {
        assert_eq!(there.call("GET", "/collections", None).await.unwrap(), before);
    }
    assert!(place.collections().await.iter().all(|name| !name.ends_with("-2")));
    let (code, out, err) = run(&["restore", "latest", "--to", to, "--into", into, "--json"], full).await;
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &told["error"]["code"]),
        (Some(11), &json!("restore_refused")),
        "{err}"
    );
    let (code, _, err) = run(&["restore", "latest", "--to", to, "--into", "one"], full).await;
    assert_eq!(code, Some(2), "{err}");
    let (code, _, err) = run(&["restore", "latest", "nope", "--to", to], full).await;
    assert_eq!(code, Some(8), "{err}");
    live.place.end().await;
    if let Some((_, node, _dir)) = other {
        node.stop().await;
    }
}
