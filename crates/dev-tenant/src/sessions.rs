//! Single sign-on sessions of browsers: the `auth0` cookie.

use std::collections::{BTreeSet, HashMap};

use time::{Duration, OffsetDateTime};

/// Limits of Auth0's self-service plans.
const IDLE: Duration = Duration::days(3);
const ABSOLUTE: Duration = Duration::days(30);

/// One browser's session with the tenant.
#[derive(Clone, Debug)]
pub(crate) struct SsoSession {
    /// The `sid` claim, the same for every application of the session.
    pub(crate) sid: String,
    pub(crate) user_id: String,
    pub(crate) connection: String,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) authenticated_at: OffsetDateTime,
    pub(crate) last_seen_at: OffsetDateTime,
    /// Whether a second factor was used.
    pub(crate) mfa: bool,
    /// Applications that took part; they get the logout tokens.
    pub(crate) clients: BTreeSet<String>,
}

/// Sessions by the value of their cookie.
#[derive(Debug, Default)]
pub(crate) struct SsoSessions(HashMap<String, SsoSession>);

impl SsoSessions {
    /// The live session of a cookie; counts as activity.
    pub(crate) fn touch(&mut self, cookie: &str, now: OffsetDateTime) -> Option<&mut SsoSession> {
        let session = self.0.get(cookie)?;
        if now - session.last_seen_at >= IDLE || now - session.created_at >= ABSOLUTE {
            self.0.remove(cookie);
            return None;
        }
        let session = self.0.get_mut(cookie)?;
        session.last_seen_at = now;
        Some(session)
    }

    pub(crate) fn start(&mut self, cookie: String, session: SsoSession) {
        self.0.insert(cookie, session);
    }

    pub(crate) fn end(&mut self, cookie: &str) -> Option<SsoSession> {
        self.0.remove(cookie)
    }

    /// Ends every session of a person.
    pub(crate) fn end_all_of(&mut self, user_id: &str) {
        self.0.retain(|_, session| session.user_id != user_id);
    }
}
