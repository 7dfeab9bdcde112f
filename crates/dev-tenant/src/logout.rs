//! `/v2/logout` and `/oidc/logout` (OpenID Connect RP-Initiated Logout 1.0).

use std::sync::Arc;

use serde_json::Value;

use crate::authorize::SESSION_COOKIE;
use crate::backchannel;
use crate::jwt;
use crate::message::{Refusal, Request, Response, redirect, set_cookie};
use crate::pages::{confirm_logout, error_page, signed_out};
use crate::params::Params;
use crate::secret::sha256_hex;
use crate::seed::Application;
use crate::tenant::Tenant;
use crate::urls::{is_loopback, post_logout_allowed, return_to_allowed, with_query};

/// `GET /v2/logout`. A wrong `returnTo` ends nothing (assumed).
pub(crate) fn v2_logout(tenant: &Arc<Tenant>, request: &Request) -> Response {
    try_v2_logout(tenant, request).unwrap_or_else(|refusal| error_page(&refusal))
}

fn try_v2_logout(tenant: &Arc<Tenant>, request: &Request) -> Result<Response, Refusal> {
    let params = request.query()?;
    let app = params
        .get("client_id")
        .map(|id| known_client(tenant, id))
        .transpose()?;
    let list = allowed_urls(tenant, app);
    let target = match params.get("returnTo") {
        Some(url) if return_to_allowed(list, url) || any_loopback(app, url) => Some(url.to_owned()),
        Some(url) => {
            return Err(Refusal::invalid_request(format!(
                "The \"returnTo\" querystring parameter \"{url}\" is not defined as a valid URL \
                 in \"Allowed Logout URLs\""
            )));
        }
        None => app.and_then(|app| app.allowed_logout_urls.first().cloned()),
    };
    end_session(tenant, request);
    Ok(leave(tenant, target.as_deref()))
}

/// `GET` and `POST /oidc/logout`.
pub(crate) fn oidc_logout(tenant: &Arc<Tenant>, request: &Request) -> Response {
    try_oidc_logout(tenant, request).unwrap_or_else(|refusal| error_page(&refusal))
}

fn try_oidc_logout(tenant: &Arc<Tenant>, request: &Request) -> Result<Response, Refusal> {
    let params = request.query_or_form()?;
    let hint = params
        .get("id_token_hint")
        .map(|token| Hint::read(tenant, token))
        .transpose()?;
    let client_id = match (&hint, params.get("client_id")) {
        (Some(hint), Some(id)) if hint.client_id != id => {
            return Err(Refusal::invalid_request(
                "client_id does not match the audience of id_token_hint",
            ));
        }
        (Some(hint), _) => Some(hint.client_id.as_str()),
        (None, id) => id,
    };
    let logout_hint = params.get("logout_hint");
    if let (Some(hint), Some(sid)) = (&hint, logout_hint)
        && hint.sid.as_deref() != Some(sid)
    {
        return Err(Refusal::invalid_request(
            "logout_hint does not match the sid of id_token_hint",
        ));
    }
    let app = client_id.map(|id| known_client(tenant, id)).transpose()?;
    let list = allowed_urls(tenant, app);
    let target = match params.get("post_logout_redirect_uri") {
        Some(url) if post_logout_allowed(list, url) || any_loopback(app, url) => Some(url),
        Some(url) => {
            return Err(Refusal::invalid_request(format!(
                "The \"post_logout_redirect_uri\" parameter \"{url}\" is not defined as a valid \
                 URL in \"Allowed Logout URLs\""
            )));
        }
        None => None,
    };
    if let Some(page) = confirmation(tenant, request, &params, hint.as_ref()) {
        return Ok(page);
    }
    end_session(tenant, request);
    let state: Vec<(&str, &str)> = params
        .get("state")
        .map(|state| ("state", state))
        .into_iter()
        .collect();
    let target = target.map(|url| {
        if state.is_empty() {
            url.to_owned()
        } else {
            with_query(url, &state)
        }
    });
    Ok(leave(tenant, target.as_deref()))
}

/// What an ID token tells about the logout; one that has run out will do.
struct Hint {
    client_id: String,
    subject: String,
    sid: Option<String>,
}

impl Hint {
    fn read(tenant: &Tenant, token: &str) -> Result<Self, Refusal> {
        let read = || {
            let claims = jwt::read(token, &tenant.keys)?;
            let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
            Some(Self {
                client_id: text("aud")?,
                subject: text("sub")?,
                sid: text("sid"),
            })
        };
        read().ok_or_else(|| Refusal::invalid_request("id_token_hint is invalid"))
    }
}

/// The page that asks first, unless a hint names the session of this browser or the
/// person has agreed. Without a session there is nothing to ask about.
fn confirmation(
    tenant: &Tenant,
    request: &Request,
    params: &Params,
    hint: Option<&Hint>,
) -> Option<Response> {
    let cookie = request.cookie(SESSION_COOKIE)?;
    let now = tenant.now();
    let session = tenant.state().sessions.touch(cookie, now)?.clone();
    let named = match (hint, params.get("logout_hint")) {
        (Some(hint), _) => match &hint.sid {
            Some(sid) => *sid == session.sid,
            None => hint.subject == session.user_id,
        },
        (None, Some(sid)) => sid == session.sid,
        (None, None) => false,
    };
    // Only a page that was shown to this browser knows the value.
    let agreement = sha256_hex(format!("logout {cookie}").as_bytes());
    if named || params.get("confirm") == Some(&agreement) {
        return None;
    }
    let mut again = vec![("confirm", agreement.as_str())];
    for name in [
        "id_token_hint",
        "logout_hint",
        "client_id",
        "post_logout_redirect_uri",
        "state",
    ] {
        again.extend(params.get(name).map(|value| (name, value)));
    }
    Some(confirm_logout(&again))
}

fn known_client<'a>(tenant: &'a Tenant, client_id: &str) -> Result<&'a Application, Refusal> {
    tenant
        .application(client_id)
        .ok_or_else(|| Refusal::invalid_request(format!("Unknown client: {client_id}")))
}

/// The application's list, or the tenant's when no application is named.
fn allowed_urls<'a>(tenant: &'a Tenant, app: Option<&'a Application>) -> &'a [String] {
    app.map_or(&tenant.options.allowed_logout_urls, |app| {
        &app.allowed_logout_urls
    })
}

fn any_loopback(app: Option<&Application>, url: &str) -> bool {
    app.is_some_and(|app| app.any_loopback_logout) && is_loopback(url)
}

/// Ends the browser's session and tells the applications that took part. Refresh tokens
/// live on.
fn end_session(tenant: &Arc<Tenant>, request: &Request) {
    let Some(cookie) = request.cookie(SESSION_COOKIE) else {
        return;
    };
    let Some(session) = tenant.state().sessions.end(cookie) else {
        return;
    };
    if tenant.settings.backchannel_logout {
        backchannel::spawn(tenant, &session);
    }
}

fn leave(tenant: &Tenant, target: Option<&str>) -> Response {
    let mut response = match target {
        // Printed anew, so that no white space or control character gets into a header.
        Some(url) => redirect(&with_query(url, &[])),
        None => signed_out(),
    };
    let secure = if tenant.is_https() { "; Secure" } else { "" };
    set_cookie(
        &mut response,
        &format!(
            "{SESSION_COOKIE}=; Path=/; HttpOnly; Expires=Thu, 01 Jan 1970 00:00:00 GMT{secure}"
        ),
    );
    response
}
