//! `completions`: needs no configuration.

use super::{command, print};
use crate::base::error::Result;
use clap_complete::{Shell, generate};

/// Prints the completions for a shell.
pub(crate) fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    generate(shell, &mut command(), env!("CARGO_PKG_NAME"), &mut script);
    print(&String::from_utf8_lossy(&script))
}
