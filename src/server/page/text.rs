//! Everything that pages say, in each language. What is missing in one does not compile.

mod chinese;
mod english;

use super::language::Language;
use crate::ops::restore::AliasAction;
use crate::ops::retention::Reason;
use crate::repository::catalog::Mark;
use crate::server::api::{OperationKind, OperationPhase, OperationState};
use crate::server::auth::Role;
use std::borrow::Cow;
use std::time::Duration;
use time::OffsetDateTime;

/// What is to be said. English and Chinese have a function each that knows all of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text {
    // The frame.
    Overview,
    Backups,
    Restore,
    Prune,
    Pages,
    Languages,
    SkipToContent,
    AsJson,
    AsTable,
    AsCommand,
    AsPrinted,
    ReportAsJson,
    WhatToDo,
    RunThisInstead,
    NeedsRole(Role),
    Refused(u16),
    ShowNewPlan,
    /// A page, not a form.
    NotShown(u16),
    RequestId,
    BackToOverview,
    Comma,
    AsOf,
    /// The service does not answer the script any more.
    OutOfDate,

    // How things stand.
    Protected {
        collections: usize,
        within: Duration,
    },
    ProtectedSoFar {
        collections: usize,
        new: usize,
    },
    AtRisk {
        bad: usize,
        collections: usize,
    },
    NothingToProtect,
    NeverBackedUp,
    CannotTellStore,
    CannotTellQdrant,
    NewOnesAreDue {
        within: Duration,
    },
    /// `failed`: a run below tells why.
    BackUpNowOrLook {
        within: Duration,
        failed: bool,
    },
    CheckTheQdrant,
    FirstIsDue {
        within: Duration,
    },
    /// `failed`: a run below tells why.
    MakeTheFirst {
        failed: bool,
    },
    StoreMustAnswer,
    QdrantMustAnswer,
    KnownAreProtected {
        known: usize,
        within: Duration,
    },
    BackUpNow,
    StoreProblem,
    QdrantProblem,
    RunsProblem,
    ClockTitle,
    ClockProblem {
        backups: usize,
    },
    NewestGood,
    Promised,
    AllVerified,
    AllDrilled,
    Store,

    // Lengths of time, and numbers.
    Age(Duration),
    /// Told in full.
    Limit(Duration),
    Ago(Duration),
    /// Of so many; the oldest of these so long ago.
    SomeAgo {
        some: usize,
        all: usize,
        age: Duration,
    },
    Took(Duration),
    Never,
    /// Nobody can tell now.
    NotKnown,
    Points(u64),
    PointsTitle,
    /// Above their number.
    PointsHeading,
    CollectionsIn(usize),

    // Collections.
    Collections,
    Collection,
    FindCollection,
    Find,
    NoneFound,
    MoreCollections,
    Previous,
    Next,
    PageOf {
        page: usize,
        last: usize,
    },
    IsProtected,
    IsNew,
    IsStale,
    IsMissing,
    AgeOfPromised {
        age: Duration,
        within: Duration,
    },
    NoBackup,
    OnlyDoubtful,
    OfAnother {
        backups: usize,
    },
    DueBy,
    RestoreThis,
    Strip {
        all: usize,
        good: usize,
        doubtful: usize,
        failed: usize,
    },

    // How it is proven.
    HowProven,
    Stored,
    Verified,
    Opened,
    Drilled,
    StoredMeans,
    VerifiedMeans,
    OpenedMeans,
    DrilledMeans,
    Yes,
    NotYet,
    FoundDamaged,
    ProofFailed,
    ProofUnknown,
    VerifyNow,
    DrillNow,
    DrillTitle,
    DrillMeans,
    DrillWhere,
    OnTheSame,
    Pin,
    Unpin,

    // Backups.
    Backup,
    BackupOf(OffsetDateTime),
    LastBackups,
    AllBackups,
    MoreBackups,
    NoBackups,
    SizeOverTime,
    Size,
    Worth,
    GoodBackup,
    DoubtfulBackup,
    UnusableBackup,
    NewestMisses {
        collections: usize,
    },
    NewestIs(Mark),
    LookAtIt,
    LastBackupFailed,
    UnprovenMeans,
    Missing {
        collections: usize,
    },
    Mark(Mark),
    Finished,
    Selection,
    Warnings,
    WhatIsIn,
    WasOptimizing,
    Aliases,
    Objects {
        objects: usize,
    },
    Shard(u32),
    TakenAt,
    Streamed,
    Node,
    ConfirmedByQdrant,
    WhatIsDamaged,
    DamagedMeans,
    AndMore(usize),

    // Runs.
    RunningNow,
    RecentRuns,
    Kind(OperationKind),
    RunState(OperationState),
    Phase(OperationPhase),
    Progress,
    Bytes,
    Rate,
    Left,
    Units,
    UnitsFailed,
    Since,
    By,
    LastHeard,
    State,
    Cancel,
    StopItThere,
    /// Nothing was heard of a run for long.
    Silent,
    SilentMeans,
    WhatWentWrong,
    WhatItCameTo,
    RestoredAs,
    NotRestored,
    AliasesSet,
    LeftBehind,
    RunThisNext,
    Verdict,
    Passed,
    Intact,
    NotChecked,
    TheManifest,
    DeletedSum {
        backups: usize,
        bytes: u64,
    },
    NotDeleted,
    ObjectsLeft(usize),
    NotSaved,

    // Pruning.
    PruneTitle,
    PruneIntro,
    NothingToPrune,
    NoPolicy,
    SetPolicy,
    /// `leftovers`: of runs that made no backup.
    PruneSum {
        going: usize,
        all: usize,
        leftovers: usize,
        bytes: u64,
    },
    DeleteThese {
        backups: usize,
        leftovers: usize,
    },
    Stays,
    Goes,
    Leftover,
    NoRuleKeepsIt,
    Reason(Reason),
    ForeignObjects {
        objects: usize,
    },

    // Restoring.
    RestoreTitle,
    Steps,
    ChooseBackup,
    ChooseTarget,
    CheckPlan,
    ChooseBackupIntro,
    OlderByCommand,
    WhichCollections,
    NoneMeansAll,
    WhereTo,
    TargetNew,
    TargetNewMeans,
    TargetSame,
    TargetSameMeans,
    TargetSwap,
    TargetSwapMeans,
    TargetOverwrite,
    TargetOverwriteMeans,
    NewName,
    ShowPlan,
    NothingYet,
    PlanRefused,
    WouldReplace,
    RestoreSum {
        collections: usize,
        bytes: u64,
    },
    IsMadeNew,
    IsEmpty,
    Overwrites(u64),
    UnreadableState,
    Alias,
    AliasAction(AliasAction),
    PointsTo,
    TypeTheName,
    RestoreNow,
    ChangeTarget,
}

impl Text {
    pub(super) fn in_language(self, language: Language) -> Cow<'static, str> {
        match language {
            Language::English => english::say(self),
            Language::Chinese => chinese::say(self),
        }
    }
}
