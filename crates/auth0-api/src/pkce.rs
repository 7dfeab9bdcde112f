//! Random values and the PKCE challenge (RFC 7636).

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

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
    ///
    /// ```
    /// # use auth0_api::CodeVerifier;
    /// // The example of RFC 7636, appendix B.
    /// let verifier = CodeVerifier::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    /// let challenge = verifier.challenge();
    /// assert_eq!(challenge.as_str(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    /// ```
    #[must_use]
    pub fn challenge(&self) -> CodeChallenge {
        let hash = digest(&SHA256, self.expose().as_bytes());
        CodeChallenge(URL_SAFE_NO_PAD.encode(hash))
    }
}

/// 256 random bits as 43 characters of base64url: for states, nonces and verifiers.
///
/// # Errors
/// [`getrandom::Error`] when the system has no randomness to give.
pub fn random_urlsafe() -> Result<String, getrandom::Error> {
    let mut bits = [0_u8; 32];
    getrandom::fill(&mut bits)?;
    Ok(URL_SAFE_NO_PAD.encode(bits))
}
