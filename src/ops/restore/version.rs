//! Which Qdrant can read the snapshots of which.

use crate::base::release::release;

/// Why a snapshot of release `from` must not be restored by release `to`; Qdrant itself blocks nothing. Allowed are the same
/// minor release with an equal or newer patch, and the next minor release.
pub(super) fn incompatibility(from: &str, to: &str) -> Option<String> {
    let (Some(old), Some(new)) = (release(from), release(to)) else {
        return Some(format!(
            "the versions {from:?} (backup) and {to:?} (target) cannot be compared"
        ));
    };
    let why = if new < old {
        "an older release cannot read Qdrant's storage"
    } else if old.0 != new.0 || new.1 > old.1 + 1 {
        if old <= (1, 16, u32::MAX) && new >= (1, 18, 0) {
            "Qdrant 1.18 and later cannot read RocksDB segments, which 1.16 and older may have written: go through 1.17"
        } else {
            "only the same and the next minor release read Qdrant's storage: restore into that, then upgrade"
        }
    } else {
        return None;
    };
    Some(format!("the backup is of Qdrant {from}, the target is {to}: {why}"))
}

/// Whether both are the same minor release, so that configurations must be equal to the letter.
pub(super) fn same_minor(a: &str, b: &str) -> bool {
    matches!((release(a), release(b)), (Some(a), Some(b)) if (a.0, a.1) == (b.0, b.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_minor_release_upwards_and_the_next_one_are_allowed() {
        for (from, to) in [
            ("1.18.3", "1.18.3"),
            ("1.18.1", "1.18.3"),
            ("1.17.0", "1.18.0"),
            ("1.18.3", "1.19.0-dev"),
        ] {
            assert_eq!(incompatibility(from, to), None, "{from} to {to}");
        }
        for (from, to, why) in [
            ("1.18.3", "1.18.2", "older"),
            ("1.18.3", "1.17.9", "older"),
            ("1.16.3", "1.18.0", "RocksDB"),
            ("1.17.0", "1.19.0", "next minor"),
            ("1.18.3", "2.0.0", "next minor"),
            ("unknown", "1.18.3", "compared"),
        ] {
            let objection = incompatibility(from, to).unwrap();
            assert!(objection.contains(why), "{from} to {to}: {objection}");
        }
    }
}
