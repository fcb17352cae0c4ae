#![allow(clippy::unwrap_used)]

use super::screen::{Paper, Screen};
use super::*;
use crate::base::clock::Clock;
use time::macros::datetime;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A terminal: rows of characters, a cursor, and lines that break and are broken anew when it gets another width, as tmux and most
/// others do it.
#[derive(Clone, Debug)]
struct Terminal(Arc<Mutex<Cells>>);

#[derive(Debug)]
struct Cells {
    width: usize,
    height: usize,
    /// Each with whether it goes on in the next.
    rows: Vec<(String, bool)>,
    row: usize,
    column: usize,
    written: String,
}

impl Terminal {
    fn new(width: usize, height: usize) -> Self {
        Self(Arc::new(Mutex::new(Cells {
            width,
            height,
            rows: vec![(String::new(), false)],
            row: 0,
            column: 0,
            written: String::new(),
        })))
    }

    fn rows(&self) -> Vec<String> {
        let cells = self.0.lock().unwrap();
        let rows = cells.rows.iter().map(|(row, _)| row.trim_end().to_owned());
        rows.collect()
    }

    fn written(&self) -> String {
        self.0.lock().unwrap().written.clone()
    }

    fn resize(&self, width: usize) {
        let mut cells = self.0.lock().unwrap();
        let mut lines: Vec<String> = vec![String::new()];
        let mut at = 0;
        for (i, (row, goes_on)) in cells.rows.iter().enumerate() {
            if i == cells.row {
                at = lines.len() - 1;
            }
            lines.last_mut().unwrap().push_str(row);
            if !goes_on {
                lines.push(String::new());
            }
        }
        lines.pop();
        cells.width = width;
        cells.rows.clear();
        for (i, line) in lines.iter().enumerate() {
            if i == at {
                cells.row = cells.rows.len();
            }
            let characters: Vec<char> = line.trim_end().chars().collect();
            let parts: Vec<_> = characters
                .chunks(width)
                .map(|part| part.iter().collect::<String>())
                .collect();
            let count = parts.len().max(1);
            for n in 0..count {
                cells
                    .rows
                    .push((parts.get(n).cloned().unwrap_or_default(), n + 1 < count));
            }
        }
    }
}

impl Paper for Terminal {
    fn size(&self) -> (usize, usize) {
        let cells = self.0.lock().unwrap();
        (cells.width, cells.height)
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut cells = self.0.lock().unwrap();
        let text = std::str::from_utf8(bytes).unwrap();
        cells.written.push_str(text);
        let mut characters = text.chars();
        while let Some(c) = characters.next() {
            match c {
                '\r' => cells.column = 0,
                '\n' => {
                    cells.row += 1;
                    if cells.row == cells.rows.len() {
                        cells.rows.push((String::new(), false));
                    }
                }
                '\x1b' => {
                    assert_eq!(characters.next(), Some('['));
                    let rest: String = characters.by_ref().take_while(|c| c.is_ascii_digit()).collect();
                    // What ends the number is taken with it.
                    let sequence = text[..text.len() - characters.as_str().len()].chars().last().unwrap();
                    let (row, column) = (cells.row, cells.column);
                    match sequence {
                        'A' => cells.row = row.checked_sub(rest.parse().unwrap()).expect("it stays on the screen"),
                        'K' => {
                            let kept: String = cells.rows[row].0.chars().take(column).collect();
                            cells.rows[row] = (kept, false);
                        }
                        'J' => {
                            let kept: String = cells.rows[row].0.chars().take(column).collect();
                            cells.rows.truncate(row);
                            cells.rows.push((kept, false));
                        }
                        other => panic!("{other:?}"),
                    }
                }
                c => {
                    if cells.column + c.width().unwrap_or(0) > cells.width {
                        let row = cells.row;
                        cells.rows[row].1 = true;
                        cells.row += 1;
                        cells.column = 0;
                        if cells.row == cells.rows.len() {
                            cells.rows.push((String::new(), false));
                        }
                    }
                    let (row, column) = (cells.row, cells.column);
                    let line: String = cells.rows[row].0.chars().take(column).chain([c]).collect();
                    let tail: String = cells.rows[row].0.chars().skip(column + 1).collect();
                    cells.rows[row].0 = line + &tail;
                    cells.column += 1;
                }
            }
        }
    }
}

fn clock() -> Clock {
    Clock::new(|| datetime!(2026-11-22 12:00 UTC))
}

fn bars(audience: Audience, terminal: &Terminal) -> Bars {
    Bars::on(audience, clock(), Screen::new(terminal.clone()))
}

fn watched() -> Watched {
    Watched {
        operation: Operation::Backup,
        began: Instant::now(),
        pace: Pace::default(),
        told_at: Instant::now(),
    }
}

fn unit(name: &str, phase: Phase, bytes_done: u64, bytes_total: Option<u64>) -> UnitProgress {
    UnitProgress {
        name: name.to_owned(),
        phase,
        bytes_done,
        bytes_total,
        target: None,
    }
}

fn run(units: Vec<UnitProgress>) -> RunProgress {
    let id = "2026-11-22T12-00-00Z".parse().unwrap();
    RunProgress::new(Some(id), datetime!(2026-11-22 12:00 UTC), units)
}

fn three() -> RunProgress {
    run(vec![
        unit("articles", Phase::Copy, 1 << 30, Some(4 << 30)),
        unit(
            "a-collection-with-a-very-long-name-that-fits-nowhere",
            Phase::Snapshot,
            0,
            None,
        ),
        unit("向量", Phase::Saved, 2 << 20, Some(2 << 20)),
    ])
}

#[test]
fn everything_fits_whatever_the_width() {
    let terminal = Terminal::new(80, 24);
    let bars = bars(Audience::Terminal, &terminal);
    let mut watched = watched();
    for width in (1..200).rev() {
        terminal.0.lock().unwrap().width = width;
        bars.show(&three(), &mut watched);
        for line in &bars.screen().lines_drawn() {
            assert!(line.width() < width.max(2), "{width}: {line:?}");
        }
    }
}

#[test]
fn eighty_columns_have_bars_and_forty_have_numbers() {
    let shown = |width| {
        let terminal = Terminal::new(width, 24);
        bars(Audience::Terminal, &terminal).show(&three(), &mut watched());
        terminal.rows().join("\n")
    };
    let wide = shown(80);
    let lines: Vec<_> = wide.lines().collect();
    assert_eq!(lines[0], "向量: saved, 2.00 MiB");
    let (full, free) = lines[1].split_once('[').unwrap().1.split_once(']').unwrap();
    assert!(
        full.trim_end().bytes().all(|b| b == b'=') && full.trim_end().len() == full.len() / 4,
        "{wide}"
    );
    assert_eq!((&lines[1][..8], free), ("articles", "  1.0 GiB / 4.0 GiB"), "{wide}");
    assert!(lines[2].ends_with("-nowhere  Qdrant makes the snapshot"), "{wide}");
    assert!(
        lines[3].starts_with("backup 1 of 3             [") && lines[3].ends_with("]  41%  1.0 GiB"),
        "{wide}"
    );
    let narrow = shown(40);
    let lines: Vec<_> = narrow.lines().collect();
    assert_eq!(lines[1], "articles  1.0 GiB / 4.0 GiB", "{narrow}");
    assert_eq!(lines[2], "a-collectio…  Qdrant makes the snapshot", "{narrow}");
    assert_eq!(lines[3], "backup 1 of 3  41%  1.0 GiB", "{narrow}");
}

#[test]
fn a_terminal_that_is_resized_keeps_what_stands_above_and_nothing_of_the_old_lines() {
    let terminal = Terminal::new(100, 24);
    let bars = bars(Audience::Terminal, &terminal);
    let mut watched = watched();
    bars.screen().write_past(b"first\r\n");
    bars.show(&three(), &mut watched);
    for width in [100, 40, 23, 80, 35, 120] {
        terminal.resize(width);
        bars.show(&three(), &mut watched);
        bars.screen().write_past(format!("at {width}\r\n").as_bytes());
        let rows = terminal.rows();
        let text = rows.join("\n");
        assert_eq!(text.matches("backup").count(), 1, "{width}: {text}");
        assert_eq!(text.matches("articles").count(), 1, "{width}: {text}");
        assert!(
            rows[0] == "first" && text.contains(&format!("at {width}")),
            "{width}: {text}"
        );
    }
    bars.end(&three(), &mut watched);
    assert!(
        !terminal.rows().join("\n").contains("articles"),
        "{:?}",
        terminal.rows()
    );
}

#[test]
fn the_end_of_a_unit_stays_above_the_bars_with_its_name_made_plain() {
    let terminal = Terminal::new(80, 24);
    let bars = bars(Audience::Terminal, &terminal);
    let mut watched = watched();
    bars.show(
        &run(vec![unit("docs\u{1b}", Phase::Copy, 1 << 20, Some(2 << 20))]),
        &mut watched,
    );
    let text = terminal.rows().join("\n");
    assert!(
        text.contains("docs\\u{1b}") && text.contains("1.0 MiB / 2.0 MiB"),
        "{text}"
    );
    bars.end(
        &run(vec![unit("docs\u{1b}", Phase::Saved, 2 << 20, Some(2 << 20))]),
        &mut watched,
    );
    assert_eq!(terminal.rows(), ["docs\\u{1b}: saved, 2.00 MiB", ""]);
    assert!(bars.told().is_empty());
}

#[test]
fn no_name_and_no_number_makes_a_line_fail() {
    let numbers = [0, 1, u64::MAX / 2, u64::MAX];
    for (width, height) in [(80, 24), (40, 5), (1, 1), (0, 0)] {
        let terminal = Terminal::new(width.max(2), height);
        let bars = bars(Audience::Terminal, &terminal);
        let mut watched = watched();
        for name in ["", "\0", "\u{1b}[2J", "\u{202e}", "向量\u{200d}", &"é".repeat(7_000)] {
            for (done, total) in numbers.iter().flat_map(|done| numbers.map(|total| (*done, total))) {
                for phase in [Phase::Snapshot, Phase::Copy, Phase::Read, Phase::Restore, Phase::Check] {
                    let units = vec![unit(name, phase, done, Some(total)), unit("x", phase, done, None)];
                    block::lines(&run(units), Operation::Backup, &Default::default(), width, height);
                }
            }
            bars.end(
                &run(vec![unit(name, Phase::Saved, u64::MAX, Some(u64::MAX))]),
                &mut watched,
            );
        }
        assert!(!terminal.written().contains(['\0', '\u{202e}']));
    }
}

#[test]
fn a_program_gets_one_object_a_line_with_its_time() {
    let terminal = Terminal::new(80, 24);
    let bars = bars(Audience::Program, &terminal);
    let mut watched = watched();
    bars.show(&three(), &mut watched);
    bars.show(&three(), &mut watched);
    bars.end(&three(), &mut watched);
    let written = terminal.written();
    let lines: Vec<serde_json::Value> = written
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<_> = lines
        .iter()
        .map(|l| (l["event"].as_str().unwrap(), l["name"].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("unit_progress", Some("articles")),
            (
                "unit_progress",
                Some("a-collection-with-a-very-long-name-that-fits-nowhere")
            ),
            ("unit_progress", Some("向量")),
            ("progress", None),
        ]
    );
    for line in &lines {
        assert_eq!(
            (&line["at"], &line["operation"], &line["backup"]),
            (
                &"2026-11-22T12:00:00Z".into(),
                &"backup".into(),
                &"2026-11-22T12-00-00Z".into()
            )
        );
    }
    assert_eq!(
        (&lines[0]["phase"], &lines[0]["bytes_done"]),
        (&"copy".into(), &(1_u64 << 30).into())
    );
    assert_eq!((&lines[3]["units"], &lines[3]["units_done"]), (&3.into(), &1.into()));
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_gets_a_line_a_minute_and_one_for_each_phase() {
    let log = Log::default();
    let out = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || out.clone())
        .with_ansi(false)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let terminal = Terminal::new(80, 24);
    let progress = Progress::new(datetime!(2026-11-22 12:00 UTC));
    let docs = crate::repository::unit::Unit::whole("docs");
    progress.planned("2026-11-22T12-00-00Z".parse().unwrap(), [docs.clone()]);
    let work = async {
        let done = progress.copying(&docs, Some(600 << 20));
        // Never at the moment of a look.
        tokio::time::sleep(Duration::from_millis(100)).await;
        for _ in 0..300 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            done.fetch_add(1 << 20, std::sync::atomic::Ordering::Relaxed);
        }
    };
    bars(Audience::Log, &terminal)
        .during(Operation::Backup, &progress, work)
        .await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.matches("docs: copying 600.00 MiB").count(), 1, "{text}");
    let minutes: Vec<_> = text
        .lines()
        .filter(|line| line.contains("backup: 0 of 1 done"))
        .collect();
    assert!((4..=5).contains(&minutes.len()), "{text}");
    assert!(minutes[0].contains("1.00 MiB/s, about 9 min left"), "{text}");
    assert_eq!(terminal.written(), "");
}
