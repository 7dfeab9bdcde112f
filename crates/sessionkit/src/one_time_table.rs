//! One-time records in memory, bounded.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretSlice};

use crate::{Credential, Timestamp};

/// Most records at a time. Anybody can begin sign-ins: beyond this, those that end soonest go.
const MAX_RECORDS: usize = 100_000;

#[derive(Debug, Default)]
pub(crate) struct OneTimeTable {
    records: HashMap<Credential, (SecretSlice<u8>, Timestamp)>,
    by_expiry: BTreeSet<(Timestamp, Credential)>,
}

impl OneTimeTable {
    /// Stores a record, and returns the keys that went to make room.
    pub(crate) fn put(
        &mut self,
        key: Credential,
        value: &[u8],
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Vec<Credential> {
        self.remove(&key);
        let mut gone = self.expire(now);
        while self.records.len() >= MAX_RECORDS
            && let Some((_, soonest)) = self.by_expiry.first().copied()
        {
            self.remove(&soonest);
            gone.push(soonest);
        }
        self.by_expiry.insert((expires_at, key));
        self.records
            .insert(key, (SecretSlice::from(value.to_vec()), expires_at));
        gone
    }

    /// A record that has not expired, left where it is.
    pub(crate) fn get(&self, key: &Credential, now: Timestamp) -> Option<(&[u8], Timestamp)> {
        let (value, expires_at) = self.records.get(key)?;
        (*expires_at > now).then(|| (value.expose_secret(), *expires_at))
    }

    pub(crate) fn take(&mut self, key: &Credential, now: Timestamp) -> Option<Bytes> {
        let (value, expires_at) = self.remove(key)?;
        (expires_at > now).then(|| Bytes::copy_from_slice(value.expose_secret()))
    }

    pub(crate) fn claim(&mut self, key: Credential, expires_at: Timestamp, now: Timestamp) -> bool {
        if self.get(&key, now).is_some() {
            return false;
        }
        self.put(key, &[], expires_at, now);
        true
    }

    pub(crate) fn remove(&mut self, key: &Credential) -> Option<(SecretSlice<u8>, Timestamp)> {
        let (value, expires_at) = self.records.remove(key)?;
        self.by_expiry.remove(&(expires_at, *key));
        Some((value, expires_at))
    }

    /// Forgets what has expired, and returns its keys.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<Credential> {
        let mut gone = Vec::new();
        while let Some((expires_at, key)) = self.by_expiry.first().copied()
            && expires_at <= now
        {
            self.remove(&key);
            gone.push(key);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_bounded_and_forgets_the_expired() {
        let mut table = OneTimeTable::default();
        let at = |seconds: i64| Timestamp::from_unix_millis(seconds * 1000);
        let key = |number: u32| Credential::of(&number.to_le_bytes());
        for number in 0..100_001_u32 {
            table.put(key(number), b"x", at(600 + i64::from(number)), at(0));
        }
        assert_eq!(
            (table.records.len(), table.by_expiry.len()),
            (MAX_RECORDS, MAX_RECORDS)
        );
        assert!(table.take(&key(0), at(1)).is_none());
        assert!(table.take(&key(1), at(1)).is_some());
        table.put(key(0), b"x", at(300_000), at(200_000));
        assert_eq!((table.records.len(), table.by_expiry.len()), (1, 1));
    }
}
