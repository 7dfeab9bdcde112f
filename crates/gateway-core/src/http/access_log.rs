//! One line for each answer. Values never appear: a query is shown by its names alone.

use std::fmt;
use std::time::Instant;

use http::{Method, StatusCode, Uri};

/// A target whose parameters have lost their values.
struct Masked<'a>(&'a Uri);

impl fmt::Display for Masked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.path())?;
        let names = self
            .0
            .query()
            .into_iter()
            .flat_map(|query| query.split('&'));
        for (at, pair) in names.enumerate() {
            let name = pair.split('=').next().unwrap_or_default();
            // Without a `=` it may as well be a value.
            let name = if name.len() == pair.len() {
                "…"
            } else {
                name
            };
            write!(f, "{}{name}=…", if at == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

/// Logs an answer. Session checks and probes that went well come with every request of the platform:
/// they are logged at `debug`.
pub(super) fn log(
    request_id: &str,
    (method, uri): (&Method, &Uri),
    status: StatusCode,
    since: Instant,
    is_frequent: bool,
) {
    let quiet = is_frequent && !status.is_server_error();
    if quiet && !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let duration_us = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
    let (path, status) = (Masked(uri), status.as_u16());
    if quiet {
        tracing::debug!(request_id, %method, %path, status, duration_us, "request completed");
    } else {
        tracing::info!(request_id, %method, %path, status, duration_us, "request completed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_and_values_go() {
        for (uri, shown) in [
            ("/a", "/a"),
            ("/a?state=s3cr3t&code=c0d3&x", "/a?state=…&code=…&…=…"),
            ("/a?s3cr3t", "/a?…=…"),
            ("/a?x=1=2", "/a?x=…"),
        ] {
            assert_eq!(Masked(&uri.parse().unwrap()).to_string(), shown);
        }
    }
}
