//! The names of the temporary collections of drills, and the keys of their intents.

use super::DRILLS;
use std::fmt;
use uuid::Uuid;

/// The reserved prefix of the names of temporary collections.
pub const PREFIX: &str = "qdrant-backup-drill-";
/// Hex digits that tell two drills apart.
const DIGITS: usize = 12;

/// One drill, as it stands in the names of its temporary collections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DrillTag(u64);

impl DrillTag {
    pub(crate) fn of(random: Uuid) -> Self {
        let (digits, _) = random.as_u64_pair();
        Self(digits >> (64 - 4 * DIGITS))
    }

    /// The name for its collection of that number.
    pub(crate) fn collection(self, number: usize) -> TemporaryName {
        TemporaryName { drill: self, number }
    }
}

/// The name of a temporary collection, e.g. `qdrant-backup-drill-0123456789ab-0`. Nobody's but a drill's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemporaryName {
    drill: DrillTag,
    /// Of which collection of the drill, counted from 0.
    number: usize,
}

impl TemporaryName {
    /// Key of the intent to make it.
    pub fn intent(&self) -> String {
        format!("{DRILLS}{}.json", self.rest())
    }

    /// What [`Self::intent`] makes that file name of.
    pub(super) fn of_intent(file: &str) -> Option<Self> {
        let rest = file.strip_suffix(".json")?;
        let (drill, number) = rest.split_once('-')?;
        let name = Self {
            drill: DrillTag(u64::from_str_radix(drill, 16).ok().filter(|_| drill.len() == DIGITS)?),
            number: number.parse().ok()?,
        };
        // Only the form that we write ourselves.
        (name.rest() == rest).then_some(name)
    }

    fn rest(&self) -> String {
        format!("{:0DIGITS$x}-{}", self.drill.0, self.number)
    }
}

impl fmt::Display for TemporaryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.rest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::names::Name;

    #[test]
    fn an_intent_names_one_temporary_collection_and_nothing_else() {
        let name = DrillTag::of(Uuid::from_u128(0x0012_3456_789a_bcde_f012_3456_789a_bcde)).collection(3);
        assert_eq!(name.to_string(), "qdrant-backup-drill-00123456789a-3");
        let key = name.intent();
        assert_eq!(key, "intents/drills/00123456789a-3.json");
        assert_eq!(Name::parse(&key), Some(Name::Temporary(name)));
        for odd in [
            "intents/drills/00123456789A-3.json",
            "intents/drills/+0123456789a-3.json",
            "intents/drills/123456789a-3.json",
            "intents/drills/00123456789a-03.json",
            "intents/drills/00123456789a-+3.json",
            "intents/drills/00123456789a.json",
            "intents/drills/00123456789a-.json",
            "intents/drills/00123456789a-3",
            "intents/drills/00123456789a-3-1.json",
            "intents/drills/x/00123456789a-3.json",
            "intents/drills/docs-1.json",
        ] {
            assert_eq!(Name::parse(odd), None, "{odd}");
        }
    }
}
