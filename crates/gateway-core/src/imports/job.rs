//! The state of an import, and how it looks from outside.

use auth0_api::management::JobSummary;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sessionkit::Timestamp;
use time::macros::format_description;

/// An import as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct JobRecord {
    pub(super) id: String,
    /// Milliseconds since the epoch.
    pub(super) created_at: i64,
    pub(super) connection: String,
    pub(super) connection_id: String,
    pub(super) upsert: bool,
    pub(super) external_id: Option<String>,
    pub(super) send_completion_email: bool,
    /// Whether a part waits for the one before it.
    #[serde(default)]
    pub(super) in_order: bool,
    /// Rows in the caller's file.
    pub(super) rows: u64,
    /// Rows that were not sent.
    pub(super) refused: u64,
    /// Chunks of the errors of rows that were not sent.
    pub(super) refused_chunks: u32,
    pub(super) parts: Vec<Part>,
}

/// A piece of the file, small enough for a job at Auth0.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) rows: u64,
    pub(super) state: PartState,
}

/// How far a part is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum PartState {
    /// Not sent.
    Queued,
    /// About to be sent, or sent without an answer: Auth0 may have it.
    Sending { slot: u8, since: i64 },
    /// Accepted.
    Running { slot: u8, since: i64, job: String },
    /// Finished; `errors` when there is a chunk of them.
    Done {
        failed: u64,
        updated: u64,
        inserted: u64,
        errors: bool,
    },
    /// Auth0 took none of it.
    Failed { reason: String },
}

impl Part {
    pub(super) fn is_settled(&self) -> bool {
        matches!(
            self.state,
            PartState::Done { .. } | PartState::Failed { .. }
        )
    }
}

impl JobRecord {
    /// The next part that may be sent.
    pub(super) fn next_part(&self) -> Option<usize> {
        let at = |part: &Part| part.state == PartState::Queued;
        let at = self.parts.iter().position(at)?;
        let before = self.parts.get(..at).unwrap_or_default();
        (!self.in_order || before.iter().all(Part::is_settled)).then_some(at)
    }

    pub(super) fn is_settled(&self) -> bool {
        self.parts.iter().all(Part::is_settled)
    }

    fn summary(&self) -> JobSummary {
        let mut summary = JobSummary {
            failed: self.refused,
            total: self.rows,
            ..JobSummary::default()
        };
        for part in &self.parts {
            match &part.state {
                PartState::Done {
                    failed,
                    updated,
                    inserted,
                    ..
                } => {
                    summary.failed += failed;
                    summary.updated += updated;
                    summary.inserted += inserted;
                }
                PartState::Failed { .. } => summary.failed += part.rows,
                _ => {}
            }
        }
        summary
    }

    /// Auth0's job object, added up.
    pub(super) fn to_json(&self) -> Value {
        let settled: u64 = self.refused
            + self
                .parts
                .iter()
                .filter(|part| part.is_settled())
                .map(|part| part.rows)
                .sum::<u64>();
        let all_failed = !self.parts.is_empty()
            && self
                .parts
                .iter()
                .all(|part| matches!(part.state, PartState::Failed { .. }));
        let status = match (self.is_settled(), all_failed) {
            (false, _) => "pending",
            (true, true) => "failed",
            (true, false) => "completed",
        };
        let mut body = json!({
            "type": "users_import",
            "status": status,
            "created_at": instant(self.created_at),
            "id": self.id,
            "connection_id": self.connection_id,
            "connection": self.connection,
            "percentage_done": settled.saturating_mul(100).checked_div(self.rows).unwrap_or(100),
        });
        if let Some(external_id) = &self.external_id {
            body["external_id"] = external_id.as_str().into();
        }
        if self.is_settled() {
            let summary = self.summary();
            body["summary"] = json!({
                "failed": summary.failed, "updated": summary.updated,
                "inserted": summary.inserted, "total": summary.total,
            });
        }
        let reason = self.parts.iter().find_map(|part| match &part.state {
            PartState::Failed { reason } => Some(reason),
            _ => None,
        });
        if let Some(reason) = reason {
            body["status_details"] = reason.as_str().into();
        }
        body
    }
}

/// As Auth0 spells an instant.
fn instant(millis: i64) -> String {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    Timestamp::from_unix_millis(millis)
        .to_utc()
        .format(&format)
        .unwrap_or_default()
}
