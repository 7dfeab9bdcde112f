//! Auth0's answers, read. What is not as documented is `Unexpected`; no cause is kept, since it may
//! quote the answer.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{Connection, Job, JobErrors, User, UserPage};
use crate::Error;

#[derive(Deserialize)]
struct Users {
    users: Vec<Box<RawValue>>,
    total: Option<u64>,
}

#[derive(Deserialize)]
struct Connections {
    connections: Vec<Connection>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Ticket {
    ticket: String,
}

fn parse<T: DeserializeOwned>(body: &[u8], otherwise: &'static str) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|_| Error::Unexpected(otherwise))
}

/// Is it an array? Auth0 answers some calls with an array or with an object, and an untagged enum
/// would cost the exact spelling of what is inside.
fn is_array(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'[')
}

/// A page of users, in either of its shapes.
pub(super) fn user_page(body: &[u8]) -> Result<UserPage, Error> {
    const OTHERWISE: &str = "a list of users that is not the documented JSON";
    let (users, total) = if is_array(body) {
        (parse(body, OTHERWISE)?, None)
    } else {
        let Users { users, total } = parse(body, OTHERWISE)?;
        (users, total)
    };
    let users = users.into_iter().map(User::new).collect::<Result<_, _>>()?;
    Ok(UserPage { users, total })
}

pub(super) fn user(body: &[u8]) -> Result<User, Error> {
    User::new(parse(body, "a user that is not JSON")?)
}

pub(super) fn job(body: &[u8]) -> Result<Job, Error> {
    Job::from_body(parse(body, "a job that is no JSON object")?)
}

/// The body of a 204 is empty: no errors, or none that Auth0 knows of.
pub(super) fn job_errors(body: &[u8]) -> Result<JobErrors, Error> {
    const OTHERWISE: &str = "a job's errors that are not the documented JSON";
    if body.trim_ascii().is_empty() {
        Ok(JobErrors::Rows(Vec::new()))
    } else if is_array(body) {
        parse(body, OTHERWISE).map(JobErrors::Rows)
    } else {
        parse(body, OTHERWISE).map(JobErrors::Whole)
    }
}

pub(super) fn ticket(body: &[u8]) -> Result<String, Error> {
    parse(body, "a ticket that is not the documented JSON").map(|Ticket { ticket }| ticket)
}

/// A page of connections and where the next one starts. An array has no next page.
pub(super) fn connections(body: &[u8]) -> Result<(Vec<Connection>, Option<String>), Error> {
    const OTHERWISE: &str = "a list of connections that is not the documented JSON";
    if is_array(body) {
        return Ok((parse(body, OTHERWISE)?, None));
    }
    let Connections { connections, next } = parse(body, OTHERWISE)?;
    Ok((connections, next.filter(|next| !next.is_empty())))
}
