//! Named records in memory.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::{RecordSwap, StoredRecord, Timestamp};

/// Records by key. What is decided here is applied with [`Self::set`]; between the two a durable engine
/// writes it down.
#[derive(Debug, Default)]
pub(crate) struct RecordTable {
    records: BTreeMap<String, StoredRecord>,
    versions: u64,
}

impl RecordTable {
    pub(crate) fn get(&self, key: &str, now: Timestamp) -> Option<&StoredRecord> {
        self.records
            .get(key)
            .filter(|record| record.expires_at > now)
    }

    /// May the record with this version be replaced? If not, the answer.
    pub(crate) fn judge_swap(
        &self,
        key: &str,
        expected: u64,
        now: Timestamp,
    ) -> Result<(), RecordSwap> {
        match self.get(key, now) {
            None => Err(RecordSwap::Absent),
            Some(stored) if stored.version != expected => Err(RecordSwap::Conflict(stored.clone())),
            Some(_) => Ok(()),
        }
    }

    /// A version that was never given before.
    pub(crate) fn next_version(&mut self) -> u64 {
        self.versions += 1;
        self.versions
    }

    /// No record gets a version up to this one any more.
    #[cfg(feature = "embedded")]
    pub(crate) fn skip_versions(&mut self, last: u64) {
        self.versions = self.versions.max(last);
    }

    pub(crate) fn set(&mut self, key: String, record: Option<StoredRecord>) {
        match record {
            Some(record) => {
                self.versions = self.versions.max(record.version);
                self.records.insert(key, record);
            }
            None => {
                self.records.remove(&key);
            }
        }
    }

    pub(crate) fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Vec<(String, StoredRecord)> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.records
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(_, record)| record.expires_at > now)
            .take(limit)
            .map(|(key, record)| (key.clone(), record.clone()))
            .collect()
    }

    /// Keys of records that have expired. There are few records, and this is not called often.
    pub(crate) fn expired(&self, now: Timestamp) -> Vec<String> {
        self.records
            .iter()
            .filter(|(_, record)| record.expires_at <= now)
            .map(|(key, _)| key.clone())
            .collect()
    }
}
