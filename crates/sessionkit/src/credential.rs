//! What a caller shows to be let in, kept only as a hash.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};

use crate::Timestamp;

/// SHA-256 of a cookie's or bearer's value. The value itself is never stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Credential([u8; 32]);

impl Credential {
    /// Hashes a value.
    #[must_use]
    pub fn of(value: &[u8]) -> Self {
        let mut hash = [0; 32];
        // Both have 32 bytes: that is what SHA-256 is.
        hash.copy_from_slice(digest(&SHA256, value).as_ref());
        Self(hash)
    }

    /// From a stored hash.
    #[must_use]
    pub const fn from_hash(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The hash.
    #[must_use]
    pub const fn hash(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Credential {
    // Enough to tell two apart in a test, too little to look one up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// How a credential was shown. It decides what a run-out access token means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    /// In the `sid` cookie: the session's handle, whatever access token is inside now.
    Cookie,
    /// In `Authorization: Bearer`: an access token, good until its own expiry. The caller holds the
    /// refresh token, so nothing is refreshed behind its back.
    Bearer,
}

/// A credential that a newer one has replaced, good for the grace time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Previous {
    /// The credential.
    pub credential: Credential,
    /// Expiry of the access token that it is.
    pub bearer_expires_at: Timestamp,
    /// End of the grace time.
    pub valid_until: Timestamp,
    /// Random bits from which, with the old value, the new opaque value was derived.
    pub succession: [u8; 32],
}
