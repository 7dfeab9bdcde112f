//! Sealing: what a durable store writes down is encrypted, and bound to its place.
//!
//! The algorithm is AES-256-GCM-SIV (RFC 8452) under random nonces. Plain AES-GCM would break at a
//! repeated nonce, and a busy gateway seals often enough (a note of each session's use among it) to come
//! near its limit of 2³² random nonces in weeks; with SIV a repetition tells no more than that two
//! values are equal.
//!
//! The associated data is the kind of value, the key it is stored under, its owner and its version.
//! Whoever can write to the store can take values away or put an earlier state of the very same place
//! back, but cannot forge, change, or move one to another key or person.
//!
//! ```text
//! format    1   1
//! key id    4   from the key, by hash
//! nonce    12
//! content       encrypted
//! tag      16
//! ```

mod derive;
pub(crate) mod key_file;
mod keys;
mod status;

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};
use zeroize::Zeroizing;

pub use key_file::KeyFileError;
pub use keys::{EncryptionKeys, EncryptionKeysError, KeyId};
#[cfg(feature = "embedded")]
pub(crate) use status::KeyCounts;
pub use status::{Reseal, ResealProgress};

const FORMAT: u8 = 1;
const HEAD: usize = 1 + 4 + NONCE_LEN;
const TAG: usize = 16;

/// The place that a sealed value belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) kind: Kind,
    /// The key in the store.
    pub(crate) key: &'a [u8],
    /// Whose it is; empty where nobody owns it.
    pub(crate) owner: &'a [u8],
    pub(crate) version: u64,
}

/// Kind of a sealed value. The numbers are part of what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Session = 1,
    #[cfg(feature = "embedded")]
    Seen = 2,
    OneTime = 3,
    Record = 4,
}

impl Place<'_> {
    fn associated_data(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(26 + self.key.len() + self.owner.len());
        data.extend_from_slice(&[FORMAT, self.kind as u8]);
        data.extend_from_slice(&self.version.to_be_bytes());
        // Lengths first: nothing can be shifted from one part to the other.
        for part in [self.key, self.owner] {
            data.extend_from_slice(&(part.len() as u64).to_be_bytes());
            data.extend_from_slice(part);
        }
        data
    }
}

/// Why a value was not sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealError {
    #[error("sealed with key {0}, which is not among the encryption keys")]
    NoKey(KeyId),
    #[error("sealed in a way that this release does not know (format {0})")]
    Format(u8),
    #[error("changed, cut off, or moved here from another place")]
    Forged,
    #[error("no random bits to be had")]
    Random,
}

impl EncryptionKeys {
    /// Seals `length` bytes that `write` appends, behind the `prefix` that stays readable.
    pub(crate) fn seal(
        &self,
        place: &Place<'_>,
        prefix: &[u8],
        length: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Vec<u8>, SealError> {
        let key = self.first();
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| SealError::Random)?;
        // All at once: encrypted where it stands, so that no copy in the clear is left.
        let mut out = Vec::with_capacity(prefix.len() + HEAD + length + TAG);
        out.extend_from_slice(prefix);
        out.push(FORMAT);
        out.extend_from_slice(&key.id().0);
        out.extend_from_slice(&nonce);
        let start = out.len();
        write(&mut out);
        let content = out.get_mut(start..).unwrap_or_default();
        let tag = key
            .aead()
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place.associated_data()),
                content,
            )
            .map_err(|_| SealError::Forged)?;
        out.extend_from_slice(tag.as_ref());
        Ok(out)
    }

    /// Opens a sealed value. The comparison of the tag takes the same time wherever it differs.
    pub(crate) fn open(
        &self,
        place: &Place<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let id = Self::sealed_with(sealed)?;
        let key = self.find(id).ok_or(SealError::NoKey(id))?;
        let (head, content) = sealed.split_at_checked(HEAD).ok_or(SealError::Forged)?;
        let nonce = head
            .last_chunk::<NONCE_LEN>()
            .ok_or(SealError::Forged)
            .map(|nonce| Nonce::assume_unique_for_key(*nonce))?;
        let mut content = Zeroizing::new(content.to_vec());
        let length = key
            .aead()
            .open_in_place(nonce, Aad::from(place.associated_data()), &mut content)
            .map_err(|_| SealError::Forged)?
            .len();
        content.truncate(length);
        Ok(content)
    }

    /// The key that a value was sealed with.
    pub(crate) fn sealed_with(sealed: &[u8]) -> Result<KeyId, SealError> {
        match sealed.first() {
            Some(&FORMAT) => {}
            Some(&other) => return Err(SealError::Format(other)),
            None => return Err(SealError::Forged),
        }
        let id = sealed.get(1..).and_then(<[u8]>::first_chunk);
        id.map(|id| KeyId(*id)).ok_or(SealError::Forged)
    }
}

#[cfg(test)]
mod tests;
