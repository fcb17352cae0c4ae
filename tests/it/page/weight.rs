//! What the overview weighs on the wire, with 300 collections and 1,000 backups.

use super::{HTML, browser};
use reqwest::Method;
use std::io::Read;
use std::time::Instant;
use testkit::many;
use testkit::peer::Peer;
use testkit::service::Service;

/// Bytes of the answer, packed as browsers ask for it.
const MOST: usize = 30 << 10;

/// What the style sheet knows a long list by.
const LONG: &str = "<body class=\"long\"";

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_of_300_collections_and_1000_backups_is_light() {
    let names: Vec<_> = (0..300).map(many::name).collect();
    let collections: Vec<_> = names.iter().map(|name| (name.as_str(), 10)).collect();
    let peer = Peer::start(&collections).await;
    let service = Service::over(&peer.url).await;
    // Old ones are not read, so they may be small.
    many::write_backups(service.dir(), 1000, 1);
    many::write_backups(service.dir(), 60, 300);
    for path in ["/", "/?page=3"] {
        let mut request = service
            .request(Method::GET, path)
            .header("accept", HTML)
            .header("accept-encoding", "gzip, br");
        for (name, value) in browser() {
            request = request.header(name, value);
        }
        let began = Instant::now();
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["content-encoding"], "gzip", "{path}");
        let packed = answer.bytes().await.unwrap();
        let mut page = String::new();
        flate2::read::GzDecoder::new(&packed[..])
            .read_to_string(&mut page)
            .unwrap();
        println!(
            "{path}: {} bytes, {} unpacked, in {:?}",
            packed.len(),
            page.len(),
            began.elapsed()
        );
        assert!(packed.len() <= MOST, "{path}: {} bytes", packed.len());
        // A page of collections, each with its strip.
        let rows = ["data-state=", "<svg class=\"strip\""].map(|what| page.matches(what).count());
        assert_eq!(rows, [20, 20], "{path}: it has what it should");
        assert!(page.contains(LONG), "{path}: it is painted in two frames");
    }
    // A short list is painted at once: the place that is kept for a long one would be too large.
    let page = service
        .request(Method::GET, "/?find=collection-012")
        .header("accept", HTML);
    let page = page.send().await.unwrap().text().await.unwrap();
    assert_eq!((page.matches("data-state=").count(), page.contains(LONG)), (10, false));
}
