//! The whole journey through the HTTP service: a Qdrant with collections of three kinds, both stores, and the restore by
//! Qdrant's own API.
//!
//! Qdrant and bucket are those of this workspace, or real ones, see [`support::place`].

use futures_util::TryStreamExt;
use qdrant_backup::repository::manifest::{self, Manifest};
use qdrant_backup::wire::store::{self, GcsOptions, Store};
use serde_json::json;
use std::sync::Arc;
use testkit::place::{Place, borrowed};
use testkit::sample::Sample;
use testkit::service::Service;
use testkit::store::Bucket;
use testkit::store::keys;

/// A service that backs this Qdrant up into `store`.
async fn service(place: &Place, store: &[(&'static str, String)]) -> Service {
    let env = [place.env(), store.to_vec()].concat();
    Service::start(&borrowed(&env)).await
}

/// Uploads an artifact as a new collection, as a person without this tool does, and compares that with the live one.
async fn restores(place: &Place, sample: &Sample, bytes: Vec<u8>, sha256: &str) {
    let copy = format!("{}-copy", sample.name);
    let client = &place.client;
    let mut request = client
        .http
        .post(format!(
            "{}/collections/{copy}/snapshots/upload?wait=true&priority=snapshot&checksum={sha256}",
            client.url
        ))
        .multipart(reqwest::multipart::Form::new().part(
            "snapshot",
            reqwest::multipart::Part::bytes(bytes).file_name("x.snapshot"),
        ));
    if let Some(key) = &client.key {
        request = request.header("api-key", key);
    }
    let response = request.send().await.unwrap();
    assert!(response.status().is_success(), "{}", response.text().await.unwrap());
    assert_eq!(client.count(&copy).await.unwrap(), sample.points);
    let (live, restored) = (
        place.answers(sample, &sample.name).await,
        place.answers(sample, &copy).await,
    );
    assert_eq!(live, restored);
    assert!(
        sample.points == 0 || live.iter().all(|found| !found["points"].as_array().unwrap().is_empty()),
        "a search finds nothing"
    );
    client.delete(&copy).await.unwrap();
}

/// A backup through the service, from `POST /backup` to the restored collection.
async fn journey(env: &[(&'static str, String)], store: Arc<dyn Store>) {
    let source = Place::new(50).await;
    let service = service(&source, env).await;
    let (status, report) = service.post("/backup", "{}").await;
    assert_eq!((status, report["status"].as_str()), (200, Some("complete")), "{report}");
    assert_eq!(report["collections"].as_array().unwrap().len(), 3);
    source.has_no_snapshots().await;

    let id = report["id"].as_str().unwrap();
    let (status, shown) = service.get(&format!("/backups/{id}")).await;
    assert_eq!(status, 200, "{shown}");
    let manifest = manifest::read(&*store, &id.parse().unwrap()).await.unwrap();
    for (shown, collection) in shown["collections"]
        .as_array()
        .unwrap()
        .iter()
        .zip(&manifest.collections)
    {
        assert_eq!(
            (&shown["name"], &shown["points"], &shown["bytes"], &shown["aliases"]),
            (
                &json!(collection.name),
                &json!(collection.points_after),
                &json!(collection.bytes()),
                &json!(collection.aliases)
            )
        );
        assert_eq!(
            (&shown["artifacts"][0]["key"], &shown["artifacts"][0]["sha256"]),
            (
                &json!(collection.artifacts[0].key),
                &json!(collection.artifacts[0].sha256)
            )
        );
    }
    assert_eq!(shown["collections"].as_array().unwrap().len(), 3);
    for sample in &source.samples {
        let collection = manifest.collections.iter().find(|c| c.name == sample.name).unwrap();
        assert_eq!(
            (collection.points_before, collection.points_after),
            (sample.points, sample.points)
        );
        let artifact = &collection.artifacts[0];
        assert!(artifact.sha256_confirmed_by_qdrant);
        let bytes = manifest::read_small(&*store, &artifact.key, u64::MAX)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(bytes.len() as u64, artifact.bytes);
        restores(&source, sample, bytes, &artifact.sha256).await;
    }
    let articles = manifest
        .collections
        .iter()
        .find(|c| c.name.ends_with("articles"))
        .unwrap();
    assert_eq!(articles.aliases, [format!("{}live", source.prefix)]);

    // What the tool itself says of it: read back byte by byte, and restored under temporary names on the same Qdrant.
    let (status, verified) = service.post("/backups/latest/verify", "").await;
    assert_eq!(
        (status, verified["verdict"].as_str()),
        (200, Some("intact")),
        "{verified}"
    );
    assert!(!verified.to_string().contains("warnings"), "{verified}");
    let (status, drilled) = service.post("/backups/latest/drill", r#"{"same_qdrant": true}"#).await;
    assert_eq!(
        (status, drilled["verdict"].as_str()),
        (200, Some("passed")),
        "{drilled}"
    );
    assert_eq!(source.collections().await.len(), source.samples.len());
    source.has_no_snapshots().await;

    let (status, list) = service.get("/backups").await;
    assert_eq!((status, list["backups"][0]["id"].as_str()), (200, Some(id)), "{list}");
    assert_eq!(list["backups"][0]["marks"], json!(["good", "verified", "drilled"]));
    let (status, all) = service.get("/status").await;
    assert_eq!((status, all["last_backup"]["id"].as_str()), (200, Some(id)), "{all}");
    let (_, collections) = service.get("/collections").await;
    let mine = collections["collections"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["name"] == articles.name.as_str())
        .unwrap();
    assert_eq!(mine["backup_bytes"], json!(articles.bytes()));
    let left: Vec<_> = keys(&*store, "")
        .await
        .into_iter()
        .filter(|k| !k.starts_with("backups/") && k != "since.json")
        .collect();
    assert_eq!(left, [""; 0], "no lease and no intent may stay");
    source.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn into_a_directory_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let url = url::Url::from_directory_path(dir.path()).unwrap().to_string();
    let store = store::open(&url, GcsOptions::default()).await.unwrap();
    journey(&[("BACKUP_STORE", url)], store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn into_a_bucket_and_back() {
    let bucket = Bucket::new().await;
    let options = GcsOptions {
        endpoint: Some(bucket.endpoint.clone()),
        ..GcsOptions::default()
    };
    let store = store::open(&bucket.url(), options).await.unwrap();
    // By the older names of the variables.
    let env = [
        ("GCS_BUCKET_NAME", bucket.name.clone()),
        ("GCS_FOLDER_PREFIX", bucket.prefix.clone()),
        ("STORAGE_EMULATOR_HOST", bucket.endpoint.clone()),
    ];
    journey(&env, store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_collection_as_the_old_service_was_asked() {
    let source = Place::new(50).await;
    let dir = tempfile::tempdir().unwrap();
    let url = url::Url::from_directory_path(dir.path()).unwrap().to_string();
    let service = service(&source, &[("BACKUP_STORE", url.clone())]).await;
    let name = &source.samples[1].name;
    let (status, report) = service.post("/backup", &json!({"collection": name}).to_string()).await;
    assert_eq!(status, 200, "{report}");
    assert_eq!(report["collections"].as_array().unwrap().len(), 1);
    assert_eq!(report["collections"][0]["name"], json!(name));
    let (status, error) = service.post("/backup", r#"{"collection": "nope"}"#).await;
    assert_eq!(
        (status, error["error"]["code"].as_str()),
        (404, Some("collection_not_found")),
        "{error}"
    );
    let found: Manifest = {
        let store = store::open(&url, GcsOptions::default()).await.unwrap();
        let metas: Vec<_> = store.list("backups/").await.unwrap().try_collect().await.unwrap();
        assert_eq!(metas.len(), 2, "one snapshot and one manifest");
        manifest::read(&*store, &report["id"].as_str().unwrap().parse().unwrap())
            .await
            .unwrap()
    };
    assert_eq!(found.selection.collections, std::slice::from_ref(name));
    source.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_only_read_is_refused_with_the_remedy() {
    let source = Place::new(1).await;
    // The keys of somebody else's server may not be known.
    let read_only = source.read_only.clone().map(|key| (key, "qdrant_forbidden"));
    let wrong = source
        .client
        .key
        .as_ref()
        .map(|_| ("wrong".to_owned(), "qdrant_unauthorized"));
    let dir = tempfile::tempdir().unwrap();
    let url = url::Url::from_directory_path(dir.path()).unwrap().to_string();
    for (key, code) in read_only.into_iter().chain(wrong) {
        let mut env = source.env();
        env.retain(|(name, _)| *name != "QDRANT_API_KEY");
        env.extend([("QDRANT_API_KEY", key), ("BACKUP_STORE", url.clone())]);
        let service = Service::start(&borrowed(&env)).await;
        let (status, answer) = service.post("/backup", "{}").await;
        // Of the run, or of each collection where the key is good for some.
        let found = [&answer["error"]["code"], &answer["report"]["failed"][0]["code"]];
        assert!(
            (500..=502).contains(&status) && found.contains(&&json!(code)),
            "{status} {answer}"
        );
    }
    source.has_no_snapshots().await;
    assert_eq!(
        std::fs::read_dir(dir.path())
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name() == "backups")
            .count(),
        0
    );
    source.end().await;
}
