//! The adapter over reqwest: the one place that sends.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use http::header::CONTENT_TYPE;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::answer::{Answer, Dialect};
use crate::error::BoxError;
use crate::keys::KeySet;
use crate::management::ManagementRequest;
use crate::{
    AccessToken, Application, AuthenticationApi, ChangePassword, Error, Grant, RefreshToken,
    Tenant, TokenSet, wire,
};

/// How [`Auth0Client`] sends.
#[derive(Clone)]
pub struct ClientSettings {
    /// Longest time for one call, connection included. 10 s by default.
    pub timeout: Duration,
    /// Longest body that is read, in bytes. 1 MiB by default.
    pub max_body_bytes: usize,
    /// Extra certificate authorities, as PEM; the platform's serve too.
    pub extra_roots_pem: Vec<u8>,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            max_body_bytes: 1 << 20,
            extra_roots_pem: Vec::new(),
        }
    }
}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSettings")
            .field("timeout", &self.timeout)
            .field("max_body_bytes", &self.max_body_bytes)
            .finish_non_exhaustive()
    }
}

/// Speaks to Auth0 over HTTPS: time-outs, no redirects, no cookies, a bounded body.
///
/// Nothing is sent twice. The connection pool hands a request to another connection only when the
/// first was closed before a byte of it was written; everything else is the caller's to decide, since
/// a refresh token or a code that may have arrived must not be sent again.
#[derive(Clone, Debug)]
pub struct Auth0Client {
    http: reqwest::Client,
    /// For a tenant on a loopback address over plain http: no proxy stands in between.
    direct: reqwest::Client,
    timeout: Duration,
    max_body_bytes: usize,
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
            max_body_bytes: settings.max_body_bytes,
        })
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

    /// Sends to the Authentication API.
    async fn send(&self, request: RequestBuilder) -> Result<Vec<u8>, Error> {
        let answer = self.exchange(request, self.max_body_bytes).await;
        answer
            .map_err(|lost| lost.error)?
            .into_body(Dialect::Authentication)
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

    /// As [`Self::send`], once more when the first try did not get through. For reads alone.
    async fn read(&self, request: impl Fn() -> RequestBuilder) -> Result<Vec<u8>, Error> {
        match self.send(request()).await {
            Err(Error::Transport(_)) => self.send(request()).await,
            result => result,
        }
    }
}

#[async_trait]
impl AuthenticationApi for Auth0Client {
    async fn token(&self, application: &Application, grant: &Grant) -> Result<TokenSet, Error> {
        let mut request = self
            .http(&application.tenant)
            .post(application.tenant.endpoint("oauth/token"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(grant.to_form(application));
        if let Some(address) = grant.forwarded_for() {
            request = request.header("auth0-forwarded-for", address.to_string());
        }
        let body = self.send(request).await?;
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
        let request = self
            .http(&application.tenant)
            .post(application.tenant.endpoint("oauth/revoke"))
            .json(&body);
        self.send(request).await.map(drop)
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
        // The answer is a sentence in plain text.
        self.send(self.http(&application.tenant).post(url).json(&body))
            .await
            .map(drop)
    }

    async fn user_info(
        &self,
        tenant: &Tenant,
        access_token: &AccessToken,
    ) -> Result<serde_json::Map<String, Value>, Error> {
        let url = tenant.endpoint("userinfo");
        let body = self
            .read(|| {
                self.http(tenant)
                    .get(url.clone())
                    .bearer_auth(access_token.expose())
            })
            .await?;
        serde_json::from_slice(&body)
            .map_err(|_| Error::Unexpected("a userinfo answer that is no JSON object"))
    }

    async fn key_set(&self, tenant: &Tenant) -> Result<KeySet, Error> {
        let url = tenant.endpoint(".well-known/jwks.json");
        let body = self.read(|| self.http(tenant).get(url.clone())).await?;
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
