//! `/sessions…`: live sessions, for an administrator. Never a token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::{Value, json};
use sessionkit::{Session, SessionId, Timestamp};
use time::format_description::well_known::Rfc3339;

use super::context::Context;
use super::respond::{self, Answer};
use super::users::{acl, no_parameters, user_id};
use crate::Error;
use crate::gateway::Gateway;
use crate::query::Selection;

/// `_l` when it is not given.
const DEFAULT_LIMIT: usize = 25;
/// The largest `_l`.
const MAX_LIMIT: usize = 1000;

/// `GET /sessions`
pub(super) async fn list(gateway: &Gateway, context: &Context<'_>) -> Result<Answer, Error> {
    let params = context.query()?;
    params.only(&["userId", "_l", "_sk"])?;
    let limit = params.number("_l", 1, MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
    let skip = params.number("_sk", 0, usize::MAX)?.unwrap_or(0);
    let user = params.get(&["userId"])?;
    // A caller that has lost the id does not mean everybody.
    if user.is_none() && params.names().any(|name| name == "userId") {
        return Err(Error::BadRequest(
            "userId needs a value: leave it out for all".to_owned(),
        ));
    }
    let sessions = if may_see(gateway, context, user).await? {
        gateway.list_sessions(user, skip, limit).await?
    } else {
        Vec::new()
    };
    let body: Vec<Value> = sessions.iter().map(|session| describe(session)).collect();
    Ok(respond::json(StatusCode::OK, &body.into()))
}

/// `DELETE /sessions/{userId}`
pub(super) async fn end_all(
    gateway: &Gateway,
    context: &Context<'_>,
    user: &str,
) -> Result<Answer, Error> {
    no_parameters(context)?;
    let count = if may_see(gateway, context, Some(user)).await? {
        gateway.end_sessions_of(user).await?
    } else {
        0
    };
    Ok(respond::json(StatusCode::OK, &json!({ "count": count })))
}

/// `DELETE /sessions/{userId}/{sessionId}`
pub(super) async fn end_one(
    gateway: &Gateway,
    context: &Context<'_>,
    user: &str,
    id: &str,
) -> Result<Answer, Error> {
    no_parameters(context)?;
    let bytes = URL_SAFE_NO_PAD.decode(id).ok();
    let id = bytes
        .and_then(|bytes| <[u8; 16]>::try_from(bytes).ok())
        .map(SessionId::from_bytes)
        .ok_or(Error::SessionNotFound)?;
    if !may_see(gateway, context, Some(user)).await? {
        return Err(Error::SessionNotFound);
    }
    gateway.end_session_of(user, id).await?;
    Ok(respond::empty(StatusCode::NO_CONTENT))
}

/// Whoever is hidden by the ACL has no sessions here. What it asks of a person only Auth0 knows, of one
/// person at a time.
async fn may_see(
    gateway: &Gateway,
    context: &Context<'_>,
    user: Option<&str>,
) -> Result<bool, Error> {
    let acl = acl(context)?;
    if acl == Selection::Everybody {
        return Ok(true);
    }
    let user = user.ok_or_else(|| {
        Error::BadRequest(
            "acl_rows cannot narrow a list of all: name one user with userId".to_owned(),
        )
    })?;
    match gateway.user(&user_id(user)?, &acl, context.deadline).await {
        Ok(_) => Ok(true),
        Err(Error::UserNotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

fn describe(session: &Session) -> Value {
    let mut body = json!({
        "sessionId": session.id().to_string(),
        "userId": session.subject(),
        "client": session.client(),
        "createdAt": instant(session.created_at()),
        "lastSeenAt": instant(session.last_seen_at()),
        "expiresAt": instant(session.expires_at()),
    });
    if let Some(address) = session.ip_address() {
        body["ipAddress"] = address.to_string().into();
    }
    if let Some(agent) = session.user_agent() {
        body["userAgent"] = agent.into();
    }
    body
}

fn instant(at: Timestamp) -> String {
    at.to_utc().format(&Rfc3339).unwrap_or_default()
}
