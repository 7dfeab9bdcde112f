//! The store port: where sessions live.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Credential, Session, SessionId, StoreError, Timestamp};

/// Keeps sessions. All engines give the same guarantees; `testing::conformance` (feature `testing`) checks them.
///
/// * A session that was created, swapped in or ended stays so for every later call, on every
///   replica of the store.
/// * [`Self::compare_and_swap`] and [`Self::end`] are atomic: an ended session is never written back.
/// * An expired session is as good as none.
/// * Absence is `Ok(None)`; an error means that the store could not be asked.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait SessionStore: Send + Sync + std::fmt::Debug {
    /// Answers from the memory of this process, where the engine can do so without waiting.
    fn peek(&self, credential: &Credential, now: Timestamp) -> Peek;

    /// Finds the session that a credential opens: its current one, or a previous one within its
    /// grace time.
    async fn load(
        &self,
        credential: &Credential,
        now: Timestamp,
    ) -> Result<Option<Arc<Session>>, StoreError>;

    /// Adds a session. Never overwrites: neither the id nor the credential may be in use.
    async fn create(&self, session: Session, now: Timestamp) -> Result<Created, StoreError>;

    /// Puts `next` in the place of `current`, if `current` is still what is stored (same id, same
    /// version). `next` has the same id and subject and a higher version; its credential may be new.
    ///
    /// With a fence, the write is refused when a later lease has been granted since.
    async fn compare_and_swap(
        &self,
        current: &Session,
        next: Session,
        fence: Option<Fence>,
        now: Timestamp,
    ) -> Result<Swap, StoreError>;

    /// Notes that the session was used. May be written late or not at all; never brings an ended
    /// session back.
    async fn touch(&self, session: &Session, now: Timestamp) -> Result<(), StoreError>;

    /// Ends a session. `None` when it had ended or expired already.
    async fn end(
        &self,
        subject: &str,
        id: SessionId,
        now: Timestamp,
    ) -> Result<Option<Arc<Session>>, StoreError>;

    /// Ends all sessions of a subject and returns them.
    async fn end_all(&self, subject: &str, now: Timestamp)
    -> Result<Vec<Arc<Session>>, StoreError>;

    /// The live sessions of a subject, by id.
    async fn sessions_of(
        &self,
        subject: &str,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError>;

    /// The live sessions that belong to a session of the identity provider's (the `sid` of its ID
    /// tokens), in no order.
    async fn sessions_by_identity_provider_session(
        &self,
        identity_provider_session: &str,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError>;

    /// Ends all sessions that belong to a session of the identity provider's, and returns them.
    async fn end_by_identity_provider_session(
        &self,
        identity_provider_session: &str,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError>;

    /// Live sessions of everybody, sorted by the subject's bytes, then by id: at most `limit` (1 or
    /// more) that come after `after`.
    async fn list(
        &self,
        after: Option<(String, SessionId)>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError>;

    /// Subjects with at least one live session, each once, sorted by their bytes: at most `limit`
    /// (1 or more) that come after `after`.
    async fn active_subjects(
        &self,
        after: Option<String>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError>;

    /// Asks for the right to refresh a session, alone, for `ttl`.
    ///
    /// A durable engine has written the lease down before it is granted: after a crash it is still
    /// held until it runs out, and its number never comes again.
    async fn acquire_lease(
        &self,
        subject: &str,
        id: SessionId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Lease, StoreError>;

    /// Prolongs a lease. False when it has been lost.
    async fn renew_lease(
        &self,
        subject: &str,
        id: SessionId,
        fence: Fence,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Gives a lease back. Nothing happens when it has been lost.
    async fn release_lease(
        &self,
        subject: &str,
        id: SessionId,
        fence: Fence,
    ) -> Result<(), StoreError>;

    /// Ready to serve?
    async fn check(&self) -> Result<(), StoreError>;
}

/// What [`SessionStore::peek`] knows.
#[derive(Clone, Debug)]
pub enum Peek {
    /// This session, live.
    Found(Arc<Session>),
    /// Surely no live session.
    Absent,
    /// Ask [`SessionStore::load`].
    Unknown,
}

/// Result of [`SessionStore::create`].
#[derive(Clone, Debug)]
pub enum Created {
    /// Stored.
    Stored(Arc<Session>),
    /// A live session is opened by the same credential.
    CredentialTaken,
    /// The id is in use: make another.
    IdTaken,
}

/// Result of [`SessionStore::compare_and_swap`].
#[derive(Clone, Debug)]
pub enum Swap {
    /// Stored.
    Stored(Arc<Session>),
    /// Somebody else wrote meanwhile; this is what is stored.
    Conflict(Arc<Session>),
    /// The session has ended or expired. Nothing was written.
    Ended,
    /// Another live session is opened by the new credential. Nothing was written.
    CredentialTaken,
    /// The lease behind the fence has been granted to somebody else since. Nothing was written.
    Fenced,
}

/// Number of a lease: grows with each lease granted for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence(pub u64);

/// Result of [`SessionStore::acquire_lease`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// Granted, with its number.
    Granted(Fence),
    /// Somebody holds it until this instant at the latest.
    Held(Timestamp),
}
