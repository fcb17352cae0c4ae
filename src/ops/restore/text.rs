//! How a plan prints.

use super::swap::AliasAction;
use super::{Existing, RestorePlan, Standing};
use crate::base::text::{count, plain, rounded, size};
use crate::base::total::total;
use std::fmt;
use std::time::Duration;

impl RestorePlan {
    /// What would be lost; `None`: nothing.
    pub(crate) fn replacing(&self) -> Option<String> {
        let replaced = self.replaced();
        let names: Vec<_> = replaced.iter().map(|(name, _)| format!("{name:?}")).collect();
        let points = total(replaced.iter().filter_map(|(_, points)| *points));
        let unknown = match replaced.iter().any(|(_, points)| points.is_none()) {
            true => " and what cannot be read",
            false => "",
        };
        (!names.is_empty()).then(|| format!("{} points{unknown} of {}", count(points), names.join(", ")))
    }
}

impl fmt::Display for RestorePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whole lines, so that nothing in one can be forgotten.
        let mut line = |text: String| writeln!(f, "{}", plain(&text));
        let age = self.age_seconds.map(|age| rounded(Duration::from_secs(age)));
        line(format!(
            "Restore backup {} ({}, Qdrant {}) into {} (Qdrant {}), {}, {}",
            self.id,
            age.map_or_else(|| "of the future".to_owned(), |age| format!("{age} old")),
            self.backup_version,
            self.target,
            self.target_version,
            self.via,
            size(self.bytes())
        ))?;
        if let Some(source) = &self.source {
            line(format!("  {source} -> {}", self.target_source))?;
        }
        if !self.selection.is_everything() {
            line(format!("  selection of the backup: {}", self.selection))?;
        }
        for step in &self.collections {
            let what = match (&step.standing, &step.overwrites) {
                (Some(Standing::Equal { .. }), _) => {
                    "exists, and count and configuration match the backup: left as it is".to_owned()
                }
                (Some(Standing::Differs { why }), _) => format!("EXISTS AND DIFFERS, left as it is ({why})"),
                (None, None) => "new".to_owned(),
                (None, Some(Existing::Readable { points: 0 })) => "exists and is empty".to_owned(),
                (None, Some(Existing::Readable { points })) => format!("OVERWRITES {} points", count(*points)),
                (None, Some(Existing::Unreadable { problem })) => {
                    format!("its state is unreadable, and it will be REPLACED ({problem})")
                }
            };
            line(format!(
                "  {:?} -> {:?}: {what}; {}, {}",
                step.source,
                step.target,
                step.points,
                size(step.bytes)
            ))?;
            for difference in &step.differences {
                let then = match difference.path.starts_with("payload_schema.") && difference.qdrant.is_null() {
                    // Those that a snapshot has come with its segments.
                    true => "that of the backup may come with the points",
                    false => "Qdrant keeps its own",
                };
                line(format!("      {difference}: {then}"))?;
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
        if let (Some(replaced), true) = (self.replacing(), self.refusals.is_empty()) {
            line(format!("REPLACES {replaced}; --swap, or --into NAME, keeps them"))?;
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
