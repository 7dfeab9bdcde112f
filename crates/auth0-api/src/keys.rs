//! Signing keys (JWKS, RFC 7517) and their cache.

/// A tenant's signing keys.
#[derive(Clone, Debug)]
pub struct KeySet(pub(crate) jsonwebtoken::jwk::JwkSet);

impl KeySet {
    /// Reads a JWKS document.
    ///
    /// # Errors
    /// [`serde_json::Error`] when the document is no key set.
    pub fn from_json(_json: &[u8]) -> Result<Self, serde_json::Error> {
        todo!()
    }
}
