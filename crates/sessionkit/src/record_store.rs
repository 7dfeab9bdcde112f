//! The record port: small durable records of other parts of a service, say the state of its jobs.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{StoreError, Timestamp};

/// Keeps small named records, each with a version.
///
/// Versions grow with every write in the whole store, so that one is never seen twice, not even after
/// a record was removed and made again. Durable engines seal the values, not the keys: put nothing
/// secret into a key. Keep records small (some kilobytes): each is written whole.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait RecordStore: Send + Sync + std::fmt::Debug {
    /// Adds a record and returns its version. `None` when there is one already.
    async fn create_record(
        &self,
        key: &str,
        value: Bytes,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<Option<u64>, StoreError>;

    /// Replaces a record that still has the version `expected`.
    async fn swap_record(
        &self,
        key: &str,
        expected: u64,
        value: Bytes,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<RecordSwap, StoreError>;

    /// Reads a record.
    async fn record(&self, key: &str, now: Timestamp) -> Result<Option<StoredRecord>, StoreError>;

    /// Records whose key begins with `prefix`, sorted by the bytes of their keys: at most `limit`
    /// (1 or more) that come after `after`.
    async fn records(
        &self,
        prefix: &str,
        after: Option<String>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(String, StoredRecord)>, StoreError>;

    /// Removes a record. False when there was none.
    async fn remove_record(&self, key: &str, now: Timestamp) -> Result<bool, StoreError>;
}

/// A record as stored.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its version, for [`RecordStore::swap_record`].
    pub version: u64,
    /// Its content.
    pub value: Bytes,
    /// The instant from which it is as good as none.
    pub expires_at: Timestamp,
}

// The content may be anybody's data.
impl std::fmt::Debug for StoredRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredRecord")
            .field("version", &self.version)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Result of [`RecordStore::swap_record`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordSwap {
    /// Stored, with this version.
    Stored(u64),
    /// Somebody else wrote meanwhile; this is what is stored.
    Conflict(StoredRecord),
    /// There is no such record (any more). Nothing was written.
    Absent,
}
