//! What the store answers from, and the steps that change it: first in the file, then here.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::rows::{self, RowKey};
use crate::index::{Change, Index, LeaseRecord};
use crate::one_time_table::OneTimeTable;
use crate::record_table::RecordTable;
use crate::seal::{Kind, SealError};
use crate::{Credential, EncryptionKeys, Session, SessionId, StoredRecord, Timestamp};

#[derive(Debug)]
pub(super) struct Tables {
    pub(super) index: Index,
    pub(super) keys: EncryptionKeys,
    one_time: Mutex<OneTimeTable>,
    records: Mutex<RecordTable>,
    /// Sessions whose latest use is not in the file yet.
    touched: Mutex<HashMap<RowKey, Arc<Session>>>,
    /// One-time records that are gone here and may still be in the file.
    garbage: Mutex<Vec<Credential>>,
}

/// One change, whole.
#[derive(Debug)]
pub(super) enum Step {
    /// Takes sessions out and puts one in, with its row.
    Sessions(Change, Option<Vec<u8>>),
    Lease(Place, Option<LeaseRecord>),
    OneTime(Credential, Option<OneTime>),
    Record(String, Option<(StoredRecord, Vec<u8>)>),
}

/// Where a session's lease is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) key: RowKey,
    pub(super) id: SessionId,
}

pub(super) struct OneTime {
    pub(super) value: Bytes,
    pub(super) expires_at: Timestamp,
    pub(super) row: Vec<u8>,
    pub(super) now: Timestamp,
}

// A value may hold a secret.
impl std::fmt::Debug for OneTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OneTime")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Names what a step changes, for when it is not known whether the file took it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Name {
    Session(String, SessionId),
    Lease(Place),
    OneTime(Credential),
    Record(String),
}

impl Tables {
    pub(super) fn new(keys: EncryptionKeys) -> Self {
        Self {
            index: Index::default(),
            keys,
            one_time: Mutex::default(),
            records: Mutex::default(),
            touched: Mutex::default(),
            garbage: Mutex::default(),
        }
    }

    pub(super) fn one_time(&self) -> MutexGuard<'_, OneTimeTable> {
        self.one_time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn records(&self) -> MutexGuard<'_, RecordTable> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a session's use is to be written some time.
    pub(super) fn touch(&self, session: Arc<Session>) {
        let key = rows::row_key(session.subject(), session.id());
        self.touched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, session);
    }

    /// Up to `limit` of the noted uses.
    pub(super) fn take_touched(&self, limit: usize) -> Vec<(RowKey, Arc<Session>)> {
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        if touched.len() <= limit {
            return touched.drain().collect();
        }
        let keys: Vec<RowKey> = touched.keys().take(limit).copied().collect();
        keys.into_iter()
            .filter_map(|key| touched.remove_entry(&key))
            .collect()
    }

    pub(super) fn discard(&self, keys: Vec<Credential>) {
        if !keys.is_empty() {
            self.garbage
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(keys);
        }
    }

    pub(super) fn take_garbage(&self) -> Vec<Credential> {
        std::mem::take(&mut *self.garbage.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Does here what the file has done.
    pub(super) fn apply(&self, step: Step) {
        match step {
            Step::Sessions(change, _) => self.index.apply(&mut self.index.writer(), change),
            Step::Lease(place, lease) => self.index.writer().set_lease(place.id, lease),
            Step::OneTime(key, None) => drop(self.one_time().remove(&key)),
            Step::OneTime(key, Some(new)) => {
                let gone = self
                    .one_time()
                    .put(key, &new.value, new.expires_at, new.now);
                self.discard(gone);
            }
            Step::Record(key, new) => self.records().set(key, new.map(|(record, _)| record)),
        }
    }

    /// The row that the file should have.
    pub(super) fn row(&self, name: &Name) -> Result<Option<Vec<u8>>, SealError> {
        let always = Timestamp::from_unix_millis(i64::MIN);
        match name {
            Name::Session(subject, id) => {
                let stored = self.index.writer().stored(subject, *id);
                stored
                    .map(|session| rows::session_row(&self.keys, &session))
                    .transpose()
            }
            Name::Lease(place) => Ok(self.index.writer().lease(place.id).map(lease_row)),
            Name::OneTime(key) => self
                .one_time()
                .get(key, always)
                .map(|(value, end)| {
                    rows::value_row(&self.keys, Kind::OneTime, key.hash(), 0, value, end)
                })
                .transpose(),
            Name::Record(key) => self
                .records()
                .get(key, always)
                .map(|record| record_row(&self.keys, key, record))
                .transpose(),
        }
    }
}

impl Step {
    pub(super) fn names(&self, into: &mut HashSet<Name>) {
        match self {
            Self::Sessions(change, _) => {
                let put = change.put.iter().map(|(next, _)| next);
                for session in change.removed.iter().chain(put) {
                    let (subject, id) = (session.subject(), session.id());
                    let key = rows::row_key(subject, id);
                    into.insert(Name::Session(subject.to_owned(), id));
                    into.insert(Name::Lease(Place { key, id }));
                }
            }
            Self::Lease(place, _) => drop(into.insert(Name::Lease(*place))),
            Self::OneTime(key, _) => drop(into.insert(Name::OneTime(*key))),
            Self::Record(key, _) => drop(into.insert(Name::Record(key.clone()))),
        }
    }
}

pub(super) fn lease_row(lease: LeaseRecord) -> Vec<u8> {
    let mut row = lease.fence.0.to_be_bytes().to_vec();
    row.extend_from_slice(&lease.until.unix_millis().to_be_bytes());
    row
}

pub(super) fn record_row(
    keys: &EncryptionKeys,
    key: &str,
    record: &StoredRecord,
) -> Result<Vec<u8>, SealError> {
    rows::value_row(
        keys,
        Kind::Record,
        key.as_bytes(),
        record.version,
        &record.value,
        record.expires_at,
    )
}
