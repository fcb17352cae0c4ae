//! Numbers, times and tables for people.

pub(super) use crate::base::text::{count, exactly, in_the_middle, plain, rounded, shortened, size};

use crate::base::text::scaled;
use std::time::Duration;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// `1.2 GiB`, `120 MiB`: two or three digits, for where there is little room.
pub(super) fn short_size(bytes: u64) -> String {
    match scaled(bytes) {
        (_, None) => format!("{bytes} B"),
        (number, Some(unit)) if number < 9.95 => format!("{number:.1} {unit}"),
        (number, Some(unit)) => format!("{number:.0} {unit}"),
    }
}

/// `text`, or so much of it as so many columns hold.
pub(super) fn fit(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut room = columns.saturating_sub(1);
    let mut fitted = String::new();
    for c in text.chars() {
        let Some(left) = room.checked_sub(c.width().unwrap_or(0)) else {
            break;
        };
        room = left;
        fitted.push(c);
    }
    if columns > 0 {
        fitted.push('…');
    }
    fitted
}

/// A number of points; an estimate as such.
pub(super) fn points(n: u64, is_estimated: bool) -> String {
    let about = if is_estimated { "about " } else { "" };
    format!("{about}{}", count(n))
}

/// `2 h ago`.
pub(super) fn ago(age: Duration) -> String {
    format!("{} ago", rounded(age))
}

/// No cell of a table is longer, but for one that ends its line.
const WIDEST: usize = 300;

/// How a column is aligned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// A table with a line for its header; two spaces between columns. Cells are shortened, but for what ends a line.
pub(super) fn table<const N: usize>(columns: [(&str, Align); N], rows: &[[String; N]]) -> String {
    let ends_line = |i: usize| i + 1 == N && columns[i].1 == Align::Left;
    let cell = |row: &[String; N], i: usize| match ends_line(i) {
        true => plain(&row[i]),
        false => shortened(&plain(&row[i]), WIDEST - 1).into_owned(),
    };
    let rows: Vec<[String; N]> = rows.iter().map(|row| std::array::from_fn(|i| cell(row, i))).collect();
    let header = columns.map(|(name, _)| name.to_owned());
    // A width has an end; what ends a line needs none.
    let width = |i: usize| {
        if ends_line(i) {
            return 0;
        }
        let cells = rows.iter().chain([&header]).map(|row| row[i].width());
        cells.max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in [&header].into_iter().chain(&rows) {
        let mut line = String::new();
        for ((cell, width), (_, align)) in row.iter().zip(widths).zip(columns) {
            // `{cell:<width$}` counts characters, and a wide one takes two columns.
            let space = " ".repeat(usize::saturating_sub(width, cell.width()));
            let parts = match align {
                Align::Left => [cell.as_str(), &space, "  "],
                Align::Right => [&space, cell.as_str(), "  "],
            };
            line.extend(parts);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::is_control;

    #[test]
    fn tables_are_aligned_and_names_cannot_write_to_the_terminal() {
        let columns = [("NAME", Align::Left), ("SIZE", Align::Right)];
        let rows = [
            ["向量".into(), size(1 << 30)],
            ["a\u{1b}[2Jb".into(), size(5)],
            ["👩‍🔬".into(), size(5)],
        ];
        assert_eq!(
            table(columns, &rows),
            "NAME             SIZE\n\
             向量         1.00 GiB\n\
             a\\u{1b}[2Jb       5 B\n\
             👩‍🔬                5 B\n"
        );
    }

    #[test]
    fn a_cell_of_any_length_is_shortened_unless_it_ends_the_line() {
        let long = "é".repeat(70_000);
        let columns = [("NAME", Align::Left), ("SIZE", Align::Right), ("OBJECT", Align::Left)];
        let text = table(columns, &[[long.clone(), long.clone(), long.clone()]]);
        let cell = format!("{}…", "é".repeat(299));
        assert_eq!(text.lines().nth(1), Some(format!("{cell}  {cell}  {long}").as_str()));
    }

    /// Some texts that others choose.
    fn texts() -> Vec<String> {
        let mut texts: Vec<_> = [
            "",
            " ",
            "\0",
            "a\nb",
            "\u{1b}[2J",
            "\u{9b}",
            "\u{202e}x",
            "{:>9$}",
            "向量\u{200d}\u{301}",
        ]
        .iter()
        .flat_map(|text| [1, 150, 299, 300, 301, 70_000].map(|n| text.repeat(n)))
        .collect();
        texts.push((0..0x3000).filter_map(char::from_u32).collect());
        texts
    }

    #[test]
    fn no_text_makes_a_table_fail_wide_or_more_than_its_lines() {
        let texts = texts();
        for (i, first) in texts.iter().enumerate() {
            let row = |n: usize| std::array::from_fn(|cell| texts[(i + n * cell) % texts.len()].clone());
            let rows: [[String; 3]; 2] = [row(1), row(7)];
            for aligns in [
                [Align::Left; 3],
                [Align::Right; 3],
                [Align::Right, Align::Left, Align::Right],
            ] {
                let columns = [("A", aligns[0]), ("", aligns[1]), ("C", aligns[2])];
                let text = table(columns, &rows);
                assert_eq!(text.lines().count(), 3, "{first:?}");
                assert!(!text.contains(|c| c != '\n' && is_control(c)), "{first:?}");
                if aligns[2] == Align::Right {
                    assert!(
                        // Each character takes up to two columns.
                        text.lines().all(|line| line.width() <= 6 * WIDEST + 4),
                        "{first:?}"
                    );
                }
            }
            for longest in [1, 2, 3, 22, 100_000] {
                assert!(shortened(first, longest).chars().count() <= longest + 1, "{first:?}");
                assert!(in_the_middle(first, longest).chars().count() <= longest, "{first:?}");
            }
        }
    }

    #[test]
    fn no_number_is_too_large_to_be_told() {
        for n in [0, 1, 1023, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
            let length = Duration::new(n, 999_999_999);
            for text in [size(n), count(n), ago(length), rounded(length), exactly(length)] {
                assert!(text.starts_with(|c: char| c.is_ascii_digit()), "{n}: {text}");
            }
        }
    }

    #[test]
    fn sizes_and_counts_are_told_as_people_write_them() {
        let n = [0, 1023, 1024, 1536, 10 << 20, 1 << 30, 999 << 40];
        assert_eq!(
            n.map(size),
            [
                "0 B",
                "1023 B",
                "1.00 KiB",
                "1.50 KiB",
                "10.00 MiB",
                "1.00 GiB",
                "999.00 TiB"
            ]
        );
        assert_eq!(
            n.map(short_size),
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "10 MiB", "1.0 GiB", "999 TiB"]
        );
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_text_fits_into_columns_which_are_not_characters() {
        for (columns, fitted) in [
            (9, "向量 docs"),
            (8, "向量 do…"),
            (4, "向…"),
            (2, "…"),
            (1, "…"),
            (0, ""),
        ] {
            assert_eq!(fit("向量 docs", columns), fitted, "{columns}");
        }
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
