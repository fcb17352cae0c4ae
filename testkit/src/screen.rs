//! What a person sees of the binary, without what differs from run to run.

use crate::process::{command, finish};
use std::path::Path;

/// Runs the binary against a Qdrant and a directory: the command, its exit code and both outputs, each headed by its name,
/// without what differs from run to run.
pub async fn screen(args: &[&str], qdrant: &str, store: &Path) -> String {
    screen_with(args, qdrant, store, &[]).await
}

/// As [`screen`], with more environment.
pub async fn screen_with(args: &[&str], qdrant: &str, store: &Path, env: &[(&str, &str)]) -> String {
    let mut command = command(args, qdrant, store);
    let child = command.envs(env.iter().copied()).spawn().unwrap();
    let (code, out, err) = finish(child).await;
    let mut text = format!("$ qdrant-backup {}\nexit code {}\n", args.join(" "), code.unwrap());
    for (name, output) in [("stdout", out), ("stderr", err)] {
        if !output.is_empty() {
            text = format!("{text}--- {name}\n{}\n", output.trim_end());
        }
    }
    let store = store.to_str().unwrap();
    redacted(&text.replace(qdrant, "[qdrant]").replace(store, "[store]"))
}

/// Digits are written as `0`: what is replaced where it stands in a text, longest first.
const SHAPES: [(&str, &str); 5] = [
    ("0000-00-00T00-00-00Z", "[id]"),
    ("0000-00-00T00:00:00", "[time]"),
    ("0000-00-00 00:00:00", "[time]"),
    ("0000-00-00 00:00", "[minute]"),
    ("00-00 00:00", "[minute]"),
];
/// Units of what was measured.
const UNITS: [&str; 11] = [
    "ms", "s", "min", "h", "d", "KiB", "GiB", "MB/s", "B/s", "KiB/s", "MiB/s",
];

/// Ids are numbered by their first appearance; UUIDs, times, measured numbers and the padding of columns lose their value.
pub fn redacted(text: &str) -> String {
    let mut ids: Vec<&str> = Vec::new();
    let mut result = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let starts = !result.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '.');
        if let Some((shape, name)) = SHAPES.iter().find(|(shape, _)| starts && has_shape(rest, shape)) {
            let (found, after) = rest.split_at(shape.len());
            if *name == "[id]" {
                let known = ids.iter().position(|id| *id == found);
                let number = known.unwrap_or_else(|| {
                    ids.push(found);
                    ids.len() - 1
                });
                result += &format!("[id {}]", number + 1);
                rest = after;
            } else {
                result += name;
                rest = after.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
                rest = rest.strip_prefix('Z').unwrap_or(rest);
            }
        } else if is_uuid(rest) {
            result += "[uuid]";
            rest = &rest[UUID.len()..];
        } else if let (true, Some((length, unit))) = (starts, measured(rest)) {
            result += &format!("[n] {unit}");
            rest = &rest[length..];
        } else if result.ends_with("seconds=") {
            result += "[n]";
            rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        } else if let Some(after) = rest.strip_prefix("  ") {
            result += "  ";
            rest = after.trim_start_matches(' ');
        } else {
            result.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    result
}

/// Letters and digits are written as `0`.
const UUID: &str = "00000000-0000-0000-0000-000000000000";

fn is_uuid(text: &str) -> bool {
    let alike = |(c, s): (u8, u8)| if s == b'0' { c.is_ascii_hexdigit() } else { c == s };
    text.len() >= UUID.len() && text.bytes().zip(UUID.bytes()).all(alike)
}

fn has_shape(text: &str, shape: &str) -> bool {
    let alike = |(c, s): (u8, u8)| if s == b'0' { c.is_ascii_digit() } else { c == s };
    text.len() >= shape.len() && text.bytes().zip(shape.bytes()).all(alike)
}

/// The length of a number with one of the units, and the unit.
fn measured(text: &str) -> Option<(usize, &'static str)> {
    let number = text.find(|c: char| c != '.' && !c.is_ascii_digit())?;
    let rest = text[number..].strip_prefix(' ')?;
    let word = rest
        .find(|c: char| !c.is_ascii_alphabetic() && c != '/')
        .unwrap_or(rest.len());
    let unit = UNITS.into_iter().find(|unit| *unit == &rest[..word])?;
    (number > 0).then_some((number + 1 + word, unit))
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn what_differs_from_run_to_run_is_redacted_and_nothing_else() {
        let text = "2026-11-25T21:17:07.123456Z  INFO saved 3.00 MiB in 12.5 s, 3 s ago\n2026-11-25T21-17-07Z   good seconds=12\n\
                    2026-11-25T21-17-08Z 2026-11-25T21-17-07Z 1.18.3 7 points x-67e55044-10b1-426f-9247-bb680e5fe0c8.y";
        let expected = "[time]  INFO saved 3.00 MiB in [n] s, [n] s ago\n[id 1]  good seconds=[n]\n[id 2] [id 1] 1.18.3 7 points x-[uuid].y";
        assert_eq!(redacted(text), expected);
    }
}
