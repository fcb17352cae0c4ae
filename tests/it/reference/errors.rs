//! `docs/reference/errors.md`: every code, exit code and HTTP status.

use super::{cell, compare, head};
use qdrant_backup::base::error::Code;
use qdrant_backup::cli::EXITS;
use qdrant_backup::server::HTTP_CODES;
use std::collections::BTreeSet;
use std::fmt::Write;

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
