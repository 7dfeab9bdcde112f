//! How far a change of keys has come.

#[cfg(feature = "embedded")]
use std::collections::HashMap;

use async_trait::async_trait;

#[cfg(feature = "embedded")]
use super::{EncryptionKeys, KeyId};
use crate::{StoreError, Timestamp};

/// A store whose values can be sealed anew with the newest key, a few at a time.
///
/// To change keys: put the new key first in the setting of every replica, behind the old one on all of
/// them before it comes first on any; call [`Self::reseal`] until nothing is sealed with an older key;
/// then take the older key out of the setting.
#[async_trait]
pub trait Reseal: Send + Sync {
    /// Looks at up to `limit` values, from where the last call stopped, and seals those anew that are
    /// sealed with an older key.
    async fn reseal(&self, limit: usize, now: Timestamp) -> Result<ResealProgress, StoreError>;
}

/// What a call of [`Reseal::reseal`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResealProgress {
    /// Values sealed anew.
    pub resealed: usize,
    /// True when there is nothing left to do in this round.
    pub round_done: bool,
    /// How many values are sealed with a key that is not the newest. At zero the older keys are safe to
    /// drop. `None` while it is not known.
    pub sealed_with_older_keys: Option<u64>,
}

/// Counts values by the key that sealed them.
#[cfg(feature = "embedded")]
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyCounts(HashMap<KeyId, i64>);

#[cfg(feature = "embedded")]
impl KeyCounts {
    /// Counts a sealed value in (`by` = 1) or out (`by` = -1).
    pub(crate) fn count(&mut self, sealed: &[u8], by: i64) {
        if let Ok(id) = EncryptionKeys::sealed_with(sealed) {
            *self.0.entry(id).or_default() += by;
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (id, count) in &other.0 {
            *self.0.entry(*id).or_default() += count;
        }
    }

    pub(crate) fn older_than(&self, newest: KeyId) -> u64 {
        let older = self.0.iter().filter(|(id, _)| **id != newest);
        older
            .map(|(_, count)| u64::try_from(*count).unwrap_or(0))
            .sum()
    }
}
