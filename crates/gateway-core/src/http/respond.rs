//! Answers, and the one place where errors meet HTTP.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, LOCATION, RETRY_AFTER, SET_COOKIE, VARY,
    WWW_AUTHENTICATE,
};
use http::{HeaderValue, Response, StatusCode};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use sessionkit::Tokens;
use time::format_description::well_known::Rfc3339;

use super::body::Body;
use crate::Error;
use crate::error::{NoImportRoom, RefusedKind};

/// An answer.
pub(super) type Answer = Response<Body>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// What an answer about a session depends on.
const BY_SESSION: HeaderValue = HeaderValue::from_static("Authorization, Cookie");

/// How long a caller is asked to wait when nobody knows better.
const RETRY_SOON: Duration = Duration::from_secs(2);

/// An answer without a body. Like all, not for any cache.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    answer
}

/// JSON that is rendered already.
pub(super) fn json_bytes(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = empty(status);
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    *answer.body_mut() = Body::full(body);
    answer
}

/// JSON.
pub(super) fn json(status: StatusCode, body: &Value) -> Answer {
    json_bytes(status, body.to_string())
}

/// Says that the answer is one session's.
pub(super) fn by_session(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(VARY, BY_SESSION);
    answer
}

/// Sends the browser elsewhere.
pub(super) fn found(location: &str) -> Result<Answer, Error> {
    let mut answer = empty(StatusCode::FOUND);
    answer.headers_mut().insert(LOCATION, header(location)?);
    Ok(answer)
}

/// Adds a cookie.
pub(super) fn with_cookie(mut answer: Answer, line: &str) -> Result<Answer, Error> {
    let mut value = header(line)?;
    value.set_sensitive(true);
    answer.headers_mut().append(SET_COOKIE, value);
    Ok(answer)
}

pub(super) fn header(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text).map_err(|error| Error::Internal(Box::new(error)))
}

/// The four fields of a sign-in.
pub(super) fn tokens(tokens: &Tokens) -> Result<Answer, Error> {
    let expires_at = tokens
        .access_expires_at
        .to_utc()
        .format(&Rfc3339)
        .map_err(|error| Error::Internal(Box::new(error)))?;
    let mut body = Map::new();
    body.insert(
        "accessToken".to_owned(),
        tokens.access_token.expose_secret().into(),
    );
    for (name, token) in [
        ("refreshToken", &tokens.refresh_token),
        ("idToken", &tokens.id_token),
    ] {
        if let Some(token) = token {
            body.insert(name.to_owned(), token.expose_secret().into());
        }
    }
    body.insert("expireAt".to_owned(), expires_at.into());
    Ok(json(StatusCode::OK, &Value::Object(body)))
}

/// Renders an error: status, the public sentence, and what the client can act on. The cause goes to
/// the log, here and nowhere else.
pub(super) fn error(error: &Error) -> Answer {
    let status = status(error);
    let mut body = json!({
        "statusCode": status.as_u16(),
        "error": status.canonical_reason().unwrap_or("Error"),
        "message": error.to_string(),
    });
    match error {
        Error::Refused(refused) => {
            let refusal = &refused.refusal;
            body["code"] = refusal.code.as_str().into();
            body["error_description"] = body["message"].clone();
            if let Some(token) = &refusal.mfa_token {
                body["mfa_token"] = token.expose().into();
            }
            if let Some(requirements) = &refusal.mfa_requirements {
                body["mfa_requirements"] = (**requirements).clone();
            }
        }
        Error::RateLimited { code, .. } => {
            body["code"] = code.as_str().into();
            body["errorCode"] = code.as_str().into();
            body["error_description"] = body["message"].clone();
        }
        Error::ManagementRefused { source, .. } => {
            if let auth0_api::Error::Refused(refusal) = &**source
                && let Some(code) = refusal.body.as_ref().and_then(|body| body.get("errorCode"))
            {
                body["errorCode"] = code.clone();
            }
        }
        Error::Auth0Answer { body: answer, .. } => {
            for (key, value) in answer.iter() {
                body[key] = value.clone();
            }
            // Whatever Auth0 says of it: the status is the one that is sent.
            body["statusCode"] = status.as_u16().into();
        }
        Error::UserNotFound => body["errorCode"] = "inexistent_user".into(),
        Error::UnsupportedGrantType => {
            body["code"] = "unsupported_grant_type".into();
            body["error_description"] = body["message"].clone();
        }
        _ => {}
    }
    log(error, status);
    let mut answer = json(status, &body);
    let headers = answer.headers_mut();
    match error {
        Error::NoSession => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            headers.insert(VARY, BY_SESSION);
        }
        Error::ManagementKeyRequired => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Error::MethodNotAllowed(allow) => {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        // The rest of the body is read for a while at most: the connection cannot serve another request.
        Error::BodyTooLarge(_) | Error::BodyTimeout => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Error::RateLimited {
            retry_after: Some(wait),
            ..
        } => {
            headers.insert(RETRY_AFTER, seconds(*wait));
        }
        Error::Unavailable { retry_after, .. } => {
            headers.insert(RETRY_AFTER, seconds(retry_after.unwrap_or(RETRY_SOON)));
        }
        Error::Store(_) => {
            headers.insert(RETRY_AFTER, seconds(RETRY_SOON));
        }
        _ => {}
    }
    answer
}

fn status(error: &Error) -> StatusCode {
    match error {
        Error::BadRequest(_) | Error::UnsupportedGrantType => StatusCode::BAD_REQUEST,
        Error::UnknownClient
        | Error::UnknownSecret
        | Error::ManagementKeyRequired
        | Error::NoSession
        | Error::UnknownState
        | Error::Unverified
        | Error::ForeignRefreshToken => StatusCode::UNAUTHORIZED,
        Error::Refused(refused) => match refused.kind {
            RefusedKind::BadRequest => StatusCode::BAD_REQUEST,
            RefusedKind::Unauthorized => StatusCode::UNAUTHORIZED,
            RefusedKind::Forbidden => StatusCode::FORBIDDEN,
        },
        Error::NotFound | Error::UserNotFound | Error::JobNotFound | Error::SessionNotFound => {
            StatusCode::NOT_FOUND
        }
        Error::Auth0Answer { status, .. } => {
            StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY)
        }
        Error::ManagementRefused { .. } | Error::BadGateway(_) => StatusCode::BAD_GATEWAY,
        Error::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
        Error::NotConfigured(_) => StatusCode::NOT_IMPLEMENTED,
        Error::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
        Error::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
        Error::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Error::UnsupportedMediaType | Error::JsonWanted | Error::ImportTypeWanted => {
            StatusCode::UNSUPPORTED_MEDIA_TYPE
        }
        Error::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
        Error::Misconfigured(_) => StatusCode::BAD_GATEWAY,
        Error::Unavailable { .. } | Error::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        Error::Deadline => StatusCode::GATEWAY_TIMEOUT,
        Error::CookieTooLarge | Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What the operator must see, with all causes; a refused caller is in the access log already.
fn log(error: &Error, status: StatusCode) {
    if !status.is_server_error() {
        return;
    }
    let mut causes = String::new();
    let mut source = match error {
        // In between stands that the session store were not available.
        Error::Store(store) => match NoImportRoom::of(store) {
            Some(room) => Some(room as &dyn std::error::Error),
            None => error.source(),
        },
        _ => error.source(),
    };
    while let Some(cause) = source {
        causes.push_str(": ");
        causes.push_str(&cause.to_string());
        source = cause.source();
    }
    if matches!(
        error,
        Error::Misconfigured(_)
            | Error::ManagementRefused { .. }
            | Error::CookieTooLarge
            | Error::Internal(_)
    ) {
        tracing::error!("{error}{causes}");
    } else {
        tracing::warn!("{error}{causes}");
    }
}

/// Whole seconds, rounded up: a wait that is too short helps nobody.
fn seconds(wait: Duration) -> HeaderValue {
    HeaderValue::from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}
