//! Sessions and refresh tokens of people: lists and ends of them.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::query::{Parameter, Query};
use super::schema::{Format, Kind, Property, object};
use super::users::{other, path_id, text};
use super::{Call, Problem, json as json_response};
use crate::clock::iso;
use crate::message::Response;
use crate::refresh::Listed;
use crate::sessions::SsoSession;

const PAGING: &[Parameter] = &[
    Parameter {
        name: "include_totals",
        description: "Return results inside an object that contains the total result count",
    },
    Parameter {
        name: "from",
        description: "An optional cursor from which to start the selection (exclusive)",
    },
    Parameter {
        name: "take",
        description: "Number of results per page. Defaults to 50",
    },
];

/// `GET /api/v2/users/{id}/sessions`.
pub(crate) fn of_user(call: &Call<'_>) -> Result<Response, Problem> {
    let id = existing(call)?;
    let sessions = {
        let now = call.tenant.now();
        let state = call.tenant.state();
        let sessions = state.sessions.of_user(id, now);
        sessions.into_iter().map(shape).collect()
    };
    page(call, "sessions", sessions)
}

/// `DELETE /api/v2/users/{id}/sessions`.
pub(crate) fn end_of_user(call: &Call<'_>) -> Result<Response, Problem> {
    let id = existing(call)?;
    call.tenant.state().sessions.end_all_of(id);
    Ok(on_its_way())
}

/// `GET /api/v2/sessions/{id}`.
pub(crate) fn by_id(call: &Call<'_>) -> Result<Response, Problem> {
    let now = call.tenant.now();
    let state = call.tenant.state();
    let session = state.sessions.by_sid(&call.request.id, now);
    session
        .map(|session| json_response(StatusCode::OK, &shape(session)))
        .ok_or_else(no_such_session)
}

/// `DELETE /api/v2/sessions/{id}`; no 404.
pub(crate) fn end(call: &Call<'_>) -> Result<Response, Problem> {
    call.tenant.state().sessions.end_sid(&call.request.id);
    Ok(on_its_way())
}

/// `POST /api/v2/sessions/{id}/revoke`: the session with its refresh tokens.
pub(crate) fn revoke(call: &Call<'_>) -> Result<Response, Problem> {
    let sid = call.request.id.as_str();
    let mut state = call.tenant.state();
    if !state.sessions.end_sid(sid) {
        return Err(no_such_session());
    }
    state
        .refresh
        .revoke_where(|grant, _| grant.sid.as_deref() == Some(sid));
    Ok(on_its_way())
}

/// `POST /api/v2/users/{id}/revoke-access`; no 404.
pub(crate) fn revoke_access(call: &Call<'_>) -> Result<Response, Problem> {
    const PROPERTIES: &[Property] = &[
        text(
            "session_id",
            "ID of the session to revoke",
            (0, 50, Format::Any),
            false,
        ),
        other(
            "preserve_refresh_tokens",
            "Whether to preserve the refresh tokens",
            Kind::Flag,
        ),
    ];
    let user_id = path_id(call)?;
    let body = object(call.request, PROPERTIES, &[])?;
    let sid = body.get("session_id").and_then(Value::as_str);
    let preserved = body.get("preserve_refresh_tokens") == Some(&Value::Bool(true));
    let mut state = call.tenant.state();
    match sid {
        None => state.sessions.end_all_of(user_id),
        Some(sid) => {
            state.sessions.end_sid(sid);
        }
    }
    if !preserved {
        state.refresh.revoke_where(|grant, _| {
            grant.user_id == user_id && (sid.is_none() || grant.sid.as_deref() == sid)
        });
    }
    Ok(on_its_way())
}

/// `GET /api/v2/users/{id}/refresh-tokens`.
pub(crate) fn refresh_tokens_of_user(call: &Call<'_>) -> Result<Response, Problem> {
    let id = existing(call)?;
    let tokens = {
        let now = call.tenant.now();
        let state = call.tenant.state();
        let all = state.refresh.listed(now);
        let own = all.filter(|token| token.grant.user_id == id);
        own.map(|token| refresh_shape(&token)).collect()
    };
    page(call, "tokens", tokens)
}

/// `DELETE /api/v2/users/{id}/refresh-tokens`.
pub(crate) fn revoke_refresh_tokens_of_user(call: &Call<'_>) -> Result<Response, Problem> {
    let id = existing(call)?;
    let mut state = call.tenant.state();
    state.refresh.revoke_where(|grant, _| grant.user_id == id);
    Ok(on_its_way())
}

/// `GET /api/v2/refresh-tokens/{id}`.
pub(crate) fn refresh_token(call: &Call<'_>) -> Result<Response, Problem> {
    let now = call.tenant.now();
    let state = call.tenant.state();
    let mut all = state.refresh.listed(now);
    let token = all.find(|token| token.id == call.request.id);
    token
        .map(|token| json_response(StatusCode::OK, &refresh_shape(&token)))
        .ok_or_else(|| {
            Problem::new(
                StatusCode::NOT_FOUND,
                Some("inexistent_refresh_token"),
                "The refresh token does not exist.",
            )
        })
}

/// `DELETE /api/v2/refresh-tokens/{id}`; no 404.
pub(crate) fn revoke_refresh_token(call: &Call<'_>) -> Result<Response, Problem> {
    let mut state = call.tenant.state();
    state.refresh.revoke_where(|_, id| id == call.request.id);
    Ok(on_its_way())
}

fn existing<'a>(call: &'a Call<'_>) -> Result<&'a str, Problem> {
    let id = path_id(call)?;
    let known = call.tenant.state().users.get(id).is_some();
    known.then_some(id).ok_or_else(Problem::no_such_user)
}

fn no_such_session() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        Some("inexistent_session"),
        "The session does not exist.",
    )
}

/// Deletions here are 202.
fn on_its_way() -> Response {
    json_response(StatusCode::ACCEPTED, &json!({}))
}

/// A part of the list, and where the next one starts.
fn page(call: &Call<'_>, name: &str, all: Vec<Value>) -> Result<Response, Problem> {
    let query = Query::read(&call.request.query, PAGING)?;
    let take = query.number("take", 1, 100)?.unwrap_or(50);
    let take = usize::try_from(take).unwrap_or(usize::MAX);
    let id = |value: &Value| value.get("id").and_then(Value::as_str).map(str::to_owned);
    let start = match query.get("from") {
        None => 0,
        Some(from) => all
            .iter()
            .position(|one| id(one).as_deref() == Some(from))
            .ok_or_else(|| query.problem("from", "Invalid cursor"))?,
    };
    let mut body = Map::new();
    if query.flag("include_totals")? == Some(true) {
        body.insert("total".to_owned(), json!(all.len()));
    }
    let mut rest = all.into_iter().skip(start);
    let shown: Vec<Value> = rest.by_ref().take(take).collect();
    body.insert(name.to_owned(), Value::from(shown));
    if let Some(next) = rest.next().as_ref().and_then(id) {
        body.insert("next".to_owned(), json!(next));
    }
    Ok(json_response(StatusCode::OK, &Value::Object(body)))
}

fn shape(session: &SsoSession) -> Value {
    let (idle_until, expires_at) = session.ends();
    let mut methods = vec![json!({
        "name": "pwd", "timestamp": iso(session.authenticated_at),
    })];
    if session.mfa {
        methods.push(json!({
            "name": "mfa", "type": "otp", "timestamp": iso(session.authenticated_at),
        }));
    }
    let clients = session.clients.iter().map(|id| json!({ "client_id": id }));
    json!({
        "id": session.sid,
        "user_id": session.user_id,
        "created_at": iso(session.created_at),
        "updated_at": iso(session.last_seen_at),
        "authenticated_at": iso(session.authenticated_at),
        "idle_expires_at": iso(idle_until),
        "expires_at": iso(expires_at),
        "last_interacted_at": iso(session.last_seen_at),
        "device": {},
        "clients": clients.collect::<Vec<_>>(),
        "authentication": { "methods": methods },
        "cookie": { "mode": "persistent" },
    })
}

fn refresh_shape(token: &Listed<'_>) -> Value {
    let grant = token.grant;
    let scopes = grant.scope.to_string();
    let servers = grant.audience.iter();
    json!({
        "id": token.id,
        "user_id": grant.user_id,
        "client_id": grant.client_id,
        "session_id": grant.sid,
        "rotating": token.rotating,
        "created_at": iso(token.created_at),
        "idle_expires_at": iso(token.idle_until),
        "expires_at": iso(token.expires_at),
        "last_exchanged_at": token.last_exchanged_at.map(iso),
        "device": {},
        "resource_servers": servers
            .map(|audience| json!({ "audience": audience, "scopes": scopes }))
            .collect::<Vec<_>>(),
    })
}
