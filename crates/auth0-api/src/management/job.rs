//! Bulk jobs.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::Error;

/// Id of a job, for example `job_AbCdEfGh12345678`: letters, digits, `_` and `-`, 1 to 64 of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(String);

impl JobId {
    /// Reads an id; `None` when it cannot be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(plain);
        fits.then(|| Self(text.to_owned()))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A bulk import.
#[derive(Clone)]
pub struct ImportUsers {
    /// The file: a JSON array, [`Self::MAX_BYTES`] at most together with the other parts.
    pub users: Bytes,
    /// Id of the database connection (not its name).
    pub connection_id: String,
    /// Whether users that are there are changed.
    pub upsert: bool,
    /// Free text, given back with the job.
    pub external_id: Option<String>,
    /// Whether Auth0 mails all administrators when it is done.
    pub send_completion_email: bool,
}

impl ImportUsers {
    /// Longest request that Auth0 takes, in bytes, the whole multipart body counted.
    pub const MAX_BYTES: usize = 512_000;
}

impl fmt::Debug for ImportUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportUsers")
            .field("bytes", &self.users.len())
            .field("connection_id", &self.connection_id)
            .field("upsert", &self.upsert)
            .finish_non_exhaustive()
    }
}

/// A bulk export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportUsers {
    /// Id of a connection; none exports all.
    pub connection_id: Option<String>,
    /// Most users; none exports all.
    pub limit: Option<u32>,
    /// Only these fields; all when empty.
    pub fields: Vec<String>,
}

/// A job, kept as it came.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// How far it is.
    pub status: JobStatus,
    /// Counts, once an import is finished.
    pub summary: Option<JobSummary>,
    /// Everything that Auth0 said about it.
    pub body: Map<String, Value>,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobStatus {
    /// Waiting or running. A status that is not documented counts as this.
    Pending,
    /// Done; rows may have failed all the same.
    Completed,
    /// The job as a whole broke.
    Failed,
}

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct JobSummary {
    /// Rows refused.
    pub failed: u64,
    /// Users changed.
    pub updated: u64,
    /// Users created.
    pub inserted: u64,
    /// Rows in the file.
    pub total: u64,
}

impl Job {
    /// Reads Auth0's job object.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when it has no id.
    pub fn from_body(body: Map<String, Value>) -> Result<Self, Error> {
        let id = body
            .get("id")
            .and_then(Value::as_str)
            .and_then(JobId::parse)
            .ok_or(Error::Unexpected("a job without an id"))?;
        let status = match body.get("status").and_then(Value::as_str) {
            Some("completed") => JobStatus::Completed,
            Some("failed") => JobStatus::Failed,
            _ => JobStatus::Pending,
        };
        let summary = body
            .get("summary")
            .and_then(|summary| JobSummary::deserialize(summary).ok());
        Ok(Self {
            id,
            status,
            summary,
            body,
        })
    }
}

/// What went wrong in a job.
#[derive(Clone, Debug)]
pub enum JobErrors {
    /// One entry for each refused row: `{"user":{…},"errors":[…]}`. Empty when nothing went wrong, or
    /// when Auth0 does not know more about a job that failed.
    Rows(Vec<Box<RawValue>>),
    /// The job as a whole broke; this is what Auth0 says about it.
    Whole(Map<String, Value>),
}
