//! The collections, those first that are not protected.

use super::COLLECTIONS;
use super::look::{Look, RUNS};
use super::rows::{self, Row};
use crate::base::text::{count, size};
use crate::ops::freshness::State;
use crate::server::page::chart::{StripMark, gauge, strip};
use crate::server::page::parts::{Tone, badge, name, time};
use crate::server::page::reader::Reader;
use crate::server::page::text::Text;
use maud::{Markup, html};

/// What the reader asks for of the list.
pub(super) struct Listed<'a> {
    /// The rows of the page.
    pub(super) shown: Vec<&'a Row>,
    /// How many there are in all, whatever is asked for.
    all: usize,
    wanted: Option<&'a str>,
    page: usize,
    last: usize,
}

impl<'a> Listed<'a> {
    pub(super) fn of(reader: &'a Reader, rows: &'a [Row]) -> Self {
        let wanted = reader.asked("find");
        let found: Vec<_> = rows
            .iter()
            .filter(|row| wanted.is_none_or(|wanted| row.standing.name.contains(wanted)))
            .collect();
        let last = found.len().div_ceil(COLLECTIONS).max(1);
        let page = reader
            .asked("page")
            .and_then(|page| page.parse().ok())
            .unwrap_or(1)
            .clamp(1, last);
        Self {
            shown: found
                .into_iter()
                .skip((page - 1) * COLLECTIONS)
                .take(COLLECTIONS)
                .collect(),
            all: rows.len(),
            wanted,
            page,
            last,
        }
    }
}

pub(super) fn section(reader: &Reader, listed: &Listed<'_>, look: &Look) -> Markup {
    if listed.all == 0 {
        return html! {};
    }
    html! {
        section #collections aria-labelledby="collections-title" {
            div.title-bar {
                // Browsers tell when it is seen, see tests/browser/weight.mjs.
                h2 #collections-title elementtiming="list" { (reader.say(Text::Collections)) " " span.count { (count(listed.all as u64)) } }
                @if listed.all > COLLECTIONS || listed.wanted.is_some() { (finder(reader, listed.wanted)) }
            }
            @if listed.shown.is_empty() { p.empty { (reader.say(Text::NoneFound)) } }
            ul.collections {
                @for row in &listed.shown { (one(reader, row, look)) }
            }
            (pager(reader, listed.page, listed.last, listed.wanted))
        }
    }
}

fn finder(reader: &Reader, wanted: Option<&str>) -> Markup {
    html! {
        form.find method="get" action="/" role="search" {
            @if let Some(language) = reader.asked("lang") { input type="hidden" name="lang" value=(language); }
            input type="search" name="find" value=[wanted] aria-label=(reader.say(Text::FindCollection))
                placeholder=(reader.say(Text::FindCollection));
            button type="submit" { (reader.say(Text::Find)) }
        }
    }
}

fn pager(reader: &Reader, page: usize, last: usize, wanted: Option<&str>) -> Markup {
    let to = |page: usize| {
        let number = page.to_string();
        let mut query = vec![("page", number.as_str())];
        query.extend(wanted.map(|wanted| ("find", wanted)));
        reader.link("/", &query) + "#collections"
    };
    html! {
        @if last > 1 {
            nav.pager aria-label=(reader.say(Text::MoreCollections)) {
                @if page > 1 { a href=(to(page - 1)) rel="prev" { (reader.say(Text::Previous)) } }
                span { (reader.say(Text::PageOf { page, last })) }
                @if page < last { a href=(to(page + 1)) rel="next" { (reader.say(Text::Next)) } }
            }
        }
    }
}

fn one(reader: &Reader, row: &Row, look: &Look) -> Markup {
    let standing = &row.standing;
    let (tone, word, state) = match standing.state {
        State::Fresh => (Tone::Good, Text::IsProtected, "fresh"),
        State::New => (Tone::Warning, Text::IsNew, "new"),
        State::Stale => (Tone::Bad, Text::IsStale, "stale"),
        State::Missing => (Tone::Bad, Text::IsMissing, "missing"),
    };
    let marks = rows::strip(look, &standing.name);
    let (backup, age) = row.newest.unzip();
    let restore = backup.or(row.doubtful).map(|id| {
        let id = id.to_string();
        reader.link("/ui/restore", &[("backup", &id), ("collection", &standing.name)])
    });
    html! {
        li data-state=(state) {
            div.who {
                h3 { (name(&standing.name)) }
                p {
                    (badge(tone, &reader.say(word)))
                    @if let Some(points) = row.points { " " span { (reader.say(Text::Points(points))) } }
                    @if let Some(bytes) = row.bytes { " " span { (size(bytes)) } }
                }
            }
            div.age {
                @match age {
                    Some(age) => {
                        p { (reader.say(Text::AgeOfPromised { age, within: look.wanted.max_age })) }
                        (gauge(age.as_secs_f64() / look.wanted.max_age.as_secs_f64().max(1.0), tone.word()))
                    }
                    None if row.doubtful.is_some() => p { (reader.say(Text::OnlyDoubtful)) },
                    None => p { (reader.say(Text::NoBackup)) }
                }
                @if let Some(due) = standing.due_at { p { (reader.say(Text::DueBy)) " " (time(due)) } }
            }
            (row.ladder.shown(reader, standing.backup))
            div.runs {
                (strip(&marks, RUNS, &told(reader, &marks)))
                @if let Some(restore) = restore { a href=(restore) { (reader.say(Text::RestoreThis)) } }
            }
        }
    }
}

/// The strip in words.
fn told(reader: &Reader, marks: &[StripMark]) -> String {
    let count = |mark| marks.iter().filter(|found| **found == mark).count();
    let (good, doubtful, failed) = (
        count(StripMark::Good),
        count(StripMark::Doubtful),
        count(StripMark::Failed),
    );
    let all = marks.len();
    reader
        .say(Text::Strip {
            all,
            good,
            doubtful,
            failed,
        })
        .into_owned()
}
