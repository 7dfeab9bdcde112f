//! Reads that are never late: by id and by e-mail.

use http::StatusCode;
use serde_json::Value;

use super::super::query::{Parameter, Query};
use super::super::{Call, Problem, json as json_response};
use super::attributes::{FIELDS_PARAMETER, INCLUDE_FIELDS_PARAMETER, Shown};
use super::path_id;
use crate::message::Response;

/// `GET /api/v2/users/{id}`.
pub(crate) fn by_id(call: &Call<'_>) -> Result<Response, Problem> {
    const PARAMETERS: &[Parameter] = &[FIELDS_PARAMETER, INCLUDE_FIELDS_PARAMETER];
    let query = Query::read(&call.request.query, PARAMETERS)?;
    let shown = Shown::of(&query)?;
    let id = path_id(call)?;
    let user = {
        let state = call.tenant.state();
        let user = state.users.get(id).ok_or_else(Problem::no_such_user)?;
        user.to_json()
    };
    Ok(json_response(StatusCode::OK, &shown.cut(&user)))
}

/// `GET /api/v2/users-by-email`; the address is compared to the letter.
pub(crate) fn by_email(call: &Call<'_>) -> Result<Response, Problem> {
    const PARAMETERS: &[Parameter] = &[
        Parameter {
            name: "email",
            description: "Email address to search for (case-sensitive)",
        },
        FIELDS_PARAMETER,
        INCLUDE_FIELDS_PARAMETER,
    ];
    let query = Query::read(&call.request.query, PARAMETERS)?;
    let shown = Shown::of(&query)?;
    let email = query
        .get("email")
        .ok_or_else(|| Problem::query("Missing required property: email", "", ""))?;
    let users: Vec<Value> = {
        let state = call.tenant.state();
        let found = state.users.with_email(email);
        found.map(|user| shown.cut(&user.to_json())).collect()
    };
    Ok(json_response(StatusCode::OK, &Value::from(users)))
}
