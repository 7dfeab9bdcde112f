//! What the tenant was asked: for tests that count calls and for people who wonder.

use std::collections::VecDeque;

use serde::Serialize;

/// One call of the tenant. Values of parameters are not kept: they are secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Call {
    /// The method.
    pub method: String,
    /// The path, without query.
    pub path: String,
    /// The `grant_type` of a token call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_type: Option<String>,
    /// The `client_id`, from the parameters or from `Basic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Names of the parameters in query and body, sorted.
    pub parameters: Vec<String>,
    /// The `auth0-forwarded-for` header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarded_for: Option<String>,
    /// When, on the tenant's clock (RFC 3339).
    pub at: String,
}

/// The latest calls, and counters that do not forget.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    calls: VecDeque<Call>,
    refresh_exchanges: u64,
}

impl Journal {
    /// Older calls are forgotten, so that a tenant under load does not grow.
    const KEPT: usize = 10_000;

    pub(crate) fn record(&mut self, call: Call) {
        if call.grant_type.as_deref() == Some(crate::seed::grant_type::REFRESH_TOKEN) {
            self.refresh_exchanges += 1;
        }
        if self.calls.len() == Self::KEPT {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.iter().cloned().collect()
    }

    pub(crate) fn refresh_exchanges(&self) -> u64 {
        self.refresh_exchanges
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
