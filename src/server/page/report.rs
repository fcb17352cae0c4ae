//! What a run came to, as its report tells; it is known to the process that did it, for a while.

use super::backups::points;
use super::parts::{Tone, badge, command, foreign, name};
use super::reader::Reader;
use super::text::Text;
use crate::base::text::{count, size};
use crate::base::total::total;
use crate::server::api::{
    BackupReport, DrillReport, DrillVerdict, PruneReport, ReportOfError, RestoreReport, VerifiedObject, VerifyReport,
    VerifyVerdict,
};
use maud::{Markup, html};
use std::collections::BTreeMap;

pub(super) fn came_to(reader: &Reader, report: &ReportOfError) -> Markup {
    let (kind, told) = match report {
        ReportOfError::Backup(report) => ("backup", backup(reader, report)),
        ReportOfError::Restore(report) => ("restore", restore(reader, report)),
        ReportOfError::Drill(report) => ("drill", drill(reader, report)),
        ReportOfError::Prune(report) => ("prune", prune(reader, report)),
        ReportOfError::Verify(report) => ("verify", verification(reader, report)),
    };
    html! {
        section data-report=(kind) {
            h2 #report-title { (reader.say(Text::WhatItCameTo)) }
            (told)
        }
    }
}

fn backup(reader: &Reader, report: &BackupReport) -> Markup {
    let saved = html! {
        @for saved in &report.collections {
            tr data-came="saved" {
                th scope="row" { (name(&saved.name)) }
                td.number { (points(saved.points, saved.points_estimated)) }
                td.number { (size(saved.bytes)) }
            }
        }
        @for failed in &report.failed {
            tr data-came="failed" {
                th scope="row" { (name(&failed.collection)) }
                td colspan="2" { (badge(Tone::Bad, &reader.say(Text::NotSaved))) " " (foreign(&failed.error.message)) }
            }
        }
    };
    html! {
        (table(reader, &[Text::Collection, Text::PointsHeading, Text::Bytes], &saved))
        (notes(reader, Text::Warnings, &report.warnings))
    }
}

fn restore(reader: &Reader, report: &RestoreReport) -> Markup {
    let rows = html! {
        @for restored in &report.collections {
            tr data-came="restored" {
                th scope="row" { (name(&restored.source)) }
                td { (name(&restored.target)) @for note in &restored.notes { p { (foreign(note)) } } }
                td.number { (points(restored.points, restored.points_estimated)) }
                td.number { (size(restored.bytes)) }
            }
        }
        @for failed in &report.failed {
            tr data-came="failed" {
                th scope="row" { (name(&failed.source)) }
                td { (name(&failed.target)) }
                td colspan="2" {
                    (badge(Tone::Bad, &reader.say(Text::NotRestored))) " " (foreign(&failed.error.message))
                    p { (foreign(&failed.state)) }
                }
            }
        }
    };
    html! {
        p { "Qdrant " (foreign(&report.target)) }
        (table(reader, &[Text::Collection, Text::RestoredAs, Text::PointsHeading, Text::Bytes], &rows))
        (names(reader, Text::AliasesSet, &report.aliases))
        (names(reader, Text::LeftBehind, &report.replaced))
        @if !report.next.is_empty() {
            p { (reader.say(Text::RunThisNext)) }
            @for next in &report.next { (command(next)) }
        }
        (notes(reader, Text::Warnings, &report.warnings))
    }
}

fn drill(reader: &Reader, report: &DrillReport) -> Markup {
    let rows = html! {
        @for drilled in &report.collections {
            tr data-came=(if drilled.verdict == DrillVerdict::Passed { "passed" } else { "failed" }) {
                th scope="row" { (name(&drilled.name)) }
                td {
                    @match drilled.verdict {
                        DrillVerdict::Passed => (badge(Tone::Good, &reader.say(Text::Passed))),
                        DrillVerdict::Failed => (badge(Tone::Bad, &reader.say(Text::ProofFailed))),
                    }
                    @if let Some(problem) = &drilled.problem { p { (foreign(problem)) } }
                }
                td.number { @if let Some(points) = drilled.points { (count(points)) } }
                td.number { (size(drilled.bytes)) }
            }
        }
    };
    html! {
        p { "Qdrant " (foreign(&report.target_version)) " " (foreign(&report.target)) }
        (table(reader, &[Text::Collection, Text::Verdict, Text::PointsHeading, Text::Bytes], &rows))
        (notes(reader, Text::Warnings, &report.warnings))
    }
}

fn prune(reader: &Reader, report: &PruneReport) -> Markup {
    let bytes = total(report.deleted.iter().map(|deleted| deleted.bytes));
    html! {
        p data-deleted=(report.deleted.len()) { (reader.say(Text::DeletedSum { backups: report.deleted.len(), bytes })) }
        @if !report.deleted.is_empty() {
            ul {
                @for deleted in &report.deleted {
                    li {
                        code { (deleted.id.to_string()) } " " (size(deleted.bytes))
                        @if deleted.left > 0 { " " (badge(Tone::Warning, &reader.say(Text::ObjectsLeft(deleted.left)))) }
                    }
                }
            }
        }
        @if !report.skipped.is_empty() {
            p { (reader.say(Text::NotDeleted)) }
            ul { @for skipped in &report.skipped { li { code { (skipped.id.to_string()) } " " (foreign(&skipped.why)) } } }
        }
        (notes(reader, Text::Warnings, &report.warnings))
    }
}

fn verification(reader: &Reader, report: &VerifyReport) -> Markup {
    let mut collections = BTreeMap::<&str, Vec<&VerifiedObject>>::new();
    for object in &report.objects {
        collections.entry(&object.collection).or_default().push(object);
    }
    let rows = html! {
        @if !report.findings.is_empty() {
            tr data-came="damaged" {
                th scope="row" { (reader.say(Text::TheManifest)) }
                td {
                    (badge(Tone::Bad, &reader.say(Text::FoundDamaged)))
                    @for finding in &report.findings { p { (foreign(&finding.message)) } }
                }
                td {}
            }
        }
        @for (collection, objects) in &collections { (verified(reader, collection, objects)) }
    };
    table(reader, &[Text::Collection, Text::Verdict, Text::Bytes], &rows)
}

/// A collection is as its worst object is.
fn verified(reader: &Reader, collection: &str, objects: &[&VerifiedObject]) -> Markup {
    let has = |verdict| objects.iter().any(|object| object.verdict == verdict);
    let (word, tone, text) = match (has(VerifyVerdict::Damaged), has(VerifyVerdict::NotChecked)) {
        (true, _) => ("damaged", Tone::Bad, Text::FoundDamaged),
        (false, true) => ("not_checked", Tone::Unknown, Text::NotChecked),
        (false, false) => ("intact", Tone::Good, Text::Intact),
    };
    html! {
        tr data-came=(word) {
            th scope="row" { (name(collection)) }
            td {
                (badge(tone, &reader.say(text)))
                @for object in objects {
                    @for finding in &object.findings { p { (foreign(&finding.message)) } }
                    @if let Some(why) = &object.not_checked { p { (foreign(&why.message)) } }
                }
            }
            td.number { (size(total(objects.iter().map(|object| object.bytes)))) }
        }
    }
}

fn table(reader: &Reader, columns: &[Text], rows: &Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-labelledby="report-title" {
            table {
                thead { tr { @for column in columns { th scope="col" { (reader.say(*column)) } } } }
                tbody { (rows) }
            }
        }
    }
}

fn names(reader: &Reader, title: Text, names: &[String]) -> Markup {
    html! {
        @if !names.is_empty() { p { (reader.say(title)) @for one in names { " " (name(one)) } } }
    }
}

fn notes(reader: &Reader, title: Text, notes: &[String]) -> Markup {
    html! {
        @if !notes.is_empty() {
            h3 { (reader.say(title)) }
            ul { @for note in notes { li { (foreign(note)) } } }
        }
    }
}
