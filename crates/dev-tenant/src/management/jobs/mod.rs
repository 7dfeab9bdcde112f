//! `/api/v2/jobs`.

mod export;
mod import;
mod parts;
mod row;
mod verification;

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

pub(crate) use self::export::{download, users_exports};
pub(crate) use self::import::{too_long, users_imports};
pub(crate) use self::verification::verification_email;
use super::{Call, Problem, json as json_response};
use crate::jobs::{Job, Kind, Status};
use crate::message::{Response, empty};
use crate::tenant::Tenant;

/// `GET /api/v2/jobs/{id}`.
pub(crate) fn by_id(call: &Call<'_>) -> Result<Response, Problem> {
    let job = find(call)?;
    let mut shown = job.to_json();
    if job.file.is_some() {
        shown["location"] = json!(export::location(call.tenant, &job.id)?);
    }
    Ok(json_response(StatusCode::OK, &shown))
}

/// `GET /api/v2/jobs/{id}/errors`: nothing, the rows refused, or the job when it failed
/// as a whole and says why.
pub(crate) fn errors(call: &Call<'_>) -> Result<Response, Problem> {
    let job = find(call)?;
    let body = match &job.status {
        Status::Failed(Some(_)) => job.to_json(),
        _ if job.errors.is_empty() => return Ok(empty(StatusCode::NO_CONTENT)),
        _ => Value::from(job.errors),
    };
    // Recorded without a charset here.
    let mut response = json_response(StatusCode::OK, &body);
    let content_type = http::HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, content_type);
    Ok(response)
}

fn find(call: &Call<'_>) -> Result<Job, Problem> {
    let now = call.tenant.now();
    let mut state = call.tenant.state();
    let job = state.jobs.get(&call.request.id, now).cloned();
    job.ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            Some("inexistent_job"),
            "Job not found.",
        )
    })
}

fn new_id() -> Result<String, Problem> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789AB";
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)?;
    let letter = |byte: &u8| LETTERS.get(usize::from(byte % 64)).copied().map(char::from);
    let letters: String = bytes.iter().filter_map(letter).collect();
    Ok(format!("job_{letters}"))
}

/// Lets a job finish after a while, unless the tenant is gone by then.
fn finish_later<F>(tenant: &Arc<Tenant>, id: &str, finish: F)
where
    F: FnOnce(&Tenant, &str) + Send + 'static,
{
    let (tenant, id) = (Arc::downgrade(tenant), id.to_owned());
    tokio::spawn(async move {
        let Some(duration) = tenant
            .upgrade()
            .map(|tenant| tenant.settings.import_job_duration)
        else {
            return;
        };
        tokio::time::sleep(duration).await;
        if let Some(tenant) = tenant.upgrade() {
            // A thousand rows keep a thread busy; others want their answers meanwhile.
            let finished = tokio::task::spawn_blocking(move || finish(&tenant, &id)).await;
            if finished.is_err() {
                tracing::warn!("a job broke off");
            }
        }
    });
}

/// Ends a job, if it is still running.
fn end(tenant: &Tenant, id: &str, status: Status, file: Option<Bytes>) {
    let now = tenant.now();
    let mut state = tenant.state();
    if let Some(job) = state.jobs.pending(id, now) {
        job.status = status;
        job.file = file;
    }
}

/// A job that has been taken on: what it is answered with.
fn accepted(call_tenant: &Tenant, job: Job, status: StatusCode) -> Result<Response, Problem> {
    let shown = job.to_json();
    let now = call_tenant.now();
    if call_tenant.state().jobs.start(job, now) {
        return Ok(json_response(status, &shown));
    }
    // The code is assumed to be left out.
    Err(Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        None,
        "There are 2 active import users jobs, please wait until some of them are finished and \
         try again",
    ))
}

fn job(call_tenant: &Tenant, kind: Kind, shown: Value) -> Result<Job, Problem> {
    let shown = match shown {
        Value::Object(shown) => shown,
        _ => serde_json::Map::new(),
    };
    Ok(Job::new(new_id()?, kind, shown, call_tenant.now()))
}
