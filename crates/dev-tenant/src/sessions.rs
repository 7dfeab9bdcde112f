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

impl SsoSession {
    /// When it ends without activity, and when in any case.
    pub(crate) fn ends(&self) -> (OffsetDateTime, OffsetDateTime) {
        (
            self.last_seen_at.saturating_add(IDLE),
            self.created_at.saturating_add(ABSOLUTE),
        )
    }

    fn is_live(&self, now: OffsetDateTime) -> bool {
        let (idle_until, expires_at) = self.ends();
        now < idle_until && now < expires_at
    }
}

/// Sessions by the value of their cookie.
#[derive(Debug, Default)]
pub(crate) struct SsoSessions(HashMap<String, SsoSession>);

impl SsoSessions {
    /// The live session of a cookie; counts as activity.
    pub(crate) fn touch(&mut self, cookie: &str, now: OffsetDateTime) -> Option<&mut SsoSession> {
        let session = self.0.get(cookie)?;
        if !session.is_live(now) {
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

    /// The live sessions of a person, oldest first.
    pub(crate) fn of_user(&self, user_id: &str, now: OffsetDateTime) -> Vec<&SsoSession> {
        let sessions = self.0.values();
        let mut own: Vec<&SsoSession> = sessions
            .filter(|session| session.user_id == user_id && session.is_live(now))
            .collect();
        own.sort_by(|a, b| (a.created_at, &a.sid).cmp(&(b.created_at, &b.sid)));
        own
    }

    /// The live session with this `sid`.
    pub(crate) fn by_sid(&self, sid: &str, now: OffsetDateTime) -> Option<&SsoSession> {
        let mut sessions = self.0.values();
        sessions.find(|session| session.sid == sid && session.is_live(now))
    }

    /// Ends the session with this `sid`; `false` when there is none.
    pub(crate) fn end_sid(&mut self, sid: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|_, session| session.sid != sid);
        self.0.len() < before
    }

    /// Ends every session of a person.
    pub(crate) fn end_all_of(&mut self, user_id: &str) {
        self.0.retain(|_, session| session.user_id != user_id);
    }
}
