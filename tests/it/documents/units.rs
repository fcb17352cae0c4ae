//! The units of systemd and the lines for cron run commands that there are, at the times that the documents tell.

use super::commands::words;
use super::{page, root};
use qdrant_backup::cli;
use std::collections::BTreeMap;

/// Each unit with its text.
fn units() -> BTreeMap<String, String> {
    let files = std::fs::read_dir(root().join("deploy/systemd")).unwrap();
    let files = files
        .map(|file| file.unwrap())
        .filter(|file| file.file_type().unwrap().is_file());
    files
        .map(|file| {
            (
                file.file_name().into_string().unwrap(),
                std::fs::read_to_string(file.path()).unwrap(),
            )
        })
        .collect()
}

/// Fails where `qdrant-backup` does not take what stands behind the name that it is called by.
fn accepts(line: &str, name: &str) -> bool {
    let Some((_, given)) = line.split_once(name) else {
        return false;
    };
    let given = words(given.trim_end_matches('\'').split(" 2>").next().unwrap());
    let all = std::iter::once("qdrant-backup").chain(given.iter().map(String::as_str));
    cli::command()
        .try_get_matches_from(all)
        .unwrap_or_else(|error| panic!("{line}: {error}"));
    true
}

#[test]
fn each_unit_runs_a_command_that_there_is_and_reports_when_it_fails() {
    let units = units();
    let services = units.iter().filter(|(name, _)| name.ends_with(".service"));
    let mut commands = 0;
    for (name, text) in services {
        if name == "qdrant-backup-failed@.service" {
            continue;
        }
        let starts: Vec<_> = text.lines().filter(|line| line.starts_with("ExecStart=")).collect();
        let [start] = starts.as_slice() else {
            panic!("{name}: {starts:?}")
        };
        assert!(accepts(start, "/usr/local/bin/qdrant-backup "), "{name}: {start}");
        let command = name.trim_start_matches("qdrant-backup-").trim_end_matches(".service");
        assert!(
            start.contains(&format!("/usr/local/bin/qdrant-backup {command}")),
            "{name}: {start}"
        );
        assert!(text.contains("\nOnFailure=qdrant-backup-failed@%n.service\n"), "{name}");
        // The service runs by itself, the others by their timers.
        let timer = units.contains_key(&name.replace(".service", ".timer"));
        assert_eq!(timer, command != "serve", "{name}");
        commands += 1;
    }
    assert!(commands >= 6);
}

#[test]
fn the_page_names_each_unit_and_starts_only_those_that_there_are() {
    let units = units();
    let page = page("docs/how-to/run-on-a-vm.md");
    for name in units.keys().filter(|name| name.ends_with(".service")) {
        let row = format!("| `{}` |", name.trim_end_matches(".service"));
        assert!(page.text.contains(&row), "{row}");
    }
    let named = page.blocks.iter().flat_map(|block| block.commands());
    let named: Vec<_> = named
        .filter(|command| command.contains("systemctl"))
        .flat_map(|command| words(&command))
        .collect();
    let named = named
        .iter()
        .filter(|word| word.starts_with("qdrant-backup-") && !word.contains('*'));
    let mut started = 0;
    for name in named {
        let file = if name.contains('.') {
            name.clone()
        } else {
            format!("{name}.service")
        };
        assert!(units.contains_key(&file), "{name}");
        started += 1;
    }
    assert!(started >= 6);
}

#[test]
fn cron_runs_commands_that_there_are() {
    let page = page("docs/how-to/run-on-a-vm.md");
    let block = page.blocks.iter().find(|block| block.language() == "cron").unwrap();
    let lines = block.commands();
    let ran = lines.iter().filter(|line| accepts(line, "/usr/local/bin/qb "));
    assert_eq!(ran.count(), 4, "{lines:?}");
}

#[test]
fn the_settings_for_a_vm_are_settings() {
    let page = page("docs/how-to/run-on-a-vm.md");
    let block = page.blocks.iter().find(|block| block.language() == "ini").unwrap();
    let example = std::fs::read_to_string(root().join(".env.example")).unwrap();
    for line in block.commands() {
        let name = line.split_once('=').unwrap().0.trim();
        // That one is read by the units alone.
        let is_known = name == "PING_URL"
            || example
                .lines()
                .any(|line| line.trim_start_matches("# ").starts_with(&format!("{name}=")));
        assert!(is_known, "{name}");
    }
    assert!(units()["qdrant-backup-failed@.service"].contains("$PING_URL"));
}
