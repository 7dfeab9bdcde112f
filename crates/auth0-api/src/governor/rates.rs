//! What an answer says about the tenant's rate limit.

use http::HeaderMap;

use crate::answer::{date, number};

/// The `x-ratelimit-*` headers and the answer's date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rates {
    /// Size of the bucket.
    pub(crate) limit: u32,
    /// What is left in it.
    pub(crate) remaining: u32,
    /// UNIX second at which the bucket is full again, if nothing more is taken.
    pub(crate) reset: Option<i64>,
    /// UNIX second of the answer, by the clock that `reset` goes by.
    pub(crate) date: Option<i64>,
}

impl Rates {
    /// Reads the headers; `None` when they are missing or make no sense.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        let limit = number(headers, "x-ratelimit-limit")?;
        let remaining = number(headers, "x-ratelimit-remaining")?;
        let reset = number(headers, "x-ratelimit-reset").and_then(|at| i64::try_from(at).ok());
        let limit = u32::try_from(limit).ok().filter(|limit| *limit > 0)?;
        Some(Self {
            limit,
            remaining: u32::try_from(remaining).unwrap_or(limit).min(limit),
            reset,
            date: date(headers).map(time::OffsetDateTime::unix_timestamp),
        })
    }

    /// Tokens missing from a full bucket.
    pub(super) fn missing(&self) -> u32 {
        self.limit - self.remaining
    }

    /// Seconds until the bucket is full. Both ends are whole seconds, so this is off by up to two.
    pub(super) fn span(&self) -> Option<u32> {
        let span = self.reset?.checked_sub(self.date?)?;
        u32::try_from(span).ok().filter(|span| *span > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_headers_and_believes_nothing_absurd() {
        let read = |limit: &str, remaining: &str, reset: &str| {
            let mut headers = HeaderMap::new();
            for (name, value) in [
                ("x-ratelimit-limit", limit),
                ("x-ratelimit-remaining", remaining),
                ("x-ratelimit-reset", reset),
                ("date", "Tue, 24 Nov 2026 04:00:00 GMT"),
            ] {
                headers.insert(name, value.parse().unwrap());
            }
            Rates::read(&headers)
        };
        let rates = read("50", "20", "1795492803").unwrap();
        assert_eq!((rates.missing(), rates.span()), (30, Some(3)));
        assert_eq!(read("2", "9", "0").unwrap().missing(), 0);
        assert_eq!(read("2", "0", "1795492700").unwrap().span(), None);
        assert_eq!(read("2", "0", "99999999999999999999").unwrap().span(), None);
        assert_eq!(read("0", "0", "0"), None);
        assert_eq!(read("many", "0", "0"), None);
        assert_eq!(Rates::read(&HeaderMap::new()), None);
    }
}
