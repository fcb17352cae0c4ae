//! The costs in the documents are computed, from the prices that stand above them; so are the times, from speeds and limits.

use super::{page, root};

/// The bodies of the tables of a page, row by row, cell by cell.
pub(super) fn tables(text: &str) -> Vec<Vec<Vec<String>>> {
    let mut tables: Vec<Vec<Vec<String>>> = Vec::new();
    for line in text.lines() {
        let cells = line.strip_prefix('|').and_then(|line| line.strip_suffix('|'));
        match (cells, tables.last_mut()) {
            // What stood above it was the header.
            (Some(cells), _) if cells.starts_with("---") => tables.push(Vec::new()),
            (Some(cells), Some(table)) => table.push(cells.split('|').map(|cell| cell.trim().to_owned()).collect()),
            _ => {}
        }
    }
    // The header of the next table was taken for a row of the one before.
    let last = tables.len() - 1;
    for table in &mut tables[..last] {
        table.pop();
    }
    tables
}

pub(super) fn numbers(cell: &str) -> Vec<f64> {
    cell.replace(',', "")
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .filter_map(|number| number.parse().ok())
        .collect()
}

#[test]
fn costs_are_what_the_prices_make_of_them() {
    let tables = tables(&page("docs/explanation/cost.md").text);
    let [parts, examples, ..] = tables.as_slice() else {
        panic!("{} tables", tables.len())
    };
    let part = |name: &str| parts.iter().find(|row| row[0].starts_with(name)).unwrap();
    let price = |name: &str| numbers(&part(name)[1])[0];
    let &[free_hours, megabytes] = numbers(&part("job")[2]).as_slice() else {
        panic!("{:?}", part("job"))
    };
    for row in examples {
        let of = |column: usize| numbers(&row[column])[0];
        let (size, backups) = (of(1), of(2));
        let is_job = row[0].contains("job");
        let storage = size * (of(3) + of(4) + of(5)) * price("storage");
        let fixed = if is_job {
            0.0
        } else {
            price("connector") + price("service that makes")
        };
        let hours = backups * size * f64::from(1 << 30) / (megabytes * 1e6) / 3600.0;
        let job = if is_job {
            (hours - free_hours).max(0.0) * price("job")
        } else {
            0.0
        };
        let zones = backups * size * price("traffic from a VM in another zone");
        let to_vault = if of(5) > 0.0 {
            backups * size * price("traffic to a vault in another region")
        } else {
            0.0
        };
        let together = storage + fixed + job + to_vault;
        let expected = [storage, fixed, job, zones, to_vault, together, together + zones].map(f64::round);
        let told: Vec<_> = row[6..].iter().flat_map(|cell| numbers(cell)).collect();
        assert_eq!(told, expected, "{row:?}");
    }
    assert!(examples.len() >= 7);
}

/// What a file of Terraform sets `name` to: a number, or an `optional` one's default.
fn set_in(file: &str, name: &str) -> f64 {
    let text = std::fs::read_to_string(root().join("terraform").join(file)).unwrap();
    let values: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(before, _)| before.trim() == name)
        .flat_map(|(_, value)| numbers(value))
        .collect();
    let &[value] = values.as_slice() else {
        panic!("{name} in {file}: {values:?}")
    };
    value
}

#[test]
fn times_are_what_speeds_and_limits_make_of_them() {
    const GIB: f64 = (1 << 30) as f64;
    let tables = tables(&page("docs/explanation/cost.md").text);
    let [_, _, speeds, limits, sizes] = tables.as_slice() else {
        panic!("{} tables", tables.len())
    };
    let &[writes, machine, direct] = speeds
        .iter()
        .flat_map(|row| numbers(&row[1]))
        .collect::<Vec<_>>()
        .as_slice()
    else {
        panic!("{speeds:?}")
    };
    let fewest = set_in("network.tf", "min_instances");
    let most = set_in("variables.tf", "connector_max_instances");
    assert_eq!(numbers(&speeds[1][0])[1..], [fewest, most], "{:?}", speeds[1]);
    // Bytes a second, one after the other: written, then copied.
    let speed = |copied: f64| 1e6 / (1.0 / writes + 1.0 / copied);
    let [slow, fast, direct] = [fewest * machine, most * machine, direct].map(speed);

    let minutes = |name| set_in("variables.tf", name) / 60.0;
    let [request, job] = ["request_timeout_seconds", "timeout_seconds"].map(minutes);
    for (row, limit) in limits.iter().zip([request, job]) {
        assert_eq!(numbers(&row[0])[0], limit, "{row:?}");
        let fits = [slow, fast, direct].map(|speed| (limit * 60.0 * speed / GIB).floor());
        assert_eq!([numbers(&row[1]), numbers(&row[2])].concat(), fits, "{row:?}");
    }
    for row in sizes {
        let takes = |speed: f64| numbers(&row[0])[0] * GIB / speed / 60.0;
        let told = [numbers(&row[1]), numbers(&row[3])].concat();
        assert_eq!(told, [fast, slow, direct].map(|speed| takes(speed).round()), "{row:?}");
        for (cell, minutes) in [(&row[2], takes(slow)), (&row[4], takes(direct))] {
            let (is_service, is_longer) = (cell.as_str() == "`service`", cell.contains("job.timeout_seconds"));
            assert_eq!((is_service, is_longer), (minutes <= request, minutes > job), "{row:?}");
        }
    }
    assert!(limits.len() == 2 && sizes.len() >= 7);
}

#[test]
fn both_languages_tell_the_same_costs() {
    let [english, chinese] = ["docs/explanation/cost.md", "docs/zh-TW/cost.md"].map(|path| {
        let rows = tables(&page(path).text).into_iter().flatten();
        rows.map(|row| row.iter().flat_map(|cell| numbers(cell)).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    });
    assert_eq!(english, chinese);
}
