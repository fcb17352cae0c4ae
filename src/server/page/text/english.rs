//! English.

use super::Text;
use crate::base::text::{count, exactly, size};
use crate::ops::restore::AliasAction;
use crate::ops::retention::Reason;
use crate::repository::catalog::Mark;
use crate::server::api::{OperationKind, OperationPhase, OperationState};
use crate::server::page::parts::shown;
use std::borrow::Cow;
use std::time::Duration;

/// `2 h`, in the largest unit of which there are at least two.
fn length(time: Duration) -> String {
    crate::base::text::rounded(time)
}

/// An age beside the limit that it is held against: in minutes where hours would hide on which side it is.
fn compared(time: Duration, with: Duration) -> String {
    let (seconds, limit) = (time.as_secs(), with.as_secs());
    match seconds {
        3600.. if seconds / 3600 == limit / 3600 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        60..3600 if seconds / 60 == limit / 60 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => length(time),
    }
}

fn several(number: usize, one: &str, more: &str) -> String {
    format!("{} {}", count(number as u64), if number == 1 { one } else { more })
}

fn collections(number: usize) -> String {
    several(number, "collection", "collections")
}

fn backups(number: usize) -> String {
    several(number, "backup", "backups")
}

pub(super) fn say(text: Text) -> Cow<'static, str> {
    let fixed = match text {
        Text::Overview => "Overview",
        Text::Backups => "Backups",
        Text::Restore => "Restore",
        Text::Prune => "Prune",
        Text::Pages => "Pages",
        Text::Languages => "Languages",
        Text::SkipToContent => "Skip to the content",
        Text::AsJson => "Status as JSON",
        Text::AsTable => "Show as a table",
        Text::AsCommand => "Command for the same",
        Text::AsPrinted => "As the command line prints it",
        Text::ReportAsJson => "Download the report as JSON",
        Text::WhatToDo => "What to do:",
        Text::RunThisInstead => "Something between this page and the service refused it. Run this instead:",
        Text::NeedsRole(role) => return format!("Your role cannot do this; it needs the role {role}.").into(),
        Text::ShowNewPlan => "Show the new plan",
        Text::Refused(404) => "Nothing is there",
        Text::Refused(412) => "The plan has changed",
        Text::Refused(500..) => "It did not work",
        Text::Refused(_) => "This was refused",
        Text::NotShown(404) => "Nothing is there",
        Text::NotShown(500..) => "This page cannot be shown",
        Text::NotShown(_) => "This page is refused",
        Text::RequestId => "The log has it under",
        Text::BackToOverview => "Back to the overview",
        Text::Comma => ", ",
        Text::AsOf => "As of",
        Text::OutOfDate => "The service does not answer: what is shown is out of date.",

        Text::Protected { collections: 1, within } => {
            return format!(
                "Protected: the collection has a good backup younger than {}.",
                exactly(within)
            )
            .into();
        }
        Text::Protected { collections: n, within } => {
            return format!(
                "Protected: each of {} has a good backup younger than {}.",
                collections(n),
                exactly(within)
            )
            .into();
        }
        Text::ProtectedSoFar { collections: n, new } => {
            let old = n - new.min(n);
            return format!(
                "Protected so far: {} of {}; {new} new, without a backup yet.",
                count(old as u64),
                collections(n)
            )
            .into();
        }
        Text::AtRisk { bad, collections: n } => {
            let verb = if bad == 1 { "has" } else { "have" };
            return format!(
                "At risk: {} of {} {verb} no recent good backup.",
                count(bad as u64),
                collections(n)
            )
            .into();
        }
        Text::NothingToProtect => "At risk: Qdrant has no collection to back up.",
        Text::NeverBackedUp => "Never backed up: there is no good backup yet.",
        Text::CannotTellStore => "Cannot tell: the store cannot be read.",
        Text::CannotTellQdrant => "Cannot tell: Qdrant cannot be read.",
        Text::NewOnesAreDue { within } => {
            return format!(
                "A new collection counts as missing {} after it appeared.",
                exactly(within)
            )
            .into();
        }
        Text::BackUpNowOrLook { within, failed } => {
            let look = if failed {
                "; the runs below say what went wrong before"
            } else {
                ""
            };
            return format!("Each needs one younger than {}. Back up now{look}.", exactly(within)).into();
        }
        Text::CheckTheQdrant => {
            "An empty Qdrant may have lost its data. Check that this is the right one, and what the selection leaves out."
        }
        Text::FirstIsDue { within } => {
            return format!(
                "The service is new here; the first backup is due within {}.",
                exactly(within)
            )
            .into();
        }
        Text::MakeTheFirst { failed: true } => "Back up now; the runs below say what went wrong before.",
        Text::MakeTheFirst { failed: false } => "Back up now.",
        Text::StoreMustAnswer => "What backups there are is not known until the store can be read.",
        Text::QdrantMustAnswer => {
            "What there is to protect is not known, and no good backup of this selection was found."
        }
        Text::KnownAreProtected { known, within } => {
            return format!(
                "What the last backup has is protected ({}, younger than {}). What was added since is not known.",
                collections(known),
                exactly(within)
            )
            .into();
        }
        Text::BackUpNow => "Back up now",
        Text::StoreProblem => "The store cannot be read",
        Text::QdrantProblem => "Qdrant cannot be read",
        Text::RunsProblem => "Runs of others cannot be read",
        Text::ClockTitle => "A clock is wrong",
        Text::ClockProblem { backups: n } => {
            return format!("{} of the future: the clock of this machine or of another one is, or was, wrong. What is of the future counts for nothing until its time has come.", backups(n)).into();
        }
        Text::NewestGood => "Newest good backup",
        Text::Promised => "Promised interval",
        Text::AllVerified => "Verified, state of",
        Text::AllDrilled => "Drilled, state of",
        Text::Store => "Store",

        Text::Age(time) => return length(time).into(),
        Text::Limit(time) => return exactly(time).into(),
        Text::SomeAgo { some, all, age } => return format!("{some} of {all}, {} ago", length(age)).into(),
        Text::Ago(time) => return format!("{} ago", length(time)).into(),
        Text::Took(time) => return format!("took {}", length(time)).into(),
        Text::Never => "never",
        Text::NotKnown => "not known",
        Text::Points(1) => "1 point",
        Text::Points(n) => return format!("{} points", count(n)).into(),
        Text::PointsTitle => "points",
        Text::PointsHeading => "Points",
        Text::CollectionsIn(n) => return collections(n).into(),

        Text::Collections => "Collections",
        Text::Collection => "Collection",
        Text::FindCollection => "Part of a collection's name",
        Text::Find => "Find",
        Text::NoneFound => "No collection has this in its name.",
        Text::MoreCollections => "More collections",
        Text::Previous => "Previous",
        Text::Next => "Next",
        Text::PageOf { page, last } => return format!("{page} of {last}").into(),
        Text::IsProtected => "Protected",
        Text::IsNew => "New",
        Text::IsStale => "Too old",
        Text::IsMissing => "No recent good backup",
        Text::AgeOfPromised { age, within } => {
            return format!("{} old, at most {}", compared(age, within), exactly(within)).into();
        }
        Text::NoBackup => "Not in any backup that was found",
        Text::OnlyDoubtful => "Only in a backup that is not good",
        Text::OfAnother { backups: n } => {
            return format!(
                "The store has {} of another Qdrant, or of this one under another name; they can be restored, and count for nothing here.",
                backups(n)
            )
            .into();
        }
        Text::DueBy => "Due by",
        Text::RestoreThis => "Restore…",
        Text::Strip {
            all,
            good,
            doubtful,
            failed,
        } => {
            let of = backups(all);
            return format!("Last {of}: in {good} good, in {doubtful} doubtful, failed in {failed}").into();
        }

        Text::HowProven => "How it is proven",
        Text::Stored => "Stored",
        Text::Verified => "Verified",
        Text::Opened => "Opened",
        Text::Drilled => "Drilled",
        Text::StoredMeans => "Checks each byte while it is stored.",
        Text::VerifiedMeans => "Reads the objects back from the store, and compares each checksum.",
        Text::OpenedMeans => "Opens the snapshots with Qdrant's engine, and compares counts and samples.",
        Text::DrilledMeans => "Restores it on a Qdrant server, and compares the result.",
        Text::Yes => "Yes",
        Text::NotYet => "Not yet",
        Text::FoundDamaged => "Damaged",
        Text::ProofFailed => "Failed",
        Text::ProofUnknown => "Not readable",
        Text::VerifyNow => "Verify now",
        Text::DrillNow => "Drill now",
        Text::DrillTitle => "Drill",
        Text::DrillMeans => "Restores the backup into temporary collections, compares them, and deletes them.",
        Text::DrillWhere => "On",
        Text::OnTheSame => "On the Qdrant that is backed up: it needs room and work there",
        Text::Pin => "Pin",
        Text::Unpin => "Unpin",

        Text::Backup => "Backup",
        Text::BackupOf(at) => return format!("Backup of {}", shown(at)).into(),
        Text::LastBackups => "Last backups",
        Text::AllBackups => "All backups",
        Text::MoreBackups => "Show older ones",
        Text::NoBackups => "There is no backup.",
        Text::SizeOverTime => "Size over time, the largest",
        Text::Size => "Size",
        Text::Worth => "Status",
        Text::GoodBackup => "Good",
        Text::DoubtfulBackup => "Not complete, or not proven",
        Text::UnusableBackup => "Damaged, or not restorable",
        Text::NewestMisses { collections: n } => return format!("The newest backup misses {}:", collections(n)).into(),
        Text::NewestIs(mark) => return format!("Newest backup: {}", say(Text::Mark(mark))).into(),
        Text::LookAtIt => "Look at it",
        Text::LastBackupFailed => "The last backup failed:",
        Text::UnprovenMeans => {
            "Qdrant was optimizing while it was made, so points that were deleted may come back with it. A drill proves it, \
             and so does `verify --engine`; or back up again at a quieter time."
        }
        Text::Missing { collections: n } => return format!("Missing: {}", collections(n)).into(),
        Text::Mark(mark) => match mark {
            Mark::Good => "Good",
            Mark::Partial => "Partial",
            Mark::Damaged => "Damaged",
            Mark::DrillFailed => "Drill failed",
            Mark::Unreadable => "Unreadable",
            Mark::NotRestorable => "Not restorable",
            Mark::Unproven => "Unproven",
            Mark::Future => "Of the future",
            Mark::Verified => "Verified",
            Mark::Drilled => "Drilled",
            Mark::Pinned => "Pinned",
            Mark::Scoped => "By a limited key",
        },
        Text::Finished => "Finished",
        Text::Selection => "Selection:",
        Text::Warnings => "Worth knowing",
        Text::WhatIsIn => "What is in it",
        Text::WasOptimizing => "Qdrant was optimizing",
        Text::Aliases => "Aliases:",
        Text::Objects { objects } => return several(objects, "object", "objects").into(),
        Text::Shard(shard) => return format!("Shard {shard}").into(),
        Text::TakenAt => "snapshot of",
        Text::Streamed => "streamed",
        Text::Node => "node",
        Text::WhatIsDamaged => "What is damaged",
        Text::DamagedMeans => "make a new backup now; restore from another one, or what is intact of this one",
        Text::AndMore(n) => return format!("And {} more; a verification tells all.", count(n as u64)).into(),
        Text::ConfirmedByQdrant => "confirmed by Qdrant",

        Text::RunningNow => "Running now",
        Text::RecentRuns => "Recent runs",
        Text::Kind(kind) => match kind {
            OperationKind::Backup => "Backup",
            OperationKind::Restore => "Restore",
            OperationKind::Drill => "Drill",
            OperationKind::Prune => "Prune",
            OperationKind::Verify => "Verification",
        },
        Text::RunState(state) => match state {
            OperationState::Running => "Running",
            OperationState::Succeeded => "Succeeded",
            OperationState::Failed => "Failed",
            OperationState::Cancelled => "Cancelled",
            OperationState::Interrupted => "Interrupted",
        },
        Text::Phase(phase) => match phase {
            OperationPhase::Waiting => "waiting",
            OperationPhase::Snapshot => "Qdrant makes the snapshot",
            OperationPhase::Copy => "copying",
            OperationPhase::Read => "reading back",
            OperationPhase::Restore => "Qdrant restores",
            OperationPhase::Check => "comparing",
            OperationPhase::Verified => "intact",
            OperationPhase::Restored => "restored",
            OperationPhase::Saved => "saved",
            OperationPhase::Failed => "failed",
            OperationPhase::Gone => "deleted meanwhile",
        },
        Text::Progress => "Progress",
        Text::Bytes => "Bytes",
        Text::Rate => "Rate",
        Text::Left => "Time left",
        Text::Units => "Collections and shards",
        Text::UnitsFailed => "Failed",
        Text::Since => "Since",
        Text::By => "By",
        Text::LastHeard => "Last heard of",
        Text::State => "State",
        Text::Cancel => "Cancel",
        Text::StopItThere => "Another process runs it; cancel it there.",
        Text::Silent => "Silent",
        Text::SilentMeans => {
            "Nothing was heard of its process for some time: it may have died. This says whether its lease can go:"
        }
        Text::WhatWentWrong => "What went wrong",
        Text::WhatItCameTo => "What it came to",
        Text::RestoredAs => "On Qdrant",
        Text::NotRestored => "Not restored",
        Text::AliasesSet => "Aliases moved or set:",
        Text::LeftBehind => "Left without its aliases, to be deleted by hand:",
        Text::RunThisNext => "Send this next:",
        Text::Verdict => "Verdict",
        Text::Passed => "Passed",
        Text::Intact => "Intact",
        Text::NotChecked => "Not checked",
        Text::TheManifest => "The manifest",
        Text::DeletedSum { backups: n, bytes } => {
            return format!("{} deleted, {} freed.", several(n, "backup", "backups"), size(bytes)).into();
        }
        Text::NotDeleted => "Not deleted:",
        Text::ObjectsLeft(n) => return format!("{} not deleted", several(n, "object", "objects")).into(),
        Text::NotSaved => "Not saved",

        Text::PruneTitle => "Prune",
        Text::PruneIntro => "What the retention policy keeps, and what it deletes. The policy:",
        Text::NothingToPrune => "Nothing is to be deleted.",
        Text::NoPolicy => "No retention rule is set: no backup is ever deleted.",
        Text::SetPolicy => "set RETAIN_LAST, RETAIN_DAILY or another of the rules, and start the service again",
        Text::PruneSum {
            going,
            all,
            leftovers,
            bytes,
        } => {
            let rest = match leftovers {
                0 => String::new(),
                n => format!(" and {}", several(n, "leftover", "leftovers")),
            };
            let going = count(going as u64);
            return format!(
                "{going} of {}{rest} would be deleted, {} in all.",
                backups(all),
                size(bytes)
            )
            .into();
        }
        Text::DeleteThese { backups: 0, leftovers } => {
            return format!("Delete {}", several(leftovers, "leftover", "leftovers")).into();
        }
        Text::DeleteThese {
            backups: n,
            leftovers: 0,
        } => return format!("Delete {}", backups(n)).into(),
        Text::DeleteThese { backups: n, leftovers } => {
            return format!(
                "Delete {} and {}",
                backups(n),
                several(leftovers, "leftover", "leftovers")
            )
            .into();
        }
        Text::Stays => "Keep",
        Text::Goes => "Delete",
        Text::Leftover => "No manifest",
        Text::NoRuleKeepsIt => "no rule keeps it",
        Text::Reason(reason) => match reason {
            Reason::Pinned => "pinned",
            Reason::TooYoung => "too young to be deleted",
            Reason::InFuture => "of the future",
            Reason::NotUnderstood => "not understood",
            Reason::NewestGood => "the newest good one",
            Reason::NothingBetter => "nothing better is there",
            Reason::Last => "one of the last",
            Reason::Hourly => "hourly",
            Reason::Daily => "daily",
            Reason::Weekly => "weekly",
            Reason::Monthly => "monthly",
            Reason::Yearly => "yearly",
            Reason::Partial => "newest partial",
            Reason::NewestCopy => "newest copy of a collection",
        },
        Text::ForeignObjects { objects } => {
            return format!(
                "{} that this tool did not write; nothing of it is touched",
                several(objects, "object", "objects")
            )
            .into();
        }

        Text::RestoreTitle => "Restore",
        Text::Steps => "Steps",
        Text::ChooseBackup => "Choose the backup",
        Text::ChooseTarget => "Choose the target",
        Text::CheckPlan => "Check the plan",
        Text::ChooseBackupIntro => "Which backup is to be restored? Nothing is changed before the last step.",
        Text::OlderByCommand => "Older ones are on the page of all backups.",
        Text::WhichCollections => "Which collections?",
        Text::NoneMeansAll => "None chosen: all of them.",
        Text::WhereTo => "Where to?",
        Text::TargetNew => "Under a new name.",
        Text::TargetNewMeans => "What is there stays as it is; look at the copy first.",
        Text::TargetSame => "Under its own name.",
        Text::TargetSameMeans => "For a collection that is gone. Refused where it still has points.",
        Text::TargetSwap => "Swap by alias.",
        Text::TargetSwapMeans => {
            "Restored beside it and compared; then its aliases move in one step. What was there stays, too."
        }
        Text::TargetOverwrite => "Overwrite.",
        Text::TargetOverwriteMeans => "The points that are there are lost.",
        Text::NewName => "New name ({} stands for the old one):",
        Text::ShowPlan => "Show the plan",
        Text::NothingYet => "This changes nothing.",
        Text::PlanRefused => "This restore is refused",
        Text::WouldReplace => "These points would be lost",
        Text::RestoreSum { collections: n, bytes } => {
            return format!("{}, {}, into", collections(n), size(bytes)).into();
        }
        Text::IsMadeNew => "New",
        Text::IsEmpty => "Exists, empty",
        Text::Overwrites(n) => return format!("Overwrites {} points", count(n)).into(),
        Text::UnreadableState => "State unreadable",
        Text::Alias => "Alias",
        Text::AliasAction(action) => match action {
            AliasAction::Set => "is set",
            AliasAction::Keep => "stays",
            AliasAction::Move => "is moved here",
            AliasAction::Conflict => "conflict, left as it is",
            AliasAction::Skip => "not set: this is a copy",
        },
        Text::PointsTo => "points to",
        Text::TypeTheName => "To overwrite it, type its name:",
        Text::RestoreNow => "Restore now",
        Text::ChangeTarget => "Choose another target",
    };
    fixed.into()
}
