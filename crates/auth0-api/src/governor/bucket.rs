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
/// Most tokens that one [`Window`] counts.
const WINDOW: u32 = 64;

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
    window: Option<Window>,
}

/// What came and went since an answer: over a while that says more about the pace than any header,
/// which knows whole seconds only.
#[derive(Debug)]
struct Window {
    /// When the call was admitted that was answered so. Auth0 counted it no earlier.
    since: Instant,
    remaining: u32,
    /// Calls under way then: perhaps counted already.
    under_way: u32,
    answered: u32,
}

/// Time in which one token comes back, and how well that is known.
#[derive(Debug)]
struct Pace {
    per_token: Duration,
    /// The least that it can be, as far as is known.
    least: Duration,
    span: u32,
    missing: u32,
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
                least: Duration::ZERO,
                span: 0,
                missing: 0,
                at: now,
            },
            latest: None,
            latest_at: now,
            window: None,
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
        let stale = now >= pace.at + STALE && missing * 2 >= pace.missing;
        let better = missing == pace.missing && span < pace.span;
        if missing > pace.missing || better || stale {
            let of = |seconds: u32| Duration::from_secs(seconds.into()) / missing;
            pace.per_token = of(span).clamp(FASTEST, SLOWEST);
            // A second is lost at either end, and at the empty bucket hardly both.
            pace.least = if missing < self.limit {
                of(span.saturating_sub(2))
            } else {
                of(span - 1).max(pace.per_token / 2)
            };
            (pace.span, pace.missing, pace.at) = (span, missing, now);
        }
    }

    /// Takes in that a call was served: admitted then, and answered like this.
    pub(super) fn served(
        &mut self,
        rates: &Rates,
        admitted: Instant,
        under_way: u32,
        now: Instant,
    ) {
        let fresh = Window {
            since: admitted,
            remaining: rates.remaining,
            under_way,
            answered: 0,
        };
        let Some(window) = &mut self.window else {
            self.window = Some(fresh);
            return;
        };
        window.answered += 1;
        let came =
            (rates.remaining + window.answered).saturating_sub(window.remaining + window.under_way);
        let took = now.saturating_duration_since(window.since);
        // Tokens are counted in wholes, so that one more or less may have come. A bucket that was full
        // for a while got even less than it could have.
        let per_token = took / came.saturating_sub(1).max(1);
        let pace = &mut self.pace;
        if came > 1 && per_token < pace.per_token {
            pace.per_token = per_token.max(FASTEST);
            pace.least = (took / (came + 1)).min(pace.per_token);
        }
        // Much time with little use says nothing any more.
        if window.answered >= WINDOW || took > pace.per_token * (came + 4) {
            self.window = Some(fresh);
        }
    }

    /// How long until there is a token for a call of this lane when `ahead` others go first.
    pub(super) fn wait(&self, lane: Lane, ahead: usize, now: Instant) -> Duration {
        self.wait_at(self.pace.per_token, lane, ahead, now)
    }

    /// The least that the wait can be, as far as is known: what a call is turned away by.
    pub(super) fn least_wait(&self, lane: Lane, ahead: usize, now: Instant) -> Duration {
        self.wait_at(self.pace.least.min(self.pace.per_token), lane, ahead, now)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(limit: u32, remaining: u32, reset: i64, date: i64) -> Rates {
        Rates {
            limit,
            remaining,
            reset: Some(reset),
            date: Some(date),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_emptier_the_bucket_the_surer_the_pace() {
        let now = Instant::now();
        let mut bucket = Bucket::new(&rates(50, 49, 101, 100), 0, now);
        assert_eq!(bucket.per_token(), Duration::from_secs(1));
        // Sixteen a second.
        bucket.learn(&rates(50, 0, 105, 101), 0, now);
        assert_eq!(bucket.per_token(), Duration::from_millis(80));
        bucket.learn(&rates(50, 0, 107, 102), 0, now);
        assert_eq!(bucket.per_token(), Duration::from_millis(80));
        bucket.learn(&rates(50, 40, 108, 107), 0, now);
        assert_eq!(bucket.per_token(), Duration::from_millis(80));
        // Many are turned away by no more than what is sure.
        let (wait, least) = (
            bucket.wait(Lane::Login, 79, now),
            bucket.least_wait(Lane::Login, 79, now),
        );
        assert!(least < wait && least > wait / 2, "{least:?} {wait:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn answers_may_overtake_each_other() {
        let now = Instant::now();
        let mut bucket = Bucket::new(&rates(50, 20, 103, 100), 0, now);
        assert!((bucket.level(now) - 20.0).abs() < 1e-6);
        // Given before, come after.
        bucket.learn(&rates(50, 45, 101, 100), 0, now);
        assert!((bucket.level(now) - 20.0).abs() < 1e-6);
        // Somebody else takes from it as well.
        bucket.learn(&rates(50, 5, 104, 100), 0, now);
        assert!((bucket.level(now) - 5.0).abs() < 1e-6);
        // Fuller than was reckoned, but for three that may not be counted yet.
        bucket.learn(&rates(50, 30, 105, 104), 3, now);
        assert!((bucket.level(now) - 27.0).abs() < 1e-6);
    }

    #[tokio::test(start_paused = true)]
    async fn use_tells_the_pace_when_the_headers_cannot() {
        let begun = Instant::now();
        // Half a second each; the headers, at this phase, always say two seconds for two.
        let mut bucket = Bucket::new(&rates(2, 0, 102, 100), 0, begun);
        assert_eq!(bucket.per_token(), Duration::from_secs(1));
        for second in 1_i64..=8 {
            let now = begun + Duration::from_secs(second.unsigned_abs());
            for remaining in [1, 0] {
                let answer = rates(2, remaining, 102 + second, 100 + second);
                bucket.learn(&answer, 0, now);
                bucket.served(&answer, now, 0, now);
            }
        }
        let pace = bucket.per_token();
        assert!(pace >= Duration::from_millis(500), "{pace:?}");
        assert!(pace <= Duration::from_millis(560), "{pace:?}");
    }
}
