//! `GET /ui/backups`: what backups there are, newest first.

use super::document::{Document, Place};
use super::parts::{Tone, badge, foreign, time};
use super::reader::Reader;
use super::text::Text;
use crate::base::text::{count, size};
use crate::repository::catalog::{self, ListFilter, Mark, Summary};
use crate::server::App;
use crate::server::error::HttpError;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

/// Backups that a page begins with, and at most has.
const SHOWN: usize = 50;
const MOST: usize = 1000;

pub(super) async fn list(State(app): State<App>, reader: Reader) -> Result<Response, HttpError> {
    let limit = reader
        .asked("limit")
        .and_then(|limit| limit.parse().ok())
        .unwrap_or(SHOWN)
        .clamp(1, MOST);
    let filter = ListFilter {
        limit,
        collection: reader.asked("collection").map(str::to_owned),
        ..ListFilter::default()
    };
    let listed = catalog::filtered(&*app.ctx.store, &filter, app.ctx.clock.now());
    let listed = app.ask_store("its backups", listed).await?;
    let more = (limit * 4).min(MOST).to_string();
    let title = reader.say(Text::Backups);
    let main = html! {
        h1 { (title) }
        @if listed.backups.is_empty() { p.empty { (reader.say(Text::NoBackups)) } }
        @else { ul.backups { @for summary in &listed.backups { (one(&reader, summary)) } } }
        @if listed.is_cut && limit < MOST {
            p { a href=(reader.link("/ui/backups", &[("limit", &more)])) { (reader.say(Text::MoreBackups)) } }
        }
    };
    Ok(Document::new(title, Place::Backups, main).send(&reader).await)
}

/// A backup in a list.
fn one(reader: &Reader, summary: &Summary) -> Markup {
    let id = summary.id.to_string();
    html! {
        li data-backup=(id) {
            a href=(reader.link(&format!("/ui/backups/{id}"), &[])) { (time(summary.id.time())) }
            span.marks { (marks(reader, summary)) }
            span.number { (reader.say(Text::CollectionsIn(summary.collections))) }
            span.number { (reader.say(Text::Points(summary.points))) }
            span.number { (size(summary.bytes)) }
        }
    }
}

/// What is known of its worth.
pub(super) fn marks(reader: &Reader, summary: &Summary) -> Markup {
    marks_of(reader, &summary.marks)
}

pub(super) fn marks_of(reader: &Reader, marks: &[Mark]) -> Markup {
    html! {
        @for (at, mark) in marks.iter().enumerate() {
            @if at > 0 { " " }
            (badge(tone_of(*mark), &reader.say(Text::Mark(*mark))))
        }
    }
}

/// What a backup is worth as a whole.
pub(super) fn tone(summary: &Summary) -> Tone {
    summary.marks.first().map_or(Tone::Unknown, |mark| tone_of(*mark))
}

fn tone_of(mark: Mark) -> Tone {
    match mark {
        Mark::Good | Mark::Verified | Mark::Drilled => Tone::Good,
        Mark::Damaged | Mark::DrillFailed | Mark::Unreadable | Mark::NotRestorable => Tone::Bad,
        Mark::Partial | Mark::Unproven | Mark::Future | Mark::Scoped => Tone::Warning,
        Mark::Pinned => Tone::Plain,
    }
}

/// What is wrong with it as far as its records tell.
pub(super) fn oddities(summary: &Summary) -> Markup {
    html! { @for odd in summary.odd() { p { (foreign(odd)) } } }
}

/// A number of points.
pub(super) fn points(number: u64, is_estimated: bool) -> String {
    match is_estimated {
        true => format!("≈ {}", count(number)),
        false => count(number),
    }
}
