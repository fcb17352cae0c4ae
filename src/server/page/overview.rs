//! `GET /`: whether all is safe, in one look.

mod collections;
mod history;
mod look;
mod rows;
mod verdict;
mod work;

use super::document::{Document, Place};
use super::parts::{foreign, name, problem, sign, time};
use super::reader::Reader;
use super::run::LOOK_SECONDS;
use super::text::Text;
use crate::server::App;
use axum::extract::State;
use axum::response::Response;
use collections::Listed;
use look::Look;
use maud::{Markup, html};
use rows::Row;
use verdict::Verdict;

pub(in crate::server) use look::Seen;

/// Seconds between two looks of the script where nothing runs.
const IDLE_SECONDS: u32 = 60;

/// Collections on one page. The style sheet has the height of so many.
const COLLECTIONS: usize = 20;

pub(super) async fn show(State(app): State<App>, reader: Reader) -> Response {
    let look = look::take(&app).await;
    let rows = rows::rows(&look);
    let verdict = Verdict::of(&look);
    let sentence = verdict.sentence(&reader, &look);
    let is_at_work = look.operations.iter().any(|operation| !operation.has_ended());
    let listed = Listed::of(&reader, &rows);
    let seconds = if is_at_work { LOOK_SECONDS } else { IDLE_SECONDS };
    let main = html! {
        // The script looks again at what is marked so.
        div #live data-live=(seconds) {
            (hero(&reader, &look, &verdict, &sentence))
            (warnings(&reader, &look))
            (work::running(&reader, &look))
            (facts(&reader, &look, &rows))
            (collections::section(&reader, &listed, &look))
            (history::section(&reader, &look))
            (work::recent(&reader, &look))
        }
    };
    let mut page = Document::new(sentence, Place::Overview, main);
    page.tone = verdict.tone();
    page.is_long = listed.shown.len() == COLLECTIONS;
    page.send(&reader).await
}

/// The one sentence.
fn hero(reader: &Reader, look: &Look, verdict: &Verdict, sentence: &str) -> Markup {
    html! {
        section class={ "hero " (verdict.tone().word()) } data-verdict=(verdict.word()) {
            (sign(verdict.tone()))
            div.hero-text {
                div role="status" { h1 { (sentence) } }
                @if let Some(advice) = verdict.advice(reader, look) { p data-advice { (advice) } }
                (verdict.action(reader))
            }
        }
    }
}

/// What else is wrong.
fn warnings(reader: &Reader, look: &Look) -> Markup {
    let problems = [
        (Text::StoreProblem, &look.store_error),
        (Text::QdrantProblem, &look.qdrant_error),
        (Text::RunsProblem, &look.operations_error),
    ];
    html! {
        @for (title, error) in problems {
            @if let Some(error) = error {
                section.notice.bad data-notice=(error.code) { h2 { (reader.say(title)) } (problem(reader, error)) }
            }
        }
        (history::newest(reader, &look.backups))
        (work::last_failed(reader, look))
        @if look.of_others > 0 && look.backups.is_empty() {
            section.notice.warning data-notice="of_another" {
                p { (reader.say(Text::OfAnother { backups: look.of_others })) }
                p { a href=(reader.link("/ui/backups", &[])) { (reader.say(Text::AllBackups)) } }
            }
        }
        @if look.future > 0 {
            section.notice.warning data-notice="clock" {
                h2 { (reader.say(Text::ClockTitle)) }
                p { (reader.say(Text::ClockProblem { backups: look.future })) }
            }
        }
    }
}

/// Four numbers that everybody asks for.
fn facts(reader: &Reader, look: &Look, rows: &[Row]) -> Markup {
    let newest = look.newest_good();
    let age = |found: Option<std::time::Duration>| match found {
        Some(age) => reader.say(Text::Ago(age)),
        None if look.answer.is_none() => reader.say(Text::NotKnown),
        None => reader.say(Text::Never),
    };
    // How old the oldest state is that is proven so, and of how many collections.
    let proven = |rung: usize| {
        let ages: Vec<_> = rows.iter().filter_map(|row| row.ladder.0[rung]).collect();
        let oldest = ages.iter().map(|proven| proven.age).max();
        match oldest {
            Some(age) if ages.len() < rows.len() => reader.say(Text::SomeAgo {
                some: ages.len(),
                all: rows.len(),
                age,
            }),
            found => age(found),
        }
    };
    html! {
        dl.facts {
            div { dt { (reader.say(Text::NewestGood)) } dd data-fact="newest" { (age(newest)) } }
            div { dt { (reader.say(Text::Promised)) } dd data-fact="promised" { (reader.say(Text::Limit(look.wanted.max_age))) } }
            div { dt { (reader.say(Text::AllVerified)) } dd data-fact="verified" { (proven(1)) } }
            div { dt { (reader.say(Text::AllDrilled)) } dd data-fact="drilled" { (proven(3)) } }
        }
        p.where {
            span { "Qdrant " (foreign(&look.qdrant)) }
            span { (reader.say(Text::Store)) " " (foreign(&look.store)) }
            @if let Some(source) = &look.source { span { (name(source)) } }
            span data-as-of { (reader.say(Text::AsOf)) " " (time(look.now)) }
        }
    }
}
