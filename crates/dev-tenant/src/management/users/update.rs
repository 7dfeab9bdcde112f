//! `PATCH /api/v2/users/{id}`.

use http::StatusCode;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::super::schema::{Format, Kind, Property, object};
use super::super::{Call, Problem, json as json_response};
use super::attributes::{check_metadata, check_password, other, settable, text};
use super::path_id;
use crate::message::Response;
use crate::secret::Secret;
use crate::tenant::Tenant;
use crate::users::{Taken, User};

const PROPERTIES: &[&[Property]] = &[
    &settable(true),
    &[
        text(
            "connection",
            "Name of the connection to target for this user update",
            (1, usize::MAX, Format::Any),
            false,
        ),
        text(
            "client_id",
            "Auth0 client ID. Only valid when updating email address",
            (1, usize::MAX, Format::Any),
            false,
        ),
        other(
            "verify_email",
            "Whether this user will receive a verification email after creation",
            Kind::Flag,
        ),
        other(
            "verify_phone_number",
            "Whether this user will receive a text after changing the phone number",
            Kind::Flag,
        ),
    ],
];

/// What the calls that change one attribute cannot change as well.
const EXCLUSIVE: [(&str, &str); 5] = [
    ("password", "email"),
    ("password", "email_verified"),
    ("username", "email"),
    ("username", "email_verified"),
    ("username", "password"),
];

/// Attributes that an identity provider owns.
const PROFILE: [&str; 5] = ["family_name", "given_name", "name", "nickname", "picture"];

/// Shared by both texts about attributes that somebody else owns.
const EITHER: &str = "The connection must either be a database connection (using the Auth0 \
                      store), a passwordless connection (email or sms) or has disabled 'Sync \
                      user profile attributes at each login'. For more information, see \
                      https://auth0.com/docs/dashboard/guides/connections/configure-connection-sync";

pub(crate) fn update(call: &Call<'_>) -> Result<Response, Problem> {
    let id = path_id(call)?;
    let body = object(call.request, &PROPERTIES.concat(), &[])?;
    if !body.keys().all(|key| key == "app_metadata") {
        call.caller.needs_any_of(&["update:users"])?;
    }
    check_metadata(&body)?;
    for (one, two) in EXCLUSIVE {
        if body.contains_key(one) && body.contains_key(two) {
            return Err(Problem::bad_request(format!(
                "Cannot update {one} and {two} simultaneously."
            )));
        }
    }
    if let Some(password) = body.get("password").and_then(Value::as_str) {
        check_password(password)?;
    }

    let now = call.tenant.now();
    let mut state = call.tenant.state();
    let user = state.users.get(id).ok_or_else(Problem::no_such_user)?;
    check_connection(call.tenant, user, &body)?;
    let mut changed = user.clone();
    apply(&mut changed, &body, now);
    match state.users.taken(&changed, false) {
        Some(Taken::Email) => return Err(taken("email")),
        Some(Taken::Username) => return Err(taken("username")),
        Some(Taken::PhoneNumber) => return Err(taken("phone_number")),
        Some(Taken::UserId) | None => {}
    }
    state.users.update(id, now, |user| *user = changed);
    if body.contains_key("password") {
        state.sessions.end_all_of(id);
    }
    let user = state.users.get(id).ok_or_else(Problem::no_such_user)?;
    Ok(json_response(StatusCode::OK, &user.to_json()))
}

/// The text is assumed.
fn taken(what: &str) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        Some("auth0_idp_error"),
        format!("The specified new {what} already exists"),
    )
}

/// Whether the connection of the identity that is changed allows all this.
fn check_connection(
    tenant: &Tenant,
    user: &User,
    body: &Map<String, Value>,
) -> Result<(), Problem> {
    let name = match body.get("connection").and_then(Value::as_str) {
        None => user.connection.as_str(),
        Some(name) if user.connections().any(|own| own == name) => name,
        Some(_) => return Err(Problem::bad_request("Connection does not exist.")),
    };
    let connection = tenant
        .pool(name)
        .ok_or_else(|| Problem::bad_request("Connection does not exist."))?;
    let passwordless = matches!(connection.strategy.as_str(), "email" | "sms");
    let present = |names: &[&str], null: bool| -> Vec<String> {
        let named = names.iter().filter(|name| {
            let value = body.get(**name);
            value.is_some_and(|value| !null || value.is_null())
        });
        named.map(|name| (*name).to_owned()).collect()
    };
    if !connection.is_database() {
        if body.contains_key("email") {
            return Err(Problem::bad_request(
                "Cannot update email for non-database user.",
            ));
        }
        if !present(&["password", "username"], false).is_empty() {
            return Err(Problem::bad_request(
                "Connection is not supported for this operation.",
            ));
        }
        if !passwordless && body.contains_key("verify_email") {
            return Err(Problem::bad_request(
                "Email verification is not supported for enterprise users.",
            ));
        }
        let owned = present(&PROFILE, false);
        if !passwordless && !owned.is_empty() {
            return Err(Problem::bad_request(format!(
                "The following user attributes cannot be updated: {}. {EITHER}",
                owned.join(", ")
            )));
        }
    }
    if body.get("username").is_some_and(Value::is_string) && !connection.requires_username {
        return Err(Problem::bad_request(
            "Cannot set username for connection without requires_username.",
        ));
    }
    let kept = present(&["email", "password"], true);
    if !kept.is_empty() {
        return Err(Problem::bad_request(format!(
            "The following user attributes cannot be removed: {}. {EITHER}",
            kept.join(", ")
        )));
    }
    Ok(())
}

fn apply(user: &mut User, body: &Map<String, Value>, now: OffsetDateTime) {
    for (key, value) in body {
        let text = || value.as_str().map(str::to_owned);
        match key.as_str() {
            "email" => {
                let email = value.as_str().unwrap_or_default().to_lowercase();
                if email != user.email {
                    user.email = email;
                    // Unless the body says otherwise; that it falls back is assumed.
                    user.email_verified = false;
                }
            }
            "username" => user.username = text(),
            "phone_number" => user.phone_number = text(),
            "phone_verified" => user.phone_verified = value.as_bool(),
            "name" => user.name = text(),
            "given_name" => user.given_name = text(),
            "family_name" => user.family_name = text(),
            "nickname" => user.nickname = text(),
            "picture" => user.picture = text(),
            "blocked" => user.blocked = value.as_bool(),
            "app_metadata" => merge(&mut user.app_metadata, value),
            "user_metadata" => merge(user.user_metadata.get_or_insert_default(), value),
            "password" => {
                user.password = text().map(Secret::from);
                user.last_password_reset = Some(now);
                if !body.contains_key("blocked") {
                    user.blocked = None;
                }
            }
            _ => {}
        }
    }
    if let Some(verified) = body.get("email_verified").and_then(Value::as_bool) {
        user.email_verified = verified;
    }
}

/// Keys of the first level replace those that are there; `null` takes one away, and an
/// empty object all of them.
fn merge(target: &mut Map<String, Value>, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        return;
    };
    if patch.is_empty() {
        target.clear();
    }
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            target.insert(key.clone(), value.clone());
        }
    }
}
