//! The Management API: its audience and scopes, and what all of its calls have in
//! common.

pub(crate) mod blocks;
pub(crate) mod connections;
pub(crate) mod jobs;
mod problem;
mod query;
mod schema;
pub(crate) mod sessions;
pub(crate) mod tickets;
mod token;
pub(crate) mod users;

use std::sync::Arc;

use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use serde_json::Value;

pub(crate) use self::problem::Problem;
use self::token::Caller;
use crate::message::{Request, Response, with_body};
use crate::tenant::Tenant;

/// What an administrating application can be granted.
pub(crate) const MANAGEMENT_SCOPES: [&str; 14] = [
    "read:users",
    "create:users",
    "update:users",
    "delete:users",
    "update:users_app_metadata",
    "read:connections",
    "create:user_tickets",
    "read:sessions",
    "delete:sessions",
    "read:refresh_tokens",
    "delete:refresh_tokens",
    "read:signing_keys",
    "create:signing_keys",
    "update:signing_keys",
];

/// A call whose token has been checked.
pub(crate) struct Call<'a> {
    pub(crate) tenant: &'a Arc<Tenant>,
    pub(crate) request: &'a Request,
    pub(crate) caller: Caller,
}

/// A route of the Management API.
pub(crate) type Route = fn(&Call<'_>) -> Result<Response, Problem>;

/// Answers a call whose token has one of the scopes.
pub(crate) fn answer(
    tenant: &Arc<Tenant>,
    request: &Request,
    scopes: &[&str],
    route: Route,
) -> Response {
    let result = admit(tenant, request, scopes).and_then(|caller| {
        route(&Call {
            tenant,
            request,
            caller,
        })
    });
    result.unwrap_or_else(|problem| problem.response())
}

/// Whoever calls, if the URI is short enough and the token is good for this.
pub(crate) fn admit(
    tenant: &Tenant,
    request: &Request,
    scopes: &[&str],
) -> Result<Caller, Problem> {
    if request.path.len() + request.query.len() > tenant.settings.max_uri_bytes {
        return Err(Problem::uri_too_long());
    }
    let caller = token::check(tenant, request)?;
    caller.needs_any_of(scopes)?;
    Ok(caller)
}

/// A JSON answer with the headers that were recorded here.
pub(crate) fn json(status: StatusCode, body: &Value) -> Response {
    let mut response = with_body(status, "application/json; charset=utf-8", body.to_string());
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
