//! What can go wrong at Auth0, sorted by what a caller can do next.

use std::fmt;
use std::time::Duration;

use crate::MfaToken;

/// A foreign error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a call to Auth0 gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Auth0 understood and said no.
    #[error("Auth0 refused the request: {0}")]
    Refused(Refusal),
    /// The tenant's rate limit, or attack protection (`too_many_attempts`).
    #[error("Auth0 limits the rate: {refusal}")]
    RateLimited {
        /// How long to wait, where Auth0 says it.
        retry_after: Option<Duration>,
        /// Auth0's words.
        refusal: Refusal,
    },
    /// Auth0 answered with a 5xx, or not with the JSON it promises.
    #[error("Auth0 is not available (status {status})")]
    Unavailable {
        /// The HTTP status.
        status: u16,
        /// How long to wait, where Auth0 says it.
        retry_after: Option<Duration>,
    },
    /// No answer within the time-out.
    #[error("Auth0 did not answer in time")]
    Timeout,
    /// The network between us and Auth0; the cause is the source.
    #[error("Auth0 could not be reached")]
    Transport(#[source] BoxError),
    /// An answer that is not what Auth0 documents (too large, missing fields).
    #[error("Auth0 sent an unexpected answer: {0}")]
    Unexpected(&'static str),
}

impl Error {
    /// True when the same call may succeed later: the network, a time-out, a 5xx.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. } | Self::Timeout | Self::Transport(_) | Self::Unexpected(_)
        )
    }

    /// How long Auth0 asks to wait, where it does.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Unavailable { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }
}

/// Auth0's refusal: `{"error":…,"error_description":…}` or one of its older shapes.
///
/// Neither `Debug` nor `Display` shows the description.
#[derive(Clone)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The code; decide by this, never by the text.
    pub code: ErrorCode,
    /// Auth0's text for people.
    pub description: Option<String>,
    /// Continues the sign-in, with `mfa_required`.
    pub mfa_token: Option<MfaToken>,
    /// The other fields of an `mfa_required` (`mfa_requirements`), as they came.
    pub mfa_requirements: Option<Box<serde_json::Value>>,
    /// The whole answer, where it came from the Management API: it is passed on as it is.
    pub body: Option<Box<serde_json::Map<String, serde_json::Value>>>,
}

impl fmt::Display for Refusal {
    // The description may name a person: it is for the answer, not for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (status {})", self.code.loggable(), self.status)
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("status", &self.status)
            .field("code", &self.code)
            .field("mfa_token", &self.mfa_token)
            .finish_non_exhaustive()
    }
}

/// Error codes of the token endpoint (RFC 6749, section 5.2, and Auth0's own).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are the wire's own")]
pub enum ErrorCode {
    AccessDenied,
    InvalidClient,
    InvalidGrant,
    InvalidRequest,
    InvalidScope,
    InvalidUserPassword,
    MfaRequired,
    PasswordLeaked,
    RequiresVerification,
    TooManyAttempts,
    TooManyRequests,
    Unauthorized,
    UnauthorizedClient,
    UnsupportedGrantType,
    /// Any other code, as it came.
    Other(String),
}

impl ErrorCode {
    /// Reads a code.
    #[must_use]
    pub fn from_wire(code: &str) -> Self {
        [
            Self::AccessDenied,
            Self::InvalidClient,
            Self::InvalidGrant,
            Self::InvalidRequest,
            Self::InvalidScope,
            Self::InvalidUserPassword,
            Self::MfaRequired,
            Self::PasswordLeaked,
            Self::RequiresVerification,
            Self::TooManyAttempts,
            Self::TooManyRequests,
            Self::Unauthorized,
            Self::UnauthorizedClient,
            Self::UnsupportedGrantType,
        ]
        .into_iter()
        .find(|known| known.as_str() == code)
        .unwrap_or_else(|| Self::Other(code.to_owned()))
    }

    /// The code as the wire spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::AccessDenied => "access_denied",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidUserPassword => "invalid_user_password",
            Self::MfaRequired => "mfa_required",
            Self::PasswordLeaked => "password_leaked",
            Self::RequiresVerification => "requires_verification",
            Self::TooManyAttempts => "too_many_attempts",
            Self::TooManyRequests => "too_many_requests",
            Self::Unauthorized => "unauthorized",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::Other(code) => code,
        }
    }

    /// The code, unless it is no code: some old answers put a sentence there, which may quote
    /// what the person typed.
    fn loggable(&self) -> &str {
        let code = self.as_str();
        let is_code = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
        if code.len() <= 64 && code.bytes().all(is_code) {
            code
        } else {
            "a text in place of a code"
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.loggable())
    }
}
