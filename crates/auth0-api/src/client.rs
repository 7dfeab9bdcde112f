//! The adapter over reqwest: the one place that sends.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::header::CONTENT_TYPE;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use tokio::time::Instant;

use crate::answer::{Answer, Dialect, named_wait};
use crate::error::BoxError;
use crate::governor::{Denied, Rates};
use crate::keys::KeySet;
use crate::management::{Lane, ManagementRequest};
use crate::{
    AccessToken, Application, AuthenticationApi, ChangePassword, Error, ErrorCode, Governor, Grant,
    RefreshToken, Tenant, TokenSet, wire,
};

/// How [`Auth0Client`] sends.
#[derive(Clone)]
pub struct ClientSettings {
    /// Longest time for one call, connection included. 10 s by default.
    pub timeout: Duration,
    /// Longest time for the exchange of a refresh token; 60 s by default, and never less than
    /// [`Self::timeout`]. The token that the answer brings is lost to whoever gives up on it, and with
    /// it the session: the tenant takes the old one for stolen when it is sent again.
    pub refresh_timeout: Duration,
    /// Longest body that is read, in bytes. 1 MiB by default.
    pub max_body_bytes: usize,
    /// Longest wait for the tenant's rate limit before the refusal is handed on. Only token grants,
    /// revocations and key sets wait, and never for a person's own limit. 10 s by default.
    pub rate_limit_wait: Duration,
    /// Extra certificate authorities, as PEM; the platform's serve too.
    pub extra_roots_pem: Vec<u8>,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            refresh_timeout: Duration::from_secs(60),
            max_body_bytes: 1 << 20,
            rate_limit_wait: Duration::from_secs(10),
            extra_roots_pem: Vec::new(),
        }
    }
}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSettings")
            .field("timeout", &self.timeout)
            .field("refresh_timeout", &self.refresh_timeout)
            .field("max_body_bytes", &self.max_body_bytes)
            .field("rate_limit_wait", &self.rate_limit_wait)
            .finish_non_exhaustive()
    }
}

/// Speaks to Auth0 over HTTPS: time-outs, no redirects, no cookies, a bounded body.
///
/// Nothing is sent twice, unless the tenant's rate limit refused it. The connection pool hands a request to another connection only when the
/// first was closed before a byte of it was written; everything else is the caller's to decide, since
/// a refresh token or a code that may have arrived must not be sent again.
#[derive(Clone, Debug)]
pub struct Auth0Client {
    http: reqwest::Client,
    /// For a tenant on a loopback address over plain http: no proxy stands in between.
    direct: reqwest::Client,
    timeout: Duration,
    refresh_timeout: Duration,
    max_body_bytes: usize,
    rate_limit_wait: Duration,
    /// One for each tenant. Only configured tenants come here, so there are few.
    governors: Arc<Mutex<HashMap<Tenant, Governor>>>,
}

/// A call without an answer.
pub(crate) struct Lost {
    pub(crate) error: Error,
    /// True when certainly not a byte of the request was sent.
    pub(crate) unsent: bool,
}

impl From<reqwest::Error> for Lost {
    fn from(error: reqwest::Error) -> Self {
        let unsent = error.is_connect() || error.is_builder();
        Self {
            error: transport(error),
            unsent,
        }
    }
}

impl Auth0Client {
    /// A client with its own connection pool.
    ///
    /// # Errors
    /// [`Error::Transport`] when the extra authorities are no PEM, or TLS can't be set up.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "settings are built to be handed over"
    )]
    pub fn new(settings: ClientSettings) -> Result<Self, Error> {
        let roots =
            reqwest::Certificate::from_pem_bundle(&settings.extra_roots_pem).map_err(transport)?;
        let builder = || {
            reqwest::Client::builder()
                .timeout(settings.timeout)
                .connect_timeout(settings.timeout)
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .user_agent(concat!("auth0-api/", env!("CARGO_PKG_VERSION")))
                // Below the idle limit of the usual load balancers, so that a request seldom meets a
                // connection that is being closed.
                .pool_idle_timeout(Duration::from_secs(30))
        };
        // A machine without any certificate authority still reaches a loopback tenant.
        let http = builder()
            .tls_certs_merge(roots.clone())
            .build()
            .or_else(|_| builder().tls_certs_only(roots).build())
            .map_err(transport)?;
        let direct = builder()
            .no_proxy()
            .tls_certs_only([])
            .build()
            .map_err(transport)?;
        Ok(Self {
            http,
            direct,
            timeout: settings.timeout,
            refresh_timeout: settings.refresh_timeout.max(settings.timeout),
            max_body_bytes: settings.max_body_bytes,
            rate_limit_wait: settings.rate_limit_wait,
            governors: Arc::default(),
        })
    }

    /// The governor of a tenant's rate limit: all clones of this client share it.
    #[must_use]
    pub fn governor(&self, tenant: &Tenant) -> Governor {
        let mut governors = self.lock_governors();
        governors.entry(tenant.clone()).or_default().clone()
    }

    /// Lets a tenant share a governor, for example a custom domain that of the canonical one. To be
    /// called before anything is sent to that tenant.
    pub fn share_governor(&self, tenant: Tenant, governor: Governor) {
        self.lock_governors().insert(tenant, governor);
    }

    fn lock_governors(&self) -> MutexGuard<'_, HashMap<Tenant, Governor>> {
        self.governors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The client for a tenant. `HTTPS_PROXY` and its like count, but not for loopback.
    fn http(&self, tenant: &Tenant) -> &reqwest::Client {
        if tenant.is_plain_http() {
            &self.direct
        } else {
            &self.http
        }
    }

    /// Sends, and reads a bounded body. Nothing in this crate is sent but from here.
    async fn exchange(&self, request: RequestBuilder, max_body: usize) -> Result<Answer, Lost> {
        let mut response = request.send().await.map_err(Lost::from)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(Lost::from)? {
            if body.len() + chunk.len() > max_body {
                return Err(Lost {
                    error: Error::Unexpected("a body over the limit"),
                    unsent: false,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    /// Sends to the Authentication API, once.
    async fn send(&self, tenant: &Tenant, request: RequestBuilder) -> Result<Vec<u8>, Error> {
        let answer = self.authenticate(tenant, request).await?;
        answer.into_body(Dialect::Authentication)
    }

    /// Sends to the Authentication API, and again whenever the tenant's rate limit refused it and the
    /// wait fits [`ClientSettings::rate_limit_wait`]. What was refused for the rate was not processed,
    /// so this holds for refresh tokens and codes too. Nothing else is ever repeated here.
    async fn send_in_turn(
        &self,
        tenant: &Tenant,
        lane: Lane,
        request: impl Fn() -> RequestBuilder + Send + Sync,
    ) -> Result<Vec<u8>, Error> {
        let deadline = Instant::now() + self.rate_limit_wait;
        let mut place = None;
        loop {
            let answer = self.authenticate(tenant, request()).await?;
            let (named, rates) = (named_wait(&answer.headers), Rates::read(&answer.headers));
            let mut refused = match answer.into_body(Dialect::Authentication) {
                Err(error) if is_tenant_limit(&error) => error,
                result => return result,
            };
            let place = place.get_or_insert_with(|| self.governor(tenant).place(lane));
            match place.release(named, rates, deadline).await {
                Ok(()) => {}
                Err(denied) => {
                    if let (Error::RateLimited { retry_after, .. }, Denied::Limited(wait)) =
                        (&mut refused, denied)
                    {
                        *retry_after = Some(wait);
                    }
                    return Err(refused);
                }
            }
        }
    }

    async fn authenticate(
        &self,
        tenant: &Tenant,
        request: RequestBuilder,
    ) -> Result<Answer, Error> {
        let answer = self.exchange(request, self.max_body_bytes).await;
        let answer = answer.map_err(|lost| lost.error)?;
        self.governor(tenant).saw(Rates::read(&answer.headers));
        Ok(answer)
    }

    /// Sends to the Management API.
    pub(crate) async fn manage(
        &self,
        tenant: &Tenant,
        request: &ManagementRequest,
        access_token: &AccessToken,
        timeout: Duration,
    ) -> Result<Answer, Lost> {
        let mut builder = self
            .http(tenant)
            .request(request.method.clone(), request.url.clone())
            .bearer_auth(access_token.expose())
            .timeout(timeout.min(self.timeout));
        if let Some((content_type, body)) = &request.body {
            builder = builder
                .header(CONTENT_TYPE, content_type)
                .body(body.clone());
        }
        self.exchange(builder, request.max_answer_bytes.max(self.max_body_bytes))
            .await
    }
}

/// Once more when the first try did not get through. For reads alone.
async fn read<F: Future<Output = Result<Vec<u8>, Error>>>(
    send: impl Fn() -> F,
) -> Result<Vec<u8>, Error> {
    match send().await {
        Err(Error::Transport(_)) => send().await,
        result => result,
    }
}

/// A limit of the whole tenant: soon over, and nobody's fault. Some tenants say `access_denied` for
/// it. Attack protection blocks a person instead, and for long.
fn is_tenant_limit(error: &Error) -> bool {
    matches!(error, Error::RateLimited { refusal, .. }
        if matches!(refusal.code, ErrorCode::TooManyRequests | ErrorCode::AccessDenied))
}

#[async_trait]
impl AuthenticationApi for Auth0Client {
    async fn token(&self, application: &Application, grant: &Grant) -> Result<TokenSet, Error> {
        let request = || {
            let request = self
                .http(&application.tenant)
                .post(application.tenant.endpoint("oauth/token"))
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(grant.to_form(application));
            let request = match grant {
                Grant::RefreshToken { .. } => request.timeout(self.refresh_timeout),
                _ => request,
            };
            match grant.forwarded_for() {
                Some(address) => request.header("auth0-forwarded-for", address.to_string()),
                None => request,
            }
        };
        let lane = match grant {
            // Whatever waits for a machine's token waits in its own lane.
            Grant::RefreshToken { .. } | Grant::ClientCredentials { .. } => Lane::Refresh,
            _ => Lane::Login,
        };
        let body = self
            .send_in_turn(&application.tenant, lane, request)
            .await?;
        wire::token_set(&body)
    }

    async fn revoke(
        &self,
        application: &Application,
        refresh_token: &RefreshToken,
    ) -> Result<(), Error> {
        let body = json!({
            "client_id": application.client_id,
            "client_secret": application.client_secret.expose(),
            "token": refresh_token.expose(),
        });
        let request = || {
            self.http(&application.tenant)
                .post(application.tenant.endpoint("oauth/revoke"))
                .json(&body)
        };
        self.send_in_turn(&application.tenant, Lane::Refresh, request)
            .await
            .map(drop)
    }

    async fn change_password(
        &self,
        application: &Application,
        request: &ChangePassword,
    ) -> Result<(), Error> {
        let mut body = json!({ "client_id": application.client_id, "email": request.email });
        if let Some(connection) = &request.connection {
            body["connection"] = Value::from(connection.as_str());
        }
        let url = application.tenant.endpoint("dbconnections/change_password");
        let request = self.http(&application.tenant).post(url).json(&body);
        // The limit is the person's own. The answer is a sentence in plain text.
        self.send(&application.tenant, request).await.map(drop)
    }

    async fn user_info(
        &self,
        tenant: &Tenant,
        access_token: &AccessToken,
    ) -> Result<serde_json::Map<String, Value>, Error> {
        let url = tenant.endpoint("userinfo");
        let request = || {
            self.http(tenant)
                .get(url.clone())
                .bearer_auth(access_token.expose())
        };
        // The limit is the person's own.
        let body = read(|| self.send(tenant, request())).await?;
        serde_json::from_slice(&body)
            .map_err(|_| Error::Unexpected("a userinfo answer that is no JSON object"))
    }

    async fn key_set(&self, tenant: &Tenant) -> Result<KeySet, Error> {
        let url = tenant.endpoint(".well-known/jwks.json");
        let request = || self.http(tenant).get(url.clone());
        let body = read(|| self.send_in_turn(tenant, Lane::Login, request)).await?;
        KeySet::from_json(&body)
            .map_err(|_| Error::Unexpected("a key set that is not the documented JSON"))
    }
}

/// A failure of the network. The URL goes: `reqwest` would show it, and a reader gains nothing by it.
fn transport(error: reqwest::Error) -> Error {
    if error.is_timeout() {
        return Error::Timeout;
    }
    Error::Transport(BoxError::from(error.without_url()))
}
