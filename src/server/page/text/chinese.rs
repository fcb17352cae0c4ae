//! 繁體中文，依臺灣的用語。

use super::Text;
use crate::base::text::{count, exactly, size};
use crate::ops::restore::AliasAction;
use crate::ops::retention::Reason;
use crate::repository::catalog::Mark;
use crate::server::api::{OperationKind, OperationPhase, OperationState};
use crate::server::page::parts::shown;
use std::borrow::Cow;
use std::time::Duration;

/// As the English one, in the same units.
fn length(time: Duration) -> String {
    let s = time.as_secs();
    match s {
        0..60 => format!("{s} 秒"),
        60..3600 => format!("{} 分鐘", s / 60),
        3600..172_800 => format!("{} 小時", s / 3600),
        _ => format!("{} 天", s / 86_400),
    }
}

/// 與期限相近時寫得更細，才看得出是否超過。
fn compared(time: Duration, with: Duration) -> String {
    let (seconds, limit) = (time.as_secs(), with.as_secs());
    match seconds {
        3600.. if seconds / 3600 == limit / 3600 => format!("{} 小時 {} 分鐘", seconds / 3600, seconds / 60 % 60),
        60..3600 if seconds / 60 == limit / 60 => format!("{} 分鐘 {} 秒", seconds / 60, seconds % 60),
        _ => length(time),
    }
}

/// 期限：以能完整表示的最大單位。
fn exact(time: Duration) -> String {
    let text = exactly(time);
    let (number, unit) = text.split_once(' ').unwrap_or((&text, ""));
    let unit = match unit {
        "d" => "天",
        "h" => "小時",
        "min" => "分鐘",
        _ => "秒",
    };
    format!("{number} {unit}")
}

fn number(n: usize) -> String {
    count(n as u64)
}

pub(super) fn say(text: Text) -> Cow<'static, str> {
    let fixed = match text {
        Text::Overview => "總覽",
        Text::Backups => "備份",
        Text::Restore => "還原",
        Text::Prune => "清理",
        Text::Pages => "頁面",
        Text::Languages => "語言",
        Text::SkipToContent => "跳到主要內容",
        Text::AsJson => "狀態（JSON）",
        Text::AsTable => "以表格顯示",
        Text::AsCommand => "對應的指令",
        Text::AsPrinted => "指令列顯示的計畫",
        Text::ReportAsJson => "下載報告（JSON）",
        Text::WhatToDo => "處理方式：",
        Text::RunThisInstead => "這個頁面與服務之間有東西拒絕了請求，請改為執行：",
        Text::NeedsRole(role) => return format!("您的角色不能執行這項操作，需要 {role} 角色。").into(),
        Text::ShowNewPlan => "顯示新的計畫",
        Text::Refused(404) => "找不到",
        Text::Refused(412) => "計畫已經變了",
        Text::Refused(500..) => "沒有成功",
        Text::Refused(_) => "請求被拒絕",
        Text::NotShown(404) => "找不到",
        Text::NotShown(500..) => "無法顯示這個頁面",
        Text::NotShown(_) => "這個頁面被拒絕顯示",
        Text::RequestId => "日誌中的編號：",
        Text::BackToOverview => "回到總覽",
        Text::Comma => "、",
        Text::AsOf => "截至",
        Text::OutOfDate => "服務沒有回應：顯示的內容已過時。",

        Text::Protected { collections, within } => {
            return format!(
                "受到保護：{} 個集合都有 {}內的完好備份。",
                number(collections),
                exact(within)
            )
            .into();
        }
        Text::ProtectedSoFar { collections, new } => {
            let old = collections - new.min(collections);
            return format!(
                "目前受到保護：{} 個集合中的 {} 個；另外 {} 個是新的，還沒有備份。",
                number(collections),
                number(old),
                number(new)
            )
            .into();
        }
        Text::AtRisk { bad, collections } => {
            return format!(
                "有風險：{} 個集合中，有 {} 個沒有夠新的完好備份。",
                number(collections),
                number(bad)
            )
            .into();
        }
        Text::NothingToProtect => "有風險：Qdrant 裡沒有要備份的集合。",
        Text::NeverBackedUp => "從未備份：還沒有任何完好的備份。",
        Text::CannotTellStore => "無法判斷：無法讀取儲存空間。",
        Text::CannotTellQdrant => "無法判斷：無法讀取 Qdrant。",
        Text::NewOnesAreDue { within } => {
            return format!("新集合出現後 {}內若沒有備份，就視為缺少備份。", exact(within)).into();
        }
        Text::BackUpNowOrLook { within, failed } => {
            let look = if failed {
                "；先前出了什麼問題，請看下方的執行紀錄"
            } else {
                ""
            };
            return format!("每個集合都需要 {}內的完好備份。請立即備份{look}。", exact(within)).into();
        }
        Text::CheckTheQdrant => "空的 Qdrant 可能是遺失了資料。請確認連到的 Qdrant 是否正確，以及選擇範圍排除了什麼。",
        Text::FirstIsDue { within } => {
            return format!("服務剛開始運作；第一份備份應在 {}內完成。", exact(within)).into();
        }
        Text::MakeTheFirst { failed: true } => "請立即備份；先前出了什麼問題，請看下方的執行紀錄。",
        Text::MakeTheFirst { failed: false } => "請立即備份。",
        Text::StoreMustAnswer => "在能讀取儲存空間之前，無法得知有哪些備份。",
        Text::QdrantMustAnswer => "無法得知有哪些資料需要保護，也找不到這個選擇範圍的完好備份。",
        Text::KnownAreProtected { known, within } => {
            return format!(
                "上次備份的 {} 個集合受到保護（{}內）。之後新增的集合無法得知。",
                number(known),
                exact(within)
            )
            .into();
        }
        Text::BackUpNow => "立即備份",
        Text::StoreProblem => "無法讀取儲存空間",
        Text::QdrantProblem => "無法讀取 Qdrant",
        Text::RunsProblem => "無法讀取其他程式的執行紀錄",
        Text::ClockTitle => "時鐘不準",
        Text::ClockProblem { backups } => {
            return format!("有 {} 份備份的時間在未來：這台或另一台機器的時鐘現在或曾經不準。在那個時間到來之前，這些備份都不算數。", number(backups)).into();
        }
        Text::NewestGood => "最新的完好備份",
        Text::Promised => "承諾的備份間隔",
        Text::AllVerified => "已驗證的資料時間",
        Text::AllDrilled => "已演練的資料時間",
        Text::Store => "儲存空間",

        Text::Age(time) => return length(time).into(),
        Text::Limit(time) => return exact(time).into(),
        Text::SomeAgo { some, all, age } => return format!("{all} 個中的 {some} 個，{}前", length(age)).into(),
        Text::Ago(time) => return format!("{}前", length(time)).into(),
        Text::Took(time) => return format!("歷時 {}", length(time)).into(),
        Text::Never => "從未",
        Text::NotKnown => "無法得知",
        Text::Points(n) => return format!("{} 筆資料點", count(n)).into(),
        Text::PointsTitle => "筆資料點",
        Text::PointsHeading => "資料點",
        Text::CollectionsIn(n) => return format!("{} 個集合", number(n)).into(),

        Text::Collections => "集合",
        Text::Collection => "集合",
        Text::FindCollection => "集合名稱的一部分",
        Text::Find => "尋找",
        Text::NoneFound => "沒有名稱包含這段文字的集合。",
        Text::MoreCollections => "更多集合",
        Text::Previous => "上一頁",
        Text::Next => "下一頁",
        Text::PageOf { page, last } => return format!("第 {page} 頁，共 {last} 頁").into(),
        Text::IsProtected => "受到保護",
        Text::IsNew => "新出現",
        Text::IsStale => "備份過舊",
        Text::IsMissing => "近期沒有完好備份",
        Text::AgeOfPromised { age, within } => {
            return format!("{}前，上限 {}", compared(age, within), exact(within)).into();
        }
        Text::NoBackup => "找不到含有它的備份",
        Text::OnlyDoubtful => "只在不完好的備份裡",
        Text::OfAnother { backups } => {
            return format!(
                "儲存空間裡有 {} 份備份屬於另一個 Qdrant，或是這個 Qdrant 換了名稱；這些備份可以還原，但在這裡不算數。",
                number(backups)
            )
            .into();
        }
        Text::DueBy => "期限",
        Text::RestoreThis => "還原…",
        Text::Strip {
            all,
            good,
            doubtful,
            failed,
        } => {
            return format!("最近 {all} 份備份：{good} 份完好、{doubtful} 份有疑慮、{failed} 份失敗").into();
        }

        Text::HowProven => "驗證程度",
        Text::Stored => "已存妥",
        Text::Verified => "已驗證",
        Text::Opened => "已開啟",
        Text::Drilled => "已演練",
        Text::StoredMeans => "存入時逐位元組檢查。",
        Text::VerifiedMeans => "從儲存空間讀回所有物件，核對每個檢查碼。",
        Text::OpenedMeans => "以 Qdrant 的引擎開啟快照，核對筆數與抽樣。",
        Text::DrilledMeans => "在 Qdrant 伺服器上還原，與備份比對。",
        Text::Yes => "是",
        Text::NotYet => "還沒有",
        Text::FoundDamaged => "損壞",
        Text::ProofFailed => "失敗",
        Text::ProofUnknown => "無法讀取",
        Text::VerifyNow => "立即驗證",
        Text::DrillNow => "立即演練",
        Text::DrillTitle => "演練",
        Text::DrillMeans => "將備份還原到暫時的集合，比對後再刪除。",
        Text::DrillWhere => "目標：",
        Text::OnTheSame => "在被備份的 Qdrant 上演練：會占用它的空間與資源",
        Text::Pin => "釘選",
        Text::Unpin => "取消釘選",

        Text::Backup => "備份",
        Text::BackupOf(at) => return format!("{} 的備份", shown(at)).into(),
        Text::LastBackups => "最近的備份",
        Text::AllBackups => "所有備份",
        Text::MoreBackups => "顯示更早的備份",
        Text::NoBackups => "沒有備份。",
        Text::SizeOverTime => "大小的變化，最大",
        Text::Size => "大小",
        Text::Worth => "狀態",
        Text::GoodBackup => "完好",
        Text::DoubtfulBackup => "不完整或未經證明",
        Text::UnusableBackup => "損壞或無法還原",
        Text::NewestMisses { collections } => return format!("最新的備份缺少 {} 個集合：", number(collections)).into(),
        Text::NewestIs(mark) => return format!("最新的備份：{}", say(Text::Mark(mark))).into(),
        Text::LookAtIt => "查看這份備份",
        Text::LastBackupFailed => "最近一次備份失敗：",
        Text::UnprovenMeans => {
            "建立時 Qdrant 正在最佳化，還原後可能出現已刪除的資料點。演練或 `verify --engine` 可以證明；也可以在較閒置的時候重新備份。"
        }
        Text::Missing { collections } => return format!("缺少 {} 個集合", number(collections)).into(),
        Text::Mark(mark) => match mark {
            Mark::Good => "完好",
            Mark::Partial => "不完整",
            Mark::Damaged => "損壞",
            Mark::DrillFailed => "演練失敗",
            Mark::Unreadable => "無法讀取",
            Mark::NotRestorable => "無法還原",
            Mark::Unproven => "未經證明",
            Mark::Future => "時間在未來",
            Mark::Verified => "已驗證",
            Mark::Drilled => "已演練",
            Mark::Pinned => "已釘選",
            Mark::Scoped => "金鑰權限受限",
        },
        Text::Finished => "完成時間",
        Text::Selection => "選擇範圍：",
        Text::Warnings => "注意事項",
        Text::WhatIsIn => "備份內容",
        Text::WasOptimizing => "當時 Qdrant 正在最佳化",
        Text::Aliases => "別名：",
        Text::Objects { objects } => return format!("{} 個物件", number(objects)).into(),
        Text::Shard(shard) => return format!("分片 {shard}").into(),
        Text::TakenAt => "快照時間",
        Text::Streamed => "串流",
        Text::Node => "節點",
        Text::WhatIsDamaged => "損壞的內容",
        Text::DamagedMeans => "請立即建立新的備份；還原時請用另一份，或用這一份當中完好的部分",
        Text::AndMore(n) => return format!("還有 {} 項；重新驗證會列出全部。", count(n as u64)).into(),
        Text::ConfirmedByQdrant => "經 Qdrant 確認",

        Text::RunningNow => "執行中",
        Text::RecentRuns => "最近的執行",
        Text::Kind(kind) => match kind {
            OperationKind::Backup => "備份",
            OperationKind::Restore => "還原",
            OperationKind::Drill => "演練",
            OperationKind::Prune => "清理",
            OperationKind::Verify => "驗證",
        },
        Text::RunState(state) => match state {
            OperationState::Running => "執行中",
            OperationState::Succeeded => "成功",
            OperationState::Failed => "失敗",
            OperationState::Cancelled => "已取消",
            OperationState::Interrupted => "已中斷",
        },
        Text::Phase(phase) => match phase {
            OperationPhase::Waiting => "等待中",
            OperationPhase::Snapshot => "Qdrant 正在建立快照",
            OperationPhase::Copy => "複製中",
            OperationPhase::Read => "讀回中",
            OperationPhase::Restore => "Qdrant 正在還原",
            OperationPhase::Check => "比對中",
            OperationPhase::Verified => "完好",
            OperationPhase::Restored => "已還原",
            OperationPhase::Saved => "已儲存",
            OperationPhase::Failed => "失敗",
            OperationPhase::Gone => "執行期間被刪除",
        },
        Text::Progress => "進度",
        Text::Bytes => "位元組",
        Text::Rate => "速率",
        Text::Left => "剩餘時間",
        Text::Units => "集合與分片",
        Text::UnitsFailed => "失敗",
        Text::Since => "開始時間",
        Text::By => "執行者",
        Text::LastHeard => "上次回報",
        Text::State => "狀態",
        Text::Cancel => "取消",
        Text::StopItThere => "由另一個程式執行，請在那裡取消。",
        Text::Silent => "沒有回報",
        Text::SilentMeans => "這個程式已有一段時間沒有回報，可能已經結束。這個指令會說明租約能否解除：",
        Text::WhatWentWrong => "出了什麼問題",
        Text::WhatItCameTo => "結果",
        Text::RestoredAs => "在 Qdrant 上的名稱",
        Text::NotRestored => "未還原",
        Text::AliasesSet => "已移動或設定的別名：",
        Text::LeftBehind => "別名已移走，請手動刪除：",
        Text::RunThisNext => "接著送出：",
        Text::Verdict => "結論",
        Text::Passed => "通過",
        Text::Intact => "完好",
        Text::NotChecked => "未檢查",
        Text::TheManifest => "資訊清單",
        Text::DeletedSum { backups, bytes } => {
            return format!("已刪除 {} 份備份，釋放 {}。", count(backups as u64), size(bytes)).into();
        }
        Text::NotDeleted => "未刪除：",
        Text::ObjectsLeft(n) => return format!("{} 個物件未刪除", count(n as u64)).into(),
        Text::NotSaved => "未存妥",

        Text::PruneTitle => "清理",
        Text::PruneIntro => "依保留規則，哪些備份會留下、哪些會刪除。規則：",
        Text::NothingToPrune => "沒有要刪除的備份。",
        Text::NoPolicy => "沒有設定保留規則：任何備份都不會被刪除。",
        Text::SetPolicy => "設定 RETAIN_LAST、RETAIN_DAILY 或其他規則，再重新啟動服務",
        Text::PruneSum {
            going,
            all,
            leftovers,
            bytes,
        } => {
            let rest = match leftovers {
                0 => String::new(),
                n => format!("以及 {} 份殘留", number(n)),
            };
            return format!(
                "{} 份備份中會刪除 {} 份{rest}，共 {}。",
                number(all),
                number(going),
                size(bytes)
            )
            .into();
        }
        Text::DeleteThese { backups: 0, leftovers } => return format!("刪除 {} 份殘留", number(leftovers)).into(),
        Text::DeleteThese { backups, leftovers: 0 } => return format!("刪除 {} 份備份", number(backups)).into(),
        Text::DeleteThese { backups, leftovers } => {
            return format!("刪除 {} 份備份與 {} 份殘留", number(backups), number(leftovers)).into();
        }
        Text::Stays => "保留",
        Text::Goes => "刪除",
        Text::Leftover => "沒有資訊清單",
        Text::NoRuleKeepsIt => "沒有規則要保留",
        Text::Reason(reason) => match reason {
            Reason::Pinned => "已釘選",
            Reason::TooYoung => "還太新，不刪除",
            Reason::InFuture => "時間在未來",
            Reason::NotUnderstood => "無法判斷",
            Reason::NewestGood => "最新的完好備份",
            Reason::NothingBetter => "沒有更好的備份",
            Reason::Last => "最新的幾份之一",
            Reason::Hourly => "每小時",
            Reason::Daily => "每日",
            Reason::Weekly => "每週",
            Reason::Monthly => "每月",
            Reason::Yearly => "每年",
            Reason::Partial => "最新的不完整備份",
            Reason::NewestCopy => "某個集合最新的一份",
        },
        Text::ForeignObjects { objects } => {
            return format!("{} 個不是本工具寫入的物件，不會更動", number(objects)).into();
        }

        Text::RestoreTitle => "還原",
        Text::Steps => "步驟",
        Text::ChooseBackup => "選擇備份",
        Text::ChooseTarget => "選擇目標",
        Text::CheckPlan => "確認計畫",
        Text::ChooseBackupIntro => "要還原哪一份備份？在最後一步之前，什麼都不會改變。",
        Text::OlderByCommand => "更早的備份在「備份」頁面。",
        Text::WhichCollections => "要還原哪些集合？",
        Text::NoneMeansAll => "都不勾選：全部還原。",
        Text::WhereTo => "還原到哪裡？",
        Text::TargetNew => "使用新名稱。",
        Text::TargetNewMeans => "現有的集合維持原狀，可以先檢查副本。",
        Text::TargetSame => "使用原名。",
        Text::TargetSameMeans => "適用於已經遺失的集合；若仍有資料點，就會被拒絕。",
        Text::TargetSwap => "以別名切換。",
        Text::TargetSwapMeans => "先還原在旁邊並比對，然後一次把別名全部移過去；原有的集合也會留著。",
        Text::TargetOverwrite => "覆寫。",
        Text::TargetOverwriteMeans => "現有的資料點會遺失。",
        Text::NewName => "新名稱（{} 代表原名）：",
        Text::ShowPlan => "顯示計畫",
        Text::NothingYet => "這一步不會改變任何東西。",
        Text::PlanRefused => "這次還原被拒絕",
        Text::WouldReplace => "這些資料點會遺失",
        Text::RestoreSum { collections, bytes } => {
            return format!("{} 個集合，{}，還原到", number(collections), size(bytes)).into();
        }
        Text::IsMadeNew => "新建",
        Text::IsEmpty => "已存在，沒有資料點",
        Text::Overwrites(n) => return format!("覆寫 {} 筆資料點", count(n)).into(),
        Text::UnreadableState => "無法讀取狀態",
        Text::Alias => "別名",
        Text::AliasAction(action) => match action {
            AliasAction::Set => "會設定",
            AliasAction::Keep => "維持原狀",
            AliasAction::Move => "會移到這裡",
            AliasAction::Conflict => "有衝突，維持原狀",
            AliasAction::Skip => "不設定：這是副本",
        },
        Text::PointsTo => "目前指向",
        Text::TypeTheName => "若要覆寫，請輸入名稱：",
        Text::RestoreNow => "立即還原",
        Text::ChangeTarget => "選擇其他目標",
    };
    fixed.into()
}
