//! Numbers, times and tables for people.

use std::fmt::Write;
use std::time::Duration;

/// `1.21 GiB`.
pub(super) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// `1,234,567`.
pub(super) fn count(n: u64) -> String {
    indicatif::HumanCount(n).to_string()
}

/// `2 h ago`.
pub(super) fn ago(age: Duration) -> String {
    let s = age.as_secs();
    match s {
        0..60 => format!("{s} s ago"),
        60..3600 => format!("{} min ago", s / 60),
        3600..172_800 => format!("{} h ago", s / 3600),
        _ => format!("{} d ago", s / 86_400),
    }
}

/// Text from elsewhere without what would move the cursor or colour a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut plain, c| {
        match c.is_control() {
            true => plain.extend(c.escape_default()),
            false => plain.push(c),
        }
        plain
    })
}

/// How a column is aligned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// A table with a line for its header; two spaces between columns.
pub(super) fn table<const N: usize>(columns: [(&str, Align); N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| plain(cell))).collect();
    let header = columns.map(|(name, _)| name.to_owned());
    let width = |i: usize| {
        let cells = rows.iter().chain([&header]).map(|row| row[i].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in [&header].into_iter().chain(&rows) {
        let mut line = String::new();
        for ((cell, width), (_, align)) in row.iter().zip(widths).zip(columns) {
            // Writing to a String does not fail.
            let _ = match align {
                Align::Left => write!(line, "{cell:<width$}  "),
                Align::Right => write!(line, "{cell:>width$}  "),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned_and_names_cannot_write_to_the_terminal() {
        let columns = [("NAME", Align::Left), ("SIZE", Align::Right)];
        let rows = [["向量".into(), size(1 << 30)], ["a\u{1b}[2Jb".into(), size(5)]];
        assert_eq!(
            table(columns, &rows),
            "NAME             SIZE\n\
             向量           1.00 GiB\n\
             a\\u{1b}[2Jb       5 B\n"
        );
    }

    #[test]
    fn ages_are_told_in_one_unit() {
        let ages = [0, 59, 60, 3599, 7300, 172_799, 172_800].map(|s| ago(Duration::from_secs(s)));
        assert_eq!(
            ages,
            [
                "0 s ago",
                "59 s ago",
                "1 min ago",
                "59 min ago",
                "2 h ago",
                "47 h ago",
                "2 d ago"
            ]
        );
    }
}
