//! `POST /api/v2/jobs/users-exports`, and the file that comes of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::super::schema::{Format, Kind as Type, Property, object};
use super::super::users::{other, text};
use super::super::{Call, Problem};
use super::{accepted, finish_later, job};
use crate::clock::later;
use crate::jobs::{Kind, Status};
use crate::message::{Request, Response, with_body};
use crate::secret::random_text;
use crate::tenant::Tenant;

/// How long a link to a file is good for; the job gives a fresh one.
const LINK_LIFETIME: Duration = Duration::from_secs(60);
/// Columns of a CSV file.
const MAX_CSV_FIELDS: usize = 30;
/// Columns of a CSV file that names none.
const CSV_FIELDS: [&str; 12] = [
    "user_id",
    "email",
    "email_verified",
    "name",
    "given_name",
    "family_name",
    "nickname",
    "username",
    "phone_number",
    "blocked",
    "created_at",
    "updated_at",
];

/// A column: where it comes from and what it is called.
#[derive(Clone, Debug)]
struct Field {
    name: String,
    export_as: String,
}

#[derive(Clone, Debug)]
struct Wanted {
    connection: Option<String>,
    csv: bool,
    limit: usize,
    fields: Vec<Field>,
}

pub(crate) fn users_exports(call: &Call<'_>) -> Result<Response, Problem> {
    const PROPERTIES: &[Property] = &[
        text(
            "connection_id",
            "connection_id of the connection from which users will be exported",
            (0, 500, Format::ConnectionId),
            false,
        ),
        text("format", "Format of the file", (0, 10, Format::Any), false),
        other("limit", "Limit the number of records", Type::Number),
        other(
            "fields",
            "List of fields to be included in the CSV",
            Type::Array,
        ),
    ];
    let body = object(call.request, PROPERTIES, &[])?;
    let wanted = wanted(call.tenant, &body)?;
    let mut shown = body;
    shown.insert(
        "format".to_owned(),
        json!(if wanted.csv { "csv" } else { "json" }),
    );
    let connection = wanted.connection.clone().unwrap_or_default();
    shown.insert("connection".to_owned(), json!(connection));
    let job = job(call.tenant, Kind::Export, Value::Object(shown))?;
    let id = job.id.clone();
    let response = accepted(call.tenant, job, StatusCode::OK)?;
    finish_later(call.tenant, &id, move |tenant, id| {
        let file = file_of(tenant, &wanted);
        super::end(tenant, id, Status::Completed, Some(file));
    });
    Ok(response)
}

fn wanted(tenant: &Tenant, body: &Map<String, Value>) -> Result<Wanted, Problem> {
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let connection = match text("connection_id") {
        None => None,
        Some(id) => {
            let found = tenant.pool_by_id(id);
            let found =
                found.ok_or_else(|| Problem::bad_request("The connection does not exist."))?;
            Some(found.name.clone())
        }
    };
    let csv = match text("format") {
        None | Some("csv") => true,
        Some("json") => false,
        Some(other) => {
            let reason = format!("No enum match for: {other}");
            return Err(Problem::body(&reason, "format", "Format of the file"));
        }
    };
    let limit = body.get("limit").and_then(Value::as_u64);
    if limit == Some(0) {
        let reason = "Value 0 is less than minimum 1";
        return Err(Problem::body(
            reason,
            "limit",
            "Limit the number of records",
        ));
    }
    let listed = body.get("fields").and_then(Value::as_array);
    let mut fields = Vec::new();
    for field in listed.into_iter().flatten() {
        let member = |name: &str| {
            let text = field.get(name).and_then(Value::as_str);
            text.filter(|text| text.chars().count() <= 100)
        };
        let name = member("name")
            .ok_or_else(|| Problem::body("Missing required property: name", "fields", ""))?;
        fields.push(Field {
            name: name.to_owned(),
            export_as: member("export_as").unwrap_or(name).to_owned(),
        });
    }
    if csv && fields.len() > MAX_CSV_FIELDS {
        let reason = format!(
            "Array is too long ({}), maximum {MAX_CSV_FIELDS}",
            fields.len()
        );
        return Err(Problem::body(&reason, "fields", ""));
    }
    if csv && fields.is_empty() {
        fields.extend(CSV_FIELDS.map(|name| Field {
            name: name.to_owned(),
            export_as: name.to_owned(),
        }));
    }
    Ok(Wanted {
        connection,
        csv,
        limit: limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        }),
        fields,
    })
}

fn file_of(tenant: &Tenant, wanted: &Wanted) -> Bytes {
    let state = tenant.state();
    let users = state
        .users
        .iter()
        .filter(|user| {
            let connection = wanted.connection.as_deref();
            connection.is_none_or(|name| user.connections().any(|own| own == name))
        })
        .take(wanted.limit)
        .map(|user| user.to_json());
    let mut text = String::new();
    if wanted.csv {
        let header: Vec<String> = wanted.fields.iter().map(|f| quoted(&f.export_as)).collect();
        text.push_str(&header.join(","));
        text.push('\n');
    }
    for user in users {
        let value = |field: &Field| at_path(&user, &field.name);
        if wanted.csv {
            let cells: Vec<String> = wanted.fields.iter().map(|f| cell(value(f))).collect();
            text.push_str(&cells.join(","));
        } else if wanted.fields.is_empty() {
            text.push_str(&user.to_string());
        } else {
            let row: Map<String, Value> = wanted
                .fields
                .iter()
                .filter_map(|field| Some((field.export_as.clone(), value(field)?.clone())))
                .collect();
            text.push_str(&Value::Object(row).to_string());
        }
        text.push('\n');
    }
    Bytes::from(text)
}

/// `identities[0].connection`.
fn at_path<'a>(user: &'a Value, path: &str) -> Option<&'a Value> {
    let mut value = user;
    for part in path.split(['.', '[']) {
        value = match part.strip_suffix(']') {
            Some(index) => value.get(index.parse::<usize>().ok()?)?,
            None => value.get(part)?,
        };
    }
    Some(value)
}

/// Texts get a `'` in front, so that no table program takes one for a formula.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => quoted(&format!("'{text}")),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        Some(other) => quoted(&format!("'{other}")),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// A fresh link to the file of a job.
pub(super) fn location(tenant: &Tenant, job_id: &str) -> Result<String, Problem> {
    let token = random_text(24)?;
    let now = tenant.now();
    let until = later(now, LINK_LIFETIME);
    let mut state = tenant.state();
    state
        .downloads
        .insert(token.clone(), job_id.to_owned(), until, now);
    Ok(format!("{}exports/{token}", tenant.issuer))
}

/// `GET /exports/{token}`: whoever has the link has the file.
pub(crate) fn download(tenant: &Arc<Tenant>, request: &Request) -> Response {
    let now = tenant.now();
    let file = {
        let mut state = tenant.state();
        let job_id = state.downloads.get(&request.id, now).cloned();
        job_id.and_then(|id| state.jobs.get(&id, now)?.file.clone())
    };
    match file {
        Some(file) => with_body(StatusCode::OK, "application/octet-stream", file),
        None => with_body(StatusCode::FORBIDDEN, "text/plain", "The link has expired."),
    }
}
