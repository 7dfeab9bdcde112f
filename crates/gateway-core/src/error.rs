//! What can go wrong in a use case. Free of HTTP: `http::respond` gives each its status.

use std::path::PathBuf;
use std::time::Duration;

use auth0_api::Refusal;
use serde_json::{Map, Value};
use sessionkit::StoreError;

/// Why a use case gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request breaks a rule; the sentence names the parameter and the mend.
    #[error("{0}")]
    BadRequest(String),
    /// `grant_type` is not one of ours.
    #[error("grant_type is not supported: use password, {realm}, authorization_code or refresh_token",
        realm = auth0_api::grant::PASSWORD_REALM)]
    UnsupportedGrantType,
    /// No client of this name, or none named and no default.
    #[error("unknown client: send the header client-type with the name of a configured client")]
    UnknownClient,
    /// The `secret` header is unknown, or stands for another client.
    #[error("the secret header is not valid for this client")]
    UnknownSecret,
    /// A route that administers the tenant was called without one of its keys.
    #[error("a management key is required: send it as Authorization: Bearer or x-api-key")]
    ManagementKeyRequired,
    /// No session, or one that has ended.
    #[error("no live session: sign in first")]
    NoSession,
    /// `state` is unknown, was used before, has expired, or belongs elsewhere.
    #[error("the sign-in is unknown, was completed before or took too long: start again")]
    UnknownState,
    /// The tokens that Auth0 sent do not hold.
    #[error("the sign-in could not be verified: start again")]
    Unverified,
    /// The refresh token is not this session's.
    #[error("the refresh token does not belong to this session")]
    ForeignRefreshToken,
    /// Auth0 said no to a person.
    #[error("{}", refused_text(.0))]
    Refused(Refused),
    /// Auth0 said no to the gateway itself: a wrong client secret, a grant that is not enabled.
    #[error("Auth0 does not accept this client: check its clientId, clientSecret and grant types")]
    Misconfigured(#[source] auth0_api::Error),
    /// Auth0's rate limit or attack protection.
    #[error("too many requests: wait and try again")]
    RateLimited {
        /// When to try again, where Auth0 says it.
        retry_after: Option<Duration>,
        /// Auth0's code.
        code: String,
    },
    /// Auth0 could not be reached, or was not able.
    #[error("Auth0 is not available: try again later")]
    Unavailable {
        /// When to try again, where it is known.
        retry_after: Option<Duration>,
        /// The cause.
        #[source]
        source: Option<BoxError>,
    },
    /// Auth0's Management API said no (400, 404, 409, 413): its own answer goes through.
    #[error("{}", auth0_message(.body))]
    Auth0Answer {
        /// The status.
        status: u16,
        /// Auth0's body.
        body: Box<Map<String, Value>>,
    },
    /// No such user, or one that this gateway may not touch.
    #[error("The user does not exist.")]
    UserNotFound,
    /// No such import job, or one that this gateway may not see.
    #[error("Job not found.")]
    JobNotFound,
    /// No such session.
    #[error("no live session of that id")]
    SessionNotFound,
    /// Auth0 does not let the management client do this.
    #[error("Auth0 does not allow this to the managementClient: {reason}")]
    ManagementRefused {
        /// Auth0's words, for example which scope is missing.
        reason: String,
        /// Auth0's answer.
        #[source]
        source: Box<auth0_api::Error>,
    },
    /// The Management API answered with a 5xx, or not at all.
    #[error("Auth0's Management API failed: try again later")]
    BadGateway(#[source] auth0_api::Error),
    /// The Management API did not answer in time.
    #[error("Auth0's Management API did not answer in time")]
    GatewayTimeout,
    /// The route needs a part of the configuration that is not there.
    #[error("this route needs {0} in config.json")]
    NotConfigured(&'static str),
    /// The session store could not be asked, or the disk where imports wait.
    #[error("{} is not available: try again later", store_name(.0))]
    Store(#[from] StoreError),
    /// The cookie would be cut by browsers.
    #[error(
        "the session cookie would be larger than 4096 bytes: set sessionCookie to \"opaque\" for this client"
    )]
    CookieTooLarge,
    /// No such route on this listener.
    #[error("no such route")]
    NotFound,
    /// The route does not take this method.
    #[error("method not allowed")]
    MethodNotAllowed(&'static str),
    /// The body is larger than the limit, in bytes.
    #[error("the body is larger than {0} bytes")]
    BodyTooLarge(usize),
    /// The body is of a type the route does not read.
    #[error("send the body as application/x-www-form-urlencoded or application/json")]
    UnsupportedMediaType,
    /// The body is not JSON.
    #[error("send the body as application/json")]
    JsonWanted,
    /// The body of an import is neither JSON nor a form with a file.
    #[error("send the users as application/json or multipart/form-data")]
    ImportTypeWanted,
    /// The body did not arrive in time.
    #[error("the body did not arrive in time")]
    BodyTimeout,
    /// The deadline of the request passed.
    #[error("the request took too long")]
    Deadline,
    /// A fault of our own; the cause is for the log.
    #[error("unexpected fault")]
    Internal(#[source] BoxError),
}

/// A foreign error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The disk where a file or its rows wait failed. Names the path, which is for the log.
#[derive(Debug, thiserror::Error)]
#[error("{}", place.display())]
pub(crate) struct NoImportRoom {
    /// What was to be used.
    pub(crate) place: PathBuf,
    /// The system's own words.
    pub(crate) source: std::io::Error,
}

impl NoImportRoom {
    /// The disk's fault where a file is read on its way in.
    pub(crate) fn spooled(source: std::io::Error) -> StoreError {
        StoreError(Box::new(Self {
            place: std::env::temp_dir(),
            source,
        }))
    }

    /// The disk's fault, where it is one.
    pub(crate) fn of(error: &StoreError) -> Option<&Self> {
        error.0.downcast_ref()
    }
}

fn store_name(error: &StoreError) -> &'static str {
    if NoImportRoom::of(error).is_some() {
        "the room for imports"
    } else {
        "the session store"
    }
}

/// Auth0's refusal, with the status that the caller gets.
#[derive(Clone, Debug)]
pub struct Refused {
    /// What kind of answer it is.
    pub kind: RefusedKind,
    /// Auth0's words.
    pub refusal: Refusal,
}

/// How a refusal is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedKind {
    /// The request itself is wrong (unknown connection, scope).
    BadRequest,
    /// The code or the refresh token is not good (any more).
    Unauthorized,
    /// Wrong credentials, a blocked person, a second factor wanted.
    Forbidden,
}

fn refused_text(refused: &Refused) -> &str {
    refused
        .refusal
        .description
        .as_deref()
        .unwrap_or("Auth0 refused the request")
}

impl From<auth0_api::Error> for Error {
    /// For calls where a refusal can only mean that the gateway itself is not accepted.
    fn from(error: auth0_api::Error) -> Self {
        match error {
            auth0_api::Error::RateLimited {
                retry_after,
                refusal,
            } => Self::RateLimited {
                retry_after,
                code: refusal.code.as_str().to_owned(),
            },
            error @ auth0_api::Error::Refused(_) => Self::Misconfigured(error),
            error => Self::Unavailable {
                retry_after: error.retry_after(),
                source: Some(Box::new(error)),
            },
        }
    }
}

fn auth0_message(body: &Map<String, Value>) -> &str {
    body.get("message")
        .and_then(Value::as_str)
        .unwrap_or("Auth0 refused the request")
}

impl Error {
    /// For calls to the Management API.
    pub(crate) fn from_management(error: auth0_api::Error) -> Self {
        use auth0_api::Error as Auth0;
        match error {
            Auth0::Refused(refusal) => match (refusal.status, refusal.body) {
                (status @ (400 | 404 | 409 | 413 | 414 | 415 | 422), Some(body)) => {
                    Self::Auth0Answer { status, body }
                }
                (_, body) => Self::ManagementRefused {
                    reason: refusal
                        .description
                        .clone()
                        .unwrap_or_else(|| refusal.code.as_str().to_owned()),
                    source: Box::new(Auth0::Refused(Refusal { body, ..refusal })),
                },
            },
            Auth0::RateLimited {
                retry_after,
                refusal,
            } => Self::RateLimited {
                retry_after,
                code: refusal.code.as_str().to_owned(),
            },
            Auth0::Timeout => Self::GatewayTimeout,
            error => Self::BadGateway(error),
        }
    }
}
