//! How a plan prints.

use super::swap::AliasAction;
use super::{Existing, Plan};
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Restore backup {} (Qdrant {}) into {} (Qdrant {}), {}, {} bytes",
            self.id,
            self.backup_version,
            self.target,
            self.target_version,
            self.via,
            self.bytes()
        )?;
        if let Some(source) = &self.source {
            let (source, target) = (source.to_string(), self.target_source.to_string());
            writeln!(f, "  {} -> {}", one_line(&source), one_line(&target))?;
        }
        if !self.selection.is_everything() {
            let selection = self.selection.to_string();
            writeln!(f, "  selected when it was made: {}", one_line(&selection))?;
        }
        for step in &self.collections {
            let what = match &step.overwrites {
                None => "new".to_owned(),
                Some(Existing::Readable { points: 0 }) => "exists and is empty".to_owned(),
                Some(Existing::Readable { points }) => format!("OVERWRITES {points} points"),
                Some(Existing::Unreadable { problem }) => {
                    format!(
                        "its state cannot be read, and it will be REPLACED ({})",
                        one_line(problem)
                    )
                }
            };
            writeln!(
                f,
                "  {:?} -> {:?}: {what}; {}, {} bytes",
                step.source, step.target, step.points, step.bytes
            )?;
            for difference in &step.differences {
                writeln!(f, "      {difference}: Qdrant keeps its own")?;
            }
            for alias in &step.aliases {
                let what = match (&alias.action, &alias.now) {
                    (AliasAction::Set, _) => "set".to_owned(),
                    (AliasAction::Keep, _) => "stays as it is".to_owned(),
                    (AliasAction::Move, now) => format!("moved here from {:?}", now.as_deref().unwrap_or_default()),
                    (AliasAction::Conflict, Some(now)) => format!("CONFLICT: points to {now:?}, and stays there"),
                    (AliasAction::Conflict, None) => "CONFLICT: a collection has that name".to_owned(),
                    (AliasAction::Skip, _) => "not set: this is a copy under another name".to_owned(),
                };
                writeln!(f, "      alias {:?}: {what}", alias.alias)?;
            }
            for warning in &step.warnings {
                writeln!(f, "      warning: {}", one_line(warning))?;
            }
        }
        for warning in &self.warnings {
            writeln!(f, "warning  {}", one_line(warning))?;
        }
        for refusal in &self.refusals {
            writeln!(f, "REFUSED  {}", one_line(&refusal.message))?;
            if let Some(remedy) = &refusal.remedy {
                writeln!(f, "         {}", one_line(remedy))?;
            }
        }
        Ok(())
    }
}

/// Text from elsewhere on one line, without what would move a cursor.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
