//! What is changed by the forms of the pages: only what was shown, only by whom it may be, and never without a way to do it by hand.

use super::html::Html;
use super::{HTML, Shown, browser, look};
use qdrant_backup::server::auth::{Mode, Role, Roles};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::history::backup;
use testkit::peer::{Fetch, Peer};
use testkit::service::{Service, Setup};
use url::form_urlencoded;

/// What a pressed button comes to.
struct Pressed {
    shown: Shown,
    /// Where the browser is then.
    at: String,
}

/// Sends a form as a browser does that has this page open, and follows where it leads.
async fn press(service: &Service, path: &str, fields: &[(&str, &str)]) -> Pressed {
    press_from(service, path, fields, &service.url).await
}

async fn press_from(service: &Service, path: &str, fields: &[(&str, &str)], origin: &str) -> Pressed {
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let mut request = service
        .request(Method::POST, path)
        .header("accept", HTML)
        .header("origin", origin);
    for (name, value) in browser() {
        request = request.header(name, value);
    }
    let answer = request
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await
        .unwrap();
    let at = answer.url().path().to_owned();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let html = Html::read(&answer.text().await.unwrap());
    Pressed {
        shown: Shown { status, headers, html },
        at,
    }
}

/// The code of a refusal, as a page tells it.
fn refused(pressed: &Pressed) -> (u16, &str) {
    let codes = pressed.shown.html.values("data-refused");
    (pressed.shown.status, codes.first().copied().unwrap_or_default())
}

/// The plan that a page shows.
fn plan(page: &Shown) -> String {
    let of_form = page
        .html
        .named("input")
        .find(|input| input.get("name") == Some("plan"))
        .unwrap();
    let plan = of_form.get("value").unwrap().to_owned();
    assert_eq!(page.headers["etag"].to_str().unwrap(), format!("\"{plan}\""));
    plan
}

async fn backups(service: &Service) -> usize {
    service.look("/backups").await.body["backups"].as_array().unwrap().len()
}

/// A service that keeps one backup.
async fn keeping_one(peer: &Peer, dir: &tempfile::TempDir) -> Service {
    let store = url::Url::from_directory_path(dir.path()).unwrap();
    let env = [
        ("QDRANT_URL", peer.url.as_str()),
        ("BACKUP_STORE", store.as_str()),
        ("RETAIN_LAST", "1"),
    ];
    Service::start(&env).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_deletes_what_was_shown_and_nothing_else() {
    let (peer, dir) = (Peer::start(&[]).await, tempfile::tempdir().unwrap());
    let service = keeping_one(&peer, &dir).await;
    let store = qdrant_backup::wire::store::DirStore::open(dir.path()).await.unwrap();
    assert!(
        look(&service, "/ui/prune").await.html.named("form").next().is_none(),
        "nothing is to go"
    );
    for id in ["2026-01-01T00-00-00Z", "2026-01-02T00-00-00Z"] {
        backup(&store, id).await;
    }
    let page = look(&service, "/ui/prune").await;
    assert_eq!(page.html.values("data-keep"), ["false", "true"]);
    let kept = page.html.one("data-backup", "2026-01-02T00-00-00Z");
    assert!(kept.text.contains("newest good"), "{}", kept.text);
    let old = plan(&page);
    for wrong in ["", "x", &"0".repeat(64)] {
        assert_eq!(
            refused(&press(&service, "/ui/prune", &[("plan", wrong)]).await),
            (412, "plan_changed")
        );
    }
    assert_eq!(refused(&press(&service, "/ui/prune", &[]).await), (412, "plan_changed"));
    backup(&store, "2026-01-03T00-00-00Z").await;
    let late = press(&service, "/ui/prune", &[("plan", &old)]).await;
    assert_eq!(refused(&late), (412, "plan_changed"));
    // A command would do by force what was refused; the new plan can be looked at.
    assert_eq!(late.shown.html.values("data-instead"), [""; 0]);
    assert!(late.shown.html.values("href").contains(&"/ui/prune"));
    assert_eq!(backups(&service).await, 3);
    let now = plan(&look(&service, "/ui/prune").await);
    assert_ne!(now, old);
    let done = press(&service, "/ui/prune", &[("plan", &now)]).await;
    assert_eq!(done.shown.status, 200);
    assert!(done.at.starts_with("/ui/runs/"), "{}", done.at);
    service.is_idle().await;
    assert_eq!(backups(&service).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_goes_in_three_steps_to_a_new_name() {
    let peer = Peer::start(&[("docs", 1000), ("a b&c", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let id = service.backup("").await.body["id"].as_str().unwrap().to_owned();
    let first = look(&service, "/ui/restore").await.html;
    let second = format!("/ui/restore?backup={id}");
    assert!(first.values("href").contains(&second.as_str()));
    let second = look(&service, &second).await.html;
    let chosen = second
        .named("input")
        .find(|input| input.get("type") == Some("radio") && input.get("checked").is_some());
    assert_eq!(chosen.unwrap().get("value"), Some("new"));
    let third = format!("/ui/restore?backup={id}&collection=a+b%26c&target=new&into=%7B%7D-copy");
    let page = look(&service, &third).await;
    assert_eq!(page.html.values("data-target").len(), 1);
    let action = page
        .html
        .named("form")
        .find_map(|form| form.get("action"))
        .unwrap()
        .to_owned();
    assert!(
        page.html
            .text()
            .contains(&format!("qdrant-backup restore {id} 'a b&c' --into '{{}}-copy'"))
    );
    // The plan is the one that the command line prints.
    let printed = page.html.named("pre").next().unwrap();
    assert!(
        printed.text.starts_with(&format!("Restore backup {id} (")),
        "{}",
        printed.text
    );
    let done = press(&service, &action, &[("plan", &plan(&page))]).await;
    assert!(
        done.at.starts_with("/ui/runs/"),
        "{} {}",
        done.at,
        done.shown.html.text()
    );
    service.is_idle().await;
    assert!(peer.lock().collections.contains_key("a b&c-copy"));
    // What was made meanwhile has changed the plan.
    assert_eq!(
        refused(&press(&service, &action, &[("plan", &plan(&page))]).await),
        (412, "plan_changed")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn overwriting_wants_the_name_typed_and_what_is_forbidden_has_no_button() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let id = service.backup("").await.body["id"].as_str().unwrap().to_owned();
    let same = look(&service, &format!("/ui/restore?backup={id}&target=same"))
        .await
        .html;
    assert_eq!(same.one("data-notice", "refused").get("role"), Some("alert"));
    assert!(same.named("form").next().is_none());
    let path = format!("/ui/restore?backup={id}&target=overwrite");
    let page = look(&service, &path).await;
    assert!(page.html.one("data-notice", "replaces").text.contains("docs"));
    let plan = plan(&page);
    for typed in [
        &[][..],
        &[("confirm", "")],
        &[("confirm", "Docs")],
        &[("confirm", "docs"), ("confirm", "docs")],
    ] {
        let fields = [&[("plan", plan.as_str())], typed].concat();
        assert_eq!(
            refused(&press(&service, &path, &fields).await),
            (400, "bad_request"),
            "{typed:?}"
        );
    }
    // No restore was begun, and no command is shown that would do what was refused.
    assert_eq!(look(&service, "/").await.html.values("data-run"), ["succeeded"]);
    let refusal = press(&service, &path, &[("plan", &plan), ("confirm", "Docs")]).await;
    assert_eq!(refusal.shown.html.values("data-instead"), [""; 0]);
    let done = press(&service, &path, &[("plan", &plan), ("confirm", "docs")]).await;
    assert!(done.at.starts_with("/ui/runs/"), "{}", done.shown.html.text());
    service.is_idle().await;
    let run = service
        .look(&format!("/v1/operations/{}", &done.at["/ui/runs/".len()..]))
        .await
        .body;
    assert_eq!(run["state"], json!("succeeded"), "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_cannot_be_typed_is_typed_as_it_is_shown() {
    let name = "new\nline\u{202e}";
    let peer = Peer::start(&[(name, 1000)]).await;
    let service = Service::over(&peer.url).await;
    let id = service.backup("").await.body["id"].as_str().unwrap().to_owned();
    let path = format!("/ui/restore?backup={id}&target=overwrite");
    let page = look(&service, &path).await;
    let shown = page
        .html
        .named("label")
        .find(|label| label.get("class") == Some("typed"));
    let shown = shown.unwrap().text.rsplit(' ').next().unwrap().to_owned();
    assert!(shown.is_ascii(), "{shown}");
    let done = press(&service, &path, &[("plan", &plan(&page)), ("confirm", &shown)]).await;
    assert!(done.at.starts_with("/ui/runs/"), "{}", done.shown.html.text());
    service.is_idle().await;
}

#[tokio::test]
async fn a_prune_without_a_policy_is_no_failure_of_the_page() {
    let service = Service::over(&Peer::start(&[]).await.url).await;
    let page = look(&service, "/ui/prune").await;
    assert_eq!((page.status, page.html.values("data-prune")), (200, vec!["no_policy"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_begun_watched_and_cancelled() {
    let peer = Peer::start(&[("docs", 100_000)]).await;
    peer.on_fetch("docs", [Fetch::Stall(10)]);
    let service = Service::over(&peer.url).await;
    let begun = press(&service, "/ui/backup", &[]).await;
    assert!(begun.at.starts_with("/ui/runs/"), "{}", begun.shown.html.text());
    let state = async || -> Value {
        service
            .look(&format!("/v1/operations/{}", &begun.at["/ui/runs/".len()..]))
            .await
            .body
    };
    while state().await["progress"]["bytes_done"].as_u64() < Some(10) {
        tokio::task::yield_now().await;
    }
    let page = look(&service, &begun.at).await.html;
    assert_eq!(page.values("data-run"), ["running"]);
    assert!(
        page.named("dd")
            .any(|dd| dd.get("data-bytes").is_some() && dd.text.contains(" / "))
    );
    // The overview has it, too, and leads there.
    let overview = look(&service, "/").await.html;
    assert_eq!(overview.values("data-run"), ["running"]);
    assert!(overview.values("href").contains(&begun.at.as_str()));
    // Another one has to wait.
    assert_eq!(
        refused(&press(&service, "/ui/backup", &[]).await),
        (409, "run_in_progress")
    );
    let cancelled = press(&service, &begun.at, &[]).await;
    assert_eq!(cancelled.shown.html.values("data-run"), ["cancelled"]);
    // It has left no backup to be looked at.
    let leads_to_none = |href: &&str| !href.starts_with("/ui/backups/");
    assert!(cancelled.shown.html.values("href").iter().all(leads_to_none));
    assert_eq!(state().await["state"], json!("cancelled"));
    let ended = look(&service, "/").await.html;
    assert_eq!(ended.values("data-run"), ["cancelled"]);
    assert_eq!(look(&service, "/ui/runs/x").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_pinned_and_drilled_by_its_page() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let id = service.backup("").await.body["id"].as_str().unwrap().to_owned();
    let path = format!("/ui/backups/{id}");
    let has = |page: &Html, action: &str| page.values("action").contains(&format!("{path}/{action}").as_str());
    assert!(has(&look(&service, &path).await.html, "pin"));
    for (action, next) in [("pin", "unpin"), ("unpin", "pin")] {
        let pressed = press(&service, &format!("{path}/{action}"), &[]).await;
        assert_eq!((pressed.shown.status, pressed.at.as_str()), (200, path.as_str()));
        assert!(has(&pressed.shown.html, next) && !has(&pressed.shown.html, action));
        let pinned = &service.look("/backups").await.body["backups"][0]["pinned"];
        assert_eq!(pinned.is_null(), action == "unpin", "{pinned}");
    }
    // There is none for drills: the one that is backed up has to be chosen.
    let drill = format!("{path}/drill");
    let refusal = press(&service, &drill, &[]).await;
    assert_eq!(refused(&refusal), (409, "restore_refused"));
    let choice = look(&service, &path).await.html;
    let choice = choice
        .named("input")
        .find(|input| input.get("name") == Some("same_qdrant"));
    assert!(choice.unwrap().get("required").is_some());
    let begun = press(&service, &drill, &[("same_qdrant", "true")]).await;
    assert!(begun.at.starts_with("/ui/runs/"), "{}", begun.shown.html.text());
    service.is_idle().await;
    let page = look(&service, &begun.at).await.html;
    assert_eq!(page.values("data-run"), ["succeeded"], "{}", page.text());
    assert_eq!(look(&service, "/").await.html.values("data-height"), ["4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_that_cancels_goes_where_the_reader_is() {
    let peer = Peer::start(&[("docs", 100_000)]).await;
    peer.on_fetch("docs", [Fetch::Stall(10)]);
    let service = Service::over(&peer.url).await;
    let begun = press(&service, "/ui/backup", &[]).await;
    let at = format!("/v1/operations/{}:cancel", &begun.at["/ui/runs/".len()..]);
    let here = format!("curl -X POST {}{at}", service.url);
    let page = look(&service, &begun.at).await.html;
    let shown: Vec<_> = page.named("code").map(|code| &code.text).collect();
    assert!(
        !shown.is_empty() && shown.iter().all(|command| **command == here),
        "{shown:?}"
    );
    press(&service, &begun.at, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_all_and_changes_nothing() {
    let (peer, dir) = (Peer::start(&[("docs", 1000)]).await, tempfile::tempdir().unwrap());
    let admin = keeping_one(&peer, &dir).await;
    let id = admin.backup("").await.body["id"].as_str().unwrap().to_owned();
    let mut setup = Setup::over(&peer.url);
    setup.config = {
        let mut config = setup.config;
        config.server.auth = Mode::Iam(Roles::new(Some(Role::Reader)));
        config
    };
    let service = setup.start().await;
    let store = service.store().await;
    for id in ["2026-01-01T00-00-00Z", "2026-01-02T00-00-00Z"] {
        backup(&*store, id).await;
    }
    let jwt = (
        "authorization",
        "Bearer e30.eyJlbWFpbCI6Im1lQHgudGVzdCJ9.SIGNATURE_REMOVED_BY_GOOGLE",
    );
    let target = "/ui/restore?backup=2026-01-01T00-00-00Z";
    for path in [
        "/",
        "/ui/backups",
        "/ui/backups/2026-01-01T00-00-00Z",
        "/ui/restore",
        target,
    ] {
        let page = super::look_with(&service, path, &[jwt]).await;
        assert_eq!(page.status, 200, "{path}");
        let forms = page
            .html
            .named("form")
            .filter(|form| form.get("method") == Some("post"))
            .count();
        let disabled = page
            .html
            .named("button")
            .filter(|button| button.get("disabled").is_some())
            .count();
        assert_eq!(forms, disabled, "{path}");
        assert!(path != "/" || forms == 1, "{path}");
    }
    for (path, role) in [
        ("/ui/backup", "operator"),
        ("/ui/backups/2026-01-01T00-00-00Z/verify", "operator"),
        ("/ui/backups/2026-01-01T00-00-00Z/pin", "operator"),
        ("/ui/backups/2026-01-01T00-00-00Z/unpin", "admin"),
        ("/ui/backups/2026-01-01T00-00-00Z/drill", "admin"),
        ("/ui/prune", "admin"),
        ("/ui/restore?backup=2026-01-01T00-00-00Z&target=new", "admin"),
        ("/ui/runs/2026-11-22T12-00-00Z-restore-1a2b3c4d", "admin"),
        ("/ui/runs/2026-11-22T12-00-00Z-backup-1a2b3c4d", "operator"),
    ] {
        let headers = [(jwt.0, jwt.1.as_bytes())];
        let answer = service.send("POST", path, &headers, "").await;
        assert_eq!(answer.result(), (403, "caller_not_allowed"), "{path}");
        let message = answer.body["error"]["message"].as_str().unwrap();
        assert!(
            message.ends_with(&format!("needs the role {role}")),
            "{path}: {message}"
        );
    }
    assert_eq!(service.store().await.url(), store.url());
    assert_eq!(look(&admin, &format!("/ui/backups/{id}")).await.status, 200);
}

#[tokio::test]
async fn what_a_proxy_or_this_service_refuses_can_be_run_by_hand() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Service::over(&peer.url).await;
    for (path, command) in [
        ("/ui/backup", "qdrant-backup backup"),
        ("/ui/prune", "qdrant-backup prune --yes"),
        (
            "/ui/backups/2026-01-01T00-00-00Z/verify",
            "qdrant-backup verify 2026-01-01T00-00-00Z",
        ),
        (
            "/ui/restore?backup=2026-01-01T00-00-00Z&collection=a%27b&target=overwrite",
            r"qdrant-backup restore 2026-01-01T00-00-00Z 'a'\''b' --overwrite",
        ),
    ] {
        for origin in ["null", "http://evil.test"] {
            let pressed = press_from(&service, path, &[], origin).await;
            assert_eq!(refused(&pressed), (403, "browser_refused"), "{path}");
            let instead = pressed.shown.html.one("data-instead", "");
            assert!(instead.text.ends_with(command), "{path}: {}", instead.text);
        }
    }
    // What is no id is no part of a command.
    let odd = press_from(&service, "/ui/backups/$(id)/verify", &[], "null").await;
    assert!(!odd.shown.html.text().contains("qdrant-backup verify"));
    // The language of a page of a form is changed on the page that has the form.
    for (path, page) in [
        ("/ui/backup", "/?lang=zh-TW"),
        (
            "/ui/backups/2026-01-01T00-00-00Z/pin",
            "/ui/backups/2026-01-01T00-00-00Z?lang=zh-TW",
        ),
        ("/ui/prune", "/ui/prune?lang=zh-TW"),
    ] {
        let refusal = press_from(&service, path, &[], "null").await;
        assert!(refusal.shown.html.values("href").contains(&page), "{path}");
    }
    assert_eq!(backups(&service).await, 0);
}
