//! Text from elsewhere, fit to be printed.

use std::borrow::Cow;

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

/// `text`, or its beginning if it has more characters than that.
pub(crate) fn shortened(text: &str, longest: usize) -> Cow<'_, str> {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_shortened_between_characters() {
        assert_eq!(shortened("向量", 2), "向量");
        assert_eq!(shortened("向量庫", 2), "向量…");
        assert_eq!(shortened("", 0), "");
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
