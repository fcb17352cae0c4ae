//! The frame of every page, and the headers that it is sent with.

use super::asset::{ICON, SCRIPT, STYLE};
use super::language::Language;
use super::parts::Tone;
use super::reader::Reader;
use super::text::Text;
use crate::base::heavy;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::io::Write;

/// Nothing is loaded, sent or shown but by and to this service, and nothing stands in the page itself but text.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; \
     connect-src 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What is smaller is sent as it is.
const WORTH_PACKING: usize = 1024;

/// Where a page belongs in the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Overview,
    Backups,
    Restore,
    Prune,
    Elsewhere,
}

/// A page before it is sent.
pub(super) struct Document {
    pub(super) status: StatusCode,
    /// Also what the tab of the browser says.
    pub(super) title: String,
    pub(super) place: Place,
    /// Of what the page tells.
    pub(super) tone: Tone,
    pub(super) main: Markup,
    /// Whether it has a long list, which is painted one frame after what stands above it.
    pub(super) is_long: bool,
    /// Of the plan that it shows.
    pub(super) etag: Option<String>,
}

impl Document {
    pub(super) fn new(title: impl Into<String>, place: Place, main: Markup) -> Self {
        Self {
            status: StatusCode::OK,
            title: title.into(),
            place,
            tone: Tone::Plain,
            main,
            is_long: false,
            etag: None,
        }
    }

    /// The answer.
    pub(super) async fn send(self, reader: &Reader) -> Response {
        let text = framed(&self, reader).into_string();
        let etag = self
            .etag
            .map(|etag| format!("\"{etag}\""))
            .and_then(|etag| etag.parse().ok());
        let mut response = match reader.takes_gzip && text.len() >= WORTH_PACKING {
            true => match packed(text).await {
                Ok(bytes) => ([(header::CONTENT_ENCODING, "gzip")], bytes).into_response(),
                Err(text) => text.into_response(),
            },
            false => text.into_response(),
        };
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        for (name, value) in fixed_headers() {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Some(etag) = etag {
            headers.insert(header::ETAG, etag);
        }
        response
    }
}

fn fixed_headers() -> [(HeaderName, &'static str); 6] {
    [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // It tells names.
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "Accept-Encoding, Accept-Language"),
    ]
}

/// `text` in gzip; as it is if that fails.
async fn packed(text: String) -> Result<Vec<u8>, String> {
    let (length, unpacked) = (text.len(), text.clone());
    let pack = move || {
        let mut packer = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::new(6));
        packer.write_all(text.as_bytes()).and_then(|()| packer.finish())
    };
    match heavy::run(length, pack).await {
        Ok(Ok(bytes)) => Ok(bytes),
        _ => Err(unpacked),
    }
}

fn framed(page: &Document, reader: &Reader) -> Markup {
    let places = [
        (Place::Overview, "/", Text::Overview),
        (Place::Backups, "/ui/backups", Text::Backups),
        (Place::Restore, "/ui/restore", Text::Restore),
        (Place::Prune, "/ui/prune", Text::Prune),
    ];
    html! {
        (DOCTYPE)
        html lang=(reader.language.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (page.title) " · qdrant-backup" }
                link rel="icon" href=(ICON.path) type="image/svg+xml";
                link rel="stylesheet" href=(STYLE.path);
                script src=(SCRIPT.path) defer {}
            }
            body.long[page.is_long] data-tone=(page.tone.word()) {
                a.skip href="#main" { (reader.say(Text::SkipToContent)) }
                header.top {
                    div.bar {
                        a.brand href=(reader.link("/", &[])) {
                            span aria-hidden="true" { (PreEscaped(ICON.content)) }
                            span { "qdrant-backup" }
                        }
                        nav aria-label=(reader.say(Text::Pages)) {
                            @for (place, path, text) in places {
                                a href=(reader.link(path, &[])) aria-current=[(page.place == place).then_some("page")] {
                                    (reader.say(text))
                                }
                            }
                        }
                        nav.languages aria-label=(reader.say(Text::Languages)) {
                            @for language in Language::ALL.into_iter().filter(|language| *language != reader.language) {
                                a href=(reader.here_in(language)) hreflang=(language.tag()) lang=(language.tag()) {
                                    (language.name())
                                }
                            }
                        }
                    }
                }
                p.lost #lost role="alert" hidden { (reader.say(Text::OutOfDate)) }
                main #main tabindex="-1" { (page.main) }
                footer.foot {
                    p {
                        "qdrant-backup " (env!("CARGO_PKG_VERSION")) " · "
                        a href="/status" { (reader.say(Text::AsJson)) }
                    }
                }
            }
        }
    }
}
