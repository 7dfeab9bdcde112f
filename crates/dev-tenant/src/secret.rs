//! Passwords and secrets of the seed, and random credentials.

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use subtle::ConstantTimeEq;

/// A password or client secret; `Debug` prints a placeholder.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The value itself, for the place that shows or sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares in constant time; the lengths are hidden by hashing both.
    #[must_use]
    pub fn matches(&self, candidate: &str) -> bool {
        let own = digest::digest(&digest::SHA256, self.0.as_bytes());
        let other = digest::digest(&digest::SHA256, candidate.as_bytes());
        own.as_ref().ct_eq(other.as_ref()).into()
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// `bytes` random bytes, base64url.
pub(crate) fn random_text(bytes: usize) -> Result<String, getrandom::Error> {
    let mut buffer = vec![0_u8; bytes];
    getrandom::fill(&mut buffer)?;
    Ok(base64url(&buffer))
}

/// Base64url without padding (RFC 4648 section 5).
pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// SHA-256 as lower-case hexadecimal digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::from("canary")), "[secret]");
    }

    #[test]
    fn compares_the_whole_value() {
        let secret = Secret::from("Correct-Horse-1");
        assert!(secret.matches("Correct-Horse-1"));
        assert!(!secret.matches("Correct-Horse-"));
        assert!(!secret.matches("correct-horse-1"));
        assert!(!secret.matches(""));
    }
}
