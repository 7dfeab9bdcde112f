//! Waits for the tenant's rate limit, so that nobody else has to.
//!
//! One [`Governor`] stands for one tenant. Its two families learn their limits apart:
//!
//! - **Management API.** Every call is admitted first. Answers tell how full Auth0's token bucket is
//!   and when it will be full again; in between its level is reckoned. Calls wait in order of [`Lane`]
//!   and arrival; a call whose wait will not fit its deadline is refused at once with the wait that it
//!   would have had. Later lanes leave a few tokens to earlier ones.
//! - **Authentication API.** A fresh call is never held back: its headers may speak of one person's
//!   bucket, with an hour to its reset. Only calls that Auth0 refused for the rate wait, and are sent
//!   again one after another.
//!
//! While a call of an earlier lane waits in either family, back-office calls and imports hold still.

mod bucket;
mod queue;
mod rates;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use self::queue::{GateId, Key, Line, State, Turn, Waiter};
use crate::management::Lane;

pub(crate) use self::queue::Group;
pub(crate) use self::rates::Rates;

/// First pause after a refusal that names no wait, doubled with each further one.
const BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// Longest wait that is believed.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// Largest random part of a pause.
const MAX_JITTER: Duration = Duration::from_millis(500);

/// Keeps the calls to one tenant within its rate limit. Clones share it.
#[derive(Clone, Default)]
pub struct Governor {
    state: Arc<Mutex<State>>,
}

/// How things stand at a [`Governor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GovernorSnapshot {
    /// The Authentication API, by its last answer.
    pub authentication: FamilySnapshot,
    /// The Management API; where the tenant has several buckets, the smallest.
    pub management: FamilySnapshot,
}

/// How things stand with one API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FamilySnapshot {
    /// Size of the bucket, once an answer has said it.
    pub limit: Option<u32>,
    /// Calls that may be made at once.
    pub remaining: Option<u32>,
    /// Calls that wait, in the order of [`Lane::ALL`].
    pub waiting: [usize; 4],
}

/// Why a call may not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The limit: it would have had to wait this much longer.
    Limited(Duration),
    /// Its deadline came, and no limit is to blame that anybody knows of.
    Late,
}

impl fmt::Debug for Governor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

impl Governor {
    /// A governor that knows nothing of its tenant yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Limits and waiting calls at this moment.
    #[must_use]
    pub fn snapshot(&self) -> GovernorSnapshot {
        let state = self.lock();
        let now = Instant::now();
        let mut authentication = FamilySnapshot {
            limit: state.authentication.map(|rates| rates.limit),
            remaining: state.authentication.map(|rates| rates.remaining),
            waiting: [0; 4],
        };
        let mut management = FamilySnapshot::default();
        if let Some(bucket) = state.tightest() {
            management.limit = Some(bucket.limit());
            management.remaining = Some(whole(bucket.level(now)));
        }
        for ((lane, _), waiter) in &state.waiting {
            let family = match waiter.line {
                Line::Authentication(_) => &mut authentication,
                Line::Management(_) => &mut management,
            };
            let place = Lane::ALL.iter().position(|known| known == lane);
            if let Some(count) = place.and_then(|place| family.waiting.get_mut(place)) {
                *count += 1;
            }
        }
        GovernorSnapshot {
            authentication,
            management,
        }
    }

    /// A place among those who wait. It is kept from one try of a call to the next.
    pub(crate) fn place(&self, lane: Lane) -> Place {
        let mut state = self.lock();
        state.arrivals += 1;
        Place {
            governor: self.clone(),
            key: (lane, state.arrivals),
            notify: Arc::default(),
            refusals: 0,
            jitter: Duration::ZERO,
        }
    }

    /// Takes in what an answer of the Authentication API says.
    pub(crate) fn saw(&self, rates: Option<Rates>) {
        if rates.is_some() {
            self.lock().authentication = rates;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call's place: its lane and when it came.
pub(crate) struct Place {
    governor: Governor,
    key: Key,
    notify: Arc<Notify>,
    refusals: u32,
    /// Random part of the pause that the last refusal asked for.
    jitter: Duration,
}

impl Place {
    /// Waits for a turn at the Management API.
    pub(crate) async fn admit(
        &mut self,
        group: Group,
        deadline: Instant,
    ) -> Result<Permit, Denied> {
        let line = Line::Management(group);
        let gate = self
            .wait(line, deadline, |state, now| {
                let id = state.gate_id(group);
                let gate = state.gate(id);
                gate.under_way += 1;
                if let Some(bucket) = &mut gate.bucket {
                    bucket.spend(1.0, now);
                }
                id
            })
            .await?;
        Ok(Permit {
            governor: self.governor.clone(),
            group,
            gate,
            admitted: Instant::now(),
            stage: Stage::Admitted,
        })
    }

    /// Waits to send a call of the Authentication API again that was refused for the rate. `named` is
    /// what `Retry-After` said.
    pub(crate) async fn release(
        &mut self,
        named: Option<Duration>,
        rates: Option<Rates>,
        deadline: Instant,
    ) -> Result<(), Denied> {
        let learned = self.governor.lock().learn_pace(rates, Instant::now());
        // The bucket fills all the time: its reset, when it is full, is far too late.
        let wait = named.or(learned.map(|token| token * 2_u32.pow(self.refusals.min(5))));
        let wait = wait.unwrap_or_else(|| self.backoff()).min(LONGEST);
        self.refusals += 1;
        self.jitter = jitter(wait);
        let now = Instant::now();
        if wait > deadline.saturating_duration_since(now) {
            return Err(Denied::Limited(wait));
        }
        let line = Line::Authentication(now + wait);
        self.wait(line, deadline, State::release).await
    }

    fn backoff(&self) -> Duration {
        (BACKOFF * 2_u32.pow(self.refusals.min(5))).min(MAX_BACKOFF)
    }

    /// Waits for this call's turn; then leaves the queue and takes what the turn is for.
    async fn wait<T: Send>(
        &mut self,
        line: Line,
        deadline: Instant,
        take: impl FnOnce(&mut State, Instant) -> T + Send,
    ) -> Result<T, Denied> {
        let mut queued: Option<Queued> = None;
        loop {
            let wake_at = {
                let governor = self.governor.clone();
                let mut state = governor.lock();
                let now = Instant::now();
                let turn = state.turn(self.key, line, self.jitter, now);
                // A turn that is there is taken even on the last moment.
                if turn == Turn::Now {
                    state.waiting.remove(&self.key);
                    if let Some(queued) = queued {
                        queued.left();
                    }
                    let taken = take(&mut state, now);
                    state.wake(now);
                    return Ok(taken);
                }
                let estimate = state.estimate(self.key, line, now);
                if now >= deadline {
                    return Err(estimate.map_or(Denied::Late, |(wait, _)| Denied::Limited(wait)));
                }
                if queued.is_none() {
                    // Not queued for nothing.
                    if let Some((wait, least)) = estimate
                        && least > deadline.saturating_duration_since(now)
                    {
                        return Err(Denied::Limited(wait));
                    }
                    queued = Some(Queued::enter(&governor, &mut state, self, line));
                }
                match turn {
                    Turn::At(at) => at.min(deadline),
                    _ => deadline,
                }
            };
            tokio::select! {
                () = self.notify.notified() => {}
                () = sleep_until(wake_at) => {}
            }
        }
    }
}

/// Takes a call out of the queue, also when nobody waits for it any more.
struct Queued {
    governor: Governor,
    key: Key,
    left: bool,
}

impl Queued {
    fn enter(governor: &Governor, state: &mut State, place: &Place, line: Line) -> Self {
        let notify = Arc::clone(&place.notify);
        state.waiting.insert(place.key, Waiter { line, notify });
        tracing::debug!(lane = ?place.key.0, waiting = state.waiting.len(), "waits for the rate limit");
        Self {
            governor: governor.clone(),
            key: place.key,
            left: false,
        }
    }

    /// The call has left already, with the lock held.
    fn left(mut self) {
        self.left = true;
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        if !self.left {
            let mut state = self.governor.lock();
            state.waiting.remove(&self.key);
            state.wake(Instant::now());
        }
    }
}

/// The right to make one call to the Management API.
pub(crate) struct Permit {
    governor: Governor,
    group: Group,
    gate: GateId,
    admitted: Instant,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Admitted,
    Sent,
    Settled,
}

impl Permit {
    /// From here on the call may have been counted at Auth0.
    pub(crate) fn sent(&mut self) {
        self.stage = Stage::Sent;
    }

    /// Certainly nothing was sent after all.
    pub(crate) fn unsent(&mut self) {
        self.stage = Stage::Admitted;
    }

    /// There is an answer, and it was not the rate limit's.
    pub(crate) fn answered(mut self, rates: Option<Rates>) {
        self.stage = Stage::Settled;
        let mut state = self.governor.lock();
        let now = Instant::now();
        self.leave(&mut state);
        let id = state.learn(self.group, rates, now);
        state.served(id, rates, self.admitted, now);
        state.wake(now);
    }

    /// Auth0 refused the call for the rate, so it was not processed.
    pub(crate) fn limited(
        mut self,
        place: &mut Place,
        named: Option<Duration>,
        rates: Option<Rates>,
    ) {
        self.stage = Stage::Settled;
        let mut state = self.governor.lock();
        let now = Instant::now();
        self.leave(&mut state);
        let id = state.learn(self.group, rates, now);
        let bucket = state.gate(id).bucket.as_mut();
        let per_token = bucket.map(|bucket| {
            bucket.emptied(now);
            bucket.per_token()
        });
        let wait = match (named, per_token) {
            (Some(named), _) => Some(named),
            // The bucket fills all the time: the next token is soon there. Refused again, the call
            // waits for longer, until the bucket should be full.
            (None, Some(_)) if place.refusals == 0 => None,
            (None, Some(per_token)) => {
                let span = rates.and_then(|rates| rates.span()).unwrap_or(30);
                let doubled = per_token * 2_u32.pow(place.refusals.min(5));
                Some(doubled.min(Duration::from_secs(span.into())))
            }
            (None, None) => Some(place.backoff()),
        };
        let wait = wait.map(|wait| wait.min(LONGEST));
        place.refusals += 1;
        place.jitter = wait.map_or(Duration::ZERO, jitter);
        if let Some(wait) = wait {
            state.hold(id, now + wait);
        }
        tracing::debug!(
            wait_ms = wait.map(|wait| wait.as_millis()),
            "limited by Auth0"
        );
        state.wake(now);
    }

    fn leave(&self, state: &mut State) {
        let gate = state.gate(self.gate);
        gate.under_way = gate.under_way.saturating_sub(1);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.stage == Stage::Settled {
            return;
        }
        let mut state = self.governor.lock();
        let now = Instant::now();
        self.leave(&mut state);
        // What may have arrived is taken to be counted.
        if self.stage == Stage::Admitted
            && let Some(bucket) = &mut state.gate(self.gate).bucket
        {
            bucket.spend(-1.0, now);
        }
        state.wake(now);
    }
}

/// A random part to add to a pause, up to a tenth of it, so that replicas do not come back in step.
pub(crate) fn jitter(pause: Duration) -> Duration {
    let most = (pause / 10).min(MAX_JITTER);
    // Without randomness there is no jitter; nothing depends on it being hard to guess.
    let random = getrandom::u32().unwrap_or_default();
    most.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the range of the target"
)]
fn whole(level: f64) -> u32 {
    level.clamp(0.0, f64::from(u32::MAX)) as u32
}
