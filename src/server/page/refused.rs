//! What the reader of a page gets in place of one, and what can be run instead of what was refused.

use super::document::{Document, Place};
use super::parts::{Tone, command, problem};
use super::reader::Reader;
use super::text::Text;
use super::{is_page, prune, restore};
use crate::repository::names::BackupId;
use crate::server::error::{HttpError, RequestCode};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use maud::html;

/// Who is to be told in the form of a page.
pub(in crate::server) struct Refused {
    reader: Reader,
    is_form: bool,
    /// What does the same as the refused request.
    command: Option<String>,
}

impl Refused {
    /// `None`: it is no page that was asked for, or nobody who reads one.
    pub(in crate::server) fn of(request: &Request) -> Option<Self> {
        let accepts = request
            .headers()
            .get(header::ACCEPT)
            .and_then(|value| value.to_str().ok());
        if !is_page(request.uri().path()) || !accepts.is_some_and(|accepts| accepts.contains("text/html")) {
            return None;
        }
        let mut reader = Reader::of(request.uri(), request.headers(), request.extensions());
        let is_form = request.method() == Method::POST;
        let command = if is_form { instead_of(&reader) } else { None };
        if is_form {
            reader.path = page_of(&reader.path).to_owned();
        }
        Some(Self {
            reader,
            is_form,
            command,
        })
    }

    /// The page that tells of the error.
    pub(in crate::server) async fn page(self, error: &HttpError, request_id: &str) -> Response {
        let reader = &self.reader;
        let status = error.status().as_u16();
        let title = reader.say(match self.is_form {
            true => Text::Refused(status),
            false => Text::NotShown(status),
        });
        let main = html! {
            section.notice.bad data-refused=(error.code()) {
                div role="alert" { h1 { (title) } }
                (problem(reader, error.info()))
                @if let Some(command_line) = self.command.as_ref().filter(|_| is_browsers(error)) {
                    div.instead data-instead { p { (reader.say(Text::RunThisInstead)) } (command(command_line)) }
                }
                @if error.code() == RequestCode::PlanChanged.to_string() {
                    p { a.button href=(reader.here()) { (reader.say(Text::ShowNewPlan)) } }
                }
                p.hint { (reader.say(Text::RequestId)) " " code { (request_id) } }
                p { a href=(reader.link("/", &[])) { (reader.say(Text::BackToOverview)) } }
            }
        };
        let mut page = Document::new(title, Place::Elsewhere, main);
        page.status = error.status();
        page.tone = Tone::Bad;
        let mut response = page.send(reader).await;
        let headers = response.headers_mut();
        // A 401 has to say by which scheme one gets in.
        if error.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = error.wait() {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// Whether it was not the request that was refused, but the browser that sent it: a command does the same then. Any other refusal
/// is one of the command, too, or is there for a reason.
fn is_browsers(error: &HttpError) -> bool {
    [RequestCode::BrowserRefused, RequestCode::HostRefused]
        .iter()
        .any(|code| error.code() == code.to_string())
}

/// The address of the page that has the form which posts to `path`.
fn page_of(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some((page, "verify" | "drill" | "pin" | "unpin")) => page,
        _ if path == "/ui/backup" => "/",
        _ => path,
    }
}

/// The command for what a form does; what it is about stands in its address.
fn instead_of(reader: &Reader) -> Option<String> {
    let segments: Vec<_> = reader.path.split('/').skip(1).collect();
    match segments.as_slice() {
        ["ui", "backup"] => Some("qdrant-backup backup".to_owned()),
        ["ui", "prune"] => Some(prune::COMMAND.to_owned()),
        ["ui", "restore"] => restore::command_of(reader),
        // Nothing but an id is repeated in a command.
        ["ui", "backups", id, command @ ("verify" | "drill" | "pin" | "unpin")] => {
            let id: BackupId = id.parse().ok()?;
            // Which Qdrant was chosen stands in the body, which is not read.
            let flag = if *command == "drill" { " --same-qdrant" } else { "" };
            Some(format!("qdrant-backup {command} {id}{flag}"))
        }
        _ => None,
    }
}
