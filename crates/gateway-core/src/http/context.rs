//! What the routes get of a request.

use http::{HeaderMap, Method, Uri};

use super::head::{Head, twice};
use super::params::Params;
use crate::Error;
use crate::gateway::Caller;
use tokio::time::Instant;

/// A request without its body.
pub(super) struct Context<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) head: Head<'a>,
    pub(super) caller: Caller,
    /// When the answer has to be there.
    pub(super) deadline: Instant,
}

impl Context<'_> {
    /// The query's parameters.
    pub(super) fn query(&self) -> Result<Params, Error> {
        Params::from_urlencoded(self.uri.query().unwrap_or_default().as_bytes())
    }

    /// A header that decides something: once at most, and UTF-8.
    pub(super) fn single(&self, name: &'static str) -> Result<Option<&str>, Error> {
        let mut values = self.headers.get_all(name).into_iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(twice(name));
        }
        std::str::from_utf8(value.as_bytes())
            .map(Some)
            .map_err(|_| Error::BadRequest(format!("{name} must be UTF-8")))
    }
}
