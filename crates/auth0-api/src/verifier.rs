//! Decides whether an ID token or a logout token is what it says.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::{Application, AuthenticationApi, Error, IdToken, LogoutToken, Tenant};

/// Checks signed tokens against a tenant's keys, which it caches.
///
/// One fetch of a tenant's keys is in flight at a time; an unknown `kid` fetches again at most
/// every 30 s; keys stay usable while Auth0 is away.
#[derive(Debug)]
pub struct TokenVerifier {
    #[expect(dead_code, reason = "skeleton")]
    api: Arc<dyn AuthenticationApi>,
    #[expect(dead_code, reason = "skeleton")]
    leeway: Duration,
}

/// Signing algorithms that can be accepted. `none` is not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256: Auth0's default.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// HMAC with SHA-256; the key is the client secret.
    Hs256,
}

impl SigningAlgorithm {
    /// Reads the JOSE name: `RS256`, `PS256` or `HS256`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "PS256" => Some(Self::Ps256),
            "HS256" => Some(Self::Hs256),
            _ => None,
        }
    }
}

/// What an ID token must say beside being genuine.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdTokenExpectations<'a> {
    /// Accepted algorithms; empty means RS256 alone.
    pub algorithms: &'a [SigningAlgorithm],
    /// The nonce sent to `/authorize`; `None` when none was (password grant, refresh).
    pub nonce: Option<&'a str>,
    /// The `max_age` sent to `/authorize`, in seconds.
    pub max_age: Option<u64>,
    /// The `organization` sent to `/authorize`.
    pub organization: Option<&'a str>,
    /// The subject it must be for (a refresh must not change the person).
    pub subject: Option<&'a str>,
}

/// The claims of a valid ID token.
#[derive(Clone, Debug, PartialEq)]
pub struct IdTokenClaims {
    /// `sub`, never empty.
    pub subject: String,
    /// `sid`: Auth0's session, which back-channel logout names.
    pub sid: Option<String>,
    /// All claims, `sub` and `sid` among them.
    pub all: Map<String, Value>,
}

/// The claims of a valid logout token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutClaims {
    /// `sub`; at least one of the two is there.
    pub subject: Option<String>,
    /// `sid`.
    pub sid: Option<String>,
    /// `jti`, for the caller to refuse a replay.
    pub jti: String,
    /// Instant after which the token is void (leeway included): how long to remember the `jti`.
    pub expires_at: OffsetDateTime,
}

/// Why a token was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The token breaks a rule. Nothing to retry.
    #[error("the token is not valid: {0}")]
    Invalid(#[from] TokenFault),
    /// The keys could not be fetched and none are cached.
    #[error("the signing keys are not available")]
    KeysUnavailable(#[source] Error),
}

/// The rule a token breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFault {
    /// Not three base64url parts of JSON, or a header that can't be read.
    #[error("malformed")]
    Malformed,
    /// `alg` is not one of the accepted ones.
    #[error("algorithm not accepted")]
    Algorithm,
    /// No key has its `kid`.
    #[error("signed with an unknown key")]
    UnknownKey,
    /// The signature does not verify.
    #[error("wrong signature")]
    Signature,
    /// `iss` is not the tenant's issuer.
    #[error("wrong issuer")]
    Issuer,
    /// `aud` does not hold the client id.
    #[error("wrong audience")]
    Audience,
    /// Several audiences, and `azp` is missing or another application; or a wrong `azp`.
    #[error("wrong authorized party")]
    AuthorizedParty,
    /// `exp` is missing, no number, or in the past.
    #[error("expired, or without a proper expiry")]
    Expired,
    /// `iat` is missing or no number.
    #[error("without a proper issue time")]
    IssuedAt,
    /// `sub` is missing, empty, or another person's.
    #[error("wrong subject")]
    Subject,
    /// `nonce` is missing or another.
    #[error("wrong nonce")]
    Nonce,
    /// `auth_time` is missing or too long ago for `max_age`.
    #[error("the sign-in is too long ago")]
    AuthTime,
    /// `org_id` or `org_name` is not the organization asked for.
    #[error("wrong organization")]
    Organization,
    /// Not a logout token: no event, a nonce, no `jti`, or neither `sub` nor `sid`.
    #[error("not a logout token")]
    LogoutEvent,
}

impl TokenVerifier {
    /// A verifier with an empty key cache and a leeway of 60 s.
    #[must_use]
    pub fn new(_api: Arc<dyn AuthenticationApi>) -> Self {
        todo!()
    }

    /// Sets how far clocks may differ.
    #[must_use]
    pub fn with_leeway(self, _leeway: Duration) -> Self {
        todo!()
    }

    /// Makes sure keys of the tenant are cached, so that a token that follows can be checked.
    ///
    /// # Errors
    /// As the fetch, when nothing is cached.
    pub async fn prepare(&self, _tenant: &Tenant) -> Result<(), Error> {
        todo!()
    }

    /// Checks an ID token (OpenID Connect Core, section 3.1.3.7; Auth0 "Validate ID Tokens").
    ///
    /// # Errors
    /// [`VerifyError::Invalid`] names the broken rule; [`VerifyError::KeysUnavailable`] when
    /// nothing can be said.
    pub async fn id_token(
        &self,
        _application: &Application,
        _id_token: &IdToken,
        _expected: IdTokenExpectations<'_>,
        _now: OffsetDateTime,
    ) -> Result<IdTokenClaims, VerifyError> {
        todo!()
    }

    /// Checks a logout token (OpenID Connect Back-Channel Logout, section 2.6).
    ///
    /// # Errors
    /// As [`Self::id_token`]. Replay of `jti` is the caller's to refuse.
    pub async fn logout_token(
        &self,
        _application: &Application,
        _logout_token: &LogoutToken,
        _algorithms: &[SigningAlgorithm],
        _now: OffsetDateTime,
    ) -> Result<LogoutClaims, VerifyError> {
        todo!()
    }
}
