//! Words of a command, as a shell takes them.

use crate::base::text::is_control;
use std::collections::BTreeMap;
use std::fmt::Write;

/// `text` as one word of a command that is printed to be pasted: for sh, unless it holds control characters, which take
/// `$'…'` (bash, zsh, ksh, and POSIX since 2024).
///
/// Whether a word is taken for an option is not for the shell to decide: `--` or `--name=value` keeps one that begins with `-`
/// from that.
pub(crate) fn word(text: &str) -> String {
    let plain = |(at, c): (usize, char)| c.is_alphanumeric() || "-_./:,@+".contains(c) || (c == '=' && at > 0);
    if !text.is_empty() && text.char_indices().all(plain) {
        return text.to_owned();
    }
    if !text.chars().any(is_control) {
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    let mut word = String::from("$'");
    for c in text.chars() {
        match c {
            '\'' | '\\' => word.extend(['\\', c]),
            c if is_control(c) => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a String does not fail.
                    let _ = write!(word, "\\{byte:03o}");
                }
            }
            c => word.push(c),
        }
    }
    word + "'"
}

/// An option with its value as words of a command.
pub(crate) fn option(name: &str, value: &str) -> String {
    match value.starts_with('-') {
        true => word(&format!("{name}={value}")),
        false => format!("{name} {}", word(value)),
    }
}

/// Options with their values, each behind a space.
pub(crate) fn options(given: &BTreeMap<&'static str, String>) -> String {
    given.keys().map(|name| option_of(given, name)).collect()
}

/// One of these options, behind a space, if it is among them.
pub(crate) fn option_of(given: &BTreeMap<&'static str, String>, name: &str) -> String {
    let value = given.get(name);
    value
        .map(|value| format!(" {}", option(name, value)))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::process::Command;

    #[test]
    fn a_shell_gives_each_word_back_as_it_was() {
        let texts = [
            "tiny",
            "",
            "a b",
            "it's",
            "'",
            "$HOME",
            "`id`",
            "$(id)",
            "a\\b",
            "a\nb\tc",
            "\u{1b}[2J'\\",
            "\u{85}é",
            "向量",
            "~",
            "=ls",
            "a=b",
            "--x",
            "-",
            "*",
            "!!",
            "a;b",
            "a&b",
            "{}-copy",
            "{a,b}",
            "#",
            "\u{7f}",
            "\\n'\n",
            "\u{202e}x\u{2066}\u{2028}",
        ];
        let words: Vec<_> = texts.iter().map(|text| word(text)).collect();
        let script = format!("printf '%s\\0' {}", words.join(" "));
        let out = Command::new("bash").args(["-c", &script]).output().unwrap();
        let mut given: Vec<_> = out.stdout.split(|b| *b == 0).map(String::from_utf8_lossy).collect();
        assert_eq!(given.pop().as_deref(), Some(""), "{script}");
        assert_eq!(given, texts, "{script}");
        assert!(words.iter().all(|word| !word.contains(is_control)));
        assert_eq!(
            word("--to=http://h:6333/x"),
            "--to=http://h:6333/x",
            "as plain as it can be"
        );
    }
}
