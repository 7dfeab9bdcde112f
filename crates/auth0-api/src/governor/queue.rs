//! Who waits, and who may go.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::bucket::Bucket;
use super::rates::Rates;
use crate::management::Lane;

/// Calls that may be under way while nothing is known about the tenant: ten, so that a list of a
/// thousand users passes as ten pages side by side. That is the burst of the smallest paid plan; a
/// smaller bucket refuses the rest, which wait then and lose nothing.
pub(super) const SLOW_START: u32 = 10;
/// Kinds of limits that are kept apart. A tenant has five or so.
const MAX_GATES: usize = 16;
/// Time between two releases of limited authentication calls, until an answer says better, and the
/// bounds of what is believed.
const DEFAULT_PACE: Duration = Duration::from_millis(100);
const PACES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Calls of the Management API that some plans limit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Group {
    UsersRead,
    UsersWrite,
    UsersDelete,
    Connections,
    Other,
}

/// What limits a waiting call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// It was limited, and may be sent again from this instant on.
    Authentication(Instant),
    Management(Group),
}

/// Lane and arrival: the order in which calls go.
pub(super) type Key = (Lane, u64);

#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) line: Line,
    pub(super) notify: Arc<Notify>,
}

/// The limit that a group of calls runs into. Groups whose answers name a bucket of the same size are
/// taken to share it: on most plans all do.
#[derive(Debug)]
pub(super) struct Gate {
    /// `None` while no answer has said anything.
    pub(super) bucket: Option<Bucket>,
    /// Calls admitted and not answered.
    pub(super) under_way: u32,
    /// Calls that may be under way while there is no bucket.
    most: u32,
    /// Nothing goes before this.
    pub(super) hold: Option<Instant>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            bucket: None,
            under_way: 0,
            most: SLOW_START,
            hold: None,
        }
    }
}

/// Which [`Gate`]: the size of its bucket, or `None` for the one before anything is known.
pub(super) type GateId = Option<u32>;

/// When a call may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    /// At this instant, if nothing changes until then.
    At(Instant),
    /// When something changes.
    Later,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) waiting: BTreeMap<Key, Waiter>,
    pub(super) arrivals: u64,
    groups: HashMap<Group, u32>,
    gates: HashMap<GateId, Gate>,
    /// Auth0's clock, to stand in for a date that is missing.
    clock: Option<(i64, Instant)>,
    /// What the last answer of the Authentication API said.
    pub(super) authentication: Option<Rates>,
    next_release: Option<Instant>,
    pace: Option<Duration>,
}

impl State {
    /// The gate of a group: its own, or before its first answer the tightest one known.
    pub(super) fn gate_id(&self, group: Group) -> GateId {
        let own = self.groups.get(&group).copied();
        own.or_else(|| self.gates.keys().filter_map(|id| *id).min())
    }

    pub(super) fn gate(&mut self, id: GateId) -> &mut Gate {
        self.gates.entry(id).or_default()
    }

    /// The tightest bucket of the Management API.
    pub(super) fn tightest(&self) -> Option<&Bucket> {
        let known = self.gates.iter().filter(|(id, _)| id.is_some());
        known
            .min_by_key(|(id, _)| **id)
            .and_then(|(_, gate)| gate.bucket.as_ref())
    }

    /// Takes in what an answer to a management call says; the call itself is off `under_way`
    /// already. Returns the gate that the group goes through from now on.
    pub(super) fn learn(&mut self, group: Group, rates: Option<Rates>, now: Instant) -> GateId {
        let Some(rates) = rates.map(|rates| self.dated(rates, now)) else {
            let id = self.gate_id(group);
            let gate = self.gate(id);
            gate.most = (gate.most * 2).min(SLOW_START);
            return id;
        };
        if self.gates.len() > MAX_GATES {
            self.gates.retain(|_, gate| gate.under_way > 0);
        }
        let id = Some(rates.limit);
        self.groups.insert(group, rates.limit);
        // Calls that were admitted before anything was known may take from any bucket.
        let unknown = self.gates.get(&None).map_or(0, |gate| gate.under_way);
        let gate = self.gate(id);
        let under_way = gate.under_way + unknown;
        match &mut gate.bucket {
            Some(bucket) => bucket.learn(&rates, under_way, now),
            None => gate.bucket = Some(Bucket::new(&rates, under_way, now)),
        }
        id
    }

    /// Takes in that a call was served.
    pub(super) fn served(
        &mut self,
        id: GateId,
        rates: Option<Rates>,
        admitted: Instant,
        now: Instant,
    ) {
        let unknown = self.gates.get(&None).map_or(0, |gate| gate.under_way);
        let gate = self.gate(id);
        let under_way = gate.under_way + unknown;
        if let (Some(bucket), Some(rates)) = (&mut gate.bucket, rates) {
            bucket.served(&rates, admitted, under_way, now);
        }
    }

    /// Without a date the reset says nothing: Auth0's clock is carried on from an earlier answer.
    fn dated(&mut self, mut rates: Rates, now: Instant) -> Rates {
        match (rates.date, self.clock) {
            (Some(date), _) => self.clock = Some((date, now)),
            (None, Some((date, at))) => {
                let passed = now.saturating_duration_since(at).as_secs();
                rates.date = i64::try_from(passed)
                    .ok()
                    .and_then(|passed| date.checked_add(passed));
            }
            (None, None) => {}
        }
        rates
    }

    /// Nothing goes through a gate for a while; as long as nothing is known about it, one call tries
    /// first.
    pub(super) fn hold(&mut self, id: GateId, until: Instant) {
        let gate = self.gate(id);
        gate.hold = gate.hold.max(Some(until));
        gate.most = 1;
    }

    /// Takes in what a refusal of the Authentication API says, and returns how long one token takes.
    pub(super) fn learn_pace(&mut self, rates: Option<Rates>, now: Instant) -> Option<Duration> {
        let rates = self.dated(rates?, now);
        let per_token = Duration::from_secs(rates.span()?.into()) / rates.missing().max(1);
        self.pace = Some(per_token.clamp(PACES.0, PACES.1));
        Some(per_token)
    }

    pub(super) fn pace(&self) -> Duration {
        self.pace.unwrap_or(DEFAULT_PACE)
    }

    /// When a call may go, in its place in the queue.
    pub(super) fn turn(&self, key: Key, line: Line, jitter: Duration, now: Instant) -> Turn {
        if self.waiting.range(..key).any(|(other, waiter)| {
            self.yields(key, *other) || self.is_behind(line, waiter.line, now)
        }) {
            return Turn::Later;
        }
        let at = match line {
            Line::Authentication(ready) => {
                let ready = ready.max(self.next_release.unwrap_or(ready));
                Some(ready + jitter)
            }
            Line::Management(group) => self.gate_opens(group, key.0, jitter, now),
        };
        match at {
            Some(at) if at <= now => Turn::Now,
            Some(at) => Turn::At(at),
            None => Turn::Later,
        }
    }

    /// Work that can wait yields to any earlier lane, whichever API that one waits for.
    fn yields(&self, (lane, _): Key, (earlier, _): Key) -> bool {
        lane >= Lane::Admin && earlier < lane
    }

    /// Does the earlier one of two wait for the same thing?
    fn is_behind(&self, line: Line, earlier: Line, now: Instant) -> bool {
        match (line, earlier) {
            // One whose own wait is longer lets others pass.
            (Line::Authentication(_), Line::Authentication(ready)) => ready <= now,
            (Line::Management(mine), Line::Management(theirs)) => {
                self.gate_id(mine) == self.gate_id(theirs)
            }
            _ => false,
        }
    }

    fn gate_opens(
        &self,
        group: Group,
        lane: Lane,
        jitter: Duration,
        now: Instant,
    ) -> Option<Instant> {
        let Some(gate) = self.gates.get(&self.gate_id(group)) else {
            return Some(now);
        };
        let hold = gate.hold.filter(|hold| *hold > now);
        let held = hold.map_or(now, |hold| hold + jitter);
        match &gate.bucket {
            Some(bucket) => Some(held.max(now + bucket.wait(lane, 0, now))),
            None if gate.under_way < gate.most => Some(held),
            None => None,
        }
    }

    /// How long a call will wait in its place: as it stands, and at least. `None` when nothing is
    /// known about the limit.
    pub(super) fn estimate(
        &self,
        key: Key,
        line: Line,
        now: Instant,
    ) -> Option<(Duration, Duration)> {
        let ahead = self
            .waiting
            .range(..key)
            .filter(|(_, waiter)| match (line, waiter.line) {
                (Line::Authentication(_), Line::Authentication(_)) => true,
                (line, other) => self.is_behind(line, other, now),
            })
            .count();
        match line {
            Line::Authentication(ready) => {
                let ready = ready.max(self.next_release.unwrap_or(ready));
                let queue = self.pace() * u32::try_from(ahead).unwrap_or(u32::MAX);
                let wait = ready.saturating_duration_since(now) + queue;
                Some((wait, wait))
            }
            Line::Management(group) => {
                let gate = self.gates.get(&self.gate_id(group))?;
                let held = gate.hold.map(|hold| hold.saturating_duration_since(now));
                let yielded = self.yielded(key, now);
                let Some(bucket) = &gate.bucket else {
                    let wait = held.max(yielded)?;
                    return Some((wait, wait));
                };
                let floor = held.max(yielded).unwrap_or_default();
                let wait = bucket.wait(key.0, ahead, now).max(floor);
                let least = bucket.least_wait(key.0, ahead, now).max(floor);
                Some((wait, least))
            }
        }
    }

    /// How long the call yields to authentication calls that wait.
    fn yielded(&self, key: Key, now: Instant) -> Option<Duration> {
        let before = self.waiting.range(..key);
        before
            .filter(|(other, _)| self.yields(key, **other))
            .filter_map(|(_, waiter)| match waiter.line {
                Line::Authentication(ready) => Some(ready.saturating_duration_since(now)),
                Line::Management(_) => None,
            })
            .max()
    }

    /// Marks a limited authentication call as sent.
    pub(super) fn release(&mut self, now: Instant) {
        self.next_release = Some(now + self.pace());
    }

    /// Wakes those who may have become first.
    pub(super) fn wake(&self, now: Instant) {
        for (key, waiter) in &self.waiting {
            if self.turn(*key, waiter.line, Duration::ZERO, now) != Turn::Later {
                waiter.notify.notify_one();
            }
        }
    }
}
