//! `/oauth/revoke` (RFC 7009), for refresh tokens.

use std::sync::Arc;

use http::StatusCode;

use crate::message::{Refusal, Request, Response, empty};
use crate::tenant::Tenant;
use crate::token::client;

pub(crate) fn revoke(tenant: &Arc<Tenant>, request: &Request) -> Response {
    try_revoke(tenant, request).unwrap_or_else(|refusal| refusal.response())
}

fn try_revoke(tenant: &Tenant, request: &Request) -> Result<Response, Refusal> {
    let params = request.form()?;
    let client = client::authenticate(tenant, request, &params)?;
    let token = params
        .get("token")
        .ok_or_else(|| Refusal::missing("token"))?;
    tenant
        .state()
        .refresh
        .revoke(token, &client.application.client_id)
        // That another application's token is refused is documented; how is assumed.
        .map_err(|()| Refusal::invalid_grant("The refresh token was not issued to this client."))?;
    Ok(empty(StatusCode::OK))
}
