//! `POST /api/v2/jobs/users-imports`.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::row::{self, Fault};
use super::{accepted, finish_later, job, parts};
use crate::dbconnections::random_id;
use crate::jobs::{Kind, Status};
use crate::management::{Problem, admit};
use crate::message::{Request, Response};
use crate::seed::{Connection, SeedUser};
use crate::tenant::Tenant;
use crate::users::{Taken, User, canonical};

/// Longest request, in bytes.
const MAX_REQUEST: usize = 512_000;

pub(crate) async fn users_imports(tenant: Arc<Tenant>, request: Request) -> Response {
    match start(&tenant, &request).await {
        Ok(response) => response,
        Err(problem) => problem.response(),
    }
}

async fn start(tenant: &Arc<Tenant>, request: &Request) -> Result<Response, Problem> {
    admit(tenant, request, &["create:users"])?;
    if request.body.len() > MAX_REQUEST {
        return Err(too_long());
    }
    let parts = parts::read(request).await?;
    let invalid = |text: &str| Problem::new(StatusCode::BAD_REQUEST, Some("invalid_body"), text);
    let connection = tenant
        .pool_by_id(&parts.connection_id)
        .ok_or_else(|| invalid("The connection does not exist."))?;
    if !connection.is_database() {
        return Err(invalid("Connection must be a database connection."));
    }
    let mut shown = json!({
        "connection_id": parts.connection_id,
        "connection": connection.name,
    });
    if let Some(external_id) = parts.external_id {
        shown["external_id"] = json!(external_id);
    }
    let job = job(tenant, Kind::Import, shown)?;
    let id = job.id.clone();
    let response = accepted(tenant, job, StatusCode::ACCEPTED)?;
    let fails = request.fails_job;
    let connection = connection.clone();
    finish_later(tenant, &id, move |tenant, id| {
        if fails {
            let status = Status::Failed(Some("The job failed because a fault was injected."));
            super::end(tenant, id, status, None);
        } else {
            run(tenant, id, &connection, &parts.users, parts.upsert);
        }
    });
    Ok(response)
}

/// 413; also given by the server, which stops to read long before the end.
pub(crate) fn too_long() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        None,
        format!("Payload content length greater than maximum allowed: {MAX_REQUEST}."),
    )
}

/// What has become of the rows.
#[derive(Debug, Default)]
struct Outcome {
    inserted: usize,
    updated: usize,
    errors: Vec<Value>,
    /// E-mail addresses of the file so far.
    seen: HashSet<String>,
}

fn run(tenant: &Tenant, id: &str, connection: &Connection, file: &Bytes, upsert: bool) {
    let Ok(rows) = serde_json::from_slice::<Vec<Value>>(file) else {
        // No word about why: as seen.
        super::end(tenant, id, Status::Failed(None), None);
        return;
    };
    if tenant.state().jobs.pending(id, tenant.now()).is_none() {
        return;
    }
    let mut outcome = Outcome::default();
    for row in &rows {
        let mut faults = row::check(row);
        if faults.is_empty()
            && let Value::Object(fields) = row
            && let Err(fault) = take_in(tenant, connection, fields, upsert, &mut outcome)
        {
            faults.push(fault);
        }
        if !faults.is_empty() {
            let faults: Vec<Value> = faults.iter().map(Fault::to_json).collect();
            let refused = json!({ "user": row::masked(row), "errors": faults });
            outcome.errors.push(refused);
        }
    }
    let now = tenant.now();
    let mut state = tenant.state();
    if let Some(job) = state.jobs.pending(id, now) {
        job.summary = Some(json!({
            "failed": outcome.errors.len(),
            "updated": outcome.updated,
            "inserted": outcome.inserted,
            "total": rows.len(),
        }));
        job.errors = outcome.errors;
        job.status = Status::Completed;
    }
}

/// Inserts or updates one person.
fn take_in(
    tenant: &Tenant,
    connection: &Connection,
    row: &Map<String, Value>,
    upsert: bool,
    outcome: &mut Outcome,
) -> Result<(), Fault> {
    let text = |name: &str| row.get(name).and_then(Value::as_str);
    let email = canonical(text("email").unwrap_or_default());
    if !outcome.seen.insert(email.clone()) {
        return Err(Fault::new(
            "CONFLICT_EMAIL",
            "Another user of the file has this email",
        ));
    }
    let user = user_of(row, connection, tenant.now())
        .map_err(|_| Fault::new("NOT_PASSED", "Internal error"))?;
    let now = tenant.now();
    let mut state = tenant.state();
    let home = [connection.name.clone()];
    let existing = state
        .users
        .find(&email, &home)
        .find(|one| one.email == email)
        .map(|one| one.user_id.clone());
    if let (Some(user_id), true) = (&existing, upsert) {
        state.users.update(user_id, now, |user| update(user, row));
        outcome.updated += 1;
        return Ok(());
    }
    match state.users.taken(&user, true) {
        None => {
            state.users.add(user, now);
            outcome.inserted += 1;
            Ok(())
        }
        Some(_) if !upsert => Err(Fault::new(
            "DUPLICATED_USER",
            "The user already exist and upsert parameter is false",
        )),
        Some(Taken::Username) => Err(Fault::new(
            "CONFLICT_USERNAME",
            "The username is taken by another user",
        )),
        Some(Taken::Email) => Err(Fault::new(
            "CONFLICT_EMAIL",
            "The email is taken by another user",
        )),
        Some(Taken::UserId | Taken::PhoneNumber) => Err(Fault::new(
            "CONFLICT",
            "The user conflicts with another user",
        )),
    }
}

fn user_of(
    row: &Map<String, Value>,
    connection: &Connection,
    now: time::OffsetDateTime,
) -> Result<User, getrandom::Error> {
    let text = |name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
    let id = match text("user_id") {
        Some(id) => id,
        None => random_id()?,
    };
    let seed = SeedUser {
        // An id that has the prefix already gets it once more, as at Auth0.
        user_id: Some(format!("auth0|{id}")),
        connection: connection.name.clone(),
        username: text("username"),
        phone_number: text("phone_number"),
        email_verified: false,
        ..SeedUser::new(&text("email").unwrap_or_default(), "")
    };
    let mut user = User::from_seed(seed, true, now);
    user.blocked = row.get("blocked").and_then(Value::as_bool);
    user.phone_verified = row.get("phone_verified").and_then(Value::as_bool);
    update(&mut user, row);
    Ok(user)
}

/// What an import may change of somebody who is there. Metadata is replaced, not merged.
fn update(user: &mut User, row: &Map<String, Value>) {
    for (key, value) in row {
        let text = || value.as_str().map(str::to_owned);
        let object = || value.as_object().cloned();
        match key.as_str() {
            "email_verified" => user.email_verified = value.as_bool().unwrap_or(false),
            "name" => user.name = text(),
            "nickname" => user.nickname = text(),
            "given_name" => user.given_name = text(),
            "family_name" => user.family_name = text(),
            "picture" => user.picture = text(),
            "app_metadata" => user.app_metadata = object().unwrap_or_default(),
            "user_metadata" => user.user_metadata = object(),
            _ => {}
        }
    }
}
