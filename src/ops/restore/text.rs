//! How a plan prints.

use super::swap::AliasAction;
use super::{Existing, RestorePlan};
use crate::base::text::plain;
use std::fmt;

impl fmt::Display for RestorePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whole lines, so that nothing in one can be forgotten.
        let mut line = |text: String| writeln!(f, "{}", plain(&text));
        line(format!(
            "Restore backup {} (Qdrant {}) into {} (Qdrant {}), {}, {} bytes",
            self.id,
            self.backup_version,
            self.target,
            self.target_version,
            self.via,
            self.bytes()
        ))?;
        if let Some(source) = &self.source {
            line(format!("  {source} -> {}", self.target_source))?;
        }
        if !self.selection.is_everything() {
            line(format!("  selection of the backup: {}", self.selection))?;
        }
        for step in &self.collections {
            let what = match &step.overwrites {
                None => "new".to_owned(),
                Some(Existing::Readable { points: 0 }) => "exists and is empty".to_owned(),
                Some(Existing::Readable { points }) => format!("OVERWRITES {points} points"),
                Some(Existing::Unreadable { problem }) => {
                    format!("its state is unreadable, and it will be REPLACED ({problem})")
                }
            };
            line(format!(
                "  {:?} -> {:?}: {what}; {}, {} bytes",
                step.source, step.target, step.points, step.bytes
            ))?;
            for difference in &step.differences {
                line(format!("      {difference}: Qdrant keeps its own"))?;
            }
            for alias in &step.aliases {
                let what = match (&alias.action, &alias.now) {
                    (AliasAction::Set, _) => "set".to_owned(),
                    (AliasAction::Keep, _) => "stays unchanged".to_owned(),
                    (AliasAction::Move, now) => format!("moved here from {:?}", now.as_deref().unwrap_or_default()),
                    (AliasAction::Conflict, Some(now)) => format!("CONFLICT: points to {now:?}, and stays there"),
                    (AliasAction::Conflict, None) => "CONFLICT: a collection has that name".to_owned(),
                    (AliasAction::Skip, _) => "not set: this is a copy under another name".to_owned(),
                };
                line(format!("      alias {:?}: {what}", alias.alias))?;
            }
            for warning in &step.warnings {
                line(format!("      warning: {warning}"))?;
            }
        }
        for warning in &self.warnings {
            line(format!("warning  {warning}"))?;
        }
        for refusal in &self.refusals {
            line(format!("REFUSED  {}", refusal.error.message))?;
            if let Some(remedy) = &refusal.error.remedy {
                line(format!("         {remedy}"))?;
            }
        }
        Ok(())
    }
}
