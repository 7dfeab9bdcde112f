//! The file: its tables, and what a row looks like.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `sessions` | owner 16, id 16 | version 8, sealed session |
//! | `seen` | the same | version 8 (zero), sealed second of the latest use |
//! | `one_time` | hash 32 | version 8 (zero), sealed expiry and value |
//! | `records` | the record's key | version 8, sealed expiry and value |
//! | `leases` | owner 16, id 16 | number 8, end 8 |
//! | `meta` | a name | a number: format, last lease, last record version |
//!
//! The owner is the first half of the SHA-256 of the subject. A copy of the file shows how many sessions
//! there are and which belong together, and the keys of named records.

use aws_lc_rs::digest::{SHA256, digest};
use redb::{Table, TableDefinition};
use zeroize::Zeroizing;

use super::error::RowError;
use crate::seal::{KeyCounts, Kind, Place, SealError};
use crate::{EncryptionKeys, Session, SessionId, Timestamp};

/// Rows whose values are sealed.
pub(super) type Rows = TableDefinition<'static, &'static [u8], &'static [u8]>;

pub(super) const SESSIONS: Rows = TableDefinition::new("sessions");
pub(super) const SEEN: Rows = TableDefinition::new("seen");
pub(super) const ONE_TIME: Rows = TableDefinition::new("one_time");
pub(super) const RECORDS: Rows = TableDefinition::new("records");
pub(super) const LEASES: Rows = TableDefinition::new("leases");
pub(super) const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");

/// The sealed tables and what is in them.
pub(super) const SEALED: [(Rows, Kind); 4] = [
    (SESSIONS, Kind::Session),
    (SEEN, Kind::Seen),
    (ONE_TIME, Kind::OneTime),
    (RECORDS, Kind::Record),
];

/// The format of the file.
pub(super) const FORMAT: u64 = 1;
pub(super) const META_FORMAT: &str = "format";
pub(super) const META_FENCE: &str = "last lease";
pub(super) const META_VERSION: &str = "last record version";

/// Key of a session's row.
pub(super) type RowKey = [u8; 32];

pub(super) fn row_key(subject: &str, id: SessionId) -> RowKey {
    let owner = digest(&SHA256, subject.as_bytes());
    let mut key = [0; 32];
    for (to, from) in key
        .iter_mut()
        .zip(owner.as_ref().iter().take(16).chain(id.as_bytes()))
    {
        *to = *from;
    }
    key
}

fn place(kind: Kind, key: &[u8], version: u64) -> Place<'_> {
    let owner = match kind {
        Kind::Session | Kind::Seen => key.get(..16).unwrap_or_default(),
        Kind::OneTime | Kind::Record => &[],
    };
    Place {
        kind,
        key,
        owner,
        version,
    }
}

fn seal(
    keys: &EncryptionKeys,
    kind: Kind,
    key: &[u8],
    version: u64,
    length: usize,
    write: impl FnOnce(&mut Vec<u8>),
) -> Result<Vec<u8>, SealError> {
    keys.seal(
        &place(kind, key, version),
        &version.to_be_bytes(),
        length,
        write,
    )
}

/// Opens a row and returns its version and content.
fn open(
    keys: &EncryptionKeys,
    kind: Kind,
    key: &[u8],
    row: &[u8],
) -> Result<(u64, Zeroizing<Vec<u8>>), RowError> {
    let (version, sealed) = row.split_first_chunk().ok_or(RowError::Short)?;
    let version = u64::from_be_bytes(*version);
    Ok((version, keys.open(&place(kind, key, version), sealed)?))
}

/// The part of a row that is sealed.
pub(super) fn sealed_part(row: &[u8]) -> &[u8] {
    row.get(8..).unwrap_or_default()
}

pub(super) fn session_row(keys: &EncryptionKeys, session: &Session) -> Result<Vec<u8>, SealError> {
    let key = row_key(session.subject(), session.id());
    let length = session.encoded_len();
    seal(
        keys,
        Kind::Session,
        &key,
        session.version(),
        length,
        |out| {
            session.encode(out);
        },
    )
}

pub(super) fn read_session(
    keys: &EncryptionKeys,
    key: &[u8],
    row: &[u8],
) -> Result<Session, RowError> {
    let (version, content) = open(keys, Kind::Session, key, row)?;
    let session = Session::decode(&content)?;
    // The seal says so already; a mistake of ours would show here.
    let right = row_key(session.subject(), session.id()) == key && session.version() == version;
    right.then_some(session).ok_or(RowError::Misplaced)
}

pub(super) fn seen_row(
    keys: &EncryptionKeys,
    key: &RowKey,
    seconds: u32,
) -> Result<Vec<u8>, SealError> {
    seal(keys, Kind::Seen, key, 0, 4, |out| {
        out.extend_from_slice(&seconds.to_be_bytes());
    })
}

pub(super) fn read_seen(keys: &EncryptionKeys, key: &[u8], row: &[u8]) -> Result<u32, RowError> {
    let (_, content) = open(keys, Kind::Seen, key, row)?;
    let seconds = content.first_chunk().ok_or(RowError::Short)?;
    Ok(u32::from_be_bytes(*seconds))
}

/// A one-time or named record: its expiry is sealed with it.
pub(super) fn value_row(
    keys: &EncryptionKeys,
    kind: Kind,
    key: &[u8],
    version: u64,
    value: &[u8],
    expires_at: Timestamp,
) -> Result<Vec<u8>, SealError> {
    seal(keys, kind, key, version, 8 + value.len(), |out| {
        out.extend_from_slice(&expires_at.unix_millis().to_be_bytes());
        out.extend_from_slice(value);
    })
}

/// Version, expiry and value (behind eight bytes) of a one-time or named record.
pub(super) struct ValueRow {
    pub(super) version: u64,
    pub(super) expires_at: Timestamp,
    content: Zeroizing<Vec<u8>>,
}

impl ValueRow {
    pub(super) fn value(&self) -> &[u8] {
        self.content.get(8..).unwrap_or_default()
    }
}

pub(super) fn read_value(
    keys: &EncryptionKeys,
    kind: Kind,
    key: &[u8],
    row: &[u8],
) -> Result<ValueRow, RowError> {
    let (version, content) = open(keys, kind, key, row)?;
    let expires_at = content.first_chunk().ok_or(RowError::Short)?;
    Ok(ValueRow {
        version,
        expires_at: Timestamp::from_unix_millis(i64::from_be_bytes(*expires_at)),
        content,
    })
}

/// The same row under the newest key.
pub(super) fn sealed_anew(
    keys: &EncryptionKeys,
    kind: Kind,
    key: &[u8],
    row: &[u8],
) -> Result<Vec<u8>, RowError> {
    let (version, content) = open(keys, kind, key, row)?;
    let write = |out: &mut Vec<u8>| out.extend_from_slice(&content);
    Ok(seal(keys, kind, key, version, content.len(), write)?)
}

/// Puts a sealed row, or takes it out, and keeps count of the keys in use.
pub(super) fn set(
    table: &mut Table<'_, &'static [u8], &'static [u8]>,
    counts: &mut KeyCounts,
    key: &[u8],
    row: Option<&[u8]>,
) -> Result<(), redb::StorageError> {
    let before = match row {
        Some(row) => {
            counts.count(sealed_part(row), 1);
            table.insert(key, row)?
        }
        None => table.remove(key)?,
    };
    if let Some(before) = before {
        counts.count(sealed_part(before.value()), -1);
    }
    Ok(())
}
