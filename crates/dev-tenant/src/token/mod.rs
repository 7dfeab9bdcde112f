//! `POST /oauth/token`: one module for each grant.

pub(crate) mod client;
mod client_credentials;
mod code;
pub(crate) mod issue;
mod mfa;
mod password;
mod refresh;

use std::sync::Arc;

use http::StatusCode;

use crate::message::{Refusal, Request, Response, set_cookie, set_header};
use crate::seed::grant_type;
use crate::tenant::Tenant;

/// The token endpoint (RFC 6749 section 3.2).
pub(crate) fn token(tenant: &Arc<Tenant>, request: &Request) -> Response {
    let mut response = exchange(tenant, request).unwrap_or_else(|refusal| refusal.response());
    if let Ok(id) = crate::secret::random_text(16) {
        // The device cookies that Auth0 sets here; nobody should pass them on.
        let did = format!("did=s%3Av0%3A{id}; Max-Age=157788000; Path=/; HttpOnly; Secure");
        set_cookie(&mut response, &format!("{did}; SameSite=None"));
        set_cookie(&mut response, &did.replacen("did=", "did_compat=", 1));
    }
    response
}

fn exchange(tenant: &Tenant, request: &Request) -> Result<Response, Refusal> {
    if let Some(limits) = &tenant.settings.rate_limits {
        let level = tenant
            .state()
            .buckets
            .take("token", String::new(), limits.token, tenant.now());
        if !level.allowed {
            return Ok(too_many_requests(level, limits.retry_after));
        }
    }
    let params = request.form()?;
    let grant_type = params
        .get("grant_type")
        .ok_or_else(|| Refusal::missing("grant_type"))?;
    let client = client::authenticate(tenant, request, &params)?;
    if !grant_type::ALL.contains(&grant_type) {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "unsupported_grant_type",
            format!("Unsupported grant type: {grant_type}"),
        ));
    }
    if !client.application.allows_grant(grant_type) {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "unauthorized_client",
            format!("Grant type '{grant_type}' not allowed for the client."),
        ));
    }
    let call = TokenCall {
        tenant,
        request,
        params: &params,
        client,
    };
    match grant_type {
        grant_type::AUTHORIZATION_CODE => code::exchange(&call),
        grant_type::PASSWORD => password::exchange(&call, false),
        grant_type::PASSWORD_REALM => password::exchange(&call, true),
        grant_type::REFRESH_TOKEN => refresh::exchange(&call),
        grant_type::CLIENT_CREDENTIALS => client_credentials::exchange(&call),
        _ => mfa::exchange(&call),
    }
}

/// A call of the token endpoint whose client is known.
pub(crate) struct TokenCall<'a> {
    pub(crate) tenant: &'a Tenant,
    pub(crate) request: &'a Request,
    pub(crate) params: &'a crate::params::Params,
    pub(crate) client: client::AuthenticatedClient<'a>,
}

impl TokenCall<'_> {
    /// The value of a parameter that must be there.
    fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.params.get(name).ok_or_else(|| Refusal::missing(name))
    }
}

/// 429 with the headers that say when to come back.
pub(crate) fn too_many_requests(level: crate::limits::Level, retry_after: bool) -> Response {
    let mut response = Refusal::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_requests",
        "Global limit has been reached",
    )
    .response();
    level.set_headers(&mut response);
    if retry_after {
        set_header(&mut response, "retry-after", &level.wait.to_string());
    }
    response
}
