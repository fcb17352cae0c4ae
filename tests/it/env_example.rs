//! `.env.example` and the compose files name every variable that the program knows, and none that it does not.

use qdrant_backup::config::settings;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Set by Cloud Run or the container's runtime, never by a person.
const PLATFORM: [&str; 8] = [
    "CLOUD_RUN_EXECUTION",
    "CLOUD_RUN_JOB",
    "CLOUD_RUN_TASK_ATTEMPT",
    "CLOUD_RUN_TASK_COUNT",
    "CLOUD_RUN_TASK_INDEX",
    "HOSTNAME",
    "K_REVISION",
    "K_SERVICE",
];
/// Read by Google's libraries, or by docker compose.
const OTHERS: [&str; 5] = [
    "GCP_PROJECT_ID",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_APPLICATION_CREDENTIALS_FILE_PATH",
    "IMAGE_DIGEST",
    "IMAGE_TAG",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn is_name(text: &str) -> bool {
    text.len() > 3
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// The names between quotes in the files that read the environment, without their tests.
fn read_by_the_code() -> BTreeSet<String> {
    let mut files = vec![root().join("src/app.rs"), root().join("src/config.rs")];
    let mut folders: Vec<PathBuf> = vec![root().join("src/config")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    let mut names = BTreeSet::new();
    // Those that only list them.
    files.retain(|file| !file.ends_with("unknown.rs") && !file.ends_with("settings/table.rs"));
    for file in files {
        let source = std::fs::read_to_string(file).unwrap();
        let code = source.split("#[cfg(test)]\nmod ").next().unwrap();
        names.extend(code.split('"').filter(|text| is_name(text)).map(str::to_owned));
    }
    names
}

/// The names in lines such as `NAME=value` and `# NAME=value`.
fn shown() -> BTreeSet<String> {
    let text = read(".env.example");
    let names = text
        .lines()
        .filter_map(|line| line.strip_prefix("# ").unwrap_or(line).split_once('='));
    names
        .filter(|(name, _)| is_name(name))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn without<'a>(names: &BTreeSet<String>, others: &[&str], known: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let known: BTreeSet<&String> = known.into_iter().collect();
    let left = names
        .iter()
        .filter(|name| !known.contains(name) && !others.contains(&name.as_str()));
    left.cloned().collect()
}

#[test]
fn the_list_of_known_variables_is_that_of_the_code_that_reads_them() {
    let known: BTreeSet<_> = settings().map(|setting| setting.variable.to_owned()).collect();
    assert_eq!(known, read_by_the_code());
    assert_eq!(known.len(), settings().count(), "one of them is listed twice");
}

#[test]
fn the_example_names_every_variable_that_the_program_reads() {
    assert_eq!(without(&read_by_the_code(), &PLATFORM, &shown()), Vec::<String>::new());
}

#[test]
fn the_example_names_nothing_that_the_program_does_not_read() {
    assert_eq!(without(&shown(), &OTHERS, &read_by_the_code()), Vec::<String>::new());
}

#[test]
fn compose_files_set_only_variables_that_the_example_names() {
    for file in ["docker-compose.yml", "docker-compose.registry.yml"] {
        let text = read(file);
        let code = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let mut names = BTreeSet::new();
        for line in code {
            // `      NAME: value`, and `${NAME...}` anywhere.
            if let Some((key, _)) = line.split_once(':') {
                names.extend(is_name(key.trim()).then(|| key.trim().to_owned()));
            }
            for rest in line.split("${").skip(1) {
                let name: String = rest.chars().take_while(|c| is_name(&format!("AAA{c}"))).collect();
                names.insert(name);
            }
        }
        // Qdrant's own.
        names.retain(|name| !name.starts_with("QDRANT__"));
        assert!(!names.is_empty(), "{file}");
        assert_eq!(without(&names, &[], &shown()), Vec::<String>::new(), "{file}");
    }
}
