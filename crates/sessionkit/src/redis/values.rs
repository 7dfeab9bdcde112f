//! What stands in the values. Each names its key and owner, and is held against them when read.

use zeroize::Zeroizing;

use super::keys::RecordId;
use crate::seal::{Kind, Place, SealError};
use crate::{Credential, EncryptionKeys, Session, SessionId, Timestamp};

/// Bytes in the clear before a session: format 1, version 8, end 8, idle limit 4, last seen 4. Scripts
/// read them; the content has them too, all but the last, which changes without the content.
pub(super) const HEADER: usize = 25;
const FORMAT: u8 = 1;

/// Why a value was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ValueError {
    #[error("a session in Redis does not open: {0}")]
    Seal(#[from] SealError),
    #[error("a session in Redis cannot be read: {0}")]
    Record(#[from] crate::session::record::RecordError),
    #[error("a value in Redis has an unknown format")]
    Format,
    #[error("a value in Redis is that of another key")]
    Misplaced,
}

fn millis(at: Timestamp) -> u64 {
    // Scripts count in doubles, which are exact up to 2^53.
    u64::try_from(at.unix_millis()).unwrap_or(0).min(1 << 53)
}

fn place(record: &[u8; 32], version: u64) -> Place<'_> {
    Place {
        kind: Kind::Session,
        key: record,
        owner: record.get(..16).unwrap_or_default(),
        version,
    }
}

pub(super) fn session_value(
    keys: &EncryptionKeys,
    session: &Session,
) -> Result<Vec<u8>, SealError> {
    let mut header = Vec::with_capacity(HEADER);
    header.push(FORMAT);
    header.extend_from_slice(&session.version().to_be_bytes());
    header.extend_from_slice(&millis(session.ends_at_latest()).to_be_bytes());
    header.extend_from_slice(&session.idle_seconds().to_be_bytes());
    header.extend_from_slice(&session.last_seen_seconds().to_be_bytes());
    let record = RecordId::of(session.subject(), session.id()).place();
    keys.seal(
        &place(&record, session.version()),
        &header,
        session.encoded_len(),
        |out| session.encode(out),
    )
}

pub(super) fn read_session(
    keys: &EncryptionKeys,
    record: &RecordId,
    value: &[u8],
) -> Result<Session, ValueError> {
    let (header, sealed) = value.split_at_checked(HEADER).ok_or(ValueError::Format)?;
    if header.first() != Some(&FORMAT) {
        return Err(ValueError::Format);
    }
    let version = header.get(1..).and_then(<[u8]>::first_chunk);
    let version = version.map(|v| u64::from_be_bytes(*v)).unwrap_or_default();
    let content = keys.open(&place(&record.place(), version), sealed)?;
    let session = Session::decode(&content)?;
    if RecordId::of(session.subject(), session.id()) != *record || session.version() != version {
        return Err(ValueError::Misplaced);
    }
    if let Some(seen) = header.last_chunk() {
        session.seen_at_seconds(u32::from_be_bytes(*seen));
    }
    Ok(session)
}

/// The same session under the newest key. `None` when it is already.
pub(super) fn sealed_anew(
    keys: &EncryptionKeys,
    record: &RecordId,
    value: &[u8],
) -> Result<Option<Vec<u8>>, ValueError> {
    let (header, sealed) = value.split_at_checked(HEADER).ok_or(ValueError::Format)?;
    if EncryptionKeys::sealed_with(sealed)? == keys.newest() {
        return Ok(None);
    }
    let version = header.get(1..).and_then(<[u8]>::first_chunk);
    let version = version.map(|v| u64::from_be_bytes(*v)).unwrap_or_default();
    let bytes = record.place();
    let place = place(&bytes, version);
    let content = keys.open(&place, sealed)?;
    let write = |out: &mut Vec<u8>| out.extend_from_slice(&content);
    Ok(Some(keys.seal(&place, header, content.len(), write)?))
}

/// Which session a credential opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    /// The session is known to have been stored.
    pub(super) confirmed: bool,
    /// When the pointer was set.
    pub(super) set_at: Timestamp,
    pub(super) record: RecordId,
}

impl Pointer {
    /// Reads a pointer: state 1, time 8, owner and id 44, credential 32. The credential must be the one
    /// that was asked for.
    pub(super) fn read(value: &[u8], credential: &Credential) -> Result<Self, ValueError> {
        let (state, rest) = value.split_first().ok_or(ValueError::Format)?;
        let (set_at, rest) = rest.split_first_chunk::<8>().ok_or(ValueError::Format)?;
        let (record, named) = rest.split_at_checked(44).ok_or(ValueError::Format)?;
        if named != credential.hash() {
            return Err(ValueError::Misplaced);
        }
        Ok(Self {
            confirmed: *state == 1,
            set_at: Timestamp::from_unix_millis(i64::from_be_bytes(*set_at)),
            record: RecordId::from_text(record).ok_or(ValueError::Format)?,
        })
    }
}

/// A one-time or named record: the given bytes in the clear, then content with its expiry, sealed.
pub(super) fn small_value(
    keys: &EncryptionKeys,
    (kind, key, version): (Kind, &[u8], u64),
    header: &[u8],
    value: &[u8],
    expires_at: Timestamp,
) -> Result<Vec<u8>, SealError> {
    let place = Place {
        kind,
        key,
        owner: &[],
        version,
    };
    keys.seal(&place, header, 8 + value.len(), |out| {
        out.extend_from_slice(&expires_at.unix_millis().to_be_bytes());
        out.extend_from_slice(value);
    })
}

/// Opens a one-time or named record without its header. The expiry inside counts.
pub(super) fn read_small(
    keys: &EncryptionKeys,
    (kind, key, version): (Kind, &[u8], u64),
    sealed: &[u8],
) -> Result<(Timestamp, Zeroizing<Vec<u8>>), ValueError> {
    let place = Place {
        kind,
        key,
        owner: &[],
        version,
    };
    let mut content = keys.open(&place, sealed)?;
    let expires_at = *content.first_chunk().ok_or(ValueError::Format)?;
    let value = Zeroizing::new(content.split_off(8));
    Ok((
        Timestamp::from_unix_millis(i64::from_be_bytes(expires_at)),
        value,
    ))
}

/// The same named record (version 8, end 8, sealed content) under the newest key. `None` when it is
/// already.
pub(super) fn record_sealed_anew(
    keys: &EncryptionKeys,
    key: &str,
    value: &[u8],
) -> Result<Option<Vec<u8>>, ValueError> {
    let (header, sealed) = value.split_at_checked(16).ok_or(ValueError::Format)?;
    if EncryptionKeys::sealed_with(sealed)? == keys.newest() {
        return Ok(None);
    }
    let version = header.first_chunk().ok_or(ValueError::Format)?;
    let place = (Kind::Record, key.as_bytes(), u64::from_be_bytes(*version));
    let (expires_at, content) = read_small(keys, place, sealed)?;
    Ok(Some(small_value(
        keys, place, header, &content, expires_at,
    )?))
}

/// Milliseconds as scripts read them.
pub(super) fn big_endian(at: Timestamp) -> [u8; 8] {
    millis(at).to_be_bytes()
}

/// An id out of a subject's index.
pub(super) fn id_of(text: &[u8]) -> Option<SessionId> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .ok()?;
    Some(SessionId::from_bytes(bytes.try_into().ok()?))
}
