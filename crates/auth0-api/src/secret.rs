//! One newtype per credential, so that none can be logged or mixed up.

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// `Debug` prints a placeholder; there is no `PartialEq` and no serialisation.
        #[derive(Clone, Debug)]
        pub struct $name(SecretString);

        impl $name {
            /// Wraps the credential.
            #[must_use]
            pub fn new(value: impl Into<String>) -> Self {
                Self(SecretString::from(value.into()))
            }

            /// The credential itself, for the one place that builds a request from it.
            #[must_use]
            pub fn expose(&self) -> &str {
                self.0.expose_secret()
            }

            /// Compares in a time that does not depend on where the two differ.
            #[must_use]
            pub fn matches(&self, other: &str) -> bool {
                self.expose().as_bytes().ct_eq(other.as_bytes()).into()
            }
        }
    };
}

secret! {
    /// Credential for an API (RFC 6749, section 1.4).
    AccessToken
}
secret! {
    /// Credential that buys new access tokens (RFC 6749, section 1.5).
    RefreshToken
}
secret! {
    /// Signed statement about who signed in (OpenID Connect Core, section 2).
    IdToken
}
secret! {
    /// Signed statement that a session ended (OpenID Connect Back-Channel Logout, section 2.4).
    LogoutToken
}
secret! {
    /// What an application authenticates with (RFC 6749, section 2.3.1).
    ClientSecret
}
secret! {
    /// A person's password.
    Password
}
secret! {
    /// Single-use code of the authorization code grant (RFC 6749, section 1.3.1).
    AuthorizationCode
}
secret! {
    /// PKCE code verifier (RFC 7636, section 4.1).
    CodeVerifier
}
secret! {
    /// Token that continues a sign-in with a second factor (Auth0 MFA API).
    MfaToken
}
