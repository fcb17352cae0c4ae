//! Times as people write them: `2026-11-25 03:00`, `yesterday`, `1h`.

use crate::base::error::{Code, Error, Result};
use crate::base::zone::{DAY, MINUTE, Zone};
use std::time::Duration;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime, Time};

const SECOND: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

/// What somebody means by a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    At(OffsetDateTime),
    /// A day there: its first instant, and the first one of the next.
    Day(OffsetDateTime, OffsetDateTime),
}

/// A whole number and `s`, `m`, `h` or `d`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let split = text.len().checked_sub(1).filter(|at| text.is_char_boundary(*at))?;
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    // A sign would be taken, too.
    let number = number.bytes().all(|b| b.is_ascii_digit()).then_some(number)?;
    number
        .parse::<u64>()
        .ok()?
        .checked_mul(seconds)
        .map(Duration::from_secs)
}

/// What `text` means, `now` and there; `None`: it is no time.
pub(crate) fn when(text: &str, now: OffsetDateTime, zone: &Zone) -> Option<When> {
    if let Some(ago) = duration(text) {
        let ago = time::Duration::try_from(ago).ok()?;
        return now.checked_sub(ago).map(When::At);
    }
    let today = zone.local(now).date();
    let day = match text {
        "today" => Some(today),
        "yesterday" => today.previous_day(),
        text => Date::parse(text, DAY).ok(),
    };
    if let Some(day) = day {
        let start = |day: Date| zone.instant(PrimitiveDateTime::new(day, Time::MIDNIGHT));
        return Some(When::Day(start(day), start(day.next_day()?)));
    }
    if let Ok(time) = OffsetDateTime::parse(&text.replacen(' ', "T", 1), &Rfc3339) {
        return Some(When::At(time));
    }
    let shown = text.replacen('T', " ", 1);
    let shown = PrimitiveDateTime::parse(&shown, MINUTE).or_else(|_| PrimitiveDateTime::parse(&shown, SECOND));
    shown.ok().map(|shown| When::At(zone.instant(shown)))
}

/// As [`when`], for an option that wants a time.
pub(crate) fn required(option: &str, text: &str, now: OffsetDateTime, zone: &Zone) -> Result<When> {
    when(text, now, zone).ok_or_else(|| {
        Error::new(Code::BadRequest, format!("{option} {text:?} is not a time")).remedy(
            "write a time like '2026-11-25 03:00' (local, as `list` shows it) or 2026-11-25T03:00:00Z, a day like 2026-11-25 or \
             yesterday, or an age like 90m, 1h or 2d",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::{datetime, offset};

    #[test]
    fn a_length_of_time_is_a_whole_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("1h", 3600), ("2d", 172_800), ("0s", 0)] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in [
            "",
            "h",
            "1",
            "1w",
            "+1h",
            "-1h",
            "1 h",
            "1.5h",
            "1é",
            "99999999999999999999s",
            "9999999999999999d",
        ] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_are_those_of_the_zone_unless_they_name_one() {
        let taipei = Zone::new(|_| offset!(+8));
        let now = datetime!(2026-11-25 19:30 UTC);
        let of = |text: &str| when(text, now, &taipei);
        let day = |from, to| Some(When::Day(from, to));
        let (start, end) = (datetime!(2026-11-25 16:00 UTC), datetime!(2026-11-26 16:00 UTC));
        assert_eq!(of("today"), day(start, end), "it is the 26th there");
        assert_eq!(of("2026-11-26"), day(start, end));
        assert_eq!(of("yesterday"), day(datetime!(2026-11-24 16:00 UTC), start));
        for text in [
            "2026-11-26 03:00",
            "2026-11-26T03:00",
            "2026-11-26 03:00:00",
            "2026-11-25T19:00:00Z",
            "2026-11-26 04:00:00+09:00",
            "30m",
        ] {
            assert_eq!(of(text), Some(When::At(datetime!(2026-11-25 19:00 UTC))), "{text}");
        }
        for wrong in [
            "",
            "latest",
            "noon",
            "2026-11-26T03-00-00Z",
            "2026-13-01",
            "11-26 03:00",
            "9999-12-31",
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        assert!(required("--at", "noon", now, &taipei).is_err());
    }
}
