//! What Auth0 answers over HTTP, sorted by what can be done about it.

use std::time::Duration;

use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::{Error, ErrorCode, Refusal, wire};

/// An answer, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// How refusals of an API look.
#[derive(Clone, Copy)]
pub(crate) enum Dialect {
    /// `{"error":…,"error_description":…}` and its relatives.
    Authentication,
    /// `{"statusCode":…,"error":…,"message":…,"errorCode":…}`, which is passed on whole.
    Management,
}

impl Answer {
    /// The body of a success, or what went wrong.
    pub(crate) fn into_body(self, dialect: Dialect) -> Result<Vec<u8>, Error> {
        if self.status.is_success() {
            Ok(self.body)
        } else {
            Err(self.failure(dialect))
        }
    }

    /// Sorts an answer that is no success.
    pub(crate) fn failure(&self, dialect: Dialect) -> Error {
        let (status, headers) = (self.status, &self.headers);
        let refusal = match dialect {
            Dialect::Authentication => wire::refusal(status.as_u16(), &self.body),
            Dialect::Management => wire::management_refusal(status.as_u16(), &self.body),
        };
        if status == StatusCode::TOO_MANY_REQUESTS {
            let refusal = refusal.unwrap_or_else(|| bare(status, ErrorCode::TooManyRequests));
            // A block after too many attempts lasts for days: the bucket's reset says nothing about it.
            let blocked = refusal.code == ErrorCode::TooManyAttempts;
            let retry_after = if blocked {
                seconds(headers, "retry-after")
            } else {
                retry_after(headers)
            };
            return Error::RateLimited {
                retry_after,
                refusal,
            };
        }
        if status.is_client_error() {
            return match refusal {
                Some(refusal) => Error::Refused(refusal),
                None => match plain_text_code(status) {
                    Some(code) => Error::Refused(bare(status, code)),
                    None => unavailable(status, headers),
                },
            };
        }
        if status.is_redirection() {
            return Error::Unexpected("a redirect");
        }
        unavailable(status, headers)
    }
}

/// The statuses that say enough without a JSON body: `/userinfo` refuses in plain text, and a server in
/// front of Auth0 refuses what is too long.
fn plain_text_code(status: StatusCode) -> Option<ErrorCode> {
    let code = match status {
        StatusCode::UNAUTHORIZED => "invalid_token",
        StatusCode::PAYLOAD_TOO_LARGE => "payload_too_large",
        StatusCode::URI_TOO_LONG => "uri_too_long",
        _ => return None,
    };
    Some(ErrorCode::Other(code.to_owned()))
}

fn unavailable(status: StatusCode, headers: &HeaderMap) -> Error {
    Error::Unavailable {
        status: status.as_u16(),
        retry_after: retry_after(headers),
    }
}

/// A refusal that is nothing but a status and a code.
pub(crate) fn bare(status: StatusCode, code: ErrorCode) -> Refusal {
    Refusal {
        status: status.as_u16(),
        code,
        description: None,
        mfa_token: None,
        mfa_requirements: None,
        body: None,
    }
}

/// How long to wait: `Retry-After` (seconds or a date), else `x-ratelimit-reset` (an instant). Dates
/// are read against the answer's own `Date`, so that our clock does not matter.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    if headers.contains_key(RETRY_AFTER) {
        return named_wait(headers);
    }
    let reset = i64::try_from(seconds(headers, "x-ratelimit-reset")?.as_secs()).ok()?;
    let until = OffsetDateTime::from_unix_timestamp(reset).ok()?;
    Some(Duration::try_from(until - date(headers)?).unwrap_or_default())
}

/// `Retry-After` alone, in either of its forms.
pub(crate) fn named_wait(headers: &HeaderMap) -> Option<Duration> {
    if let Some(wait) = seconds(headers, "retry-after") {
        return Some(wait);
    }
    let until = http_date(headers.get(RETRY_AFTER)?.to_str().ok()?)?;
    Some(Duration::try_from(until - date(headers)?).unwrap_or_default())
}

/// When the answer was made, by its own word.
pub(crate) fn date(headers: &HeaderMap) -> Option<OffsetDateTime> {
    http_date(headers.get(DATE)?.to_str().ok()?)
}

fn seconds(headers: &HeaderMap, name: &str) -> Option<Duration> {
    number(headers, name).map(Duration::from_secs)
}

/// A header that holds a whole number.
pub(crate) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// Reads the preferred form of an HTTP date (RFC 9110, section 5.6.7): RFC 2822 but for the zone.
fn http_date(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(&text.trim().replace("GMT", "+0000"), &Rfc2822).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()))
            .collect::<HeaderMap>()
    }

    #[test]
    fn reads_how_long_to_wait() {
        let date = ("date", "Tue, 24 Nov 2026 04:00:00 GMT");
        for (given, wait) in [
            (headers(&[]), None),
            (headers(&[("retry-after", "7")]), Some(7)),
            (
                headers(&[("retry-after", "Tue, 24 Nov 2026 04:00:30 GMT"), date]),
                Some(30),
            ),
            (
                headers(&[("retry-after", "Tue, 24 Nov 2026 03:00:00 GMT"), date]),
                Some(0),
            ),
            (
                headers(&[("x-ratelimit-reset", "1795492810"), date]),
                Some(10),
            ),
            (headers(&[("x-ratelimit-reset", "1795492810")]), None),
            (headers(&[("retry-after", "soon"), date]), None),
        ] {
            assert_eq!(
                retry_after(&given),
                wait.map(Duration::from_secs),
                "{given:?}"
            );
        }
    }
}
