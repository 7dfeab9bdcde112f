//! Sessions in the memory of one process.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hashbrown::HashTable;

use crate::one_time_table::OneTimeTable;
use crate::{
    Created, Credential, Fence, Lease, OneTimeStore, Peek, Session, SessionId, SessionStore,
    StoreError, Swap, Timestamp,
};

/// Keeps sessions and one-time records in the memory of this process; all is lost with it.
///
/// Readers take a read lock on one of 64 tables and nothing else. Writers take turns. Expired
/// sessions count as none from their last instant on; their memory is taken back by later sign-ins,
/// a few at a time.
#[derive(Debug)]
pub struct MemoryStore {
    shards: Vec<RwLock<HashTable<Arc<Session>>>>,
    /// Replaced credentials and the ones that took their place. Consulted on a miss.
    aliases: RwLock<HashMap<Credential, Credential>>,
    writer: Mutex<Writer>,
    one_time: Mutex<OneTimeTable>,
}

/// Number of tables, a power of two.
const SHARDS: usize = 64;
/// How many sessions a sign-in looks at to take back the memory of expired ones.
const SWEEP: usize = 4;
/// How long a lease that ran out is remembered, so that its holder's write can still be judged.
const LEASE_MEMORY: Duration = Duration::from_secs(600);

/// What only writers touch.
#[derive(Debug, Default)]
struct Writer {
    by_subject: BTreeSet<BySubject>,
    leases: HashMap<SessionId, LeaseRecord>,
    fences: u64,
    /// Where the sweep goes on.
    cursor: Option<(String, SessionId)>,
}

#[derive(Clone, Copy, Debug)]
struct LeaseRecord {
    fence: Fence,
    until: Timestamp,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            aliases: RwLock::default(),
            writer: Mutex::default(),
            one_time: Mutex::default(),
        }
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    // A panic under a lock leaves the tables usable: each write puts its parts in an order in which
    // every prefix of it is a valid state.
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one_time(&self) -> MutexGuard<'_, OneTimeTable> {
        self.one_time.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn find(&self, credential: &Credential, now: Timestamp) -> Option<Arc<Session>> {
        let session = self.current(credential).or_else(|| {
            let aliases = self.aliases.read().unwrap_or_else(PoisonError::into_inner);
            let current = *aliases.get(credential)?;
            drop(aliases);
            self.current(&current)
        })?;
        (session.is_live(now) && session.is_opened_by(credential, now)).then_some(session)
    }

    /// The stored session of this subject and id, live or not.
    fn stored(writer: &Writer, subject: &str, id: SessionId) -> Option<Arc<Session>> {
        writer
            .by_subject
            .get(&(subject, id) as &dyn SubjectKey)
            .map(|entry| Arc::clone(&entry.0))
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

    /// Takes a session out of every table.
    fn remove(&self, writer: &mut Writer, session: &Session) {
        writer
            .by_subject
            .remove(&(session.subject(), session.id()) as &dyn SubjectKey);
        writer.leases.remove(&session.id());
        self.forget(session);
    }

    /// Lets nothing find a session by its credentials any more.
    fn forget(&self, session: &Session) {
        let credential = session.credential();
        let mut table = self.write(&credential);
        let is_it = |other: &Arc<Session>| other.id() == session.id();
        if let Ok(entry) = table.find_entry(slot(&credential), is_it) {
            entry.remove();
        }
        drop(table);
        if !session.previous().is_empty() {
            let mut aliases = self.aliases.write().unwrap_or_else(PoisonError::into_inner);
            for previous in session.previous() {
                aliases.remove(&previous.credential);
            }
        }
    }

    /// Is the credential free for a session with this id? An expired session that holds it goes.
    fn make_room(
        &self,
        writer: &mut Writer,
        credential: &Credential,
        id: SessionId,
        now: Timestamp,
    ) -> bool {
        match self.current(credential) {
            Some(other) if other.id() == id => true,
            Some(other) if other.is_live(now) => false,
            Some(expired) => {
                self.remove(writer, &expired);
                true
            }
            None => self
                .find(credential, now)
                .is_none_or(|other| other.id() == id),
        }
    }

    /// Takes back the memory of a few expired sessions.
    fn sweep(&self, writer: &mut Writer, now: Timestamp) {
        let from = writer.cursor.take();
        let start = from.as_ref().map(|(subject, id)| (subject.as_str(), *id));
        let entries: Vec<Arc<Session>> = writer
            .after(start)
            .take(SWEEP)
            .map(|entry| Arc::clone(&entry.0))
            .collect();
        if let Some(last) = entries.last() {
            writer.cursor = Some((last.subject().to_owned(), last.id()));
        }
        for session in entries.iter().filter(|session| !session.is_live(now)) {
            self.remove(writer, session);
        }
        if writer.leases.len() > 1024 {
            writer
                .leases
                .retain(|_, lease| lease.until.after(LEASE_MEMORY) > now);
        }
    }
}

impl Writer {
    fn after(&self, key: Option<(&str, SessionId)>) -> impl Iterator<Item = &BySubject> {
        let start = match &key {
            Some(key) => Bound::Excluded(key as &dyn SubjectKey),
            None => Bound::Unbounded,
        };
        self.by_subject
            .range::<dyn SubjectKey, _>((start, Bound::Unbounded))
    }

    fn of_subject<'a>(&'a self, subject: &'a str) -> impl Iterator<Item = &'a Arc<Session>> {
        let first = (subject, SessionId::from_bytes([0; 16]));
        let start = Bound::Included(&first as &dyn SubjectKey);
        self.by_subject
            .range::<dyn SubjectKey, _>((start, Bound::Unbounded))
            .map(|entry| &entry.0)
            .take_while(move |session| session.subject() == subject)
    }
}

/// The place of a credential in its table. A SHA-256 is as good a hash as any.
fn slot(credential: &Credential) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&credential.hash()[..8]);
    u64::from_le_bytes(first)
}

#[async_trait]
impl SessionStore for MemoryStore {
    fn peek(&self, credential: &Credential, now: Timestamp) -> Peek {
        self.find(credential, now).map_or(Peek::Absent, Peek::Found)
    }

    async fn load(
        &self,
        credential: &Credential,
        now: Timestamp,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        Ok(self.find(credential, now))
    }

    async fn create(&self, session: Session, now: Timestamp) -> Result<Created, StoreError> {
        let mut writer = self.writer();
        self.sweep(&mut writer, now);
        if Self::stored(&writer, session.subject(), session.id()).is_some() {
            return Ok(Created::IdTaken);
        }
        if !self.make_room(&mut writer, &session.credential(), session.id(), now) {
            return Ok(Created::CredentialTaken);
        }
        let session = Arc::new(session);
        writer.by_subject.insert(BySubject(Arc::clone(&session)));
        self.insert(&session);
        Ok(Created::Stored(session))
    }

    async fn compare_and_swap(
        &self,
        current: &Session,
        next: Session,
        fence: Option<Fence>,
        now: Timestamp,
    ) -> Result<Swap, StoreError> {
        let mut writer = self.writer();
        let stored = Self::stored(&writer, current.subject(), current.id());
        let Some(stored) = stored.filter(|stored| stored.is_live(now)) else {
            return Ok(Swap::Ended);
        };
        if let Some(fence) = fence
            && writer
                .leases
                .get(&stored.id())
                .is_none_or(|lease| lease.fence != fence)
        {
            return Ok(Swap::Fenced);
        }
        if stored.version() != current.version() {
            return Ok(Swap::Conflict(stored));
        }
        if !self.make_room(&mut writer, &next.credential(), stored.id(), now) {
            return Ok(Swap::CredentialTaken);
        }
        let next = Arc::new(next);
        // A reader in between finds the old session or the new one, by either credential.
        self.insert(&next);
        if !next.previous().is_empty() {
            let mut aliases = self.aliases.write().unwrap_or_else(PoisonError::into_inner);
            for previous in stored.previous() {
                aliases.remove(&previous.credential);
            }
            for previous in next.previous() {
                aliases.insert(previous.credential, next.credential());
            }
        }
        if next.credential() != stored.credential() {
            let mut table = self.write(&stored.credential());
            let is_it = |other: &Arc<Session>| other.id() == stored.id();
            if let Ok(entry) = table.find_entry(slot(&stored.credential()), is_it) {
                entry.remove();
            }
        }
        writer.by_subject.replace(BySubject(Arc::clone(&next)));
        Ok(Swap::Stored(next))
    }

    async fn touch(&self, session: &Session, now: Timestamp) -> Result<(), StoreError> {
        // The caller may hold a value that has been replaced since.
        if let Some(stored) = Self::stored(&self.writer(), session.subject(), session.id()) {
            stored.touch(now);
        }
        Ok(())
    }

    async fn end(
        &self,
        subject: &str,
        id: SessionId,
        now: Timestamp,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        let mut writer = self.writer();
        let Some(session) = Self::stored(&writer, subject, id) else {
            return Ok(None);
        };
        self.remove(&mut writer, &session);
        Ok(Some(session).filter(|session| session.is_live(now)))
    }

    async fn end_all(
        &self,
        subject: &str,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        let mut writer = self.writer();
        let sessions: Vec<_> = writer.of_subject(subject).cloned().collect();
        for session in &sessions {
            self.remove(&mut writer, session);
        }
        Ok(sessions
            .into_iter()
            .filter(|session| session.is_live(now))
            .collect())
    }

    async fn sessions_of(
        &self,
        subject: &str,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        let writer = self.writer();
        Ok(writer
            .of_subject(subject)
            .filter(|session| session.is_live(now))
            .cloned()
            .collect())
    }

    async fn active_subjects(
        &self,
        after: Option<String>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let writer = self.writer();
        let start = after.as_deref().map(|subject| (subject, SessionId::MAX));
        let mut subjects: Vec<String> = Vec::new();
        for entry in writer.after(start) {
            if subjects.len() == limit {
                break;
            }
            let subject = entry.0.subject();
            if entry.0.is_live(now) && subjects.last().is_none_or(|last| last != subject) {
                subjects.push(subject.to_owned());
            }
        }
        Ok(subjects)
    }

    async fn acquire_lease(
        &self,
        id: SessionId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Lease, StoreError> {
        let mut writer = self.writer();
        if let Some(lease) = writer.leases.get(&id)
            && lease.until > now
        {
            return Ok(Lease::Held(lease.until));
        }
        writer.fences += 1;
        let fence = Fence(writer.fences);
        writer.leases.insert(
            id,
            LeaseRecord {
                fence,
                until: now.after(ttl),
            },
        );
        Ok(Lease::Granted(fence))
    }

    async fn renew_lease(
        &self,
        id: SessionId,
        fence: Fence,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut writer = self.writer();
        Ok(match writer.leases.get_mut(&id) {
            Some(lease) if lease.fence == fence => {
                lease.until = now.after(ttl);
                true
            }
            _ => false,
        })
    }

    async fn release_lease(&self, id: SessionId, fence: Fence) -> Result<(), StoreError> {
        let mut writer = self.writer();
        if writer
            .leases
            .get(&id)
            .is_some_and(|lease| lease.fence == fence)
        {
            writer.leases.remove(&id);
        }
        Ok(())
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl OneTimeStore for MemoryStore {
    async fn put(
        &self,
        key: Credential,
        value: Bytes,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.one_time().put(key, &value, expires_at, now);
        Ok(())
    }

    async fn take(&self, key: Credential, now: Timestamp) -> Result<Option<Bytes>, StoreError> {
        Ok(self.one_time().take(&key, now))
    }

    async fn claim(
        &self,
        key: Credential,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(self.one_time().claim(key, expires_at, now))
    }
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
