//! Moving jobs on.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use auth0_api::Error as Auth0Error;
use auth0_api::management::{Call, ImportUsers, Job, JobErrors, JobId, JobStatus, Lane};
use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;
use sessionkit::{RecordSwap, StoreError};
use tokio::time::{Instant, sleep, timeout};

use super::job::{JobRecord, PartState};
use super::submit::decode_part;
use super::{Imports, OPEN, failed_name, open_key, part_name, schema, write_line};

/// Import jobs that run at Auth0 at once; Auth0's own limit is two for a tenant.
const SLOTS: u8 = 2;
/// How long a slot is held without being renewed.
const LEASE: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(4);
/// How often the queue is looked at when nobody has said that there is something in it.
const LOOK: Duration = Duration::from_secs(2);
/// How long a call may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(120);
/// First and longest pause between two looks at a running job.
const POLL: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// After this Auth0 itself gives up on a job.
const JOB_LIFE: Duration = Duration::from_secs(2 * 3600 + 600);
/// How often what finished jobs left behind is swept.
const SWEEP: Duration = Duration::from_secs(3600);

/// Why a worker stopped in the middle.
#[derive(Debug, thiserror::Error)]
pub(super) enum Interrupted {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("another worker has the slot")]
    Lost,
}

/// How a part ended.
pub(super) enum Outcome {
    Done {
        failed: Vec<RowError>,
        /// Rows that failed, as Auth0 counts them, but that it does not list.
        unlisted: u64,
        updated: u64,
        inserted: u64,
    },
    Failed(String),
    /// Auth0 never had it.
    Requeue,
}

/// A row that failed at Auth0.
pub(super) struct RowError {
    /// Its number in the caller's file; `None` where it was not found there.
    pub(super) row: Option<u64>,
    pub(super) user: Value,
    pub(super) errors: Value,
}

/// A part to work on.
struct Task {
    job: JobRecord,
    at: usize,
    state: PartState,
}

impl Imports {
    /// Works on the queue, until [`Self::stop`]. Run it once in each process that shares the store; dropping
    /// it stops the work, too, and whoever runs it next takes that up.
    pub async fn work(&self) {
        tokio::join!(self.slot(0), self.slot(1), self.sweep());
        debug_assert_eq!(SLOTS, 2, "one future for each slot");
    }

    async fn slot(&self, slot: u8) {
        loop {
            // Registered before the queue is looked at, so that no wake-up is missed.
            let woken = self.wake.notified();
            if self.stopping.is_cancelled() {
                return;
            }
            match self.work_slot(slot).await {
                Ok(true) => continue,
                Ok(false) | Err(Interrupted::Lost) => self.told.store(false, Ordering::Relaxed),
                // Said once: a store may be away for long.
                Err(Interrupted::Store(StoreError(error))) => {
                    if self.told.swap(true, Ordering::Relaxed) {
                        tracing::debug!(error, "the import queue cannot be read");
                    } else {
                        tracing::warn!(error, "the import queue cannot be read");
                    }
                }
            }
            tokio::select! {
                _ = timeout(LOOK, woken) => {}
                () = self.stopping.cancelled() => {}
            }
        }
    }

    /// Works as long as there is something to do. True when something was done.
    async fn work_slot(&self, slot: u8) -> Result<bool, Interrupted> {
        if self.next(slot).await?.is_none() {
            return Ok(false);
        }
        let key = format!("import/slot/{slot}");
        let now = self.clock.now();
        let created = self
            .records
            .create_record(&key, Bytes::new(), now.after(LEASE), now)
            .await?;
        let Some(mut version) = created else {
            return Ok(false);
        };
        let mut done = false;
        let result = tokio::select! {
            result = async {
                while !self.stopping.is_cancelled()
                    && let Some(task) = self.next(slot).await?
                {
                    done = true;
                    self.run(slot, task).await?;
                }
                Ok(())
            } => result,
            lost = self.keep(&key, &mut version) => Err(lost),
        };
        if !matches!(result, Err(Interrupted::Lost)) {
            // Free at once for whoever has work next.
            let now = self.clock.now();
            let _ = self
                .records
                .swap_record(&key, version, Bytes::new(), now, now)
                .await;
        }
        result.map(|()| done)
    }

    /// Holds a slot until it is lost.
    async fn keep(&self, key: &str, version: &mut u64) -> Interrupted {
        loop {
            sleep(RENEW).await;
            let now = self.clock.now();
            let renewed = self
                .records
                .swap_record(key, *version, Bytes::new(), now.after(LEASE), now)
                .await;
            match renewed {
                Ok(RecordSwap::Stored(next)) => *version = next,
                Ok(_) => return Interrupted::Lost,
                // Without the store it cannot be told whether the slot is still ours.
                Err(error) => return Interrupted::Store(error),
            }
        }
    }

    /// The next part for a slot: one that its last worker left, else the oldest that waits.
    async fn next(&self, slot: u8) -> Result<Option<Task>, Interrupted> {
        const PAGE: usize = 100;
        let mut waiting = None;
        let mut after = None;
        loop {
            let now = self.clock.now();
            let open = self.records.records(OPEN, after, PAGE, now).await?;
            for (key, entry) in &open {
                let id = String::from_utf8_lossy(&entry.value);
                let Some((_, job)) = self.load(&id).await? else {
                    self.records.remove_record(key, now).await?;
                    continue;
                };
                if job.is_settled() {
                    self.records.remove_record(key, now).await?;
                    continue;
                }
                let left = job.parts.iter().position(|part| {
                    matches!(part.state,
                        PartState::Sending { slot: of, .. } | PartState::Running { slot: of, .. } if of == slot)
                });
                let Some(at) = left.or_else(|| job.next_part()) else {
                    continue;
                };
                let state = job.parts.get(at).map(|part| part.state.clone());
                let task = Task {
                    job,
                    at,
                    state: state.unwrap_or(PartState::Queued),
                };
                if left.is_some() {
                    return Ok(Some(task));
                }
                waiting.get_or_insert(task);
            }
            if open.len() < PAGE {
                return Ok(waiting);
            }
            after = open.into_iter().next_back().map(|(key, _)| key);
        }
    }

    async fn run(&self, slot: u8, task: Task) -> Result<(), Interrupted> {
        let Task { job, at, state } = task;
        let payload = self.payloads.get(&job.id, &part_name(at)).await?;
        let Some(payload) = payload else {
            let reason = "the rows of this part are not there any more".to_owned();
            return self.settle(&job, at, &[], Outcome::Failed(reason)).await;
        };
        let (numbers, file) = decode_part(&payload)?;
        let rows = Rows::new(&numbers, &file);
        let outcome = match state {
            PartState::Queued => {
                let since = self.clock.now().unix_millis();
                let claimed = self
                    .change(&job.id, |job| claim(job, at, slot, since))
                    .await?;
                if claimed.is_none() {
                    return Ok(());
                }
                match self.send(&job, at, file).await? {
                    Sent::Accepted(auth0_job) => {
                        let running = PartState::Running {
                            slot,
                            since,
                            job: auth0_job.to_string(),
                        };
                        self.change(&job.id, |job| set(job, at, running.clone()))
                            .await?;
                        self.unless_stopped(self.follow(&job, &rows, &auth0_job, since))
                            .await?
                    }
                    Sent::Refused(reason) => Some(Outcome::Failed(reason)),
                    Sent::Unknown => {
                        self.unless_stopped(self.reconcile(&job, &rows, since))
                            .await?
                    }
                    Sent::NotTaken => Some(Outcome::Requeue),
                }
            }
            PartState::Running {
                since,
                job: auth0_job,
                ..
            } => match JobId::parse(&auth0_job) {
                Some(auth0_job) => {
                    self.unless_stopped(self.follow(&job, &rows, &auth0_job, since))
                        .await?
                }
                None => {
                    self.unless_stopped(self.reconcile(&job, &rows, since))
                        .await?
                }
            },
            PartState::Sending { since, .. } => {
                self.unless_stopped(self.reconcile(&job, &rows, since))
                    .await?
            }
            PartState::Done { .. } | PartState::Failed { .. } => return Ok(()),
        };
        match outcome {
            Some(outcome) => self.settle(&job, at, &rows.all(), outcome).await,
            None => Ok(()),
        }
    }

    /// Looks what becomes of a part, which changes nothing until it is written down. `None`: the work is to
    /// end, and whoever has the slot next looks again.
    async fn unless_stopped(
        &self,
        look: impl Future<Output = Result<Outcome, Interrupted>>,
    ) -> Result<Option<Outcome>, Interrupted> {
        tokio::select! {
            outcome = look => outcome.map(Some),
            () = self.stopping.cancelled() => Ok(None),
        }
    }

    /// Sends a part; waits as long as Auth0 has no room for it, or until the work is to end.
    async fn send(&self, job: &JobRecord, at: usize, file: Bytes) -> Result<Sent, Interrupted> {
        let import = ImportUsers {
            users: file,
            connection_id: job.connection_id.clone(),
            upsert: job.upsert,
            external_id: job.external_id.clone(),
            // One mail for one import: with its last part.
            send_completion_email: job.send_completion_email && at + 1 == job.parts.len(),
        };
        loop {
            match self.management.import_users(call(), &import).await {
                Ok(accepted) => return Ok(Sent::Accepted(accepted.id)),
                // Two jobs of somebody else's run, or the rate is used up: it was not taken.
                Err(Auth0Error::RateLimited { retry_after, .. }) => {
                    let wait = retry_after.unwrap_or(POLL.1);
                    let wait = wait.clamp(POLL.0, Duration::from_secs(30));
                    tokio::select! {
                        () = sleep(wait) => {}
                        () = self.stopping.cancelled() => return Ok(Sent::NotTaken),
                    }
                }
                Err(Auth0Error::Refused(refusal)) => {
                    let said = refusal.description;
                    return Ok(Sent::Refused(
                        said.unwrap_or_else(|| refusal.code.as_str().to_owned()),
                    ));
                }
                Err(error) => {
                    tracing::warn!(%error, job = job.id, part = at, "no answer to an import: looking whether it arrived");
                    return Ok(Sent::Unknown);
                }
            }
        }
    }

    /// Waits for a job at Auth0 and reads what became of it.
    async fn follow(
        &self,
        job: &JobRecord,
        rows: &Rows,
        auth0_job: &JobId,
        since: i64,
    ) -> Result<Outcome, Interrupted> {
        let mut pause = POLL.0;
        let finished = loop {
            match self.management.job(call(), auth0_job).await {
                Ok(Some(found)) if found.status != JobStatus::Pending => break found,
                Ok(Some(_)) => {}
                // Forgotten: Auth0 keeps a job for a day.
                Ok(None) => return self.reconcile(job, rows, since).await,
                Err(Auth0Error::Refused(refusal)) => {
                    tracing::warn!(%refusal, job = job.id, "a running import cannot be looked at");
                }
                Err(error) => {
                    tracing::debug!(%error, job = job.id, "a running import was not seen")
                }
            }
            let age = self.clock.now().unix_millis().saturating_sub(since);
            if age > i64::try_from(JOB_LIFE.as_millis()).unwrap_or(i64::MAX) {
                return self.reconcile(job, rows, since).await;
            }
            sleep(pause).await;
            pause = (pause * 3 / 2).min(POLL.1);
        };
        if finished.status == JobStatus::Failed {
            return Ok(Outcome::Failed(failure(&finished)));
        }
        let errors = loop {
            match self.management.job_errors(call(), auth0_job).await {
                Ok(Some(JobErrors::Rows(errors))) => break errors,
                Ok(Some(JobErrors::Whole(_)) | None) => break Vec::new(),
                Err(error) => {
                    tracing::debug!(%error, job = job.id, "the errors of an import were not read");
                    sleep(POLL.1).await;
                }
            }
        };
        let failed = rows.match_errors(&errors);
        let summary = finished.summary.unwrap_or_default();
        let listed = failed.len() as u64;
        // The list can be gone, or shorter than the count: what failed never counts as imported.
        let failures = listed.max(summary.failed).min(rows.count());
        let good = rows.count().saturating_sub(failures);
        Ok(Outcome::Done {
            failed,
            unlisted: failures.saturating_sub(listed),
            updated: summary.updated.min(good),
            inserted: good.saturating_sub(summary.updated.min(good)),
        })
    }

    /// Writes down how a part ended.
    async fn settle(
        &self,
        job: &JobRecord,
        at: usize,
        rows: &[(u64, Value)],
        outcome: Outcome,
    ) -> Result<(), Interrupted> {
        let mut lines = Vec::new();
        let state = match outcome {
            Outcome::Requeue => PartState::Queued,
            Outcome::Failed(reason) => {
                let errors = serde_json::json!([{ "code": "NOT_PASSED", "message": reason }]);
                for (row, user) in rows {
                    write_line(&mut lines, Some(*row), &schema::masked(user), &errors);
                }
                PartState::Failed { reason }
            }
            Outcome::Done {
                mut failed,
                unlisted,
                updated,
                inserted,
            } => {
                failed.sort_by_key(|error| error.row);
                for error in &failed {
                    write_line(&mut lines, error.row, &error.user, &error.errors);
                }
                PartState::Done {
                    failed: failed.len() as u64 + unlisted,
                    updated,
                    inserted,
                    errors: !failed.is_empty(),
                }
            }
        };
        let settled = state != PartState::Queued;
        if !lines.is_empty() {
            // Before the state says that they are there.
            self.payloads
                .put(&job.id, &failed_name(at), lines.into())
                .await?;
        }
        let changed = self
            .change(&job.id, |job| set(job, at, state.clone()))
            .await?;
        if settled {
            self.payloads.remove(&job.id, &part_name(at)).await?;
        }
        if let Some(job) = changed
            && job.is_settled()
        {
            let now = self.clock.now();
            self.records.remove_record(&open_key(&job), now).await?;
            tracing::info!(job = job.id, rows = job.rows, "an import is finished");
        }
        Ok(())
    }

    /// Removes payloads whose job is gone.
    async fn sweep(&self) {
        /// Nothing younger is touched: its job may still be on its way.
        const GRACE: Duration = Duration::from_secs(3600);
        let mut orphans: HashMap<String, Instant> = HashMap::new();
        loop {
            match self.orphans().await {
                Ok(found) => {
                    orphans.retain(|id, _| found.contains(id));
                    for id in found {
                        let since = *orphans.entry(id.clone()).or_insert_with(Instant::now);
                        if since.elapsed() >= GRACE
                            && let Err(error) = self.payloads.remove_all(&id).await
                        {
                            tracing::warn!(%error, "the rows of an old import were not removed");
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "old imports were not looked for"),
            }
            tokio::select! {
                () = sleep(SWEEP) => {}
                () = self.stopping.cancelled() => return,
            }
        }
    }

    async fn orphans(&self) -> Result<Vec<String>, StoreError> {
        let mut orphans = Vec::new();
        for id in self.payloads.jobs().await? {
            if self.load(&id).await?.is_none() {
                orphans.push(id);
            }
        }
        Ok(orphans)
    }
}

/// What became of an attempt to send.
enum Sent {
    Accepted(JobId),
    Refused(String),
    Unknown,
    /// Auth0 had no room, and the work is to end.
    NotTaken,
}

pub(super) fn call() -> Call {
    Call {
        lane: Lane::Import,
        deadline: Instant::now() + PATIENCE,
    }
}

fn claim(job: &mut JobRecord, at: usize, slot: u8, since: i64) -> bool {
    let queued = job
        .parts
        .get(at)
        .is_some_and(|part| part.state == PartState::Queued);
    queued && set(job, at, PartState::Sending { slot, since })
}

fn set(job: &mut JobRecord, at: usize, state: PartState) -> bool {
    match job.parts.get_mut(at) {
        Some(part) if !part.is_settled() => {
            part.state = state;
            true
        }
        _ => false,
    }
}

/// What Auth0 says of a job that failed as a whole.
fn failure(job: &Job) -> String {
    let said = job.body.get("status_details").or(job.body.get("message"));
    match said {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "Auth0 could not process this part of the file".to_owned(),
    }
}

/// The rows of a part, with the numbers they have in the caller's file.
pub(super) struct Rows {
    numbers: Vec<u64>,
    users: Vec<Value>,
}

impl Rows {
    pub(super) fn new(numbers: &[u64], file: &Bytes) -> Self {
        // The file was made from rows that were read already.
        let users = serde_json::from_slice(file).unwrap_or_default();
        Self {
            numbers: numbers.to_vec(),
            users,
        }
    }

    fn count(&self) -> u64 {
        self.numbers.len() as u64
    }

    pub(super) fn all(&self) -> Vec<(u64, Value)> {
        self.numbers
            .iter()
            .copied()
            .zip(self.users.iter().cloned())
            .collect()
    }

    /// Auth0's errors name the user, not the row: finds the rows, each once. Of two equal rows it is
    /// the later one that failed.
    fn match_errors(&self, errors: &[Box<RawValue>]) -> Vec<RowError> {
        let mut by_email: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, user) in self.users.iter().enumerate() {
            by_email.entry(email(user)).or_default().push(at);
        }
        let mut found = Vec::with_capacity(errors.len());
        for error in errors {
            let Ok(error) = serde_json::from_str::<Value>(error.get()) else {
                continue;
            };
            let user = error.get("user").cloned().unwrap_or(Value::Null);
            let candidates = by_email.entry(email(&user)).or_default();
            let same = |at: &usize| self.users.get(*at).is_some_and(|row| alike(row, &user));
            let place = candidates
                .iter()
                .rposition(same)
                .or_else(|| candidates.len().checked_sub(1));
            let row = place
                .map(|place| candidates.remove(place))
                .and_then(|at| self.numbers.get(at).copied());
            found.push(RowError {
                row,
                user,
                errors: error.get("errors").cloned().unwrap_or(Value::Null),
            });
        }
        found
    }
}

fn email(user: &Value) -> String {
    let email = user.get("email").and_then(Value::as_str);
    email.unwrap_or_default().to_lowercase()
}

/// The same row, but for what Auth0 masks.
fn alike(row: &Value, shown: &Value) -> bool {
    let (Value::Object(row), Value::Object(shown)) = (row, shown) else {
        return false;
    };
    shown
        .iter()
        .filter(|(key, _)| {
            !matches!(
                key.as_str(),
                "password_hash" | "custom_password_hash" | "mfa_factors"
            )
        })
        .all(|(key, value)| row.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_find_the_callers_rows() {
        let users = json!([
            {"email": "a@b.cd", "name": "A"}, {"email": "b@b.cd"}, {"email": "a@b.cd", "name": "B"},
            {"email": "a@b.cd", "name": "A"}, {"email": "c@b.cd", "password_hash": "x"},
        ]);
        let rows = Rows::new(&[1, 3, 4, 7, 9], &Bytes::from(users.to_string()));
        let raw = |value: Value| RawValue::from_string(value.to_string()).unwrap();
        let errors = [
            raw(json!({"user": {"email": "a@b.cd", "name": "A"}, "errors": [1]})),
            raw(json!({"user": {"email": "A@B.CD", "name": "B"}, "errors": [2]})),
            raw(json!({"user": {"email": "c@b.cd", "password_hash": "*****"}, "errors": [3]})),
            raw(json!({"user": {"email": "d@b.cd"}, "errors": [4]})),
        ];
        let found: Vec<_> = rows.match_errors(&errors).iter().map(|e| e.row).collect();
        assert_eq!(found, [Some(7), Some(4), Some(9), None]);
    }
}
