//! `/api/v2/users/{id}/identities`: accounts of one person, linked and taken apart.

use http::StatusCode;
use serde_json::{Map, Value};

use super::super::schema::{Format, Property, object};
use super::super::{Call, Problem, json as json_response};
use super::attributes::text;
use super::path_id;
use crate::message::Response;
use crate::seed::SeedUser;
use crate::users::{Identity, User};

/// Links a second account, which is no user of its own any more. Nobody signs in with it
/// here as long as it is linked.
pub(crate) fn link(call: &Call<'_>) -> Result<Response, Problem> {
    const PROPERTIES: &[Property] = &[
        text(
            "provider",
            "Identity provider of the secondary user account",
            (1, 500, Format::Any),
            false,
        ),
        text(
            "user_id",
            "user_id of the secondary user account",
            (1, 500, Format::Any),
            false,
        ),
        text(
            "connection_id",
            "connection_id of the secondary user account",
            (0, 500, Format::ConnectionId),
            false,
        ),
    ];
    let id = path_id(call)?;
    let body = object(call.request, PROPERTIES, &["provider", "user_id"])?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let second = format!("{}|{}", text("provider"), text("user_id"));
    if second == id {
        return Err(Problem::bad_request(
            "Main identity and the new one are the same.",
        ));
    }
    let now = call.tenant.now();
    let mut state = call.tenant.state();
    let main = state.users.get(id).ok_or_else(Problem::no_such_user)?;
    let same = |one: &Identity| format!("{}|{}", one.provider, one.user_id) == second;
    if main.linked.iter().any(same) {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            Some("auth0_idp_error"),
            "Specified identity already exists.",
        ));
    }
    let second = state
        .users
        .remove(&second, now)
        .ok_or_else(Problem::no_such_user)?;
    state.sessions.end_all_of(&second.user_id);
    let identities = state.users.update(id, now, |user| {
        user.linked.push(identity_of(&second));
        user.linked.extend(second.linked);
        user.identities()
    });
    let identities = identities.ok_or_else(Problem::no_such_user)?;
    Ok(json_response(StatusCode::CREATED, &identities))
}

/// Makes a linked account a user of its own again.
pub(crate) fn unlink(call: &Call<'_>) -> Result<Response, Problem> {
    let id = path_id(call)?;
    let [provider, account] = call.request.more.as_slice() else {
        return Err(Problem::no_such_user());
    };
    if format!("{provider}|{account}") == id {
        return Err(Problem::bad_request("Main identity cannot be removed."));
    }
    let now = call.tenant.now();
    let mut state = call.tenant.state();
    let removed = state.users.update(id, now, |user| {
        let mut linked = user.linked.iter();
        let at = linked.position(|one| one.provider == *provider && one.user_id == *account)?;
        let one = user.linked.remove(at);
        Some((one, user.identities()))
    });
    let (one, identities) = removed.flatten().ok_or_else(Problem::no_such_user)?;
    let home = call.tenant.pool(&one.connection);
    let in_database = home.is_none_or(|home| home.is_database());
    state.users.add(user_of(&one, in_database, now), now);
    Ok(json_response(StatusCode::OK, &identities))
}

fn identity_of(user: &User) -> Identity {
    const PROFILE: [&str; 9] = [
        "email",
        "email_verified",
        "name",
        "username",
        "given_name",
        "family_name",
        "phone_number",
        "phone_verified",
        "nickname",
    ];
    let (provider, id) = user.provider_and_id();
    let shown = user.to_json();
    let profile: Map<String, Value> = PROFILE
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), shown.get(name)?.clone())))
        .collect();
    Identity {
        connection: user.connection.clone(),
        provider: provider.to_owned(),
        user_id: id.to_owned(),
        profile,
    }
}

fn user_of(identity: &Identity, in_database: bool, now: time::OffsetDateTime) -> User {
    let text = |name: &str| {
        let value = identity.profile.get(name);
        value.and_then(Value::as_str).map(str::to_owned)
    };
    let seed = SeedUser {
        user_id: Some(format!("{}|{}", identity.provider, identity.user_id)),
        connection: identity.connection.clone(),
        email_verified: identity.profile.get("email_verified") == Some(&Value::Bool(true)),
        name: text("name"),
        username: text("username"),
        given_name: text("given_name"),
        family_name: text("family_name"),
        phone_number: text("phone_number"),
        nickname: text("nickname"),
        ..SeedUser::new(&text("email").unwrap_or_default(), "")
    };
    User::from_seed(seed, in_database, now)
}
