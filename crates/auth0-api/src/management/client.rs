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
use crate::answer::{Answer, Dialect, bare, named_wait};
use crate::client::Lost;
use crate::governor::{Denied, Rates, jitter};
use crate::{Application, Auth0Client, Error, ErrorCode, Governor, Refusal, Tenant};

/// Most repetitions of a call that failed.
const RETRIES: u32 = 2;
/// Pause before the first of them, doubled for the second.
const BACKOFF: Duration = Duration::from_millis(250);
/// Pages of connections that are followed; a tenant has a few thousand connections at most.
const MAX_PAGES: usize = 200;

/// Speaks to the Management API as one application.
pub struct ManagementClient {
    client: Auth0Client,
    governor: Governor,
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
    /// given by its custom domain; see [`Self::audience`]. Calls wait at the client's
    /// [governor](Auth0Client::governor) for that tenant.
    #[must_use]
    pub fn new(client: Auth0Client, application: Application, audience: String) -> Self {
        Self {
            governor: client.governor(&application.tenant),
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
        let mut place = self.governor.place(call.lane);
        let mut limited = None;
        let mut retries = 0;
        let mut renewed = false;
        loop {
            // Nobody waits for a turn that has no token to use it with.
            self.token.get(call.deadline).await?;
            let mut permit = match place.admit(request.group, call.deadline).await {
                Ok(permit) => permit,
                Err(denied) => return Err(turned_away(denied, limited)),
            };
            let token = self.token.get(call.deadline).await?;
            permit.sent();
            let left = call.deadline.saturating_duration_since(Instant::now());
            let outcome = self
                .client
                .manage(&self.tenant, request, &token.access_token, left)
                .await;
            let mut pause = BACKOFF * 2_u32.pow(retries);
            let repeat = match &outcome {
                Ok(answer) => {
                    let rates = Rates::read(&answer.headers);
                    if let Some(refusal) = rate_refusal(request, answer, rates) {
                        permit.limited(&mut place, named_wait(&answer.headers), rates);
                        limited = Some(refusal);
                        continue;
                    }
                    permit.answered(rates);
                    // Refused before anything was done: any method may be sent again.
                    if answer.status == StatusCode::UNAUTHORIZED
                        && !renewed
                        && self.token.refused(&token)
                    {
                        renewed = true;
                        continue;
                    }
                    pause = pause.max(named_wait(&answer.headers).unwrap_or_default());
                    may_repeat(request, answer, retries)
                }
                Err(lost) => {
                    if lost.unsent {
                        permit.unsent();
                    }
                    drop(permit);
                    may_send_again(request, lost, retries)
                }
            };
            let left = call.deadline.saturating_duration_since(Instant::now());
            pause = pause.saturating_add(jitter(pause));
            if !repeat || pause >= left {
                return outcome.map_err(|lost| lost.error);
            }
            retries += 1;
            tracing::debug!(retries, pause_ms = pause.as_millis(), "tries again");
            sleep(pause).await;
        }
    }
}

/// Auth0's words, when it refused a call for the rate. `None` also for what only looks like it: two
/// import jobs run already, which says nothing about the rate and lasts for minutes. Auth0 documents
/// no code for that, so the headers and, failing these, the text have to tell.
fn rate_refusal(
    request: &ManagementRequest,
    answer: &Answer,
    rates: Option<Rates>,
) -> Option<Refusal> {
    if answer.status != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let Error::RateLimited { refusal, .. } = answer.failure(Dialect::Management) else {
        return None;
    };
    let text = refusal.description.as_deref().unwrap_or_default();
    let full = text.contains("active import") || rates.is_some_and(|rates| rates.remaining > 0);
    (!(request.starts_import && full)).then_some(refusal)
}

/// The error of a call that was not given a turn.
fn turned_away(denied: Denied, limited: Option<Refusal>) -> Error {
    let retry_after = match (denied, &limited) {
        (Denied::Limited(wait), _) => Some(wait),
        (Denied::Late, Some(_)) => None,
        (Denied::Late, None) => return Error::Timeout,
    };
    let ours = || bare(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests);
    Error::RateLimited {
        retry_after,
        refusal: limited.unwrap_or_else(ours),
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
