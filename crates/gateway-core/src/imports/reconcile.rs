//! A part that Auth0 may or may not have.
//!
//! The answer to sending it got lost, or the process died before it was written down. It is never simply
//! sent again: look-ups of single users, which do not lag behind, tell whether the tenant has worked on
//! it. Only where, after a while, there is no trace of it does it go back into the queue.

use std::time::Duration;

use auth0_api::management::User;
use serde_json::Value;
use sessionkit::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::sleep;

use super::Imports;
use super::job::JobRecord;
use super::work::{Interrupted, Outcome, RowError, Rows, call};

/// How long a part without a trace may still be on its way at Auth0.
const SETTLE: Duration = Duration::from_secs(60);
/// Pause between two looks.
const LOOK: Duration = Duration::from_secs(2);
/// How far Auth0's clock and ours may differ, in milliseconds.
const SKEW: i64 = 60_000;
/// Rows that are looked for before there is a trace.
const SAMPLE: usize = 5;

/// What a look-up says about a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trace {
    /// The user was created, or changed, by this part.
    Inserted,
    Updated,
    /// The user was there before.
    Before,
    None,
}

impl Imports {
    /// Finds out what became of a part that was sent at `since`, or may have been.
    pub(super) async fn reconcile(
        &self,
        job: &JobRecord,
        rows: &Rows,
        since: i64,
    ) -> Result<Outcome, Interrupted> {
        let rows = rows.all();
        let step = (rows.len() / SAMPLE).max(1);
        let settled = Timestamp::from_unix_millis(since).after(SETTLE);
        loop {
            let mut traces = Vec::new();
            for (_, user) in rows.iter().step_by(step) {
                traces.push(self.trace(job, user, since).await);
            }
            let worked_on = |trace: &Trace| matches!(trace, Trace::Inserted | Trace::Updated);
            if traces.iter().any(worked_on) {
                break;
            }
            if self.clock.now() >= settled {
                // With every row there before, there is no trace to be had, and nothing to be lost.
                return Ok(Outcome::Requeue);
            }
            sleep(LOOK).await;
        }
        let (mut updated, mut inserted, mut failed) = (0, 0, Vec::new());
        let mut waiting = rows;
        loop {
            let mut missing = Vec::new();
            let before = waiting.len();
            for (row, user) in waiting {
                match self.trace(job, &user, since).await {
                    Trace::Inserted => inserted += 1,
                    Trace::Updated => updated += 1,
                    Trace::Before => failed.push(fault(
                        row,
                        &user,
                        "DUPLICATED_USER",
                        "The user already exist and upsert parameter is false",
                    )),
                    Trace::None => missing.push((row, user)),
                }
            }
            // As long as users appear the job is running.
            let moving = missing.len() < before || self.clock.now() < settled;
            waiting = missing;
            if waiting.is_empty() || !moving {
                break;
            }
            sleep(LOOK).await;
        }
        failed.extend(waiting.iter().map(|(row, user)| {
            fault(
                *row,
                user,
                "NOT_PASSED",
                "Auth0 did not create this user; its own report was lost",
            )
        }));
        Ok(Outcome::Done {
            failed,
            unlisted: 0,
            updated,
            inserted,
        })
    }

    /// Looks for a row's user; goes on until the tenant has answered.
    async fn trace(&self, job: &JobRecord, row: &Value, since: i64) -> Trace {
        let email = row.get("email").and_then(Value::as_str).unwrap_or_default();
        loop {
            // Database users have their address in lower case.
            let found = self
                .management
                .users_by_email(call(), &email.to_lowercase())
                .await;
            match found {
                Ok(users) => {
                    let ours = users.iter().find(|user| {
                        user.connections()
                            .is_ok_and(|names| names.contains(&job.connection))
                    });
                    return ours.map_or(Trace::None, |user| judge(job, user, since));
                }
                Err(error) => {
                    tracing::debug!(%error, job = job.id, "a user was not looked up");
                    sleep(error.retry_after().unwrap_or(LOOK)).await;
                }
            }
        }
    }
}

fn judge(job: &JobRecord, user: &User, since: i64) -> Trace {
    let Ok(body) = serde_json::from_str::<Value>(user.json()) else {
        return Trace::Before;
    };
    let after = |key: &str| {
        let text = body.get(key).and_then(Value::as_str).unwrap_or_default();
        let at = OffsetDateTime::parse(text, &Rfc3339).ok();
        at.is_some_and(|at| at.unix_timestamp() * 1000 >= since - SKEW)
    };
    if after("created_at") {
        Trace::Inserted
    } else if job.upsert && after("updated_at") {
        Trace::Updated
    } else {
        Trace::Before
    }
}

fn fault(row: u64, user: &Value, code: &str, message: &str) -> RowError {
    RowError {
        row: Some(row),
        user: super::schema::masked(user),
        errors: serde_json::json!([{ "code": code, "message": message }]),
    }
}
