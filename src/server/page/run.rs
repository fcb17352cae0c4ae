//! `GET /ui/runs/{id}`: how far a run is, or what it came to.

use super::begin::{Nothing, seen_at};
use super::document::{Document, Place};
use super::parts::{Action, Tone, badge, command, foreign, name, problem, time};
use super::reader::Reader;
use super::report;
use super::text::Text;
use crate::base::text::{count, size};
use crate::repository::names::RunId;
use crate::server::App;
use crate::server::api::{Operation, OperationState, OperationUnit};
use crate::server::auth::Role;
use crate::server::error::HttpError;
use crate::server::extract::{BodyBesideQuery, PathId};
use crate::server::operations::operation_id;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use std::time::Duration;

/// Seconds between two looks of the script at what runs.
pub(super) const LOOK_SECONDS: u32 = 5;

/// Since a running process was heard of last, from which on that is odd.
const LONG: Duration = Duration::from_secs(120);

pub(super) async fn show(State(app): State<App>, PathId(id): PathId, reader: Reader) -> Result<Response, HttpError> {
    let operation = app.operation(&operation_id(&id)?).await?;
    let is_there = match operation.backup() {
        Some(backup) if operation.has_ended() => {
            let found = async { Ok(app.ctx.store.head(&backup.manifest()).await?.is_some()) };
            app.ask_store("the backup of a run", found).await?
        }
        _ => false,
    };
    let title = reader.say(Text::Kind(operation.kind())).into_owned();
    let main = html! {
        h1 { (kind(&reader, &operation)) " " (time(operation.started_at())) }
        // The script looks again at what is marked so.
        div #work data-live=[(!operation.has_ended()).then_some(LOOK_SECONDS)] {
            (card(&reader, &operation))
            (came_to(&reader, &operation, is_there))
        }
        p { a href=(format!("/v1/operations/{id}")) download=(format!("{id}.json")) { (reader.say(Text::ReportAsJson)) } }
    };
    let mut page = Document::new(title, Place::Elsewhere, main);
    page.tone = tone(operation.state());
    Ok(page.send(&reader).await)
}

/// Cancels it.
pub(super) async fn cancel(
    State(app): State<App>,
    PathId(id): PathId,
    reader: Reader,
    BodyBesideQuery(Nothing): BodyBesideQuery<Nothing>,
) -> Result<Response, HttpError> {
    let operation = app.cancel(&operation_id(&id)?).await?;
    Ok(seen_at(&reader.link(&format!("/ui/runs/{}", operation.id()), &[])))
}

pub(super) fn kind(reader: &Reader, operation: &Operation) -> Markup {
    html! { (reader.say(Text::Kind(operation.kind()))) }
}

pub(super) fn tone(state: OperationState) -> Tone {
    match state {
        OperationState::Running => Tone::Plain,
        OperationState::Succeeded => Tone::Good,
        OperationState::Failed => Tone::Bad,
        OperationState::Cancelled | OperationState::Interrupted => Tone::Warning,
    }
}

/// How it stands; one that runs and was not heard of for long may be dead, and is not said to run.
pub(super) fn state_badge(reader: &Reader, operation: &Operation) -> Markup {
    match is_silent(operation) {
        true => badge(Tone::Warning, &reader.say(Text::Silent)),
        false => badge(tone(operation.state()), &reader.say(Text::RunState(operation.state()))),
    }
}

fn is_silent(operation: &Operation) -> bool {
    !operation.has_ended() && operation.silent().is_some_and(|silent| silent > LONG)
}

/// How far it is.
pub(super) fn card(reader: &Reader, operation: &Operation) -> Markup {
    let counts = operation.progress();
    let part = match counts.bytes_total {
        Some(total) if total > 0 => Some(counts.bytes_done as f64 / total as f64),
        _ if counts.units > 0 => Some((counts.done + counts.failed) as f64 / counts.units as f64),
        _ => None,
    };
    let percent = part.map(|part| (part.clamp(0.0, 1.0) * 100.0).floor() as u32);
    let id = operation.id().to_string();
    // A prune moves nothing.
    let has_numbers = counts.units > 0 || counts.bytes_done > 0;
    html! {
        article.run data-silent-run[is_silent(operation)] data-run=(operation.state().word()) data-kind=(id.rsplit('-').nth(1).unwrap_or_default()) {
            div.line {
                b { a href=(reader.link(&format!("/ui/runs/{id}"), &[])) { (kind(reader, operation)) } }
                (state_badge(reader, operation))
                @if let Some(phase) = operation.phase() { span data-phase { (reader.say(Text::Phase(phase))) } }
                @if let Some(percent) = percent.filter(|_| !operation.has_ended()) { b { (percent) " %" } }
            }
            @if !operation.has_ended() {
                @match percent {
                    Some(percent) => progress max="100" value=(percent) aria-label=(reader.say(Text::Progress)) { (percent) " %" }
                    None => progress aria-label=(reader.say(Text::Progress)) {}
                }
            }
            dl.numbers {
                @if has_numbers {
                    div { dt { (reader.say(Text::Bytes)) } dd data-bytes {
                        (size(counts.bytes_done)) @if let Some(total) = counts.bytes_total { " / " (size(total)) }
                    } }
                }
                @if let Some(rate) = counts.bytes_per_second { div { dt { (reader.say(Text::Rate)) } dd data-rate { (size(rate)) "/s" } } }
                @if let Some(eta) = counts.eta_seconds {
                    div { dt { (reader.say(Text::Left)) } dd data-eta { (reader.say(Text::Age(Duration::from_secs(eta)))) } }
                }
                @if has_numbers {
                    div { dt { (reader.say(Text::Units)) } dd data-units { (count((counts.done + counts.failed) as u64)) " / " (count(counts.units as u64)) } }
                }
                @if counts.failed > 0 { div { dt { (reader.say(Text::UnitsFailed)) } dd { (count(counts.failed as u64)) } } }
                div { dt { (reader.say(Text::Since)) } dd { (time(operation.started_at())) } }
                @if let Some(ended) = operation.ended_at() {
                    div { dt { (reader.say(Text::Finished)) } dd data-ended {
                        (time(ended)) @if let Some(took) = operation.took() { ", " (reader.say(Text::Took(took))) }
                    } }
                }
                div { dt { (reader.say(Text::By)) } dd { (foreign(operation.who())) } }
                @if let Some(silent) = operation.silent().filter(|silent| silent.as_secs() > 15) {
                    div { dt { (reader.say(Text::LastHeard)) } dd data-silent { (heard(reader, silent)) } }
                }
            }
            @if is_silent(operation) {
                p.hint { (reader.say(Text::SilentMeans)) }
                (command("qdrant-backup unlock"))
            } @else if !operation.has_ended() {
                (stop(reader, operation.id(), operation.is_here()))
            }
        }
    }
}

/// A process tells of itself every few seconds: one that has not for minutes may be dead.
fn heard(reader: &Reader, silent: Duration) -> Markup {
    let ago = reader.say(Text::Ago(silent));
    match silent > LONG {
        true => badge(Tone::Warning, &ago),
        false => html! { (ago) },
    }
}

fn stop(reader: &Reader, id: &RunId, is_here: bool) -> Markup {
    if !is_here {
        return html! { p.hint { (reader.say(Text::StopItThere)) } };
    }
    let command = reader.curl(&format!("/v1/operations/{id}:cancel"));
    let action = Action {
        action: reader.link(&format!("/ui/runs/{id}"), &[]),
        label: Text::Cancel,
        command: &command,
        needed: Role::to_cancel(id),
        class: "danger",
    };
    action.form(reader, &html! {})
}

/// What is known of its end, and of its units.
/// `is_there`: the backup that it was about.
fn came_to(reader: &Reader, operation: &Operation, is_there: bool) -> Markup {
    html! {
        @if let Some(error) = operation.error() { section.notice.bad { h2 { (reader.say(Text::WhatWentWrong)) } (problem(reader, error)) } }
        @if let Some(backup) = operation.backup().filter(|_| is_there) {
            p { (reader.say(Text::Backup)) " " a href=(reader.link(&format!("/ui/backups/{backup}"), &[])) { (backup.to_string()) } }
        }
        @if let Some(report) = operation.report() {
            (report::came_to(reader, report))
        } @else if !operation.units().is_empty() {
            section {
                h2 { (reader.say(Text::Units)) }
                div.scroll tabindex="0" role="region" aria-label=(reader.say(Text::Units)) {
                    table {
                        thead { tr {
                            th scope="col" { (reader.say(Text::Collection)) }
                            th scope="col" { (reader.say(Text::State)) }
                            th scope="col" { (reader.say(Text::Bytes)) }
                        } }
                        tbody { @for unit in operation.units() { (row(reader, unit)) } }
                    }
                }
            }
        }
    }
}

fn row(reader: &Reader, unit: &OperationUnit) -> Markup {
    html! {
        tr {
            th scope="row" { (name(&unit.name)) @if let Some(target) = &unit.target { " → " (name(target)) } }
            td { @if let Some(phase) = unit.phase { (reader.say(Text::Phase(phase))) } }
            td.number { (size(unit.bytes_done)) @if let Some(total) = unit.bytes_total { " / " (size(total)) } }
        }
    }
}
