//! Random values and the PKCE challenge (RFC 7636).

use crate::CodeVerifier;

/// The `S256` challenge of a verifier (RFC 7636, section 4.2). No secret: it travels in a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeChallenge(String);

impl CodeChallenge {
    /// The challenge as it goes into the URL: 43 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl CodeVerifier {
    /// A fresh verifier of 256 random bits.
    ///
    /// # Errors
    /// [`getrandom::Error`] when the system has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        random_urlsafe().map(Self::new)
    }

    /// The challenge that `/authorize` wants for this verifier.
    #[must_use]
    pub fn challenge(&self) -> CodeChallenge {
        todo!()
    }
}

/// 256 random bits as 43 characters of base64url: for states, nonces and verifiers.
///
/// # Errors
/// [`getrandom::Error`] when the system has no randomness to give.
pub fn random_urlsafe() -> Result<String, getrandom::Error> {
    todo!()
}
