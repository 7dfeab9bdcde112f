//! Jobs that run in the background: imports, exports, verification mails.

use std::collections::BTreeMap;
use std::collections::HashMap;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use time::{Duration, OffsetDateTime};

use crate::clock::iso;

/// Import jobs that may run at once.
pub(crate) const MAX_ACTIVE_IMPORTS: usize = 2;
/// A job that takes longer has failed.
const TIME_LIMIT: Duration = Duration::hours(2);
/// Job data is gone after this.
const KEPT: Duration = Duration::hours(24);
/// Jobs known at once; the oldest goes when there are more.
const MOST: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Import,
    Export,
    VerificationEmail,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Import => "users_import",
            Self::Export => "users_export",
            Self::VerificationEmail => "verification_email",
        }
    }
}

/// How a job stands.
#[derive(Clone, Debug)]
pub(crate) enum Status {
    Pending,
    Completed,
    /// With a reason, or without one, as after a file that cannot be read.
    Failed(Option<&'static str>),
}

/// One job.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) status: Status,
    pub(crate) created_at: OffsetDateTime,
    /// What else the job is shown with: connection, format, …
    pub(crate) shown: Map<String, Value>,
    pub(crate) summary: Option<Value>,
    /// Rows that were refused, with the reasons.
    pub(crate) errors: Vec<Value>,
    pub(crate) file: Option<Bytes>,
}

impl Job {
    pub(crate) fn new(
        id: String,
        kind: Kind,
        shown: Map<String, Value>,
        now: OffsetDateTime,
    ) -> Self {
        Self {
            id,
            kind,
            status: Status::Pending,
            created_at: now,
            shown,
            summary: None,
            errors: Vec::new(),
            file: None,
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut job = self.shown.clone();
        let status = match self.status {
            Status::Pending => "pending",
            Status::Completed => "completed",
            Status::Failed(_) => "failed",
        };
        job.insert("type".to_owned(), json!(self.kind.name()));
        job.insert("status".to_owned(), json!(status));
        job.insert("created_at".to_owned(), json!(iso(self.created_at)));
        job.insert("id".to_owned(), json!(self.id));
        if let Some(summary) = &self.summary {
            job.insert("summary".to_owned(), summary.clone());
        }
        if let Status::Failed(Some(reason)) = self.status {
            job.insert("status_details".to_owned(), json!(reason));
        }
        Value::Object(job)
    }

    fn is_active_import(&self) -> bool {
        self.kind == Kind::Import && matches!(self.status, Status::Pending)
    }
}

/// All jobs of the last day.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    jobs: HashMap<String, Job>,
    /// By age.
    order: BTreeMap<u64, String>,
    made: u64,
    imports: usize,
    running_max: usize,
}

impl Jobs {
    /// Starts a job; `false` when too many imports run already.
    pub(crate) fn start(&mut self, job: Job, now: OffsetDateTime) -> bool {
        self.age(now);
        if job.kind == Kind::Import {
            let active = self.jobs.values().filter(|job| job.is_active_import());
            let active = active.count();
            if active >= MAX_ACTIVE_IMPORTS {
                return false;
            }
            self.imports += 1;
            self.running_max = self.running_max.max(active + 1);
        }
        if self.order.len() >= MOST
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.jobs.remove(&oldest);
        }
        self.made += 1;
        self.order.insert(self.made, job.id.clone());
        self.jobs.insert(job.id.clone(), job);
        true
    }

    pub(crate) fn get(&mut self, id: &str, now: OffsetDateTime) -> Option<&Job> {
        self.age(now);
        self.jobs.get(id)
    }

    /// The job to go on with; none when it is over already.
    pub(crate) fn pending(&mut self, id: &str, now: OffsetDateTime) -> Option<&mut Job> {
        self.age(now);
        let job = self.jobs.get_mut(id)?;
        matches!(job.status, Status::Pending).then_some(job)
    }

    /// Imports accepted so far.
    pub(crate) fn imports(&self) -> usize {
        self.imports
    }

    /// Most imports that ran at once.
    pub(crate) fn running_max(&self) -> usize {
        self.running_max
    }

    /// Forgets what is too old, and fails what takes too long.
    fn age(&mut self, now: OffsetDateTime) {
        self.jobs.retain(|_, job| now - job.created_at < KEPT);
        let jobs = &mut self.jobs;
        self.order.retain(|_, id| jobs.contains_key(id));
        for job in jobs.values_mut() {
            if matches!(job.status, Status::Pending) && now - job.created_at >= TIME_LIMIT {
                job.status = Status::Failed(Some("The job took longer than two hours."));
            }
        }
    }
}
