//! The use cases over a store and a clock: open, check, refresh, replace, end.

use std::sync::Arc;

use crate::flights::Flights;
use crate::{
    Clock, Created, Credential, Lifetimes, OpenError, Peek, Presented, RefreshError, Refresher,
    Session, SessionId, SessionStore, SignIn, StoreError, Swap, Timestamp,
};

/// Sessions over a store.
#[derive(Debug)]
pub struct Sessions {
    pub(crate) store: Arc<dyn SessionStore>,
    clock: Arc<dyn Clock>,
    pub(crate) lifetimes: Lifetimes,
    flights: Flights,
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
        Self {
            store,
            clock,
            lifetimes,
            flights: Flights::default(),
        }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn SessionStore> {
        &self.store
    }

    /// The clock's present instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The limits.
    #[must_use]
    pub fn lifetimes(&self) -> &Lifetimes {
        &self.lifetimes
    }

    /// Opens a session. Always a new one with a new id.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(&self, sign_in: SignIn) -> Result<Arc<Session>, OpenError> {
        self.open_until(sign_in, None).await
    }

    /// As [`Self::open`], for a session that ends at `ceiling` at the latest, whatever is refreshed: the
    /// identity provider's own limit.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_until(
        &self,
        sign_in: SignIn,
        ceiling: Option<Timestamp>,
    ) -> Result<Arc<Session>, OpenError> {
        loop {
            let now = self.now();
            let id = SessionId::random().map_err(|_| OpenError::Random)?;
            let session = Session::begin(id, &sign_in, ceiling, &self.lifetimes, now);
            match self.store.create(session, now).await? {
                Created::Stored(session) => return Ok(session),
                Created::CredentialTaken => return Err(OpenError::CredentialTaken),
                Created::IdTaken => {}
            }
        }
    }

    /// Judges a credential without waiting; `None` when the store has to be asked ([`Self::check`]).
    #[must_use]
    pub fn check_now(&self, credential: &Credential, presented: Presented) -> Option<Verdict> {
        let now = self.now();
        match self.store.peek(credential, now) {
            Peek::Found(session) => Some(self.judge(session, credential, presented, now)),
            Peek::Absent => Some(Verdict::Unknown),
            Peek::Unknown => None,
        }
    }

    /// Judges a credential.
    ///
    /// # Errors
    /// [`StoreError`] when the store could not be asked: says nothing about the session.
    pub async fn check(
        &self,
        credential: &Credential,
        presented: Presented,
    ) -> Result<Verdict, StoreError> {
        let now = self.now();
        Ok(match self.store.load(credential, now).await? {
            Some(session) => self.judge(session, credential, presented, now),
            None => Verdict::Unknown,
        })
    }

    fn judge(
        &self,
        session: Arc<Session>,
        credential: &Credential,
        presented: Presented,
        now: Timestamp,
    ) -> Verdict {
        // The store has looked already. It may be another's code, and this is the door.
        if !session.is_live(now) || !session.is_opened_by(credential, now) {
            return Verdict::Unknown;
        }
        if session.touch(now) {
            self.store_touch(&session, now);
        }
        let soon = now.after(self.lifetimes.refresh_before);
        match presented {
            Presented::Bearer => {
                let previous = session
                    .previous()
                    .iter()
                    .find(|p| p.credential == *credential);
                let expires_at =
                    previous.map_or(session.bearer_expires_at(), |p| p.bearer_expires_at);
                if expires_at > soon {
                    Verdict::Live(session)
                } else {
                    Verdict::Expired(session)
                }
            }
            Presented::Cookie if session.access_expires_at() > soon => Verdict::Live(session),
            Presented::Cookie if session.has_refresh_token() => Verdict::RunOut(session),
            Presented::Cookie => Verdict::Live(session),
        }
    }

    /// Stores the note that a session was used, behind the caller's back: a check does not wait for it.
    fn store_touch(&self, session: &Arc<Session>, now: Timestamp) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (store, session) = (Arc::clone(&self.store), Arc::clone(session));
        runtime.spawn(async move {
            if let Err(error) = store.touch(&session, now).await {
                tracing::debug!(%error, "the use of a session was not noted");
            }
        });
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
        seen: &Arc<Session>,
        refresher: Arc<dyn Refresher>,
    ) -> Result<Arc<Session>, RefreshError> {
        let (sessions, session) = (Arc::clone(self), Arc::clone(seen));
        self.flights
            .join(seen.id(), move || async move {
                sessions.refresh_alone(&session, &*refresher).await
            })
            .await
    }

    /// How many refreshes are under way in this process.
    #[must_use]
    pub fn refreshes_under_way(&self) -> usize {
        self.flights.count()
    }

    /// Waits until no refresh is under way, for whoever is about to stop: a refresh that is broken off may
    /// have spent its token. Those that begin meanwhile are waited for, too.
    pub async fn refreshes_done(&self) {
        self.flights.all_landed().await;
    }

    /// Lets `new` open the session in the place of `session`'s credential, which still serves for the
    /// grace time; the session's absolute life starts anew.
    ///
    /// `succession`: random bits that the new value was derived with (see
    /// [`crate::credential::Previous`]).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn replace_credential(
        &self,
        session: &Arc<Session>,
        new: Credential,
        succession: [u8; 32],
    ) -> Result<Replaced, StoreError> {
        let mut current = Arc::clone(session);
        loop {
            let now = self.now();
            let next = current.with_credential(new, succession, &self.lifetimes, now);
            match self
                .store
                .compare_and_swap(&current, next, None, now)
                .await?
            {
                Swap::Stored(stored) => return Ok(Replaced::Done(stored)),
                Swap::Conflict(stored) if stored.credential() == new => {
                    return Ok(Replaced::Done(stored));
                }
                Swap::Conflict(stored) if stored.credential() != session.credential() => {
                    return Ok(Replaced::Lost(stored));
                }
                // A refresh came in between. Its tokens count, and the value must be made from them.
                Swap::Conflict(stored) if stored.generation() != session.generation() => {
                    return Ok(Replaced::Lost(stored));
                }
                Swap::Conflict(stored) => current = stored,
                Swap::CredentialTaken => return Ok(Replaced::Taken(current)),
                Swap::Ended | Swap::Fenced => return Ok(Replaced::Ended),
            }
        }
    }

    /// Ends a session and returns it as it was stored last. `None` when it had ended already.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end(&self, session: &Session) -> Result<Option<Arc<Session>>, StoreError> {
        self.store
            .end(session.subject(), session.id(), self.now())
            .await
    }
}
