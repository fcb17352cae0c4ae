//! Nothing that is stored, and nothing that Qdrant or a client sends, makes a command or the service panic, or reaches the
//! terminal as anything but text: JSON in which one thing after the other is replaced by what nobody expects.

mod mutation;
mod sent;
mod stored;

use std::path::Path;
use std::time::Duration;
use testkit::process::{End, command, finish};
use tokio::time::timeout;

/// Longer than any command takes here, and not for ever.
const PATIENCE: Duration = Duration::from_secs(90);

/// Runs a command, and says how it ended if that is no end of a command.
async fn wrong_end(args: &[&str], qdrant: &str, store: &Path) -> Option<String> {
    let mut command = command(args, qdrant, store);
    command.envs([
        ("RETAIN_LAST", "2"),
        ("BACKUP_IDLE_TIMEOUT_SECS", "5"),
        ("LOG_LEVEL", "warn"),
    ]);
    let ended = timeout(PATIENCE, finish(command.spawn().unwrap())).await;
    let Ok((code, out, err)) = ended else {
        return Some(format!("{args:?} goes on after {PATIENCE:?}"));
    };
    is_wrong(&(code, out, err)).map(|why| format!("{args:?}: {why}"))
}

/// A panic, an internal error, a signal; or what would move a cursor, or begin a line.
fn is_wrong((code, out, err): &End) -> Option<String> {
    let odd = |text: &str| {
        let mut chars = text.chars().filter(|c| *c != '\n');
        chars.find(|c| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
    };
    let text = format!("{out}{err}");
    match code {
        None => Some(format!("ended by a signal: {text}")),
        Some(1) if text.contains("internal error") => Some(text),
        _ if text.contains("panicked") => Some(text),
        _ => odd(&text).map(|c| format!("prints {c:?}: {}", text.escape_debug())),
    }
}
