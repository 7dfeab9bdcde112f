//! Auth0's Management API: users, jobs, tickets, connections, sessions.

mod call;
mod client;
mod connection;
mod job;
mod multipart;
mod read;
mod request;
mod token;
mod user;

pub use self::call::{Call, Lane};
pub use self::client::ManagementClient;
pub use self::connection::{Connection, ListConnections};
pub use self::job::{ExportUsers, ImportUsers, Job, JobErrors, JobId, JobStatus, JobSummary};
pub(crate) use self::request::ManagementRequest;
pub use self::user::{
    ListUsers, MAX_PAGE_SIZE, MAX_SEARCHABLE, Sort, User, UserId, UserIdError, UserKey, UserPage,
};

use async_trait::async_trait;
use serde_json::{Map, Value};
use url::Url;

use crate::Error;

/// Auth0's Management API, as one application may use it.
///
/// Each call says in which [`Lane`] it waits for its turn and until when. `Err(Error::RateLimited)`
/// comes only when the wait would not have fitted; reads are repeated after a fault of the network or
/// a 5xx, as are the changes that may be made twice (PATCH, DELETE). A 401 renews the access token
/// once.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait ManagementApi: Send + Sync + std::fmt::Debug {
    /// Lists or searches users (`GET /api/v2/users`). The search index lags behind by seconds.
    async fn list_users(&self, call: Call, request: &ListUsers) -> Result<UserPage, Error>;

    /// Users with exactly this e-mail address (`GET /api/v2/users-by-email`). Auth0 compares the case,
    /// and keeps the addresses of database users in lower case. Not delayed, unlike a search.
    async fn users_by_email(&self, call: Call, email: &str) -> Result<Vec<User>, Error>;

    /// One user (`GET /api/v2/users/{id}`). `None` when there is none. Not delayed.
    async fn user(&self, call: Call, id: &UserId) -> Result<Option<User>, Error>;

    /// Creates a user (`POST /api/v2/users`). Never sent twice.
    async fn create_user(&self, call: Call, body: &Map<String, Value>) -> Result<User, Error>;

    /// Changes a user (`PATCH /api/v2/users/{id}`). Metadata merges at the first level only.
    async fn update_user(
        &self,
        call: Call,
        id: &UserId,
        body: &Map<String, Value>,
    ) -> Result<User, Error>;

    /// Deletes a user (`DELETE /api/v2/users/{id}`). `Ok` also when there was none.
    async fn delete_user(&self, call: Call, id: &UserId) -> Result<(), Error>;

    /// Starts a bulk import (`POST /api/v2/jobs/users-imports`). Never sent twice, unless Auth0 said
    /// that it did not take it (429).
    async fn import_users(&self, call: Call, import: &ImportUsers) -> Result<Job, Error>;

    /// Starts a bulk export (`POST /api/v2/jobs/users-exports`).
    async fn export_users(&self, call: Call, export: &ExportUsers) -> Result<Job, Error>;

    /// A job (`GET /api/v2/jobs/{id}`). `None` when there is none, or none any more: Auth0 forgets a
    /// job after 24 hours.
    async fn job(&self, call: Call, id: &JobId) -> Result<Option<Job>, Error>;

    /// What went wrong in a job (`GET /api/v2/jobs/{id}/errors`). `None` as for [`Self::job`].
    async fn job_errors(&self, call: Call, id: &JobId) -> Result<Option<JobErrors>, Error>;

    /// Makes a link by which a person sets a new password (`POST /api/v2/tickets/password-change`).
    /// The link is a credential.
    async fn password_change_ticket(
        &self,
        call: Call,
        id: &UserId,
        ticket: &PasswordChangeTicket,
    ) -> Result<String, Error>;

    /// Sends the mail that verifies an e-mail address (`POST /api/v2/jobs/verification-email`).
    async fn send_verification_email(&self, call: Call, id: &UserId) -> Result<Job, Error>;

    /// Connections (`GET /api/v2/connections`), all pages of them.
    async fn connections(
        &self,
        call: Call,
        request: &ListConnections,
    ) -> Result<Vec<Connection>, Error>;

    /// Ends a person's sessions at Auth0 (`DELETE /api/v2/users/{id}/sessions`; Enterprise plan).
    async fn delete_sessions(&self, call: Call, id: &UserId) -> Result<(), Error>;

    /// Revokes a person's refresh tokens (`DELETE /api/v2/users/{id}/refresh-tokens`).
    async fn delete_refresh_tokens(&self, call: Call, id: &UserId) -> Result<(), Error>;
}

/// A request for a link to set a new password.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PasswordChangeTicket {
    /// Where the person goes afterwards.
    pub result_url: Option<Url>,
    /// Life of the link, in seconds. Auth0's own default is five days.
    pub ttl_seconds: Option<u32>,
}
