//! The access token for the Management API, bought by client credentials and kept until shortly
//! before its end.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::error::BoxError;
use crate::{AccessToken, Application, Auth0Client, AuthenticationApi, Error, Grant};

/// A token is renewed in the background when less of its life is left than a tenth, or than this.
const MAX_MARGIN: Duration = Duration::from_secs(300);
/// Not used in the last moments of its life: the request has to arrive.
const SAFETY: Duration = Duration::from_secs(5);
/// Tries of one fetch. Buying a token twice does no harm.
const TRIES: u32 = 3;
/// Pause after a failed fetch, doubled with each further one up to [`MAX_PAUSE`].
const PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// A token is declared bad at most this often: one that is refused as soon as it is bought will not
/// become good by buying another.
const REPLACE_EVERY: Duration = Duration::from_secs(5);

/// Hands out the token. Clones share it.
#[derive(Clone)]
pub(super) struct ManagementToken(Arc<Inner>);

struct Inner {
    client: Auth0Client,
    application: Application,
    audience: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Held>,
    /// The fetch under way; its receivers learn when it is over.
    fetch: Option<Fetch>,
    /// The last fetch, when it failed, and until when no other is begun.
    failure: Option<(Arc<Error>, Instant)>,
    failures_in_row: u32,
    replaced_at: Option<Instant>,
    bought: u64,
}

/// Tells how a fetch ended, once it has.
type Fetch = watch::Receiver<Option<Result<Held, Arc<Error>>>>;

/// Where a token is to be had.
enum Source {
    Kept(Held),
    Fetch(Fetch),
    /// The last fetch failed a moment ago.
    Resting(Arc<Error>),
}

/// A token and how long it is good.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) access_token: AccessToken,
    /// Tells this token from the one before it.
    number: u64,
    renew_at: Instant,
    usable_until: Instant,
}

impl fmt::Debug for ManagementToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagementToken")
            .field("audience", &self.0.audience)
            .finish_non_exhaustive()
    }
}

impl ManagementToken {
    pub(super) fn new(client: Auth0Client, application: Application, audience: String) -> Self {
        Self(Arc::new(Inner {
            client,
            application,
            audience,
            state: Mutex::default(),
        }))
    }

    /// A token that is good now. All who ask while one is being fetched share that fetch, and it goes
    /// on when they leave.
    pub(super) async fn get(&self, deadline: Instant) -> Result<Held, Error> {
        let mut fetch = match self.source() {
            Source::Kept(held) => return Ok(held),
            Source::Fetch(fetch) => fetch,
            Source::Resting(error) => return Err(shared(&error)),
        };
        let outcome = timeout_at(deadline, fetch.wait_for(Option::is_some))
            .await
            .map_err(|_| Error::Timeout)?;
        match outcome.as_deref() {
            Ok(Some(Ok(held))) => Ok(held.clone()),
            Ok(Some(Err(error))) => Err(shared(error)),
            // The task is gone without a word: the runtime is shutting down.
            _ => Err(Error::Unexpected("a token fetch that was cut off")),
        }
    }

    /// Forgets a token that Auth0 refused. `false` when buying another would not help.
    pub(super) fn refused(&self, token: &Held) -> bool {
        let mut state = self.0.lock();
        match &state.current {
            Some(current) if current.number == token.number => {
                let now = Instant::now();
                if state.replaced_at.is_some_and(|at| now < at + REPLACE_EVERY) {
                    return false;
                }
                state.replaced_at = Some(now);
                state.current = None;
                true
            }
            // Somebody else did so already.
            _ => true,
        }
    }

    fn source(&self) -> Source {
        let mut state = self.0.lock();
        let now = Instant::now();
        let usable = state.current.clone();
        let usable = usable.filter(|held| now < held.usable_until);
        match usable {
            Some(held) if now < held.renew_at => return Source::Kept(held),
            _ => {}
        }
        let fetch = match (&state.fetch, &state.failure) {
            (Some(fetch), _) => Source::Fetch(fetch.clone()),
            (None, Some((error, until))) if now < *until => Source::Resting(Arc::clone(error)),
            (None, _) => Source::Fetch(self.begin(&mut state)),
        };
        // The old one serves while the new one is on its way, or cannot be had yet.
        usable.map_or(fetch, Source::Kept)
    }

    /// Begins a fetch in a task of its own. It ends with the client's time-outs at the latest.
    fn begin(&self, state: &mut State) -> Fetch {
        let (sender, receiver) = watch::channel(None);
        state.fetch = Some(receiver.clone());
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move {
            let guard = Fetching(inner);
            let begun = Instant::now();
            let bought = guard.0.buy().await;
            let outcome = guard.0.finish(begun, bought);
            sender.send_replace(Some(outcome));
        });
        receiver
    }
}

/// Takes the fetch off the state however it ends.
struct Fetching(Arc<Inner>);

impl Drop for Fetching {
    fn drop(&mut self) {
        self.0.lock().fetch = None;
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn buy(&self) -> Result<(AccessToken, Duration), Error> {
        let grant = Grant::ClientCredentials {
            audience: self.audience.clone(),
            scope: None,
        };
        let mut tried = 1;
        loop {
            match self.client.token(&self.application, &grant).await {
                Ok(tokens) => return Ok((tokens.access_token, tokens.expires_in)),
                Err(Error::Transport(_) | Error::Timeout | Error::Unavailable { .. })
                    if tried < TRIES =>
                {
                    sleep(PAUSE / 2 * tried).await;
                    tried += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn finish(
        &self,
        begun: Instant,
        bought: Result<(AccessToken, Duration), Error>,
    ) -> Result<Held, Arc<Error>> {
        let mut state = self.lock();
        match bought {
            Ok((access_token, life)) => {
                state.bought += 1;
                let held = Held {
                    access_token,
                    number: state.bought,
                    renew_at: begun + (life - (life / 10).min(MAX_MARGIN)),
                    usable_until: begun + (life - (life / 20).min(SAFETY)),
                };
                tracing::debug!(life_s = life.as_secs(), "management token renewed");
                state.current = Some(held.clone());
                state.failure = None;
                state.failures_in_row = 0;
                Ok(held)
            }
            Err(error) => {
                tracing::debug!(%error, "management token not renewed");
                let doubled = PAUSE * 2_u32.pow(state.failures_in_row.min(8));
                let pause = error.retry_after().unwrap_or(doubled).min(MAX_PAUSE);
                state.failures_in_row += 1;
                let error = Arc::new(error);
                state.failure = Some((Arc::clone(&error), Instant::now() + pause));
                Err(error)
            }
        }
    }
}

/// An error that several callers get.
fn shared(error: &Arc<Error>) -> Error {
    match &**error {
        Error::Refused(refusal) => Error::Refused(refusal.clone()),
        Error::RateLimited {
            retry_after,
            refusal,
        } => Error::RateLimited {
            retry_after: *retry_after,
            refusal: refusal.clone(),
        },
        Error::Unavailable {
            status,
            retry_after,
        } => Error::Unavailable {
            status: *status,
            retry_after: *retry_after,
        },
        Error::Timeout => Error::Timeout,
        Error::Transport(_) => Error::Transport(BoxError::from(SharedCause(Arc::clone(error)))),
        Error::Unexpected(what) => Error::Unexpected(what),
    }
}

/// The cause of a [`Error::Transport`] that several callers hold.
#[derive(Debug)]
struct SharedCause(Arc<Error>);

impl fmt::Display for SharedCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no access token for the Management API")
    }
}

impl std::error::Error for SharedCause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&*self.0)
    }
}
