//! What can go wrong with sessions.

use std::sync::Arc;
use std::time::Duration;

/// A foreign error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The store could not be asked, or did not answer. Never says anything about a session.
#[derive(Debug, thiserror::Error)]
#[error("the session store is not available")]
pub struct StoreError(#[source] pub BoxError);

/// Why no session was opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another live session is opened by the same value. Two access tokens issued in one second
    /// for one person can be equal byte for byte.
    #[error("the credential already opens a session")]
    CredentialTaken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system has no randomness to give.
    #[error("no random bits to be had")]
    Random,
}

/// Why a session was not refreshed. Cheap to clone: all who waited get the same.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefreshError {
    /// The session is over (signed out, expired, or its refresh token was refused).
    #[error("the session has ended")]
    Ended(#[source] Option<Arc<dyn std::error::Error + Send + Sync>>),
    /// The identity provider could not be reached; the session stays.
    #[error("the identity provider is not available")]
    Unavailable {
        /// When to try again, where the provider says it.
        retry_after: Option<Duration>,
        /// The cause.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The store failed.
    #[error("the session store is not available")]
    Store(#[source] Arc<StoreError>),
    /// There is no refresh token in the session.
    #[error("the session has no refresh token")]
    NoRefreshToken,
}
