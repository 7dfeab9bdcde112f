//! The tenant's own clock: wall time plus an offset that tests move forward.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// Auth0 prints every date of a user with exactly three decimals.
const WITH_MILLISECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Wall time plus an offset; every lifetime in the tenant is judged by it.
#[derive(Debug, Default)]
pub(crate) struct TenantClock {
    ahead_ms: AtomicI64,
}

impl TenantClock {
    /// The tenant's idea of now.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one reader of wall time in the crate"
    )]
    pub(crate) fn now(&self) -> OffsetDateTime {
        let ahead = time::Duration::milliseconds(self.ahead_ms.load(Ordering::Relaxed));
        OffsetDateTime::from(SystemTime::now()).saturating_add(ahead)
    }

    /// Moves the clock forward, for good.
    pub(crate) fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        // The closure never refuses, so there is no failure to look at.
        let _ = self
            .ahead_ms
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |ahead| {
                Some(ahead.saturating_add(by))
            });
    }
}

/// A date as Auth0 prints it: `2026-03-01T10:11:12.131Z`.
pub(crate) fn iso(at: OffsetDateTime) -> String {
    at.to_offset(time::UtcOffset::UTC)
        .format(WITH_MILLISECONDS)
        .unwrap_or_default()
}

/// Reads a date as [`iso`] prints it, or any other of RFC 3339.
pub(crate) fn from_iso(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()
}

/// `at` plus a lifetime; stops at the end of time instead of panicking.
pub(crate) fn later(at: OffsetDateTime, by: Duration) -> OffsetDateTime {
    at.saturating_add(time::Duration::try_from(by).unwrap_or(time::Duration::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_forward_and_never_overflows() {
        let clock = TenantClock::default();
        let before = clock.now();
        clock.advance(Duration::from_secs(3600));
        assert!(clock.now() - before >= time::Duration::hours(1));
        clock.advance(Duration::MAX);
        clock.advance(Duration::MAX);
        assert!(clock.now() > before);
    }

    #[test]
    fn prints_dates_as_auth0_does() {
        let at = OffsetDateTime::UNIX_EPOCH + time::Duration::milliseconds(1_772_360_672_131);
        assert_eq!(iso(at), "2026-03-01T10:24:32.131Z");
    }
}
