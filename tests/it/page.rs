//! The pages for people, over HTTP: what they say, in which language, and that nothing of what others name becomes a part of them.

mod backups;
mod forms;
mod frame;
mod hostile;
mod html;
mod overview;
mod runs;
mod weight;

use html::Html;
use reqwest::Method;
use reqwest::header::HeaderMap;
use testkit::service::Service;

/// What a browser accepts.
const HTML: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// An answer in HTML.
struct Shown {
    status: u16,
    headers: HeaderMap,
    html: Html,
}

/// A page as a browser in English asks for it.
async fn look(service: &Service, path: &str) -> Shown {
    look_with(service, path, &[]).await
}

/// The same with these headers.
async fn look_with(service: &Service, path: &str, headers: &[(&str, &str)]) -> Shown {
    let mut request = service.request(Method::GET, path).header("accept", HTML);
    for (name, value) in browser().iter().chain(headers) {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let html = Html::read(&answer.text().await.unwrap());
    Shown { status, headers, html }
}

/// What a browser sends for a page that was typed, or follows a link of the same site.
fn browser() -> [(&'static str, &'static str); 2] {
    [
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
        ("sec-fetch-site", "same-origin"),
    ]
}
