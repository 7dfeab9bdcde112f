//! The refresh port: how new tokens are bought.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Fence, Lease, RefreshError, Session, Sessions, StoreError, Swap, Timestamp, Tokens};

/// Buys new tokens for a session. Called once per refresh, whoever asks for it.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait Refresher: Send + Sync {
    /// Exchanges the session's refresh token.
    async fn refresh(&self, session: &Session) -> Result<Refreshed, RefreshFailure>;

    /// Gives back tokens that can no longer be stored, because the session ended meanwhile: revoke
    /// them, so that nothing outlives the session.
    async fn discard(&self, session: &Session, tokens: Tokens);
}

/// What a refresh brought.
#[derive(Clone, Debug)]
pub struct Refreshed {
    /// The new tokens. Without a new refresh or ID token the old one is kept.
    pub tokens: Tokens,
    /// New application data; `None` keeps the old.
    pub data: Option<Bytes>,
}

/// Why a refresh brought nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum RefreshFailure {
    /// The provider will never take this refresh token again: the session ends.
    Refused(Arc<dyn std::error::Error + Send + Sync>),
    /// The provider could not be reached, or was not able: the session stays.
    Unavailable {
        /// When to try again, where the provider says it.
        retry_after: Option<Duration>,
        /// The cause.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// New tokens came, but cannot be trusted yet (no keys to check them with). They are stored, so
    /// that the rotated refresh token is not lost, with an access token that counts as run out, and
    /// the old data; the caller is told [`crate::RefreshError::Unavailable`].
    Unverified {
        /// The tokens to keep.
        tokens: Tokens,
        /// The cause.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
}

/// How long the right to refresh is held without a sign of life.
const LEASE: Duration = Duration::from_secs(15);
/// How often somebody else's refresh is looked at.
const WATCH: Duration = Duration::from_millis(50);
/// How long somebody else's refresh is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a store that fails is asked to keep tokens that cannot be had again.
const STORE_PATIENCE: Duration = Duration::from_secs(10);

impl Sessions {
    /// Refreshes under the session's lease, which keeps other replicas from doing the same.
    pub(crate) async fn refresh_alone(
        &self,
        seen: &Arc<Session>,
        refresher: &dyn Refresher,
    ) -> Result<Arc<Session>, RefreshError> {
        let give_up = tokio::time::Instant::now() + PATIENCE;
        loop {
            let lease = self
                .store
                .acquire_lease(seen.subject(), seen.id(), LEASE, self.now())
                .await;
            match lease.map_err(failed)? {
                Lease::Granted(mut fence) => {
                    let outcome = self.refresh_under(&mut fence, seen, refresher).await;
                    let released = self
                        .store
                        .release_lease(seen.subject(), seen.id(), fence)
                        .await;
                    if let Err(error) = released {
                        tracing::debug!(%error, "a lease was left to run out");
                    }
                    return outcome;
                }
                Lease::Held(_) if tokio::time::Instant::now() >= give_up => {
                    return Err(unavailable(
                        "another refresh of this session takes too long",
                    ));
                }
                Lease::Held(_) => {
                    tokio::time::sleep(WATCH).await;
                    let stored = self.stored(seen).await?;
                    if stored.generation() > seen.generation() {
                        return Ok(stored);
                    }
                }
            }
        }
    }

    async fn refresh_under(
        &self,
        fence: &mut Fence,
        seen: &Session,
        refresher: &dyn Refresher,
    ) -> Result<Arc<Session>, RefreshError> {
        let session = self.stored(seen).await?;
        if session.generation() > seen.generation() {
            return Ok(session);
        }
        if !session.has_refresh_token() {
            return Err(RefreshError::NoRefreshToken);
        }
        match self.call_under(*fence, &session, refresher).await {
            Ok(refreshed) => self.keep(fence, session, &refreshed, refresher).await,
            Err(RefreshFailure::Refused(cause)) => {
                let stored = self.stored(&session).await?;
                if stored.generation() > session.generation() {
                    return Ok(stored);
                }
                self.end(&stored).await.map_err(failed)?;
                Err(RefreshError::Ended(Some(cause)))
            }
            Err(RefreshFailure::Unavailable {
                retry_after,
                source,
            }) => Err(RefreshError::Unavailable {
                retry_after,
                source,
            }),
            Err(RefreshFailure::Unverified { mut tokens, source }) => {
                tokens.access_expires_at = tokens.access_expires_at.min(self.now());
                let refreshed = Refreshed { tokens, data: None };
                self.keep(fence, session, &refreshed, refresher).await?;
                Err(RefreshError::Unavailable {
                    retry_after: None,
                    source,
                })
            }
        }
    }

    /// Calls the refresher and renews the lease while it works.
    async fn call_under(
        &self,
        fence: Fence,
        session: &Session,
        refresher: &dyn Refresher,
    ) -> Result<Refreshed, RefreshFailure> {
        let mut call = refresher.refresh(session);
        let mut renewal =
            tokio::time::interval_at(tokio::time::Instant::now() + LEASE / 3, LEASE / 3);
        loop {
            tokio::select! {
                outcome = &mut call => return outcome,
                _ = renewal.tick() => {
                    let (subject, id) = (session.subject(), session.id());
                    let renewed = self.store.renew_lease(subject, id, fence, LEASE, self.now()).await;
                    if !matches!(renewed, Ok(true)) {
                        // The call may have reached the provider and is not broken off: its result is
                        // judged by the fence when it is to be stored.
                        tracing::warn!("the lease of a refresh under way was not renewed");
                    }
                }
            }
        }
    }

    /// Stores what a refresh brought. The old refresh token is spent, so this does not give up easily.
    async fn keep(
        &self,
        fence: &mut Fence,
        mut current: Arc<Session>,
        refreshed: &Refreshed,
        refresher: &dyn Refresher,
    ) -> Result<Arc<Session>, RefreshError> {
        let give_up = tokio::time::Instant::now() + STORE_PATIENCE;
        let generation = current.generation();
        let mut regained = false;
        loop {
            let now = self.now();
            let next = current.refreshed(refreshed, self.lifetimes.grace, now);
            match self
                .store
                .compare_and_swap(&current, next, Some(*fence), now)
                .await
            {
                Ok(Swap::Stored(stored)) => return Ok(stored),
                // A new credential or the like: the tokens are still ours to replace.
                Ok(Swap::Conflict(stored)) if stored.generation() == generation => current = stored,
                // Ours after all, written by a call whose answer got lost; or another's.
                Ok(Swap::Conflict(stored)) => {
                    // Under a later lease both may stem from one refresh token: revoked, ours would take
                    // the other along.
                    if !regained && !same_access_token(&stored, refreshed) {
                        refresher.discard(&stored, refreshed.tokens.clone()).await;
                    }
                    return Ok(stored);
                }
                Ok(Swap::Ended) => {
                    refresher.discard(&current, refreshed.tokens.clone()).await;
                    return Err(RefreshError::Ended(None));
                }
                // The lease ran out. Whoever had it since may have bought nothing, and then these tokens are
                // the only good ones: stored under a lease of their own.
                Ok(Swap::Fenced) => {
                    let late = tokio::time::Instant::now() >= give_up;
                    match self.stored(&current).await {
                        Ok(stored) if stored.generation() > generation => return Ok(stored),
                        Ok(_) if late => {
                            return Err(unavailable("another replica took the refresh over"));
                        }
                        Ok(stored) => current = stored,
                        Err(error @ RefreshError::Store(_)) if late => return Err(error),
                        Err(RefreshError::Store(_)) => {}
                        // The next try to store will find it so.
                        Err(RefreshError::Ended(_)) if !late => {}
                        Err(error) => return Err(error),
                    }
                    let (subject, id) = (current.subject(), current.id());
                    match self
                        .store
                        .acquire_lease(subject, id, LEASE, self.now())
                        .await
                    {
                        Ok(Lease::Granted(later)) => (*fence, regained) = (later, true),
                        _ => tokio::time::sleep(WATCH * 2).await,
                    }
                }
                Ok(Swap::CredentialTaken) => {
                    return Err(unavailable("the credential opens another session"));
                }
                Err(error) if tokio::time::Instant::now() >= give_up => return Err(failed(error)),
                Err(error) => {
                    tracing::warn!(%error, "new tokens are not stored yet");
                    tokio::time::sleep(WATCH * 2).await;
                    let renewed = self
                        .store
                        .renew_lease(current.subject(), current.id(), *fence, LEASE, self.now())
                        .await;
                    tracing::debug!(renewed = renewed.is_ok(), "trying to store them again");
                }
            }
        }
    }

    /// The session as it is stored now, whatever its credential.
    async fn stored(&self, seen: &Session) -> Result<Arc<Session>, RefreshError> {
        let now: Timestamp = self.now();
        let by_credential = self
            .store
            .load(&seen.credential(), now)
            .await
            .map_err(failed)?;
        if let Some(session) = by_credential.filter(|session| session.id() == seen.id()) {
            return Ok(session);
        }
        let sessions = self
            .store
            .sessions_of(seen.subject(), now)
            .await
            .map_err(failed)?;
        let session = sessions
            .into_iter()
            .find(|session| session.id() == seen.id());
        session.ok_or(RefreshError::Ended(None))
    }
}

fn same_access_token(stored: &Session, refreshed: &Refreshed) -> bool {
    use secrecy::ExposeSecret;
    stored.tokens().access_token.expose_secret() == refreshed.tokens.access_token.expose_secret()
}

fn failed(error: StoreError) -> RefreshError {
    RefreshError::Store(Arc::new(error))
}

fn unavailable(why: &'static str) -> RefreshError {
    let source = Arc::from(crate::error::BoxError::from(why));
    RefreshError::Unavailable {
        retry_after: None,
        source,
    }
}
