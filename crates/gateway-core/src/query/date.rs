//! Dates as people write them: a year, a month, a day, a second, an instant. Each is a span of time.

use time::format_description::well_known::Rfc3339;
use time::macros::{format_description, time};
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, UtcOffset};

/// A span: its first and its last millisecond, as Auth0 spells them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: String,
    pub(super) last: String,
}

/// Reads `2018`, `2018-01`, `2018-01-15`, or an instant of RFC 3339. `None` when it is none of them.
pub(super) fn parse(text: &str) -> Option<Span> {
    let (first, last) = match text.len() {
        4 => {
            let year = text
                .bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| text.parse().ok())??;
            (day(year, 1, 1)?, end(day(year, 12, 31)?))
        }
        7 => {
            let (year, month) = numbers(text)?;
            let first = day(year, month, 1)?;
            (first, end(day(year, month, first.month().length(year))?))
        }
        10 => {
            let (year, month) = numbers(text.get(..7)?)?;
            let rest = text.get(7..)?.strip_prefix('-')?;
            let start = day(year, month, digits(rest)?)?;
            (start, end(start))
        }
        _ => {
            let instant = OffsetDateTime::parse(text, &Rfc3339).ok()?;
            let instant = instant.checked_to_offset(UtcOffset::UTC)?;
            if text.contains('.') {
                (instant, instant)
            } else {
                (instant, instant.replace_millisecond(999).ok()?)
            }
        }
    };
    Some(Span {
        first: instant(first)?,
        last: instant(last)?,
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

/// The last millisecond of a day.
fn end(day: OffsetDateTime) -> OffsetDateTime {
    day.replace_time(time!(23:59:59.999))
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
                "9999",
                "9999-01-01T00:00:00.000Z",
                "9999-12-31T23:59:59.999Z",
            ),
            (
                "9999-12",
                "9999-12-01T00:00:00.000Z",
                "9999-12-31T23:59:59.999Z",
            ),
            (
                "9999-12-31",
                "9999-12-31T00:00:00.000Z",
                "9999-12-31T23:59:59.999Z",
            ),
            (
                "9999-12-31T23:59:59Z",
                "9999-12-31T23:59:59.000Z",
                "9999-12-31T23:59:59.999Z",
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
        fn never_panics(text: String, date in "[0-9]{4}(-[01][0-9](-[0-3][0-9](T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](\\.[0-9]{1,9})?(Z|[+-][0-2][0-9]:[0-5][0-9]))?)?)?") {
            let _ = parse(&text);
            let _ = parse(&date);
        }
    }
}
