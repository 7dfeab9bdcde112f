//! One refresh at a time for one session, in this process: whoever comes later gets its result.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::{RefreshError, Session, SessionId};

/// What a flight brings.
pub(crate) type Outcome = Result<Arc<Session>, RefreshError>;

/// Refreshes under way, by session: two sessions never share one.
#[derive(Clone, Default)]
pub(crate) struct Flights(Arc<Mutex<HashMap<SessionId, Receiver>>>);

type Receiver = watch::Receiver<Option<Outcome>>;

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

impl Flights {
    /// Waits for the flight of this session, begun by `work` if there is none. It is a task of its own:
    /// the caller may leave.
    pub(crate) async fn join<F, W>(&self, id: SessionId, work: W) -> Outcome
    where
        F: Future<Output = Outcome> + Send + 'static,
        W: FnOnce() -> F,
    {
        let mut receiver = {
            let mut flights = self.lock();
            flights
                .entry(id)
                .or_insert_with(|| self.depart(id, work()))
                .clone()
        };
        let outcome = receiver.wait_for(Option::is_some).await;
        match outcome.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            // The task is gone without a word: it panicked, or the runtime stops.
            Ok(None) | Err(_) => Err(RefreshError::Unavailable {
                retry_after: None,
                source: Arc::from(crate::error::BoxError::from("the refresh was broken off")),
            }),
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Waits until there is none.
    pub(crate) async fn all_landed(&self) {
        loop {
            let next = self.lock().values().next().cloned();
            let Some(mut next) = next else { return };
            // It leaves the list before it gives its word, or without one.
            let _ = next.wait_for(Option::is_some).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Receiver>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn depart(
        &self,
        id: SessionId,
        work: impl Future<Output = Outcome> + Send + 'static,
    ) -> Receiver {
        let (sender, receiver) = watch::channel(None);
        let landing = Landing {
            flights: self.clone(),
            id,
        };
        tokio::spawn(async move {
            let landing = landing;
            let outcome = work.await;
            // First out of the list, then the word: who comes now begins anew.
            drop(landing);
            sender.send_replace(Some(outcome));
        });
        receiver
    }
}

/// Takes a flight out of the list, however it ends.
struct Landing {
    flights: Flights,
    id: SessionId,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.id);
    }
}
