//! A token bucket as seen from outside: how full it is, and how fast it fills.

use std::time::Duration;

use tokio::time::Instant;

use super::rates::Rates;
use crate::management::Lane;

/// How fast a bucket fills, until an answer says it.
const DEFAULT_PACE: Duration = Duration::from_secs(1);
/// Bounds of what is believed.
const FASTEST: Duration = Duration::from_millis(1);
const SLOWEST: Duration = Duration::from_secs(60);
/// After this long a measurement gives way to one that is not much worse.
const STALE: Duration = Duration::from_secs(60);
/// Answers of this age may overtake each other; one that comes later is news in any case.
const OVERTAKING: Duration = Duration::from_secs(2);
/// Measurements of the empty bucket after which the pace counts as known. Each is off by parts of a
/// second in another way, and the least of them is close to the truth.
const ENOUGH: u32 = 3;

/// An estimate of one bucket at Auth0.
#[derive(Debug)]
pub(super) struct Bucket {
    limit: u32,
    /// Tokens at [`Self::at`]; below zero when calls that are under way overdrew it.
    tokens: f64,
    at: Instant,
    pace: Pace,
    /// Orders answers as Auth0 gave them: the instant of the full bucket only ever moves on.
    latest: Option<(i64, Option<i64>, u32)>,
    latest_at: Instant,
}

/// Time in which one token comes back, and how well that is known.
#[derive(Debug)]
struct Pace {
    per_token: Duration,
    span: u32,
    missing: u32,
    samples: u32,
    at: Instant,
}

impl Bucket {
    /// A bucket that an answer spoke of for the first time, while `under_way` other calls may have
    /// taken from it or will.
    pub(super) fn new(rates: &Rates, under_way: u32, now: Instant) -> Self {
        let mut bucket = Self {
            limit: rates.limit,
            tokens: f64::from(rates.remaining) - f64::from(under_way),
            at: now,
            pace: Pace {
                per_token: DEFAULT_PACE,
                span: 0,
                missing: 0,
                samples: 0,
                at: now,
            },
            latest: None,
            latest_at: now,
        };
        bucket.learn(rates, under_way, now);
        bucket
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// Tokens now.
    pub(super) fn level(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at);
        let gained = passed.as_secs_f64() / self.pace.per_token.as_secs_f64();
        (self.tokens + gained).min(f64::from(self.limit))
    }

    pub(super) fn per_token(&self) -> Duration {
        self.pace.per_token
    }

    /// Spends tokens, or gives back (below zero) what was not spent after all.
    pub(super) fn spend(&mut self, tokens: f64, now: Instant) {
        self.tokens = self.level(now) - tokens;
        self.at = now;
    }

    /// A call was refused: there is not a whole token, and it did not spend the one it had.
    pub(super) fn emptied(&mut self, now: Instant) {
        self.tokens = (self.level(now) + 1.0).min(0.0);
        self.at = now;
    }

    /// Takes in what an answer says. `under_way` calls are admitted and not answered: Auth0 has
    /// counted some of them already, and which is not known.
    pub(super) fn learn(&mut self, rates: &Rates, under_way: u32, now: Instant) {
        let named = f64::from(rates.remaining);
        let mut tokens = self.level(now).min(named);
        let order = rates
            .reset
            .map(|reset| (reset, rates.date, rates.missing()));
        let overtaken = order < self.latest && now < self.latest_at + OVERTAKING;
        if !overtaken {
            tokens = tokens.max(named - f64::from(under_way));
            self.latest = order;
            self.latest_at = now;
        }
        self.tokens = tokens;
        self.at = now;
        self.learn_pace(rates, now);
    }

    /// The emptier the bucket, the less the rounding to whole seconds matters.
    fn learn_pace(&mut self, rates: &Rates, now: Instant) {
        let (Some(span), missing @ 1..) = (rates.span(), rates.missing()) else {
            return;
        };
        let pace = &mut self.pace;
        let per_token = Duration::from_secs(span.into()) / missing;
        let stale = now >= pace.at + STALE && missing * 2 >= pace.missing;
        if missing > pace.missing || stale {
            pace.samples = 1;
        } else if missing == pace.missing {
            pace.samples = pace.samples.saturating_add(1);
            if span > pace.span {
                return;
            }
        } else {
            return;
        }
        pace.per_token = per_token.clamp(FASTEST, SLOWEST);
        (pace.span, pace.missing, pace.at) = (span, missing, now);
    }

    /// How long until there is a token for a call of this lane when `ahead` others go first.
    pub(super) fn wait(&self, lane: Lane, ahead: usize, now: Instant) -> Duration {
        self.wait_at(self.pace.per_token, lane, ahead, now)
    }

    /// The least that the wait can be, as far as is known: what a call is turned away by.
    pub(super) fn least_wait(&self, lane: Lane, ahead: usize, now: Instant) -> Duration {
        let pace = &self.pace;
        let per_token = if pace.missing < self.limit {
            // A second lost at either end.
            Duration::from_secs(pace.span.saturating_sub(2).into()) / pace.missing.max(1)
        } else if pace.samples < ENOUGH {
            pace.per_token / 2
        } else {
            pace.per_token
        };
        self.wait_at(per_token.min(pace.per_token), lane, ahead, now)
    }

    fn wait_at(&self, per_token: Duration, lane: Lane, ahead: usize, now: Instant) -> Duration {
        let ahead = f64::from(u32::try_from(ahead).unwrap_or(u32::MAX));
        let needed = ahead + 1.0 + f64::from(self.reserve(lane));
        let short = (needed - self.level(now)).max(0.0);
        // A hair more, so that rounding does not wake a call just before its token is there.
        let wait = short * per_token.as_secs_f64();
        let wait = Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX);
        if wait.is_zero() {
            wait
        } else {
            wait.saturating_add(Duration::from_micros(1))
        }
    }

    /// Tokens that a lane leaves for those before it: none in a bucket so small that this would halve
    /// it.
    fn reserve(&self, lane: Lane) -> u32 {
        match lane {
            Lane::Login | Lane::Refresh => 0,
            Lane::Admin => self.limit / 10,
            Lane::Import => self.limit / 5,
        }
    }
}
