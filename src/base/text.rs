//! Text from elsewhere, fit to be printed.

use std::borrow::Cow;
use std::time::Duration;

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

/// `1.21 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    match scaled(bytes) {
        (_, None) => format!("{bytes} B"),
        (number, Some(unit)) => format!("{number:.2} {unit}"),
    }
}

/// A number of bytes in the largest unit that there is one of.
pub(crate) fn scaled(bytes: u64) -> (f64, Option<&'static str>) {
    let mut number = bytes as f64;
    let mut unit = None;
    for name in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        if number < 1024.0 {
            break;
        }
        (number, unit) = (number / 1024.0, Some(name));
    }
    (number, unit)
}

/// `1,234,567`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `2 h`: an age in one unit, rounded down.
pub(crate) fn rounded(age: Duration) -> String {
    let s = age.as_secs();
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min", s / 60),
        3600..172_800 => format!("{} h", s / 3600),
        _ => format!("{} d", s / 86_400),
    }
}

/// `26 h`: a length of time in the largest unit that tells all of it.
pub(crate) fn exactly(length: Duration) -> String {
    match length.as_secs() {
        s if s % 86_400 == 0 && s > 86_400 => format!("{} d", s / 86_400),
        s if s % 3600 == 0 => format!("{} h", s / 3600),
        s if s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}

/// Characters of a value that a message repeats.
const SHOWN: usize = 120;

/// A value without the parts of a URL that may hold a secret: what stands before `@`, the query and the fragment. It need not be
/// a well-formed URL, because the badly formed ones are those that are shown.
pub(crate) fn without_secrets(value: &str) -> String {
    let hidden = |at: usize| format!("{}…", &value[..=at]);
    let shown = match (value.rfind('@'), value.find(['?', '#'])) {
        (None, None) => value.to_owned(),
        (None, Some(at)) => hidden(at),
        (Some(at), more) => {
            let scheme = value[..at].find("://").map_or("", |end| &value[..end + 3]);
            let host = &value[at + 1..];
            match (more, host.find(['?', '#'])) {
                (None, _) => format!("{scheme}…@{host}"),
                (Some(more), Some(end)) if more > at => format!("{scheme}…@{}…", &host[..=end]),
                // Which of them is the host, and where the secret is, is anybody's guess.
                _ => format!("{scheme}…"),
            }
        }
    };
    shortened(&shown, SHOWN).into_owned()
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
    fn of_a_long_text_beginning_and_end_are_shown() {
        assert_eq!(in_the_middle("向量向量向", 5), "向量向量向");
        assert_eq!(in_the_middle("abcdefgh", 5), "ab…gh");
        assert_eq!(in_the_middle("abcdefgh", 6), "ab…fgh");
    }

    #[test]
    fn what_may_be_secret_is_not_shown() {
        for (value, shown) in [
            ("http://me:secret@host:6333", "http://…@host:6333"),
            ("htp:/me:secret@host", "…@host"),
            ("http://host/?api-key=secret", "http://host/?…"),
            ("http://host/#secret", "http://host/#…"),
            ("http://host/?a#secret", "http://host/?…"),
            ("http://me:secret@host/x#secret", "http://…@host/x#…"),
            ("http://me:sec@ret@host", "http://…@host"),
            ("http://me:sec?ret@host", "http://…"),
            ("http://me:sec#ret@host", "http://…"),
            ("http://host/?mail=a@b&key=secret", "http://…"),
            ("plain", "plain"),
        ] {
            assert_eq!(without_secrets(value), shown);
        }
        assert!(without_secrets(&"é".repeat(500)).chars().count() <= SHOWN + 1);
    }

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

    #[test]
    fn a_length_of_time_is_told_in_full() {
        let lengths = [26 * 3600, 90 * 60, 90, 86_400, 7 * 86_400].map(|s| exactly(Duration::from_secs(s)));
        assert_eq!(lengths, ["26 h", "90 min", "90 s", "24 h", "7 d"]);
    }
}
