//! Names of the keys.
//!
//! All begin with `SCOPE:s1:`, where `s1` is the version of the layout. What stands in braces decides
//! the slot of a cluster; keys with the same braces can be changed together.
//!
//! | key after the prefix | type | holds |
//! | --- | --- | --- |
//! | `{OWNER}:r:ID` | string | the session: header in the clear, content sealed |
//! | `{OWNER}:l:ID` | hash | its lease: number `f`, end `u` |
//! | `{OWNER}:i` | set | ids of the subject's sessions |
//! | `{CREDENTIAL}:c` | string | which session a credential opens |
//! | `{PROVIDER}:p` | sorted set | sessions of one session of the identity provider's, by the time they were noted |
//! | `{active}:s` | sorted set | subjects that may be active, all with score 0: sorted by bytes |
//! | `{HASH}:o` | string | a one-time record: its end in the clear, content sealed |
//! | `{records}:v:KEY` | string | a named record: version and end in the clear, content sealed |
//! | `{records}:i` | sorted set | keys of named records |
//! | `{records}:n` | string | the last version given |
//!
//! OWNER is half the SHA-256 of the subject, CREDENTIAL the whole SHA-256 of a cookie's or bearer's
//! value, PROVIDER half the SHA-256 of the `sid`; all, and ID, in base64url. Subjects stand in the
//! clear in `{active}:s` only.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::{Credential, SessionId};

/// Length of 16 bytes in base64url.
pub(super) const HALF: usize = 22;

pub(super) fn prefix(scope: &str) -> Vec<u8> {
    format!("{scope}:s1:").into_bytes()
}

fn half_hash(text: &str) -> [u8; 16] {
    let mut half = [0; 16];
    let hash = digest(&SHA256, text.as_bytes());
    for (to, from) in half.iter_mut().zip(hash.as_ref()) {
        *to = *from;
    }
    half
}

/// Names a session: half the hash of its subject, and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct RecordId {
    pub(super) owner: [u8; 16],
    pub(super) id: [u8; 16],
}

impl RecordId {
    pub(super) fn of(subject: &str, id: SessionId) -> Self {
        Self {
            owner: half_hash(subject),
            id: *id.as_bytes(),
        }
    }

    /// Owner and id as in keys and pointers.
    pub(super) fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.owner) + &URL_SAFE_NO_PAD.encode(self.id)
    }

    pub(super) fn from_text(text: &[u8]) -> Option<Self> {
        let (owner, id) = text.split_at_checked(HALF)?;
        Some(Self {
            owner: half(owner)?,
            id: half(id)?,
        })
    }

    /// From the key of a session; `None` for every other key.
    pub(super) fn from_key(prefix: &[u8], key: &[u8]) -> Option<Self> {
        let rest = key.strip_prefix(prefix)?.strip_prefix(b"{")?;
        let (owner, rest) = rest.split_at_checked(HALF)?;
        let id = rest.strip_prefix(b"}:r:")?;
        Some(Self {
            owner: half(owner)?,
            id: half(id)?,
        })
    }

    /// What the seal is bound to.
    pub(super) fn place(&self) -> [u8; 32] {
        let mut place = [0; 32];
        for (to, from) in place.iter_mut().zip(self.owner.iter().chain(&self.id)) {
            *to = *from;
        }
        place
    }
}

fn half(text: &[u8]) -> Option<[u8; 16]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// Makes keys for one scope.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(scope: &str) -> Self {
        Self {
            prefix: format!("{scope}:s1:"),
        }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    fn tagged(&self, tag: &str, rest: &str) -> Vec<u8> {
        format!("{}{{{tag}}}:{rest}", self.prefix).into_bytes()
    }

    fn owned(&self, owner: &[u8; 16], rest: &str) -> Vec<u8> {
        self.tagged(&URL_SAFE_NO_PAD.encode(owner), rest)
    }

    pub(super) fn session(&self, record: &RecordId) -> Vec<u8> {
        self.owned(&record.owner, &format!("r:{}", id_text(record)))
    }

    pub(super) fn lease(&self, record: &RecordId) -> Vec<u8> {
        self.owned(&record.owner, &format!("l:{}", id_text(record)))
    }

    pub(super) fn index(&self, owner: &[u8; 16]) -> Vec<u8> {
        self.owned(owner, "i")
    }

    /// What all keys of a subject begin with.
    pub(super) fn owner_prefix(&self, owner: &[u8; 16]) -> Vec<u8> {
        self.owned(owner, "")
    }

    pub(super) fn pointer(&self, credential: &Credential) -> Vec<u8> {
        self.tagged(&URL_SAFE_NO_PAD.encode(credential.hash()), "c")
    }

    pub(super) fn provider(&self, name: &str) -> Vec<u8> {
        self.tagged(&URL_SAFE_NO_PAD.encode(half_hash(name)), "p")
    }

    pub(super) fn active(&self) -> Vec<u8> {
        self.tagged("active", "s")
    }

    pub(super) fn one_time(&self, key: &Credential) -> Vec<u8> {
        self.tagged(&URL_SAFE_NO_PAD.encode(key.hash()), "o")
    }

    pub(super) fn record(&self, key: &str) -> Vec<u8> {
        self.tagged("records", &format!("v:{key}"))
    }

    pub(super) fn records_prefix(&self) -> Vec<u8> {
        self.tagged("records", "v:")
    }

    pub(super) fn records_index(&self) -> Vec<u8> {
        self.tagged("records", "i")
    }

    pub(super) fn records_counter(&self) -> Vec<u8> {
        self.tagged("records", "n")
    }
}

pub(super) fn id_text(record: &RecordId) -> String {
    URL_SAFE_NO_PAD.encode(record.id)
}

pub(super) fn owner_of(subject: &str) -> [u8; 16] {
    half_hash(subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        let keys = Keys::new("scope");
        let record = RecordId::of("auth0|1", SessionId::from_bytes([9; 16]));
        let key = keys.session(&record);
        assert_eq!(RecordId::from_key(&prefix("scope"), &key), Some(record));
        assert_eq!(RecordId::from_text(record.text().as_bytes()), Some(record));
        assert_eq!(
            RecordId::from_key(&prefix("scope"), &keys.lease(&record)),
            None
        );
        assert_eq!(RecordId::from_key(&prefix("other"), &key), None);
        insta::assert_snapshot!(
            String::from_utf8(key).unwrap(),
            @"scope:s1:{sD5dRQnNN0dts4-3b5tbPA}:r:CQkJCQkJCQkJCQkJCQkJCQ"
        );
    }
}
