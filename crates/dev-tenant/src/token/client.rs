//! Which application calls, and whether it has shown its secret.

use crate::message::{Refusal, Request};
use crate::params::Params;
use crate::seed::Application;
use crate::tenant::Tenant;

/// An application that has shown who it is.
#[derive(Debug)]
pub(crate) struct AuthenticatedClient<'a> {
    pub(crate) application: &'a Application,
    /// It has a secret and sent it; a public application has none.
    pub(crate) with_secret: bool,
}

/// Client authentication (RFC 6749 section 2.3): secret in the body, as `Basic`, or both
/// if they agree. Every failure looks the same.
pub(crate) fn authenticate<'a>(
    tenant: &'a Tenant,
    request: &Request,
    params: &Params,
) -> Result<AuthenticatedClient<'a>, Refusal> {
    let basic = match request.basic() {
        Some(None) => return Err(Refusal::unauthorized()),
        Some(Some(credential)) => Some(credential),
        None => None,
    };
    let (client_id, secret) = match (&basic, params.get("client_id")) {
        (Some((id, _)), Some(other)) if id != other => return Err(Refusal::unauthorized()),
        (Some((id, secret)), _) => (id.as_str(), Some(secret.as_str())),
        (None, Some(id)) => (id, params.get("client_secret")),
        (None, None) => return Err(Refusal::missing("client_id")),
    };
    let application = tenant
        .application(client_id)
        .ok_or_else(Refusal::unauthorized)?;
    // A public application sends no secret; as `Basic` an empty one.
    let secret = secret.filter(|secret| !secret.is_empty());
    let with_secret = match (&application.client_secret, secret) {
        (None, None) => false,
        (Some(own), Some(sent)) if own.matches(sent) => true,
        _ => return Err(Refusal::unauthorized()),
    };
    if basic.is_some()
        && let Some(in_body) = params.get("client_secret")
        && secret != Some(in_body)
    {
        return Err(Refusal::unauthorized());
    }
    Ok(AuthenticatedClient {
        application,
        with_secret,
    })
}
