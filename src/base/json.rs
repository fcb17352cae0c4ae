//! JSON as it is written: readable, but never much longer than what it says; and how deep and how heavy one may be that is to be
//! read.

mod packed;

pub use packed::Packed;

use crate::base::text::is_control;
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};
use std::io::{Result, Write};

/// What nests deeper cannot be read: the limit of `serde_json`, which protects the stack.
pub(crate) const DEEPEST: usize = 127;
/// Down to this level each value has a line of its own. Indentation of all levels could make a hundred times as much of it.
const READABLE: usize = 5;

/// `value` as JSON, with a line for each value of the upper levels, and one at the end.
pub fn to_vec(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut json = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut json, Lines::default()))?;
    json.push(b'\n');
    Ok(json)
}

/// How deep arrays and objects nest in `json`.
pub fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in outside_texts(json) {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Bytes of memory that `json` takes as a [`Value`]: rather more than less. What says little may take a hundred times its length.
pub fn weight(json: &[u8]) -> usize {
    const NAMED: usize = size_of::<String>() + size_of::<Value>();
    let weights = outside_texts(json).map(|byte| match byte {
        // Room for so many fields, from the first one on.
        b'{' => 12 * NAMED,
        b'[' => 4 * size_of::<Value>(),
        // What grows has up to twice the room that it needs.
        b',' => 2 * NAMED,
        _ => 0,
    });
    weights.fold(json.len(), usize::saturating_add)
}

/// The bytes of `json` that are not in its texts.
fn outside_texts(json: &[u8]) -> impl Iterator<Item = u8> {
    let mut bytes = json.iter();
    let mut text = false;
    std::iter::from_fn(move || {
        loop {
            match (text, *bytes.next()?) {
                (_, b'"') => text = !text,
                (true, b'\\') => drop(bytes.next()),
                (true, _) => {}
                (false, byte) => return Some(byte),
            }
        }
    })
}

#[derive(Default)]
struct Lines {
    depth: usize,
    pretty: PrettyFormatter<'static>,
}

impl Lines {
    /// What writes at this level.
    fn level(&mut self) -> Level<'_> {
        match self.depth <= READABLE {
            true => Level::Pretty(&mut self.pretty),
            false => Level::Compact(CompactFormatter),
        }
    }
}

enum Level<'a> {
    Pretty(&'a mut PrettyFormatter<'static>),
    Compact(CompactFormatter),
}

macro_rules! by_level {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match $self.level() {
            Level::Pretty(formatter) => formatter.$method($($argument),*),
            Level::Compact(mut formatter) => formatter.$method($($argument),*),
        }
    };
}

impl Formatter for Lines {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        self.depth += 1;
        by_level!(self.begin_array(writer))
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        by_level!(self.end_array(writer))?;
        self.depth -= 1;
        Ok(())
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> Result<()> {
        by_level!(self.begin_array_value(writer, first))
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        by_level!(self.end_array_value(writer))
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        self.depth += 1;
        by_level!(self.begin_object(writer))
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        by_level!(self.end_object(writer))?;
        self.depth -= 1;
        Ok(())
    }

    /// What could move a cursor, or show what follows in another order, is escaped: `serde_json` does so up to U+001F.
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_control) {
            let (before, after) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut chars = after.chars();
            // All of them have one unit in UTF-16.
            if let Some(c) = chars.next() {
                write!(writer, "\\u{:04x}", u32::from(c))?;
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> Result<()> {
        by_level!(self.begin_object_key(writer, first))
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        by_level!(self.begin_object_value(writer))
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        by_level!(self.end_object_value(writer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, from_slice, json};

    fn nested(levels: usize) -> Vec<u8> {
        ["[".repeat(levels), "]".repeat(levels)].concat().into_bytes()
    }

    #[test]
    fn the_deepest_that_is_said_to_be_readable_is() {
        assert!(from_slice::<Value>(&nested(DEEPEST)).is_ok());
        assert!(from_slice::<Value>(&nested(DEEPEST + 1)).is_err());
    }

    #[test]
    fn depth_counts_no_brackets_in_texts() {
        assert_eq!(depth(&nested(7)), 7);
        assert_eq!(depth(br#"{"a[[": "]\"[[", "b": [{}], "c\\": {}}"#), 3);
        assert_eq!(depth(b"1"), 0);
    }

    #[test]
    fn what_takes_much_memory_weighs_more_than_it_takes() {
        let named = size_of::<String>() + size_of::<Value>();
        for (filler, each) in [
            ("[],", size_of::<Value>()),
            ("0,", size_of::<Value>()),
            // An object is never smaller than one field.
            (r#"{"":0},"#, size_of::<Value>() + named),
            (r#"[0],"#, 5 * size_of::<Value>()),
        ] {
            let json = format!("[{}0]", filler.repeat(1000));
            assert!(weight(json.as_bytes()) >= 1000 * each, "{filler}");
        }
        let text = format!("[\"{}\\\"{}\"]", "[{,".repeat(1000), "x".repeat(1000));
        assert!(
            weight(text.as_bytes()) < text.len() + 1000,
            "a text weighs what it says"
        );
    }

    #[test]
    fn no_text_reaches_a_terminal_as_anything_but_text() {
        let text = json!({"a\u{9b}2Jb": "\u{1b}[2J\u{7f}\u{202e}向量 \"\\\u{2066}"});
        let written = String::from_utf8(to_vec(&text).unwrap()).unwrap();
        assert!(!written.contains(|c| c != '\n' && is_control(c)), "{written:?}");
        assert!(written.contains("向量"), "{written:?}");
        assert_eq!(from_slice::<Value>(written.as_bytes()).unwrap(), text);
    }

    #[test]
    fn upper_levels_are_as_pretty_json_has_them_and_lower_ones_are_not_longer_than_need_be() {
        let shallow = json!({"a": [{"b": {"c": [1, 2], "d": {}}}], "e": [], "f": "g"});
        let pretty = serde_json::to_string_pretty(&shallow).unwrap() + "\n";
        assert_eq!(String::from_utf8(to_vec(&shallow).unwrap()).unwrap(), pretty);
        let deep = json!({"a": [{"b": {"c": {"d": [1, {"e": [2, 3]}]}, "f": 4}}]});
        let written = String::from_utf8(to_vec(&deep).unwrap()).unwrap();
        assert!(written.contains("\"d\": [1,{\"e\":[2,3]}]"), "{written}");
        assert_eq!(from_slice::<Value>(written.as_bytes()).unwrap(), deep);
    }
}
