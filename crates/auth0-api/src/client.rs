//! The adapter over reqwest: the one place that sends.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::error::BoxError;
use crate::keys::KeySet;
use crate::{
    AccessToken, Application, AuthenticationApi, ChangePassword, Error, ErrorCode, Grant,
    RefreshToken, Refusal, Tenant, TokenSet, wire,
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
    max_body_bytes: usize,
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

    /// Sends, reads a bounded body, and sorts failures by what can be done about them.
    async fn send(&self, request: RequestBuilder) -> Result<Vec<u8>, Error> {
        let mut response = request.send().await.map_err(transport)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > self.max_body_bytes {
                return Err(Error::Unexpected("a body over the limit"));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            Ok(body)
        } else {
            Err(failure(status, &headers, &body))
        }
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

/// Sorts an answer that is no success.
fn failure(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    let refusal = wire::refusal(status.as_u16(), body);
    if status == StatusCode::TOO_MANY_REQUESTS {
        let refusal = refusal.unwrap_or_else(|| bare(status, ErrorCode::TooManyRequests));
        // A block after too many attempts lasts for days: the bucket's reset says nothing about it.
        let blocked = refusal.code == ErrorCode::TooManyAttempts;
        let retry_after = if blocked {
            seconds(headers, "retry-after")
        } else {
            retry_after(headers)
        };
        return Error::RateLimited {
            retry_after,
            refusal,
        };
    }
    if status.is_client_error() {
        return match refusal {
            Some(refusal) => Error::Refused(refusal),
            // `/userinfo` refuses in plain text.
            None if status == StatusCode::UNAUTHORIZED => {
                Error::Refused(bare(status, ErrorCode::Other("invalid_token".to_owned())))
            }
            None => unavailable(status, headers),
        };
    }
    if status.is_redirection() {
        return Error::Unexpected("a redirect");
    }
    unavailable(status, headers)
}

fn unavailable(status: StatusCode, headers: &HeaderMap) -> Error {
    Error::Unavailable {
        status: status.as_u16(),
        retry_after: retry_after(headers),
    }
}

fn bare(status: StatusCode, code: ErrorCode) -> Refusal {
    Refusal {
        status: status.as_u16(),
        code,
        description: None,
        mfa_token: None,
        mfa_requirements: None,
        body: None,
    }
}

/// How long to wait: `Retry-After` (seconds or a date), else `x-ratelimit-reset` (an instant). Dates
/// are read against the answer's own `Date`, so that our clock does not matter.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    if let Some(wait) = seconds(headers, "retry-after") {
        return Some(wait);
    }
    let date = http_date(headers.get(DATE)?.to_str().ok()?)?;
    let until = match headers.get(RETRY_AFTER) {
        Some(value) => http_date(value.to_str().ok()?)?,
        None => {
            let reset = seconds(headers, "x-ratelimit-reset")?;
            OffsetDateTime::from_unix_timestamp(i64::try_from(reset.as_secs()).ok()?).ok()?
        }
    };
    Some(Duration::try_from(until - date).unwrap_or_default())
}

fn seconds(headers: &HeaderMap, name: &str) -> Option<Duration> {
    headers
        .get(name)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
        .map(Duration::from_secs)
}

/// Reads the preferred form of an HTTP date (RFC 9110, section 5.6.7): RFC 2822 but for the zone.
fn http_date(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(&text.trim().replace("GMT", "+0000"), &Rfc2822).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()))
            .collect::<HeaderMap>()
    }

    #[test]
    fn reads_how_long_to_wait() {
        let date = ("date", "Tue, 24 Nov 2026 04:00:00 GMT");
        for (given, wait) in [
            (headers(&[]), None),
            (headers(&[("retry-after", "7")]), Some(7)),
            (
                headers(&[("retry-after", "Tue, 24 Nov 2026 04:00:30 GMT"), date]),
                Some(30),
            ),
            (
                headers(&[("retry-after", "Tue, 24 Nov 2026 03:00:00 GMT"), date]),
                Some(0),
            ),
            (
                headers(&[("x-ratelimit-reset", "1795492810"), date]),
                Some(10),
            ),
            (headers(&[("x-ratelimit-reset", "1795492810")]), None),
            (headers(&[("retry-after", "soon"), date]), None),
        ] {
            assert_eq!(
                retry_after(&given),
                wait.map(Duration::from_secs),
                "{given:?}"
            );
        }
    }
}
