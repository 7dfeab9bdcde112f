//! The use cases over a store and a clock: open, check, refresh, replace, end.

use std::sync::Arc;

use crate::{
    Clock, Credential, Lifetimes, OpenError, Presented, RefreshError, Refresher, Session,
    SessionStore, SignIn, StoreError, Timestamp,
};

/// Sessions over a store.
#[derive(Debug)]
pub struct Sessions {
    _store: Arc<dyn SessionStore>,
    _clock: Arc<dyn Clock>,
    _lifetimes: Lifetimes,
}

/// What a credential is worth at this instant.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Let in.
    Live(Arc<Session>),
    /// Shown as a cookie, and the access token inside has run out: refresh, then let in.
    RunOut(Arc<Session>),
    /// Shown as a bearer, and that access token has run out. The session itself lives on, for an
    /// explicit refresh.
    Expired(Arc<Session>),
    /// Opens nothing.
    Unknown,
}

/// Result of [`Sessions::replace_credential`].
#[derive(Clone, Debug)]
pub enum Replaced {
    /// The session is now opened by the new credential.
    Done(Arc<Session>),
    /// Somebody else was faster, with another credential; this is what is stored now.
    Lost(Arc<Session>),
    /// The new credential opens another session (see [`OpenError::CredentialTaken`]).
    Taken(Arc<Session>),
    /// The session has ended.
    Ended,
}

impl Sessions {
    /// Sessions over a store and a clock.
    #[must_use]
    pub fn new(store: Arc<dyn SessionStore>, clock: Arc<dyn Clock>, lifetimes: Lifetimes) -> Self {
        Self { _store: store, _clock: clock, _lifetimes: lifetimes }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn SessionStore> {
        &self._store
    }

    /// The clock's present instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self._clock.now()
    }

    /// The limits.
    #[must_use]
    pub fn lifetimes(&self) -> &Lifetimes {
        &self._lifetimes
    }

    /// Opens a session. Always a new one with a new id.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(&self, _sign_in: SignIn) -> Result<Arc<Session>, OpenError> {
        todo!()
    }

    /// Judges a credential without waiting; `None` when the store has to be asked ([`Self::check`]).
    #[must_use]
    pub fn check_now(&self, _credential: &Credential, _presented: Presented) -> Option<Verdict> {
        todo!()
    }

    /// Judges a credential.
    ///
    /// # Errors
    /// [`StoreError`] when the store could not be asked: says nothing about the session.
    pub async fn check(
        &self,
        _credential: &Credential,
        _presented: Presented,
    ) -> Result<Verdict, StoreError> {
        todo!()
    }

    /// Refreshes a session's tokens, once, however many ask at the same time.
    ///
    /// `seen` is the session as the caller knows it: when its tokens have been replaced since, the
    /// stored session is returned without another refresh. The work goes on when the caller leaves.
    ///
    /// # Errors
    /// [`RefreshError`].
    pub async fn refresh(
        self: &Arc<Self>,
        _seen: &Arc<Session>,
        _refresher: Arc<dyn Refresher>,
    ) -> Result<Arc<Session>, RefreshError> {
        todo!()
    }

    /// Lets `new` open the session in the place of `presented`, which still serves for the grace
    /// time; the session's absolute life starts anew.
    ///
    /// `succession`: random bits that the new value was derived with (see
    /// [`crate::credential::Previous`]).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn replace_credential(
        &self,
        _session: &Arc<Session>,
        _new: Credential,
        _succession: [u8; 32],
    ) -> Result<Replaced, StoreError> {
        todo!()
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end(&self, _session: &Session) -> Result<Option<Arc<Session>>, StoreError> {
        todo!()
    }
}
