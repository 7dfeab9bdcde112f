//! Sessions as an administrator sees them.

use std::collections::BTreeSet;
use std::sync::Arc;

use auth0_api::RefreshToken;
use secrecy::ExposeSecret;
use sessionkit::{Session, SessionId};

use crate::{Error, Gateway};

/// How many subjects are asked of the store at a time.
const PAGE: usize = 100;

impl Gateway {
    /// Live sessions, of one user or of all, ordered by user and then by id: `limit` of them behind the
    /// first `skip`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list_sessions(
        &self,
        user_id: Option<&str>,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<Arc<Session>>, Error> {
        let (store, now) = (self.sessions.store(), self.sessions.now());
        if let Some(user_id) = user_id {
            let sessions = store.sessions_of(user_id, now).await?;
            return Ok(sessions.into_iter().skip(skip).take(limit).collect());
        }
        let (mut skip, mut found, mut after) = (skip, Vec::new(), None);
        loop {
            let subjects = store.active_subjects(after.clone(), PAGE, now).await?;
            for subject in &subjects {
                for session in store.sessions_of(subject, now).await? {
                    if skip > 0 {
                        skip -= 1;
                    } else if found.len() < limit {
                        found.push(session);
                    }
                }
                if found.len() == limit {
                    return Ok(found);
                }
            }
            if subjects.len() < PAGE {
                return Ok(found);
            }
            after = subjects.into_iter().next_back();
        }
    }

    /// Ends all sessions of a user and says how many there were. Their refresh tokens are revoked at
    /// Auth0 in the background, where the client's `revokeOnLogout` says so.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn end_sessions_of(&self, user_id: &str) -> Result<usize, Error> {
        let clients = self.clients.by_name.values();
        let issuers: BTreeSet<&str> = clients
            .map(|client| client.application.tenant.issuer())
            .collect();
        for issuer in issuers {
            self.refuse_adoption(issuer, user_id).await?;
        }
        let ended = self
            .sessions
            .store()
            .end_all(user_id, self.sessions.now())
            .await?;
        for session in &ended {
            self.revoke_later(session);
        }
        Ok(ended.len())
    }

    /// Ends one session of a user.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`], [`Error::Store`].
    pub async fn end_session_of(&self, user_id: &str, id: SessionId) -> Result<(), Error> {
        let ended = self
            .sessions
            .store()
            .end(user_id, id, self.sessions.now())
            .await?
            .ok_or(Error::SessionNotFound)?;
        self.revoke_later(&ended);
        Ok(())
    }

    pub(crate) fn revoke_later(&self, session: &Session) {
        let Some(client) = self.clients.by_name.get(session.client()) else {
            return;
        };
        if let Some(token) = session.tokens().refresh_token
            && client.revoke_on_logout
        {
            self.revoke_in_background(client, RefreshToken::new(token.expose_secret()));
        }
    }
}
