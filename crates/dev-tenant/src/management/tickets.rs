//! `/api/v2/tickets`: links that the caller delivers. Nothing is behind them.

use http::StatusCode;
use serde_json::{Value, json};

use super::schema::{Format, Kind, Property, object};
use super::users::{other, text};
use super::{Call, Problem, json as json_response};
use crate::message::Response;
use crate::secret::random_text;

const COMMON: &[Property] = &[
    text(
        "user_id",
        "user_id of the user",
        (1, 500, Format::Any),
        false,
    ),
    text(
        "result_url",
        "URL the user will be redirected to once the ticket is used",
        (1, 2000, Format::Uri),
        false,
    ),
    text(
        "client_id",
        "ID of the client",
        (1, 500, Format::Any),
        false,
    ),
    text(
        "organization_id",
        "id of the organization",
        (1, 500, Format::Any),
        false,
    ),
    other(
        "ttl_sec",
        "Number of seconds for which the ticket is valid",
        Kind::Number,
    ),
    other(
        "includeEmailInRedirect",
        "Whether to include the email address as part of the returnUrl",
        Kind::Flag,
    ),
    other("identity", "The identity", Kind::Object),
];

const PASSWORD_CHANGE: &[Property] = &[
    text(
        "connection_id",
        "ID of the connection",
        (0, 500, Format::ConnectionId),
        false,
    ),
    text(
        "email",
        "Email address of the user",
        (1, 500, Format::Email),
        false,
    ),
    other(
        "mark_email_as_verified",
        "Whether to set the email_verified attribute to true",
        Kind::Flag,
    ),
];

/// `POST /api/v2/tickets/password-change`, for a `user_id`, or for an e-mail address in
/// a connection.
pub(crate) fn password_change(call: &Call<'_>) -> Result<Response, Problem> {
    let body = object(call.request, &[COMMON, PASSWORD_CHANGE].concat(), &[])?;
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    match (text("user_id"), text("connection_id"), text("email")) {
        (Some(user_id), None, None) => in_database(call, user_id)?,
        (None, Some(connection_id), Some(email)) => {
            let connection = call.tenant.pool_by_id(connection_id).ok_or_else(|| {
                Problem::bad_request(format!(
                    "The connection with id {connection_id} does not exist."
                ))
            })?;
            let home = [connection.name.clone()];
            let known = call
                .tenant
                .state()
                .users
                .find(email, &home)
                .next()
                .is_some();
            if !known {
                return Err(Problem::no_such_user());
            }
        }
        // The text is assumed.
        _ => {
            return Err(Problem::body(
                "Either user_id or connection_id and email must be given",
                "",
                "",
            ));
        }
    }
    if body.contains_key("result_url") && body.contains_key("organization_id") {
        return Err(Problem::body(
            "result_url and organization_id exclude each other",
            "",
            "",
        ));
    }
    ticket(call, "reset-password")
}

/// `POST /api/v2/tickets/email-verification`.
pub(crate) fn email_verification(call: &Call<'_>) -> Result<Response, Problem> {
    let body = object(call.request, COMMON, &["user_id"])?;
    let user_id = body.get("user_id").and_then(Value::as_str);
    in_database(call, user_id.unwrap_or_default())?;
    ticket(call, "email-verification")
}

fn in_database(call: &Call<'_>, user_id: &str) -> Result<(), Problem> {
    let state = call.tenant.state();
    let user = state.users.get(user_id).ok_or_else(Problem::no_such_user)?;
    let home = call.tenant.pool(&user.connection);
    if home.is_some_and(|home| home.is_database()) {
        return Ok(());
    }
    Err(Problem::bad_request(
        "The user's main connection does not support this operation.",
    ))
}

fn ticket(call: &Call<'_>, page: &str) -> Result<Response, Problem> {
    let link = format!(
        "{}u/{page}?ticket={}#",
        call.tenant.issuer,
        random_text(24)?
    );
    Ok(json_response(
        StatusCode::CREATED,
        &json!({ "ticket": link }),
    ))
}
