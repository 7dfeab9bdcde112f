//! The refresh port: how new tokens are bought.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Session, Tokens};

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
