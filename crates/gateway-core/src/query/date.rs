//! Dates as people write them: a year, a month, a day, a second, an instant. Each is a span of time.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, Duration, Month, OffsetDateTime, PrimitiveDateTime, UtcOffset};

/// A span: its first and its last millisecond, as Auth0 spells them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: String,
    pub(super) last: String,
}

/// Reads `2018`, `2018-01`, `2018-01-15`, or an instant of RFC 3339. `None` when it is none of them.
pub(super) fn parse(text: &str) -> Option<Span> {
    let (start, end) = match text.len() {
        4 => {
            let year = text
                .bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| text.parse().ok())??;
            (day(year, 1, 1)?, day(year + 1, 1, 1)?)
        }
        7 => {
            let (year, month) = numbers(text)?;
            let next = if month == 12 {
                day(year + 1, 1, 1)?
            } else {
                day(year, month + 1, 1)?
            };
            (day(year, month, 1)?, next)
        }
        10 => {
            let (year, month) = numbers(text.get(..7)?)?;
            let rest = text.get(7..)?.strip_prefix('-')?;
            let start = day(year, month, digits(rest)?)?;
            (start, start + Duration::DAY)
        }
        _ => {
            let instant = OffsetDateTime::parse(text, &Rfc3339).ok()?;
            let whole = !text.contains('.');
            let length = if whole {
                Duration::SECOND
            } else {
                Duration::MILLISECOND
            };
            let instant = instant.checked_to_offset(UtcOffset::UTC)?;
            (instant, instant.checked_add(length)?)
        }
    };
    Some(Span {
        first: instant(start)?,
        last: instant(end.checked_sub(Duration::MILLISECOND)?)?,
    })
}

/// As Auth0 spells an instant.
fn instant(at: OffsetDateTime) -> Option<String> {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let text = at.format(&format).ok()?;
    // A year of five digits would have a sign.
    (text.len() == 24).then_some(text)
}

fn day(year: i32, month: u8, day: u8) -> Option<OffsetDateTime> {
    let date = Date::from_calendar_date(year, Month::try_from(month).ok()?, day).ok()?;
    Some(PrimitiveDateTime::new(date, time::Time::MIDNIGHT).assume_utc())
}

fn numbers(text: &str) -> Option<(i32, u8)> {
    let (year, month) = text.split_once('-')?;
    let four = year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit());
    Some((four.then(|| year.parse().ok())??, digits(month)?))
}

fn digits(text: &str) -> Option<u8> {
    let two = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
    two.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_the_span_it_names() {
        for (text, first, last) in [
            (
                "2018",
                "2018-01-01T00:00:00.000Z",
                "2018-12-31T23:59:59.999Z",
            ),
            (
                "2017-12",
                "2017-12-01T00:00:00.000Z",
                "2017-12-31T23:59:59.999Z",
            ),
            (
                "2024-02",
                "2024-02-01T00:00:00.000Z",
                "2024-02-29T23:59:59.999Z",
            ),
            (
                "2018-01-15",
                "2018-01-15T00:00:00.000Z",
                "2018-01-15T23:59:59.999Z",
            ),
            (
                "2018-01-15T10:00:00Z",
                "2018-01-15T10:00:00.000Z",
                "2018-01-15T10:00:00.999Z",
            ),
            (
                "2018-01-15T10:00:00.5+02:00",
                "2018-01-15T08:00:00.500Z",
                "2018-01-15T08:00:00.500Z",
            ),
        ] {
            let span = parse(text).unwrap();
            assert_eq!(
                (span.first.as_str(), span.last.as_str()),
                (first, last),
                "{text}"
            );
        }
        for text in [
            "",
            "x",
            "20180115",
            "2018-13",
            "2018-02-30",
            "2018-1-1",
            "+201",
            "2018/01/15",
            "0x12",
            "2018-01-15 10:00",
            "\u{0661}\u{0661}",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text: String) {
            let _ = parse(&text);
        }
    }
}
