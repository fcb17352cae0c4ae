//! Pictures of numbers, made here: shapes with attributes and classes, no styles of their own.

use maud::{Markup, html};
use std::fmt::Write;

/// What became of a collection, or of all of them, in one backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StripMark {
    /// It is in a good one.
    Good,
    /// It is in one that is not good: others are missing, or something is wrong with it.
    Doubtful,
    /// It could not be saved.
    Failed,
    /// The backup was made without it.
    Absent,
}

impl StripMark {
    const ALL: [Self; 4] = [Self::Good, Self::Doubtful, Self::Failed, Self::Absent];

    fn class(self) -> &'static str {
        match self {
            Self::Good => "g",
            Self::Doubtful => "d",
            Self::Failed => "f",
            Self::Absent => "a",
        }
    }
}

/// Width of a mark with the gap behind it, as the style sheet dashes the line.
const STEP: usize = 4;

/// A strip of so many places, filled from the right. Each run of equal marks is one line, which the style sheet dashes.
pub(super) fn strip(marks: &[StripMark], places: usize, label: &str) -> Markup {
    let offset = places.saturating_sub(marks.len());
    let lines = StripMark::ALL.map(|kind| {
        let mut line = String::new();
        let mut at = 0;
        for run in marks.chunk_by(|a, b| a == b) {
            if run[0] == kind {
                // Writing to a String does not fail.
                let _ = write!(line, "M{} 5h{}", (offset + at) * STEP, run.len() * STEP - 1);
            }
            at += run.len();
        }
        (kind, line)
    });
    html! {
        svg.strip viewBox={ "0 0 " (places * STEP - 1) " 10" } role="img" aria-label=(label) preserveAspectRatio="none" {
            @for (kind, line) in lines {
                @if !line.is_empty() { path class=(kind.class()) d=(line) {} }
            }
        }
    }
}

/// How much of a promised time has passed: a bar, full at the end of it.
pub(super) fn gauge(part: f64, tone: &str) -> Markup {
    let width = (part.clamp(0.0, 1.0) * 100.0).round() as u32;
    html! {
        svg.gauge viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            rect width="100" height="6" rx="3" {}
            rect class=(tone) width=(width.max(2)) height="6" rx="3" {}
        }
    }
}

/// One bar.
pub(super) struct Bar {
    pub(super) value: u64,
    pub(super) mark: StripMark,
    pub(super) title: String,
}

const HEIGHT: u64 = 100;

/// Bars of the heights that the values have beside the largest one, in so many places, filled from the right.
pub(super) fn bars(bars: &[Bar], places: usize) -> Markup {
    let largest = bars.iter().map(|bar| bar.value).max().unwrap_or_default().max(1);
    let offset = places.saturating_sub(bars.len());
    html! {
        svg.bars viewBox={ "0 0 " (places * 10 - 2) " " (HEIGHT) } preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            @for (at, bar) in bars.iter().enumerate() {
                // Also nothing is something that was tried.
                @let height = (u128::from(bar.value) * u128::from(HEIGHT) / u128::from(largest)).max(3);
                rect class=(bar.mark.class()) x=((offset + at) * 10) y=(u128::from(HEIGHT) - height) width="8" height=(height) rx="1.5" {
                    title { (bar.title) }
                }
            }
        }
    }
}
