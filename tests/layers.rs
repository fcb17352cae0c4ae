//! Arrows between modules point downwards only: a leaf knows nothing of an operation, an operation nothing of its faces.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Leaf to face. A module may use those of the layers before its own, and those of its own layer.
const LAYERS: &[&[&str]] = &[
    &["clock", "error", "hash", "patience", "pause", "shell"],
    &["names", "progress"],
    &["qdrant", "store"],
    &["manifest", "relay"],
    &["intent", "lock", "plan", "retention"],
    &[
        "backup",
        "catalog",
        "drill",
        "events",
        "freshness",
        "pin",
        "prune",
        "restore",
    ],
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
            for used in text.split("crate::").skip(1) {
                let name: String = used
                    .chars()
                    .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                    .collect();
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
        arrows > 30,
        "only {arrows} uses found: the test no longer reads the sources right"
    );
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn operations_know_no_face_and_read_no_environment() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for module in LAYERS[..7].iter().flat_map(|l| l.iter()) {
        for (file, text) in sources(&src, module) {
            for foreign in ["axum::", "clap::", "std::env::var", "env::var("] {
                assert!(!text.contains(foreign), "{file} names {foreign}");
            }
        }
    }
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
