//! Decides whether an ID token or a logout token is what it says.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;
use time::OffsetDateTime;

use crate::keys::KeyCache;
use crate::{AccessToken, Application, AuthenticationApi, Error, IdToken, LogoutToken, Tenant};

/// How far clocks may differ, unless set otherwise.
const DEFAULT_LEEWAY: Duration = Duration::from_secs(60);

/// Checks signed tokens against a tenant's keys, which it caches.
///
/// One fetch of a tenant's keys is in flight at a time; an unknown `kid` fetches again at most
/// every 30 s; keys stay usable while Auth0 is away.
#[derive(Debug)]
pub struct TokenVerifier {
    api: Arc<dyn AuthenticationApi>,
    keys: KeyCache,
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

    /// The JOSE name (RFC 7518, section 3.1).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Hs256 => "HS256",
        }
    }

    const fn jose(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Ps256 => jsonwebtoken::Algorithm::PS256,
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
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

/// What a good access token says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessTokenClaims {
    /// `sub`, not empty.
    pub subject: String,
    /// `iat`.
    pub issued_at: OffsetDateTime,
    /// `exp`.
    pub expires_at: OffsetDateTime,
}

/// What a signed token claims, without a look at its signature: to choose whom to verify it with.
/// Nothing in it may be believed. `None` when it is no signed token in its compact form.
#[must_use]
pub fn unverified_claims(token: &str) -> Option<Map<String, Value>> {
    if token.len() > MAX_TOKEN_BYTES {
        return None;
    }
    let mut parts = token.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(claims), Some(_), None) => object(claims),
        _ => None,
    }
}

/// Why a token was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The token breaks a rule. Nothing to retry.
    #[error("the token is not valid: {0}")]
    Invalid(#[from] TokenFault),
    /// The keys could not be fetched, and none that are cached is the one the token names. The
    /// token may well be valid.
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
    /// Not a logout token: no event, a nonce, no `jti`, neither `sub` nor `sid`, or one of them no text.
    #[error("not a logout token")]
    LogoutEvent,
}

/// Longest token that is looked at, in bytes. Auth0 caps custom claims at 100 KB.
const MAX_TOKEN_BYTES: usize = 256 * 1024;
/// Latest time claim that is believed: the end of the year 9999.
const MAX_TIME: i64 = 253_402_300_799;
/// The event that makes a logout token (OpenID Connect Back-Channel Logout, section 2.4).
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

impl TokenVerifier {
    /// A verifier with an empty key cache and a leeway of 60 s.
    #[must_use]
    pub fn new(api: Arc<dyn AuthenticationApi>) -> Self {
        Self {
            api,
            keys: KeyCache::default(),
            leeway: DEFAULT_LEEWAY,
        }
    }

    /// Sets how far clocks may differ.
    #[must_use]
    pub fn with_leeway(self, leeway: Duration) -> Self {
        Self { leeway, ..self }
    }

    /// Makes sure keys of the tenant are cached, so that a token that follows can be checked.
    ///
    /// # Errors
    /// As the fetch, when nothing is cached.
    pub async fn prepare(&self, tenant: &Tenant) -> Result<(), Error> {
        self.keys.get(&*self.api, tenant, |_| true).await.map(drop)
    }

    /// Checks an ID token (OpenID Connect Core, section 3.1.3.7; Auth0 "Validate ID Tokens").
    ///
    /// # Errors
    /// [`VerifyError::Invalid`] names the broken rule; [`VerifyError::KeysUnavailable`] when
    /// nothing can be said.
    pub async fn id_token(
        &self,
        application: &Application,
        id_token: &IdToken,
        expected: IdTokenExpectations<'_>,
        now: OffsetDateTime,
    ) -> Result<IdTokenClaims, VerifyError> {
        let claims = self
            .signed(application, id_token.expose(), expected.algorithms)
            .await?;
        let now = now.unix_timestamp();
        self.common(application, &claims, now)?;
        let subject = text(&claims, "sub")
            .filter(|sub| !sub.is_empty())
            .ok_or(TokenFault::Subject)?;
        if expected.subject.is_some_and(|wanted| wanted != subject) {
            return Err(TokenFault::Subject.into());
        }
        if let Some(nonce) = expected.nonce {
            let given = text(&claims, "nonce").ok_or(TokenFault::Nonce)?;
            if !bool::from(given.as_bytes().ct_eq(nonce.as_bytes())) {
                return Err(TokenFault::Nonce.into());
            }
        }
        if let Some(max_age) = expected.max_age {
            let signed_in_at = instant(&claims, "auth_time").ok_or(TokenFault::AuthTime)?;
            let until = signed_in_at
                .saturating_add_unsigned(max_age)
                .saturating_add(self.leeway());
            if until < now {
                return Err(TokenFault::AuthTime.into());
            }
        }
        if let Some(wanted) = expected.organization {
            let same = if wanted.starts_with("org_") {
                text(&claims, "org_id") == Some(wanted)
            } else {
                text(&claims, "org_name")
                    .is_some_and(|name| name.to_lowercase() == wanted.to_lowercase())
            };
            if !same {
                return Err(TokenFault::Organization.into());
            }
        }
        let (subject, sid) = (subject.to_owned(), text(&claims, "sid").map(str::to_owned));
        Ok(IdTokenClaims {
            subject,
            sid,
            all: claims,
        })
    }

    /// Checks a logout token (OpenID Connect Back-Channel Logout, section 2.6).
    ///
    /// # Errors
    /// As [`Self::id_token`]. Replay of `jti` is the caller's to refuse.
    pub async fn logout_token(
        &self,
        application: &Application,
        logout_token: &LogoutToken,
        algorithms: &[SigningAlgorithm],
        now: OffsetDateTime,
    ) -> Result<LogoutClaims, VerifyError> {
        let claims = self
            .signed(application, logout_token.expose(), algorithms)
            .await?;
        let expires_at = self.common(application, &claims, now.unix_timestamp())?;
        let event = claims
            .get("events")
            .and_then(|events| events.get(LOGOUT_EVENT));
        // Taken for none, a `sid` that cannot be read would widen the end to all of the person's sessions.
        let present = |name| match claims.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
            Some(_) => Err(TokenFault::LogoutEvent),
        };
        let (subject, sid) = (present("sub")?, present("sid")?);
        let is_logout = event.is_some_and(Value::is_object)
            && !claims.contains_key("nonce")
            && (subject.is_some() || sid.is_some());
        let jti = present("jti")?
            .filter(|_| is_logout)
            .ok_or(TokenFault::LogoutEvent)?;
        let expires_at =
            OffsetDateTime::from_unix_timestamp(expires_at.saturating_add(self.leeway()))
                .map_err(|_| TokenFault::Expired)?;
        Ok(LogoutClaims {
            subject,
            sid,
            jti,
            expires_at,
        })
    }

    /// Checks an access token for an API, in Auth0's profile or that of RFC 9068.
    ///
    /// `audience` is the API's identifier. The token must have been issued to this application (`azp` or
    /// `client_id`). An opaque or encrypted token cannot be checked by anybody but Auth0 and is
    /// [`TokenFault::Malformed`].
    ///
    /// # Errors
    /// As [`Self::id_token`].
    pub async fn access_token(
        &self,
        application: &Application,
        access_token: &AccessToken,
        audience: &str,
        algorithms: &[SigningAlgorithm],
        now: OffsetDateTime,
    ) -> Result<AccessTokenClaims, VerifyError> {
        let claims = self
            .signed(application, access_token.expose(), algorithms)
            .await?;
        if text(&claims, "iss") != Some(application.tenant.issuer()) {
            return Err(TokenFault::Issuer.into());
        }
        let meant = match claims.get("aud") {
            Some(Value::String(given)) => given == audience,
            Some(Value::Array(given)) => given.iter().any(|given| given == audience),
            _ => false,
        };
        if !meant {
            return Err(TokenFault::Audience.into());
        }
        let party = claims.get("azp").or(claims.get("client_id"));
        if party.and_then(Value::as_str) != Some(&application.client_id) {
            return Err(TokenFault::AuthorizedParty.into());
        }
        let time = |name, fault| {
            let seconds = instant(&claims, name).ok_or(fault)?;
            OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| fault)
        };
        let expires_at = time("exp", TokenFault::Expired)?;
        // No leeway: what has run out is not worth adopting.
        if expires_at <= now {
            return Err(TokenFault::Expired.into());
        }
        let issued_at = time("iat", TokenFault::IssuedAt)?;
        let subject = text(&claims, "sub")
            .filter(|subject| !subject.is_empty())
            .ok_or(TokenFault::Subject)?
            .to_owned();
        Ok(AccessTokenClaims {
            subject,
            issued_at,
            expires_at,
        })
    }

    /// Algorithm and signature. Nothing in the payload is believed before.
    async fn signed(
        &self,
        application: &Application,
        token: &str,
        accepted: &[SigningAlgorithm],
    ) -> Result<Map<String, Value>, VerifyError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenFault::Malformed.into());
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenFault::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(TokenFault::Malformed)?;
        let header = object(header).ok_or(TokenFault::Malformed)?;
        let claims = object(payload).ok_or(TokenFault::Malformed)?;
        let accepted = if accepted.is_empty() {
            &[SigningAlgorithm::Rs256]
        } else {
            accepted
        };
        let algorithm = text(&header, "alg")
            .and_then(SigningAlgorithm::from_name)
            .filter(|algorithm| accepted.contains(algorithm))
            .ok_or(TokenFault::Algorithm)?;
        // An extension that must be understood (RFC 7515, section 4.1.11): we know none.
        if header.contains_key("crit") {
            return Err(TokenFault::Malformed.into());
        }
        let verify = |key: &DecodingKey| {
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), key, algorithm.jose())
                .unwrap_or(false)
        };
        let holds = if algorithm == SigningAlgorithm::Hs256 {
            verify(&DecodingKey::from_secret(
                application.client_secret.expose().as_bytes(),
            ))
        } else {
            let kid = text(&header, "kid");
            let keys = self
                .keys
                .get(&*self.api, &application.tenant, |keys| {
                    keys.find(kid, algorithm).is_some()
                })
                .await
                .map_err(VerifyError::KeysUnavailable)?;
            verify(keys.find(kid, algorithm).ok_or(TokenFault::UnknownKey)?)
        };
        if holds {
            Ok(claims)
        } else {
            Err(TokenFault::Signature.into())
        }
    }

    /// Issuer, audience, authorized party, expiry and issue time. Gives the expiry.
    fn common(
        &self,
        application: &Application,
        claims: &Map<String, Value>,
        now: i64,
    ) -> Result<i64, TokenFault> {
        if text(claims, "iss") != Some(application.tenant.issuer()) {
            return Err(TokenFault::Issuer);
        }
        let client_id = application.client_id.as_str();
        let several = match claims.get("aud") {
            Some(Value::String(audience)) if audience == client_id => false,
            Some(Value::Array(audiences)) if audiences.iter().any(|aud| aud == client_id) => {
                audiences.len() > 1
            }
            _ => return Err(TokenFault::Audience),
        };
        match claims.get("azp") {
            None if several => return Err(TokenFault::AuthorizedParty),
            Some(party) if party != client_id => return Err(TokenFault::AuthorizedParty),
            _ => {}
        }
        let expires_at = instant(claims, "exp").ok_or(TokenFault::Expired)?;
        if expires_at.saturating_add(self.leeway()) <= now {
            return Err(TokenFault::Expired);
        }
        // An issue time ahead of our clock is no fault: clocks differ.
        instant(claims, "iat").ok_or(TokenFault::IssuedAt)?;
        Ok(expires_at)
    }

    fn leeway(&self) -> i64 {
        i64::try_from(self.leeway.as_secs()).unwrap_or(i64::MAX)
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str)
}

/// A time claim: a whole number of seconds in a sane range. A text, a fraction or 1e300 is as good as
/// none, and none is a fault.
fn instant(claims: &Map<String, Value>, name: &str) -> Option<i64> {
    claims
        .get(name)?
        .as_i64()
        .filter(|seconds| (0..=MAX_TIME).contains(seconds))
}
