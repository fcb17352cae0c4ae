//! `docs/reference/errors.md`: every code, exit code and HTTP status.

use super::{cell, compare, head};
use qdrant_backup::base::error::Code;
use qdrant_backup::cli::EXITS;
use qdrant_backup::server::HTTP_CODES;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

const TEXT: &str = "Every error has a stable `code`. It decides the exit code of a command and the HTTP status of an answer. The message says what failed, on
what, and why; the remedy, which knows more than the tables below, says what to do.

## Exit codes
";

#[test]
fn the_page_of_errors_has_every_code() {
    let mut page = head("Errors", TEXT);
    page.push_str("| Exit code | Meaning |\n|---|---|\n");
    for (exit, meaning) in EXITS {
        let _ = writeln!(page, "| {exit} | {} |", cell(meaning));
    }
    page.push_str(
        "\n`check` ends with the code of the first check that fails. A crash of the program itself ends with 101.\n\n\
         ## Codes of commands and of the service\n\n\
         | Code | Exit | HTTP | Meaning | What to do |\n|---|---|---|---|---|\n",
    );
    for code in Code::ALL {
        let _ = writeln!(
            page,
            "| `{code}` | {} | {} | {} | {} |",
            code.exit_code(),
            code.http_status(),
            cell(code.meaning()),
            cell(code.usual_remedy())
        );
    }
    page.push_str(
        "\n## Codes of the service only\n\nAn answer has the form `{\"error\": {\"code\", \"message\", \"remedy\"}, \"request_id\"}`, see \
         [HTTP API](http-api.md#errors).\n\n| HTTP | Code | Meaning | What to do |\n|---|---|---|---|\n",
    );
    for code in HTTP_CODES {
        let _ = writeln!(
            page,
            "| {} | `{}` | {} | {} |",
            code.status,
            code.code,
            cell(code.meaning),
            cell(code.remedy)
        );
    }
    compare("errors.md", &page);
}

#[test]
fn the_table_of_exit_codes_has_those_that_errors_have() {
    let told: Vec<u8> = EXITS.iter().map(|(exit, _)| *exit).collect();
    let ours: BTreeSet<u8> = Code::ALL.iter().map(|code| code.exit_code()).chain([0]).collect();
    assert_eq!(told, ours.into_iter().collect::<Vec<_>>());
    let words: BTreeSet<_> = Code::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(words.len(), Code::ALL.len());
}

/// The codes that the sources of the service answer with, beside those of errors.
#[test]
fn the_codes_of_the_service_are_those_that_it_answers_with() {
    const CALLS: [&str; 4] = ["HttpError::new(", "Self::new(", "unauthorized(", "forbidden("];
    let told: BTreeSet<_> = HTTP_CODES.iter().map(|code| code.code.to_owned()).collect();
    assert_eq!(told.len(), HTTP_CODES.len());
    let is_code = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let (mut words, mut answered) = (BTreeSet::new(), BTreeSet::new());
    let is_in = |text: &str| {
        told.iter()
            .filter(|code| text.contains(&format!("\"{code}\"")))
            .cloned()
            .collect::<Vec<_>>()
    };
    for source in sources() {
        let code = source.split("#[cfg(test)]").next().unwrap();
        words.extend(is_in(code));
        for call in CALLS {
            let first = |rest: &str| rest.split('"').nth(1).map(str::to_owned);
            answered.extend(code.split(call).skip(1).filter_map(first).filter(|text| is_code(text)));
        }
    }
    assert!(
        answered.len() > 10,
        "only {answered:?}: the test no longer reads the sources right"
    );
    assert_eq!(
        answered.difference(&told).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "not told"
    );
    assert_eq!(told, words, "never answered");
}

fn sources() -> Vec<String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut todo, mut texts) = (vec![src.join("server"), src.join("server.rs")], Vec::new());
    while let Some(path) = todo.pop() {
        match path.is_dir() {
            true => todo.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path())),
            // The table itself.
            false if path.ends_with("server/codes.rs") => {}
            false => texts.push(std::fs::read_to_string(path).unwrap()),
        }
    }
    texts
}
