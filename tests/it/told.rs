//! What a text tells to do: the commands in it, which are those that the command line takes, apart from the words around them.

use crate::documents::commands::{arguments, words};
use qdrant_backup::cli;

/// The commands of this tool in a text, between backticks or up to the end of their line or clause. The command line takes each.
#[track_caller]
pub fn commands(text: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    for (at, _) in text.match_indices("qdrant-backup ") {
        let (before, rest) = text.split_at(at);
        let command = match before.chars().last() {
            Some('`') => rest.split('`').next(),
            // At the beginning, or behind what it is for.
            None => rest.split(['\n', ';']).next(),
            _ if before.ends_with(": ") => rest.split(['\n', ';']).next(),
            _ => None,
        };
        let Some(given) = command.and_then(|command| arguments(&words(command))) else {
            continue;
        };
        let all = std::iter::once("qdrant-backup").chain(given.iter().map(String::as_str));
        if let Err(error) = cli::command().try_get_matches_from(all) {
            panic!("{given:?} in {text}: {error}");
        }
        commands.push(given);
    }
    commands
}

/// Whether a text tells to run a command with these words.
#[track_caller]
pub fn offers(text: &str, command: &[&str]) -> bool {
    commands(text)
        .iter()
        .any(|found| command.iter().all(|word| found.iter().any(|other| other == word)))
}

#[test]
fn commands_are_found_between_backticks_and_at_the_end_of_a_line() {
    let text =
        "run `qdrant-backup check --deep` first; then: qdrant-backup restore latest 'a b'; or ask qdrant-backup itself";
    assert_eq!(
        commands(text),
        [&["check", "--deep"][..], &["restore", "latest", "a b"]]
    );
    assert!(offers(text, &["check", "--deep"]) && !offers(text, &["check", "a b"]));
}

#[test]
#[should_panic(expected = "--deepest")]
fn a_command_that_the_command_line_does_not_take_is_none() {
    commands("run `qdrant-backup check --deepest`");
}
