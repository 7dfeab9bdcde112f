//! Proof Key for Code Exchange (RFC 7636).

use aws_lc_rs::digest;
use subtle::ConstantTimeEq;

use crate::secret::base64url;

/// What `/authorize` was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// `code_challenge_method=S256`.
    S256(String),
    /// `code_challenge_method=plain`, also when no method is sent.
    Plain(String),
}

impl Challenge {
    /// `None` for a method that does not exist.
    pub(crate) fn new(challenge: &str, method: Option<&str>) -> Option<Self> {
        match method {
            Some("S256") => Some(Self::S256(challenge.to_owned())),
            Some("plain") | None => Some(Self::Plain(challenge.to_owned())),
            Some(_) => None,
        }
    }

    pub(crate) fn accepts(&self, verifier: &str) -> bool {
        let (expected, actual) = match self {
            Self::S256(challenge) => {
                let hash = digest::digest(&digest::SHA256, verifier.as_bytes());
                (challenge, base64url(hash.as_ref()))
            }
            Self::Plain(challenge) => (challenge, verifier.to_owned()),
        };
        expected.as_bytes().ct_eq(actual.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_example_of_the_rfc() {
        let challenge =
            Challenge::new("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", Some("S256")).unwrap();
        assert!(challenge.accepts("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
        assert!(!challenge.accepts("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"));
        let plain = Challenge::new("verifier", None).unwrap();
        assert!(plain.accepts("verifier"));
        assert!(!plain.accepts("verifier2"));
        assert_eq!(Challenge::new("x", Some("s256")), None);
    }
}
