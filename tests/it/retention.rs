//! What the policy keeps: one table for each rule and guard, and properties over 10,000 random histories.

use qdrant_backup::base::error::Code;
use qdrant_backup::ops::retention::{Decision, Entry, Policy, Reason, plan};
use qdrant_backup::repository::catalog::State;
use qdrant_backup::repository::names::BackupId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);
const HOUR: Duration = Duration::from_secs(3600);

/// No rule, no minimum age.
fn none() -> Policy {
    Policy {
        min_age: Duration::ZERO,
        ..Policy::default()
    }
}

/// `2026-11-20 23:59`, a space, and what is special about it: `damaged`, `unknown`, `pinned`, `of:series`, `partial:a,b` with the
/// collections that it has.
fn entry(text: &str) -> Entry {
    let mut words = text.split(' ');
    let (date, time) = (words.next().unwrap(), words.next().unwrap());
    let id = format!("{date}T{}-00Z", time.replace(':', "-")).parse().unwrap();
    let mut entry = Entry {
        id,
        series: String::new(),
        state: State::Good,
        pinned: false,
        collections: Vec::new(),
    };
    for word in words {
        match word {
            "damaged" => entry.state = State::Damaged,
            "unknown" => entry.state = State::Unknown,
            "pinned" => entry.pinned = true,
            _ => match word.strip_prefix("partial:") {
                Some(names) => {
                    entry.state = State::Partial;
                    entry.collections = names.split(',').map(str::to_owned).collect();
                }
                None => entry.series = word.strip_prefix("of:").unwrap().to_owned(),
            },
        }
    }
    entry
}

/// What `policy` decides on a history, in the history's order: the reasons joined, empty for a deletion.
fn decided(policy: &Policy, history: &[&str]) -> Vec<String> {
    let entries: Vec<_> = history.iter().map(|text| entry(text)).collect();
    let decisions = plan(&entries, policy, NOW).unwrap();
    assert!(decisions.iter().all(|d| d.keep != d.reasons.is_empty()));
    assert!(decisions.is_sorted_by(|a, b| a.id > b.id), "newest first");
    let by_id: BTreeMap<_, _> = decisions.into_iter().map(|d| (d.id, d.reasons)).collect();
    entries
        .iter()
        .map(|e| {
            by_id[&e.id]
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(",")
        })
        .collect()
}

/// Checks a table of histories and the reasons they get.
fn table(policy: &Policy, rows: &[(&str, &str)]) {
    let history: Vec<_> = rows.iter().map(|(text, _)| *text).collect();
    let expected: Vec<_> = rows.iter().map(|(_, reasons)| *reasons).collect();
    assert_eq!(decided(policy, &history), expected, "{policy:?}\n{history:#?}");
}

#[test]
fn last_keeps_the_newest_so_many() {
    table(
        &Policy { last: 2, ..none() },
        &[
            ("2026-11-22 11:00", "newest good,last"),
            ("2026-11-22 10:00", "last"),
            ("2026-11-22 09:00", ""),
            ("2020-01-01 00:00", ""),
        ],
    );
}

#[test]
fn hourly_keeps_the_newest_of_each_hour_that_has_one() {
    table(
        &Policy { hourly: 3, ..none() },
        &[
            ("2026-11-22 11:59", "newest good,hourly"),
            ("2026-11-22 11:00", ""),
            ("2026-11-22 10:59", "hourly"),
            ("2026-11-21 10:30", "hourly"), // the same hour of another day
            ("2026-11-21 10:00", ""),
            ("2026-11-20 10:00", ""),
        ],
    );
}

#[test]
fn daily_keeps_the_newest_of_each_utc_day() {
    table(
        &Policy { daily: 3, ..none() },
        &[
            ("2026-11-22 00:00", "newest good,daily"),
            ("2026-11-21 23:59", "daily"),
            ("2026-11-21 00:00", ""),
            ("2025-11-21 12:00", "daily"), // the same day of another year
            ("2025-11-20 12:00", ""),
        ],
    );
}

#[test]
fn weekly_goes_by_iso_weeks_also_across_the_year() {
    table(
        &Policy { weekly: 3, ..none() },
        &[
            ("2026-01-04 12:00", "newest good,weekly"), // Sunday of 2026-W01
            ("2025-12-29 00:00", ""),                   // Monday of the same week
            ("2025-12-28 23:00", "weekly"),             // Sunday of 2025-W52
            ("2024-12-30 00:00", "weekly"),             // Monday of 2025-W01, not of 2024
            ("2024-12-29 00:00", ""),
        ],
    );
}

#[test]
fn monthly_and_yearly_keep_the_newest_of_each() {
    table(
        &Policy {
            monthly: 2,
            yearly: 2,
            ..none()
        },
        &[
            ("2026-11-02 12:00", "newest good,monthly,yearly"),
            ("2026-11-01 12:00", ""),
            ("2025-11-30 12:00", "monthly,yearly"), // the same month of another year
            ("2025-11-01 12:00", ""),
            ("2024-11-01 12:00", ""),
        ],
    );
}

#[test]
fn rules_add_up() {
    table(
        &Policy {
            last: 1,
            daily: 2,
            weekly: 2,
            min_age: HOUR,
            ..none()
        },
        &[
            ("2026-11-22 11:30", "too young,newest good,last,daily,weekly"),
            ("2026-11-22 11:00", ""), // exactly the minimum age
            ("2026-11-22 10:00 pinned", "pinned"),
            ("2026-11-21 10:00", "daily"),
            ("2026-11-16 10:00", ""),
            ("2026-11-15 10:00", "weekly"),
        ],
    );
}

#[test]
fn what_is_too_young_stays() {
    table(
        &Policy {
            last: 1,
            min_age: HOUR * 24,
            ..none()
        },
        &[
            ("2026-11-22 11:59", "too young,newest good,last"),
            ("2026-11-21 12:01", "too young"),
            ("2026-11-21 12:00 damaged", ""),
            ("2026-11-21 11:59", ""),
        ],
    );
}

#[test]
fn a_pin_keeps_and_changes_nothing_for_the_others() {
    let policy = Policy { last: 1, ..none() };
    table(
        &policy,
        &[
            ("2026-11-03 00:00", "newest good,last"),
            ("2026-11-02 00:00", ""),
            ("2026-11-01 00:00 pinned", "pinned"),
        ],
    );
    table(
        &policy,
        &[
            ("2026-11-03 00:00 pinned", "pinned,newest good,last"),
            ("2026-11-02 00:00", ""),
        ],
    );
}

#[test]
fn a_damaged_backup_never_takes_the_place_of_a_good_one() {
    table(
        &Policy {
            last: 1,
            daily: 1,
            ..none()
        },
        &[
            ("2026-11-22 11:00 damaged", "last,daily"), // the newest data that there is
            ("2026-11-22 10:00 damaged", ""),
            ("2026-11-21 10:00", "newest good,last,daily"),
            ("2026-11-21 09:00 damaged", ""), // the good one is newer
            ("2026-11-20 10:00", ""),
        ],
    );
}

#[test]
fn where_nothing_is_good_the_newest_stays() {
    table(
        &Policy { last: 1, ..none() },
        &[
            ("2026-11-22 11:00 damaged", "nothing better,last"),
            ("2026-11-21 11:00 damaged", ""),
        ],
    );
    table(
        &Policy { last: 1, ..none() },
        &[
            (
                "2026-11-22 11:00 partial:a",
                "nothing better,partial,newest copy of a collection",
            ),
            ("2026-11-21 11:00 partial:a", ""),
            ("2026-11-20 11:00 damaged", "last"),
        ],
    );
}

#[test]
fn of_partial_backups_the_newest_stays_whatever_the_rules_for_good_ones() {
    // What fails for good makes one at every turn.
    let many = Policy {
        last: 9,
        hourly: 9,
        daily: 9,
        ..none()
    };
    table(
        &many,
        &[
            ("2026-11-22 11:00 partial:a,b", "partial,newest copy of a collection"),
            ("2026-11-22 10:00 partial:a,b", ""),
            ("2026-11-22 09:00 partial:a,b", ""),
            ("2026-11-21 09:00", "newest good,last,hourly,daily"),
            ("2026-11-21 08:00 partial:a,b", ""), // the good one is newer
            ("2026-11-21 07:00 partial:z", ""),   // z was gone when the good one was made
        ],
    );
    table(
        &Policy { partial: 2, ..many },
        &[
            ("2026-11-22 11:00 partial:a", "partial,newest copy of a collection"),
            ("2026-11-22 10:00 partial:a", "partial"),
            ("2026-11-22 09:00 partial:a", ""),
            ("2026-11-21 09:00", "newest good,last,hourly,daily"),
        ],
    );
}

#[test]
fn the_newest_partial_backup_with_a_collection_stays() {
    table(
        &Policy { last: 1, ..none() },
        &[
            ("2026-11-22 11:00 partial:a,b", "partial,newest copy of a collection"),
            ("2026-11-22 10:00 partial:b,c", "newest copy of a collection"),
            ("2026-11-22 09:00 partial:a,c", ""),
            ("2026-11-22 08:00 damaged", "last"), // nobody knows what it has
            ("2026-11-22 07:00 partial:new", "newest copy of a collection"),
            (
                "2026-11-22 06:00 partial:new of:docs",
                "nothing better,partial,newest copy of a collection",
            ),
            ("2026-11-21 09:00", "newest good,last"),
        ],
    );
}

#[test]
fn each_selection_is_a_series_of_its_own() {
    table(
        &Policy { last: 1, ..none() },
        &[
            ("2026-11-22 11:00 of:docs", "newest good,last"),
            ("2026-11-22 10:00 of:docs", ""),
            ("2026-11-21 11:00", "newest good,last"),
            ("2026-11-20 11:00", ""),
            ("2026-11-19 11:00 of:logs damaged", "nothing better,last"),
        ],
    );
}

#[test]
fn what_lies_in_the_future_stays_and_displaces_nothing() {
    table(
        &Policy { last: 1, ..none() },
        &[
            ("2099-01-01 00:00", "in the future"),
            ("2026-11-22 12:01", "in the future"),
            ("2026-11-22 12:00", "newest good,last"),
            ("2026-11-22 11:00", ""),
        ],
    );
}

#[test]
fn what_is_not_understood_stays_and_displaces_nothing() {
    table(
        &Policy { last: 1, ..none() },
        &[
            ("2026-11-22 11:00 unknown", "not understood"),
            ("2026-11-22 10:00", "newest good,last"),
            ("2026-11-22 09:00", ""),
            ("2026-11-22 08:00 unknown", "not understood"),
        ],
    );
}

#[test]
fn a_policy_without_a_rule_is_refused() {
    for min_age in [Duration::ZERO, HOUR * 24 * 365] {
        let error = plan(
            &[entry("2026-11-22 11:00")],
            &Policy {
                min_age,
                ..Policy::default()
            },
            NOW,
        )
        .unwrap_err();
        assert_eq!((error.code(), error.exit_code()), (Code::ConfigInvalid, 2));
        assert!(error.to_string().contains("RETAIN_LAST"), "{error}");
    }
    assert_eq!(plan(&[], &Policy { last: 1, ..none() }, NOW).unwrap(), []);
}

/// xorshift64*: the same seed, the same history.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

struct Case {
    entries: Vec<Entry>,
    policy: Policy,
    now: OffsetDateTime,
}

/// A history of up to 40 backups over minutes, days or years; some of it may lie in the future.
fn case(seed: u64) -> Case {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    for _ in 0..4 {
        random.below(2);
    }
    let span = [3600, 86_400, 40 * 86_400, 1200 * 86_400][random.below(4) as usize];
    let series = ["", "docs", "logs"];
    let kinds = 1 + random.below(3);
    let flaws = 1 + random.below(6);
    let ids: BTreeSet<_> = (0..random.below(40))
        .map(|_| BackupId::at(NOW - Duration::from_secs(random.below(span))))
        .collect();
    let entries = ids
        .into_iter()
        .map(|id| Entry {
            id,
            series: series[random.below(kinds) as usize].to_owned(),
            state: match random.below(12) {
                0 => State::Unknown,
                n if n <= flaws && n % 2 == 0 => State::Damaged,
                n if n <= flaws => State::Partial,
                _ => State::Good,
            },
            pinned: random.one_in(10),
            collections: ["a", "b", "c", "d"]
                .into_iter()
                .filter(|_| random.one_in(2))
                .map(str::to_owned)
                .collect(),
        })
        .collect();
    let mut count = || match random.below(3) {
        0 => 0,
        n => (n * random.below(8)) as u32,
    };
    let mut policy = Policy {
        last: count(),
        hourly: count(),
        daily: count(),
        weekly: count(),
        monthly: count(),
        yearly: count(),
        partial: 1 + count(),
        min_age: Duration::ZERO,
        ..Policy::default()
    };
    policy.min_age = HOUR * u32::try_from(random.below(72)).unwrap();
    if policy.is_empty() {
        policy.last = 1;
    }
    let early = if random.one_in(5) { random.below(span) } else { 0 };
    Case {
        entries,
        policy,
        now: NOW - Duration::from_secs(early),
    }
}

const CASES: u64 = 10_000;

fn reasons(decisions: &[Decision]) -> BTreeMap<BackupId, Vec<Reason>> {
    decisions.iter().map(|d| (d.id, d.reasons.clone())).collect()
}

#[test]
fn the_last_good_backup_of_every_series_survives_every_history() {
    for seed in 0..CASES {
        let Case { entries, policy, now } = case(seed);
        let kept = reasons(&plan(&entries, &policy, now).unwrap());
        assert_eq!(kept.len(), entries.len(), "seed {seed}: one decision for each");
        for series in entries.iter().map(|e| &e.series).collect::<BTreeSet<_>>() {
            let past = || {
                entries
                    .iter()
                    .filter(|e| &e.series == series && e.id.time() <= now && e.state != State::Unknown)
            };
            let newest_good = past().filter(|e| e.state == State::Good).max_by_key(|e| e.id);
            if let Some(survivor) = newest_good.or(past().max_by_key(|e| e.id)) {
                assert!(
                    !kept[&survivor.id].is_empty(),
                    "seed {seed}: {} of {series:?}",
                    survivor.id
                );
            }
        }
        assert!(
            entries.is_empty() || kept.values().any(|r| !r.is_empty()),
            "seed {seed}: nothing would be left"
        );
    }
}

#[test]
fn pinned_and_young_ones_are_among_those_kept_and_have_no_say_over_others() {
    for seed in 0..CASES {
        let Case {
            mut entries,
            policy,
            now,
        } = case(seed);
        let kept = reasons(&plan(&entries, &policy, now).unwrap());
        for e in &entries {
            let age = now - e.id.time();
            let guarded = e.pinned || age < policy.min_age || e.state == State::Unknown;
            assert!(!guarded || !kept[&e.id].is_empty(), "seed {seed}: {} goes", e.id);
        }
        entries.iter_mut().for_each(|e| e.pinned = false);
        let mut unpinned = kept;
        unpinned.values_mut().for_each(|r| r.retain(|r| *r != Reason::Pinned));
        assert_eq!(reasons(&plan(&entries, &policy, now).unwrap()), unpinned, "seed {seed}");
    }
}

/// Time alone ends the youth of backups and nothing else: every other reason holds for ever, so what goes later is exactly
/// what was kept for its youth alone.
#[test]
fn without_new_backups_a_later_now_only_deletes_what_was_too_young() {
    for seed in 0..CASES {
        let Case {
            mut entries,
            policy,
            now,
        } = case(seed);
        entries.retain(|e| e.id.time() <= now);
        let before = reasons(&plan(&entries, &policy, now).unwrap());
        let step = Duration::from_secs(Random(seed | 1).below(400 * 86_400));
        for later in [now + step, now + HOUR * 24 * 365 * 50] {
            let after = reasons(&plan(&entries, &policy, later).unwrap());
            for (id, reasons) in &before {
                let lasting = |r: &[Reason]| {
                    r.iter()
                        .filter(|r| **r != Reason::TooYoung)
                        .copied()
                        .collect::<Vec<_>>()
                };
                assert_eq!(lasting(reasons), lasting(&after[id]), "seed {seed}: {id}");
                let young = later - id.time() < policy.min_age;
                assert_eq!(after[id].contains(&Reason::TooYoung), young, "seed {seed}: {id}");
            }
        }
    }
}

#[test]
fn pruning_twice_deletes_nothing_more() {
    for seed in 0..CASES {
        let Case {
            mut entries,
            policy,
            now,
        } = case(seed);
        let first = reasons(&plan(&entries, &policy, now).unwrap());
        entries.retain(|e| !first[&e.id].is_empty());
        let second = plan(&entries, &policy, now).unwrap();
        assert!(second.iter().all(|d| d.keep), "seed {seed}");
        assert!(
            second.iter().all(|d| d.reasons == first[&d.id]),
            "seed {seed}: for other reasons"
        );
    }
}

/// Whatever collection only partial backups have that are newer than the newest good one, the newest of those stays.
#[test]
fn the_newest_partial_copy_of_every_collection_survives_every_history() {
    for seed in 0..CASES {
        let Case { entries, policy, now } = case(seed);
        let kept = reasons(&plan(&entries, &policy, now).unwrap());
        for series in entries.iter().map(|e| &e.series).collect::<BTreeSet<_>>() {
            let past = || entries.iter().filter(|e| &e.series == series && e.id.time() <= now);
            let good = past().filter(|e| e.state == State::Good).map(|e| e.id).max();
            let newer = || past().filter(|e| e.state == State::Partial && Some(e.id) > good);
            for name in ["a", "b", "c", "d"] {
                let copies = newer().filter(|e| e.collections.iter().any(|c| c == name));
                if let Some(newest) = copies.map(|e| e.id).max() {
                    assert!(
                        kept[&newest].contains(&Reason::NewestCopy),
                        "seed {seed}: {name} of {series:?}"
                    );
                }
            }
            if let Some(newest) = newer().map(|e| e.id).max() {
                assert!(kept[&newest].contains(&Reason::Partial), "seed {seed}: {series:?}");
            }
        }
    }
}

/// Whatever flawed backups are added, each good one stays for the reasons it had.
#[test]
fn flawed_and_unknown_ones_displace_no_good_one() {
    for seed in 0..CASES {
        let Case { entries, policy, now } = case(seed);
        let good: Vec<_> = entries.iter().filter(|e| e.state == State::Good).cloned().collect();
        let (all, alone) = (
            plan(&entries, &policy, now).unwrap(),
            plan(&good, &policy, now).unwrap(),
        );
        let all = reasons(&all);
        for (id, reasons) in reasons(&alone) {
            assert_eq!(all[&id], reasons, "seed {seed}: {id}");
        }
    }
}

/// No rule keeps more than it may: in each lane of each series at most as many as its count.
#[test]
fn no_rule_keeps_more_than_its_count() {
    for seed in 0..CASES {
        let Case { entries, policy, now } = case(seed);
        let by_id: BTreeMap<_, _> = entries.iter().map(|e| (e.id, e)).collect();
        let mut counts: BTreeMap<(Reason, u8, &str), u32> = BTreeMap::new();
        let lane = |state| match state {
            State::Good => 0,
            State::Damaged => 1,
            State::Partial => 2,
            State::Unknown => 3,
        };
        for (id, reasons) in reasons(&plan(&entries, &policy, now).unwrap()) {
            let e = by_id[&id];
            for reason in reasons {
                *counts.entry((reason, lane(e.state), &e.series)).or_default() += 1;
            }
        }
        for ((reason, lane, series), count) in counts {
            let most = match reason {
                Reason::Last => policy.last,
                Reason::Hourly => policy.hourly,
                Reason::Daily => policy.daily,
                Reason::Weekly => policy.weekly,
                Reason::Monthly => policy.monthly,
                Reason::Yearly => policy.yearly,
                Reason::Partial => policy.partial,
                Reason::NewestCopy => 4,
                Reason::NewestGood | Reason::NothingBetter => 1,
                _ => u32::MAX,
            };
            assert!(
                count <= most,
                "seed {seed}: {count} {reason} in {series:?}, lane {lane}"
            );
        }
    }
}
