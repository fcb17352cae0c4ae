//! `completions` and `man`: they need no configuration.

use super::{command, print};
use crate::base::error::{Code, Error, Result};
use clap_complete::{Shell, generate};
use std::path::Path;

/// Prints the completions for a shell.
pub(crate) fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    generate(shell, &mut command(), env!("CARGO_PKG_NAME"), &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Writes a manual page for each command into the directory, which exists.
pub(crate) fn man(directory: &Path) -> Result<()> {
    clap_mangen::generate_to(command(), directory).map_err(|e| {
        let text = format!("writing the manual pages into {}", directory.display());
        Error::new(Code::ConfigInvalid, text)
            .because(e)
            .remedy("name a directory that exists and may be written to")
    })
}
