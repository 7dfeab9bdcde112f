//! `/api/v2/user-blocks`: brute-force blocks, which are not `blocked` of a user.

use http::StatusCode;
use serde_json::{Value, json};

use super::query::{Parameter, Query};
use super::users::path_id;
use super::{Call, Problem, json as json_response};
use crate::message::{Response, empty};
use crate::users::canonical;

const ENABLEMENT: Parameter = Parameter {
    name: "consider_brute_force_enablement",
    description: "Whether the brute force protection of the connections counts",
};
const IDENTIFIER: Parameter = Parameter {
    name: "identifier",
    description: "Should be any of a username, phone number, or email",
};

/// `GET` and `DELETE /api/v2/user-blocks?identifier=…`.
pub(crate) fn of_identifier(call: &Call<'_>) -> Result<Response, Problem> {
    let query = Query::read(&call.request.query, &[IDENTIFIER, ENABLEMENT])?;
    let identifier = query
        .get("identifier")
        .ok_or_else(|| Problem::query("Missing required property: identifier", "", ""))?;
    Ok(answer(call, &[canonical(identifier)]))
}

/// `GET` and `DELETE /api/v2/user-blocks/{id}`.
pub(crate) fn of_user(call: &Call<'_>) -> Result<Response, Problem> {
    Query::read(&call.request.query, &[ENABLEMENT])?;
    let id = path_id(call)?;
    let identifiers: Vec<String> = {
        let state = call.tenant.state();
        let user = state.users.get(id).ok_or_else(Problem::no_such_user)?;
        user.identifiers().collect()
    };
    Ok(answer(call, &identifiers))
}

fn answer(call: &Call<'_>, identifiers: &[String]) -> Response {
    let mut state = call.tenant.state();
    if call.request.method == http::Method::DELETE {
        for identifier in identifiers {
            state.failures.forget_everywhere(identifier);
        }
        return empty(StatusCode::NO_CONTENT);
    }
    let limit = call.tenant.settings.brute_force_attempts;
    let mut blocks: Vec<Value> = Vec::new();
    for identifier in identifiers {
        for address in state.failures.blocked(identifier, limit) {
            blocks.push(json!({ "identifier": identifier, "ip": address.to_string() }));
        }
    }
    json_response(StatusCode::OK, &json!({ "blocked_for": blocks }))
}
