//! The two cookies: `sid`, and the one that binds a sign-in to its browser.

use std::time::Duration;

use sessionkit::{SameSite, SessionCookie};

use crate::Error;
use crate::config::Client;
use crate::login_state;

/// Name of the session cookie.
pub const SESSION_COOKIE: &str = "sid";

/// Name of the cookie that binds a sign-in under way to its browser. The prefix keeps other hosts of
/// the domain from planting one (RFC 6265bis, section 4.1.3.2).
pub const BINDING_COOKIE: &str = "__Host-login";

fn session_cookie(client: &Client) -> SessionCookie {
    SessionCookie {
        name: SESSION_COOKIE,
        same_site: client.same_site,
    }
}

/// The line that sets the session cookie.
pub(crate) fn set_session(
    client: &Client,
    value: &str,
    max_age: Duration,
) -> Result<String, Error> {
    session_cookie(client)
        .set(value, max_age)
        .map_err(|_| Error::CookieTooLarge)
}

/// Refuses a value that browsers would cut, before a session is made for it.
pub(crate) fn check_size(client: &Client, value: &str) -> Result<(), Error> {
    set_session(client, value, Duration::from_secs(u64::from(u32::MAX))).map(drop)
}

/// The line that removes the session cookie.
pub(crate) fn clear_session(client: &Client) -> String {
    session_cookie(client).clear()
}

/// The line that sets the binding cookie.
pub(crate) fn set_binding(client: &Client, value: &str) -> Result<String, Error> {
    // It must come back with Auth0's redirect, which is a top-level navigation: Lax lets it, Strict
    // would not. A client whose pages are on another site needs None for its token call as well.
    let same_site = match client.same_site {
        Some(SameSite::None) => SameSite::None,
        _ => SameSite::Lax,
    };
    SessionCookie {
        name: BINDING_COOKIE,
        same_site: Some(same_site),
    }
    .set(value, login_state::LIFETIME)
    .map_err(|error| Error::Internal(Box::new(error)))
}
