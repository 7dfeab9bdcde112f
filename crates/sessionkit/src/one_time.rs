//! Records that are taken once: the state of a sign-in, the `jti` of a logout token.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Credential, StoreError, Timestamp};

/// Keeps short-lived records that can be taken once.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait OneTimeStore: Send + Sync + std::fmt::Debug {
    /// Stores a record under a hash, in place of one that is still pending.
    async fn put(
        &self,
        key: Credential,
        value: Bytes,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Takes a record out. Of two callers at once, one gets it. `None` when there is none, it was
    /// taken, or it has expired.
    async fn take(&self, key: Credential, now: Timestamp) -> Result<Option<Bytes>, StoreError>;

    /// Remembers a key until `expires_at`. False when it is already remembered.
    async fn claim(
        &self,
        key: Credential,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError>;
}
