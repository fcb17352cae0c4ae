//! `GET /`: whether all is safe, in one look.

mod collections;
mod history;
mod look;
mod rows;
mod verdict;
mod work;

use super::document::{Document, Place};
use super::parts::{foreign, name, problem, sign};
use super::reader::Reader;
use super::text::Text;
use crate::server::App;
use axum::extract::State;
use axum::response::Response;
pub(in crate::server) use look::Seen;

use look::Look;
use maud::{Markup, html};
use rows::Row;
use verdict::Verdict;

/// Collections on one page.
const COLLECTIONS: usize = 100;

pub(super) async fn show(State(app): State<App>, reader: Reader) -> Response {
    let look = look::take(&app).await;
    let rows = rows::rows(&look);
    let verdict = Verdict::of(&look);
    let sentence = verdict.sentence(&reader, &look);
    let main = html! {
        (hero(&reader, &look, &verdict, &sentence))
        (warnings(&reader, &look))
        (work::running(&reader, &look))
        (facts(&reader, &look, &rows))
        (collections::section(&reader, &rows, &look))
        (history::section(&reader, &look))
        (work::recent(&reader, &look))
    };
    let mut page = Document::new(sentence, Place::Overview, main);
    page.tone = verdict.tone();
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
    let oldest = |rung: usize| {
        let ages: Option<Vec<_>> = rows
            .iter()
            .map(|row| row.ladder.0[rung].map(|proven| proven.age))
            .collect();
        ages.and_then(|ages| ages.into_iter().max())
    };
    html! {
        dl.facts {
            div { dt { (reader.say(Text::NewestGood)) } dd data-fact="newest" { (age(newest)) } }
            div { dt { (reader.say(Text::Promised)) } dd data-fact="promised" { (reader.say(Text::Age(look.wanted.max_age))) } }
            div { dt { (reader.say(Text::AllVerified)) } dd data-fact="verified" { (age(oldest(1))) } }
            div { dt { (reader.say(Text::AllDrilled)) } dd data-fact="drilled" { (age(oldest(3))) } }
        }
        p.where {
            span { "Qdrant " (foreign(&look.qdrant)) }
            span { (reader.say(Text::Store)) " " (foreign(&look.store)) }
            @if let Some(source) = &look.source { span { (name(source)) } }
        }
    }
}
