//! Token buckets and failed-login counters.

use std::collections::HashMap;
use std::net::IpAddr;

use time::OffsetDateTime;

use crate::message::{Response, set_header};
use crate::settings::Bucket;

/// How full a bucket is after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    /// When the bucket is full again, in seconds since the epoch.
    pub(crate) reset: i64,
    /// Seconds until one more request fits.
    pub(crate) wait: u64,
    pub(crate) allowed: bool,
}

impl Level {
    /// The headers that say how full the bucket is.
    pub(crate) fn set_headers(self, response: &mut Response) {
        for (name, value) in [
            ("x-ratelimit-limit", self.limit.to_string()),
            ("x-ratelimit-remaining", self.remaining.to_string()),
            ("x-ratelimit-reset", self.reset.to_string()),
        ] {
            set_header(response, name, &value);
        }
    }
}

/// Buckets by what they limit and for whom.
#[derive(Debug, Default)]
pub(crate) struct Buckets(HashMap<(&'static str, String), (f64, OffsetDateTime)>);

impl Buckets {
    pub(crate) fn take(
        &mut self,
        kind: &'static str,
        whose: String,
        bucket: Bucket,
        now: OffsetDateTime,
    ) -> Level {
        let burst = f64::from(bucket.burst);
        let per_second = f64::from(bucket.per_minute) / 60.0;
        let (fill, since) = self.0.entry((kind, whose)).or_insert((burst, now));
        *fill = (*fill + (now - *since).as_seconds_f64() * per_second).min(burst);
        *since = now;
        let allowed = *fill >= 1.0;
        if allowed {
            *fill -= 1.0;
        }
        Level {
            limit: bucket.burst,
            remaining: whole(*fill),
            reset: now.unix_timestamp() + i64::from(whole((burst - *fill) / per_second + 1.0)),
            wait: u64::from(whole(((1.0 - *fill) / per_second).max(0.0) + 1.0)),
            allowed,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the range of the target"
)]
fn whole(number: f64) -> u32 {
    number.clamp(0.0, f64::from(u32::MAX)) as u32
}

/// Failed logins by canonical identifier and address.
#[derive(Debug, Default)]
pub(crate) struct Failures(HashMap<(String, IpAddr), u32>);

impl Failures {
    pub(crate) fn count(&self, identifier: &str, address: IpAddr) -> u32 {
        let key = (identifier.to_owned(), address);
        self.0.get(&key).copied().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, identifier: &str, address: IpAddr) {
        // Enough identifiers to test with; a flood of made-up ones starts over.
        if self.0.len() >= 100_000 {
            self.0.clear();
        }
        *self.0.entry((identifier.to_owned(), address)).or_insert(0) += 1;
    }

    /// Addresses from which the identifier has failed often enough to be blocked.
    pub(crate) fn blocked(&self, identifier: &str, limit: Option<u32>) -> Vec<IpAddr> {
        let failed = self.0.iter().filter(|((name, _), count)| {
            name == identifier && limit.is_some_and(|limit| **count >= limit)
        });
        let mut addresses: Vec<IpAddr> = failed.map(|((_, address), _)| *address).collect();
        addresses.sort();
        addresses
    }

    pub(crate) fn forget_everywhere(&mut self, identifier: &str) {
        self.0.retain(|(name, _), _| name != identifier);
    }

    pub(crate) fn forget(&mut self, identifier: &str, address: IpAddr) {
        self.0.remove(&(identifier.to_owned(), address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_fills() {
        let bucket = Bucket {
            burst: 2,
            per_minute: 60,
        };
        let start = OffsetDateTime::UNIX_EPOCH;
        let mut buckets = Buckets::default();
        let mut take = |seconds: i64, whose: &str| {
            let now = start + time::Duration::seconds(seconds);
            buckets.take("userinfo", whose.to_owned(), bucket, now)
        };
        assert_eq!(take(0, "mia").remaining, 1);
        assert!(take(0, "mia").allowed);
        let refused = take(0, "mia");
        assert!(!refused.allowed);
        assert_eq!((refused.remaining, refused.limit), (0, 2));
        assert!(refused.wait >= 1);
        assert!(take(0, "bob").allowed);
        assert!(take(1, "mia").allowed);
        assert!(!take(1, "mia").allowed);
    }
}
