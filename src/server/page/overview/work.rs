//! What runs, and what ran.

use super::look::Look;
use crate::server::api::{Operation, OperationKind};
use crate::server::page::parts::{problem, time};
use crate::server::page::reader::Reader;
use crate::server::page::run::{card, kind, state_badge};
use crate::server::page::text::Text;
use maud::{Markup, html};

pub(super) fn running(reader: &Reader, look: &Look) -> Markup {
    let running: Vec<_> = look
        .operations
        .iter()
        .filter(|operation| !operation.has_ended())
        .collect();
    html! {
        div #work {
            @if !running.is_empty() {
                section.running aria-labelledby="running-title" {
                    h2 #running-title { (reader.say(Text::RunningNow)) }
                    @for operation in running { (card(reader, operation)) }
                }
            }
        }
    }
}

/// Ended operations that are listed.
const RECENT: usize = 12;

/// Why the last backup failed, where it left none that tells.
pub(super) fn last_failed(reader: &Reader, look: &Look) -> Markup {
    let is_backup = |operation: &&Operation| operation.has_ended() && operation.kind() == OperationKind::Backup;
    let last = look.operations.iter().find(is_backup);
    let newest = look.backups.first().map(|seen| seen.summary.id);
    let has_told = |operation: &Operation| newest.is_some() && operation.backup() == newest;
    html! {
        @if let Some((last, error)) = last.and_then(|last| Some((last, last.error()?))).filter(|(last, _)| !has_told(last)) {
            section.notice.bad data-notice="last_backup" {
                h2 { (reader.say(Text::LastBackupFailed)) " " (time(last.started_at())) }
                (problem(reader, error))
            }
        }
    }
}

pub(super) fn recent(reader: &Reader, look: &Look) -> Markup {
    let ended: Vec<_> = look
        .operations
        .iter()
        .filter(|operation| operation.has_ended())
        .take(RECENT)
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
