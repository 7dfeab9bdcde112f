//! `POST /api/v2/users`.

use http::StatusCode;
use serde_json::{Map, Value};

use super::super::schema::{Format, Kind, Property, object};
use super::super::{Call, Problem, json as json_response};
use super::attributes::{check_metadata, check_password, other, settable, text};
use crate::dbconnections::random_id;
use crate::message::Response;
use crate::secret::Secret;
use crate::seed::{Connection, SeedUser};
use crate::users::User;

const PROPERTIES: &[&[Property]] = &[
    &settable(false),
    &[
        text(
            "connection",
            "Name of the connection this user should be created in",
            (1, usize::MAX, Format::Any),
            false,
        ),
        text(
            "user_id",
            "The external user's id provided by the identity provider",
            (0, 255, Format::NoSpace),
            false,
        ),
        other(
            "verify_email",
            "Whether the user will receive a verification email after creation",
            Kind::Flag,
        ),
    ],
];

pub(crate) fn create(call: &Call<'_>) -> Result<Response, Problem> {
    let body = object(call.request, &PROPERTIES.concat(), &["connection"])?;
    check_metadata(&body)?;
    let name = body.get("connection").and_then(Value::as_str);
    let connection = call
        .tenant
        .pool(name.unwrap_or_default())
        .ok_or_else(|| Problem::bad_request("Connection does not exist."))?;
    let user = user_of(call, body, connection)?;

    let now = call.tenant.now();
    let mut state = call.tenant.state();
    if state.users.taken(&user, true).is_some() {
        return Err(Problem::user_exists());
    }
    let shown = user.to_json();
    state.users.add(user, now);
    drop(state);
    Ok(json_response(StatusCode::CREATED, &shown))
}

fn user_of(
    call: &Call<'_>,
    mut body: Map<String, Value>,
    connection: &Connection,
) -> Result<User, Problem> {
    let missing = |name: &str| {
        let reason = format!("Missing required property: {name}");
        Problem::body(&reason, "", "")
    };
    let strategy = connection.strategy.as_str();
    if !matches!(strategy, "auth0" | "email" | "sms") {
        return Err(Problem::bad_request(
            "Connection does not support user creation through the API. It must either be a \
             database or passwordless connection.",
        ));
    }
    let mut take = |name: &str| match body.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let username = take("username");
    if username.is_some() && !connection.requires_username {
        return Err(Problem::bad_request(
            "Cannot set username for connection without requires_username.",
        ));
    }
    if connection.requires_username && username.is_none() {
        return Err(missing("username"));
    }
    let email = take("email").ok_or_else(|| missing("email"))?;
    let password = take("password");
    if connection.is_database() {
        check_password(password.as_deref().ok_or_else(|| missing("password"))?)?;
    }
    let id = match take("user_id").filter(|id| !id.is_empty()) {
        Some(id) => id,
        None => random_id()?,
    };
    let seed = SeedUser {
        user_id: Some(format!("{strategy}|{id}")),
        connection: connection.name.clone(),
        username,
        name: take("name"),
        given_name: take("given_name"),
        family_name: take("family_name"),
        nickname: take("nickname"),
        picture: take("picture"),
        phone_number: take("phone_number"),
        email_verified: false,
        ..SeedUser::new(&email, "")
    };
    let flag = |name: &str| body.get(name).and_then(Value::as_bool);
    let metadata = |name: &str| body.get(name).and_then(Value::as_object).cloned();
    let mut user = User::from_seed(seed, connection.is_database(), call.tenant.now());
    user.password = password.map(Secret::from);
    user.email_verified = flag("email_verified").unwrap_or(false);
    user.phone_verified = flag("phone_verified");
    user.blocked = flag("blocked");
    user.app_metadata = metadata("app_metadata").unwrap_or_default();
    user.user_metadata = metadata("user_metadata");
    Ok(user)
}
