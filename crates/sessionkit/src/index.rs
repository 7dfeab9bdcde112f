//! The tables of sessions in memory: what the memory store is, and what the embedded store reads from.
//!
//! A write has two halves: it is decided (`judge_…`), then applied. The memory store does both under one
//! lock; the embedded store writes the decision down in between.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use hashbrown::HashTable;

use crate::{Created, Credential, Fence, Lease, Session, SessionId, Swap, Timestamp};

/// Sessions by credential, by subject and id, and by the identity provider's session; and the leases.
///
/// Readers by credential take a read lock on one of 64 tables and nothing else. Writers take turns.
#[derive(Debug)]
pub(crate) struct Index {
    shards: Vec<RwLock<HashTable<Arc<Session>>>>,
    /// Replaced credentials and the ones that took their place. Consulted on a miss.
    aliases: RwLock<HashMap<Credential, Credential>>,
    writer: Mutex<Writer>,
}

/// Number of tables, a power of two.
const SHARDS: usize = 64;
/// How long a lease that ran out is remembered, so that its holder's write can still be judged.
pub(crate) const LEASE_MEMORY: Duration = Duration::from_secs(600);

/// What only writers touch.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    by_subject: BTreeSet<BySubject>,
    /// Sessions that name one, by the hash of the identity provider's session.
    by_provider_session: HashTable<Arc<Session>>,
    hasher: RandomState,
    leases: HashMap<SessionId, LeaseRecord>,
    fences: u64,
    /// Where the sweep goes on.
    cursor: Option<(String, SessionId)>,
}

/// A lease as remembered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeaseRecord {
    pub(crate) fence: Fence,
    pub(crate) until: Timestamp,
}

/// What a decided write does to the tables: takes sessions out, then puts one in, in the place of the
/// one stored before.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) removed: Vec<Arc<Session>>,
    pub(crate) put: Option<(Arc<Session>, Option<Arc<Session>>)>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            aliases: RwLock::default(),
            writer: Mutex::default(),
        }
    }
}

impl Index {
    // A panic under a lock leaves the tables usable: each write puts its parts in an order in which
    // every prefix of it is a valid state.
    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, credential: &Credential) -> &RwLock<HashTable<Arc<Session>>> {
        // Always in range; the first serves to please the types.
        let at = usize::from(credential.hash()[31]) % SHARDS;
        self.shards.get(at).unwrap_or(&self.shards[0])
    }

    fn read(&self, credential: &Credential) -> RwLockReadGuard<'_, HashTable<Arc<Session>>> {
        self.shard(credential)
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, credential: &Credential) -> RwLockWriteGuard<'_, HashTable<Arc<Session>>> {
        self.shard(credential)
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The stored session whose current credential this is, live or not.
    fn current(&self, credential: &Credential) -> Option<Arc<Session>> {
        let table = self.read(credential);
        table
            .find(slot(credential), |s| s.credential() == *credential)
            .cloned()
    }

    /// The live session that a credential opens.
    pub(crate) fn find(&self, credential: &Credential, now: Timestamp) -> Option<Arc<Session>> {
        let session = self.current(credential).or_else(|| {
            let aliases = self.aliases.read().unwrap_or_else(PoisonError::into_inner);
            let current = *aliases.get(credential)?;
            drop(aliases);
            self.current(&current)
        })?;
        (session.is_live(now) && session.is_opened_by(credential, now)).then_some(session)
    }

    fn insert(&self, session: &Arc<Session>) {
        let credential = session.credential();
        let mut table = self.write(&credential);
        let same = |other: &Arc<Session>| other.credential() == credential;
        match table.find_mut(slot(&credential), same) {
            Some(entry) => *entry = Arc::clone(session),
            None => {
                let rehash = |other: &Arc<Session>| slot(&other.credential());
                table.insert_unique(slot(&credential), Arc::clone(session), rehash);
            }
        }
    }

    /// Applies a decided write.
    pub(crate) fn apply(&self, writer: &mut Writer, change: Change) {
        for session in &change.removed {
            self.remove(writer, session);
        }
        if let Some((next, stored)) = change.put {
            self.put(writer, &next, stored.as_deref());
        }
    }

    fn put(&self, writer: &mut Writer, next: &Arc<Session>, stored: Option<&Session>) {
        // A reader in between finds the old session or the new one, by either credential.
        self.insert(next);
        if let Some(stored) = stored {
            self.unlink_previous(stored);
        }
        self.link_previous(next);
        if let Some(stored) = stored
            && next.credential() != stored.credential()
        {
            self.unlink(&stored.credential(), next.id());
        }
        writer.replace(next);
    }

    /// Takes a session out of every table.
    pub(crate) fn remove(&self, writer: &mut Writer, session: &Session) {
        writer.forget(session);
        self.unlink(&session.credential(), session.id());
        self.unlink_previous(session);
    }

    /// Lets a session's previous credentials lead to it. One whose grace time is over may be a previous
    /// credential of another session by now: the later grace time counts.
    fn link_previous(&self, session: &Session) {
        if session.previous().is_empty() {
            return;
        }
        let current = session.credential();
        let mut aliases = self.aliases.write().unwrap_or_else(PoisonError::into_inner);
        for previous in session.previous() {
            let other = aliases.get(&previous.credential);
            let other = other.filter(|other| **other != current);
            let later = other
                .and_then(|other| self.current(other))
                .is_some_and(|other| {
                    other.previous().iter().any(|theirs| {
                        theirs.credential == previous.credential
                            && theirs.valid_until > previous.valid_until
                    })
                });
            if !later {
                aliases.insert(previous.credential, current);
            }
        }
    }

    fn unlink_previous(&self, session: &Session) {
        if session.previous().is_empty() {
            return;
        }
        let mut aliases = self.aliases.write().unwrap_or_else(PoisonError::into_inner);
        for previous in session.previous() {
            if aliases.get(&previous.credential) == Some(&session.credential()) {
                aliases.remove(&previous.credential);
            }
        }
    }

    /// Lets a credential open this session no more.
    fn unlink(&self, credential: &Credential, id: SessionId) {
        let is_it = |other: &Arc<Session>| other.id() == id;
        if let Ok(entry) = self.write(credential).find_entry(slot(credential), is_it) {
            entry.remove();
        }
    }

    /// Is its credential free for this session? An expired session that holds it is to go.
    fn room(&self, session: &Session, now: Timestamp) -> Option<Change> {
        let credential = &session.credential();
        let holder = self
            .current(credential)
            .or_else(|| self.find(credential, now));
        match holder {
            Some(other) if (other.id(), other.subject()) == (session.id(), session.subject()) => {
                Some(Change::default())
            }
            Some(other) if other.is_live(now) => None,
            Some(expired) => Some(Change {
                removed: vec![expired],
                put: None,
            }),
            None => Some(Change::default()),
        }
    }

    /// Decides whether a session may be added.
    pub(crate) fn judge_create(
        &self,
        writer: &Writer,
        session: &Arc<Session>,
        now: Timestamp,
    ) -> (Created, Change) {
        if writer.stored(session.subject(), session.id()).is_some() {
            return (Created::IdTaken, Change::default());
        }
        let Some(mut change) = self.room(session, now) else {
            return (Created::CredentialTaken, Change::default());
        };
        change.put = Some((Arc::clone(session), None));
        (Created::Stored(Arc::clone(session)), change)
    }

    /// Decides whether `next` may take the place of the session with this version.
    pub(crate) fn judge_swap(
        &self,
        writer: &Writer,
        version: u64,
        next: &Arc<Session>,
        fence: Option<Fence>,
        now: Timestamp,
    ) -> (Swap, Change) {
        let refused = |swap| (swap, Change::default());
        let stored = writer.stored(next.subject(), next.id());
        let Some(stored) = stored.filter(|stored| stored.is_live(now)) else {
            return refused(Swap::Ended);
        };
        if fence.is_some_and(|fence| !writer.holds(stored.id(), fence)) {
            return refused(Swap::Fenced);
        }
        if stored.version() != version {
            return refused(Swap::Conflict(stored));
        }
        let Some(mut change) = self.room(next, now) else {
            return refused(Swap::CredentialTaken);
        };
        change.put = Some((Arc::clone(next), Some(stored)));
        (Swap::Stored(Arc::clone(next)), change)
    }

    /// The first half of start-up: credentials, from any number of threads.
    #[cfg(feature = "embedded")]
    pub(crate) fn fill_credentials(&self, session: &Arc<Session>) {
        self.insert(session);
        self.link_previous(session);
    }

    /// Puts sessions in the order that [`Self::fill`] wants them in.
    #[cfg(feature = "embedded")]
    pub(crate) fn sort(sessions: &mut [Arc<Session>]) {
        sessions
            .sort_by(|one, other| (one.subject(), one.id()).cmp(&(other.subject(), other.id())));
    }

    /// The second half: all sessions, in sorted runs. They are merged, and the tree is built in one pass.
    #[cfg(feature = "embedded")]
    pub(crate) fn fill(&self, sessions: Vec<Arc<Session>>) {
        let mut writer = self.writer();
        for session in &sessions {
            writer.link_provider_session(session);
        }
        writer.by_subject = sessions.into_iter().map(BySubject).collect();
    }
}

impl Writer {
    /// The stored session of this subject and id, live or not.
    pub(crate) fn stored(&self, subject: &str, id: SessionId) -> Option<Arc<Session>> {
        self.by_subject
            .get(&(subject, id) as &dyn SubjectKey)
            .map(|entry| Arc::clone(&entry.0))
    }

    fn replace(&mut self, next: &Arc<Session>) {
        let before = self.by_subject.replace(BySubject(Arc::clone(next)));
        if let Some(BySubject(before)) = before {
            self.unlink_provider_session(&before);
        }
        self.link_provider_session(next);
    }

    fn forget(&mut self, session: &Session) {
        self.by_subject
            .remove(&(session.subject(), session.id()) as &dyn SubjectKey);
        self.leases.remove(&session.id());
        self.unlink_provider_session(session);
    }

    fn link_provider_session(&mut self, session: &Arc<Session>) {
        if let Some(name) = session.identity_provider_session() {
            let hasher = &self.hasher;
            let rehash = |other: &Arc<Session>| {
                hasher.hash_one(other.identity_provider_session().unwrap_or_default())
            };
            self.by_provider_session.insert_unique(
                hasher.hash_one(name),
                Arc::clone(session),
                rehash,
            );
        }
    }

    fn unlink_provider_session(&mut self, session: &Session) {
        if let Some(name) = session.identity_provider_session() {
            let is_it = |other: &Arc<Session>| {
                other.id() == session.id() && other.subject() == session.subject()
            };
            if let Ok(entry) = self
                .by_provider_session
                .find_entry(self.hasher.hash_one(name), is_it)
            {
                entry.remove();
            }
        }
    }

    fn after(&self, key: Option<(&str, SessionId)>) -> impl Iterator<Item = &Arc<Session>> {
        let start = match &key {
            Some(key) => Bound::Excluded(key as &dyn SubjectKey),
            None => Bound::Unbounded,
        };
        self.by_subject
            .range::<dyn SubjectKey, _>((start, Bound::Unbounded))
            .map(|entry| &entry.0)
    }

    /// Stored sessions of a subject, live or not.
    pub(crate) fn of_subject(&self, subject: &str) -> Vec<Arc<Session>> {
        let first = (subject, SessionId::from_bytes([0; 16]));
        let start = Bound::Included(&first as &dyn SubjectKey);
        self.by_subject
            .range::<dyn SubjectKey, _>((start, Bound::Unbounded))
            .map(|entry| &entry.0)
            .take_while(|session| session.subject() == subject)
            .cloned()
            .collect()
    }

    /// Stored sessions that belong to a session of the identity provider's, live or not.
    pub(crate) fn of_provider_session(&self, name: &str) -> Vec<Arc<Session>> {
        self.by_provider_session
            .iter_hash(self.hasher.hash_one(name))
            .filter(|session| session.identity_provider_session() == Some(name))
            .cloned()
            .collect()
    }

    /// A page of live sessions in order.
    pub(crate) fn page(
        &self,
        after: Option<&(String, SessionId)>,
        limit: usize,
        now: Timestamp,
    ) -> Vec<Arc<Session>> {
        let start = after.map(|(subject, id)| (subject.as_str(), *id));
        self.after(start)
            .filter(|session| session.is_live(now))
            .take(limit)
            .cloned()
            .collect()
    }

    /// A page of subjects with a live session.
    pub(crate) fn active(&self, after: Option<&str>, limit: usize, now: Timestamp) -> Vec<String> {
        let start = after.map(|subject| (subject, SessionId::MAX));
        let mut subjects: Vec<String> = Vec::new();
        for session in self.after(start) {
            if subjects.len() == limit {
                break;
            }
            let subject = session.subject();
            if session.is_live(now) && subjects.last().is_none_or(|last| last != subject) {
                subjects.push(subject.to_owned());
            }
        }
        subjects
    }

    /// The next few stored sessions in a round through all of them; an empty answer ends the round.
    pub(crate) fn round(&mut self, count: usize) -> Vec<Arc<Session>> {
        let from = self.cursor.take();
        let start = from.as_ref().map(|(subject, id)| (subject.as_str(), *id));
        let sessions: Vec<Arc<Session>> = self.after(start).take(count).cloned().collect();
        if let Some(last) = sessions.last() {
            self.cursor = Some((last.subject().to_owned(), last.id()));
        }
        sessions
    }

    #[cfg(feature = "embedded")]
    pub(crate) fn len(&self) -> usize {
        self.by_subject.len()
    }

    /// Decides about a lease: the new one, or who holds it.
    pub(crate) fn judge_lease(
        &mut self,
        id: SessionId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<LeaseRecord, Lease> {
        if let Some(lease) = self.leases.get(&id)
            && lease.until > now
        {
            return Err(Lease::Held(lease.until));
        }
        self.fences += 1;
        Ok(LeaseRecord {
            fence: Fence(self.fences),
            until: now.after(ttl),
        })
    }

    pub(crate) fn holds(&self, id: SessionId, fence: Fence) -> bool {
        self.leases
            .get(&id)
            .is_some_and(|lease| lease.fence == fence)
    }

    pub(crate) fn set_lease(&mut self, id: SessionId, lease: Option<LeaseRecord>) {
        match lease {
            Some(lease) => {
                self.fences = self.fences.max(lease.fence.0);
                self.leases.insert(id, lease);
            }
            None => {
                self.leases.remove(&id);
            }
        }
    }

    /// No lease gets a number up to this one any more.
    #[cfg(feature = "embedded")]
    pub(crate) fn skip_fences(&mut self, last: u64) {
        self.fences = self.fences.max(last);
    }

    #[cfg(feature = "embedded")]
    pub(crate) fn lease(&self, id: SessionId) -> Option<LeaseRecord> {
        self.leases.get(&id).copied()
    }

    /// Leases that nobody's write needs to be judged by any more.
    pub(crate) fn old_leases(&self, now: Timestamp) -> Vec<SessionId> {
        self.leases
            .iter()
            .filter(|(_, lease)| lease.until.after(LEASE_MEMORY) <= now)
            .map(|(id, _)| *id)
            .collect()
    }

    pub(crate) fn lease_count(&self) -> usize {
        self.leases.len()
    }
}

/// The place of a credential in its table. A SHA-256 is as good a hash as any.
fn slot(credential: &Credential) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&credential.hash()[..8]);
    u64::from_le_bytes(first)
}

/// A session in the order of subject and id: the index of `/users/active`, at eight bytes a session.
#[derive(Debug)]
struct BySubject(Arc<Session>);

/// What the index is ordered by, so that it can be searched without making a session.
trait SubjectKey {
    fn key(&self) -> (&str, SessionId);
}

impl SubjectKey for BySubject {
    fn key(&self) -> (&str, SessionId) {
        (self.0.subject(), self.0.id())
    }
}

impl SubjectKey for (&str, SessionId) {
    fn key(&self) -> (&str, SessionId) {
        *self
    }
}

impl<'a> Borrow<dyn SubjectKey + 'a> for BySubject {
    fn borrow(&self) -> &(dyn SubjectKey + 'a) {
        self
    }
}

impl PartialEq for dyn SubjectKey + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for dyn SubjectKey + '_ {}

impl PartialOrd for dyn SubjectKey + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn SubjectKey + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialEq for BySubject {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for BySubject {}

impl PartialOrd for BySubject {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for BySubject {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}
