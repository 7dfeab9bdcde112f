//! A session, and what makes one.

use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use secrecy::SecretString;

use crate::credential::Previous;
use crate::{Credential, Timestamp};

/// Public handle of a session: 128 random bits. No credential; it opens nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// From stored bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// 22 characters of base64url.
impl fmt::Display for SessionId {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}

/// The tokens inside a session.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The access token.
    pub access_token: SecretString,
    /// Buys new ones; without it the session ends when the access token does.
    pub refresh_token: Option<SecretString>,
    /// The ID token.
    pub id_token: Option<SecretString>,
    /// Expiry of the access token.
    pub access_expires_at: Timestamp,
}

/// What a sign-in brings; [`crate::Sessions::open`] makes a [`Session`] of it.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// Who signed in.
    pub subject: String,
    /// Name of the client (application) they signed in to.
    pub client: String,
    /// Hash of the value that will open the session.
    pub credential: Credential,
    /// The tokens.
    pub tokens: Tokens,
    /// The identity provider's own session (`sid` of the ID token), where it names one.
    pub identity_provider_session: Option<String>,
    /// Application data, handed back as it is: for example a rendered profile.
    pub data: Bytes,
    /// Address of the person's client.
    pub ip_address: Option<IpAddr>,
    /// The browser, as it names itself; cut to 256 bytes at a character boundary.
    pub user_agent: Option<String>,
}

/// A session as stored. Immutable but for the time it was last seen: a change makes a new value
/// with a higher version, which [`crate::SessionStore::compare_and_swap`] puts in the old one's place.
pub struct Session {
    // Packed by the implementation.
    _todo: (),
}

impl Session {
    /// Public handle.
    #[must_use]
    pub fn id(&self) -> SessionId {
        todo!()
    }
    /// Counts the writes of this record, from 1.
    #[must_use]
    pub fn version(&self) -> u64 {
        todo!()
    }
    /// Counts the token sets this session has had, from 1; a refresh adds one.
    #[must_use]
    pub fn generation(&self) -> u32 {
        todo!()
    }
    /// Who signed in.
    #[must_use]
    pub fn subject(&self) -> &str {
        todo!()
    }
    /// Name of the client.
    #[must_use]
    pub fn client(&self) -> &str {
        todo!()
    }
    /// Hash of the value that opens it now.
    #[must_use]
    pub fn credential(&self) -> Credential {
        todo!()
    }
    /// Expiry of the access token that the credential is (or was made beside): what counts when the
    /// credential is shown as a bearer.
    #[must_use]
    pub fn bearer_expires_at(&self) -> Timestamp {
        todo!()
    }
    /// Credentials that still open it for the grace time.
    #[must_use]
    pub fn previous(&self) -> &[Previous] {
        todo!()
    }
    /// The tokens, copied out.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        todo!()
    }
    /// True when there is a refresh token.
    #[must_use]
    pub fn has_refresh_token(&self) -> bool {
        todo!()
    }
    /// Expiry of the access token inside.
    #[must_use]
    pub fn access_expires_at(&self) -> Timestamp {
        todo!()
    }
    /// Compares with the refresh token inside, in constant time.
    #[must_use]
    pub fn is_refresh_token(&self, _value: &str) -> bool {
        todo!()
    }
    /// Compares with the refresh token that the latest refresh replaced, within the grace time.
    #[must_use]
    pub fn is_previous_refresh_token(&self, _value: &str, _now: Timestamp) -> bool {
        todo!()
    }
    /// The identity provider's session.
    #[must_use]
    pub fn identity_provider_session(&self) -> Option<&str> {
        todo!()
    }
    /// Application data.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        todo!()
    }
    /// When the person signed in.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        todo!()
    }
    /// When the session was last used.
    #[must_use]
    pub fn last_seen_at(&self) -> Timestamp {
        todo!()
    }
    /// The instant from which it is over: absolute and idle limits, and the access token's expiry
    /// where there is no refresh token.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        todo!()
    }
    /// Address of the person's client at sign-in.
    #[must_use]
    pub fn ip_address(&self) -> Option<IpAddr> {
        todo!()
    }
    /// The browser at sign-in.
    #[must_use]
    pub fn user_agent(&self) -> Option<&str> {
        todo!()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}
