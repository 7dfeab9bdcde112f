//! `/dbconnections/change_password` and `/dbconnections/signup`.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use crate::message::{Refusal, Request, Response, json as json_response, with_body};
use crate::params::Params;
use crate::seed::SeedUser;
use crate::tenant::Tenant;
use crate::token::too_many_requests;
use crate::users::{User, canonical};

/// Shortest password that sign-up takes: Auth0's "fair" policy.
pub(crate) const SHORTEST_PASSWORD: usize = 8;

/// Always the same text: nobody learns who exists. No mail is sent.
pub(crate) fn change_password(tenant: &Arc<Tenant>, request: &Request) -> Response {
    try_change_password(tenant, request).unwrap_or_else(|refusal| refusal.response())
}

fn try_change_password(tenant: &Tenant, request: &Request) -> Result<Response, Refusal> {
    let params = request.form()?;
    let email = params
        .get("email")
        .ok_or_else(|| Refusal::missing("email"))?;
    connection(tenant, &params)?;
    if let Some(limits) = &tenant.settings.rate_limits {
        let whose = format!("{} {}", request.peer, canonical(email));
        let level = tenant.state().buckets.take(
            "change_password",
            whose,
            limits.change_password,
            tenant.now(),
        );
        if !level.allowed {
            return Ok(too_many_requests(level, limits.retry_after));
        }
    }
    Ok(with_body(
        StatusCode::OK,
        "text/html; charset=utf-8",
        "We've just sent you an email to reset your password.",
    ))
}

/// The connection named, which the application (if one is named) has switched on.
fn connection(tenant: &Tenant, params: &Params) -> Result<String, Refusal> {
    let name = params
        .get("connection")
        .ok_or_else(|| Refusal::missing("connection"))?;
    let app = match params.get("client_id") {
        None => None,
        Some(id) => Some(
            tenant
                .application(id)
                .ok_or_else(|| Refusal::invalid_request(format!("Unknown client: {id}")))?,
        ),
    };
    let known = tenant
        .connections
        .iter()
        .any(|connection| connection == name)
        && app.is_none_or(|app| app.allows_connection(name));
    if known {
        Ok(name.to_owned())
    } else {
        Err(Refusal::invalid_request("the connection was not found"))
    }
}

/// 200 with an id that lacks its provider; errors in a shape of their own.
pub(crate) fn signup(tenant: &Arc<Tenant>, request: &Request) -> Response {
    try_sign_up(tenant, request).unwrap_or_else(|refusal| refusal.response())
}

fn try_sign_up(tenant: &Tenant, request: &Request) -> Result<Response, Refusal> {
    let params = request.form()?;
    let required = |name| params.get(name).ok_or_else(|| Refusal::missing(name));
    required("client_id")?;
    let (email, password) = (required("email")?, required("password")?);
    let connection = connection(tenant, &params)?;
    if email.split('@').filter(|part| !part.is_empty()).count() != 2 {
        return Ok(failure(
            "BadRequestError",
            "invalid_signup",
            &json!("Invalid sign up"),
        ));
    }
    if password.chars().count() < SHORTEST_PASSWORD {
        return Ok(failure(
            "PasswordStrengthError",
            "invalid_password",
            &json!({
                "rules": [{
                    "message": "At least %d characters in length",
                    "format": [SHORTEST_PASSWORD],
                    "code": "lengthAtLeast",
                    "verified": false,
                }],
                "verified": false,
            }),
        ));
    }
    let mut user = SeedUser {
        connection,
        email_verified: false,
        username: params.get("username").map(str::to_owned),
        given_name: params.get("given_name").map(str::to_owned),
        family_name: params.get("family_name").map(str::to_owned),
        name: params.get("name").map(str::to_owned),
        ..SeedUser::new(email, password)
    };
    // Random: an address that was deleted and signs up again is somebody new.
    let id = random_id()?;
    user.user_id = Some(format!("auth0|{id}"));

    let now = tenant.now();
    let mut state = tenant.state();
    let connections = [user.connection.clone()];
    let taken = [Some(email), user.username.as_deref()]
        .into_iter()
        .flatten()
        .any(|name| state.users.find(name, &connections).next().is_some());
    if taken {
        return Ok(failure(
            "BadRequestError",
            "invalid_signup",
            &json!("Invalid sign up"),
        ));
    }
    let user = User::from_seed(user, true, now);
    let body = json!({ "_id": id, "email": user.email, "email_verified": false });
    state.users.add(user, now);
    Ok(json_response(StatusCode::OK, &body))
}

/// 24 hexadecimal digits, as Auth0's database makes them.
pub(crate) fn random_id() -> Result<String, getrandom::Error> {
    let mut bytes = [0_u8; 12];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn failure(name: &str, code: &str, description: &Value) -> Response {
    json_response(
        StatusCode::BAD_REQUEST,
        &json!({
            "name": name, "code": code, "description": description, "statusCode": 400,
        }),
    )
}
