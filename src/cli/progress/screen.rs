//! A few lines at the bottom of a terminal that are drawn again and again, and all other output above them.
//!
//! A terminal that is made narrower breaks the lines that are there. So how many rows they take is reckoned anew each time, by
//! the width that the terminal has now.

use super::super::text::fit;
use console::Term;
use std::fmt;
use std::io::{Write, stderr};
use unicode_width::UnicodeWidthStr;

/// What is drawn on.
pub(super) trait Paper: Send {
    /// Columns and rows.
    fn size(&self) -> (usize, usize);

    fn write(&mut self, bytes: &[u8]);
}

#[derive(Debug)]
pub(super) struct Stderr;

impl Paper for Stderr {
    fn size(&self) -> (usize, usize) {
        let size = Term::stderr().size_checked();
        size.map_or((80, 24), |(rows, columns)| (columns.into(), rows.into()))
    }

    fn write(&mut self, bytes: &[u8]) {
        // Nobody is left to be told when this fails.
        let _ = stderr().write_all(bytes);
    }
}

/// The lines, and the way past them.
pub(super) struct Screen {
    paper: Box<dyn Paper>,
    /// What is drawn.
    lines: Vec<String>,
    /// How wide the terminal was then.
    width: usize,
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen")
            .field("lines", &self.lines)
            .finish_non_exhaustive()
    }
}

impl Screen {
    pub(super) fn new(paper: impl Paper + 'static) -> Self {
        Self {
            paper: Box::new(paper),
            lines: Vec::new(),
            width: 0,
        }
    }

    pub(super) fn size(&self) -> (usize, usize) {
        self.paper.size()
    }

    #[cfg(test)]
    pub(super) fn lines_drawn(&self) -> Vec<String> {
        self.lines.clone()
    }

    /// Draws these lines in the place of those before.
    pub(super) fn draw(&mut self, lines: Vec<String>) {
        let width = self.size().0;
        if lines == self.lines && width == self.width {
            return;
        }
        let mut text = self.erased();
        text.extend(lines.iter().map(|line| format!("{line}\x1b[K\r\n")));
        text.push_str("\x1b[J");
        self.paper.write(text.as_bytes());
        (self.lines, self.width) = (lines, width);
    }

    /// A line that stays, above the others.
    pub(super) fn print(&mut self, line: &str) {
        let line = fit(line, self.size().0);
        self.write_past(format!("{line}\r\n").as_bytes());
    }

    /// Output of others.
    pub(super) fn write_past(&mut self, bytes: &[u8]) {
        if self.lines.is_empty() {
            return self.paper.write(bytes);
        }
        let lines = std::mem::take(&mut self.lines);
        let before = format!("{}\x1b[J", self.erased_of(&lines));
        self.paper.write(&[before.as_bytes(), bytes].concat());
        self.draw(lines);
    }

    /// Takes all lines away.
    pub(super) fn clear(&mut self) {
        if !self.lines.is_empty() {
            self.draw(Vec::new());
        }
    }

    fn erased(&self) -> String {
        self.erased_of(&self.lines)
    }

    /// Moves the cursor to where these lines begin.
    fn erased_of(&self, lines: &[String]) -> String {
        let (width, height) = self.size();
        let rows = lines.iter().map(|line| line.width().div_ceil(width.max(1)).max(1));
        // What has scrolled away is out of reach.
        match rows.sum::<usize>().min(height.saturating_sub(1)) {
            0 => "\r".to_owned(),
            rows => format!("\r\x1b[{rows}A"),
        }
    }
}
