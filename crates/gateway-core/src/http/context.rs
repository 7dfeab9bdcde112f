//! What the routes get of a request.

use http::{HeaderMap, Method, Uri};

use super::head::Head;
use super::params::Params;
use crate::Error;
use crate::gateway::Caller;

/// A request without its body.
pub(super) struct Context<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) head: Head<'a>,
    pub(super) caller: Caller,
}

impl Context<'_> {
    /// The query's parameters.
    pub(super) fn query(&self) -> Result<Params, Error> {
        Params::from_urlencoded(self.uri.query().unwrap_or_default().as_bytes())
    }
}
