//! What runs, and what ran.

use super::look::Look;
use crate::server::api::Operation;
use crate::server::page::parts::{problem, time};
use crate::server::page::reader::Reader;
use crate::server::page::run::{card, kind, state_badge};
use crate::server::page::text::Text;
use maud::{Markup, html};

/// The script looks again at what is marked `data-live`.
pub(super) fn running(reader: &Reader, look: &Look) -> Markup {
    let running: Vec<_> = look
        .operations
        .iter()
        .filter(|operation| !operation.has_ended())
        .collect();
    html! {
        div #work data-live[!running.is_empty()] {
            @if !running.is_empty() {
                section.running aria-labelledby="running-title" {
                    h2 #running-title { (reader.say(Text::RunningNow)) }
                    @for operation in running { (card(reader, operation)) }
                }
            }
        }
    }
}

pub(super) fn recent(reader: &Reader, look: &Look) -> Markup {
    let ended: Vec<_> = look
        .operations
        .iter()
        .filter(|operation| operation.has_ended())
        .collect();
    html! {
        @if !ended.is_empty() {
            section #runs aria-labelledby="runs-title" {
                h2 #runs-title { (reader.say(Text::RecentRuns)) }
                ul.timeline { @for operation in ended { (one(reader, operation)) } }
            }
        }
    }
}

fn one(reader: &Reader, operation: &Operation) -> Markup {
    let id = operation.id().to_string();
    html! {
        li data-run=(operation.state().word()) {
            div.line {
                a href=(reader.link(&format!("/ui/runs/{id}"), &[])) { (kind(reader, operation)) }
                (state_badge(reader, operation))
                (time(operation.started_at()))
                @if let Some(took) = operation.took() { span { (reader.say(Text::Took(took))) } }
            }
            @if let Some(error) = operation.error() { (problem(reader, error)) }
        }
    }
}
