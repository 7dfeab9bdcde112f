//! Dates as a search writes them: a year, a month, a day or an instant.

use time::{Date, Month, OffsetDateTime, Time, UtcOffset};

/// The milliseconds since the epoch that a date stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: i128,
    pub(super) last: i128,
}

/// Reads `2018`, `2017-12`, `2018-01-15`, `2018-01-15T10:11`, `…:12.131Z`, `…+01:00`.
/// Without an offset it is UTC.
pub(super) fn read(text: &str) -> Option<Span> {
    let mut rest = text;
    let year: i32 = digits(&mut rest, 4)?.try_into().ok()?;
    let month = after(&mut rest, "-", 2)?;
    let day = month.map_or(Some(None), |_| after(&mut rest, "-", 2))?;
    let hour = day.map_or(Some(None), |_| after(&mut rest, "T", 2))?;
    let minute = hour.map_or(Some(None), |_| after(&mut rest, ":", 2))?;
    let second = minute.map_or(Some(None), |_| after(&mut rest, ":", 2))?;
    let millisecond = match second.and_then(|_| rest.strip_prefix('.')) {
        None => None,
        Some(fraction) => {
            let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = fraction.split_at(length);
            rest = after;
            Some(milliseconds(number)?)
        }
    };
    let offset = if hour.is_some() {
        offset(&mut rest)?
    } else {
        UtcOffset::UTC
    };
    if !rest.is_empty() {
        return None;
    }
    let start = |year, month: u32, day: u32, time| {
        let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
        let date = Date::from_calendar_date(year, month, u8::try_from(day).ok()?).ok()?;
        let at = OffsetDateTime::new_in_offset(date, time, offset);
        Some(at.unix_timestamp_nanos() / 1_000_000)
    };
    let midnight = Time::MIDNIGHT;
    let small = |number: Option<u32>| u8::try_from(number.unwrap_or(0)).ok();
    let time = Time::from_hms_milli(
        small(hour)?,
        small(minute)?,
        small(second)?,
        millisecond.unwrap_or(0),
    )
    .ok()?;
    let first = start(year, month.unwrap_or(1), day.unwrap_or(1), time)?;
    let length = match (month, day, hour, minute, second, millisecond) {
        (None, ..) => start(year.checked_add(1)?, 1, 1, midnight)? - first,
        (Some(12), None, ..) => start(year.checked_add(1)?, 1, 1, midnight)? - first,
        (Some(month), None, ..) => start(year, month + 1, 1, midnight)? - first,
        (_, _, None, ..) => 86_400_000,
        (_, _, _, None, ..) => 3_600_000,
        (_, _, _, _, None, _) => 60_000,
        (_, _, _, _, _, None) => 1000,
        _ => 1,
    };
    Some(Span {
        first,
        last: first + length - 1,
    })
}

fn digits(rest: &mut &str, count: usize) -> Option<u32> {
    let (number, after) = rest.split_at_checked(count)?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    *rest = after;
    number.parse().ok()
}

/// Digits behind a separator; `Some(None)` without the separator.
fn after(rest: &mut &str, separator: &str, count: usize) -> Option<Option<u32>> {
    match rest.strip_prefix(separator) {
        None => Some(None),
        Some(stripped) => {
            *rest = stripped;
            digits(rest, count).map(Some)
        }
    }
}

fn milliseconds(digits: &str) -> Option<u16> {
    if digits.is_empty() {
        return None;
    }
    format!("{digits:0<3}").get(..3)?.parse().ok()
}

fn offset(rest: &mut &str) -> Option<UtcOffset> {
    let sign = match rest.chars().next() {
        None => return Some(UtcOffset::UTC),
        Some('Z') => {
            *rest = rest.get(1..)?;
            return Some(UtcOffset::UTC);
        }
        Some('+') => 1,
        Some('-') => -1,
        Some(_) => return None,
    };
    *rest = rest.get(1..)?;
    let hours = i8::try_from(digits(rest, 2)?).ok()?;
    *rest = rest.strip_prefix(':').unwrap_or(rest);
    let minutes = i8::try_from(digits(rest, 2)?).ok()?;
    UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(text: &str) -> Option<i128> {
        read(text).map(|span| span.last - span.first + 1)
    }

    #[test]
    fn a_date_is_as_long_as_it_is_vague() {
        let day = 86_400_000;
        assert_eq!(length("2018"), Some(365 * day));
        assert_eq!(length("2017-12"), Some(31 * day));
        assert_eq!(length("2024-02"), Some(29 * day));
        assert_eq!(length("2018-01-15"), Some(day));
        assert_eq!(length("2018-01-15T10"), Some(3_600_000));
        assert_eq!(length("2018-01-15T10:11"), Some(60_000));
        assert_eq!(length("2018-01-15T10:11:12Z"), Some(1000));
        assert_eq!(length("2018-01-15T10:11:12.131Z"), Some(1));
        assert_eq!(
            read("2018-01-15T10:11:12.131Z"),
            read("2018-01-15T11:11:12.131456+01:00")
        );
    }

    #[test]
    fn anything_else_is_no_date() {
        for text in [
            "",
            "18",
            "2018-",
            "2018-13",
            "2018-02-30",
            "2018-01-15T",
            "2018-01-15T25",
            "2018x",
            "2018-01-15Z",
            "20é8",
            "2018-01-15T10:11:12.Z",
            "2018-01-15T10:11:12+1",
            "9999999",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
