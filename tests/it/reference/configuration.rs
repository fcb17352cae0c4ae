//! `docs/reference/configuration.md`: every variable.

use super::{cell, compare, head};
use qdrant_backup::config::{GROUPS, Setting};
use std::fmt::Write;

const TEXT: &str = "Environment variables configure qdrant-backup, and flags, which go before them. `QDRANT_URL` and `BACKUP_STORE` are
enough. `qdrant-backup check` tests them and explains how to fix what is wrong.

- A variable that is empty counts as unset. A flag must not be empty.
- A flag goes before its variable, and before the older form of that: with `--store`, `GCS_BUCKET_NAME` does not matter.
- A secret has no flag, because every user of the machine can read a command line. Use the variable, or a file.
- A key is never sent to another Qdrant. So if `--qdrant-url` names another one than the variables do, their key is refused: give
  its key with `--qdrant-api-key-file`. The same holds for `--drill-qdrant-url`.
- Everything that is wrong is reported at once, with the flag or variable and the remedy (`config_invalid`, exit code 2).
- A variable that is set and that nothing reads is reported with the one that may be meant, and fails `check`: if it begins with
  `AUTH_`, `BACKUP_`, `DRILL_`, `PRUNE_`, `RESTORE_` or `RETAIN_`, or is a typing error away from one below (`qdrant_url`).
- `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` are respected, except for a Qdrant on this machine.
- For `gs://`, credentials come from `GOOGLE_APPLICATION_CREDENTIALS` if it is set, else from the machine or service account on Google
  Cloud, else from `gcloud auth application-default login`.

[.env.example](../../.env.example) has all variables for docker compose.
";

#[test]
fn the_page_of_the_configuration_names_every_variable() {
    let mut page = head("Configuration", TEXT);
    for group in GROUPS {
        let _ = write!(
            page,
            "## {}\n\n| Variable | Flag | Default | Meaning | Used by |\n|---|---|---|---|---|\n",
            group.title
        );
        for setting in group.settings {
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} | {} |",
                setting.variable,
                flag(setting),
                setting.default,
                cell(setting.meaning),
                commands(setting.used_by)
            );
        }
        page.push('\n');
    }
    compare("configuration.md", &(page.trim_end().to_owned() + "\n"));
}

/// The flag, and the commands that take it where those are not all that use the variable.
fn flag(setting: &Setting) -> String {
    match setting.flag {
        None => String::new(),
        Some(flag) if flag.on == setting.used_by => format!("`{}`", flag.name),
        Some(flag) => format!("`{}` of {}", flag.name, commands(flag.on)),
    }
}

fn commands(names: &[&str]) -> String {
    match names {
        [] => "every command".to_owned(),
        names => names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

#[test]
fn no_secret_has_a_flag() {
    for setting in GROUPS.iter().flat_map(|group| group.settings) {
        let is_secret = ["KEY", "TOKEN", "SECRET", "PASSWORD"]
            .iter()
            .any(|end| setting.variable.ends_with(end));
        assert!(!is_secret || setting.flag.is_none(), "{}", setting.variable);
        assert!(
            !setting.meaning.is_empty() && !setting.meaning.ends_with('.'),
            "{}",
            setting.variable
        );
    }
}
