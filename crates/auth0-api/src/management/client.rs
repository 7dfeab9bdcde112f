//! The adapter for the Management API.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use http::{Method, StatusCode};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

use super::token::ManagementToken;
use super::{
    Call, Connection, ExportUsers, ImportUsers, Job, JobErrors, JobId, ListConnections, ListUsers,
    ManagementApi, ManagementRequest, PasswordChangeTicket, User, UserId, UserPage, read,
};
use crate::answer::{Answer, Dialect};
use crate::client::Lost;
use crate::{Application, Auth0Client, Error, Tenant};

/// Most repetitions of a call that failed.
const RETRIES: u32 = 2;
/// Pages of connections that are followed; a tenant has a few thousand connections at most.
const MAX_PAGES: usize = 200;

/// Speaks to the Management API as one application.
pub struct ManagementClient {
    client: Auth0Client,
    tenant: Tenant,
    token: ManagementToken,
}

impl fmt::Debug for ManagementClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagementClient")
            .field("tenant", &self.tenant)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

impl ManagementClient {
    /// A client for the tenant of a machine-to-machine application. Nothing is sent yet.
    ///
    /// `audience` is that of the tenant's canonical domain, also where the application's tenant is
    /// given by its custom domain; see [`Self::audience`].
    #[must_use]
    pub fn new(client: Auth0Client, application: Application, audience: String) -> Self {
        Self {
            tenant: application.tenant.clone(),
            token: ManagementToken::new(client.clone(), application, audience),
            client,
        }
    }

    /// The audience of a tenant's Management API, by its canonical domain.
    ///
    /// ```
    /// use auth0_api::{ManagementClient, Tenant};
    ///
    /// let tenant = Tenant::parse("acme.eu.auth0.com")?;
    /// let audience = ManagementClient::audience(&tenant);
    /// assert_eq!(audience, "https://acme.eu.auth0.com/api/v2/");
    /// # Ok::<(), auth0_api::TenantError>(())
    /// ```
    #[must_use]
    pub fn audience(tenant: &Tenant) -> String {
        format!("{}api/v2/", tenant.issuer())
    }

    /// Sends until there is an answer that counts. `expected` are the statuses that Auth0 documents
    /// as a success.
    async fn call(
        &self,
        call: Call,
        request: &ManagementRequest,
        expected: &[u16],
    ) -> Result<Vec<u8>, Error> {
        let answer = self.answer(call, request).await?;
        if answer.status.is_success() && !expected.contains(&answer.status.as_u16()) {
            return Err(Error::Unexpected("a status that is not documented"));
        }
        answer.into_body(Dialect::Management)
    }

    async fn answer(&self, call: Call, request: &ManagementRequest) -> Result<Answer, Error> {
        let mut retries = 0;
        let mut renewed = false;
        loop {
            let token = self.token.get(call.deadline).await?;
            let left = call.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Timeout);
            }
            let outcome = self
                .client
                .manage(&self.tenant, request, &token.access_token, left)
                .await;
            match &outcome {
                // Refused before anything was done: any method may be sent again.
                Ok(answer)
                    if answer.status == StatusCode::UNAUTHORIZED
                        && !renewed
                        && self.token.refused(&token) =>
                {
                    renewed = true;
                    continue;
                }
                Ok(answer) if !may_repeat(request, answer, retries) => {}
                Err(lost) if !may_send_again(request, lost, retries) => {}
                _ if retries == RETRIES => {}
                _ => {
                    let wait = backoff(retries);
                    if Instant::now() + wait < call.deadline {
                        retries += 1;
                        sleep(wait).await;
                        continue;
                    }
                }
            }
            return outcome.map_err(|lost| lost.error);
        }
    }
}

/// May a call be made twice? Auth0's deletes are idempotent, and a change names its result.
fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::PATCH | Method::DELETE)
}

/// After an answer: only a 5xx is worth another try. A search that took too long (503) will mostly
/// take too long again.
fn may_repeat(request: &ManagementRequest, answer: &Answer, retries: u32) -> bool {
    let status = answer.status;
    let most = if status == StatusCode::SERVICE_UNAVAILABLE {
        1
    } else {
        RETRIES
    };
    status.is_server_error() && is_idempotent(&request.method) && retries < most
}

/// Without an answer: whatever was not sent may be sent, and what was sent only if it may arrive twice.
fn may_send_again(request: &ManagementRequest, lost: &Lost, retries: u32) -> bool {
    let passing = matches!(lost.error, Error::Transport(_) | Error::Timeout);
    retries < RETRIES && passing && (lost.unsent || is_idempotent(&request.method))
}

/// 250 ms, 500 ms.
fn backoff(retries: u32) -> Duration {
    Duration::from_millis(250) * 2_u32.pow(retries)
}

/// `None` for what Auth0 does not have.
fn known<T>(
    result: Result<T, Error>,
    is_absence: impl Fn(&str) -> bool,
) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Refused(refusal))
            if refusal.status == 404 && is_absence(refusal.code.as_str()) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[async_trait]
impl ManagementApi for ManagementClient {
    async fn list_users(&self, call: Call, request: &ListUsers) -> Result<UserPage, Error> {
        let request = ManagementRequest::list_users(&self.tenant, request);
        read::user_page(&self.call(call, &request, &[200]).await?)
    }

    async fn users_by_email(&self, call: Call, email: &str) -> Result<Vec<User>, Error> {
        let request = ManagementRequest::users_by_email(&self.tenant, email);
        let page = read::user_page(&self.call(call, &request, &[200]).await?)?;
        Ok(page.users)
    }

    async fn user(&self, call: Call, id: &UserId) -> Result<Option<User>, Error> {
        let request = ManagementRequest::user(&self.tenant, id);
        // Another 404 is not about the user: the tenant is wrong, or something stands in between.
        let body = known(self.call(call, &request, &[200]).await, |code| {
            code == "inexistent_user"
        })?;
        body.map(|body| read::user(&body)).transpose()
    }

    async fn create_user(&self, call: Call, body: &Map<String, Value>) -> Result<User, Error> {
        let request = ManagementRequest::create_user(&self.tenant, body);
        read::user(&self.call(call, &request, &[201]).await?)
    }

    async fn update_user(
        &self,
        call: Call,
        id: &UserId,
        body: &Map<String, Value>,
    ) -> Result<User, Error> {
        let request = ManagementRequest::update_user(&self.tenant, id, body);
        read::user(&self.call(call, &request, &[200]).await?)
    }

    async fn delete_user(&self, call: Call, id: &UserId) -> Result<(), Error> {
        let request = ManagementRequest::delete_user(&self.tenant, id);
        self.call(call, &request, &[204]).await.map(drop)
    }

    async fn import_users(&self, call: Call, import: &ImportUsers) -> Result<Job, Error> {
        let request = ManagementRequest::import_users(&self.tenant, import)?;
        read::job(&self.call(call, &request, &[202]).await?)
    }

    async fn export_users(&self, call: Call, export: &ExportUsers) -> Result<Job, Error> {
        let request = ManagementRequest::export_users(&self.tenant, export);
        read::job(&self.call(call, &request, &[200]).await?)
    }

    async fn job(&self, call: Call, id: &JobId) -> Result<Option<Job>, Error> {
        let request = ManagementRequest::job(&self.tenant, id);
        let body = known(self.call(call, &request, &[200]).await, |_| true)?;
        body.map(|body| read::job(&body)).transpose()
    }

    async fn job_errors(&self, call: Call, id: &JobId) -> Result<Option<JobErrors>, Error> {
        let request = ManagementRequest::job_errors(&self.tenant, id);
        let body = known(self.call(call, &request, &[200, 204]).await, |_| true)?;
        body.map(|body| read::job_errors(&body)).transpose()
    }

    async fn password_change_ticket(
        &self,
        call: Call,
        id: &UserId,
        ticket: &PasswordChangeTicket,
    ) -> Result<String, Error> {
        let request = ManagementRequest::password_change_ticket(&self.tenant, id, ticket);
        read::ticket(&self.call(call, &request, &[201]).await?)
    }

    async fn send_verification_email(&self, call: Call, id: &UserId) -> Result<Job, Error> {
        let request = ManagementRequest::verification_email(&self.tenant, id);
        read::job(&self.call(call, &request, &[201]).await?)
    }

    async fn connections(
        &self,
        call: Call,
        request: &ListConnections,
    ) -> Result<Vec<Connection>, Error> {
        let mut all = Vec::new();
        let mut from = None;
        for _ in 0..MAX_PAGES {
            let page = ManagementRequest::connections(&self.tenant, request, from.as_deref());
            let body = self.call(call, &page, &[200]).await?;
            let (connections, next) = read::connections(&body)?;
            all.extend(connections);
            if next.is_none() {
                return Ok(all);
            }
            from = next;
        }
        Err(Error::Unexpected("a list of connections without an end"))
    }

    async fn delete_sessions(&self, call: Call, id: &UserId) -> Result<(), Error> {
        let request = ManagementRequest::delete_sessions(&self.tenant, id);
        self.call(call, &request, &[202, 204]).await.map(drop)
    }

    async fn delete_refresh_tokens(&self, call: Call, id: &UserId) -> Result<(), Error> {
        let request = ManagementRequest::delete_refresh_tokens(&self.tenant, id);
        self.call(call, &request, &[202, 204]).await.map(drop)
    }
}
