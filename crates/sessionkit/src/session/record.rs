//! The bytes of a session in a store that outlives the process.
//!
//! ```text
//! version of the format      1
//! id                        16
//! credential                32   a hash
//! access token's expiry      8   milliseconds, big endian like all numbers here
//! version                    8
//! generation                 4
//! bearer's expiry            4   seconds, like the next four
//! begin                      4
//! last seen                  4
//! absolute end               4
//! identity provider's end    4
//! idle limit                 4
//! number of previous         1
//! each previous             80   credential 32, bearer's expiry 8, end of grace 8, succession 32
//! previous refresh token     1 or 41   0, or 1 with hash 32 and end of grace 8
//! texts                   rest   as in memory
//! ```
//!
//! These bytes hold tokens in the clear: they leave the process only sealed.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{History, MAX_PREVIOUS, PreviousRefreshToken, Seconds, Session, SessionId};
use crate::credential::Previous;
use crate::packed::Packed;
use crate::{Credential, Timestamp};

/// The format written now.
const FORMAT: u8 = 1;
/// What comes before the history.
const FIXED: usize = 1 + 16 + 32 + 8 + 8 + 7 * 4;

/// Why bytes are no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    /// Written by a newer release.
    #[error("the record has format {0}, and this release reads up to format 1")]
    Format(u8),
    /// Cut off, or never a session.
    #[error("the record is damaged")]
    Damaged,
}

impl Session {
    /// How long [`Self::encode`] gets.
    pub(crate) fn encoded_len(&self) -> usize {
        let refresh = self.history.as_ref().and_then(|h| h.refresh_token);
        FIXED
            + 1
            + 80 * self.previous().len()
            + if refresh.is_some() { 41 } else { 1 }
            + self.packed.bytes().len()
    }

    /// Appends the record. Reserve [`Self::encoded_len`] first: a vector that grows leaves copies of
    /// secrets behind.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(self.credential.hash());
        out.extend_from_slice(&self.access_expires_at.unix_millis().to_be_bytes());
        out.extend_from_slice(&self.version().to_be_bytes());
        for number in [
            self.generation,
            self.bearer_expires_at.0,
            self.created_at.0,
            self.last_seen_at.load(Ordering::Relaxed),
            self.ends_at.0,
            self.ceiling.0,
            self.idle_seconds,
        ] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        // Never more than MAX_PREVIOUS.
        out.push(u8::try_from(self.previous().len()).unwrap_or(u8::MAX));
        for previous in self.previous() {
            out.extend_from_slice(previous.credential.hash());
            out.extend_from_slice(&previous.bearer_expires_at.unix_millis().to_be_bytes());
            out.extend_from_slice(&previous.valid_until.unix_millis().to_be_bytes());
            out.extend_from_slice(&previous.succession);
        }
        match self.history.as_ref().and_then(|h| h.refresh_token) {
            None => out.push(0),
            Some(previous) => {
                out.push(1);
                out.extend_from_slice(previous.hash.hash());
                out.extend_from_slice(&previous.valid_until.unix_millis().to_be_bytes());
            }
        }
        out.extend_from_slice(self.packed.bytes());
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`RecordError`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        match bytes.first() {
            Some(&FORMAT) => {}
            Some(&other) => return Err(RecordError::Format(other)),
            None => return Err(RecordError::Damaged),
        }
        read(bytes.get(1..).unwrap_or_default()).ok_or(RecordError::Damaged)
    }
}

fn read(bytes: &[u8]) -> Option<Session> {
    let mut reader = Reader(bytes);
    let id = SessionId::from_bytes(reader.take()?);
    let credential = Credential::from_hash(reader.take()?);
    let access_expires_at = reader.timestamp()?;
    let version = u32::try_from(u64::from_be_bytes(reader.take()?)).ok()?;
    let [
        generation,
        bearer_expires_at,
        created_at,
        last_seen_at,
        ends_at,
        ceiling,
        idle_seconds,
    ] = [
        reader.number()?,
        reader.number()?,
        reader.number()?,
        reader.number()?,
        reader.number()?,
        reader.number()?,
        reader.number()?,
    ];
    let [count] = reader.take()?;
    if usize::from(count) > MAX_PREVIOUS {
        return None;
    }
    let mut previous = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        previous.push(Previous {
            credential: Credential::from_hash(reader.take()?),
            bearer_expires_at: reader.timestamp()?,
            valid_until: reader.timestamp()?,
            succession: reader.take()?,
        });
    }
    let refresh_token = match reader.take()? {
        [0] => None,
        [1] => Some(PreviousRefreshToken {
            hash: Credential::from_hash(reader.take()?),
            valid_until: reader.timestamp()?,
        }),
        _ => return None,
    };
    let history = History {
        previous,
        refresh_token,
    };
    let bare = history.previous.is_empty() && history.refresh_token.is_none();
    Some(Session {
        id,
        credential,
        access_expires_at,
        version,
        generation,
        bearer_expires_at: Seconds(bearer_expires_at),
        created_at: Seconds(created_at),
        last_seen_at: AtomicU32::new(last_seen_at),
        ends_at: Seconds(ends_at),
        ceiling: Seconds(ceiling),
        idle_seconds,
        history: (!bare).then(|| Box::new(history)),
        packed: Packed::from_bytes(reader.0)?,
    })
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn number(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn timestamp(&mut self) -> Option<Timestamp> {
        self.take()
            .map(|bytes| Timestamp::from_unix_millis(i64::from_be_bytes(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::refresh::Refreshed;
    use crate::{Lifetimes, SignIn, Tokens};

    fn sign_in() -> impl Strategy<Value = SignIn> {
        (
            (".{0,40}", ".{0,20}", any::<[u8; 32]>()),
            (
                ".{0,200}",
                proptest::option::of(".{1,80}"),
                proptest::option::of(".{1,80}"),
            ),
            (any::<i64>(), proptest::option::of(".{1,40}")),
            proptest::collection::vec(any::<u8>(), 0..400),
            (
                proptest::option::of(any::<IpAddr>()),
                proptest::option::of(".{1,300}"),
            ),
        )
            .prop_map(
                |(
                    (subject, client, hash),
                    (access, refresh, id),
                    (expiry, sid),
                    data,
                    (ip_address, user_agent),
                )| SignIn {
                    subject,
                    client,
                    credential: Credential::from_hash(hash),
                    tokens: Tokens {
                        access_token: access.into(),
                        refresh_token: refresh.map(Into::into),
                        id_token: id.map(Into::into),
                        access_expires_at: Timestamp::from_unix_millis(expiry),
                    },
                    identity_provider_session: sid,
                    data: data.into(),
                    ip_address,
                    user_agent,
                },
            )
    }

    fn encoded(session: &Session) -> Vec<u8> {
        let mut bytes = Vec::new();
        session.encode(&mut bytes);
        assert_eq!(bytes.len(), session.encoded_len());
        bytes
    }

    proptest! {
        #[test]
        fn a_session_survives_its_record(
            sign_in in sign_in(),
            id: [u8; 16],
            now in 0..4_000_000_000_000_i64,
            idle in proptest::option::of(1..100_000_u64),
            steps in proptest::collection::vec(any::<(bool, [u8; 32])>(), 0..12),
        ) {
            let now = Timestamp::from_unix_millis(now);
            let lifetimes = Lifetimes { idle: idle.map(Duration::from_secs), ..Lifetimes::default() };
            let ceiling = (id[0] % 2 == 0).then(|| now.after(Duration::from_secs(id[1].into())));
            let mut session = Session::begin(SessionId::from_bytes(id), &sign_in, ceiling, &lifetimes, now);
            for (refresh, bits) in steps {
                session = if refresh {
                    let refreshed = Refreshed { tokens: sign_in.tokens.clone(), data: None };
                    session.refreshed(&refreshed, lifetimes.grace, now)
                } else {
                    session.with_credential(Credential::from_hash(bits), bits, &lifetimes, now)
                };
            }
            let bytes = encoded(&session);
            let back = Session::decode(&bytes).unwrap();
            prop_assert_eq!(encoded(&back), bytes);
            prop_assert_eq!(back.subject(), session.subject());
            prop_assert_eq!(back.previous(), session.previous());
            prop_assert_eq!(back.expires_at(), session.expires_at());
            prop_assert_eq!(back.ip_address(), session.ip_address());
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes: Vec<u8>, first in 0..3_u8) {
            if let Some(byte) = bytes.first_mut() {
                *byte = first;
            }
            drop(Session::decode(&bytes));
        }

        #[test]
        fn a_cut_record_is_damaged(sign_in in sign_in(), cut in 1..60_usize) {
            let session = Session::begin(SessionId::MAX, &sign_in, None, &Lifetimes::default(), Timestamp::default());
            let mut bytes = encoded(&session);
            bytes.truncate(bytes.len() - cut);
            prop_assert_eq!(Session::decode(&bytes).unwrap_err(), RecordError::Damaged);
        }
    }

    #[test]
    fn a_newer_format_is_named() {
        let error = Session::decode(&[2, 0, 0]).unwrap_err();
        assert_eq!(error, RecordError::Format(2));
        assert!(error.to_string().contains("format 2"), "{error}");
    }
}
