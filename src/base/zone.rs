//! The zone in which times are shown to people and read from them, by parameter: only the wiring takes the system's.

use std::fmt;
use std::sync::Arc;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

pub(crate) const MINUTE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]");
const SHORT: &[BorrowedFormatItem<'_>] = format_description!("[month]-[day] [hour]:[minute]");
pub(crate) const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

/// What is older is told by its day alone: a month and a day would be taken for those of this year.
const LONG_AGO: time::Duration = time::Duration::days(300);

/// The offset of a place from UTC, which depends on the time.
#[derive(Clone)]
pub struct Zone(Arc<dyn Fn(OffsetDateTime) -> UtcOffset + Send + Sync>);

impl Zone {
    pub fn new(offset: impl Fn(OffsetDateTime) -> UtcOffset + Send + Sync + 'static) -> Self {
        Self(Arc::new(offset))
    }

    pub fn utc() -> Self {
        Self::new(|_| UtcOffset::UTC)
    }

    /// That of the system: `TZ`, or `/etc/localtime`. Without either, as in a container, it is UTC.
    pub fn system() -> Self {
        Self::new(|time| {
            let seconds = chrono::DateTime::from_timestamp(time.unix_timestamp(), 0)
                .map(|time| time.with_timezone(&chrono::Local).offset().local_minus_utc());
            let offset = seconds.and_then(|seconds| UtcOffset::from_whole_seconds(seconds).ok());
            offset.unwrap_or(UtcOffset::UTC)
        })
    }

    /// The time as a clock there shows it.
    pub fn local(&self, time: OffsetDateTime) -> OffsetDateTime {
        time.checked_to_offset((self.0)(time)).unwrap_or(time)
    }

    /// When a clock there shows this. Of an hour that a change of the clocks skips or repeats, one of the two.
    pub(crate) fn instant(&self, shown: PrimitiveDateTime) -> OffsetDateTime {
        let first = shown.assume_offset((self.0)(shown.assume_utc()));
        let instant = shown.assume_offset((self.0)(first));
        instant.checked_to_offset(UtcOffset::UTC).unwrap_or(instant)
    }

    /// `2026-11-26 06:02`.
    pub(crate) fn minute(&self, time: OffsetDateTime) -> String {
        self.shown(time, MINUTE)
    }

    /// `11-26 06:02`, or of what is long ago or still to come `2025-11-26`.
    pub(crate) fn short(&self, time: OffsetDateTime, now: OffsetDateTime) -> String {
        let is_near = (time - now).abs() < LONG_AGO;
        self.shown(time, if is_near { SHORT } else { DAY })
    }

    /// `+08:00`, or `UTC`.
    pub(crate) fn name(&self, time: OffsetDateTime) -> String {
        let offset = (self.0)(time);
        if offset.is_utc() {
            return "UTC".to_owned();
        }
        let (hours, minutes, _) = offset.as_hms();
        let sign = if offset.is_negative() { '-' } else { '+' };
        format!("{sign}{:02}:{:02}", hours.abs(), minutes.abs())
    }

    fn shown(&self, time: OffsetDateTime, format: &[BorrowedFormatItem<'_>]) -> String {
        let local = self.local(time);
        local.format(format).unwrap_or_else(|_| local.to_string())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Zone")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::{datetime, offset};

    /// The clocks go back by an hour at 01:00 UTC.
    fn berlin() -> Zone {
        Zone::new(|time| match time < datetime!(2026-10-25 01:00 UTC) {
            true => offset!(+2),
            false => offset!(+1),
        })
    }

    #[test]
    fn a_time_is_shown_and_read_as_the_clock_there_shows_it() {
        let zone = berlin();
        for (time, shown) in [
            (datetime!(2026-10-24 22:30 UTC), datetime!(2026-10-25 00:30)),
            (datetime!(2026-10-25 04:00 UTC), datetime!(2026-10-25 05:00)),
            (datetime!(2026-11-26 00:00 UTC), datetime!(2026-11-26 01:00)),
        ] {
            assert_eq!(zone.local(time), shown.assume_offset((zone.0)(time)));
            assert_eq!(zone.instant(shown), time);
        }
        let time = datetime!(2026-11-26 23:05 UTC);
        assert_eq!(zone.minute(time), "2026-11-27 00:05");
        assert_eq!(zone.short(time, time), "11-27 00:05");
        assert_eq!(zone.short(time, datetime!(2028-01-01 0:00 UTC)), "2026-11-27");
        assert_eq!(
            (zone.name(time).as_str(), Zone::utc().name(time).as_str()),
            ("+01:00", "UTC")
        );
        let west = Zone::new(|_| offset!(-3:30));
        assert_eq!(west.name(time), "-03:30");
    }
}
