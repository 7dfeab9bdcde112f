//! Sessions in the memory of one process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::index::{Index, LeaseRecord, Writer};
use crate::one_time_table::OneTimeTable;
use crate::record_table::RecordTable;
use crate::{
    Created, Credential, Fence, Lease, OneTimeStore, Peek, RecordStore, RecordSwap, Session,
    SessionId, SessionStore, StoreError, StoredRecord, Swap, Timestamp,
};

/// Keeps sessions, one-time records and named records in the memory of this process; all is lost with
/// it.
///
/// A check takes a read lock on one of 64 tables and nothing else. Writers take turns. Expired
/// sessions count as none from their last instant on; their memory is taken back by later sign-ins,
/// a few at a time.
#[derive(Debug, Default)]
pub struct MemoryStore {
    index: Index,
    one_time: Mutex<OneTimeTable>,
    records: Mutex<RecordTable>,
}

/// How many sessions a sign-in looks at to take back the memory of expired ones.
const SWEEP: usize = 4;
/// From how many leases on the old ones are looked for.
const MANY_LEASES: usize = 1024;

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn one_time(&self) -> MutexGuard<'_, OneTimeTable> {
        self.one_time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn records(&self) -> MutexGuard<'_, RecordTable> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes back the memory of a few expired sessions.
    fn sweep(&self, writer: &mut Writer, now: Timestamp) {
        for session in writer.round(SWEEP) {
            if !session.is_live(now) {
                self.index.remove(writer, &session);
            }
        }
        if writer.lease_count() > MANY_LEASES {
            for id in writer.old_leases(now) {
                writer.set_lease(id, None);
            }
        }
    }

    fn end_these(
        &self,
        writer: &mut Writer,
        mut sessions: Vec<Arc<Session>>,
        now: Timestamp,
    ) -> Vec<Arc<Session>> {
        for session in &sessions {
            self.index.remove(writer, session);
        }
        sessions.retain(|session| session.is_live(now));
        sessions
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    fn peek(&self, credential: &Credential, now: Timestamp) -> Peek {
        self.index
            .find(credential, now)
            .map_or(Peek::Absent, Peek::Found)
    }

    async fn load(
        &self,
        credential: &Credential,
        now: Timestamp,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        Ok(self.index.find(credential, now))
    }

    async fn create(&self, session: Session, now: Timestamp) -> Result<Created, StoreError> {
        let mut writer = self.index.writer();
        self.sweep(&mut writer, now);
        let (created, change) = self.index.judge_create(&writer, &Arc::new(session), now);
        self.index.apply(&mut writer, change);
        Ok(created)
    }

    async fn compare_and_swap(
        &self,
        current: &Session,
        next: Session,
        fence: Option<Fence>,
        now: Timestamp,
    ) -> Result<Swap, StoreError> {
        let mut writer = self.index.writer();
        let next = Arc::new(next);
        let (swap, change) = self
            .index
            .judge_swap(&writer, current.version(), &next, fence, now);
        self.index.apply(&mut writer, change);
        Ok(swap)
    }

    async fn touch(&self, session: &Session, now: Timestamp) -> Result<(), StoreError> {
        // The caller may hold a value that has been replaced since.
        let stored = self.index.writer().stored(session.subject(), session.id());
        if let Some(stored) = stored {
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
        let mut writer = self.index.writer();
        let stored = writer.stored(subject, id).into_iter().collect();
        Ok(self.end_these(&mut writer, stored, now).pop())
    }

    async fn end_all(
        &self,
        subject: &str,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        let mut writer = self.index.writer();
        let stored = writer.of_subject(subject);
        Ok(self.end_these(&mut writer, stored, now))
    }

    async fn sessions_of(
        &self,
        subject: &str,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        let mut sessions = self.index.writer().of_subject(subject);
        sessions.retain(|session| session.is_live(now));
        Ok(sessions)
    }

    async fn sessions_by_identity_provider_session(
        &self,
        identity_provider_session: &str,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        let mut sessions = self
            .index
            .writer()
            .of_provider_session(identity_provider_session);
        sessions.retain(|session| session.is_live(now));
        Ok(sessions)
    }

    async fn end_by_identity_provider_session(
        &self,
        identity_provider_session: &str,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        let mut writer = self.index.writer();
        let stored = writer.of_provider_session(identity_provider_session);
        Ok(self.end_these(&mut writer, stored, now))
    }

    async fn list(
        &self,
        after: Option<(String, SessionId)>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        Ok(self.index.writer().page(after.as_ref(), limit, now))
    }

    async fn active_subjects(
        &self,
        after: Option<String>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        Ok(self.index.writer().active(after.as_deref(), limit, now))
    }

    async fn acquire_lease(
        &self,
        _subject: &str,
        id: SessionId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Lease, StoreError> {
        let mut writer = self.index.writer();
        Ok(match writer.judge_lease(id, ttl, now) {
            Ok(lease) => {
                writer.set_lease(id, Some(lease));
                Lease::Granted(lease.fence)
            }
            Err(held) => held,
        })
    }

    async fn renew_lease(
        &self,
        _subject: &str,
        id: SessionId,
        fence: Fence,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut writer = self.index.writer();
        let held = writer.holds(id, fence);
        if held {
            let until = now.after(ttl);
            writer.set_lease(id, Some(LeaseRecord { fence, until }));
        }
        Ok(held)
    }

    async fn release_lease(
        &self,
        _subject: &str,
        id: SessionId,
        fence: Fence,
    ) -> Result<(), StoreError> {
        let mut writer = self.index.writer();
        if writer.holds(id, fence) {
            writer.set_lease(id, None);
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

#[async_trait]
impl RecordStore for MemoryStore {
    async fn create_record(
        &self,
        key: &str,
        value: Bytes,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        let mut records = self.records();
        for expired in records.expired(now) {
            records.set(expired, None);
        }
        if records.get(key, now).is_some() {
            return Ok(None);
        }
        let version = records.next_version();
        let record = StoredRecord {
            version,
            value,
            expires_at,
        };
        records.set(key.to_owned(), Some(record));
        Ok(Some(version))
    }

    async fn swap_record(
        &self,
        key: &str,
        expected: u64,
        value: Bytes,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<RecordSwap, StoreError> {
        let mut records = self.records();
        if let Err(refused) = records.judge_swap(key, expected, now) {
            return Ok(refused);
        }
        let version = records.next_version();
        let record = StoredRecord {
            version,
            value,
            expires_at,
        };
        records.set(key.to_owned(), Some(record));
        Ok(RecordSwap::Stored(version))
    }

    async fn record(&self, key: &str, now: Timestamp) -> Result<Option<StoredRecord>, StoreError> {
        Ok(self.records().get(key, now).cloned())
    }

    async fn records(
        &self,
        prefix: &str,
        after: Option<String>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(String, StoredRecord)>, StoreError> {
        Ok(self.records().page(prefix, after.as_deref(), limit, now))
    }

    async fn remove_record(&self, key: &str, now: Timestamp) -> Result<bool, StoreError> {
        let mut records = self.records();
        let was_there = records.get(key, now).is_some();
        records.set(key.to_owned(), None);
        Ok(was_there)
    }
}
