//! How far a run is: a few lines at the bottom of a terminal, a log line a minute elsewhere, or lines of JSON for programs.

mod block;
mod json;
mod pace;
mod screen;

use super::text::{plain, size};
use crate::base::clock::Clock;
use crate::ops::events::Operation;
use crate::ops::progress::{Phase, Progress, RunProgress, UnitProgress};
use pace::Pace;
use screen::{Screen, Stderr};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, IsTerminal, Write, stderr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing_subscriber::fmt::MakeWriter;

/// How often one looks.
const EVERY: Duration = Duration::from_millis(200);
/// How often the log tells how far all is.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// How often programs are told, while nothing enters another phase.
const JSON_EVERY: Duration = Duration::from_secs(1);

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    /// Somebody at a terminal.
    Terminal,
    /// A log.
    Log,
    /// A program.
    Program,
    Nobody,
}

/// How progress is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ProgressForm {
    /// Bars on a terminal, a log line a minute elsewhere
    Auto,
    /// One JSON object a line, on standard error
    Json,
    /// None
    None,
}

/// Tells progress on standard error, and lets log lines past it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bars {
    audience: Audience,
    clock: Clock,
    screen: Arc<Mutex<Screen>>,
    /// The phase of each unit that was told.
    told: Arc<Mutex<HashMap<String, Phase>>>,
}

/// What is being watched.
struct Watched {
    operation: Operation,
    began: Instant,
    pace: Pace,
    /// When the whole was told last.
    told_at: Instant,
}

impl Bars {
    /// Nothing is told yet. There are bars where standard error is a terminal.
    pub fn new(form: ProgressForm, clock: Clock) -> Self {
        let audience = match form {
            ProgressForm::None => Audience::Nobody,
            ProgressForm::Json => Audience::Program,
            ProgressForm::Auto if stderr().is_terminal() => Audience::Terminal,
            ProgressForm::Auto => Audience::Log,
        };
        Self::on(audience, clock, Screen::new(Stderr))
    }

    fn on(audience: Audience, clock: Clock, screen: Screen) -> Self {
        Self {
            audience,
            clock,
            screen: Arc::new(Mutex::new(screen)),
            told: Arc::default(),
        }
    }

    /// Whether the log has to tell the progress.
    pub(crate) fn leave_it_to_the_log(&self) -> bool {
        self.audience == Audience::Log
    }

    /// Does `work`, telling how far it is.
    pub(super) async fn during<T>(
        &self,
        operation: Operation,
        progress: &Progress,
        work: impl Future<Output = T>,
    ) -> T {
        self.during_told(operation, || progress.now(), work).await
    }

    /// The same by what `now` tells.
    pub(super) async fn during_told<T>(
        &self,
        operation: Operation,
        now: impl Fn() -> RunProgress,
        work: impl Future<Output = T>,
    ) -> T {
        let mut watched = Watched {
            operation,
            began: Instant::now(),
            pace: Pace::default(),
            told_at: Instant::now(),
        };
        let result = tokio::select! {
            result = work => result,
            never = self.watch(&now, &mut watched) => match never {},
        };
        self.end(&now(), &mut watched);
        result
    }

    async fn watch(&self, now: &impl Fn() -> RunProgress, watched: &mut Watched) -> Infallible {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.show(&now(), watched);
        }
    }

    /// Tells the end, and takes the bars away.
    fn end(&self, progress: &RunProgress, watched: &mut Watched) {
        self.show(progress, watched);
        match self.audience {
            Audience::Terminal => self.screen().clear(),
            Audience::Program => self.tell_program(progress, watched),
            Audience::Log | Audience::Nobody => {}
        }
        self.told().clear();
    }

    fn show(&self, progress: &RunProgress, watched: &mut Watched) {
        if self.audience == Audience::Nobody {
            return;
        }
        watched.pace.add(Instant::now(), progress.totals.bytes_done);
        for unit in &progress.units {
            let before = self.told().insert(unit.name.clone(), unit.phase);
            if before.unwrap_or(Phase::Waiting) != unit.phase {
                self.tell_phase(progress, unit, watched);
            }
        }
        let is_due = |every| watched.told_at.elapsed() >= every;
        match self.audience {
            Audience::Terminal => {
                let estimate = watched.pace.estimate(&progress.totals, watched.began.elapsed());
                let mut screen = self.screen();
                let (width, height) = screen.size();
                screen.draw(block::lines(progress, watched.operation, &estimate, width, height));
            }
            Audience::Program if is_due(JSON_EVERY) => self.tell_program(progress, watched),
            Audience::Log if is_due(LOG_EVERY) && !progress.units.is_empty() => {
                let estimate = watched.pace.estimate(&progress.totals, watched.began.elapsed());
                let line = block::sentence(progress, watched.operation, &estimate);
                tracing::info!(backup = progress.id.map(tracing::field::display), "{line}");
                watched.told_at = Instant::now();
            }
            _ => {}
        }
    }

    /// Tells that a unit has entered a phase.
    fn tell_phase(&self, progress: &RunProgress, unit: &UnitProgress, watched: &Watched) {
        let is_end = unit.phase.is_end();
        match self.audience {
            Audience::Terminal if is_end => {
                let line = format!("{}: {}", plain(&unit.name), word(unit));
                self.screen().print(&line);
            }
            // The run itself logs how each ends.
            Audience::Log if !is_end && unit.phase != Phase::Waiting => {
                let backup = progress.id.map(tracing::field::display);
                let name = &unit.name;
                tracing::info!(backup, collection = name, "{}: {}", plain(name), word(unit));
            }
            Audience::Program => {
                let line = json::unit(watched.operation, self.clock.now(), progress, unit);
                self.screen().write_past(line.as_bytes());
            }
            _ => {}
        }
    }

    fn tell_program(&self, progress: &RunProgress, watched: &mut Watched) {
        let estimate = watched.pace.estimate(&progress.totals, watched.began.elapsed());
        let line = json::whole(watched.operation, self.clock.now(), progress, &estimate);
        self.screen().write_past(line.as_bytes());
        watched.told_at = Instant::now();
    }

    fn screen(&self) -> MutexGuard<'_, Screen> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, HashMap<String, Phase>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is being done for a unit, or what came of it.
fn word(unit: &UnitProgress) -> String {
    match unit.phase {
        Phase::Waiting => "waiting".to_owned(),
        Phase::Snapshot => "Qdrant makes the snapshot".to_owned(),
        // The length of a stream shows at its end.
        Phase::Copy if unit.bytes_total.is_none() => "copying".to_owned(),
        Phase::Copy => format!("copying {}", size(unit.bytes_total.unwrap_or_default())),
        Phase::Read => format!("reading {}", size(unit.bytes_total.unwrap_or_default())),
        Phase::Restore => "Qdrant restores it".to_owned(),
        Phase::Check => "comparing it with the backup".to_owned(),
        Phase::Restored => "restored".to_owned(),
        Phase::Verified => "intact".to_owned(),
        Phase::Saved => format!("saved, {}", size(unit.bytes_total.unwrap_or(unit.bytes_done))),
        Phase::Failed => "FAILED".to_owned(),
        Phase::Gone => "was deleted meanwhile".to_owned(),
    }
}

impl<'a> MakeWriter<'a> for Bars {
    type Writer = LogWriter;

    fn make_writer(&'a self) -> Self::Writer {
        LogWriter(self.screen.clone())
    }
}

/// Writes to standard error while the bars are out of the way.
#[derive(Debug)]
pub struct LogWriter(Arc<Mutex<Screen>>);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_past(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
