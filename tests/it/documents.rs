//! The documents keep their word: links lead somewhere, commands are accepted and run, both languages have the same pages.
//!
//! A block of commands (`sh`, `bash`, `console`) is run by [`run`], or the word behind its language says what it needs that a
//! test has not: `cluster`, `gcloud`, `docker`, `kubectl`, `systemd`, `toolchain`, `terraform`.

pub(crate) mod commands;
mod cost;
mod deploy;
mod disk;
mod markdown;
mod run;
mod units;

use commands::{arguments, body, needs, request, words};
use markdown::{Block, Page, pages};
use qdrant_backup::cli;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(path: &str) -> Page {
    Page::read(root(), Path::new(path))
}

/// `path` without `.` and `..`; `None` when it leads out of the repository.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir if !normal.pop() => return None,
            _ => {}
        }
    }
    Some(normal)
}

/// The file that a relative link leads to, and the anchor in it.
fn followed<'a>(from: &Path, link: &'a str) -> Option<(PathBuf, Option<&'a str>)> {
    let (path, anchor) = match link.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (link, None),
    };
    let target = match path {
        "" => from.to_owned(),
        path => normal(&from.parent()?.join(path))?,
    };
    Some((target, anchor))
}

fn is_relative(link: &str) -> bool {
    !link.contains("://") && !link.starts_with("mailto:")
}

/// Every block of commands, with where it is.
fn blocks(pages: &[Page]) -> impl Iterator<Item = (String, &Block)> {
    pages
        .iter()
        .flat_map(|page| shells(page).map(|block| (format!("{}:{}", page.path.display(), block.line), block)))
}

/// The blocks of commands of one page.
fn shells(page: &Page) -> impl Iterator<Item = &Block> {
    let shells = ["sh", "bash", "console"];
    page.blocks
        .iter()
        .filter(move |block| shells.contains(&block.language()))
}

fn is_chinese(path: &Path) -> bool {
    path.starts_with("docs/zh-TW") || path == Path::new("README.zh-TW.md")
}

fn none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let pages = pages(root());
    let anchors: BTreeMap<_, _> = pages.iter().map(|page| (page.path.clone(), page.anchors())).collect();
    let (mut problems, mut followed_all) = (Vec::new(), 0);
    for page in &pages {
        for (line, link) in page.links.iter().filter(|(_, link)| is_relative(link)) {
            followed_all += 1;
            let missing = match followed(&page.path, link) {
                None => Some("leads out of the repository"),
                Some((target, _)) if !root().join(&target).exists() => Some("no such file"),
                Some((target, Some(anchor))) if !anchors.get(&target).is_some_and(|all| all.contains(anchor)) => {
                    Some("no such heading")
                }
                Some(_) => None,
            };
            problems.extend(missing.map(|why| format!("{}:{line}: {link}: {why}", page.path.display())));
        }
    }
    none(&problems);
    assert!(followed_all > 200, "only {followed_all} links found");
}

#[test]
fn both_readmes_are_short_and_have_the_same_sections() {
    let (english, chinese) = (page("README.md"), page("README.zh-TW.md"));
    for readme in [&english, &chinese] {
        assert!(
            readme.lines <= 150,
            "{} has {} lines",
            readme.path.display(),
            readme.lines
        );
        for command in ["cargo run --example demo", "cargo test --workspace"] {
            assert!(readme.text.contains(command), "{}: {command}", readme.path.display());
        }
    }
    assert_eq!(english.sections(), chinese.sections());
    assert!(english.sections() > 5);
}

#[test]
fn a_chinese_page_has_the_sections_of_the_english_one() {
    let pages = pages(root());
    let (chinese, english): (Vec<_>, Vec<_>) = pages
        .iter()
        .filter(|page| page.path.starts_with("docs") && !page.path.ends_with("README.md"))
        .partition(|page| page.path.starts_with("docs/zh-TW"));
    assert!(chinese.len() >= 7);
    for page in chinese {
        let name = page.path.file_name();
        let twins: Vec<_> = english.iter().filter(|other| other.path.file_name() == name).collect();
        assert_eq!(twins.len(), 1, "{}", page.path.display());
        assert_eq!(page.sections(), twins[0].sections(), "{}", page.path.display());
    }
}

#[test]
fn every_page_is_in_its_index() {
    let pages = pages(root());
    for index in ["docs/README.md", "docs/zh-TW/README.md"].map(page) {
        let folder = index.path.parent().unwrap();
        let links = index.links.iter().filter(|(_, link)| is_relative(link));
        let listed: BTreeSet<_> = links
            .filter_map(|(_, link)| Some(followed(&index.path, link)?.0))
            .collect();
        for page in pages.iter().filter(|page| page.path.starts_with(folder)) {
            let is_listed = page.path == index.path || listed.contains(&page.path);
            let is_of_other_index = is_chinese(&page.path) != is_chinese(folder);
            assert!(is_listed || is_of_other_index, "{} is in no index", page.path.display());
        }
    }
}

#[test]
fn the_command_line_accepts_every_command_of_the_documents() {
    let pages = pages(root());
    let in_blocks = blocks(&pages).flat_map(|(place, block)| {
        let commands = block
            .commands()
            .into_iter()
            .filter_map(|command| arguments(&words(&command)));
        commands
            .map(move |arguments| (place.clone(), arguments))
            .collect::<Vec<_>>()
    });
    let is_command = |code: &str| {
        ["qdrant-backup ", "deploy/kubernetes/run.sh "]
            .iter()
            .any(|word| code.starts_with(word))
    };
    let in_text = pages.iter().flat_map(|page| {
        let codes = page
            .codes
            .iter()
            .filter(|(_, code)| is_command(code) && !code.contains('…'));
        codes
            .filter_map(move |(line, code)| Some((format!("{}:{line}", page.path.display()), arguments(&words(code))?)))
    });
    let (mut problems, mut parsed) = (Vec::new(), 0);
    for (place, arguments) in in_blocks.chain(in_text) {
        parsed += 1;
        let all = std::iter::once("qdrant-backup").chain(arguments.iter().map(String::as_str));
        // Help asked for is no mistake.
        if let Err(error) = cli::command().try_get_matches_from(all)
            && error.exit_code() != 0
        {
            problems.push(format!("{place}: {}: {error}", arguments.join(" ")));
        }
    }
    none(&problems);
    assert!(parsed > 50, "only {parsed} commands found");
}

#[test]
fn a_block_that_is_not_run_says_what_it_needs_and_needs_it() {
    let (mut problems, mut marked) = (Vec::new(), 0);
    for (place, block) in blocks(&pages(root())) {
        let Some(mark) = block.mark() else {
            continue;
        };
        marked += 1;
        let commands = block.commands();
        let needs: Vec<_> = commands.iter().map(|command| needs(mark, &words(command))).collect();
        let problem = if needs.contains(&None) {
            "is no known mark"
        } else {
            "is needed by nothing in it"
        };
        problems.extend((!needs.contains(&Some(true))).then(|| format!("{place}: {mark} {problem}")));
    }
    none(&problems);
    assert!(marked > 20, "only {marked} found");
}

/// So that those of the English page are run for both.
#[test]
fn a_chinese_page_has_the_commands_of_the_english_one() {
    let pages = pages(root());
    let commands = |page: &Page| {
        let of = |block: &Block| {
            let commands: Vec<_> = block.commands().iter().map(|command| words(command)).collect();
            (block.mark().map(str::to_owned), commands)
        };
        shells(page).map(of).collect::<Vec<_>>()
    };
    let (chinese, english): (Vec<_>, Vec<_>) = pages.iter().partition(|page| is_chinese(&page.path));
    let mut compared = 0;
    for page in chinese.iter().filter(|page| shells(page).count() > 0) {
        let name = page.path.file_name().unwrap();
        let twins: Vec<_> = match name == "README.zh-TW.md" {
            true => english
                .iter()
                .filter(|other| other.path == Path::new("README.md"))
                .collect(),
            false => english
                .iter()
                .filter(|other| other.path.file_name() == Some(name))
                .collect(),
        };
        assert_eq!(twins.len(), 1, "{}", page.path.display());
        assert_eq!(commands(page), commands(twins[0]), "{}", page.path.display());
        compared += 1;
    }
    assert!(compared >= 7, "only {compared} compared");
}

#[test]
fn a_request_of_the_documents_is_one_of_the_api_and_its_body_is_json() {
    let reference = page("docs/reference/http-api.md");
    let rows = reference
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let known: BTreeSet<_> = rows.map(|(row, _)| row.split('?').next().unwrap_or(row)).collect();
    let mut requests = 0;
    for (place, block) in blocks(&pages(root())) {
        for command in block.commands().iter().map(|command| words(command)) {
            if let Some(request) = request(&command) {
                requests += 1;
                assert!(known.contains(request.as_str()), "{place}: {request}");
            }
            if let Some(body) = body(&command) {
                let parsed = serde_json::from_str::<Value>(body);
                assert!(parsed.is_ok(), "{place}: {body}: {parsed:?}");
            }
        }
    }
    assert!(requests > 20, "only {requests} requests found");
}

#[test]
fn the_reference_has_every_exit_code_of_the_help() {
    let help = cli::command().get_after_help().unwrap().to_string();
    let reference = ["docs/reference/errors.md", "docs/reference/command-line.md"].map(|path| page(path).text);
    let rows = help.lines().filter_map(|line| line.trim().split_once("  "));
    let meanings: Vec<_> = rows.filter(|(code, _)| code.parse::<u8>().is_ok()).collect();
    assert!(meanings.len() >= 15, "{help}");
    for (code, meaning) in meanings {
        assert!(reference.iter().any(|page| page.contains(meaning)), "{code}: {meaning}");
    }
}

/// Which error has which exit code and status, and which fields a request and an answer have, is told in both languages.
#[test]
fn the_chinese_reference_lacks_no_code_and_no_field() {
    let columns = |path: &str| -> Vec<Vec<String>> {
        let tables = cost::tables(&page(path).text);
        let kept = [1, 3, 2].into_iter().zip(tables);
        kept.flat_map(|(n, table)| table.into_iter().map(move |row| row[..n].to_vec()))
            .collect()
    };
    let english = columns("docs/reference/errors.md");
    assert!(english.len() > 60, "{english:?}");
    assert_eq!(english, columns("docs/zh-TW/errors.md"));

    for (english, chinese) in [
        ("docs/reference/http-api.md", "docs/zh-TW/http-api.md"),
        ("docs/how-to/retention.md", "docs/zh-TW/retention.md"),
        ("docs/how-to/run-on-a-vm.md", "docs/zh-TW/run-on-a-vm.md"),
    ] {
        let codes = |path: &str| -> BTreeSet<String> { page(path).codes.into_iter().map(|(_, code)| code).collect() };
        let lacks: Vec<_> = codes(english).difference(&codes(chinese)).cloned().collect();
        assert_eq!(lacks, [""; 0], "{chinese}");
    }
}
