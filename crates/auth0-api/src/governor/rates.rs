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
