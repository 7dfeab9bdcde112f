//! How long sessions live, as pure functions of `now`.

use std::time::Duration;

/// Limits that a session gets when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Longest life after the sign-in (or the latest explicit refresh). 24 h by default.
    pub absolute: Duration,
    /// Longest time unused; `None` means no limit.
    pub idle: Option<Duration>,
    /// How long a replaced credential and a replaced refresh token still serve. 30 s by default.
    pub grace: Duration,
    /// An access token within this much of its expiry counts as run out. 10 s by default.
    pub refresh_before: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            absolute: Duration::from_hours(24),
            idle: None,
            grace: Duration::from_secs(30),
            refresh_before: Duration::from_secs(10),
        }
    }
}
