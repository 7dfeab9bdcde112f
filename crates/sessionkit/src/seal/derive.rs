//! A key from secrets that are there anyway.

use aws_lc_rs::hkdf;
use zeroize::Zeroizing;

use super::keys::Key;
use super::{EncryptionKeys, EncryptionKeysError};

impl EncryptionKeys {
    /// One key made from secrets (HKDF with SHA-256, RFC 5869), for replicas that share these and nothing
    /// else. Their order and borders count. `purpose` sets keys from the same secrets apart.
    ///
    /// The secrets must be hard to guess: whoever has the store can try guesses as fast as they like.
    ///
    /// ```
    /// use sessionkit::EncryptionKeys;
    ///
    /// let keys = EncryptionKeys::derive("sessions", &["a client secret of 64 random characters"])?;
    /// assert_eq!(keys.ids().count(), 1);
    /// # Ok::<(), sessionkit::seal::EncryptionKeysError>(())
    /// ```
    ///
    /// # Errors
    /// [`EncryptionKeysError::Empty`] when there is no secret.
    pub fn derive(purpose: &str, secrets: &[&str]) -> Result<Self, EncryptionKeysError> {
        if secrets.iter().all(|secret| secret.is_empty()) {
            return Err(EncryptionKeysError::Empty);
        }
        let length = secrets.iter().map(|secret| secret.len() + 8).sum();
        let mut material = Zeroizing::new(Vec::with_capacity(length));
        for secret in secrets {
            material.extend_from_slice(&(secret.len() as u64).to_be_bytes());
            material.extend_from_slice(secret.as_bytes());
        }
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, purpose.as_bytes());
        let mut bytes = Zeroizing::new([0; 32]);
        salt.extract(&material)
            .expand(&[b"sessionkit sealing key"], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(bytes.as_mut_slice()))
            .map_err(|_| EncryptionKeysError::Unusable(1))?;
        let key = Key::new(&bytes).ok_or(EncryptionKeysError::Unusable(1))?;
        Ok(Self::one(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_secrets_make_the_same_key_and_others_another() {
        let id = |purpose: &str, secrets: &[&str]| {
            let keys = EncryptionKeys::derive(purpose, secrets).unwrap();
            keys.ids().next().unwrap()
        };
        let first = id("p", &["a", "bc"]);
        assert_eq!(first, id("p", &["a", "bc"]));
        for other in [
            id("q", &["a", "bc"]),
            id("p", &["ab", "c"]),
            id("p", &["bc", "a"]),
            id("p", &["a"]),
        ] {
            assert_ne!(first, other);
        }
        assert!(EncryptionKeys::derive("p", &[]).is_err());
        assert!(EncryptionKeys::derive("p", &[""]).is_err());
    }
}
