//! `/_dev/*`: what a test or a person with curl does to the tenant itself.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::clock::iso;
use crate::fault::Fault;
use crate::message::{Request, Response, empty, json as json_response};
use crate::tenant::Tenant;

/// `POST` injects a fault, `DELETE` clears them all.
pub(crate) fn faults(tenant: &Arc<Tenant>, request: &Request) -> Response {
    if request.method == Method::DELETE {
        tenant.faults().clear();
        return empty(StatusCode::NO_CONTENT);
    }
    match body::<Fault>(request) {
        Ok(fault) => {
            let mut faults = tenant.faults();
            faults.inject(fault);
            json_response(StatusCode::CREATED, &json!({ "waiting": faults.len() }))
        }
        Err(refused) => refused.response(),
    }
}

/// Makes the next key the current one.
pub(crate) async fn rotate_keys(tenant: Arc<Tenant>) -> Response {
    match tenant.keys.rotate().await {
        Ok(kid) => json_response(StatusCode::OK, &json!({ "kid": kid })),
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "No key could be made."),
    }
}

/// Drops the previous keys.
pub(crate) fn revoke_keys(tenant: &Arc<Tenant>, _: &Request) -> Response {
    let revoked = tenant.keys.revoke_previous();
    json_response(StatusCode::OK, &json!({ "revoked": revoked }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    seconds: u64,
}

/// Moves the clock forward.
pub(crate) fn advance_clock(tenant: &Arc<Tenant>, request: &Request) -> Response {
    match body::<Advance>(request) {
        Ok(Advance { seconds }) => {
            tenant.clock.advance(Duration::from_secs(seconds));
            json_response(StatusCode::OK, &json!({ "now": iso(tenant.now()) }))
        }
        Err(refused) => refused.response(),
    }
}

/// `GET` lists the calls, `DELETE` forgets them.
pub(crate) fn calls(tenant: &Arc<Tenant>, request: &Request) -> Response {
    let mut journal = tenant.journal();
    if request.method == Method::DELETE {
        journal.clear();
        return empty(StatusCode::NO_CONTENT);
    }
    json_response(
        StatusCode::OK,
        &json!({
            "calls": journal.calls(),
            "refresh_exchanges": journal.refresh_exchanges(),
        }),
    )
}

/// Everybody.
pub(crate) fn users(tenant: &Arc<Tenant>, _: &Request) -> Response {
    let users: Vec<Value> = tenant
        .state()
        .users
        .iter()
        .map(|user| user.to_json())
        .collect();
    json_response(StatusCode::OK, &json!(users))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Patch {
    blocked: Option<bool>,
    app_metadata: Option<Map<String, Value>>,
    user_metadata: Option<Map<String, Value>>,
}

/// `GET`, `PATCH` or `DELETE` one person. Metadata is replaced, not merged.
pub(crate) fn user(tenant: &Arc<Tenant>, request: &Request) -> Response {
    let missing = || problem(StatusCode::NOT_FOUND, "The user does not exist.");
    match request.method {
        Method::DELETE => {
            if remove_user(tenant, &request.id) {
                empty(StatusCode::NO_CONTENT)
            } else {
                missing()
            }
        }
        Method::PATCH => {
            let patch = match body::<Patch>(request) {
                Ok(patch) => patch,
                Err(refused) => return refused.response(),
            };
            let now = tenant.now();
            let mut state = tenant.state();
            state.users.update(&request.id, now, |user| {
                user.blocked = patch.blocked.or(user.blocked);
                if let Some(metadata) = patch.app_metadata {
                    user.app_metadata = metadata;
                }
                if let Some(metadata) = patch.user_metadata {
                    user.user_metadata = Some(metadata);
                }
            });
            state.users.get(&request.id).map_or_else(missing, |user| {
                json_response(StatusCode::OK, &user.to_json())
            })
        }
        _ => tenant
            .state()
            .users
            .get(&request.id)
            .map_or_else(missing, |user| {
                json_response(StatusCode::OK, &user.to_json())
            }),
    }
}

/// Removes a person with their sessions. Refresh tokens stay known, so that they are
/// answered as those of a deleted user.
pub(crate) fn remove_user(tenant: &Tenant, user_id: &str) -> bool {
    let now = tenant.now();
    let mut state = tenant.state();
    state.sessions.end_all_of(user_id);
    state.users.remove(user_id, now).is_some()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Searches {
    queries: Vec<String>,
}

/// How the tenant reads searches: for each a tree, or what is wrong with it.
pub(crate) fn parse_searches(_: &Arc<Tenant>, request: &Request) -> Response {
    match body::<Searches>(request) {
        Ok(Searches { queries }) => {
            let read = |q: &String| match crate::search::parse(q) {
                Ok(tree) => json!({ "tree": tree }),
                Err(error) => json!({ "error": error.to_string() }),
            };
            let answers: Vec<Value> = queries.iter().map(read).collect();
            json_response(StatusCode::OK, &json!(answers))
        }
        Err(refused) => refused.response(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Logout {
    user_id: String,
    sid: Option<String>,
}

/// Sends logout tokens to every application with a URL for them.
pub(crate) async fn backchannel_logout(tenant: Arc<Tenant>, request: Request) -> Response {
    match body::<Logout>(&request) {
        Ok(logout) => {
            let sid = logout.sid.as_deref();
            let sent = crate::backchannel::send(&tenant, &logout.user_id, sid, |_| true).await;
            json_response(StatusCode::OK, &json!(sent))
        }
        Err(refused) => refused.response(),
    }
}

/// The JSON body. Its content type is asked for because a foreign page can post
/// anything else here without the browser asking first.
fn body<T: DeserializeOwned>(request: &Request) -> Result<T, BadBody> {
    if !request
        .media_type()
        .eq_ignore_ascii_case("application/json")
    {
        return Err(BadBody::NotJson);
    }
    serde_json::from_slice(&request.body).map_err(|error| BadBody::Faulty(error.to_string()))
}

/// Why a body was not taken.
enum BadBody {
    NotJson,
    Faulty(String),
}

impl BadBody {
    fn response(&self) -> Response {
        match self {
            Self::NotJson => problem(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body must be application/json.",
            ),
            Self::Faulty(message) => problem(StatusCode::BAD_REQUEST, message),
        }
    }
}

/// An error in the shape of the Management API.
pub(crate) fn problem(status: StatusCode, message: &str) -> Response {
    json_response(
        status,
        &json!({
            "statusCode": status.as_u16(),
            "error": status.canonical_reason().unwrap_or_default(),
            "message": message,
        }),
    )
}
