//! Arrows between modules point downwards only: a leaf knows nothing of an operation, an operation nothing of its faces.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Leaf to face, as in ARCHITECTURE.md. A module may use those of the layers before its own, and those of its own layer.
const LAYERS: &[&[&str]] = &[
    &["base"],
    &["wire"],
    &["repository"],
    &["ops"],
    &["cli", "config", "server", "telemetry"],
    &["app"],
];

/// Layers whose modules have folders of their own inside, such as `ops::restore`.
const FOLDERS: &[&str] = &["base", "wire", "repository", "ops"];

#[test]
fn modules_use_only_what_lies_below_them() {
    let modules: BTreeSet<_> = children("lib.rs").into_iter().collect();
    let known: BTreeSet<_> = LAYERS.iter().flat_map(|l| l.iter().map(|m| (*m).to_owned())).collect();
    assert_eq!(modules, known, "every module has its layer");
    let layer = |module: &str| LAYERS.iter().position(|l| l.contains(&module));

    let mut wrong = Vec::new();
    let mut arrows = 0;
    for module in &modules {
        for (file, text) in sources(module) {
            for path in uses(&file, &text) {
                // Macros and items of lib.rs are in no layer.
                let Some(used) = layer(&path[0]) else { continue };
                arrows += 1;
                if Some(used) > layer(module) {
                    wrong.push(format!("{file} uses {}", path.join("::")));
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
    for module in FOLDERS {
        for (file, text) in sources(module) {
            for foreign in ["axum::", "clap::", "std::env::var", "env::var("] {
                assert!(!text.contains(foreign), "{file} names {foreign}");
            }
        }
    }
}

#[test]
fn uses_are_seen_however_they_are_written() {
    let found = |file: &str, text: &str| {
        let mut paths: Vec<_> = uses(file, text).iter().map(|p| p.join("::")).collect();
        paths.sort();
        paths
    };
    let text = "use crate::a::b;\nuse crate::{c, d::{e, f::{g}}, h as i};\nfn x() { crate::j::y(); super::super::k::z(); super::l() }";
    let expected = ["a::b", "c", "d::e", "d::f", "h", "j::y", "k::z", "m::l"];
    assert_eq!(found("m/n.rs", text), expected);
    assert_eq!(found("m.rs", "use super::{\n    a,\n    b::{c}\n};"), ["a", "b::c"]);
    assert_eq!(found("m.rs", "use super::a;"), ["a"]);
}

/// What a file uses of this crate: at most two names of each path from the root.
fn uses(file: &str, text: &str) -> Vec<Vec<String>> {
    let module: Vec<_> = file.trim_end_matches(".rs").split('/').collect();
    let mut paths = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        expand(&text[at + "crate::".len()..], &[], &mut paths);
    }
    for (at, _) in text.match_indices("super::") {
        if text[..at].ends_with("super::") {
            continue;
        }
        let (mut tree, mut ups) = (&text[at..], 0);
        while let Some(rest) = tree.strip_prefix("super::") {
            (tree, ups) = (rest, ups + 1);
        }
        let from: Vec<_> = module[..module.len().saturating_sub(ups)]
            .iter()
            .map(|s| (*s).to_owned())
            .collect();
        expand(tree, &from, &mut paths);
    }
    paths.retain(|path| !path.is_empty());
    paths
}

/// The paths of a use tree, behind those names.
fn expand(tree: &str, from: &[String], paths: &mut Vec<Vec<String>>) {
    let tree = tree.trim_start();
    if from.len() >= 2 {
        return paths.push(from[..2].to_vec());
    }
    let Some(branches) = tree.strip_prefix('{') else {
        let name: String = tree.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
            return paths.push(from.to_vec());
        }
        let rest = &tree[name.len()..];
        let path = [from, &[name]].concat();
        return match rest.strip_prefix("::") {
            Some(rest) => expand(rest, &path, paths),
            None => paths.push(path),
        };
    };
    let (mut depth, mut fresh) = (0, true);
    for (at, c) in branches.char_indices() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if c.is_whitespace() => {}
            _ if fresh => {
                expand(&branches[at..], from, paths);
                fresh = false;
            }
            _ => {}
        }
    }
}

fn src() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The modules that a file declares, without those that are tests.
fn children(file: &str) -> Vec<String> {
    let text = fs::read_to_string(src().join(file)).unwrap();
    text.lines()
        .filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

/// The files of a module with their text, tests cut off.
fn sources(module: &str) -> Vec<(String, String)> {
    let src = src();
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
            files.push((path.strip_prefix(&src).unwrap().display().to_string(), text));
        }
    }
    assert!(!files.is_empty(), "{module} has no files");
    files
}
