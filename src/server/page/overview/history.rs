//! The last backups: how large each is, and what it is worth.

use super::look::{Look, RUNS, SeenBackup};
use crate::base::text::size;
use crate::repository::catalog::{Mark, Summary};
use crate::server::page::backups::{marks, tone};
use crate::server::page::chart::{Bar, StripMark, bars};
use crate::server::page::parts::{Tone, name, problem, shown, time};
use crate::server::page::reader::Reader;
use crate::server::page::text::Text;
use maud::{Markup, html};
use std::sync::Arc;

pub(super) fn section(reader: &Reader, look: &Look) -> Markup {
    if look.backups.is_empty() {
        return html! {};
    }
    let newest_first = &look.backups;
    let bar = |seen: &Arc<SeenBackup>| Bar {
        value: seen.summary.bytes,
        mark: mark(&seen.summary),
        title: format!("{}: {}", shown(seen.summary.id.time()), size(seen.summary.bytes)),
    };
    let values: Vec<_> = newest_first.iter().rev().map(bar).collect();
    let largest = newest_first
        .iter()
        .map(|seen| seen.summary.bytes)
        .max()
        .unwrap_or_default();
    let (first, last) = (newest_first.last(), newest_first.first());
    html! {
        section #history aria-labelledby="history-title" {
            div.title-bar {
                h2 #history-title { (reader.say(Text::LastBackups)) " " span.count { (newest_first.len()) } }
                a href=(reader.link("/ui/backups", &[])) { (reader.say(Text::AllBackups)) }
            }
            figure.chart {
                figcaption { (reader.say(Text::SizeOverTime)) " " b { (size(largest)) } }
                (bars(&values, RUNS))
                div.axis aria-hidden="true" {
                    @for seen in [first, last].into_iter().flatten() { (time(seen.summary.id.time())) }
                }
                ul.legend {
                    @for (class, text) in [("g", Text::GoodBackup), ("d", Text::DoubtfulBackup), ("f", Text::UnusableBackup)] {
                        li class=(class) { (reader.say(text)) }
                    }
                }
            }
            details {
                summary { (reader.say(Text::AsTable)) }
                (table(reader, newest_first))
            }
        }
    }
}

fn mark(summary: &Summary) -> StripMark {
    match tone(summary) {
        Tone::Good => StripMark::Good,
        Tone::Bad => StripMark::Failed,
        Tone::Warning | Tone::Unknown | Tone::Plain => StripMark::Doubtful,
    }
}

fn table(reader: &Reader, backups: &[Arc<SeenBackup>]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(reader.say(Text::LastBackups)) {
            table {
                thead { tr {
                    th scope="col" { (reader.say(Text::Backup)) }
                    th scope="col" { (reader.say(Text::Size)) }
                    th scope="col" { (reader.say(Text::Worth)) }
                } }
                tbody {
                    @for seen in backups {
                        @let id = seen.summary.id.to_string();
                        tr {
                            th scope="row" { a href=(reader.link(&format!("/ui/backups/{id}"), &[])) { (time(seen.summary.id.time())) } }
                            td.number { (size(seen.summary.bytes)) }
                            td { (marks(reader, &seen.summary)) }
                        }
                    }
                }
            }
        }
    }
}

/// What the newest backup misses, and why: the first of it; or what it is not proven by.
pub(super) fn newest(reader: &Reader, backups: &[Arc<SeenBackup>]) -> Markup {
    // One of the future has a notice of its own.
    let is_future = |seen: &&Arc<SeenBackup>| seen.summary.marks.first() == Some(&Mark::Future);
    let Some(newest) = backups.iter().find(|seen| !is_future(seen)) else {
        return html! {};
    };
    if let Some((collection, error)) = newest.failed.first() {
        return html! {
            section.notice.bad data-notice="partial" {
                h2 { (reader.say(Text::NewestMisses { collections: newest.failed.len() })) " " (name(collection)) }
                (problem(reader, error))
                (link(reader, newest))
            }
        };
    }
    match newest.summary.marks.first() {
        Some(mark @ Mark::Unproven) => html! {
            section.notice.warning data-notice="unproven" {
                h2 { (reader.say(Text::NewestIs(*mark))) }
                p { (reader.say(Text::UnprovenMeans)) }
                (link(reader, newest))
            }
        },
        Some(mark) if tone(&newest.summary) == Tone::Bad => html! {
            section.notice.bad data-notice="newest" {
                h2 { (reader.say(Text::NewestIs(*mark))) }
                (link(reader, newest))
            }
        },
        _ => html! {},
    }
}

fn link(reader: &Reader, seen: &SeenBackup) -> Markup {
    let address = reader.link(&format!("/ui/backups/{}", seen.summary.id), &[]);
    html! { p { a href=(address) { (reader.say(Text::LookAtIt)) } } }
}
