//! `client_credentials` (RFC 6749 section 4.4).

use http::StatusCode;
use serde_json::json;

use super::TokenCall;
use super::issue::{access_claims, access_token, tokens};
use crate::grant::Scope;
use crate::message::{Refusal, Response};

pub(super) fn exchange(call: &TokenCall<'_>) -> Result<Response, Refusal> {
    let tenant = call.tenant;
    let app = call.client.application;
    if !call.client.with_secret {
        return Err(Refusal::unauthorized());
    }
    let denied = |text: String| Refusal::new(StatusCode::FORBIDDEN, "access_denied", text);
    let audience = call
        .params
        .get("audience")
        .or(tenant.options.default_audience.as_deref())
        // The text of a real tenant; its status is assumed.
        .ok_or_else(|| denied("Non-global clients are not allowed access to APIv1".to_owned()))?;
    let api = tenant
        .api(audience)
        .ok_or_else(|| denied(format!("Service not found: {audience}")))?;
    let grant = app
        .client_grants
        .iter()
        .find(|grant| grant.audience == audience)
        .ok_or_else(|| {
            denied(format!(
                "Client is not authorized to access \"{audience}\". You need to create a \
                 \"client-grant\" associated to this API."
            ))
        })?;
    let granted: Scope = grant.scope.iter().map(String::as_str).collect();
    let scope = match call.params.get("scope").map(Scope::parse) {
        None => granted,
        Some(asked) if asked.iter().all(|name| granted.contains(name)) => asked,
        Some(_) => {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "invalid_scope",
                "The scope asks for more than was granted.",
            ));
        }
    };
    let subject = format!("{}@clients", app.client_id);
    let claims = access_claims(
        api,
        &subject,
        &app.client_id,
        &scope,
        Some("client-credentials"),
    );
    let (access_token, lifetime) = access_token(tenant, api, claims, tenant.now())?;
    Ok(tokens(&json!({
        "access_token": access_token,
        "scope": scope.to_string(),
        "expires_in": lifetime,
        "token_type": "Bearer",
    })))
}
