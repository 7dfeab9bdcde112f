//! Asking Auth0 about everybody from time to time, so that a person who was blocked there loses their
//! session here within a set time. For plans without back-channel logout.
//!
//! A refresh is the question: Auth0 refuses it for whoever is blocked or deleted, and the session ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use auth0_api::unverified_claims;
use secrecy::ExposeSecret;
use serde_json::Value;
use sessionkit::{Session, SessionId, Timestamp};
use tokio::time::sleep;

use crate::{Error, Gateway};

/// Sessions that are looked at in one go.
const PAGE: usize = 256;
/// Pause between two refreshes: the budget is ten in a second.
const PACE: Duration = Duration::from_millis(100);
/// Shortest pause between two walks over all sessions.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

impl Gateway {
    /// Walks over all sessions, for ever, and refreshes those that were last refreshed long enough ago.
    pub(crate) async fn revalidate(self: &Arc<Self>) {
        let Some(every) = self.settings.session_revalidate else {
            return std::future::pending().await;
        };
        // When each was asked about last, for tokens that do not tell.
        let mut asked: HashMap<SessionId, Timestamp> = HashMap::new();
        loop {
            match self.revalidate_once(every, &asked).await {
                Ok(seen) => asked = seen,
                Err(error) => tracing::warn!(%error, "sessions were not revalidated"),
            }
            sleep((every / 20).max(LEAST_PAUSE)).await;
        }
    }

    async fn revalidate_once(
        self: &Arc<Self>,
        every: Duration,
        asked: &HashMap<SessionId, Timestamp>,
    ) -> Result<HashMap<SessionId, Timestamp>, Error> {
        let store = self.sessions.store();
        let (mut seen, mut after) = (HashMap::new(), None);
        loop {
            let page = store.list(after, PAGE, self.sessions.now()).await?;
            for session in &page {
                let before = asked.get(&session.id()).copied();
                let last = before.max(Some(refreshed_at(session)));
                let now = self.sessions.now();
                let due = last.unwrap_or(now).after(due_after(session, every));
                if !session.has_refresh_token() || now < due {
                    seen.extend(before.map(|at| (session.id(), at)));
                    continue;
                }
                seen.insert(session.id(), now);
                match self.refreshed(session).await {
                    Ok(_) => {}
                    Err(Error::NoSession) => {
                        tracing::info!("a session ended: Auth0 refuses its person");
                    }
                    // Auth0 away says nothing about anybody. Later.
                    Err(error) => {
                        tracing::debug!(%error, "a session was not revalidated");
                        seen.remove(&session.id());
                    }
                }
                sleep(PACE).await;
            }
            let full = page.len() == PAGE;
            after = page
                .last()
                .map(|last| (last.subject().to_owned(), last.id()));
            if !full {
                return Ok(seen);
            }
        }
    }
}

/// When a session's tokens were issued, as far as they tell.
fn refreshed_at(session: &Session) -> Timestamp {
    let issued_at = session
        .tokens()
        .id_token
        .and_then(|token| unverified_claims(token.expose_secret()))
        .and_then(|claims| claims.get("iat").and_then(Value::as_i64))
        .map(|seconds| Timestamp::from_unix_millis(seconds.saturating_mul(1000)));
    issued_at.map_or(session.created_at(), |at| at.max(session.created_at()))
}

/// Between half and nine tenths of the time, each session at its own: people who signed in together are
/// not all asked about together.
fn due_after(session: &Session, every: Duration) -> Duration {
    let place = u32::from(session.id().as_bytes()[0]);
    every / 2 + every * 2 / 5 * place / 256
}
