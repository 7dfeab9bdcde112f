//! `GET /api/v2/connections`.

use http::StatusCode;
use serde_json::{Value, json};

use super::query::{Parameter, Query};
use super::{Call, Problem, json as json_response};
use crate::message::Response;
use crate::seed::Connection;

const fn parameter(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, description }
}

const FIELDS_PARAMETER: Parameter = parameter(
    "fields",
    "A comma separated list of fields to include or exclude (depending on include_fields) from \
     the result, empty to retrieve all fields",
);
const INCLUDE_FIELDS_PARAMETER: Parameter = parameter(
    "include_fields",
    "true if the fields specified are to be included in the result, false otherwise (defaults to \
     true)",
);

const FIELDS: [&str; 15] = [
    "name",
    "display_name",
    "strategy",
    "options",
    "id",
    "provisioning_ticket_url",
    "metadata",
    "show_as_button",
    "clients",
    "authentication",
    "connected_accounts",
    "cross_app_access_requesting_app",
    "cross_app_access_resource_app",
    "enabled_clients",
    "realms",
];

pub(crate) fn list(call: &Call<'_>) -> Result<Response, Problem> {
    const PARAMETERS: &[Parameter] = &[
        parameter("page", "The page number. Zero based"),
        parameter("per_page", "The amount of entries per page"),
        parameter("include_totals", "true if a query summary must be included"),
        parameter("from", "Optional Id from which to start selection"),
        parameter("take", "Number of results per page. Defaults to 50"),
        parameter(
            "strategy",
            "Provide strategies to only retrieve connections of these",
        ),
        parameter("name", "Provide the name of the connection to retrieve"),
        FIELDS_PARAMETER,
        INCLUDE_FIELDS_PARAMETER,
    ];
    let query = Query::read(&call.request.query, PARAMETERS)?;
    let page = query.number("page", 0, u64::MAX)?;
    let per_page = query.number("per_page", 1, 100)?;
    let totals = query.flag("include_totals")?.unwrap_or(false);
    let take = query.number("take", 1, 100)?;
    let from = query.get("from");
    let show = shown(&query)?;
    let strategies: Vec<&str> = query.all("strategy").collect();
    let name = query.get("name");

    let found: Vec<&Connection> = call
        .tenant
        .pools
        .iter()
        .filter(|one| name.is_none_or(|name| one.name == name))
        .filter(|one| strategies.is_empty() || strategies.contains(&one.strategy.as_str()))
        .collect();
    let by_cursor = take.is_some() || from.is_some();
    let size = if by_cursor { take } else { per_page }.unwrap_or(50);
    let start = if by_cursor {
        from.map_or(Some(0), |from| {
            let position = found.iter().position(|one| one.id() == from)?;
            u64::try_from(position).ok()
        })
        .ok_or_else(|| query.problem("from", "Invalid cursor"))?
    } else {
        let start = page.unwrap_or(0).saturating_mul(size);
        if start.saturating_add(size) > 1000 {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                Some("invalid_paging"),
                "You can only page through the first 1000 records.",
            ));
        }
        start
    };
    let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let mut rest = found.iter().skip(index(start));
    let connections: Vec<Value> = rest
        .by_ref()
        .take(index(size))
        .map(|one| show(&shape(one)))
        .collect();
    let body = if by_cursor {
        let mut body = json!({ "connections": connections });
        if let Some(next) = rest.next() {
            body["next"] = json!(next.id());
        }
        body
    } else if totals {
        json!({
            "start": start, "limit": size, "total": found.len(),
            "connections": connections,
        })
    } else {
        Value::from(connections)
    };
    Ok(json_response(StatusCode::OK, &body))
}

/// `GET /api/v2/connections/{id}`.
pub(crate) fn by_id(call: &Call<'_>) -> Result<Response, Problem> {
    const PARAMETERS: &[Parameter] = &[FIELDS_PARAMETER, INCLUDE_FIELDS_PARAMETER];
    let query = Query::read(&call.request.query, PARAMETERS)?;
    let show = shown(&query)?;
    let connection = call.tenant.pool_by_id(&call.request.id).ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            Some("inexistent_connection"),
            "The connection does not exist.",
        )
    })?;
    Ok(json_response(StatusCode::OK, &show(&shape(connection))))
}

/// Without `options`, which need a scope of their own, and without the deprecated list
/// of applications.
fn shape(connection: &Connection) -> Value {
    json!({
        "id": connection.id(),
        "name": connection.name,
        "strategy": connection.strategy,
        "realms": [connection.name],
        "is_domain_connection": false,
    })
}

fn shown(query: &Query) -> Result<impl Fn(&Value) -> Value + use<>, Problem> {
    let fields = query.fields("fields", &FIELDS)?;
    let include = query.flag("include_fields")?.unwrap_or(true);
    Ok(move |value: &Value| match value {
        Value::Object(map) if !fields.is_empty() => map
            .iter()
            .filter(|(key, _)| fields.contains(key) == include)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        other => other.clone(),
    })
}
