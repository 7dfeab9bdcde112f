//! Sessions kept near, as long as Redis says when they change.
//!
//! Redis remembers which keys this connection has read and tells when one changes (client tracking).
//! A session is kept from its reading until then, for a short time at most, and only while the
//! connection is known to be alive: when it breaks or falls silent, the cache is empty and off, not
//! stale.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use redis::Value;

use super::keys::{self, RecordId};
use crate::{Credential, Session, Timestamp};

/// Silence after which the connection does not count as alive.
const SILENCE: Duration = Duration::from_secs(2);
/// How many changes are remembered, for readings that were under way when they came.
const REMEMBERED: usize = 4096;
const SHARDS: usize = 64;

type Shard = RwLock<HashMap<Credential, Entry>>;

#[derive(Debug)]
pub(super) struct NearCache {
    bound: usize,
    age: Duration,
    /// Length of the beginning of each key.
    prefix: Vec<u8>,
    shards: Vec<Shard>,
    on: AtomicBool,
    /// Milliseconds after `birth` up to which the connection counts as alive.
    alive_until: AtomicU64,
    birth: Instant,
    writer: Mutex<Writer>,
    hits: AtomicU64,
    misses: AtomicU64,
    invalidations: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    session: Arc<Session>,
    read: Instant,
}

#[derive(Debug, Default)]
struct Writer {
    generation: u64,
    /// Which credentials a record is kept under.
    by_record: HashMap<RecordId, Vec<Credential>>,
    /// In the order of their reading; some may be gone already.
    order: VecDeque<(Instant, Credential)>,
    /// Counts changes.
    changes: u64,
    recent: VecDeque<(u64, RecordId)>,
}

/// The state of things when a reading began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    generation: u64,
    changes: u64,
    begun: Instant,
}

/// How the near cache is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NearCacheStatus {
    /// In use right now: wanted, and its connection is alive.
    pub on: bool,
    /// Sessions in it.
    pub sessions: usize,
    /// Checks it answered.
    pub hits: u64,
    /// Checks it could not answer.
    pub misses: u64,
    /// Sessions that Redis said have changed.
    pub invalidations: u64,
    /// Age of the oldest session in it.
    pub oldest: Duration,
}

impl NearCache {
    pub(super) fn new(bound: usize, age: Duration, scope: &str) -> Self {
        Self {
            bound,
            age,
            prefix: keys::prefix(scope),
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            on: AtomicBool::new(false),
            alive_until: AtomicU64::new(0),
            birth: Instant::now(),
            writer: Mutex::default(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            invalidations: AtomicU64::new(0),
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.bound > 0
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, credential: &Credential) -> &Shard {
        // Always in range; the first serves to please the types.
        let at = usize::from(credential.hash()[31]) % SHARDS;
        self.shards.get(at).unwrap_or(&self.shards[0])
    }

    fn remove(&self, credential: &Credential) {
        let mut shard = self
            .shard(credential)
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        shard.remove(credential);
    }

    fn is_alive(&self, at: Instant) -> bool {
        let at = at.saturating_duration_since(self.birth).as_millis();
        self.on.load(Ordering::Acquire) && at < u128::from(self.alive_until.load(Ordering::Acquire))
    }

    /// A live session that this credential opens, if it is here.
    pub(super) fn get(&self, credential: &Credential, now: Timestamp) -> Option<Arc<Session>> {
        if !self.is_wanted() {
            return None;
        }
        let at = Instant::now();
        let found = self.is_alive(at).then(|| {
            let shard = self
                .shard(credential)
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            let entry = shard.get(credential)?;
            let fresh = at.saturating_duration_since(entry.read) < self.age;
            fresh.then(|| Arc::clone(&entry.session))
        });
        // One that seems over may have been used elsewhere: Redis knows.
        let found = found
            .flatten()
            .filter(|session| session.is_live(now) && session.is_opened_by(credential, now));
        let counter = if found.is_some() {
            &self.hits
        } else {
            &self.misses
        };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// To be called before a reading.
    pub(super) fn ticket(&self) -> Ticket {
        let writer = self.writer();
        Ticket {
            generation: writer.generation,
            changes: writer.changes,
            begun: Instant::now(),
        }
    }

    /// Keeps what was read, unless it has changed since the reading began.
    pub(super) fn fill(
        &self,
        ticket: Ticket,
        record: RecordId,
        credential: Credential,
        session: &Arc<Session>,
    ) {
        if !self.is_wanted() {
            return;
        }
        let mut writer = self.writer();
        let forgotten = writer.changes - ticket.changes > REMEMBERED as u64;
        let changed = forgotten
            || writer
                .recent
                .iter()
                .rev()
                .take_while(|(change, _)| *change > ticket.changes)
                .any(|(_, changed)| *changed == record);
        if changed || writer.generation != ticket.generation || !self.on.load(Ordering::Acquire) {
            return;
        }
        while writer.order.len() >= self.bound
            && let Some((read, oldest)) = writer.order.pop_front()
        {
            self.forget(&mut writer, read, &oldest);
        }
        let credentials = writer.by_record.entry(record).or_default();
        if !credentials.contains(&credential) {
            credentials.push(credential);
        }
        writer.order.push_back((ticket.begun, credential));
        let entry = Entry {
            session: Arc::clone(session),
            read: ticket.begun,
        };
        self.shard(&credential)
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(credential, entry);
    }

    /// Lets go of one that was read at this instant, unless it was read again since.
    fn forget(&self, writer: &mut Writer, read: Instant, credential: &Credential) {
        let mut shard = self
            .shard(credential)
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if shard.get(credential).is_none_or(|entry| entry.read != read) {
            return;
        }
        if let Some(entry) = shard.remove(credential) {
            let record = RecordId::of(entry.session.subject(), entry.session.id());
            if let Some(credentials) = writer.by_record.get_mut(&record) {
                credentials.retain(|other| other != credential);
                if credentials.is_empty() {
                    writer.by_record.remove(&record);
                }
            }
        }
    }

    /// Redis says that keys have changed.
    pub(super) fn invalidate(&self, generation: u64, data: &[Value]) {
        let mut writer = self.writer();
        if writer.generation != generation {
            return;
        }
        for value in data {
            match value {
                Value::Array(keys) => {
                    for key in keys {
                        if let Value::BulkString(key) = key {
                            self.invalidate_key(&mut writer, key);
                        }
                    }
                }
                // Everything: the server was emptied.
                Value::Nil => self.clear(&mut writer),
                _ => {}
            }
        }
    }

    fn invalidate_key(&self, writer: &mut Writer, key: &[u8]) {
        let Some(record) = RecordId::from_key(&self.prefix, key) else {
            return;
        };
        writer.changes += 1;
        let change = writer.changes;
        writer.recent.push_back((change, record));
        if writer.recent.len() > REMEMBERED {
            writer.recent.pop_front();
        }
        if let Some(credentials) = writer.by_record.remove(&record) {
            self.invalidations.fetch_add(1, Ordering::Relaxed);
            for credential in credentials {
                self.remove(&credential);
            }
        }
    }

    fn clear(&self, writer: &mut Writer) {
        for shard in &self.shards {
            shard
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .clear();
        }
        writer.by_record.clear();
        writer.order.clear();
        writer.recent.clear();
        // Readings under way were begun before this change, whatever they read.
        writer.changes += REMEMBERED as u64 + 1;
    }

    pub(super) fn switch_on(&self, generation: u64) {
        let mut writer = self.writer();
        self.clear(&mut writer);
        writer.generation = generation;
        self.on.store(true, Ordering::Release);
        drop(writer);
        self.heartbeat(generation, Instant::now());
    }

    /// The connection of this generation, or of an earlier one, is gone.
    pub(super) fn switch_off(&self, generation: u64) {
        let mut writer = self.writer();
        if writer.generation <= generation {
            self.on.store(false, Ordering::Release);
            self.clear(&mut writer);
        }
    }

    /// The connection answered something that was asked at this instant. A time to let go of what is too
    /// old to be served, too: nobody may ask for it again.
    pub(super) fn heartbeat(&self, generation: u64, asked: Instant) {
        let mut writer = self.writer();
        if writer.generation == generation {
            while let Some((read, oldest)) = writer.order.front().copied()
                && asked.saturating_duration_since(read) >= self.age
            {
                writer.order.pop_front();
                self.forget(&mut writer, read, &oldest);
            }
            let until = (asked + SILENCE).saturating_duration_since(self.birth);
            let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
            self.alive_until.store(until, Ordering::Release);
        }
    }

    pub(super) fn status(&self) -> NearCacheStatus {
        let now = Instant::now();
        let (mut sessions, mut oldest) = (0, now);
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            sessions += shard.len();
            oldest = shard
                .values()
                .fold(oldest, |oldest, entry| oldest.min(entry.read));
        }
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        NearCacheStatus {
            on: self.is_alive(now),
            sessions,
            hits: count(&self.hits),
            misses: count(&self.misses),
            invalidations: count(&self.invalidations),
            oldest: now.saturating_duration_since(oldest),
        }
    }
}
