//! JSON with something in it that nobody expects.

use serde_json::{Value, json};

/// Numbers without a pattern, the same for the same seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }

    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Some of them are dates, some are ids, some are numbers that are none.
const TEXTS: [&str; 24] = [
    "",
    " ",
    "\0",
    "\n",
    "a\nb",
    "\u{1b}[2J",
    "\u{202e}evil",
    "..",
    "../../x",
    "/",
    "a/b",
    "{}",
    "*",
    "[",
    "**a",
    "%",
    "-",
    "--yes",
    "latest",
    "docs",
    "向量\u{200d}\u{301}",
    "-1",
    "18446744073709551616",
    "complete",
];
const DATES: [&str; 8] = [
    "0000-01-01T00:00:00Z",
    "0000-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59.999999999Z",
    "9999-12-31T23:59:59-23:59",
    "1970-01-01T00:00:00Z",
    "2016-12-31T23:59:60Z",
    "2026-02-30T00:00:00Z",
    "2999-01-01T00:00:00Z",
];
const IDS: [&str; 5] = [
    "0000-01-01T00-00-00Z",
    "9999-12-31T23-59-59Z",
    "2026-11-22T12-00-00Z",
    "2999-01-01T00-00-00Z",
    "2026-11-22T12-00-00",
];

fn text(random: &mut Random, was: &str) -> Value {
    let is_date = was.len() >= 20 && was.as_bytes()[10] == b'T';
    match random.below(4) {
        0 | 1 if is_date && was.contains(':') => json!(random.one(&DATES)),
        0 | 1 if is_date => json!(random.one(&IDS)),
        2 => json!(random.one(&["é", "a", "\u{1b}", "w "]).repeat(1 + random.below(70_000))),
        3 => json!(format!("{was}{}", random.one(&TEXTS))),
        _ => json!(random.one(&TEXTS)),
    }
}

fn number(random: &mut Random) -> Value {
    let all = [
        json!(0),
        json!(1),
        json!(-1),
        json!(u32::MAX),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(u64::MAX / 2 + 1),
        json!(1e308),
        json!(0.1),
    ];
    random.one(&all).clone()
}

fn odd(random: &mut Random, was: &Value) -> Value {
    // Mostly of the same type, so that it gets beyond the parser.
    match (random.below(5), was) {
        (1.., Value::String(was)) => text(random, was),
        (1.., Value::Number(_)) => number(random),
        (1.., Value::Bool(is)) => json!(!is),
        (1..3, Value::Array(list)) => list.iter().chain(list).cloned().collect(),
        (1.., Value::Array(_)) => json!([]),
        (1.., Value::Object(_)) => json!({}),
        _ => {
            let any = [json!(null), json!(true), json!([]), json!({}), json!([[{}]])];
            match random.below(7) {
                0 => number(random),
                1 => text(random, ""),
                _ => random.one(&any).clone(),
            }
        }
    }
}

fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let key = |name: &str| format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
    found.push(at.to_owned());
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| places(value, &key(name), found)),
        Value::Array(list) => (0..)
            .zip(list)
            .for_each(|(i, value)| places(value, &format!("{at}/{i}"), found)),
        _ => {}
    }
}

/// Replaces something in it, or takes it out.
pub fn mutate(value: &mut Value, random: &mut Random) {
    let mut found = Vec::new();
    places(value, "", &mut found);
    let place = random.one(&found).clone();
    if random.below(8) == 0
        && let Some((parent, name)) = place.rsplit_once('/')
        && let Some(Value::Object(fields)) = value.pointer_mut(parent)
    {
        fields.remove(name);
        return;
    }
    if let Some(place) = value.pointer_mut(&place) {
        *place = odd(random, place);
    }
}
