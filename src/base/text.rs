//! Text from elsewhere, fit to be printed.

/// Whether a character could move a cursor, colour a terminal, begin a line, or show what follows in another order.
pub(crate) fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` as a part of one line: its control characters are escaped.
pub(crate) fn plain(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut plain, c| {
        match is_control(c) {
            true => plain.extend(c.escape_default()),
            false => plain.push(c),
        }
        plain
    })
}

/// At most so many characters of a text: the beginning and the end, where names differ and causes stand.
pub(crate) fn in_the_middle(text: &str, longest: usize) -> String {
    let count = text.chars().count();
    if count <= longest {
        return text.to_owned();
    }
    let (head, tail) = ((longest - 1) / 2, longest / 2);
    let shown = |from: usize, n: usize| text.chars().skip(from).take(n).collect::<String>();
    format!("{}…{}", shown(0, head), shown(count - tail, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_text_beginning_and_end_are_shown() {
        assert_eq!(in_the_middle("向量向量向", 5), "向量向量向");
        assert_eq!(in_the_middle("abcdefgh", 5), "ab…gh");
        assert_eq!(in_the_middle("abcdefgh", 6), "ab…fgh");
    }

    #[test]
    fn text_from_elsewhere_is_one_line_in_the_order_that_it_shows() {
        for c in [
            '\0', '\n', '\u{1b}', '\u{7f}', '\u{85}', '\u{2028}', '\u{2029}', '\u{202a}', '\u{202e}', '\u{2066}',
            '\u{2069}',
        ] {
            let plain = plain(&format!("a{c}b"));
            assert!(
                !plain.contains(is_control) && plain.starts_with("a\\"),
                "{c:?}: {plain}"
            );
        }
        assert_eq!(plain("向量 é\u{a0}\\"), "向量 é\u{a0}\\");
        assert_eq!(plain("a\u{1b}[2J\nb"), "a\\u{1b}[2J\\nb");
    }
}
