//! The pages of the reference that are made from the code. They fail here when they differ; this writes them anew:
//!
//! ```sh
//! UPDATE_REFERENCE=1 cargo test --workspace --test it -- reference
//! ```

mod command_line;
mod configuration;
mod errors;
mod openapi;

use std::path::Path;

/// Holds a page against what it should be, or writes it.
fn compare(name: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference").join(name);
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = wanted
        .lines()
        .zip(found.lines())
        .find(|(wanted, found)| wanted != found);
    assert!(
        found == wanted,
        "{} is not what the code says, first {differs:?}; write it anew: \
         UPDATE_REFERENCE=1 cargo test --workspace --test it -- reference",
        path.display()
    );
}

/// The head of a page.
fn head(title: &str, text: &str) -> String {
    format!(
        "# {title}\n\n<!-- Made from the code by tests/it/reference.rs. \
         UPDATE_REFERENCE=1 cargo test --workspace --test it -- reference writes it anew. -->\n\n{text}\n"
    )
}

/// Text as a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
