//! How far a backup is: bars on a terminal, log lines elsewhere.

use super::text::{plain, size};
use crate::ops::progress::{Phase, Progress, RunProgress, UnitProgress};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, IsTerminal, Write, stderr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

const EVERY: Duration = Duration::from_millis(100);
const COPY: &str = "{prefix:24!} [{bar:28}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} left";
const WAIT: &str = "{prefix:24!} {spinner} {msg}, {elapsed}";

/// Bars on standard error, and the way for log lines past them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bars {
    visible: bool,
    bars: MultiProgress,
    shown: Arc<Mutex<HashMap<String, BarState>>>,
}

/// What is shown of one collection.
#[derive(Debug)]
struct BarState {
    phase: Phase,
    bar: Option<ProgressBar>,
}

impl Default for Bars {
    fn default() -> Self {
        Self::new()
    }
}

impl Bars {
    /// No bars yet; there will never be any when standard error is not a terminal.
    pub fn new() -> Self {
        Self {
            visible: stderr().is_terminal(),
            bars: MultiProgress::new(),
            shown: Arc::default(),
        }
    }

    /// Whether bars can be seen.
    pub(crate) fn are_visible(&self) -> bool {
        self.visible
    }

    /// Follows `progress` for ever.
    pub(super) async fn watch(&self, progress: &Progress) -> Infallible {
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tick.tick().await;
            self.show(&progress.now());
        }
    }

    /// Shows the end, and takes the bars away.
    pub(super) fn end(&self, progress: &RunProgress) {
        self.show(progress);
        for (_, shown) in self.lock().drain() {
            if let Some(bar) = shown.bar {
                bar.finish_and_clear();
            }
        }
    }

    fn show(&self, progress: &RunProgress) {
        let mut shown = self.lock();
        for collection in &progress.units {
            let before = shown.entry(collection.name.clone()).or_insert(BarState {
                phase: Phase::Waiting,
                bar: None,
            });
            let changed = before.phase != collection.phase;
            before.phase = collection.phase;
            if self.visible {
                self.draw(&mut before.bar, collection, changed);
            } else if changed {
                log(progress, collection);
            }
        }
    }

    fn draw(&self, bar: &mut Option<ProgressBar>, collection: &UnitProgress, changed: bool) {
        let name = plain(&collection.name);
        match collection.phase {
            Phase::Waiting => {}
            Phase::Snapshot | Phase::Copy | Phase::Restore | Phase::Check => {
                let bar = bar.get_or_insert_with(|| self.bars.add(ProgressBar::no_length().with_prefix(name)));
                if let Some(total) = collection.bytes_total {
                    bar.set_length(total);
                }
                if changed {
                    bar.set_style(style(collection.phase));
                    bar.set_message(word(collection));
                    // Rate and time left are those of this attempt.
                    bar.reset();
                    bar.enable_steady_tick(EVERY);
                }
                bar.set_position(collection.bytes_done);
            }
            Phase::Saved | Phase::Restored | Phase::Failed | Phase::Gone => {
                if let Some(bar) = bar.take() {
                    bar.finish_and_clear();
                    self.bars.remove(&bar);
                }
                if changed {
                    // Nobody is left to be told when this fails.
                    let _ = self.bars.println(format!("{name}: {}", word(collection)));
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, BarState>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line for a phase. The run itself logs how each collection ends.
fn log(run: &RunProgress, collection: &UnitProgress) {
    let name = &collection.name;
    match collection.phase {
        Phase::Snapshot | Phase::Copy | Phase::Restore | Phase::Check => {
            let backup = run.id.map(tracing::field::display);
            tracing::info!(backup, collection = name, "{}: {}", plain(name), word(collection));
        }
        Phase::Waiting | Phase::Saved | Phase::Restored | Phase::Failed | Phase::Gone => {}
    }
}

fn word(collection: &UnitProgress) -> String {
    match collection.phase {
        Phase::Waiting => "waiting".to_owned(),
        Phase::Snapshot => "Qdrant makes the snapshot".to_owned(),
        // The length of a stream shows at its end.
        Phase::Copy if collection.bytes_total.is_none() => "copying".to_owned(),
        Phase::Copy => format!("copying {}", size(collection.bytes_total.unwrap_or_default())),
        Phase::Restore => "Qdrant restores it".to_owned(),
        Phase::Check => "comparing it with the backup".to_owned(),
        Phase::Restored => "restored".to_owned(),
        Phase::Saved => format!(
            "saved, {}",
            size(collection.bytes_total.unwrap_or(collection.bytes_done))
        ),
        Phase::Failed => "FAILED".to_owned(),
        Phase::Gone => "was deleted meanwhile".to_owned(),
    }
}

fn style(phase: Phase) -> ProgressStyle {
    let template = if phase == Phase::Copy { COPY } else { WAIT };
    // The templates are tested.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

impl<'a> MakeWriter<'a> for Bars {
    type Writer = LogWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LogWriter(&self.bars)
    }
}

/// Writes to standard error while the bars are out of the way.
#[derive(Debug)]
pub struct LogWriter<'a>(&'a MultiProgress);

impl Write for LogWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use indicatif::{ProgressDrawTarget, TermLike};
    use time::macros::datetime;

    /// A terminal that keeps all that was ever written to it.
    #[derive(Clone, Debug, Default)]
    struct RecordedTerminal(Arc<Mutex<String>>);

    impl RecordedTerminal {
        fn take(&self) -> String {
            std::mem::take(&mut *self.0.lock().unwrap())
        }
    }

    impl TermLike for RecordedTerminal {
        fn width(&self) -> u16 {
            160
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(&format!("{text}\n"))
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn at(name: &str, phase: Phase, done: u64, total: Option<u64>) -> RunProgress {
        RunProgress {
            id: None,
            started_at: datetime!(2026-11-22 12:00 UTC),
            units: vec![UnitProgress {
                name: name.into(),
                phase,
                bytes_done: done,
                bytes_total: total,
            }],
        }
    }

    #[test]
    fn a_terminal_shows_bytes_rate_and_time_left_and_then_the_end() {
        let paper = RecordedTerminal::default();
        let bars = Bars {
            visible: true,
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::term_like(Box::new(paper.clone()))),
            shown: Arc::default(),
        };
        let draw = || {
            bars.lock()
                .values()
                .for_each(|shown| shown.bar.as_ref().unwrap().force_draw())
        };
        bars.show(&at("docs\u{1b}", Phase::Snapshot, 0, None));
        draw();
        let text = paper.take();
        assert!(text.contains("docs\\u{1b}"), "{text}");
        bars.show(&at("docs\u{1b}", Phase::Copy, 1 << 20, Some(2 << 20)));
        draw();
        let text = paper.take();
        assert!(text.contains("1.00 MiB/2.00 MiB") && text.contains("/s"), "{text}");
        bars.end(&at("docs\u{1b}", Phase::Saved, 2 << 20, Some(2 << 20)));
        let text = paper.take();
        assert!(text.contains("docs\\u{1b}") && text.contains("2.00 MiB"), "{text}");
        assert!(bars.lock().is_empty());
    }

    #[test]
    fn no_name_and_no_number_makes_a_bar_fail() {
        let paper = RecordedTerminal::default();
        let bars = Bars {
            visible: true,
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::term_like(Box::new(paper.clone()))),
            shown: Arc::default(),
        };
        let numbers = [0, 1, u64::MAX / 2, u64::MAX];
        for name in ["", "\0", "\u{1b}[2J", "\u{202e}", "向量\u{200d}", &"é".repeat(70_000)] {
            for (done, total) in numbers.iter().flat_map(|done| numbers.map(|total| (*done, total))) {
                for phase in [Phase::Snapshot, Phase::Copy, Phase::Restore, Phase::Check] {
                    bars.show(&at(name, phase, done, Some(total)));
                    bars.lock()
                        .values()
                        .filter_map(|shown| shown.bar.as_ref())
                        .for_each(ProgressBar::force_draw);
                }
            }
            bars.end(&at(name, Phase::Saved, u64::MAX, Some(u64::MAX)));
        }
        assert!(!paper.take().contains(['\0', '\u{202e}']));
    }

    #[test]
    fn the_templates_are_valid() {
        for template in [COPY, WAIT] {
            ProgressStyle::with_template(template).unwrap();
        }
    }
}
