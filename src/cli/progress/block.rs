//! The lines that tell how far a run is, for any width.

use super::super::text::{fit, rounded, short_size, size};
use super::pace::Estimate;
use super::word;
use crate::base::text::plain;
use crate::ops::events::Operation;
use crate::ops::progress::{Phase, RunProgress, UnitProgress};
use unicode_width::UnicodeWidthStr;

/// Units that are shown at a time.
const UNITS: usize = 8;
/// Columns of a name beside a bar.
const NAME: usize = 24;
/// A bar is no wider, and no narrower.
const BAR: (usize, usize) = (8, 40);

/// The units that are worked on, and the whole at the end. No line is wider than the terminal, less a column: what ends in the last
/// one may break the line.
pub(super) fn lines(
    run: &RunProgress,
    operation: Operation,
    estimate: &Estimate,
    width: usize,
    height: usize,
) -> Vec<String> {
    let width = width.saturating_sub(1).min(120);
    let active: Vec<_> = run.units.iter().filter(|unit| unit.phase.is_at_work()).collect();
    let shown = UNITS.min(height.saturating_sub(3));
    let mut lines: Vec<_> = active.iter().take(shown).map(|unit| of_unit(unit, width)).collect();
    if let more @ 1.. = active.len().saturating_sub(shown) {
        lines.push(fit(&format!("and {more} more"), width));
    }
    if !run.units.is_empty() {
        lines.push(of_all(run, operation, estimate, width));
    }
    lines
}

/// The same in one sentence, for a log.
pub(super) fn sentence(run: &RunProgress, operation: Operation, estimate: &Estimate) -> String {
    let totals = &run.totals;
    let (percent, bytes) = (percent(totals.part), size(totals.bytes_done));
    let rate = estimate.bytes_per_second.map(|rate| format!(" at {}/s", size(rate)));
    let left = estimate.left.map(|left| format!(", about {} left", rounded(left)));
    format!(
        "{operation}: {} of {} done, {percent}, {bytes}{}{}",
        totals.ended(),
        totals.units,
        rate.unwrap_or_default(),
        left.unwrap_or_default()
    )
}

fn of_unit(unit: &UnitProgress, width: usize) -> String {
    let name = plain(&unit.name);
    match (unit.phase, unit.bytes_total) {
        (Phase::Copy | Phase::Read, Some(total)) => {
            let part = if total == 0 {
                1.0
            } else {
                unit.bytes_done as f64 / total as f64
            };
            let told = [
                format!("{} / {}", short_size(unit.bytes_done), short_size(total)),
                percent(part),
            ];
            line(&name, &told, Some(part), width)
        }
        (Phase::Copy | Phase::Read, None) => line(&name, &[short_size(unit.bytes_done)], None, width),
        _ => line(&name, &[word(unit)], None, width),
    }
}

fn of_all(run: &RunProgress, operation: Operation, estimate: &Estimate, width: usize) -> String {
    let totals = &run.totals;
    let name = format!("{operation} {} of {}", totals.ended(), totals.units);
    let percent = percent(totals.part);
    let rate = estimate
        .bytes_per_second
        .map(|rate| format!("  {}/s", short_size(rate)));
    let left = estimate.left.map(|left| format!("  {} left", rounded(left)));
    let (rate, left) = (rate.unwrap_or_default(), left.unwrap_or_default());
    let bytes = short_size(totals.bytes_done);
    let told = [
        format!("{percent}  {bytes}{rate}{left}"),
        format!("{percent}{rate}{left}"),
        format!("{percent}{left}"),
        percent.clone(),
    ];
    line(&name, &told, Some(totals.part), width)
}

/// A name, a bar if there is room for one, and the longest of the texts that fits.
fn line(name: &str, told: &[String], part: Option<f64>, width: usize) -> String {
    let shortest = name.width().min(NAME / 2);
    let fits = told.iter().find(|text| shortest + 2 + text.width() <= width);
    let Some(text) = fits.or(told.last()) else {
        return fit(name, width);
    };
    let room = width.saturating_sub(text.width() + 2);
    let bar = part.and_then(|part| {
        // Beside a bar names stand in a column.
        let bar = room.checked_sub(NAME + 4)?.min(BAR.1);
        (bar >= BAR.0).then(|| {
            let full = ((part.clamp(0.0, 1.0) * bar as f64) as usize).min(bar);
            format!("[{}{}]", "=".repeat(full), " ".repeat(bar - full))
        })
    });
    match bar {
        Some(bar) => {
            let name = fit(name, NAME);
            let space = " ".repeat(NAME.saturating_sub(name.width()));
            format!("{name}{space}  {bar}  {text}")
        }
        None => fit(&format!("{}  {text}", fit(name, room)), width),
    }
}

fn percent(part: f64) -> String {
    format!("{}%", (part.clamp(0.0, 1.0) * 100.0) as u64)
}
