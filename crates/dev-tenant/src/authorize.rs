//! `/authorize`: checks the request and finds out whether somebody is signed in.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::later;
use crate::grant::{Grant, browser_scope};
use crate::message::{Refusal, Request, Response, redirect};
use crate::pages::error_page;
use crate::params::Params;
use crate::pkce::Challenge;
use crate::secret::random_text;
use crate::seed::{Application, grant_type};
use crate::state::{Code, Login};
use crate::tenant::Tenant;
use crate::urls::{callback_allowed, with_query, without_fragment};

/// Name of the single sign-on cookie.
pub(crate) const SESSION_COOKIE: &str = "auth0";
/// A login under way lives for an hour.
const LOGIN_LIFETIME: Duration = Duration::from_secs(3600);
/// Not documented by Auth0; this is the most that RFC 6749 section 4.1.2 advises.
const CODE_LIFETIME: Duration = Duration::from_secs(600);

/// Where to send an error, once the callback is known to be good.
struct Callback<'a> {
    url: &'a str,
    state: Option<&'a str>,
}

impl Callback<'_> {
    fn error(&self, error: &str, description: &str) -> Response {
        let mut parameters = vec![("error", error), ("error_description", description)];
        parameters.extend(self.state.map(|state| ("state", state)));
        redirect(&with_query(self.url, &parameters))
    }
}

/// The authorization endpoint (RFC 6749 section 3.1, OpenID Connect Core section 3.1.2).
pub(crate) fn authorize(tenant: &Arc<Tenant>, request: &Request) -> Response {
    respond(tenant, request).unwrap_or_else(|refusal| error_page(&refusal))
}

fn respond(tenant: &Tenant, request: &Request) -> Result<Response, Refusal> {
    let params = request.query_or_form()?;
    let client_id = params
        .get("client_id")
        .ok_or_else(|| Refusal::missing("client_id"))?;
    let app = tenant
        .application(client_id)
        .ok_or_else(|| Refusal::invalid_request(format!("Unknown client: {client_id}")))?;
    let url = callback(app, params.get("redirect_uri"))?;
    let callback = Callback {
        url,
        state: params.get("state"),
    };
    let login = match checked(tenant, app, &params, &callback) {
        Ok(login) => login,
        Err((error, description)) => return Ok(callback.error(error, &description)),
    };
    match signed_in(tenant, request, app, &params, &login)? {
        SignedIn::Yes(response) => Ok(response),
        SignedIn::No if params.get("prompt") == Some("none") => {
            Ok(callback.error("login_required", "Login required"))
        }
        SignedIn::No => {
            let state = random_text(24)?;
            let now = tenant.now();
            let until = later(now, LOGIN_LIFETIME);
            tenant
                .state()
                .logins
                .insert(state.clone(), login, until, now);
            Ok(redirect(&format!("/u/login?state={state}")))
        }
    }
}

/// The callback to use. Left out, the first allowed one is taken (assumed).
fn callback<'a>(app: &'a Application, sent: Option<&'a str>) -> Result<&'a str, Refusal> {
    match sent {
        Some(url) if callback_allowed(app, url) => Ok(without_fragment(url)),
        Some(_) => Err(Refusal::new(
            http::StatusCode::FORBIDDEN,
            "unauthorized_client",
            "Callback URL mismatch. The provided redirect_uri is not in the list of allowed \
             callback URLs.",
        )),
        None => app
            .callbacks
            .first()
            .map(String::as_str)
            .ok_or_else(|| Refusal::missing("redirect_uri")),
    }
}

/// Everything that is answered to the callback when it is wrong.
fn checked(
    tenant: &Tenant,
    app: &Application,
    params: &Params,
    callback: &Callback<'_>,
) -> Result<Login, (&'static str, String)> {
    let invalid = |text: &str| ("invalid_request", text.to_owned());
    match params.get("response_type") {
        Some("code") => {}
        None => return Err(invalid("Missing required parameter: response_type")),
        Some(other) => {
            return Err((
                "unsupported_response_type",
                format!("Unsupported response type: {other}"),
            ));
        }
    }
    if params
        .get("response_mode")
        .is_some_and(|mode| mode != "query")
    {
        return Err(invalid("Unsupported response_mode"));
    }
    if params.get("request").is_some() || params.get("request_uri").is_some() {
        return Err(invalid("Request objects are not supported"));
    }
    if !app.allows_grant(grant_type::AUTHORIZATION_CODE) {
        return Err((
            "unauthorized_client",
            "Grant type 'authorization_code' not allowed for the client.".to_owned(),
        ));
    }
    let prompt = params.get("prompt").unwrap_or_default();
    if prompt.split(' ').count() > 1 && prompt.split(' ').any(|word| word == "none") {
        return Err(invalid("prompt=none cannot be combined"));
    }
    if params
        .get("max_age")
        .is_some_and(|age| age.parse::<u32>().is_err())
    {
        return Err(invalid("max_age must be a number of seconds"));
    }
    let connection = params.get("connection");
    if let Some(name) = connection
        && !(tenant.connections.iter().any(|known| known == name) && app.allows_connection(name))
    {
        return Err(invalid("the connection was not found"));
    }
    let organization = params.get("organization");
    if organization.is_some_and(|id| !id.starts_with("org_")) {
        return Err(invalid("parameter organization must be an organization id"));
    }
    let challenge = match params.get("code_challenge") {
        None if params.get("code_challenge_method").is_some() => {
            return Err(invalid("Missing required parameter: code_challenge"));
        }
        None => None,
        Some(text) => Some(
            Challenge::new(text, params.get("code_challenge_method"))
                .ok_or_else(|| invalid("code_challenge_method must be S256 or plain"))?,
        ),
    };
    let audience = params.get("audience");
    let target = tenant.target(audience).ok_or_else(|| {
        let audience = audience.unwrap_or_default();
        ("access_denied", format!("Service not found: {audience}"))
    })?;
    Ok(Login {
        client_id: app.client_id.clone(),
        callback: callback.url.to_owned(),
        redirect_uri: params.get("redirect_uri").map(str::to_owned),
        state: callback.state.map(str::to_owned),
        nonce: params.get("nonce").map(str::to_owned),
        challenge,
        scope: browser_scope(params.get("scope").unwrap_or_default(), app, target),
        audience: target.api.map(|api| api.identifier.clone()),
        organization: organization.map(str::to_owned),
        connection: connection.map(str::to_owned),
        login_hint: params.get("login_hint").map(str::to_owned),
        wants_auth_time: asks_for_login(params) || params.get("max_age").is_some(),
        second_factor_of: None,
        wrong_otps: 0,
    })
}

fn asks_for_login(params: &Params) -> bool {
    let prompt = params.get("prompt").unwrap_or_default();
    prompt.split(' ').any(|word| word == "login")
}

enum SignedIn {
    Yes(Response),
    No,
}

/// Uses the browser's single sign-on session where the request allows it.
fn signed_in(
    tenant: &Tenant,
    request: &Request,
    app: &Application,
    params: &Params,
    login: &Login,
) -> Result<SignedIn, Refusal> {
    let prompt = params.get("prompt").unwrap_or_default();
    let wants_page = asks_for_login(params) || prompt.split(' ').any(|w| w == "select_account");
    let Some(cookie) = request.cookie(SESSION_COOKIE).filter(|_| !wants_page) else {
        return Ok(SignedIn::No);
    };
    let now = tenant.now();
    let (session, blocked) = {
        let mut state = tenant.state();
        let Some(session) = state.sessions.touch(cookie, now) else {
            return Ok(SignedIn::No);
        };
        let too_old = params
            .get("max_age")
            .and_then(|age| age.parse::<i64>().ok())
            .is_some_and(|age| (now - session.authenticated_at).whole_seconds() > age);
        let elsewhere = login
            .connection
            .as_ref()
            .is_some_and(|name| *name != session.connection)
            || !app.allows_connection(&session.connection);
        if too_old || elsewhere {
            return Ok(SignedIn::No);
        }
        session.clients.insert(app.client_id.clone());
        let session = session.clone();
        match state.users.get(&session.user_id) {
            Some(user) => (session, user.is_blocked()),
            None => return Ok(SignedIn::No),
        }
    };
    if blocked {
        return Ok(SignedIn::Yes(blocked_user(login)));
    }
    let grant = Grant {
        user_id: session.user_id,
        sid: Some(session.sid),
        mfa: session.mfa,
        auth_time: login
            .wants_auth_time
            .then(|| session.authenticated_at.unix_timestamp()),
        ..grant_of(login)
    };
    Ok(SignedIn::Yes(send_code(tenant, login, grant)?))
}

/// What a login grants, before it is known to whom.
pub(crate) fn grant_of(login: &Login) -> Grant {
    Grant {
        client_id: login.client_id.clone(),
        scope: login.scope.clone(),
        audience: login.audience.clone(),
        organization: login.organization.clone(),
        ..Grant::default()
    }
}

/// Back to the application with a new code.
pub(crate) fn send_code(tenant: &Tenant, login: &Login, grant: Grant) -> Result<Response, Refusal> {
    let text = random_text(32)?;
    let now = tenant.now();
    let code = Code {
        grant,
        nonce: login.nonce.clone(),
        challenge: login.challenge.clone(),
        redirect_uri: login.redirect_uri.clone(),
        callback: login.callback.clone(),
    };
    tenant
        .state()
        .codes
        .insert(text.clone(), code, later(now, CODE_LIFETIME), now);
    let mut parameters = vec![("code", text.as_str())];
    parameters.extend(login.state.as_deref().map(|state| ("state", state)));
    Ok(redirect(&with_query(&login.callback, &parameters)))
}

/// Back to the application: this person may not.
pub(crate) fn blocked_user(login: &Login) -> Response {
    Callback {
        url: &login.callback,
        state: login.state.as_deref(),
    }
    .error("unauthorized", "user is blocked")
}
