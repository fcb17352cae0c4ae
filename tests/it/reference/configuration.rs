//! `docs/reference/configuration.md`: every variable.

use super::{cell, compare, head};
use qdrant_backup::config::{GROUPS, Setting};
use std::fmt::Write;

const TEXT: &str = "Flags, environment variables and a file configure qdrant-backup. A flag goes before a variable, a variable before the file, and
the file before the default. `QDRANT_URL` and `BACKUP_STORE` are enough. `qdrant-backup config show` shows what holds and where it comes from; `qdrant-backup check` tests it and explains how to fix what is wrong.

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

## The configuration file

`--config FILE` or `QDRANT_BACKUP_CONFIG` names a TOML file. Its keys are the names of the variables in lower case, all on one level:

```toml
qdrant_url = \"http://10.0.0.5:6333\"
qdrant_api_key_file = \"/etc/qdrant-backup/key\"
backup_store = \"gs://bucket/prefix\"
backup_include = [\"docs\", \"logs-*\"]      # or \"docs,logs-*\"
retain_daily = 30
prune_after_backup = true
```

- A value is a text, a whole number, or true or false; where the variable is a list, also a list of texts.
- What goes before the file also goes before its other forms: with `QDRANT_API_KEY` set, `qdrant_api_key_file` of the file does not matter.
  A key of the file is never sent to another Qdrant than that of its `qdrant_url`.
- No secret is in it: `qdrant_api_key` and its like are refused, use `qdrant_api_key_file`. So others may read the file. A file that every
  user of the machine may change is warned of.
- An unknown key is an error, with its line and the key that may be meant. So is a table, an older form (`qdrant_host`), and what only a platform sets.
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
                "| `{}`{} | {} | {} | {} | {} |",
                setting.variable,
                if setting.is_in_file() { "" } else { " ¹" },
                flag(setting),
                setting.default,
                cell(setting.meaning),
                commands(setting.used_by)
            );
        }
        page.push('\n');
    }
    page.push_str("¹ Not in the configuration file.\n");
    compare("configuration.md", &page);
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
        let is_secret = ["KEY", "TOKEN", "SECRET", "PASSWORD", "NOTIFY_URLS"]
            .iter()
            .any(|end| setting.variable.ends_with(end));
        assert!(!is_secret || setting.flag.is_none(), "{}", setting.variable);
        assert_eq!(is_secret, setting.is_secret(), "{}", setting.variable);
        assert!(
            !setting.meaning.is_empty() && !setting.meaning.ends_with('.'),
            "{}",
            setting.variable
        );
    }
}
