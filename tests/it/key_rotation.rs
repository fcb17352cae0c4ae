//! A key from a file that is replaced while the process runs.

use std::path::PathBuf;
use tempfile::TempDir;
use testkit::peer::Peer;
use testkit::service::Service;

/// A peer that takes the key in a file.
struct Place {
    peer: Peer,
    dir: TempDir,
}

impl Place {
    async fn new() -> (Self, Service) {
        let place = Self {
            peer: Peer::start(&[("a", 1000), ("b", 1000)]).await,
            dir: tempfile::tempdir().unwrap(),
        };
        place.peer.lock().api_key = Some("first".into());
        place.write("first\n");
        std::fs::create_dir(place.dir.path().join("store")).unwrap();
        let store = url::Url::from_directory_path(place.dir.path().join("store")).unwrap();
        let file = place.file();
        let env = [
            ("QDRANT_URL", place.peer.url.as_str()),
            ("QDRANT_API_KEY_FILE", file.to_str().unwrap()),
            ("BACKUP_STORE", store.as_str()),
        ];
        let service = Service::start(&env).await;
        (place, service)
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("key")
    }

    fn write(&self, key: &str) {
        write(&self.file(), key);
    }
}

/// As a mounted secret is replaced: at once.
fn write(file: &std::path::Path, key: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, key).unwrap();
    std::fs::rename(new, file).unwrap();
}

#[tokio::test]
async fn a_running_service_takes_the_new_key() {
    let (place, service) = Place::new().await;
    assert_eq!(service.post("/backup", "").await.0, 200);
    // The file first: the old key is good as long as Qdrant takes it.
    place.write("second\n");
    assert_eq!(service.post("/backup", "").await.0, 200);
    place.peer.lock().api_key = Some("second".into());
    assert_eq!(service.post("/backup", "").await.0, 200);
    assert_eq!(service.get("/health/freshness").await.0, 200);
    assert_eq!(service.get("/collections").await.0, 200);
    // Qdrant first.
    place.peer.lock().api_key = Some("third".into());
    let (status, answer) = service.post("/backup", "").await;
    assert_eq!((status, &answer["error"]["code"]), (502, &"qdrant_unauthorized".into()));
    place.write("third");
    assert_eq!(service.post("/backup", "").await.0, 200);
}

#[tokio::test]
async fn a_key_that_is_replaced_in_mid_run_stops_no_backup() {
    for at in 1..=4 {
        let (place, service) = Place::new().await;
        place.write("another");
        place.peer.change_key_at_count(at);
        let (status, report) = service.post("/backup", "").await;
        assert_eq!((status, &report["status"]), (200, &"complete".into()), "{at}: {report}");
        let inner = place.peer.lock();
        assert_eq!(inner.api_key.as_deref(), Some("another"), "{at}");
        assert!(inner.collections.values().all(|c| c.snapshots.is_empty()), "{at}");
    }
}

#[tokio::test]
async fn what_is_no_key_replaces_none() {
    let (place, service) = Place::new().await;
    for wrong in ["", "\n", "two words", "é"] {
        place.write(wrong);
        assert_eq!(service.post("/backup", "").await.0, 200, "{wrong:?}");
        place.peer.lock().api_key = Some("another".into());
        let (status, answer) = service.post("/backup", "").await;
        let code = &answer["error"]["code"];
        assert_eq!((status, code), (502, &"qdrant_unauthorized".into()), "{wrong:?}");
        place.peer.lock().api_key = Some("first".into());
    }
    std::fs::remove_file(place.file()).unwrap();
    place.peer.lock().api_key = Some("another".into());
    assert_eq!(service.post("/backup", "").await.0, 502);
    // A refusal has each file read once, not again and again.
    place.peer.lock().log.clear();
    assert_eq!(service.post("/backup", "").await.0, 502);
    assert!(place.peer.lock().log.len() < 5, "{:?}", place.peer.lock().log);
}
