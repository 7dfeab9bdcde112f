//! Faults on demand: what an Auth0 tenant does on a bad day.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::forge::Forgery;

/// A fault that hits matching requests. Several can wait at once: every matching
/// [`Delay`](FaultKind::Delay), [`Forge`](FaultKind::Forge) and
/// [`FailJob`](FaultKind::FailJob) hits a request, of the other kinds only the one
/// injected first.
///
/// ```
/// use dev_tenant::{Fault, FaultKind};
///
/// // The answer to one refresh gets lost after the tenant has rotated the token.
/// let fault = Fault::on("/oauth/token", FaultKind::CutAfter)
///     .grant_type("refresh_token")
///     .times(1);
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The path it hits, as in `/oauth/token`; one that ends in `*` hits every path that
    /// starts like it. `/backchannel-logout` hits the logout
    /// tokens that the tenant sends (only [`FaultKind::Forge`] does anything there).
    pub path: String,
    /// Hits only requests with this method.
    #[serde(default)]
    pub method: Option<String>,
    /// Hits only requests with this `grant_type`.
    #[serde(default)]
    pub grant_type: Option<String>,
    /// How many requests it hits; until cleared when unset.
    #[serde(default)]
    pub times: Option<u32>,
    /// What happens.
    pub kind: FaultKind,
}

impl Fault {
    /// A fault on a path, until cleared.
    #[must_use]
    pub fn on(path: &str, kind: FaultKind) -> Self {
        Self {
            path: path.to_owned(),
            method: None,
            grant_type: None,
            times: None,
            kind,
        }
    }

    /// Hits only requests with this method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Hits only requests with this `grant_type`.
    #[must_use]
    pub fn grant_type(mut self, grant_type: &str) -> Self {
        self.grant_type = Some(grant_type.to_owned());
        self
    }

    /// Hits this many requests and is gone.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }
}

/// What happens to a request that a [`Fault`] hits.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum FaultKind {
    /// 429 `too_many_requests` with the rate limit headers; nothing is done.
    RateLimited {
        /// Seconds of the `Retry-After` header; left out when unset.
        #[serde(default)]
        retry_after: Option<u64>,
        /// Seconds until the instant in `x-ratelimit-reset`.
        #[serde(default = "one")]
        reset_in: u64,
    },
    /// An answer with this status and body; nothing is done. A body that starts with
    /// `{` is JSON, any other HTML.
    Status {
        /// The status, 200 to 599.
        #[serde(deserialize_with = "status")]
        status: u16,
        /// The body.
        #[serde(default)]
        body: String,
    },
    /// The answer comes this much later (in JSON: `{"delay_ms": 500}`).
    #[serde(rename = "delay_ms", deserialize_with = "milliseconds")]
    Delay(Duration),
    /// The connection is closed before anything is done.
    CutBefore,
    /// Everything is done, then the connection is closed without an answer.
    CutAfter,
    /// Everything is done, then the body of the answer breaks off in the middle.
    Truncated,
    /// The import job that the request starts fails as a whole.
    FailJob,
    /// The ID token of the answer, or the logout token that is sent, is forged.
    Forge(Forgery),
}

fn one() -> u64 {
    1
}

fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let status = u16::deserialize(deserializer)?;
    if (200..600).contains(&status) {
        Ok(status)
    } else {
        Err(serde::de::Error::custom("a status is 200 to 599"))
    }
}

/// The faults that wait.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

/// What hits one request.
#[derive(Debug, Default)]
pub(crate) struct Hit {
    pub(crate) delay: Duration,
    pub(crate) forgeries: Vec<Forgery>,
    pub(crate) fails_job: bool,
    /// At most one of the kinds that replace the answer or cut the connection.
    pub(crate) instead: Option<FaultKind>,
}

impl Faults {
    pub(crate) fn inject(&mut self, fault: Fault) {
        if fault.times != Some(0) {
            self.0.push(fault);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes what hits this request, and counts it.
    pub(crate) fn hit(&mut self, method: &str, path: &str, grant_type: Option<&str>) -> Hit {
        let mut hit = Hit::default();
        for fault in &mut self.0 {
            let at_path = match fault.path.strip_suffix('*') {
                Some(start) => path.starts_with(start),
                None => fault.path == path,
            };
            let for_this = at_path
                && fault.method.as_deref().is_none_or(|only| only == method)
                && (fault.grant_type.is_none() || fault.grant_type.as_deref() == grant_type);
            if !for_this {
                continue;
            }
            match &fault.kind {
                FaultKind::Delay(delay) => hit.delay = hit.delay.saturating_add(*delay),
                FaultKind::Forge(forgery) => hit.forgeries.push(forgery.clone()),
                FaultKind::FailJob => hit.fails_job = true,
                _ if hit.instead.is_some() => continue,
                kind => hit.instead = Some(kind.clone()),
            }
            if let Some(times) = &mut fault.times {
                *times -= 1;
            }
        }
        self.0.retain(|fault| fault.times != Some(0));
        hit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fault_that_replaces_the_answer_hits_at_a_time() {
        let mut faults = Faults::default();
        faults.inject(Fault::on("/oauth/token", FaultKind::CutBefore).times(1));
        faults.inject(Fault::on("/oauth/token", FaultKind::CutAfter).times(1));
        faults.inject(Fault::on(
            "/oauth/token",
            FaultKind::Delay(Duration::from_millis(5)),
        ));
        let first = faults.hit("POST", "/oauth/token", None);
        assert_eq!(first.instead, Some(FaultKind::CutBefore));
        assert_eq!(first.delay, Duration::from_millis(5));
        assert_eq!(
            faults.hit("POST", "/oauth/token", None).instead,
            Some(FaultKind::CutAfter)
        );
        assert_eq!(faults.hit("POST", "/oauth/token", None).instead, None);
        assert_eq!(faults.len(), 1, "the delay stays until cleared");
    }

    #[test]
    fn path_and_grant_type_must_match() {
        let mut faults = Faults::default();
        faults.inject(Fault::on("/oauth/token", FaultKind::CutBefore).grant_type("refresh_token"));
        assert!(faults.hit("POST", "/userinfo", None).instead.is_none());
        assert!(
            faults
                .hit("POST", "/oauth/token", Some("password"))
                .instead
                .is_none()
        );
        assert!(faults.hit("POST", "/oauth/token", None).instead.is_none());
        assert!(
            faults
                .hit("POST", "/oauth/token", Some("refresh_token"))
                .instead
                .is_some()
        );
    }

    #[test]
    fn reads_every_kind_from_json() {
        for (json, kind) in [
            (r#""cut_before""#, FaultKind::CutBefore),
            (r#""cut_after""#, FaultKind::CutAfter),
            (r#""truncated""#, FaultKind::Truncated),
            (
                r#"{"delay_ms":500}"#,
                FaultKind::Delay(Duration::from_millis(500)),
            ),
            (
                r#"{"rate_limited":{"retry_after":2}}"#,
                FaultKind::RateLimited {
                    retry_after: Some(2),
                    reset_in: 1,
                },
            ),
            (
                r#"{"status":{"status":502,"body":"<h1>Bad Gateway</h1>"}}"#,
                FaultKind::Status {
                    status: 502,
                    body: "<h1>Bad Gateway</h1>".to_owned(),
                },
            ),
            (
                r#"{"forge":"alg_none"}"#,
                FaultKind::Forge(Forgery::AlgNone),
            ),
            (
                r#"{"forge":{"time_as_string":"exp"}}"#,
                FaultKind::Forge(Forgery::TimeAsString("exp".to_owned())),
            ),
        ] {
            assert_eq!(serde_json::from_str::<FaultKind>(json).unwrap(), kind);
        }
        assert!(serde_json::from_str::<FaultKind>(r#"{"status":{"status":99}}"#).is_err());
        assert!(
            serde_json::from_str::<Fault>(r#"{"path":"/x","kind":"cut_after","tims":1}"#).is_err()
        );
    }
}
