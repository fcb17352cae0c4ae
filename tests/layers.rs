//! Arrows between modules point downwards only: a leaf knows nothing of an operation, an operation nothing of its faces.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Leaf to face. A module may use those of the layers before its own, and those of its own layer.
const LAYERS: &[&[&str]] = &[
    &[
        "clock", "error", "hash", "json", "patience", "pause", "sharding", "shell", "text",
    ],
    &["names", "progress"],
    &["qdrant", "store"],
    &["manifest", "relay"],
    &["intent", "lock", "plan", "retention"],
    &["catalog"],
    // They name each other: an event tells an operation's report, and an operation ends with its event.
    &["backup", "drill", "events", "restore"],
    &["freshness", "pin", "prune"],
    &["verify"],
    &["cli", "config", "server", "telemetry"],
    &["app"],
];

#[test]
fn modules_use_only_what_lies_below_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = fs::read_to_string(src.join("lib.rs")).unwrap();
    let modules: BTreeSet<_> = lib
        .lines()
        .filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let known: BTreeSet<_> = LAYERS.iter().flat_map(|l| l.iter().copied()).collect();
    assert_eq!(modules, known, "every module has its layer");
    let layer = |module: &str| LAYERS.iter().position(|l| l.contains(&module)).unwrap();

    let mut wrong = Vec::new();
    let mut arrows = 0;
    for module in modules {
        for (file, text) in sources(&src, module) {
            for name in uses(&file, &text) {
                // Macros and `crate::Item` of lib.rs begin with something else.
                if !known.contains(name.as_str()) {
                    continue;
                }
                arrows += 1;
                if layer(&name) > layer(module) {
                    wrong.push(format!("{file} uses {name}"));
                }
            }
        }
    }
    assert!(
        arrows > 300,
        "only {arrows} uses found: the test no longer reads the sources right"
    );
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn operations_know_no_face_and_read_no_environment() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let faces = LAYERS.iter().position(|layer| layer.contains(&"cli")).unwrap();
    for module in LAYERS[..faces].iter().flat_map(|l| l.iter()) {
        for (file, text) in sources(&src, module) {
            for foreign in ["axum::", "clap::", "std::env::var", "env::var("] {
                assert!(!text.contains(foreign), "{file} names {foreign}");
            }
        }
    }
}

#[test]
fn uses_are_seen_however_they_are_written() {
    let text = "use crate::a::b;\nuse crate::{c, d::{e, f::{g}}, h as i};\nfn x() { crate::j::y(); super::super::k::z(); super::l() }";
    assert_eq!(uses("m/n.rs", text), ["a", "c", "d", "h", "j", "k"]);
    assert_eq!(uses("m/mod.rs", "use super::{\n    a,\n    b::{c}\n};"), ["a", "b"]);
    assert_eq!(uses("m.rs", "use super::a;"), ["a"]);
}

/// What a file uses of the crate's root: the first names behind `crate::`, and behind as many `super::` as lead there.
fn uses(file: &str, text: &str) -> Vec<String> {
    let depth = file.trim_end_matches("/mod.rs").split('/').count();
    let up = "super::".repeat(depth);
    let text = text.replace(&up, "crate::");
    let mut names = Vec::new();
    for tree in text.split("crate::").skip(1) {
        names.extend(heads(tree));
    }
    names
}

/// The first name of a use tree, or those of all its branches.
fn heads(tree: &str) -> Vec<String> {
    let word = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_';
    let Some(branches) = tree.strip_prefix('{') else {
        return vec![tree.chars().take_while(word).collect()];
    };
    let (mut depth, mut found, mut fresh) = (0, Vec::new(), true);
    for (at, c) in branches.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if c.is_whitespace() => {}
            _ if fresh => {
                found.push(branches[at..].chars().take_while(word).collect());
                fresh = false;
            }
            _ => {}
        }
    }
    found
}

/// The files of a module with their text, tests cut off.
fn sources(src: &Path, module: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut todo = vec![src.join(module), src.join(format!("{module}.rs"))];
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            todo.extend(fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
        } else if path.is_file() && !path.ends_with("tests.rs") {
            let text = fs::read_to_string(&path).unwrap();
            let text = text
                .split("#[cfg(test)]\nmod tests {")
                .next()
                .unwrap_or_default()
                .to_owned();
            files.push((path.strip_prefix(src).unwrap().display().to_string(), text));
        }
    }
    assert!(!files.is_empty(), "{module} has no files");
    files
}
