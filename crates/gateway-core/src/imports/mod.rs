//! Bulk imports: a file of any size becomes jobs that Auth0 takes, one after another.
//!
//! A file is read once, row by row. Rows that break Auth0's schema are reported and not sent; the others
//! are packed into parts of Auth0's size. The state of a job is a record behind
//! [`sessionkit::RecordStore`], its rows and errors are [`Payloads`], and whoever runs
//! [`Imports::work`] moves it on: two slots, each a lease in the store, so that at most two jobs run at the
//! tenant however many replicas there are, and a part whose worker died is taken up by the next.

mod file;
mod job;
mod payloads;
mod reconcile;
mod schema;
mod submit;
mod work;

pub use self::payloads::{FilePayloads, Payloads, RecordPayloads};
pub use self::schema::{RowFault, check};
pub(crate) use self::submit::MAX_EXTERNAL_ID;
pub use self::submit::{Checked, Options, Submitted};

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use auth0_api::ManagementApi;
use auth0_api::management::{Call, JobId, Lane};
use bytes::Bytes;
use serde_json::Value;
use sessionkit::{Clock, RecordStore, StoreError, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::job::{JobRecord, PartState};
use crate::Error;
use crate::query::Scope;

/// Bulk imports and their queue.
#[derive(Debug)]
pub struct Imports {
    management: Arc<dyn ManagementApi>,
    records: Arc<dyn RecordStore>,
    payloads: Arc<dyn Payloads>,
    clock: Arc<dyn Clock>,
    /// How long results are kept.
    retention: Duration,
    wake: Notify,
    stopping: CancellationToken,
    /// That the store cannot be read is in the log already.
    told: AtomicBool,
}

impl Imports {
    /// Imports over a store. Nothing moves until [`Self::work`] runs.
    ///
    /// `retention` is how long a job and its errors are kept, from its creation on.
    #[must_use]
    pub fn new(
        management: Arc<dyn ManagementApi>,
        records: Arc<dyn RecordStore>,
        payloads: Arc<dyn Payloads>,
        clock: Arc<dyn Clock>,
        retention: Duration,
    ) -> Self {
        Self {
            management,
            records,
            payloads,
            clock,
            retention,
            wake: Notify::new(),
            stopping: CancellationToken::new(),
            told: AtomicBool::new(false),
        }
    }

    /// Lets [`Self::work`] end. A part that is being sent is waited for, what Auth0 works on goes on there
    /// and is followed up later, by whoever runs it next.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// A job, as Auth0 would show it. One that is not ours is looked for at Auth0: it may have been
    /// begun before this service was there.
    ///
    /// # Errors
    /// [`Error::JobNotFound`], [`Error::Store`], and what Auth0 answers.
    pub async fn status(&self, id: &str, scope: &Scope, deadline: Instant) -> Result<Value, Error> {
        let id = JobId::parse(id).ok_or(Error::JobNotFound)?;
        if let Some((_, job)) = self.load(id.as_str()).await? {
            return Ok(job.to_json());
        }
        Ok(Value::Object(
            self.foreign(&id, scope, deadline).await?.body,
        ))
    }

    /// The errors of a job: chunks of a JSON array. Each is read when it is asked for.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn errors(
        self: &Arc<Self>,
        id: &str,
        scope: &Scope,
        deadline: Instant,
    ) -> Result<ErrorList, Error> {
        let id = JobId::parse(id).ok_or(Error::JobNotFound)?;
        if let Some((_, job)) = self.load(id.as_str()).await? {
            return Ok(ErrorList::of(Arc::clone(self), &job));
        }
        self.foreign(&id, scope, deadline).await?;
        let call = Call {
            lane: Lane::Admin,
            deadline,
        };
        let errors = self.management.job_errors(call, &id).await;
        Ok(match errors.map_err(Error::from_management)? {
            None => return Err(Error::JobNotFound),
            Some(auth0_api::management::JobErrors::Rows(rows)) => {
                ErrorList::ready(rows.iter().map(|row| row.get().to_owned()).collect())
            }
            // Auth0 answers with the job where it failed as a whole.
            Some(auth0_api::management::JobErrors::Whole(job)) => {
                ErrorList::whole(Value::Object(job).to_string())
            }
        })
    }

    async fn foreign(
        &self,
        id: &JobId,
        scope: &Scope,
        deadline: Instant,
    ) -> Result<auth0_api::management::Job, Error> {
        let call = Call {
            lane: Lane::Admin,
            deadline,
        };
        let job = self.management.job(call, id).await;
        let job = job.map_err(Error::from_management)?;
        let text = |job: &auth0_api::management::Job, key: &str| {
            job.body.get(key).and_then(Value::as_str).map(str::to_owned)
        };
        job.filter(|job| text(job, "type").as_deref() == Some("users_import"))
            .filter(|job| match scope {
                Scope::Everything => true,
                Scope::Connections(_) => {
                    text(job, "connection").is_some_and(|name| scope.allows(&name))
                }
            })
            .ok_or(Error::JobNotFound)
    }

    /// A job and its version.
    async fn load(&self, id: &str) -> Result<Option<(u64, JobRecord)>, StoreError> {
        let stored = self.records.record(&job_key(id), self.clock.now()).await?;
        stored
            .map(|stored| {
                let job = serde_json::from_slice(&stored.value)
                    .map_err(|error| StoreError(Box::new(error)))?;
                Ok((stored.version, job))
            })
            .transpose()
    }

    fn expires_at(&self, job: &JobRecord) -> Timestamp {
        Timestamp::from_unix_millis(job.created_at).after(self.retention)
    }
}

/// The errors of a job, in the order of the caller's rows.
#[derive(Debug)]
pub struct ErrorList {
    imports: Option<Arc<Imports>>,
    job: String,
    /// Chunks of rows that were not sent, and of rows that Auth0 refused.
    refused: Lines,
    failed: Lines,
    whole: Option<String>,
}

/// Lines of JSON, read chunk by chunk.
#[derive(Debug, Default)]
struct Lines {
    names: std::collections::VecDeque<String>,
    lines: std::collections::VecDeque<(u64, String)>,
}

impl ErrorList {
    fn of(imports: Arc<Imports>, job: &JobRecord) -> Self {
        let refused = (0..job.refused_chunks).map(refused_name).collect();
        let failed = job
            .parts
            .iter()
            .enumerate()
            .filter(|(_, part)| {
                matches!(
                    part.state,
                    PartState::Done { errors: true, .. } | PartState::Failed { .. }
                )
            })
            .map(|(at, _)| failed_name(at))
            .collect();
        Self {
            imports: Some(imports),
            job: job.id.clone(),
            refused: Lines {
                names: refused,
                ..Lines::default()
            },
            failed: Lines {
                names: failed,
                ..Lines::default()
            },
            whole: None,
        }
    }

    fn ready(rows: Vec<String>) -> Self {
        Self {
            imports: None,
            job: String::new(),
            refused: Lines::default(),
            failed: Lines {
                lines: rows.into_iter().map(|row| (0, row)).collect(),
                ..Lines::default()
            },
            whole: None,
        }
    }

    fn whole(body: String) -> Self {
        Self {
            whole: Some(body),
            ..Self::ready(Vec::new())
        }
    }

    /// Auth0's answer about a job that failed as a whole, which is no list.
    #[must_use]
    pub fn as_whole(&self) -> Option<&str> {
        self.whole.as_deref()
    }

    /// The next errors, one JSON object each; none at the end.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn next(&mut self) -> Result<Vec<String>, Error> {
        const AT_ONCE: usize = 256;
        let mut rows = Vec::new();
        while rows.len() < AT_ONCE {
            self.fill().await?;
            let refused = self.refused.lines.front().map(|(row, _)| *row);
            let failed = self.failed.lines.front().map(|(row, _)| *row);
            let from_refused = match (refused, failed) {
                (None, None) => break,
                (Some(refused), Some(failed)) => refused < failed,
                (refused, _) => refused.is_some(),
            };
            let source = if from_refused {
                &mut self.refused
            } else {
                &mut self.failed
            };
            rows.extend(source.lines.pop_front().map(|(_, line)| line));
        }
        Ok(rows)
    }

    async fn fill(&mut self) -> Result<(), Error> {
        let Some(imports) = &self.imports else {
            return Ok(());
        };
        for lines in [&mut self.refused, &mut self.failed] {
            while lines.lines.is_empty()
                && let Some(name) = lines.names.pop_front()
            {
                let chunk = imports.payloads.get(&self.job, &name).await?;
                lines.lines = read_lines(&chunk.unwrap_or_default()).into();
            }
        }
        Ok(())
    }
}

/// Lines of `row number, tab, JSON`.
fn read_lines(chunk: &Bytes) -> Vec<(u64, String)> {
    let text = String::from_utf8_lossy(chunk);
    let line = |line: &str| {
        let (row, json) = line.split_once('\t')?;
        Some((row.parse().ok()?, json.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// A line about a row, to be read by [`read_lines`]. JSON text has no raw line breaks.
fn write_line(out: &mut Vec<u8>, row: Option<u64>, user: &Value, errors: &Value) {
    let json = serde_json::json!({ "row": row, "user": user, "errors": errors });
    let row = row.unwrap_or_default();
    out.extend_from_slice(format!("{row}\t{json}\n").as_bytes());
}

fn job_key(id: &str) -> String {
    format!("import/job/{id}")
}

/// Of a job that is not settled: by these the queue is found, in the order of creation.
fn open_key(job: &JobRecord) -> String {
    format!("{OPEN}{:015}/{}", job.created_at, job.id)
}

const OPEN: &str = "import/open/";

fn part_name(at: usize) -> String {
    format!("part-{at}")
}

fn refused_name(at: u32) -> String {
    format!("refused-{at}")
}

fn failed_name(at: usize) -> String {
    format!("failed-{at}")
}
