//! How much disk the backups need is computed by the rules themselves, hour by hour.

use super::cost::{numbers, tables};
use super::page;
use qdrant_backup::ops::retention::{Entry, Policy, plan};
use qdrant_backup::repository::catalog::State;
use qdrant_backup::repository::names::BackupId;
use std::collections::BTreeSet;
use std::time::Duration;
use time::macros::datetime;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The most backups that a store ever has, the one that is being made included, when each is followed by a prune. Two years, so
/// that every rule of the table is full, and then two months at that pace; before them one a day does, of which the rules that
/// look back further keep some.
fn most(policy: &Policy, every: Duration) -> f64 {
    let (mut backups, mut most): (Vec<Entry>, _) = (Vec::new(), 0);
    let mut now = datetime!(2026-01-01 23:00 UTC);
    while now < datetime!(2028-03-01 00:00 UTC) {
        backups.push(Entry {
            id: BackupId::at(now),
            series: "all".to_owned(),
            state: State::Good,
            pinned: false,
            collections: Vec::new(),
        });
        most = most.max(backups.len());
        let decisions = plan(&backups, policy, now).unwrap();
        let kept: BTreeSet<_> = decisions.iter().filter(|d| d.keep).map(|d| d.id).collect();
        backups.retain(|entry| kept.contains(&entry.id));
        now += match now < datetime!(2028-01-01 00:00 UTC) {
            true => DAY,
            false => every,
        };
    }
    f64::from(u32::try_from(most).unwrap())
}

fn policy(cell: &str) -> Policy {
    let mut policy = Policy::default();
    for rule in cell.trim_matches('`').split(' ') {
        let (name, value) = rule.split_once('=').unwrap();
        let count = match name {
            "RETAIN_LAST" => &mut policy.last,
            "RETAIN_HOURLY" => &mut policy.hourly,
            "RETAIN_DAILY" => &mut policy.daily,
            "RETAIN_WEEKLY" => &mut policy.weekly,
            "RETAIN_MONTHLY" => &mut policy.monthly,
            _ => panic!("{name}"),
        };
        *count = value.parse().unwrap();
    }
    policy
}

#[test]
fn the_disk_that_backups_need_is_what_the_rules_keep() {
    let english = tables(&page("docs/how-to/run-on-a-vm.md").text);
    let chinese = tables(&page("docs/zh-TW/run-on-a-vm.md").text);
    let sizes = |tables: &[Vec<Vec<String>>]| -> Vec<Vec<String>> {
        let table = tables.iter().find(|table| table[0][1].contains("RETAIN_"));
        table.unwrap().clone()
    };
    let rows = sizes(&english);
    for row in &rows {
        let every = if row[0].contains("hour") { HOUR } else { DAY };
        let most = most(&policy(&row[1]), every);
        let told: Vec<_> = row[2..].iter().flat_map(|cell| numbers(cell)).collect();
        assert_eq!(told, [most, most, most * 10.0, most * 100.0], "{row:?}");
    }
    assert!(rows.len() >= 4);
    let figures = |rows: &[Vec<String>]| rows.iter().map(|row| row[1..].to_vec()).collect::<Vec<_>>();
    assert_eq!(figures(&rows), figures(&sizes(&chinese)));
}
