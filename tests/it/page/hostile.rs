//! Names and messages of others: markup, marks that turn the direction of writing, the longest there are.

use super::look;
use serde_json::json;
use testkit::history::backup_with;
use testkit::peer::Peer;
use testkit::service::Service;

fn names() -> Vec<String> {
    let long = "長".repeat(85);
    let texts = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "&lt;b&gt;&amp;&#x3c;",
        "</title></textarea></style>--><!--",
        "{{7*7}}${7*7}<%= 7 %>",
        "\u{202e}gpj.exe\u{202c}",
        "\u{200f}שלום\u{2067}abc\u{2069}",
        "🚀👩‍👩‍👧‍👦 e\u{301}",
        "javascript:alert(1)",
        "../../etc/passwd",
        "a?b=c&d=e#f%20",
        "\u{1b}[31mred\u{7}\n\t",
    ];
    let mut names: Vec<_> = texts.into_iter().map(str::to_owned).collect();
    names.extend(["x".repeat(255), long]);
    names
}

#[tokio::test]
async fn no_name_or_message_becomes_a_part_of_a_page() {
    let names = names();
    let collections: Vec<_> = names.iter().map(|name| (name.as_str(), 1000)).collect();
    let peer = Peer::start(&collections).await;
    let service = Service::over(&peer.url).await;
    let store = service.store().await;
    let text = "2026-11-22T12-00-00Z";
    backup_with(&*store, text, |manifest| {
        let template = manifest.collections[0].clone();
        manifest.collections = names
            .iter()
            .map(|name| {
                let mut collection = template.clone();
                collection.name = name.clone();
                collection.aliases = names.clone();
                collection.warnings = names.clone();
                for artifact in &mut collection.artifacts {
                    artifact.key = manifest.id.artifact(name, &artifact.kind, 1);
                    artifact.sha256 = name.clone();
                }
                collection
            })
            .collect();
        manifest.warnings = names.clone();
        manifest.failed = names
            .iter()
            .map(|name| {
                let failure = json!({"collection": name, "code": name, "message": name, "remedy": name});
                serde_json::from_value(failure).unwrap()
            })
            .collect();
        manifest.qdrant.version = names[0].clone();
    })
    .await;
    for path in [
        "/",
        "/?find=%3Cscript%3E",
        "/?lang=%22%3E%3Cb%3E",
        "/ui/backups",
        &format!("/ui/backups/{text}"),
        "/ui/restore?collection=%3Cscript%3E%E2%80%AE",
        &format!("/ui/restore?backup={text}&collection=%3Cscript%3E"),
        &format!("/ui/restore?backup={text}&target=new&into=%3Cb%3E%7B%7D%E2%80%AE"),
    ] {
        // The reader of this test refuses what is not escaped or not nested.
        let page = look(&service, path).await;
        assert_eq!(page.status, 200, "{path}");
        let known = ["script", "img"].map(|name| page.html.named(name).count());
        assert_eq!(known, [1, 0], "{path}");
        let handlers = page
            .html
            .elements
            .iter()
            .flat_map(|e| e.attributes.keys())
            .filter(|name| name.starts_with("on"));
        assert_eq!(handlers.count(), 0, "{path}");
        for c in ['\u{202e}', '\u{2067}', '\u{1b}', '\u{7}'] {
            assert!(!page.html.text().contains(c), "{path}: {c:?}");
        }
        for href in page.html.values("href") {
            assert!(href.starts_with('/') || href == "#main", "{path}: {href}");
        }
    }
    // Every collection is there, and each of its names stands by itself.
    let page = look(&service, "/").await.html;
    assert_eq!(page.values("data-state").len(), names.len());
    assert!(page.named("bdi").any(|bdi| bdi.text == "<script>alert(1)</script>"));
}
